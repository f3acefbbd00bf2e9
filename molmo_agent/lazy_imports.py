"""Imports on demand: the public names of a package when they are first used, and a call once gymnasium is imported.

Importing a package loads none of its modules, and gymnasium is never imported from here.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def lazy_name(package: str, name: str, modules: Mapping[str, str]) -> Any:
    """Return what a package's ``__getattr__`` is asked for.

    Args:
        package: its dotted name.
        name: of the attribute.
        modules: public name -> the module below the package that defines it; "" for a module of that name itself.

    Raises:
        AttributeError: no such name; the public ones are listed.
    """
    if name not in modules:
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}; public names: {', '.join(sorted(modules))}"
        )
    if not modules[name]:
        return importlib.import_module(f"{package}.{name}")
    return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)


def when_gymnasium_is_imported(path: str) -> None:
    """Call what "module:attribute" names once gymnasium is imported: now, or at the end of its import."""

    def call() -> None:
        module, attribute = path.split(":")
        getattr(importlib.import_module(module), attribute)()

    if "gymnasium" in sys.modules:
        call()
    else:
        sys.meta_path.insert(0, _Waiting(call))


# Not a MetaPathFinder: that import would be half the time that this package takes.
class _Waiting:
    """A finder that finds nothing itself. It steps aside when gymnasium is looked for, and calls back when it is there.

    Args:
        call: called once, after the import.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, with the call at the end of its import; nothing for other modules."""
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            # Not installed; it may be later.
            sys.meta_path.insert(0, self)
            return spec
        loader, execute = spec.loader, spec.loader.exec_module

        def execute_and_call(module: ModuleType) -> None:
            del loader.exec_module
            try:
                execute(module)
            except BaseException:
                sys.meta_path.insert(0, self)
                raise
            self._call()

        loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec
