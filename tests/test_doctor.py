"""The doctor names what is missing and the line that gets it, and says nothing wrong about a machine that has it."""

import importlib.metadata

import pytest
from desktop_screen import needs

from molmo_agent import dependencies
from molmo_agent.envs import doctor
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.envs.doctor import diagnose


def by_name():
    return {check.name: check for check in diagnose()}


def test_a_check_is_ok_or_has_a_remedy():
    for check in diagnose():
        assert check.name
        assert check.detail
        assert check.ok != bool(check.remedy), check


def test_without_a_display_it_says_what_to_do_and_looks_no_further(monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(variable, raising=False)
    checks = by_name()
    assert "DISPLAY is not set" in checks["display"].detail
    assert "--virtual-display 1280x800" in checks["display"].remedy
    assert "capture" not in checks


@needs("Xvfb")
def test_on_a_display_it_tells_the_size_of_the_screen_and_of_the_image():
    with VirtualDisplay(800, 600, window_manager=None) as display:
        checks = by_name()
        assert checks["display"].ok
        assert checks["display"].detail == f"{display.name}: 800x600 pixels"
        assert checks["capture"].ok
        assert "800x600 at (0, 0); monitor 1 gives images of 800x600 pixels" in checks["capture"].detail


@needs("Xvfb")
def test_a_locked_screen_fails_the_capture_check_with_what_locks_it(monkeypatch):
    monkeypatch.setattr("molmo_agent.envs.desktop.screen_lock.screen_lock", lambda display: f"i3lock on {display}")
    with VirtualDisplay(320, 240, window_manager=None):
        check = by_name()["capture"]
    assert not check.ok
    assert "the screen is locked by i3lock on <Xlib.display.Display" in check.detail
    assert check.remedy == "Unlock it and start again"


@pytest.mark.parametrize(
    ("installer", "root", "line"),
    [
        ("apt-get", True, "apt-get install xvfb"),
        ("apt-get", False, "sudo apt-get install xvfb"),
        ("dnf", True, "dnf install xorg-x11-server-Xvfb"),
        ("", True, "install it with this system's package manager (Debian's name for it: xvfb)"),
    ],
)
def test_a_missing_program_comes_with_the_line_for_this_system(monkeypatch, installer, root, line):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == installer else None)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0 if root else 1000)
    check = doctor._program("Xvfb")
    assert not check.ok
    assert check.remedy == line


def test_each_dependency_is_listed_with_its_version_and_tested_range(monkeypatch):
    requirements = ["numpy>=2", "pytest<1", 'no-such-adb>=2; extra == "android"', "hypothesis; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda package: requirements)
    numpy, old, android = doctor._packages()
    assert (numpy.name, numpy.ok) == ("numpy", True)
    assert numpy.detail == f"{importlib.metadata.version('numpy')}; tested: >=2"
    assert (old.ok, old.remedy) == (False, "pip install 'pytest<1'")
    assert old.detail == f"{pytest.__version__} is untested; tested: <1"
    assert (android.name, android.ok, android.detail) == (
        "no-such-adb (android)",
        False,
        "not installed; tested: >=2",
    )
    assert android.remedy == "pip install 'molmo-agent[android]'"


def test_a_package_that_is_not_installed_is_reported(monkeypatch):
    monkeypatch.setattr(dependencies, "PACKAGE", "no-such-package")
    (check,) = doctor._packages()
    assert check.detail == "molmo-agent is not installed"
    assert check.remedy == "pip install -e . in its checkout"
