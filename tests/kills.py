"""Kill a run on a real screen, and check what it leaves there."""

import pathlib
import random
import signal
import subprocess
import sys
import time

from desktop_screen import FAST, EventWindow, heed_signals, wait_for

from molmo_agent.actions import Type
from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys.xkb import LOCK

EVERYTHING = {"pace": FAST}
NOTE = "a note x"
KILLED = pathlib.Path(__file__).with_name("killed_run.py")
CLEAN_ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def xdotool(*words):
    subprocess.run(["xdotool", *words], check=True)


def down():
    """Return the keycodes and the mask of the buttons and modifiers that are down."""
    display = x11.connect()
    try:
        keys = [8 * i + bit for i, byte in enumerate(display.query_keymap()) for bit in range(8) if byte >> bit & 1]
        return keys, display.screen().root.query_pointer().mask & ~(LOCK | 16)
    finally:
        display.close()


def typed(window):
    """Return the last keys as characters, and whether a modifier was down with any. Before: repeats of a held key."""
    events = window.events("key_press")[-len(NOTE) :]
    keys = [event["key"] for event in events]
    return "".join(key.replace("space", " ") for key in keys), any(event["state"] & ~(LOCK | 16) for event in events)


def kill_run(what, how, after_s=0.0, *, when=lambda: True):
    """Start a run, end it by a signal a time after something is the case, and return its exit status."""
    command, quiet = [sys.executable, str(KILLED), what], subprocess.DEVNULL
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, preexec_fn=heed_signals)
    try:
        first = run.stdout.readline()
        assert first == b"ready\n", first
        wait_for(when, "the moment for the signal")
        time.sleep(after_s)
        run.send_signal(how)
        return run.wait(timeout=60)
    finally:
        run.kill()
        run.stdout.close()


def check_kills(actor, what, count):
    """Kill runs of a kind at random moments; after each, the next run must start with nothing down."""
    rng = random.Random(what)
    for i in range(count):
        how = [signal.SIGKILL, *CLEAN_ENDS, signal.SIGKILL][i % 5]
        with EventWindow() as window:
            kill_run(what, how, rng.uniform(0, 0.8))
            window.events()
            actor.act(EVERYTHING, Type(NOTE))
            assert (typed(window), down()) == ((NOTE, False), ([], 0)), (i, how)
