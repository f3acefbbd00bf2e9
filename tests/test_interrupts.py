"""Signals wait for the end of a call to a display, and end a process that hangs."""

import re
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from desktop_screen import heed_signals

from molmo_agent.actions import Click
from molmo_agent.errors import EnvError, RunStopped
from molmo_agent.geometry import Point
from molmo_agent.interrupts import (
    TimeLimitPassed,
    defer_interrupts,
    ending_in_time,
    interrupting,
    interrupts_first,
    last_step,
    time_limit,
)
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.testing import ScriptedDecisions, ToyEnv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def own_handlers():
    """These tests may have been started by nohup, or in the background of a shell."""
    handlers = {
        number: signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for number in ENDS
    }
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_signal_waits_for_the_end_of_a_call(number):
    reached = []

    def call():
        with interrupting():
            with defer_interrupts():
                with defer_interrupts():
                    signal.raise_signal(number)
                    reached.append("the end of the inner call")
                reached.append("the end of the outer call")
            reached.append("too far")

    with pytest.raises(KeyboardInterrupt):
        call()
    assert reached == ["the end of the inner call", "the end of the outer call"]


def test_ctrl_c_waits_also_where_another_program_handles_it():
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_raises_nothing_is_called_at_once_and_stays():
    received = []

    def handler(number, frame):
        received.append(number)

    signal.signal(signal.SIGTERM, handler)
    with defer_interrupts():
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_the_end_that_a_signal_began_is_not_cut_by_another_one(number):
    reached = []

    def end():
        with ending_in_time():
            try:
                signal.raise_signal(number)
            finally:
                for later in ENDS:
                    signal.raise_signal(later)
                reached.append("everything is released")

    with pytest.raises(KeyboardInterrupt):
        end()
    assert reached == ["everything is released"]


def test_after_its_block_handlers_are_as_before():
    before = {number: signal.getsignal(number) for number in (*ENDS, signal.SIGALRM)}
    with ending_in_time(), last_step(print), time_limit(60, "the limit"):
        pass
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_time_limit_that_has_passed_leaves_later_signals_to_work():
    with ending_in_time():
        with pytest.raises(KeyboardInterrupt, match="the limit of 0 seconds"), time_limit(0, "the limit of 0 seconds"):
            signal.pause()
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            signal.raise_signal(signal.SIGTERM)


# What a hung driver or model looks like; "ready" comes from another thread, when the main thread hangs.
HANGS = {
    # No Python code runs: a call into C that does not come back when a signal arrives.
    "a call that never returns": """
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
        time.sleep(1000)""",
    "a library that swallows interrupts": """
        while True:
            try:
                time.sleep(1000)
            except KeyboardInterrupt:
                pass""",
    "a clean-up that waits for ever": """
        try:
            time.sleep(1000)
        finally:
            time.sleep(1000)""",
    "an exchange that nobody breaks off": """
        with defer_interrupts():
            time.sleep(1000)""",
}

PROGRAM = """
import os, signal, socket, threading, time
from molmo_agent.interrupts import defer_interrupts, ending_in_time, last_step, time_limit

def ready():
    print("ready", flush=True)

threading.Timer(0.3, ready).start()

def blocks(reason):
    time.sleep(1000)

with ending_in_time(), last_step(lambda reason: print("finished:", reason, flush=True)), {context}:
{body}
"""


def run_program(body, context="last_step(str)"):
    text = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    "), context=context)
    command = [sys.executable, "-c", text]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_signals)
    first = process.stdout.readline()
    if first != "ready\n":
        process.kill()
        pytest.fail(f"{first}{process.communicate()[1]}")
    return process


def end_of(process):
    try:
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, output, errors


def test_whatever_hangs_the_process_ends_with_its_last_steps():
    limit = "time_limit(0.5, 'the limit is reached')"
    never = HANGS["a call that never returns"]
    cases = {
        **{hang: (body, "last_step(str)", signal.SIGTERM, "SIGTERM") for hang, body in HANGS.items()},
        "Ctrl-C": (never, "last_step(str)", signal.SIGINT, "Ctrl-C"),
        "a closed terminal": (never, "last_step(str)", signal.SIGHUP, "SIGHUP"),
        "a last step that fails": (never, "last_step(int)", signal.SIGTERM, "SIGTERM"),
        "a last step that hangs": (never, "last_step(blocks)", signal.SIGTERM, None),
        "a time limit": (never, limit, None, "the limit is reached"),
        "a time limit, then Ctrl-C": (never, limit, signal.SIGINT, None),
    }
    # All at once, because they mostly wait.
    processes = {case: run_program(body, context) for case, (body, context, _, _) in cases.items()}
    for case, (_, _, number, _) in cases.items():
        if number is not None:
            processes[case].send_signal(number)
    ends = {case: end_of(process) for case, process in processes.items()}
    for case, (_, context, number, reason) in cases.items():
        code, output, errors = ends[case]
        assert (code, errors) == (1 if context == limit and number is None else code, ""), case
        assert code in ((1, 130) if context == limit else (130,)), case
        if reason is not None:
            reason = reason if number is None else f"stopped by the user ({reason})"
            assert output == f"finished: {reason}\n", case


def test_a_call_that_waits_for_ever_is_broken_off():
    body = """
        left, right = socket.socketpair()
        try:
            with defer_interrupts(lambda: left.shutdown(socket.SHUT_RDWR)):
                left.recv(1)
                print("broken off", flush=True)
        except KeyboardInterrupt as error:
            print(error)"""
    process = run_program(body)
    process.send_signal(signal.SIGHUP)
    assert end_of(process) == (0, "broken off\nSIGHUP\n", "")


def test_a_signal_to_a_forked_child_does_not_end_the_parent():
    body = """
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, b"x")
            time.sleep(1000)
        os.read(reader, 1)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        time.sleep(2.5)
        print("still here")"""
    assert end_of(run_program(body))[:2] == (0, "still here\n")


def test_in_another_thread_blocks_run_as_they_are():
    finished = []

    def work():
        with ending_in_time(), time_limit(0, "the limit"), last_step(finished.append), defer_interrupts():
            finished.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert finished == [signal.SIG_DFL]


# --- A stop comes first -----------------------------------------------------------------------------------------------


def _hung(stop):
    """A display that hangs: tidying up fails after the stop."""
    try:
        raise stop
    finally:
        raise EnvError("the display is gone: an earlier input broke off. Start again")


def _cut_off(stop):
    """A connection that a watch has broken off: an error of the system, told as one of the env."""
    try:
        try:
            raise stop
        finally:
            raise OSError("broken pipe")
    except OSError as error:
        raise EnvError(f"the display is gone ({error}). Start again") from error


def _twice(stop):
    """Two steps that tidy up, and both fail."""
    try:
        _hung(stop)
    except EnvError:
        raise EnvError("no device. Connect one") from None


@pytest.mark.parametrize("fails", [_hung, _cut_off, _twice])
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (KeyboardInterrupt("SIGTERM"), r"stopped by the user \(SIGTERM\)"),
        (KeyboardInterrupt(), r"stopped by the user \(Ctrl-C\)"),
        (KeyboardInterrupt("the terminal is gone"), r"stopped by the user \(the terminal is gone\)"),
    ],
    ids=["SIGTERM", "Ctrl-C", "terminal"],
)
def test_a_stop_counts_although_tidying_up_after_it_fails(fails, stop, reason, monkeypatch):
    env = ToyEnv(64, 48)
    monkeypatch.setattr(env, "step", lambda action: fails(stop))
    episode = rollout(ScriptedDecisions([Click(Point(0.5, 0.5))]), env, "click it")
    with pytest.raises(RunStopped, match=reason):
        list(episode)
    assert re.fullmatch(reason, episode.trajectory.ended)


def test_the_end_of_the_time_counts_although_tidying_up_after_it_fails(monkeypatch):
    env = ToyEnv(64, 48)
    monkeypatch.setattr(env, "step", lambda action: _hung(TimeLimitPassed()))
    episode = rollout(ScriptedDecisions([Click(Point(0.5, 0.5))]), env, "click it", guards=Guards(max_seconds=7))
    assert list(episode) == []
    assert episode.trajectory.ended == "the limit of 7 seconds is reached"


def test_an_error_without_a_stop_before_it_stays_what_it_is():
    with pytest.raises(EnvError, match="no device"), interrupts_first():
        raise EnvError("no device") from OSError("gone")
