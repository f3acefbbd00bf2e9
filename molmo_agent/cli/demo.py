"""``agent demo``: a task on the simulated desktop, then one on a real program where a virtual display can be had.

The real program runs on a display, with a home folder and a message bus of its own, so that it neither shows up on the
person's screen nor finds their settings, recent files or running programs.
"""

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.cli.run import Request, run_request
from molmo_agent.console import make_console, plain_text, reason_of
from molmo_agent.envs.desktop.private_bus import write_bus_config
from molmo_agent.rollout.recorder import default_folder

# The task on the simulated desktop.
SIMULATED: dict[str, Any] = {"seed": 3, "family": "click-button"}
# Small enough that the program fills most of it, and quick to read.
SCREEN = "800x600"
_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTask:
    """What to do with a program that many machines have."""

    program: str
    # Any instruction of `agent run`, in English, as the program's texts are then.
    task: str
    # What the file that the program is started with holds at the end.
    saved: str


# The first one that is installed is shown. Each was run on Debian 12.
REAL_TASKS = (
    RealTask(
        program="mousepad",
        task='type "2 red apples, 3 green apples", click "Search", click "Find and Replace...", '
        'type "pears" into the "Replace with" field, type "apples" into the "Search for" field, '
        'check "Replace all in", click "Replace All", click "Close", click "File", click "Save"',
        saved="2 red pears, 3 green pears",
    ),
    RealTask(program="gedit", task='type "2 red apples", click "Save"', saved="2 red apples"),
)


def demo(model: str, out: Path | None) -> int:
    """Do both tasks and say where their pages are.

    Args:
        model: for the simulated desktop; the real program is always operated by the default model.
        out: the trajectory folder of the first task; that of the second stands beside it. None: a new one.

    Returns:
        The exit code of the first task: the second one is an extra, and never fails the command.
    """
    or_beside = out is None
    out = out or default_folder(SIMULATED["family"])
    code = run_request(Request(env="sim-desktop", model=model, out=out, or_beside=or_beside, **SIMULATED))
    reason = why_no_real_program()
    if reason:
        _say(f"no real program is shown: {reason}")
        return code
    try:
        _show(installed(), out)
    except Exception as error:
        # Every exception: programs and X servers of other machines fail in ways of their own, and this is an extra.
        _say(f"the real program could not be shown: {reason_of(error)}")
    return code


def why_no_real_program(platform: str = sys.platform, which: Callable[[str], str | None] = shutil.which) -> str | None:
    """Return in one line why no real program can be shown here, and what to do; None if one can.

    Args:
        platform: as ``sys.platform``.
        which: finds a program on PATH.
    """
    if not platform.startswith("linux"):
        # Elsewhere programs open their windows on the person's own screen, even beside an Xvfb.
        return "it would open on your own screen; only Linux has a virtual display"
    if which("Xvfb") is None:
        return (
            "it needs a virtual display (Xvfb): apt-get install xvfb openbox "
            "(Fedora: dnf install xorg-x11-server-Xvfb openbox)"
        )
    if not any(which(one.program) for one in REAL_TASKS):
        names = ", ".join(one.program for one in REAL_TASKS)
        return f"none of these is installed: {names} (apt-get install {REAL_TASKS[0].program})"
    return None


def installed() -> RealTask:
    """Return the first task whose program is installed; there is one where `why_no_real_program` is None."""
    return next(one for one in REAL_TASKS if shutil.which(one.program))


def start_command(program: str, home: Path, file: Path, which: Callable[[str], str | None] = shutil.which) -> str:
    """Return the command that starts a program apart from the person's session.

    Args:
        program: its name.
        home: an existing folder in place of the person's own.
        file: what it opens; it need not exist.
        which: finds a program on PATH.
    """
    settings: Mapping[str, str] = {
        "HOME": str(home),
        # Wayland and the bus have their sockets here; without them no running instance can take the program over.
        "XDG_RUNTIME_DIR": str(home),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={home / 'no-bus'}",
        "GDK_BACKEND": "x11",
        "QT_QPA_PLATFORM": "xcb",
        # The tasks name English texts; the look is the one that they were run with.
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "en",
        "GTK_THEME": "Adwaita",
        "GSETTINGS_BACKEND": "memory",
        "GVFS_DISABLE_FUSE": "1",
        "NO_AT_BRIDGE": "1",
    }
    unset = [f"XDG_{name}_HOME" for name in ("CONFIG", "DATA", "CACHE", "STATE")]
    words = ["env", *(word for name in unset for word in ("-u", name))]
    words += [f"{name}={value}" for name, value in settings.items()]
    if which("dbus-run-session"):
        words += ["dbus-run-session", f"--config-file={write_bus_config(home)}", "--"]
    return shlex.join([*words, program, str(file)])


def operate(real: RealTask, folder: Path, *, screen: str = SCREEN) -> str | None:
    """Do a task on a real program with the default model, as `agent run` does, and return what the saved file holds.

    Args:
        real: the program and the task.
        folder: a new trajectory folder.
        screen: size of the virtual display, as "800x600".

    Returns:
        The text of the file without the end of its last line; None if none was saved.

    Raises:
        EnvError: the display or the program does not start.
        ModelError: the model failed.
    """
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "list.txt")
        run_request(
            Request(
                env="desktop",
                virtual_display=screen,
                start=start_command(real.program, Path(home), file),
                task=real.task,
                model="auto",
                confirm="never",
                max_seconds=_SECONDS,
                out=folder,
                or_beside=True,
            )
        )
        return file.read_text(encoding="utf-8").rstrip("\n") if file.exists() else None


def _show(real: RealTask, beside: Path) -> None:
    folder = beside.with_name(f"{beside.name}-{real.program}")
    _say(f"now a real program, {real.program}, on a virtual display:")
    text = operate(real, folder)
    outcome = "no file was saved" if text is None else f"the saved file holds {text!r}"
    _say(outcome if text == real.saved else f"{outcome}; expected {real.saved!r}")


def _say(text: str) -> None:
    make_console().print(plain_text(text), soft_wrap=True)
