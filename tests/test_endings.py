"""However a run ends, its record is finished, its exit code is right, and nobody sees a traceback."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from desktop_screen import needs

if sys.platform == "win32":
    pytest.skip("Windows has no signals and terminals of this kind", allow_module_level=True)

from ending_runs import PipedRun, Screen, TerminalRun, check_lost_displays, check_streams, desktop_options

SIMULATED = ["--env", "sim-desktop", "--family", "click-button"]


# --- Displays ---------------------------------------------------------------------------------------------------------


@needs("Xvfb", "ps")
def test_a_run_whose_display_is_killed_ends_in_order(tmp_path):
    check_lost_displays(tmp_path, ["drag", "type", "wait"], hangs=False)


@needs("Xvfb", "ps")
def test_a_run_whose_display_hangs_ends_on_a_signal(tmp_path):
    check_lost_displays(tmp_path, ["drag", "paste"], hangs=True)


# --- Models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hung_server():
    """A model server that accepts everything and answers one blank after the other, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            try:
                connection.sendall(b"1\r\n \r\n")
            except OSError:
                return
            time.sleep(0.1)

    def serve():
        while True:
            try:
                connections.append(listener.accept()[0])
            except OSError:
                return
            threading.Thread(target=drip, args=(connections[-1],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1#molmo2"
    listener.shutdown(socket.SHUT_RDWR)
    for each in (listener, *connections):
        each.close()


def test_a_model_that_never_answers_ends_with_the_time_and_on_signals(tmp_path, hung_server):
    pytest.importorskip("openai", reason="the extra `remote` is not installed")
    options = ["--env", "sim-desktop", "--model", hung_server, "--task", 'click "Save"', "--json"]
    limited = PipedRun(tmp_path / "limited", *options, "--max-seconds", "1")
    impatient = PipedRun(tmp_path / "impatient", *options)
    impatient.await_record()
    for _ in range(3):
        impatient.signal(signal.SIGINT)
    ends = [run.end() for run in (limited, impatient)]
    assert [(end.code, end.reason) for end in ends] == [
        (1, "the limit of 1 seconds is reached"),
        (130, "stopped by the user (Ctrl-C)"),
    ]
    assert [end.event["event"] for end in ends] == ["end"] * 2
    assert [end.errors for end in ends if "Traceback" in end.errors] == []


@needs("Xvfb")
def test_the_time_limit_ends_a_wait(tmp_path):
    screen = Screen()
    screen.start()
    try:
        run = PipedRun(
            tmp_path / "run", *desktop_options(tmp_path / "run", "wait"), "--max-seconds", "2", env=screen.environment
        )
        end = run.end()
    finally:
        screen.stop()
    assert (end.code, end.reason) == (1, "the limit of 2 seconds is reached")


# --- Terminals and streams --------------------------------------------------------------------------------------------

PROMPT = b"[y/n]"


def test_a_prompt_that_nobody_answers_ends_with_the_run(tmp_path):
    options = [*SIMULATED, "--model", "oracle", "--confirm", "always"]
    with (
        TerminalRun(tmp_path / "a", *options) as hung_up,
        TerminalRun(tmp_path / "b", *options) as interrupted,
        TerminalRun(tmp_path / "d", *options, "--max-seconds", "8") as limited,
    ):
        runs = [hung_up, interrupted, limited]
        for run in runs:
            run.await_text(PROMPT)
        hung_up.hang_up()
        interrupted.press(b"\x03\x03")
        ends = [run.end() for run in runs]
        assert [run.is_as_before for run in runs[1:]] == [True] * 2
    assert [(end.code, end.reason) for end in ends] == [
        (130, "stopped by the user (SIGHUP)"),
        (130, "stopped by the user (Ctrl-C)"),
        (1, "the limit of 8 seconds is reached"),
    ]
    assert [end.output for end in ends if "Traceback" in end.output] == []


@needs("bash")
def test_a_stream_that_is_closed_or_narrow_crashes_no_run(tmp_path):
    check_streams(tmp_path / "text", ["everything closed", "latin-1", "a reader that leaves"])
    check_streams(tmp_path / "json", ["stdin closed"], "--json")


def test_files_opened_later_do_not_take_the_place_of_a_closed_stream():
    # Otherwise what is printed would go into a picture of the record, or to the display.
    program = "import os, molmo_agent.__main__ as m; m._open_closed_streams(); os.write(99, b'%d' % os.open('/', 0))"
    reader, writer = os.pipe()
    os.dup2(writer, 99)
    try:
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            subprocess.run(["bash", "-c", f'{sys.executable} -c "{program}" {closed}'], pass_fds=[99], check=True)
            assert int(os.read(reader, 100)) > 2, closed
    finally:
        for number in (reader, writer, 99):
            os.close(number)


# --- Starting ---------------------------------------------------------------------------------------------------------


def test_ctrl_c_while_the_program_loads_shows_no_traceback(tmp_path):
    runs = [PipedRun(tmp_path / str(i), *SIMULATED) for i in range(3)]
    for i, run in enumerate(runs):
        run.await_start()
        time.sleep(0.2 * i)
        run.signal(signal.SIGINT)
        run.signal(signal.SIGTERM)
    ends = [run.end() for run in runs]
    assert [end.code for end in ends] == [130] * 3
    assert [end.errors for end in ends if "Traceback" in end.errors] == []
