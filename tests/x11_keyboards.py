"""Helpers of the tests about keyboards on X11: layouts, groups, locks, and a terminal that keeps what arrives."""

import contextlib
import ctypes
import subprocess
import time

from desktop_screen import program, wait_for

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys.xkb import LOCK, State, Xkb

_CORE_KEYBOARD = 0x100


def state() -> State:
    display = x11.connect()
    try:
        return Xkb(display).state()
    finally:
        display.close()


def set_caps_lock(on):
    while bool(state().locked & LOCK) != on:
        subprocess.run(["xdotool", "key", "Caps_Lock"], check=True)
        time.sleep(0.05)


def call_xkb(function, *values):
    """Call a function of libX11 that takes a display, the keyboard and numbers."""
    xlib = ctypes.CDLL("libX11.so.6")
    xlib.XOpenDisplay.restype = ctypes.c_void_p
    display = ctypes.c_void_p(xlib.XOpenDisplay(None))
    getattr(xlib, function)(display, _CORE_KEYBOARD, *values)
    xlib.XSync(display, 0)
    xlib.XCloseDisplay(display)


@contextlib.contextmanager
def layout(*arguments, group=0, caps_lock=False):
    """Set a keyboard layout (arguments of setxkbmap), its active group and Caps Lock, and reset all of it."""
    subprocess.run(["setxkbmap", *arguments], check=True)
    call_xkb("XkbLockGroup", group)
    set_caps_lock(caps_lock)
    try:
        yield
    finally:
        set_caps_lock(False)
        call_xkb("XkbLockGroup", 0)
        subprocess.run(["setxkbmap", "us"], check=True)


@contextlib.contextmanager
def terminal(file, *command):
    """Run a terminal that writes what arrives to a file, and wait until it has the focus."""
    starter = command or ("xterm", "-u8", "-e")
    with program(*starter, "sh", "-c", f"echo > {file}.ready; cat > {file}"):
        wait_for(lambda: file.with_name(f"{file.name}.ready").exists(), "the terminal")
        display = x11.connect()
        wait_for(lambda: x11.focused_classes(display), "the focus")
        display.close()
        time.sleep(0.3)
        yield
