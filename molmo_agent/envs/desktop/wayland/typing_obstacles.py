"""What changes typed keys on their way to a program: Caps Lock, and input methods, as for Chinese or Vietnamese."""

import shutil
import subprocess
from pathlib import Path

from molmo_agent.child_environment import child_environment

_LIGHTS = Path("/sys/class/leds")
# How an input method is asked for what it does now, and how its answer begins if it changes nothing.
_QUESTIONS = ((("fcitx5-remote", "-n"), "keyboard-"), (("ibus", "engine"), "xkb:"))
_ANSWER_S = 3.0


def typing_obstacle(text: str) -> str:
    """Return why a text would arrive changed if it were typed, with what to do about it; empty if nothing is known."""
    if caps_lock_is_on() and any(char.isalpha() for char in text):
        return "Caps Lock is on: letters would arrive in the wrong case. Switch it off and start again"
    return input_method_obstacle()


def input_method_obstacle() -> str:
    """Return which input method would change what is typed, with what to do about it; empty if none is known."""
    name = active_input_method()
    if not name:
        return ""
    return (
        f"the input method {name!r} is active and would change what is typed: nothing was typed. "
        "Switch to a plain keyboard layout and start again"
    )


def caps_lock_is_on(lights: Path = _LIGHTS) -> bool:
    """Return whether the Caps Lock light of a keyboard is lit; False where no light can be read."""
    for light in lights.glob("*::capslock/brightness"):
        try:
            if light.read_text(encoding="ascii").strip() not in ("", "0"):
                return True
        except (OSError, ValueError):
            # A keyboard that was unplugged in this moment.
            continue
    return False


def active_input_method() -> str:
    """Return the name of the engine of a running input method that changes what is typed; empty if there is none."""
    for command, plain in _QUESTIONS:
        if not shutil.which(command[0]):
            continue
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_ANSWER_S, check=False, env=child_environment()
            )
        except subprocess.TimeoutExpired:
            # It runs, and what it does is unknown.
            return command[0]
        name = done.stdout.strip()
        if done.returncode == 0 and name and not name.startswith(plain):
            return name
    return ""
