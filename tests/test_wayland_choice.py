"""When a session counts as Wayland, and what commands say there."""

import os
import shutil
import sys

import pytest
from wayland_session import Sway, needs_wayland

from molmo_agent.cli.start_program import started
from molmo_agent.envs import doctor
from molmo_agent.envs.desktop import wayland, x11
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import EnvError, MissingExtraError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Wayland")
needs_xvfb = pytest.mark.skipif(not shutil.which("Xvfb"), reason="not installed: Xvfb (make system)")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, False),
        ({"XDG_SESSION_TYPE": "x11", "DISPLAY": ":0"}, False),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"XDG_SESSION_TYPE": "wayland"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":987"}, True),
    ],
)
def test_a_session_is_wayland_by_its_variables(environ, expected):
    assert wayland.is_wayland(environ) == expected


def test_the_x_server_inside_of_a_wayland_session_does_not_make_it_x11(monkeypatch):
    monkeypatch.setattr(x11, "is_xwayland", lambda name: name == ":5")
    assert wayland.is_wayland({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":5"})
    assert not wayland.is_wayland({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":6"})


@needs_xvfb
def test_a_virtual_display_in_a_wayland_session_is_the_one_that_is_used(monkeypatch):
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with VirtualDisplay(640, 480, window_manager=None) as display:
        assert not wayland.is_wayland(os.environ)
        assert not wayland.is_wayland({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": display.name})
        assert not x11.is_xwayland(display.name)
    assert x11.is_xwayland(":987")


@pytest.fixture
def sway(monkeypatch):
    session = Sway((640, 480))
    session.enter(monkeypatch)
    yield session
    session.close()


@needs_wayland("sway")
def test_the_doctor_reports_how_the_session_is_seen(sway):
    check = next(check for check in doctor.diagnose() if check.name == "wayland")
    assert check.ok
    assert "this compositor lets programs see and control the screen" in check.detail
    assert not {"display", "capture"} & {check.name for check in doctor.diagnose()}


def test_the_doctor_reports_a_session_that_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    check = next(check for check in doctor.diagnose() if check.name == "wayland")
    assert not check.ok
    assert "does not answer" in check.detail
    assert "terminal inside of the graphical session" in check.remedy


@needs_wayland("sway")
def test_a_program_cannot_be_started_where_its_window_cannot_be_seen(sway):
    with (
        pytest.raises(EnvError, match=r"--start is not possible on Wayland.*yourself.*--virtual-display"),
        started("true"),
    ):
        pass


@needs_wayland("sway")
def test_without_the_extra_a_desktop_with_portals_names_it(sway, monkeypatch):
    monkeypatch.setattr(wayland.session, "has_protocols", lambda connection: False)
    for name in [name for name in sys.modules if name.split(".")[0] == "jeepney"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("dbus", "portal", "portal_input", "pipewire", "clipboard"):
        monkeypatch.delitem(sys.modules, f"molmo_agent.envs.desktop.wayland.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "jeepney", None)
    for use in (Desktop, wayland.describe):
        with pytest.raises(MissingExtraError, match=r"Wayland session needs the extra 'wayland': pip install"):
            use()
    check = next(check for check in doctor.diagnose() if check.name == "wayland")
    assert not check.ok
    assert "pip install" in check.remedy
