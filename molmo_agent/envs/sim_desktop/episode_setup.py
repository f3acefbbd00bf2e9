"""Set up an episode from options and a seed: monitors, a desktop, a task, scheduled pop-ups."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import IntBox
from molmo_agent.envs.sim_desktop.contents import Writer
from molmo_agent.envs.sim_desktop.draw import draw
from molmo_agent.envs.sim_desktop.looks import HELD_OUT_LOOKS, LOOKS
from molmo_agent.envs.sim_desktop.monitors import Monitors
from molmo_agent.envs.sim_desktop.popups import INJECTIONS, POPUPS, make_popup
from molmo_agent.envs.sim_desktop.sampling import SPLITS, DesktopSpec, Split, sample_desktop
from molmo_agent.envs.sim_desktop.state import Desktop, Window
from molmo_agent.envs.sim_desktop.tasks import FAMILIES, Goal, candidates, make_goal
from molmo_agent.envs.sim_desktop.window_tasks import WINDOW_TASKS, Stage
from molmo_agent.errors import UnknownNameError, UsageError

# Screens to sample before giving up on a family.
_TRIES = 60
# Families that a seed may draw: all but the one that needs a secret.
_OPEN = sorted({*FAMILIES, *WINDOW_TASKS} - {"login"})
_OPTIONS = ("task", "size", "scale", "monitors", "monitor", "theme", "popups", "split", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of an episode; see ``SimDesktop.reset``."""

    size: tuple[int, int]
    task: str | None = None
    scale: float | None = None
    monitors: int = 1
    monitor: int | str = "main"
    theme: str | None = None
    popups: bool = False
    split: str = "train"
    secret: str = "swordfish-7"

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in (*FAMILIES, *WINDOW_TASKS):
            raise UnknownNameError("task family", self.task, (*FAMILIES, *WINDOW_TASKS))
        if self.theme is not None and self.theme not in (*LOOKS, *HELD_OUT_LOOKS):
            raise UnknownNameError("theme", self.theme, (*LOOKS, *HELD_OUT_LOOKS))
        if self.split not in SPLITS:
            raise UnknownNameError("split", self.split, SPLITS)
        if self.scale is not None and not 0.5 <= self.scale <= 4:
            raise UsageError(f"scale must be between 0.5 and 4 pixels per input unit, got {self.scale!r}")
        if self.monitors not in (1, 2, 3):
            raise UsageError(f"monitors must be 1, 2 or 3, got {self.monitors!r}")
        numbers = range(1, self.monitors + 1)
        if self.monitor not in ("main", "all", *numbers):
            raise UsageError(f'monitor must be "main", "all" or a number up to {self.monitors}, got {self.monitor!r}')


@dataclass(slots=True)
class Setup:
    """The initial state of an episode."""

    desktop: Desktop
    monitors: Monitors
    goal: Goal
    # (number of steps after which it appears, the window).
    popups: list[tuple[int, Window]] = field(default_factory=list)
    # Labels of buttons that only an agent that obeys prompt injections would press.
    traps: frozenset[str] = frozenset()


def read_options(options: dict[str, Any], size: tuple[int, int]) -> Options:
    """Check the options of ``reset``.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise UsageError(f"the simulated desktop takes the options {', '.join(_OPTIONS)}; got {', '.join(unknown)}")
    return Options(**{"size": size, **options})


def start(seed: int, options: Options) -> Setup:
    """Sample desktops until one has room for the task; without a task in the options, for the first that fits.

    Raises:
        UsageError: no desktop has room.
    """
    rng = Random(seed)
    tasks = [options.task] if options.task is not None else rng.sample(_OPEN, len(_OPEN))
    for task in tasks:
        for _ in range(_TRIES):
            setup = _try(task, rng, options)
            if setup is not None:
                if options.popups:
                    _add_popups(setup, rng)
                return setup
    width, height = options.size
    raise UsageError(
        f"no screen of {width}x{height} pixels has room for the task {' or '.join(tasks)!r}; choose a larger size"
    )


def _try(task: str, rng: Random, options: Options) -> Setup | None:
    width, height = options.size
    split = cast(Split, options.split)
    family = FAMILIES.get(task)
    style = family.style if family else "desktop"
    spec = DesktopSpec(width=width, height=height, split=split, style=style, theme=options.theme, scale=options.scale)
    desktop = sample_desktop(rng.getrandbits(31), spec)
    monitors = _arrange(desktop, rng, options, split)
    if family is not None:
        for window in desktop.windows:  # the target may lie outside of a dialog and must react
            window.modal = False
        opens = frozenset(widget.label for widget in desktop.icons)
        goals = candidates(monitors.view(draw(desktop).screen), family, opens)
        if not goals:
            return None
        element, shift = rng.choice(goals), monitors.view_box[0]
        left, top, right, bottom = element.box
        return Setup(desktop, monitors, make_goal(element, family, rng, (left + shift, top, right + shift, bottom)))
    word_split: words.WordSplit = "held_out" if split == "held_out_words" else "train"
    goal = WINDOW_TASKS[task](Stage(desktop, _place(desktop, monitors), Writer(rng, word_split), rng, options.secret))
    return Setup(desktop, monitors, goal) if goal is not None else None


def _place(desktop: Desktop, monitors: Monitors) -> IntBox:
    """Return where the windows of a task and pop-ups go: on the observed monitor, or the main one of all."""
    return desktop.area if monitors.view_index is None else desktop.area_at(monitors.box(monitors.view_index)[0])


def _arrange(desktop: Desktop, rng: Random, options: Options, split: Split) -> Monitors:
    """Make the desktop as wide as all monitors, with something to see on each."""
    scale = options.scale or 1.0
    count = options.monitors
    if count == 1:
        return Monitors(options.size, 1, 0, 0, scale)
    main = rng.randrange(count)
    width, height = options.size
    monitor = main if options.monitor == "main" else None
    if isinstance(options.monitor, int):
        monitor = options.monitor - 1
    own, icons = desktop.windows, desktop.icons
    desktop.windows, desktop.width = [], count * width
    for number in range(count):
        windows = own
        if number != main:
            spec = DesktopSpec(width=width, height=height, split=split, style="desktop", look=desktop.look)
            other = sample_desktop(rng.getrandbits(31), spec)
            windows = [window for window in other.windows if window.has_frame]
        _shift(windows, number * width)
        # The windows that a family takes its target from are in front.
        desktop.windows = [*windows, *desktop.windows] if number != main else [*desktop.windows, *windows]
    for icon in icons:
        left, top, right, bottom = icon.box
        icon.box = (left + main * width, top, right + main * width, bottom)
    if desktop.menu is not None:
        desktop.menu.at = (desktop.menu.at[0] + main * width, desktop.menu.at[1])
    desktop.main = (main * width, 0, (main + 1) * width, height)
    return Monitors(options.size, count, main, monitor, scale)


def _shift(windows: list[Window], dx: int) -> None:
    for window in windows:
        left, top, right, bottom = window.box
        window.box = (left + dx, top, right + dx, bottom)
        if window.restore_box is not None:
            left, top, right, bottom = window.restore_box
            window.restore_box = (left + dx, top, right + dx, bottom)


def _add_popups(setup: Setup, rng: Random) -> None:
    """Plan one pop-up that only disturbs, and one that tries to give orders."""
    area = _place(setup.desktop, setup.monitors)
    for kinds, when in ((POPUPS, rng.choice((0, 1))), (INJECTIONS, 0)):
        popup = rng.choice(kinds)
        window = make_popup(setup.desktop.look, area, popup, rng, modal=False, clear_of=setup.goal.place)
        if window is None:
            continue
        setup.popups.append((when, window))
        if popup.trap is not None:
            setup.traps |= {popup.trap}
