"""What computer tools have in common: places in pixels of the last picture that was sent, buttons, keys, wheels.

Whatever cannot be executed as asked is refused with a reason, never approximated: a drag along a curve, a held button,
a place outside the picture.
"""

import math
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec

from molmo_agent.actions import Button, Click, Direction, Drag, Key, Move, Scroll, Type, Wait
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point
from molmo_agent.serve.keys import read_keys
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.picture import Picture, PictureLimits
from molmo_agent.serve.session import Session

P = ParamSpec("P")
# Pixels that a step of a mouse wheel scrolls, where an agent names pixels.
PIXELS_PER_NOTCH = 100
_MAX_NOTCHES = 100
_MAX_REPEATS = 100
_MAX_WAIT_S = 100.0
# A path this close to a straight line is one, in pixels.
_STRAIGHT_PX = 2.0


def refusing(
    method: Callable[Concatenate["HostScreen", P], Outcome],
) -> Callable[Concatenate["HostScreen", P], Outcome]:
    """Let a method return what cannot be executed as a refusal."""

    def wrapper(self: "HostScreen", /, *args: P.args, **kwargs: P.kwargs) -> Outcome:
        try:
            return method(self, *args, **kwargs)
        except (ActionRefused, UsageError, ValueError) as error:
            return Outcome(result="refused", message=str(error))

    return wrapper


class HostScreen:
    """A session as an agent sees it that names places in pixels of a screenshot.

    Args:
        session: acts, with its guards.
        limits: of the screenshots.
    """

    def __init__(self, session: Session, limits: PictureLimits | None = None) -> None:
        self.session, self.limits = session, limits or PictureLimits()
        self._picture: Picture | None = None

    def screenshot(self) -> Picture:
        """Return the screen within the limits; places are named on it from now on.

        Raises:
            ActionRefused: another request is running, or the session is over.
        """
        self._picture = Picture.of(self.session.screenshot(), self.limits)
        return self._picture

    def zoom(self, region: Sequence[int]) -> Picture:
        """Return a part of the last screenshot, enlarged; places keep their meaning.

        Args:
            region: left, top, right, bottom in pixels of the last screenshot.

        Raises:
            ActionRefused: there is no such region, or the screen has another size now.
        """
        if len(region) != 4:
            raise ActionRefused(f"expected a region [x0, y0, x1, y1], got {list(region)}")
        picture = self.picture()
        seen = self.session.screenshot()
        self._check_size(picture, seen.size)
        left, top, right, bottom = region
        return picture.crop((left, top, right, bottom), seen, self.limits)

    def picture(self) -> Picture:
        """Return the last screenshot; the first one is taken now."""
        return self._picture or self.screenshot()

    def point(self, x: float, y: float) -> Point:
        """Return the point of a pixel of the last screenshot.

        Raises:
            ActionRefused: it is outside, or the screen has another size now.
        """
        picture = self.picture()
        if (seen := self.session.seen) is not None:
            self._check_size(picture, seen.size)
        return picture.point(x, y)

    def cursor(self) -> tuple[int, int]:
        """Return where the pointer is, in pixels of the last screenshot.

        Raises:
            ActionRefused: that is not known.
        """
        return self.picture().pixel(self._pointer())

    def _pointer(self) -> Point:
        pointer = self.session.pointer
        if pointer is None:
            raise ActionRefused("where the pointer is is not known: name a coordinate")
        return pointer

    def _at(self, place: Sequence[float] | None) -> Point:
        if place is None:
            return self._pointer()
        if len(place) != 2:
            raise ActionRefused(f"expected a coordinate [x, y], got {list(place)}")
        return self.point(*place)

    def _check_size(self, picture: Picture, size: tuple[int, int]) -> None:
        if size != picture.screen:
            was, now = ("x".join(map(str, each)) for each in (picture.screen, size))
            raise ActionRefused(f"the screen was {was} in the last screenshot and is {now} now: take a screenshot")

    # --- Actions --------------------------------------------------------------------------------------------------

    @refusing
    def click(
        self,
        place: Sequence[float] | None,
        button: Button = "left",
        count: int = 1,
        held: Sequence[str] = (),
    ) -> Outcome:
        """Click at a place, or where the pointer is."""
        return self.session.act(Click(self._at(place), button, count, _held(held)))

    @refusing
    def move(self, place: Sequence[float]) -> Outcome:
        """Move the pointer."""
        return self.session.act(Move(self._at(place)))

    @refusing
    def drag(self, path: Sequence[Sequence[float]], held: Sequence[str] = ()) -> Outcome:
        """Drag along a straight path, from its first place to its last."""
        if held:
            raise ActionRefused("a drag with held keys is not possible here")
        if len(path) < 2:
            raise ActionRefused(f"expected a path of at least two places, got {len(path)}")
        start, end = self._at(path[0]), self._at(path[-1])
        for between in path[1:-1]:
            self._at(between)
            if not _is_between(between, path[0], path[-1]):
                raise ActionRefused("only a drag along a straight line is possible here: split it, or leave it")
        return self.session.act(Drag(start, end))

    @refusing
    def scroll(
        self, place: Sequence[float] | None, direction: Direction, notches: int, held: Sequence[str] = ()
    ) -> Outcome:
        """Scroll at a place, or where the pointer is."""
        if held:
            raise ActionRefused("scrolling with held keys is not possible here")
        if not 1 <= notches <= _MAX_NOTCHES:
            raise ActionRefused(f"expected 1 to {_MAX_NOTCHES} steps of the wheel, got {notches}")
        return self.session.act(Scroll(direction, notches, None if place is None else self._at(place)))

    def scroll_by(self, place: Sequence[float], x_px: float, y_px: float) -> list[Outcome]:
        """Scroll by pixels to the right and down, across after down."""
        outcomes: list[Outcome] = []
        for distance, ways in ((y_px, ("down", "up")), (x_px, ("right", "left"))):
            if distance and (not outcomes or outcomes[-1].is_sent):
                notches = max(1, round(abs(distance) / PIXELS_PER_NOTCH))
                outcomes.append(self.scroll(place, ways[distance < 0], notches))  # type: ignore[arg-type]
        return outcomes

    @refusing
    def type(self, text: str, replace: bool = False) -> Outcome:
        """Type a text where the focus is."""
        if not text and not replace:
            raise ActionRefused("there is no text to type")
        return self.session.act(Type(text, replace))

    @refusing
    def keys(self, keys: str | Sequence[str], repeat: int = 1) -> Outcome:
        """Press a chord, some times; the first press that is not sent ends it."""
        if not 1 <= repeat <= _MAX_REPEATS:
            raise ActionRefused(f"expected 1 to {_MAX_REPEATS} presses, got {repeat}")
        chord = read_keys(keys)
        outcome = self.session.act(Key(chord))
        for _ in range(repeat - 1):
            if not outcome.is_sent:
                break
            outcome = self.session.act(Key(chord))
        return outcome

    @refusing
    def wait(self, seconds: float) -> Outcome:
        """Wait."""
        if not (math.isfinite(seconds) and 0 <= seconds <= _MAX_WAIT_S):
            raise ActionRefused(f"expected 0 to {_MAX_WAIT_S:g} seconds, got {seconds}")
        return self.session.act(Wait(seconds))


def _held(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(key for name in keys for key in read_keys(name))


def _is_between(place: Sequence[float], start: Sequence[float], end: Sequence[float]) -> bool:
    """Return whether a place lies on the straight way from one place to another."""
    (x, y), (left, top) = (place[0] - start[0], place[1] - start[1]), (end[0] - start[0], end[1] - start[1])
    length = math.hypot(left, top)
    if length == 0:
        return math.hypot(x, y) <= _STRAIGHT_PX
    along, aside = (x * left + y * top) / length, abs(x * top - y * left) / length
    return -_STRAIGHT_PX <= along <= length + _STRAIGHT_PX and aside <= _STRAIGHT_PX
