"""Runs that are killed or interrupted at any moment: nothing is left down, nothing that was recorded is lost.

MUTATION_SEED chooses the moments.
"""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time

import pytest
from desktop_screen import Actor, heed_signals, needs
from ending_runs import PipedRun, TerminalRun
from kills import check_kills
from mutation_seed import SEED
from tiny_training import write_model, write_points

from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.rollout.trajectory import read_folder
from molmo_agent.rollout.viewer import render_html

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SIMULATED = ["--env", "sim-desktop", "--model", "oracle", "--family", "fill-form-and-submit"]


@pytest.mark.timeout(900)
@needs("Xvfb", "openbox", "xdotool", "xclip", "setxkbmap")
@pytest.mark.parametrize("what", ["drag", "held", "type", "chord", "press"])
def test_after_a_hundred_kills_the_next_run_starts_with_nothing_down(what):
    with VirtualDisplay(640, 480), contextlib.closing(Actor()) as actor:
        check_kills(actor, what, 20)


def _check_record(folder, code):
    """Check what a run has left: a record that can be read, with its end unless it was killed."""
    if not (folder / "meta.json").exists():
        return
    record = read_folder(folder)
    assert (record.result is not None) or code == -signal.SIGKILL
    assert record.meta["task"]["instruction"].replace(chr(34), "&#34;") in render_html(folder)


@pytest.mark.timeout(900)
def test_a_record_is_readable_however_the_run_is_ended(tmp_path):
    rng, problems = random.Random(f"{SEED} records"), []
    for i in range(30):
        run = PipedRun(tmp_path / str(i), *SIMULATED)
        run.await_start()
        time.sleep(rng.uniform(0, 2.2))
        number = [*ENDS, signal.SIGKILL][i % 4]
        run.signal(number)
        end = run.end()
        _check_record(tmp_path / str(i), end.code)
        # It may have succeeded before.
        if end.code not in (0, 130, -signal.SIGKILL) or "Traceback" in end.errors:
            problems.append((i, number, end))
    assert problems == [], f"MUTATION_SEED={SEED}"


@pytest.mark.timeout(900)
def test_ctrl_c_at_any_moment_ends_with_its_code_and_without_a_traceback(tmp_path):
    rng, problems = random.Random(f"{SEED} interrupts"), []
    for i in range(58):
        with TerminalRun(tmp_path / str(i), *SIMULATED, "--confirm", "always") as run:
            if i % 3 == 0:
                run.await_text(b"[y/n]")
                if i % 2:
                    run.press(b"y\r")
            run.await_start()
            time.sleep(rng.uniform(0, 1.8))
            for _ in range(rng.choice([1, 1, 2, 3])):
                run.press(b"\x03")
                time.sleep(rng.uniform(0, 0.1))
            end = run.end()
        _check_record(tmp_path / str(i), end.code)
        if end.code != 130 or "Traceback" in end.output:
            problems.append((i, end))
    assert problems == [], f"MUTATION_SEED={SEED}"


@pytest.mark.timeout(900)
def test_training_that_is_killed_at_any_moment_resumes_and_loses_nothing(tmp_path):
    """Every step is in the metrics once, in order, as in a run that was never killed."""
    model, points, folder = write_model(tmp_path / "model"), write_points(tmp_path), tmp_path / "run"
    changes = [f"mixture.0.path={points}", f"model={model}", "steps=600", "length=200", "checkpoint_every=5"]
    command = [sys.executable, "-m", "molmo_agent", "train", "pointing", *changes, "--out", str(folder), "--json"]
    rng, pipe = random.Random(f"{SEED} training"), subprocess.PIPE
    for i in range(15):
        run = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_signals)
        time.sleep(rng.uniform(3.0, 8.0))
        run.send_signal([*ENDS, signal.SIGKILL, signal.SIGKILL][i % 5])
        _, errors = run.communicate(timeout=120)
        assert run.returncode in (0, 130, -signal.SIGKILL), errors
        assert "Traceback" not in errors
    last = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert last.returncode == 0, last.stderr
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 601))
