"""Print the direct dependencies, a requirement per line, as read from pyproject.toml.

    python scripts/requirements.py ranges              with the ranges that are allowed
    python scripts/requirements.py oldest [OTHER ...]  at the lowest version that is allowed
    python scripts/requirements.py newest [OTHER ...]  without a version, to get the newest published one

OTHER requirements replace those of the same name. Used by `make oldest` and `make newest`; needs the package `packaging`.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def direct(extra: str = "dev") -> Iterator[Requirement]:
    """Yield the requirements of the package and of an extra; an extra that names others of ours brings theirs.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    yield from map(Requirement, project["dependencies"])
    extras = [extra]
    for name in extras:
        for requirement in map(Requirement, project["optional-dependencies"][name]):
            if requirement.name == project["name"]:
                extras += sorted(requirement.extras)
            else:
                yield requirement


def merged(requirements: Iterable[Requirement]) -> dict[str, Requirement]:
    """Return one requirement for each package: with the extras and the ranges of all that name it."""
    by_name: dict[str, Requirement] = {}
    for requirement in requirements:
        first = by_name.setdefault(requirement.name, requirement)
        first.extras |= requirement.extras
        first.specifier &= requirement.specifier
    return by_name


def lowest(requirement: Requirement) -> str:
    """Return a requirement for exactly the lowest version that it allows.

    Raises:
        ValueError: it has no lower end, or two.
    """
    versions = {bound.version for bound in requirement.specifier if bound.operator == ">="}
    if len(versions) != 1:
        raise ValueError(f"expected one lower end (>=) in pyproject.toml for {requirement.name}, got {requirement}")
    return _line(requirement, f"=={versions.pop()}")


def _line(requirement: Requirement, version: str) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{extras}{version}{marker}"


KINDS = {"oldest": lowest, "newest": lambda requirement: _line(requirement, ""), "ranges": str}


def main(words: list[str]) -> int:
    """Print the requirements of the kind that is named."""
    if not words or words[0] not in KINDS:
        print(f"expected {', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}, got {' '.join(words) or 'nothing'}", file=sys.stderr)
        return 2
    lines = {name: KINDS[words[0]](requirement) for name, requirement in merged(direct()).items()}
    lines |= {Requirement(other).name: other for other in words[1:]}
    print("\n".join(lines.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
