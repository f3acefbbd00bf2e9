"""A command that is told to end does so as on Ctrl-C: it releases everything, and its record ends."""

import json
import signal
import subprocess
import sys
import threading

import pytest
from desktop_screen import heed_signals, needs

from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.interrupts import interrupting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_a_keyboard_interrupt_meanwhile_and_not_later(how):
    # These tests may have been started by nohup.
    before = signal.signal(how, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt, match=how.name), interrupting():
            signal.raise_signal(how)
        assert signal.getsignal(how) is signal.SIG_DFL
    finally:
        signal.signal(how, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupting():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handler_of_the_callers_own_stays():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with interrupting():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]


def test_outside_of_the_main_thread_nothing_is_changed():
    handlers = []

    def look():
        with interrupting():
            handlers.append(signal.getsignal(signal.SIGTERM))

    # A test before this one may have started Ray, which leaves a handler of its own behind.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [signal.SIG_DFL]


@needs("Xvfb", "openbox")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda how: how.name)
def test_a_run_that_is_told_to_end_stops_as_on_ctrl_c(tmp_path, how):
    points = tmp_path / "points.json"
    points.write_text('{"nothing": [0.5, 0.5]}')
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "molmo_agent", "run", "--env", "desktop", "--confirm", "never", "--json"]
    command += ["--model", f"scripted:{points}", "--task", "wait 1 second, wait 100 seconds", "--out", str(folder)]
    with VirtualDisplay(320, 240, window_manager=None):
        pipe = subprocess.PIPE
        run = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_signals)
        try:
            # The first step is done: it waits in the second one.
            first = json.loads(run.stdout.readline())
            run.send_signal(how)
            output, errors = run.communicate(timeout=60)
        finally:
            run.kill()
            run.communicate()
    assert run.returncode == 130
    assert f"agent: stopped by the user ({'Ctrl-C' if how is signal.SIGINT else how.name})" in errors
    assert str(folder) in errors, "the command that shows the record"
    assert "Traceback" not in errors
    assert first["action"]["type"] == "Wait"
    assert json.loads(output)["event"] == "end"
