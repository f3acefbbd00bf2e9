"""``agent doctor``: what is missing on this machine, and whether the pointer arrives where the capture shows."""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from molmo_agent.console import make_console, plain_text, say_json
from molmo_agent.errors import UsageError

EXIT_OK, EXIT_NOT_PROVEN = 0, 1
_NOTICES = {
    "desktop": "This moves the mouse pointer to nine marks on every monitor, clicks nothing, and takes a few seconds. "
    "Keep your hands off the mouse; a corner of the screen or Ctrl-C stops it.",
    "android": "This puts the phone on its home screen and touches it at nine points; each touch is taken back before "
    "it counts as a tap.",
}


def doctor(
    pointer: Annotated[
        bool,
        typer.Option(
            "--pointer", help="Prove that the pointer arrives where the capture shows: nine marks on every display."
        ),
    ] = False,
    env: Annotated[str, typer.Option(help="With --pointer: desktop or android.")] = "desktop",
    serial: Annotated[str | None, typer.Option(help="With --env android: serial number of the phone.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --pointer: do not ask before the pointer moves.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line instead of text for people.")
    ] = False,
) -> None:
    """Report what is missing on this machine, and how to install it.

    With --pointer, check instead whether the pointer arrives where the capture shows, without any model. Exit codes
    then: 0 proven on every display, 1 not proven, 3 no display or phone, 130 stopped by you.
    """
    if not pointer:
        if serial is not None or yes or env != "desktop":
            raise UsageError("--env, --serial and --yes go with --pointer")
        # Import by name, so that envs are loaded only for the commands that need them.
        _report(importlib.import_module("molmo_agent.envs.doctor").diagnose(), as_json)
        return
    if env not in _NOTICES:
        raise UsageError(f"--pointer checks --env {' or '.join(_NOTICES)}, got --env {env}")
    if serial is not None and env != "android":
        raise UsageError(f"--serial goes with --env android, got --env {env}")
    console = make_console(stderr=as_json)
    with _checks(env, serial) as checks:
        if not yes and not sys.stdin.isatty():
            raise UsageError("--pointer asks at a terminal and there is none: say --yes to be checked unasked")
        console.print(plain_text(_NOTICES[env]))
        if not yes and not _agreed(console):
            raise typer.Exit(EXIT_NOT_PROVEN)
        all_ok = True
        for check in checks:
            all_ok &= check.ok
            _print_check(console, check, as_json)
    raise typer.Exit(EXIT_OK if all_ok else EXIT_NOT_PROVEN)


@contextlib.contextmanager
def _checks(env: str, serial: str | None) -> Iterator[Iterable[Any]]:
    """Connect to the device; what comes out acts on it only when it is read."""
    if env == "android":
        module = importlib.import_module("molmo_agent.envs.pointer_check.phone")
        with contextlib.closing(module.open_phone(serial)) as phone:
            yield module.check_phone(phone)
        return
    module = importlib.import_module("molmo_agent.envs.pointer_check.desktop")
    with module.open_desktop() as desktop, contextlib.closing(module.check_desktop(desktop)) as it:
        yield it


def _agreed(console: Console) -> bool:
    """Ask whether to go on; Enter alone means no."""
    try:
        return Confirm.ask("Go on?", console=console, default=False)
    except EOFError:
        return False


def _print_check(console: Console, check: Any, as_json: bool) -> None:
    """Print one line for a display, as soon as it is checked."""
    if as_json:
        _report([check], as_json)
        return
    sign = plain_text("ok  ", "green") if check.ok else plain_text("--  ", "yellow")
    remedy = plain_text(f". To do: {check.remedy}" if check.remedy else "")
    console.print(Text.assemble(sign, plain_text(f"{check.name}: {check.detail}"), remedy), soft_wrap=True)


def _report(checks: Iterable[Any], as_json: bool) -> None:
    if as_json:
        for check in checks:
            line = {"name": check.name, "ok": check.ok, "detail": check.detail, "remedy": check.remedy}
            say_json(line)
        return
    table = Table("", "check", "result", "what to do", box=None)
    for check in checks:
        sign = plain_text("ok", "green") if check.ok else plain_text("--", "yellow")
        table.add_row(sign, *map(plain_text, (check.name, check.detail, check.remedy)))
    make_console().print(table)
