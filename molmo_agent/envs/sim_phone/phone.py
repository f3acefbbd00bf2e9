"""The simulated phone as an environment: seeded, interactive, with tasks whose success it checks."""

import random
from dataclasses import dataclass, field
from typing import Any, assert_never, cast

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.envs.android.gestures import scroll_swipes
from molmo_agent.envs.android.keys import keycode
from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_phone import touch
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.draw import Drawing, draw
from molmo_agent.envs.sim_phone.locate import locate
from molmo_agent.envs.sim_phone.looks import THEMES
from molmo_agent.envs.sim_phone.state import Phone
from molmo_agent.envs.sim_phone.tasks import FAMILIES, WITHOUT_POINTS, Goal, make_goal
from molmo_agent.episode import Observation
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point, Stroke
from molmo_agent.transforms import ImageTransform

_RANDOM_FAMILIES = [family for family in FAMILIES if family not in WITHOUT_POINTS]
_OPTIONS = ("task", "size", "rotation", "theme", "split")
_SPLITS = ("train", "held_out", "all")
# Phones to sample before giving up on a family.
_TRIES = 20
# Pixels; narrower screens have no room for text.
_SMALLEST = 200


@dataclass(slots=True)
class _Episode:
    phone: Phone
    goal: Goal
    drawing: Drawing = field(init=False)
    steps: int = 0
    success: bool = False

    def __post_init__(self) -> None:
        self.drawing = draw(self.phone)


class SimPhone:
    """A phone that exists only as a drawing, with ground truth for everything on it.

    Args:
        width: pixels, held upright.
        height: pixels, held upright.
        max_steps: steps after which an episode is truncated.
    """

    name = "sim-phone"
    capabilities: frozenset[type] = frozenset(
        {Click, LongPress, Drag, Scroll, Type, Key, OpenApp, Back, Home, Wait, Done, PointAt}
    )

    def __init__(self, width: int = 360, height: int = 640, *, max_steps: int = 20) -> None:
        self._size, self._max_steps = (width, height), max_steps
        self._episode: _Episode | None = None

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: the same seed makes the same episode; None counts as 0.
            options: all of them optional.
                ``task``: a family of :meth:`tasks`, else one that needs pointing, drawn by the seed.
                ``size``: (width, height) in pixels, held upright.
                ``rotation``: quarter turns, 0 to 3; the screen of 1 and 3 is wider than high.
                ``theme``: "light" or "dark".
                ``split``: which words texts are made of: "train" (the default), "held_out" or "all".

        Raises:
            UnknownNameError: no such family, theme or split.
            UsageError: another option, or a screen too small for the family.
        """
        self._episode = _start(seed or 0, options or {}, self._size)
        return self.observe(), {"instruction": self._episode.goal.instruction, "is_success": False}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action. The reward is 1.0 in the step that does the task.

        Raises:
            ActionRefused: the phone has no such action, app or key.
        """
        episode = self._running()
        was_success = episode.success
        self._execute(episode.phone, action)
        episode.steps += 1
        episode.drawing = draw(episode.phone)
        episode.success = was_success or episode.goal.is_reached(episode.phone)
        terminated = episode.success or isinstance(action, Done)
        truncated = not terminated and episode.steps >= self._max_steps
        reward = float(episode.success and not was_success)
        return self.observe(), reward, terminated, truncated, {"is_success": episode.success}

    def observe(self) -> Observation:
        """Return the present screen."""
        episode = self._running()
        image = episode.drawing.screen.image
        top = episode.phone.top
        info = {"app": top.app.label if top else "", "rotation": episode.phone.rotation}
        return Observation(image, ImageTransform.identity(image.shape[1], image.shape[0]), info)

    def strokes(self, action: Action) -> tuple[Stroke, ...] | None:
        """Return the ways of the finger for a scroll, which may begin beside its point; None for other actions."""
        if not isinstance(action, Scroll):
            return None
        size = self._running().phone.size
        place = None if action.point is None else action.point.to_pixels(*size)
        swipes = scroll_swipes(action.direction, action.notches, size, place)
        return tuple((Point.from_pixel(x0, y0, *size), Point.from_pixel(x1, y1, *size)) for x0, y0, x1, y1 in swipes)

    def close(self) -> None:
        """Forget the episode."""
        self._episode = None

    # --- Privileged: for oracles, metrics and tests ---------------------------------------------------------------

    @property
    def phone(self) -> Phone:
        """The phone itself."""
        return self._running().phone

    def screen(self) -> Screen:
        """Return the image with its ground truth."""
        return self._running().drawing.screen

    def locate(self, instruction: str) -> list[Box]:
        """Return the normalized boxes of what an instruction, or a part of it, names; empty if none is visible."""
        screen = self.screen()
        height, width = screen.image.shape[:2]
        return [Box.from_pixels(*box, width, height) for box in locate(screen, instruction)]

    @staticmethod
    def tasks() -> tuple[str, ...]:
        """List the families of tasks."""
        return tuple(FAMILIES)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> _Episode:
        if self._episode is None:
            raise UsageError("the simulated phone has no episode; call reset() first")
        return self._episode

    def _execute(self, phone: Phone, action: Action) -> None:
        def pixel(point: Point) -> tuple[int, int]:
            return point.to_pixels(*phone.size)

        match action:
            case Click(point=point, button="left", count=count, held=()):
                for _ in range(count):
                    touch.tap(phone, *pixel(point))
            case LongPress(point=point):
                touch.long_press(phone, *pixel(point))
            case Drag(start=start, end=end, button="left"):
                touch.swipe(phone, *pixel(start), *pixel(end), 500)
            case Scroll(direction=direction, notches=notches, point=place):
                down = pixel(place) if place is not None else None
                for move in scroll_swipes(direction, notches, phone.size, down):
                    touch.swipe(phone, *move)
            case Type(text=text, replace=replace):
                if replace and phone.focus is not None:
                    phone.fields[phone.focus] = ""
                text = text.replace("\r\n", "\n").replace("\r", "\n")
                for number, line in enumerate(text.split("\n")):
                    if number:
                        touch.press_key(phone, "KEYCODE_ENTER")
                    touch.enter_text(phone, line)
            case Key(keys=keys):
                codes = [keycode(key) for key in keys]
                if len(codes) == 1:
                    touch.press_key(phone, codes[0])
            case OpenApp(name=name):
                app = next((app for app in phone.apps if name.casefold() in (app.label.casefold(), app.package)), None)
                if app is None:
                    raise ActionRefused(str(UnknownNameError("app", name, [app.label for app in phone.apps])))
                phone.launch(app)
            case Back():
                phone.back()
            case Home():
                phone.home()
            case Wait() | Done() | PointAt():
                pass
            case Click(held=(_, *_)):
                raise ActionRefused("a phone has no keys to hold during a tap; for several things try LongPress")
            case Click() | Drag():
                raise ActionRefused(f"a finger has no {action.button} button; use LongPress, or the left one")
            case Move():
                able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
                raise ActionRefused(f"a phone has no pointer to move; it executes: {able}")
            case _:
                assert_never(action)


def _start(seed: int, options: dict[str, Any], size: tuple[int, int]) -> _Episode:
    unknown = set(options) - set(_OPTIONS)
    if unknown:
        raise UnknownNameError("option of the simulated phone", min(unknown), _OPTIONS)
    family, theme, split = options.get("task"), options.get("theme"), options.get("split", "train")
    for what, value, choices in (
        ("task family", family, FAMILIES),
        ("theme", theme, THEMES),
        ("split", split, _SPLITS),
    ):
        if value is not None and value not in choices:
            raise UnknownNameError(what, str(value), choices)
    width, height = options.get("size", size)
    if min(width, height) < _SMALLEST or not isinstance(width, int) or not isinstance(height, int):
        raise UsageError(f"size must be (width, height), each {_SMALLEST} pixels or more, got {(width, height)}")
    rotation = options.get("rotation", 0)
    if rotation not in (0, 1, 2, 3):
        raise UsageError(f"rotation must be 0, 1, 2 or 3 quarter turns, got {rotation!r}")
    for attempt in range(_TRIES):
        rng = random.Random(f"task {seed} {attempt}")
        phone = make_phone(seed + 1000003 * attempt, width, height, theme=theme, split=cast(WordSplit, split))
        phone.rotation = rotation
        goal = make_goal(family or rng.choice(_RANDOM_FAMILIES), phone, rng)
        if goal is not None:
            return _Episode(phone, goal)
    raise UsageError(
        f"none of {_TRIES} phones of {width}x{height} has room for {family or 'a task'}; choose a larger size"
    )
