"""The protocols that everything else plugs into: a pointing model, what answers in words, a policy, an environment.

Optional abilities are typed too. A method that only some have is a protocol of its own (``Answerer``, ``Locator``);
what a model, a policy or an env declares about itself is its attribute ``traits``. Read it through
:func:`model_traits`, :func:`policy_traits` and :func:`env_traits`, which return the defaults for those without.

A model may report what each question uses (:func:`report_usage`); whoever measures collects (:func:`collect_usage`).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from molmo_agent.actions import Action, Click, Done, PointAt, Wait
from molmo_agent.episode import Decision, Image, Observation, PointResult, ScreenElement, ScreenWindow, Step, Task
from molmo_agent.geometry import Box, Point, Stroke
from molmo_agent.screen_text import TextReader


@runtime_checkable
class PointingModel(Protocol):
    """Answers "where is ...?" with points. Stateless: the same input gives the same answer at temperature 0."""

    name: str

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to, on an RGB uint8 image of shape (height, width, 3)."""
        ...

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions at once; the same answers as one by one."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about images in words; many pointing models can. Stateless like these."""

    name: str

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Return the complete replies, stripped of outer spaces; the questions are passed on unchanged."""
        ...


@runtime_checkable
class PartsAnswerer(Protocol):
    """Answers questions about any number of images, each at its place in the text. Stateless like the others."""

    def answer_parts(self, parts: Sequence[Image | str], *, max_new_tokens: int) -> str:
        """Return the complete reply, stripped of outer spaces.

        Args:
            parts: texts and images in the order of the question; possibly no image.
            max_new_tokens: a longer reply is cut off.

        Raises:
            UsageError: the model takes fewer images in one question.
            ModelError: it fails.
        """
        ...


@runtime_checkable
class Policy(Protocol):
    """Decides the next action. Holds no episode state: the steps so far are in ``history``."""

    name: str

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide what to do next."""
        ...


@runtime_checkable
class Env(Protocol):
    """A place where actions happen, in Gymnasium's shape but with this package's nouns."""

    name: str
    # The action classes that this env executes; any other is refused with an error, never approximated.
    capabilities: frozenset[type]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode. ``info["instruction"]`` is the env's own task, where it has one."""
        ...

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action: observation, reward, terminated, truncated, info (``is_success`` where known)."""
        ...

    def observe(self) -> Observation:
        """Capture again without acting: used to wait until the screen has settled."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


@runtime_checkable
class Locator(Protocol):
    """An env that knows the positions of its elements: privileged, for the oracle, metrics and tests."""

    def locate(self, instruction: str) -> list[Box]:
        """Return where an expert would point for an instruction, as boxes in order; empty if there is no target."""
        ...


@runtime_checkable
class WindowSystem(Protocol):
    """An env of windows that may cover each other. ``Observation.info["window"]`` names the one with the focus."""

    def stacked_windows(self) -> Sequence[ScreenWindow]:
        """Return the visible windows, topmost first; none where they are not known."""
        ...

    def window_name(self, window: int) -> str:
        """Return the title of a window for people."""
        ...

    def activate_window(self, window: int) -> bool:
        """Raise a window and give it the keyboard focus; return whether that was asked for, it may take a moment."""
        ...


@runtime_checkable
class KnowsPlaces(Protocol):
    """An env that knows where input without a point goes: where the pointer and the focused field are."""

    def strokes(self, action: Action) -> tuple[Stroke, ...] | None:
        """Return where an action would touch the screen now, in points of the last observation; None: not known."""
        ...


@runtime_checkable
class KnowsNames(Protocol):
    """An env whose programs report the names of their elements, as they do to screen readers."""

    def elements_at(self, point: Point) -> Sequence[ScreenElement]:
        """Return the named elements at a point of the last observation, at once or nearly; none: not known."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An env that asks between the parts of one action whether to go on."""

    # Called between two letters or presses with False, and with True while a button is down. What it raises ends the
    # action; the env releases what it holds.
    between_inputs: Callable[[bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits:
    """Properties that a pointing model declares."""

    # (width, height) in pixels of the largest image that it reads well; larger ones are split into windows.
    window: tuple[int, int] | None = None
    # (width, height) in pixels of the only images that it reads; smaller ones are padded to them. Empty: any size.
    canvases: tuple[tuple[int, int], ...] = ()
    # Points with a lower confidence become actions only if a person confirms them; None: no threshold.
    min_confidence: float | None = None
    # Whether it zooms in by itself where its confidence is below `min_confidence`.
    zooms: bool = False
    # Name of the policy that it was trained for, see molmo_agent.registry.POLICIES; None: the env decides.
    policy: str | None = None
    # AndroidControl's form that it was trained for; None: the policy's default.
    form: str | None = None
    # A note for the user before it acts on a real device.
    remark: str = ""
    # The model that answers questions in words; None: it only points.
    answerer: Answerer | None = None
    # Whether it separates a field from its label when the question says so: before typing into "Name" it is asked for
    # 'the "Name" field'.
    knows_fields: bool = False
    # Reads the words on a screenshot, which shows whether typed text arrived; None: it does not read.
    reader: TextReader | None = None
    # A reported confidence -> the model's own, before calibration; None: they are the same.
    raw_confidence: Callable[[float], float] | None = None
    # Prepares the model's cache for questions about this number of images in turn; None: it caches no images.
    reserve_images: Callable[[int], object] | None = None
    # Whether it was trained with the tags of styles ("vqa2: ...") before questions.
    style_tags: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTraits:
    """Properties that a policy declares."""

    # The default of `Guards.min_confidence`.
    min_confidence: float | None = None
    # The default of `Guards.reader`: the model's, which has read the screen already.
    reader: TextReader | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvTraits:
    """Properties that an env declares."""

    # Whether it mostly waits for another process, such as a browser; several such envs act at the same time.
    waits_outside: bool = False
    # Whether its screen changes by itself: a program may still be loading, a dialog still opening.
    live: bool = False


@runtime_checkable
class _HasModelTraits(Protocol):
    @property
    def traits(self) -> ModelTraits: ...


@runtime_checkable
class _HasPolicyTraits(Protocol):
    @property
    def traits(self) -> PolicyTraits: ...


@runtime_checkable
class _HasEnvTraits(Protocol):
    @property
    def traits(self) -> EnvTraits: ...


def model_traits(model: PointingModel) -> ModelTraits:
    """Return the traits of a model, the defaults if it declares none."""
    if isinstance(model, _HasModelTraits):
        return model.traits
    return ModelTraits(answerer=model if isinstance(model, Answerer) else None)


def policy_traits(policy: Policy) -> PolicyTraits:
    """Return the traits of a policy, the defaults if it declares none."""
    return policy.traits if isinstance(policy, _HasPolicyTraits) else PolicyTraits()


def env_traits(env: Env) -> EnvTraits:
    """Return the traits of an env, the defaults if it declares none."""
    return env.traits if isinstance(env, _HasEnvTraits) else EnvTraits()


def only_points(env: Env) -> bool:
    """Return whether every action of an env is a point, as for a robot that is steered by pointing."""
    return PointAt in env.capabilities and env.capabilities <= {Click, Done, PointAt, Wait}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One question to a model; None is what the model or its server does not report."""

    # As it was put to the model, without its template.
    question: str
    # From the question to the answer; for questions that are decoded together, an equal share.
    seconds: float
    # Tokens of image and text that the answer depends on, cached ones included.
    tokens_in: int | None = None
    tokens_out: int | None = None
    # Forward passes through the decoder.
    passes: int | None = None


_COLLECTORS: list[list[Usage]] = []
_LOCK = threading.Lock()


def report_usage(usage: Usage) -> None:
    """Report one question to everyone who collects now; from any thread."""
    with _LOCK:
        for collector in _COLLECTORS:
            collector.append(usage)


@contextlib.contextmanager
def collect_usage() -> Iterator[list[Usage]]:
    """Yield a list that all questions of this process are added to while the context is open."""
    collector: list[Usage] = []
    with _LOCK:
        _COLLECTORS.append(collector)
    try:
        yield collector
    finally:
        with _LOCK:
            # By identity: two empty lists are equal.
            _COLLECTORS[:] = [other for other in _COLLECTORS if other is not collector]
