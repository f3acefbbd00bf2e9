"""The public names of a package, loaded when they are first used: importing the package loads nothing else."""

import importlib
from collections.abc import Mapping
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
