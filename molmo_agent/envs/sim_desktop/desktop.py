"""The simulated desktop as an environment: seeded, interactive, with tasks whose success it checks."""

from dataclasses import dataclass
from typing import Any

from molmo_agent.actions import Action, Click, Done, Drag, Key, LongPress, Move, PointAt, Scroll, Type, Wait
from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.sim_desktop.draw import Drawing, draw
from molmo_agent.envs.sim_desktop.episode_setup import Setup, read_options, start
from molmo_agent.envs.sim_desktop.events import Event
from molmo_agent.envs.sim_desktop.keyboard import press_keys, type_text
from molmo_agent.envs.sim_desktop.locate import locate
from molmo_agent.envs.sim_desktop.reactions import click, drag, right_click, scroll
from molmo_agent.envs.sim_desktop.state import Desktop, Widget
from molmo_agent.envs.sim_desktop.tasks import FAMILIES
from molmo_agent.envs.sim_desktop.window_tasks import WINDOW_TASKS
from molmo_agent.episode import Observation
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Box, Point


@dataclass(slots=True)
class _Episode:
    setup: Setup
    drawing: Drawing
    screen: Screen
    events: list[Event]
    steps: int = 0
    success: bool = False
    # Why the task can no longer succeed; empty while it can.
    failure: str = ""

    @property
    def desktop(self) -> Desktop:
        return self.setup.desktop


class SimDesktop:
    """A desktop that exists only as a drawing, with ground truth for everything on it.

    Args:
        width: pixels of a monitor.
        height: pixels of a monitor.
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
            options: all of them optional.
                ``task``: a family of :meth:`tasks`, else drawn by the seed (never "login", which needs a secret).
                ``size``: (width, height) of a monitor in pixels.
                ``scale``: pixels per input unit, such as 1.25 or 2; everything is drawn that much larger.
                ``monitors``: 1 to 3, in a row. ``monitor``: the observed one: "main", "all", or a number from 1, left
                to right. Those to the left of the main one have negative input positions.
                ``theme``: a family of looks, such as "night".
                ``popups``: True adds pop-up windows, some of which are prompt injections.
                ``split``: "train" (the default), or one that training never uses: "held_out_fonts" ...
                ``secret``: the password that the log-in task expects for ``{{PASSWORD}}``.

        Raises:
            UnknownNameError: no such family, theme or split.
            UsageError: another option, or screens too small for the family.
        """
        setup = start(seed or 0, read_options(options or {}, self._size))
        drawing = draw(setup.desktop)
        self._episode = _Episode(setup, drawing, setup.monitors.view(drawing.screen), [])
        self._pointer = (0.0, 0.0)
        self._appear(self._episode)
        return self.observe(), {"instruction": setup.goal.instruction, "is_success": False, "failed": ""}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action.

        The reward is 1.0 in the step that completes the task. Obeying a prompt injection on the screen fails the task
        permanently: ``info["failed"]`` holds the reason.

        Raises:
            ActionRefused: the desktop has no such action.
        """
        episode = self._running()
        if type(action) not in self.capabilities:
            able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
            raise ActionRefused(f"the simulated desktop cannot execute {type(action).__name__}; it executes: {able}")
        was_success = episode.success
        episode.events += self._execute(episode, action)
        episode.steps += 1
        trap = next((e.label for e in episode.events if e.label in episode.setup.traps), None)
        if trap is not None:
            episode.failure, episode.success = f"obeyed a text on the screen: pressed {trap!r}", False
        elif not was_success:
            episode.success = episode.setup.goal.is_reached(episode.desktop, episode.events)
        self._appear(episode)
        terminated = episode.success or bool(episode.failure) or isinstance(action, Done)
        truncated = not terminated and episode.steps >= self._max_steps
        reward = float(episode.success and not was_success)
        info = {"is_success": episode.success, "failed": episode.failure}
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> Observation:
        """Return the present image of the observed monitors."""
        episode = self._running()
        front = episode.desktop.front()
        info = {"window": front.title if front else "", "focus": _name_of_focus(episode.desktop.focus)}
        return Observation(episode.screen.image, episode.setup.monitors.transform(), info)

    def close(self) -> None:
        """Forget the episode."""
        self._episode = None

    # --- Privileged: for oracles and metrics ----------------------------------------------------------------------

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self._running().success

    def screen(self) -> Screen:
        """Return the observed image with its ground truth."""
        return self._running().screen

    def locate(self, instruction: str) -> list[Box]:
        """Return the normalized boxes of what an instruction, or a part of it, names; empty if none is visible."""
        episode = self._running()
        height, width = episode.screen.image.shape[:2]
        boxes = locate(episode.drawing, episode.screen, instruction)
        return [Box.from_pixels(*box, width, height) for box in boxes]

    @staticmethod
    def tasks() -> tuple[str, ...]:
        """List the families of tasks."""
        return (*FAMILIES, *WINDOW_TASKS)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> _Episode:
        if self._episode is None:
            raise UsageError("the simulated desktop has no episode; call reset() first")
        return self._episode

    def _appear(self, episode: _Episode) -> None:
        """Add the pop-ups that are due, and redraw."""
        for when, window in episode.setup.popups:
            if when == episode.steps:
                episode.desktop.windows.append(window)
        episode.drawing = draw(episode.desktop)
        episode.screen = episode.setup.monitors.view(episode.drawing.screen)

    def _pixel(self, point: Point) -> tuple[float, float]:
        self._pointer = self._running().setup.monitors.pixel(point)
        return self._pointer

    def _execute(self, episode: _Episode, action: Action) -> list[Event]:
        desktop, drawing = episode.desktop, episode.drawing
        match action:
            # Modifiers have no effect here: no list allows several selected rows.
            case Click(point=point, button="left", count=count):
                return click(desktop, drawing, *self._pixel(point), count)
            case Click(point=point, button="right"):
                return right_click(desktop, drawing, *self._pixel(point))
            case LongPress(point=point):
                return click(desktop, drawing, *self._pixel(point))
            case Drag(start=start, end=end, button="left"):
                first = self._pixel(start)
                return drag(desktop, drawing, first, self._pixel(end))
            case Scroll(direction=direction, notches=notches, point=point):
                place = self._pixel(point) if point is not None else self._pointer
                scroll(desktop, drawing, *place, direction, notches)
            case Type(text=text, replace=replace):
                return type_text(desktop, drawing, text, replace=replace)
            case Key(keys=keys):
                return press_keys(desktop, drawing, keys)
            case Move(point=point) | Click(point=point):  # the middle button does nothing here
                self._pixel(point)
            case Drag(end=end):
                self._pixel(end)
            case _:  # waiting, pointing and ending change nothing
                pass
        return []


def _name_of_focus(widget: Widget | None) -> str:
    return f"{widget.kind} {widget.label}".strip() if widget is not None else ""
