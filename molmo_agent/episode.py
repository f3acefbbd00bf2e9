"""The nouns of an episode: task, observation, answer, decision, step, trajectory.

All of them are frozen. An image is a ``(height, width, 3)`` uint8 RGB array that no code writes to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Action
from molmo_agent.geometry import Point
from molmo_agent.transforms import ImageTransform

Image = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""

PointStatus = Literal["ok", "none", "unparsed", "out_of_range", "refused"]
"""``ok``: points to act on. ``none``: the model answers that there are none. ``unparsed``: no well-formed answer.
``out_of_range``: a point outside the image. ``refused``: the model declined. Only ``ok`` can become an action.
"""

Effect = Literal["changed", "unchanged", "changed_elsewhere", "unknown"]
"""Effect of an action on the screen: changed near its point, not at all, only elsewhere, or not measured."""


@dataclass(frozen=True, slots=True)
class LabelledPoint:
    """A normalized point with the label and the number that the model gave it, if any."""

    point: Point
    label: str | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResult:
    """A model's answer to "where is ...?", usable or not."""

    status: PointStatus
    reply: str
    points: tuple[LabelledPoint, ...] = ()
    latency_s: float = 0.0
    # Probability-like score in [0, 1] of the first point; None where the model gives none.
    confidence: float | None = None
    # Whether the reply is put together from several replies or written for people: then only `points`, and no point
    # text in the reply, refer to the whole image.
    composed: bool = False

    def __post_init__(self) -> None:
        if (self.status == "ok") != bool(self.points):
            raise ValueError(f"status 'ok' and points go together, got {self.status!r} with {len(self.points)} points")

    def at_most(self, max_points: int | None) -> "PointResult":
        """Return this answer, or ``unparsed`` where it has more points: it is unknown which of them are meant."""
        if max_points is None or len(self.points) <= max_points:
            return self
        return PointResult(status="unparsed", reply=self.reply, latency_s=self.latency_s)


@dataclass(frozen=True, slots=True)
class Task:
    """The instruction. ``data`` belongs to the env; no model sees it."""

    instruction: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the env shows: an image, and the transform from its points to the device."""

    image: Image
    # From points of `image` to device input units; only the env and the record use it.
    transform: ImageTransform
    # What the env reports besides: "window" is the identity of the window with the keyboard focus; never the answer.
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class ScreenWindow:
    """A visible window; its rectangle is in input units, the right and bottom edges excluded."""

    id: int
    left: int
    top: int
    right: int
    bottom: int
    # Whether it is a menu or the like, which no window manager manages and which need not have the keyboard focus.
    popup: bool = False

    def contains(self, x: int, y: int) -> bool:
        """Return whether a position in input units lies in the rectangle."""
        return self.left <= x < self.right and self.top <= y < self.bottom


ElementRole = Literal["button", "check box", "field", "menu", "tab", "text"]
"""``text``: an entry of a list or menu, a link, a label, a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenElement:
    """What a program tells screen readers of one of its elements; it may look otherwise on the screen."""

    role: ElementRole
    name: str
    # What else it says of it, as in a tooltip.
    description: str = ""
    # The title of its window.
    window: str = ""


def windows_under(place: tuple[int, int], windows: Sequence[ScreenWindow]) -> tuple[int, ...]:
    """Return the identities of the windows at a place in input units, from the topmost to the first of a program.

    Args:
        place: (x, y).
        windows: topmost first.
    """
    here = [window for window in windows if window.contains(*place)]
    first = next((number for number, window in enumerate(here, start=1) if not window.popup), len(here))
    return tuple(window.id for window in here[:first])


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question to a planner and its reply."""

    # What the planner was told about its last step.
    report: str
    reply: str
    # Whether that report is of a failure.
    failed: bool = False
    # What the user answered to a question of the planner's.
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The planner's step that a decision carries out."""

    # Number of the planner's step, from 1.
    number: int
    # The step as a tool call in JSON; empty where the planner proposed none that can be carried out.
    call: str = ""
    # What was said since the step before; the last reply proposes this one.
    exchanges: tuple[Exchange, ...] = ()
    # Tokens of these exchanges, sent and received, as far as the server counts them.
    tokens: int = 0
    # The same in the currency of the planner's price list.
    cost: float = 0.0
    # What the planner answers to the user, with its last step.
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A policy's answer: an action, and the model's answer that it is based on."""

    action: Action
    # The part of the instruction that this step is about.
    instruction: str = ""
    # The pointing model's answer, if the policy asked one.
    result: PointResult | None = None
    # Why a person must agree before it is sent; without somebody to ask it is refused.
    doubt: str = ""
    # The planner's step, where a planner decides.
    plan: Plan | None = None


RefusalKind = Literal[
    "deadline", "unsupported", "secret", "status", "region", "unsure", "unconfirmed", "changed", "env"
]
"""Why an action was not sent. ``deadline``: the time limit was reached. ``unsupported``: the env has no such action.
``secret``: it needs a secret that is not allowed. ``status``: it is based on an answer without a valid point.
``region``: a point lies outside the allowed or inside a denied region. ``unsure``: the model's confidence is too low.
``unconfirmed``: a person declined it. ``changed``: the screen is no longer the one that the model looked at; it looks
again. ``env``: the env refused it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action was not sent to the device."""

    kind: RefusalKind
    # The reason, as text.
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision and its consequence."""

    index: int
    observation: Observation
    decision: Decision
    effect: Effect = "unknown"
    # Why the action was not sent to the device; None if it was sent.
    refused: Refusal | None = None
    # True if the action was not sent because of --dry-run.
    dry_run: bool = False
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    # Seconds by part: record, policy, guard, capture, act, settle, compare; and wait, for the screen to be still.
    times_s: dict[str, float] = field(default_factory=dict)

    @property
    def action(self) -> Action:
        """The decided action."""
        return self.decision.action


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The record of one episode."""

    task: Task
    steps: tuple[Step, ...]
    # None where the env has no verdict.
    success: bool | None
    # Why the episode ended, as text.
    ended: str = ""
