"""Records programs and pages into one folder, and asks questions about them; resumes where it stopped."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_agent.errors import EnvError, UsageError
from molmo_agent.synthetic.real_screens.folder import RecordingFolder
from molmo_agent.synthetic.real_screens.looks import LOOKS, Look
from molmo_agent.synthetic.real_screens.pages import pages_of, record_site, serve
from molmo_agent.synthetic.real_screens.programs import Program, read_programs, record_program
from molmo_agent.synthetic.real_screens.session import check_tools
from molmo_agent.synthetic.real_screens.visible_names import NameReader


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many new screens a program or a site gave in a look or in all views; ``problem``: why there are none."""

    name: str
    look: str
    screens: int
    problem: str = ""


def missing_packages(programs: Sequence[Program]) -> list[str]:
    """Return the Debian packages of the programs that are not installed."""
    return sorted({program.package for program in programs if not shutil.which(program.command[0])})


def looks_of(number: int, count: int) -> list[Look]:
    """Return ``count`` looks for the program of that number on the list: another first one for each.

    Raises:
        UsageError: there are not so many looks.
    """
    if not 1 <= count <= len(LOOKS):
        raise UsageError(f"expected 1 to {len(LOOKS)} looks, got {count}")
    return [LOOKS[(3 * number + turn) % len(LOOKS)] for turn in range(count)]


def record_programs(
    folder: RecordingFolder, names: Sequence[str] = (), *, looks: int = 1, user: str | None = None
) -> Iterator[Outcome]:
    """Record the programs of the list that are installed, and yield what came of each.

    Args:
        folder: a program of which it has screens in a look is left out.
        names: of programs on the list; empty: all.
        looks: how many looks each program gets.
        user: account that programs run as; see ``Session``.

    Raises:
        EnvError: tools are missing, or none of the programs is installed.
        UsageError: a name is not on the list.
    """
    every = read_programs()
    programs = read_programs(only=names)
    jobs = [(program, looks_of(every.index(program), looks)) for program in programs]
    check_tools()
    missing = missing_packages(programs)
    if len(missing) == len({program.package for program in programs}):
        raise EnvError(f"none of the programs is installed: apt-get install {' '.join(missing)}")
    reader = NameReader()
    for program, chosen in jobs:
        for turn, look in enumerate(chosen):
            if not shutil.which(program.command[0]):
                yield Outcome(program.name, look.name, 0, f"not installed: apt-get install {program.package}")
                break
            if any(name.startswith(f"{program.name}-{look.name}-") for name in folder.names):
                continue
            try:
                count = record_program(program, look, folder, reader, user=user, turn=turn)
                yield Outcome(program.name, look.name, count)
            except EnvError as error:
                yield Outcome(program.name, look.name, 0, str(error))


def record_pages(folder: RecordingFolder, pages: Path) -> Iterator[Outcome]:
    """Record the pages of a folder, see ``pages.py``, and yield what came of each application.

    Raises:
        UsageError: there are no pages.
        EnvError: Chromium is missing or does not start.
    """
    sites = pages_of(pages)
    with serve(pages) as address:
        for app, paths in sites.items():
            yield Outcome(app, "", record_site(app, paths, address, folder))
