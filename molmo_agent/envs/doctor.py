"""Check whether this machine can control a desktop or a phone, and how to install what is missing. Changes nothing."""

import contextlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from molmo_agent.dependencies import PACKAGE, dependencies
from molmo_agent.errors import EnvError, MissingExtraError


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``remedy`` is what to do if it failed; empty if it passed."""

    name: str
    ok: bool
    # The result: a path or version, or what is missing.
    detail: str
    remedy: str = ""


# Program -> (what it is for, Debian's package, Fedora's package).
_PROGRAMS = {
    "Xvfb": ("a screen for machines without one (--virtual-display)", "xvfb", "xorg-x11-server-Xvfb"),
    "openbox": ("windows that can be moved and focused on a virtual display", "openbox", "openbox"),
    "xclip": ("pasting text that has no keys without losing the clipboard", "xclip", "xclip"),
}


def diagnose() -> list[Check]:
    """Run every check and return the results, the ones that concern every user first."""
    checks = [Check("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    if wayland := _wayland():
        # A capture would ask for the permission.
        checks.append(wayland)
    else:
        access = _display() if sys.platform.startswith("linux") else _permissions()
        # Without access the capture would fail for the same reason.
        checks += [access, _capture()] if access.ok else [access]
    if sys.platform.startswith("linux"):
        checks += map(_program, _PROGRAMS)
    # A missing library is reported by the check of its extra, see _packages.
    checks += [_adb()] if importlib.util.find_spec("adbutils") else []
    checks += [_chromium()] if importlib.util.find_spec("miniwob") else []
    return [*checks, *_packages()]


def _packages() -> list[Check]:
    """Return one check for each dependency: what is installed, and whether it is within the tested range."""
    checks = []
    for item in dependencies():
        name = f"{item.name} ({item.extra})" if item.extra else item.name
        tested_range = f"tested: {item.tested or 'any version'}"
        if item.installed is None:
            package = f"{PACKAGE}[{item.extra}]" if item.extra else PACKAGE
            checks.append(Check(name, False, f"not installed; {tested_range}", f"pip install '{package}'"))
        elif item.ok:
            checks.append(Check(name, True, f"{item.installed}; {tested_range}"))
        else:
            checks.append(
                Check(name, False, f"{item.installed} is untested; {tested_range}", f"pip install '{item.requirement}'")
            )
    return checks or [Check("package", False, f"{PACKAGE} is not installed", "pip install -e . in its checkout")]


def _program(name: str) -> Check:
    purpose, debian, fedora = _PROGRAMS[name]
    path = shutil.which(name)
    if path:
        return Check(name, True, f"{path}, for {purpose}")
    return Check(name, False, f"not installed; for {purpose}", _install(debian, fedora))


def _install(debian: str, fedora: str) -> str:
    as_root = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"{as_root}apt-get install {debian}"
    if shutil.which("dnf"):
        return f"{as_root}dnf install {fedora}"
    return f"install it with this system's package manager (Debian's name for it: {debian})"


def _adb() -> Check:
    adbutils = importlib.import_module("adbutils")
    try:
        return Check("adb", True, f"{adbutils.adb_path()}, for phones")
    except adbutils.AdbError:
        return Check("adb", False, "not found; for phones", _install("adb", "android-tools"))


def _chromium() -> Check:
    from molmo_agent.envs.web.installed import find_browser

    try:
        return Check("chromium", True, f"{' with '.join(find_browser())}, for web tasks")
    except EnvError as error:
        # The error names Debian's and Fedora's packages; here only this system's.
        detail = str(error).partition(": ")[0]
        return Check("chromium", False, detail, _install("chromium chromium-driver", "chromium chromedriver"))


def _display() -> Check:
    def look() -> str:
        from molmo_agent.envs.desktop import x11

        display = x11.connect()
        try:
            if "XTEST" not in display.list_extensions():
                raise EnvError("this X server takes no input from programs (no XTEST extension): use another one")
            screen = display.screen()
            return f"{os.environ['DISPLAY']}: {screen.width_in_pixels}x{screen.height_in_pixels} pixels"
        finally:
            display.close()

    return _attempt("display", look)


def _wayland() -> Check | None:
    """Return the check of a Wayland session; None if this is none."""
    if not sys.platform.startswith("linux"):
        return None
    from molmo_agent.envs.desktop import wayland

    return _attempt("wayland", wayland.describe) if wayland.is_wayland() else None


def _permissions() -> Check:
    def look() -> str:
        from molmo_agent.envs.desktop.native.input import check_permissions

        check_permissions()
        return "the screen may be captured and input may be sent"

    return _attempt("permissions", look)


def _capture() -> Check:
    def look() -> str:
        from molmo_agent.envs.desktop.capture import monitor_list, open_capture

        capture = open_capture()
        try:
            monitors = capture.monitors()
            image = capture.grab(monitors[0].area)
        finally:
            capture.close()
        _check_unlocked()
        size = f"{image.shape[1]}x{image.shape[0]}"
        return f"{monitor_list(monitors)}; monitor 1 gives images of {size} pixels"

    return _attempt("capture", look)


def _check_unlocked() -> None:
    from molmo_agent.envs.desktop.screen_lock import check_unlocked

    with contextlib.ExitStack() as stack:
        display = None
        if sys.platform.startswith("linux"):
            from molmo_agent.envs.desktop import x11

            display = x11.connect()
            stack.callback(display.close)
        check_unlocked(display)


def _attempt(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (EnvError, MissingExtraError) as error:
        # Our messages say what is wrong, then what to do about it.
        detail, _, remedy = str(error).partition(". ")
        return Check(name, False, detail, remedy or detail)
