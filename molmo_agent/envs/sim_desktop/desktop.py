"""The simulated desktop as an environment: seeded, reacting, and aware of whether its task is done."""

from dataclasses import dataclass
from random import Random
from typing import Any

from molmo_agent.actions import (
    Action,
    Click,
    Done,
    Drag,
    Key,
    LongPress,
    Move,
    PointAt,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.envs.sim_desktop.draw import Drawing, draw
from molmo_agent.envs.sim_desktop.reactions import Event, click, drag, press_keys, scroll, type_text
from molmo_agent.envs.sim_desktop.sampling import sample_desktop
from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.envs.sim_desktop.state import Desktop
from molmo_agent.envs.sim_desktop.tasks import FAMILIES, Goal, candidates, make_goal, matching
from molmo_agent.episode import Observation
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.transforms import ImageTransform

# Screens tried before a family is said to have no place on them.
_TRIES = 60


@dataclass(slots=True)
class _Episode:
    desktop: Desktop
    drawing: Drawing
    goal: Goal
    events: list[Event]
    steps: int = 0


class SimDesktop:
    """A desktop that exists only as a drawing, with everything on it known.

    Args:
        width: pixels of the screen.
        height: pixels of the screen.
        max_steps: steps after which an episode is truncated.
    """

    name = "sim-desktop"
    capabilities: frozenset[type] = frozenset({Click, LongPress, Drag, Move, Scroll, Type, Key, Wait, Done, PointAt})

    def __init__(self, width: int = 640, height: int = 480, *, max_steps: int = 20) -> None:
        self._size, self._max_steps = (width, height), max_steps
        self._episode: _Episode | None = None
        self._pointer = (0.0, 0.0)

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: the same seed makes the same episode; None counts as 0.
            options: ``task``: a family of :meth:`tasks`, else drawn by the seed. ``size``: (width, height) in pixels.

        Raises:
            UnknownNameError: no such family.
            UsageError: another option, or screens so small that the family finds no place.
        """
        chosen = dict(options or {})
        family_name = chosen.pop("task", None)
        width, height = chosen.pop("size", self._size)
        if chosen:
            raise UsageError(f"the simulated desktop takes the options task and size, got {', '.join(chosen)}")
        rng = Random(seed or 0)
        if family_name is None:
            family_name = rng.choice(sorted(FAMILIES))
        if family_name not in FAMILIES:
            raise UnknownNameError("task family", family_name, FAMILIES)
        family = FAMILIES[family_name]
        for _ in range(_TRIES):
            desktop = sample_desktop(rng.getrandbits(31), width=width, height=height, split="train", style=family.style)
            drawing = draw(desktop)
            found = candidates(drawing, family)
            if found:
                goal = make_goal(rng.choice(found), family, rng)
                self._episode = _Episode(desktop, drawing, goal, [])
                return self.observe(), {"instruction": goal.instruction, "is_success": False}
        raise UsageError(
            f"no screen of {width}x{height} pixels has room for the task {family_name!r}; choose a larger size"
        )

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action.

        Raises:
            ActionRefused: the desktop has no such action.
        """
        episode = self._running()
        if type(action) not in self.capabilities:
            able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
            raise ActionRefused(f"the simulated desktop cannot execute {type(action).__name__}; it executes: {able}")
        was_done = self.success
        episode.events += self._execute(episode, action)
        episode.drawing = draw(episode.desktop)
        episode.steps += 1
        terminated = self.success or isinstance(action, Done)
        truncated = not terminated and episode.steps >= self._max_steps
        reward = float(self.success and not was_done)
        return self.observe(), reward, terminated, truncated, {"is_success": self.success}

    def observe(self) -> Observation:
        """Show the screen as it is."""
        image = self._running().drawing.screen.image
        return Observation(image, ImageTransform.identity(image.shape[1], image.shape[0]))

    def close(self) -> None:
        """Forget the episode."""
        self._episode = None

    # --- Privileged: for oracles and metrics ----------------------------------------------------------------------

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        episode = self._running()
        return episode.goal.reached(episode.events)

    def screen(self) -> Screen:
        """Return the picture with everything that is true about it."""
        return self._running().drawing.screen

    def locate(self, instruction: str) -> list[Box]:
        """Return the normalized boxes of what an instruction names."""
        screen = self.screen()
        height, width = screen.image.shape[:2]
        return [Box.from_pixels(*e.box, width, height) for e in matching(screen.elements, instruction)]

    @staticmethod
    def tasks() -> tuple[str, ...]:
        """List the families."""
        return tuple(FAMILIES)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> _Episode:
        if self._episode is None:
            raise UsageError("the simulated desktop has no episode; call reset() first")
        return self._episode

    def _pixel(self, point: Point) -> tuple[float, float]:
        desktop = self._running().desktop
        x, y = point.to_pixels(desktop.width, desktop.height)
        self._pointer = (x + 0.5, y + 0.5)
        return self._pointer

    def _execute(self, episode: _Episode, action: Action) -> list[Event]:
        desktop, drawing = episode.desktop, episode.drawing
        match action:
            case Click(point=point, button="left", count=count):
                return click(desktop, drawing, *self._pixel(point), count)
            case LongPress(point=point):
                return click(desktop, drawing, *self._pixel(point))
            case Drag(start=start, end=end, button="left"):
                return drag(desktop, drawing, self._pixel(start), self._pixel(end))
            case Scroll(direction=direction, notches=notches, point=point):
                place = self._pixel(point) if point is not None else self._pointer
                scroll(desktop, drawing, *place, direction, notches)
            case Type(text=text):
                return type_text(desktop, text)
            case Key(keys=keys):
                return press_keys(desktop, keys)
            case Move(point=point) | Click(point=point):  # other buttons open nothing here
                self._pixel(point)
            case _:  # waiting, pointing and ending change nothing
                pass
        return []
