"""The nouns of an episode: what is asked, what is seen, what was answered, what was done, what came of it.

All of them are frozen. An image is a ``(height, width, 3)`` uint8 RGB array that nobody writes to.
"""

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
"""``ok``: points to act on. ``none``: the model says there are none. ``unparsed``: no well-formed answer.
``out_of_range``: a point outside the image. ``refused``: the model declined. Only ``ok`` can become an action.
"""

Effect = Literal["changed", "unchanged", "changed_elsewhere", "unknown"]
"""What the screen did after an action: changed near its point, not at all, only somewhere else, or not looked at."""


@dataclass(frozen=True, slots=True)
class LabelledPoint:
    """A normalized point with what the model called it and the number it gave it, where it did."""

    point: Point
    label: str | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResult:
    """A model's answer to "where is ...?", whatever came of it."""

    status: PointStatus
    reply: str
    points: tuple[LabelledPoint, ...] = ()
    latency_s: float = 0.0
    # Probability-like score in [0, 1] of the first point; None where the model gives none.
    confidence: float | None = None

    def __post_init__(self) -> None:
        if (self.status == "ok") != bool(self.points):
            raise ValueError(f"status 'ok' and points go together, got {self.status!r} with {len(self.points)} points")

    def at_most(self, max_points: int | None) -> "PointResult":
        """Return this answer, or ``unparsed`` where it has more points: which of them were meant is not known."""
        if max_points is None or len(self.points) <= max_points:
            return self
        return PointResult(status="unparsed", reply=self.reply, latency_s=self.latency_s)


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked. ``data`` is for the env's own bookkeeping and is shown to no model."""

    instruction: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the env shows: a picture, and how the picture's points lead back to the device."""

    image: Image
    # From points of `image` to device input units. Known only to the env and to the record.
    transform: ImageTransform
    # Keyboard focus, window title and so on, where the env knows; never a place to look up the answer.
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy answers: an action, and how it came to it."""

    action: Action
    # The part of the instruction that this step is about.
    instruction: str = ""
    # What the pointing model answered, if one was asked.
    result: PointResult | None = None


RefusalKind = Literal["deadline", "unsupported", "secret", "status", "region", "unsure", "unconfirmed", "env"]
"""Why an action was not sent. ``deadline``: the time was up. ``unsupported``: the env has no such action. ``secret``:
it asks for a secret that was not allowed. ``status``: the answer that it rests on is no point. ``region``: a point lies
where none may. ``unsure``: the model's confidence is too low. ``unconfirmed``: a person said no. ``env``: the env
refused."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action was not sent to the device."""

    kind: RefusalKind
    # For people.
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
    # Why nothing was sent to the device although an action was decided; None when it was sent.
    refused: Refusal | None = None
    # True when the action was only shown (--dry-run).
    dry_run: bool = False
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    # Seconds by part: record, policy, guard, capture, act, settle, compare; and wait, slept until the screen was still.
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
    # None where the env cannot tell.
    success: bool | None
    # Why the episode ended, for people.
    ended: str = ""
