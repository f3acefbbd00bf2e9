"""MiniWoB++ as an environment: small web pages in a real Chromium, observed as pixels only. Needs the extra ``web``.

The pages come with the package ``miniwob``; no network is used. Their clock is stopped, so a slow model has no
disadvantage.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.actions import Action, Click, Drag, Key, LongPress, Move, PointAt, Scroll, Type, Wait
from molmo_agent.envs.drawing.annotated_screen import TextRun
from molmo_agent.envs.gymnasium_api.screen_envs import DeviceEnv
from molmo_agent.envs.web.browser import Browser
from molmo_agent.envs.web.elements import PageElement, find, read_elements
from molmo_agent.envs.web.fields import front, replace_text
from molmo_agent.envs.web.text_lines import read_texts
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import ActionRefused, EnvError, MissingExtraError, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point, Stroke
from molmo_agent.interfaces import EnvTraits
from molmo_agent.transforms import ImageTransform

# CSS pixels of a task; the page around it shows rewards.
WIDTH, HEIGHT = 160, 210
# CSS pixels of the whole view, as in the package's own window.
_VIEW = (500, 320)
# CSS pixels of a wheel's notch: the amount that the package's own scrolling has.
_NOTCH_PX = 50
# The longest time that setTimeout supports: 24 days.
_NO_CLOCK_MS = 2**31 - 1
# The cover that asks to start the next episode would hide the final state of the page.
_BEGIN_JS = f"""
core.EPISODE_MAX_TIME = {_NO_CLOCK_MS};
core.cover_div.style.opacity = 0;
core.setDataMode('train');
Math.seedrandom(arguments[0]);
core.startEpisodeReal();
"""
_STATE_JS = """
const utterance = core.getUtterance(), focus = document.activeElement;
return {
    utterance: typeof utterance == 'string' ? utterance : utterance.utterance,
    ready: WOB_TASK_READY, done: WOB_DONE_GLOBAL, raw_reward: WOB_RAW_REWARD_GLOBAL,
    focus: focus && focus !== document.body ? (focus.type || focus.tagName.toLowerCase()) + ' ' + (focus.id || '') : ''
};
"""
_READY_S = 10.0


def _pages() -> Path:
    try:
        import miniwob
    except ImportError as error:
        raise MissingExtraError("MiniWoB++", "web") from error
    return Path(miniwob.__file__).parent / "html" / "miniwob"


def tasks() -> tuple[str, ...]:
    """List the tasks: the pages of the package, except for its three copies of airlines' pages.

    Raises:
        MissingExtraError: the package is not installed.
    """
    return tuple(sorted(page.stem for page in _pages().glob("*.html")))


class MiniWob:
    """One page of MiniWoB++; ``options={"task": ...}`` of :meth:`reset` opens another one in the same browser.

    Args:
        task: a name of :func:`tasks`, such as "click-test-2".
        scale: pixels of the image per CSS pixel. The page has 160 x 210 of these, which is little to read.
        max_steps: steps after which an episode is truncated.
    """

    # A step waits for Chromium; other envs may act meanwhile.
    traits = EnvTraits(waits_outside=True, live=True)
    capabilities: frozenset[type] = frozenset({Click, LongPress, Drag, Move, Scroll, Type, Key, Wait, PointAt})

    def __init__(self, task: str = "click-test-2", *, scale: int = 2, max_steps: int = 20) -> None:
        if scale not in (1, 2, 3, 4):
            raise UsageError(f"scale must be 1, 2, 3 or 4 pixels per CSS pixel, got {scale!r}")
        self._task = _check_task(task)
        self.name = f"miniwob:{self._task}"
        self._scale, self._max_steps = scale, max_steps
        self._browser = Browser(*_VIEW, scale=scale)
        self._rng = np.random.default_rng()
        # None before the first reset, and after the browser was lost.
        self._steps: int | None = None
        self._over = False
        self._focus = ""
        self._pointer = (0, 0)
        self.between_inputs: Callable[[bool], None] = lambda holding: None
        """Called between the parts of a text; what it raises ends it."""

    @property
    def screen_size(self) -> tuple[int, int]:
        """(width, height) of the observations in pixels."""
        return WIDTH * self._scale, HEIGHT * self._scale

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Load the page from scratch and start an episode; the browser is started when there is none.

        Args:
            seed: decides the episode as it does in the package's own env; None draws one.
            options: ``task`` opens another page from now on.

        Raises:
            EnvError: Chromium is not installed, does not start, or the page does not load.
            UnknownNameError: no such task.
            UsageError: another option.
        """
        options = dict(options or {})
        self._task = _check_task(options.pop("task", self._task))
        self.name = f"miniwob:{self._task}"
        if options:
            raise UsageError(f"expected the option task, got {', '.join(options)}")
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        number = seed if seed is not None else int(self._rng.integers(2**31))
        self._steps = None
        try:
            self._browser.start()
            self._browser.open((_pages() / f"{self._task}.html").as_uri())
            self._browser.script(_BEGIN_JS, number)
            state = self._await_ready()
            self._steps, self._over, self._focus, self._pointer = 0, False, state["focus"], (0, 0)
            observation = self.observe()
        except BaseException:
            self._browser.close()
            raise
        return observation, {"instruction": state["utterance"], "is_success": False}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action.

        When the page ends the episode, the reward is 1.0 or -1.0. A partial solution counts as a failure;
        ``info["raw_reward"]`` holds its own reward.

        Raises:
            ActionRefused: pages have no such action, or there is no such key.
            EnvError: the browser is gone; reset() starts another one.
            UsageError: no episode is running.
        """
        from miniwob.reward import get_binary_reward

        if type(action) not in self.capabilities:
            able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
            raise ActionRefused(f"a web page cannot execute {type(action).__name__}; it executes: {able}")
        self._running()
        if self._over:
            raise UsageError("the episode has ended; call reset()")
        try:
            self._execute(action)
            state = self._browser.script(_STATE_JS)
            # A move is the first half of a click: the loop sends it to see what the pointer highlights.
            self._steps = self._running() + (not isinstance(action, Move))
            self._over, self._focus = bool(state["done"]), state["focus"]
            observation = self.observe()
        except EnvError:
            self.close()
            raise
        reward = float(get_binary_reward(state))
        truncated = not self._over and self._steps >= self._max_steps
        raw = float(state["raw_reward"]) if self._over else 0.0
        return observation, reward, self._over, truncated, {"is_success": reward == 1.0, "raw_reward": raw}

    def observe(self) -> Observation:
        """Capture the page."""
        self._running()
        image = self._browser.image(WIDTH, HEIGHT)
        height, width = image.shape[:2]
        transform = ImageTransform.identity(width, height).scale(self._scale)
        shown = front(self._browser)
        info = {"focus": self._focus.strip(), "page": shown["page"], "field": shown["field"]}
        return Observation(image, transform, info)

    def strokes(self, action: Action) -> tuple[Stroke, ...] | None:
        """Return where keys and text would go, the middle of the focused field, and a scroll without a point."""
        match action:
            case Key() | Type() if box := front(self._browser)["box"]:
                left, top, right, bottom = box
                x, y = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
                return ((Point(x, y),),) if 0 <= x <= 1 and 0 <= y <= 1 else None
            case Scroll(point=None):
                return ((Point.from_pixel(*self._pointer, WIDTH, HEIGHT),),)
            case _:
                return None

    def render(self) -> Image:
        """Return only the image, as in Gymnasium."""
        return self.observe().image

    def close(self) -> None:
        """Close the browser."""
        self._steps = None
        self._browser.close()

    # --- Privileged: for oracles, metrics and training data -------------------------------------------------------

    def elements(self) -> tuple[PageElement, ...]:
        """List the clickable elements, each with an uncovered box."""
        self._running()
        return read_elements(self._browser, WIDTH, HEIGHT)

    def texts(self) -> tuple[TextRun, ...]:
        """List the readable lines of text, in CSS pixels."""
        self._running()
        return read_texts(self._browser, WIDTH, HEIGHT)

    def locate(self, instruction: str) -> list[Box]:
        """Return the normalized boxes of what an instruction, or a part of it, names; empty if none is visible."""
        return [element.box for element in find(self.elements(), instruction)]

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> int:
        if self._steps is None:
            raise UsageError("the page has no episode; call reset() first")
        return self._steps

    def _await_ready(self) -> Any:
        deadline = time.monotonic() + _READY_S
        while not (state := self._browser.script(_STATE_JS))["ready"]:
            if time.monotonic() > deadline:
                raise EnvError(
                    f"the page {self._task!r} was not ready after {_READY_S:g} s; is the machine overloaded?"
                )
            time.sleep(0.02)
        return state

    def _check_field(self, typed: str) -> None:
        """Check in the middle of a text that it still reaches its field.

        Raises:
            EnvError: another page or field has the focus, and no typed key moved it there.
        """
        self.between_inputs(False)
        now, before = front(self._browser), self._typing_into
        if now["page"] != before["page"] or (now["field"] != before["field"] and not set(typed) & {"\n", "\t"}):
            raise EnvError("another page or field got the keyboard in the middle of a text: the rest was not typed")

    def _at(self, point: Any) -> tuple[int, int]:
        self._pointer = ImageTransform.identity(*self.screen_size).scale(self._scale).to_device(point)
        return self._pointer

    def _execute(self, action: Action) -> None:
        page = self._browser
        self._typing_into = front(page) if isinstance(action, Type) else {}
        match action:
            case Click(point=point, button=button, count=count, held=held):
                page.click(*self._at(point), button, count, modifiers=held)
            case LongPress(point=point, duration_s=duration_s):
                page.click(*self._at(point), hold_s=duration_s)
            case Drag(start=start, end=end, button=button):
                first = self._at(start)
                page.drag(first, self._at(end), button)
            case Move(point=point):
                page.move(*self._at(point))
            case Scroll(direction=direction, notches=notches, point=point):
                x, y = self._at(point) if point is not None else self._pointer
                amount = notches * _NOTCH_PX
                right = {"left": -amount, "right": amount}.get(direction, 0)
                page.scroll(x, y, right, {"up": -amount, "down": amount}.get(direction, 0))
            case Type(text=text, replace=True):
                replace_text(page, text, self._check_field)
            case Type(text=text):
                page.type(text, self._check_field)
            case Key(keys=keys):
                page.press(keys)
            case Wait(duration_s=duration_s):
                time.sleep(duration_s)
            case _:  # pointing changes nothing
                pass


def make_miniwob(task: str = "click-test-2", *, render_mode: str | None = None, **options: Any) -> DeviceEnv:
    """Make a task as a gymnasium env whose points are clicks; ``options`` are those of :class:`MiniWob`."""
    env = MiniWob(task, **options)
    return DeviceEnv(env, size=env.screen_size, render_mode=render_mode)


def _check_task(task: str) -> str:
    names = tasks()
    if task not in names:
        raise UnknownNameError("MiniWoB++ task", task, names)
    return task
