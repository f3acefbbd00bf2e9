"""Every call to an X server is out of the reach of signals: python-xlib blocks for ever after one that was cut."""

import pytest
from desktop_screen import FAST, Actor, EventWindow, needs

from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")


def unprotected_calls():
    """Act in every way, and return where a call was made that a signal could cut."""
    import contextlib
    import threading
    import traceback
    from unittest import mock

    import Xlib.protocol.display

    from molmo_agent import interrupts
    from molmo_agent.actions import Click, Drag, Key, LongPress, Move, Scroll, Type, Wait
    from molmo_agent.envs.desktop.env import Desktop
    from molmo_agent.errors import ActionRefused
    from molmo_agent.geometry import Point

    real, found = Xlib.protocol.display.Display.send_and_recv, set()

    def send_and_recv(display, *args, **options):
        if threading.current_thread() is threading.main_thread() and not interrupts._main.calls:
            frames = [f for f in traceback.extract_stack() if "molmo_agent" in f.filename]
            names = {frame.name for frame in traceback.extract_stack()}
            # While a connection is being made, nothing is down, and a cut one is thrown away.
            if not names & {"connect", "load_pyautogui"}:
                found.add(" < ".join(f"{frame.name}:{frame.lineno}" for frame in frames[::-1]))
        return real(display, *args, **options)

    middle, other = Point(0.5, 0.5), Point(0.6, 0.6)
    sent = mock.patch.object(Xlib.protocol.display.Display, "send_and_recv", send_and_recv)
    with sent, Desktop(pace=FAST) as desktop:
        desktop.reset()
        for action in (
            Click(middle), Click(middle, "right", held=("ctrl",)), Click(middle, count=2), LongPress(middle, 0.05),
            Drag(middle, other), Move(other), Scroll("down", 2), Scroll("up", 1, middle), Type("ab c"),
            Type("äöü 🙂"), Type("new", replace=True), Key(("ctrl", "a")), Wait(0.05),
        ):  # fmt: skip
            # The window does not take what is pasted.
            with contextlib.suppress(ActionRefused):
                desktop.step(action)
        top = desktop.stacked_windows()[0]
        desktop.window_name(top.id)
        desktop.activate_window(top.id)
    return sorted(found)


@needs("Xvfb", "openbox", "xclip")
def test_no_call_to_the_server_can_be_cut_by_a_signal():
    with VirtualDisplay(640, 480), EventWindow():
        actor = Actor()
        try:
            assert actor.do(unprotected_calls) == []
        finally:
            actor.close()
