"""What every dialect of native agents is read into: one reply is one step, or an error."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from molmo_agent.actions import Action, Key
from molmo_agent.errors import MolmoAgentError, PointTextError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.parse import load_json
from molmo_agent.point_text.scales import Frame
from molmo_agent.point_text.sentences import PointOutOfRange, UnparsedReply
from molmo_agent.policies.instructions.keys import read_chord

MAX_CHARACTERS = 20_000
MAX_WAIT_S = 60.0
NOTCH_PX = 100
"""Pixels of the screenshot that one wheel notch stands for, where a dialect counts pixels."""

Ending = Literal["done", "failed", "ask"]


class OutOfScreen(PointTextError):
    """A point outside the screenshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeStep:
    """One step of a native agent: actions in order, or the end."""

    thought: str = ""
    # More than one where a dialect's action is more than one input: text that ends with a line end presses Enter.
    actions: tuple[Action, ...] = ()
    ending: Ending | None = None
    # With an ending: the answer, the reason, or the question.
    text: str = ""


def check_length(reply: str) -> None:
    """Refuse replies that are no step.

    Raises:
        PointTextError: it is too long.
    """
    if len(reply) > MAX_CHARACTERS:
        raise PointTextError(f"expected one step, got {len(reply):,} characters", reply[:200])


def place(numbers: list[str], frame: Frame, reply: str) -> Point:
    """Return the point, or the middle of the box, that a reply's numbers stand for.

    Raises:
        PointTextError: they are malformed, or of another scale.
        OutOfScreen: the place is outside the screenshot.
    """
    if len(numbers) not in (2, 4):
        raise PointTextError(f"expected a point or a box, got {len(numbers)} numbers", reply)
    try:
        return frame.place(numbers)
    except PointOutOfRange as error:
        raise OutOfScreen(str(error), reply) from error
    except UnparsedReply as error:
        raise PointTextError(str(error), reply) from error


def key(names: list[str], reply: str) -> Key:
    """Return the key or chord of a dialect's key names: ``["ctrl", "c"]``, ``["Return"]``, ``["pagedown"]``.

    Raises:
        PointTextError: there is no such key.
    """
    plain = [_KEYS.get(name.strip().lower(), name.strip().lower()) for name in names]
    try:
        # A letter alone is a key here: these models name buttons of the screen by their places.
        chord = read_chord("+".join(plain)) or (read_chord(f"the {plain[0]} key") if len(plain) == 1 else ())
    except UsageError as error:
        raise PointTextError(str(error), reply) from error
    if not chord:
        raise PointTextError(f"expected keys, got {' '.join(names)[:40]!r}", reply)
    return Key(chord)


_KEYS = {
    "return": "enter",
    "control": "ctrl",
    "controlormeta": "ctrl",
    "meta": "win",
    "super": "win",
    "arrowup": "up",
    "arrowdown": "down",
    "arrowleft": "left",
    "arrowright": "right",
    "page_down": "pagedown",
    "page_up": "pageup",
    "esc": "escape",
    "del": "delete",
    "backspace": "backspace",
}


def load_object(text: str, reply: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        PointTextError: the text is something else.
    """
    try:
        value = load_json(text, where="the reply")
    except MolmoAgentError as error:
        raise PointTextError(f"expected one action in JSON: {error}", reply) from error
    if not isinstance(value, dict):
        raise PointTextError(f"expected one action as a JSON object, got {type(value).__name__}", reply)
    return value


class Fields:
    """The arguments of one action: each is read once, and none may be left over.

    Args:
        values: as the model wrote them.
        reply: the whole reply, for errors.
    """

    def __init__(self, values: Mapping[str, Any], reply: str) -> None:
        self._values, self.reply = dict(values), reply

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text.

        Raises:
            PointTextError: it is missing or something else.
        """
        value = self._values.pop(name, default)
        if not isinstance(value, str):
            raise PointTextError(f"expected {name!r} to be a text, got {json.dumps(value)[:60]}", self.reply)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number.

        Raises:
            PointTextError: it is missing or something else.
        """
        value = self._values.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise PointTextError(f"expected {name!r} to be a number, got {json.dumps(value)[:60]}", self.reply)
        return float(value)

    def numbers(self, name: str) -> list[str]:
        """Return a list of numbers as they would be written.

        Raises:
            PointTextError: it is missing or something else.
        """
        value = self._values.pop(name, None)
        if not isinstance(value, list) or not all(
            isinstance(item, int | float) and not isinstance(item, bool) for item in value
        ):
            raise PointTextError(f"expected {name!r} to be [x, y], got {json.dumps(value)[:60]}", self.reply)
        return [repr(item) for item in value]

    def texts(self, name: str) -> list[str]:
        """Return a list of texts.

        Raises:
            PointTextError: it is missing or something else.
        """
        value = self._values.pop(name, None)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise PointTextError(f"expected {name!r} to be a list of texts, got {json.dumps(value)[:60]}", self.reply)
        return value

    def has(self, name: str) -> bool:
        """Return whether an argument is there and was not read yet."""
        return name in self._values

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            PointTextError: an argument was not read: it is not part of this action.
        """
        if self._values:
            raise PointTextError(f"the action has no argument {next(iter(self._values))!r}", self.reply)


def wait_s(seconds: float, reply: str) -> float:
    """Return seconds to wait.

    Raises:
        PointTextError: less than none, or too long.
    """
    if not 0 <= seconds <= MAX_WAIT_S:
        raise PointTextError(f"expected a wait of 0 to {MAX_WAIT_S:g} seconds, got {seconds:g}", reply)
    return seconds
