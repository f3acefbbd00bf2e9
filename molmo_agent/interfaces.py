"""The protocols that everything else plugs into: a pointing model, what answers in words, a policy, an environment."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from molmo_agent.actions import Action
from molmo_agent.episode import Decision, Image, Observation, PointResult, Step, Task


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
    """Answers questions about pictures in words; many pointing models can. Stateless like these."""

    name: str

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Return the whole replies to questions that are put as they stand, without outer spaces."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Decides the next action. Holds no episode state: what happened so far is in ``history``."""

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
