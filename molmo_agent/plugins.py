"""Names that other packages add through entry points. Imports a package only when one of its names is asked for.

A package adds a model, an env, a policy or a reader of data sets with lines like these in its ``pyproject.toml``:

    [project.entry-points."molmo_agent.models"]
    my-model = "my_package.model:load"
"""

import importlib.metadata
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import UnknownNameError, UsageError

# What people call it -> the entry-point group of its names, after "molmo_agent.".
GROUPS = {"model": "models", "env": "envs", "policy": "policies", "data set": "readers"}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A name that a package adds."""

    entry: importlib.metadata.EntryPoint
    # The distributions that add it; more than one contradict each other.
    packages: tuple[str, ...]

    @property
    def what(self) -> str:
        """One line for people."""
        return f"of the package {' and '.join(self.packages)}: {self.entry.value}"


def plugins(kind: str, built_in: Container[str] = ()) -> dict[str, Plugin]:
    """Return the names that other packages add, in alphabetical order.

    Args:
        kind: a key of :data:`GROUPS`.
        built_in: names that no package can replace; theirs are left out.
    """
    added: dict[str, Plugin] = {}
    for entry in sorted(
        importlib.metadata.entry_points(group=f"molmo_agent.{GROUPS[kind]}"), key=lambda entry: entry.name
    ):
        if entry.name in built_in:
            continue
        package = entry.dist.name if entry.dist is not None else "?"
        earlier = added[entry.name].packages if entry.name in added else ()
        if package not in earlier:
            added[entry.name] = Plugin(entry, tuple(sorted((*earlier, package))))
    return added


def load_plugin(kind: str, name: str, built_in: Iterable[str] = ()) -> Any:
    """Return what a name of another package stands for.

    Args:
        kind: a key of :data:`GROUPS`.
        name: the one that is asked for.
        built_in: names that no package can replace; they are offered where the name is unknown.

    Raises:
        UnknownNameError: no package has it; the nearest names are offered.
        UsageError: two packages have it, or its package cannot be imported.
    """
    own = tuple(built_in)
    added = plugins(kind, own)
    if name not in added:
        raise UnknownNameError(kind, name, (*own, *added))
    plugin = added[name]
    if len(plugin.packages) > 1:
        raise UsageError(
            f"the {kind} {name!r} is in {len(plugin.packages)} packages, {' and '.join(plugin.packages)}: "
            "uninstall all but one"
        )
    try:
        return plugin.entry.load()
    except Exception as error:
        raise UsageError(
            f"the {kind} {name!r} of the package {plugin.packages[0]!r} cannot be loaded from {plugin.entry.value!r}: "
            f"{type(error).__name__}: {error}; update or uninstall that package"
        ) from error
