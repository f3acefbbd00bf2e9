"""A portal session on a bus of its own: what is asked for, what is granted, what ends it, and how positions count."""

import contextlib
import json
import shutil
import stat
import threading
import time

import pytest

pytest.importorskip("jeepney", reason="jeepney is not installed: pip install 'molmo-agent[wayland]'")

from portal_service import MUTTER, PortalService, private_bus

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland.portal import PortalSession
from molmo_agent.envs.desktop.wayland.portal_input import PortalInput
from molmo_agent.envs.desktop.wayland.restore_token import load_token, save_token, token_path
from molmo_agent.errors import ActionRefused, EnvError, RunStopped

pytestmark = pytest.mark.skipif(not shutil.which("dbus-daemon"), reason="not installed: dbus-daemon (make system)")

GRANTED = {
    "devices": ("u", 3),
    "streams": ("a(ua{sv})", [(42, {"position": ("(ii)", (0, 0)), "size": ("(ii)", (800, 600))})]),
}
ONE_AREA = (Area(0, 0, 800, 600),)
WITHOUT_REMOTE = {"ScreenCast": {"version": 4}}
ONLY_TOUCH = {"RemoteDesktop": {"version": 2, "AvailableDeviceTypes": 4}, "ScreenCast": {"version": 4}}


@pytest.fixture
def bus(monkeypatch, tmp_path):
    with private_bus() as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CURRENT_DESKTOP", "Test:Desktop")
        yield address


@pytest.fixture
def granted(bus):
    with PortalService(bus, results=GRANTED) as service:
        session = PortalSession()
        yield service, session
        session.close()


def device(session, areas=ONE_AREA, frame_sizes=((800, 600),)):
    return PortalInput(session, areas, frame_sizes)


def await_the_end(hand):
    """Wait until the bus has delivered what ends the session: nothing says when it does."""
    deadline = time.monotonic() + 60
    with contextlib.suppress(RunStopped):
        while time.monotonic() < deadline:
            hand.position()
            time.sleep(0.01)
        pytest.fail("the session goes on")


def options_of(service, member):
    return next(arguments[-1] for name, arguments in service.calls if name == member)


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_pointer_keyboard_and_monitors_are_asked_for_without_the_pointer_in_the_image(granted):
    service, session = granted
    assert options_of(service, "SelectDevices")["types"] == ("u", 3)
    sources = options_of(service, "SelectSources")
    assert (sources["types"], sources["multiple"], sources["cursor_mode"]) == (("u", 1), ("b", True), ("u", 1))
    assert [(stream.node, stream.position, stream.size) for stream in session.streams] == [(42, (0, 0), (800, 600))]


def test_the_permission_is_asked_for_once_and_restored_afterwards(bus, capsys):
    for nth in range(3):
        results = {**GRANTED, "restore_token": ("s", f"token {nth}")}
        with PortalService(bus, results=results) as service:
            PortalSession().close()
        options = options_of(service, "SelectDevices")
        assert options["persist_mode"] == ("u", 2)
        # Each is valid once.
        assert options.get("restore_token") == (("s", f"token {nth - 1}") if nth else None)
        assert ("waiting for the permission" in capsys.readouterr().err) == (nth == 0)


def test_the_token_is_readable_by_its_user_alone(bus):
    save_token("GNOME", "one")
    save_token("KDE", "two")
    assert stat.S_IMODE(token_path().stat().st_mode) == 0o600
    assert (load_token("GNOME"), load_token("KDE"), load_token("sway")) == ("one", "two", None)
    save_token("KDE", None)
    assert (load_token("GNOME"), load_token("KDE")) == ("one", None)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"GNOME": 5}', '{"GNOME": ""}', "\xff\x00"])
def test_a_damaged_token_file_only_means_that_the_user_is_asked_again(bus, content):
    token_path().parent.mkdir(parents=True)
    token_path().write_text(content, encoding="latin-1")
    token_path().chmod(0o600)
    assert load_token("GNOME") is None
    save_token("GNOME", "new")
    assert json.loads(token_path().read_text(encoding="utf-8"))["GNOME"] == "new"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_token_file_that_others_can_use_is_ignored(bus, mode):
    save_token("GNOME", "one")
    token_path().chmod(mode)
    assert load_token("GNOME") is None


def test_a_state_folder_that_cannot_be_written_does_not_stop_the_run(bus, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with PortalService(bus, results={**GRANTED, "restore_token": ("s", "t")}):
        PortalSession().close()
    assert load_token("Test:Desktop") is None


def test_an_old_portal_that_restores_nothing_is_not_asked_to(bus):
    properties = {"RemoteDesktop": {"version": 1, "AvailableDeviceTypes": 3}, "ScreenCast": {"version": 4}}
    save_token("Test:Desktop", "old")
    with PortalService(bus, properties=properties, results=GRANTED) as service:
        PortalSession().close()
    assert options_of(service, "SelectDevices").keys() == {"types", "handle_token"}


@pytest.mark.parametrize("devices", [0, 1, 2])
def test_a_permission_that_is_too_small_is_asked_for_again(bus, devices):
    results = {**GRANTED, "devices": ("u", devices), "restore_token": ("s", "small")}
    save_token("Test:Desktop", "old")
    with PortalService(bus, results=results), pytest.raises(EnvError, match="without the permission"):
        PortalSession()
    assert load_token("Test:Desktop") is None


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, r"'Test:Desktop' has no RemoteDesktop portal \(input\) and no ScreenCast portal \(screenshots\).*Xorg"),
        (WITHOUT_REMOTE, r"has no RemoteDesktop portal \(input\): .*Xorg session.*--virtual-display"),
        ({"RemoteDesktop": {"AvailableDeviceTypes": 7}}, r"has no ScreenCast portal \(screenshots\): .*Xorg"),
        (ONLY_TOUCH, r"offers no pointer and keyboard \(device types 4\).*Xorg session"),
    ],
)
def test_a_desktop_without_the_portals_is_named_with_what_to_do(bus, properties, message):
    with PortalService(bus, properties=properties), pytest.raises(EnvError, match=message):
        PortalSession()


def test_a_desktop_without_any_portal_service_is_named(bus):
    with pytest.raises(EnvError, match=r"'Test:Desktop' has no RemoteDesktop portal.*--virtual-display 1280x800"):
        PortalSession()


@pytest.mark.parametrize("address", ["unix:path=/nowhere/bus", "", "rubbish", None])
def test_without_a_session_bus_the_next_step_is_named(monkeypatch, address):
    if address is None:
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    with pytest.raises(EnvError, match=r"D-Bus session bus does not answer.*terminal inside of the graphical session"):
        PortalSession()


@pytest.mark.parametrize(
    ("responses", "results", "message"),
    [
        ({"Start": 1}, GRANTED, r"the permission was declined in the dialog"),
        ({"Start": 2}, GRANTED, r"did not grant the permission \(response 2\): the dialog was closed"),
        ({"SelectSources": 2}, GRANTED, r"did not grant .*SelectSources \(response 2\)"),
        ({"CreateSession": 1}, GRANTED, r"CreateSession was declined"),
        ({}, {**GRANTED, "devices": ("u", 1)}, r"without the permission to control pointer and keyboard.*Allow Remote"),
        ({}, {**GRANTED, "devices": ("u", 0)}, r"without the permission to control pointer and keyboard.*Start again"),
        ({}, {"devices": ("u", 3)}, r"no monitor was shared.*choose a monitor"),
        ({}, {}, r"without the permission"),
    ],
)
def test_what_the_user_did_not_grant_is_reported(bus, responses, results, message):
    with PortalService(bus, responses=responses, results=results), pytest.raises(EnvError, match=message):
        PortalSession()


def test_a_dialog_that_nobody_answers_ends_the_wait(bus):
    with PortalService(bus, responses={"Start": None}), pytest.raises(EnvError, match=r"did not answer within 0.2 s"):
        PortalSession(consent_timeout_s=0.2)


# --- Revoking ---------------------------------------------------------------------------------------------------------


def test_a_revoked_permission_stops_the_run_and_sends_nothing_more(granted):
    service, session = granted
    hand = device(session)
    hand.move(5, 6)
    hand.press("left")
    hand.key_down("code:29")
    service.revoke()
    await_the_end(hand)
    num_sent = len(service.notified())
    for act in (hand.position, lambda: hand.move(7, 8), lambda: hand.release("left"), session.open_pipewire):
        with pytest.raises(
            RunStopped, match=r"the desktop ended the permission.*releases what was held down.*start again"
        ):
            act()
    hand.release_all()
    hand.close()
    assert len(service.notified()) == num_sent


@pytest.mark.parametrize("name", ["org.freedesktop.portal.Desktop", "org.freedesktop.impl.portal.desktop.gnome"])
def test_a_portal_that_crashes_stops_the_run(bus, name):
    backend = "org.freedesktop.impl.portal.desktop.gnome"
    with PortalService(bus, results=GRANTED) as service, PortalService(bus, properties={}, names=[backend]) as other:
        hand = device(PortalSession())
        owner = service if name.endswith(".Desktop") else other
        owner.do(owner.disconnect)
        await_the_end(hand)
        with pytest.raises(RunStopped, match=rf"{name} crashed or was restarted.*start again"):
            hand.position()
        hand.close()


def test_the_portal_of_another_toolkit_may_come_and_go(bus):
    names = ["org.freedesktop.impl.portal.desktop.gtk"]
    with PortalService(bus, results=GRANTED), PortalService(bus, properties={}, names=names) as other:
        hand = device(PortalSession())
        other.do(other.disconnect)
        assert hand.position() == (400, 300)
        hand.close()


def test_a_bus_that_ends_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with private_bus() as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        with PortalService(address, results=GRANTED) as service:
            hand = device(PortalSession())
            service.stop()
    with pytest.raises(EnvError, match=r"session bus is gone.*start again"):
        hand.move(1, 1)
    hand.close()


def test_a_session_that_ends_during_the_question_is_reported(bus):
    with PortalService(bus, responses={"Start": None}) as service:
        timer = threading.Timer(0.5, service.revoke)
        timer.start()
        with pytest.raises(EnvError, match=r"the desktop ended the permission.*before the permission was granted"):
            PortalSession()
        timer.join()


def test_an_event_that_the_portal_rejects_is_an_error(granted):
    service, session = granted
    hand = device(session)
    service.failures["NotifyPointerButton"] = "Session is not allowed to call NotifyPointer methods"
    with pytest.raises(EnvError, match=r"NotifyPointerButton failed: Session is not allowed"):
        hand.press("left")


def test_closing_releases_what_is_held_and_ends_the_session(granted):
    service, session = granted
    hand = device(session)
    hand.press("right")
    hand.key_down("code:42 code:30")
    hand.close()
    hand.close()
    released = [event for event in service.notified() if event[-1] == 0 and event[0] != "PointerMotion"]
    assert released == [("KeyboardKeycode", 30, 0), ("KeyboardKeycode", 42, 0), ("PointerButton", 0x111, 0)]
    assert service.calls[-1][0] == "Close"


# --- Positions --------------------------------------------------------------------------------------------------------

TWO = [
    (7, {"position": ("(ii)", (-1024, 0)), "size": ("(ii)", (1024, 768))}),
    (9, {"position": ("(ii)", (0, 0)), "size": ("(ii)", (1280, 720))}),
]
TWO_AREAS, TWO_FRAMES = (Area(-1024, 0, 1024, 768), Area(0, 0, 1280, 720)), ((1024, 768), (2560, 1440))


@pytest.mark.parametrize(
    ("is_mutter", "position", "expected"),
    [
        (False, (-1024, 0), (7, 0.0, 0.0)),
        (False, (-1, 767), (7, 1023.0, 767.0)),
        (False, (0, 0), (9, 0.0, 0.0)),
        (False, (1279, 719), (9, 1279.0, 719.0)),
        (True, (-1, 767), (7, 1023.0, 767.0)),
        (True, (640, 300), (9, 1280.0, 600.0)),
    ],
)
def test_a_position_is_sent_relative_to_its_monitor_in_the_units_of_the_desktop(bus, is_mutter, position, expected):
    names = [f"{MUTTER}.RemoteDesktop"] if is_mutter else []
    results = {"devices": ("u", 3), "streams": ("a(ua{sv})", TWO)}
    with PortalService(bus, results=results, names=names) as service:
        session = PortalSession()
        hand = device(session, TWO_AREAS, TWO_FRAMES)
        hand.move(*position)
        assert hand.position() == position
        assert service.notified()[-1] == ("PointerMotionAbsolute", *expected)
        hand.close()


@pytest.mark.parametrize("position", [(-1, 768), (1280, 5), (-1025, 0)])
def test_a_position_on_no_shared_monitor_is_refused(bus, position):
    with PortalService(bus, results={"devices": ("u", 3), "streams": ("a(ua{sv})", TWO)}) as service:
        session = PortalSession()
        hand = device(session, TWO_AREAS, TWO_FRAMES)
        with pytest.raises(ActionRefused, match=r"is on no shared monitor .*nothing was clicked"):
            hand.move(*position)
        assert [event[0] for event in service.notified()] == ["PointerMotion"]
        hand.close()


def test_buttons_and_wheel_are_sent_by_their_numbers(granted):
    service, session = granted
    hand = device(session)
    for button in ("left", "middle", "right"):
        hand.press(button)
        hand.release(button)
    hand.scroll(-1, 2)
    assert service.notified()[1:] == [
        *(("PointerButton", number, state) for number in (0x110, 0x112, 0x111) for state in (1, 0)),
        ("PointerAxisDiscrete", 0, 1),
        ("PointerAxisDiscrete", 0, 1),
        ("PointerAxisDiscrete", 1, -1),
    ]
