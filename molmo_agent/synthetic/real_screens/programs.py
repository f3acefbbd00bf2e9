"""The list of programs to record, and the recording of one of them in one look."""

import random
import time
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_agent.errors import EnvError, UsageError
from molmo_agent.synthetic.real_screens.explore import Explorer, Snapshot
from molmo_agent.synthetic.real_screens.folder import RecordingFolder, Seen
from molmo_agent.synthetic.real_screens.looks import Look
from molmo_agent.synthetic.real_screens.program_truth import stacking
from molmo_agent.synthetic.real_screens.session import Session
from molmo_agent.synthetic.real_screens.visible_names import NameReader

LIST = Path(__file__).with_name("programs.toml")
# Programs that stand beside the recorded one on some screens: without menus, for those are not what is walked through.
_COMPANIONS = (("xfce4-appearance-settings",), ("xfce4-mouse-settings",), ("lxappearance",))
_BACKGROUNDS = (0x2E3440, 0x3B6EA5, 0x5E81AC, 0xD8DEE9, 0x2D2D2D, 0x4C566A, 0x7A8B6F, 0xB0A490, 0x000000, 0xFFFFFF)
_FIRST_WINDOW_S = 40.0


@dataclass(frozen=True, slots=True)
class Program:
    """A program: Debian's package, the command with files of the home folder, and how many screens a look gets."""

    name: str
    package: str
    command: tuple[str, ...]
    screens: int = 8


def read_programs(path: Path = LIST, only: Sequence[str] = ()) -> list[Program]:
    """Read the list.

    Args:
        path: a TOML file, see ``programs.toml``.
        only: names of those to return; empty: all.

    Raises:
        UsageError: an entry has no command, or a name is not on the list.
    """
    entries: Mapping[str, Mapping[str, object]] = tomllib.loads(path.read_text(encoding="utf-8"))
    programs = {}
    for name, entry in entries.items():
        command = entry.get("command")
        if not isinstance(command, list) or not command:
            raise UsageError(f"expected a command of the program {name!r} in {path}")
        screens = entry.get("screens", 8)
        programs[name] = Program(
            name=name,
            package=str(entry.get("package", name)),
            command=tuple(str(word) for word in command),
            screens=screens if isinstance(screens, int) else 8,
        )
    unknown = [name for name in only if name not in programs]
    if unknown:
        raise UsageError(f"there is no program {unknown[0]!r} on the list; it has {', '.join(sorted(programs))}")
    return [program for name, program in programs.items() if not only or name in only]


def record_program(
    program: Program, look: Look, folder: RecordingFolder, reader: NameReader, *, user: str | None = None, turn: int = 0
) -> int:
    """Record a program in one look; return how many screens were new.

    Args:
        program: must be installed.
        look: size and theme.
        folder: screens that it has are left out.
        reader: distinguishes icons from texts.
        user: account that the program runs as; see ``Session``.
        turn: see ``Explorer``.

    Raises:
        EnvError: the program is not installed, or shows nothing that can be read.
    """
    before = len(folder.rows)
    rng = random.Random(zlib.crc32(f"{program.name} {look.name}".encode()))

    def record(name: str, shot: Snapshot) -> None:
        screen = f"{program.name}-{look.name}-{name}"
        if screen not in folder.names:
            elements = reader.mark(shot.elements, shot.image, look.scale)
            folder.add(
                Seen(
                    screen=screen,
                    app=program.name,
                    toolkit=shot.toolkit,
                    theme=look.theme,
                    scale=look.scale,
                    image=shot.image,
                    elements=elements,
                    words=shot.words,
                )
            )

    with Session(look, user) as session:
        session.paint(rng.choice(_BACKGROUNDS))
        if rng.random() < 0.25 and look.scale == 1:
            _start_companion(session, rng)
        windows = len(stacking(session.x_display))
        session.start(program.command)
        _await_window(session, program, windows)
        if rng.random() < 0.35:
            session.maximize()
            time.sleep(0.5)
        Explorer(session, record, limit=program.screens, turn=turn).run()
    return len(folder.rows) - before


def _start_companion(session: Session, rng: random.Random) -> None:
    try:
        session.start(rng.choice(_COMPANIONS))
    except EnvError:
        return  # not installed: one window is fine too
    time.sleep(2.5)


def _await_window(session: Session, program: Program, count: int) -> None:
    """Wait until more than ``count`` windows are open."""
    deadline = time.monotonic() + _FIRST_WINDOW_S
    while len(stacking(session.x_display)) <= count:
        if time.monotonic() > deadline:
            raise EnvError(f"{program.name} showed no window within {_FIRST_WINDOW_S:g} s")
        time.sleep(0.3)
    # Splash screens and first-run pages go, tool bars come.
    time.sleep(2.5)
    # Qt programs join the accessibility bus some time after their window is open.
    while not session.read() and time.monotonic() < deadline:
        time.sleep(1.0)
