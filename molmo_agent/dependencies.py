"""Which versions of the dependencies are installed, and which ranges were tested. Imports none of them."""

import importlib.metadata
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

PACKAGE = "molmo-agent"
# Set by those who try versions beyond the tested ranges on purpose: nothing is said about them then.
QUIET_VARIABLE = "MOLMO_AGENT_ANY_VERSION"
_EXTRA = re.compile(r"extra == ['\"]([\w.-]+)['\"]")


@dataclass(frozen=True, slots=True)
class Dependency:
    """A direct dependency of the installed package."""

    name: str
    # The tested range, such as ">=5,<5.25"; empty: any version.
    tested: str
    # None: not installed.
    installed: str | None
    # The extra that it belongs to; None: every installation needs it.
    extra: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it is installed in a tested version."""
        from packaging.specifiers import SpecifierSet

        return self.installed is not None and SpecifierSet(self.tested).contains(self.installed, prereleases=True)

    @property
    def requirement(self) -> str:
        """What pip installs: the name with its tested range."""
        return f"{self.name}{self.tested}"


def dependencies() -> list[Dependency]:
    """Return the direct dependencies that apply to this platform, those of developers left out.

    Read from the metadata of the installed package, where pyproject.toml's ranges are; empty if it is not installed.
    """
    from packaging.requirements import Requirement

    direct = []
    for requirement in map(Requirement, _requirement_lines()):
        extra = _EXTRA.search(str(requirement.marker or ""))
        name = extra[1] if extra else None
        if requirement.name == PACKAGE or name in ("dev", "docs"):
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": name or ""}):
            continue
        tested = _ordered(str(requirement.specifier))
        direct.append(Dependency(requirement.name, tested, _version(requirement.name), name))
    return direct


def untested(installed: Sequence[Dependency]) -> str | None:
    """Return one line on versions outside of their tested range and the command that goes back; None without any."""
    outside = [item for item in installed if item.installed and not item.ok]
    if not outside or os.environ.get(QUIET_VARIABLE):
        return None
    listed = ", ".join(f"{item.name} {item.installed} (tested: {item.tested})" for item in outside)
    return f"untested versions: {listed}; if anything fails: pip install " + " ".join(
        f"'{item.requirement}'" for item in outside
    )


def _requirement_lines() -> list[str]:
    """Return the requirements in the metadata of the installed package; none where it is not installed."""
    try:
        return importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ordered(specifier: str) -> str:
    """Return a range with its lower end first, as people write it."""
    return ",".join(sorted(filter(None, specifier.split(",")), key=lambda part: part[0] != ">"))
