"""Fakes and conformance checks for people who write envs and policies: no display, no weights, milliseconds.

``ToyEnv`` shows a coloured target that moves when it is clicked. ``ScriptedModel`` answers with scripted replies,
parsed in a real dialect. ``check_env`` and ``check_policy`` check an implementation against its protocol.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from molmo_agent.actions import Action, Click, Done, Drag, Key, PointAt, Scroll, Type, Wait, action_types, points_of
from molmo_agent.episode import Decision, Image, Observation, PointResult, Step, Task
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import Env, PointingModel, Policy
from molmo_agent.point_text.parse import parse_points
from molmo_agent.transforms import ImageTransform

BACKGROUND = (236, 236, 232)
TARGET = (214, 40, 40)


class ToyEnv:
    """A red square that jumps elsewhere each time it is clicked; ``clicks`` hits are success.

    ``actions`` lists every action that arrived, so a test can prove that none did.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        clicks: hits that end the episode with success.
        side_px: of the square.
    """

    name = "toy"
    capabilities: frozenset[type] = frozenset({Click, Drag, Key, PointAt, Scroll, Type, Wait})

    def __init__(self, width: int = 160, height: int = 120, *, clicks: int = 1, side_px: int = 16) -> None:
        self.actions: list[Action] = []
        self.closed = False
        self._width, self._height, self._clicks, self._side = width, height, clicks, side_px
        self._rng = np.random.default_rng(0)
        self._hits = 0
        self._corner = (0, 0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start with the square at a place that the seed decides."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._hits = 0
        self._move()
        return self.observe(), {"instruction": "click the red square", "is_success": False}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action; only a click on the square does anything, and waiting takes its time."""
        if type(action) not in self.capabilities:
            raise ActionRefused(f"the toy env cannot execute {type(action).__name__}")
        self.actions.append(action)
        if isinstance(action, Wait):
            time.sleep(action.duration_s)
        hit = isinstance(action, Click) and self.locate("")[0].contains(action.point)
        if hit:
            self._hits += 1
            self._move()
        success = self._hits >= self._clicks
        return self.observe(), float(hit), success, False, {"is_success": success}

    def observe(self) -> Observation:
        """Draw the image."""
        image = np.full((self._height, self._width, 3), BACKGROUND, np.uint8)
        x, y = self._corner
        image[y : y + self._side, x : x + self._side] = TARGET
        return Observation(image, ImageTransform.identity(self._width, self._height))

    def locate(self, instruction: str) -> list[Box]:
        """Return where the square is: privileged, for oracles and tests."""
        x, y = self._corner
        return [Box.from_pixels(x, y, x + self._side, y + self._side, self._width, self._height)]

    def close(self) -> None:
        """Set ``closed``."""
        self.closed = True

    def _move(self) -> None:
        self._corner = (
            int(self._rng.integers(0, self._width - self._side)),
            int(self._rng.integers(0, self._height - self._side)),
        )


class ScriptedModel:
    """Answers with scripted replies in turn, from the start again after the last, parsed in a real dialect.

    Unlike every real model it is not stateless: the n-th question gets the n-th reply.
    """

    name = "scripted"

    def __init__(self, replies: Iterable[str], dialect: str = "molmo") -> None:
        self.questions: list[str] = []
        self._replies, self._dialect = itertools.cycle(list(replies)), dialect

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Parse the next reply."""
        start = time.perf_counter()
        self.questions.append(instruction)
        reply = next(self._replies)
        parsed = parse_points(self._dialect, reply, image_size=(image.shape[1], image.shape[0]))
        return parsed.to_result(latency_s=time.perf_counter() - start).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Parse the next replies."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


class ScriptedDecisions:
    """A policy that returns the listed decisions or actions in turn and then ``Done``."""

    name = "scripted"

    def __init__(self, decisions: Iterable[Decision | Action]) -> None:
        self._decisions = tuple(item if isinstance(item, Decision) else Decision(action=item) for item in decisions)

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Return the decision at the index of the history's length."""
        return self._decisions[len(history)] if len(history) < len(self._decisions) else Decision(action=Done())


def check_env(env: Env, *, seed: int = 0) -> None:
    """Check an env against the ``Env`` protocol: shapes, types, determinism of ``reset``, refusal of unknown actions.

    Acts on the env with ``Wait(0)`` only, where it can; closes it, twice.

    Raises:
        AssertionError: with the expected and the actual value.
    """
    _expect(
        isinstance(env, Env), f"expected name, capabilities, reset, step, observe and close, got {type(env).__name__}"
    )
    classes = set(action_types().values())
    _expect(env.capabilities <= classes, f"capabilities must be action classes, got {set(env.capabilities) - classes}")
    first, info = env.reset(seed=seed)
    _check_observation(first)
    _expect(isinstance(info, dict), f"reset must return (observation, info dictionary), got {type(info).__name__}")
    again = env.observe()
    _check_observation(again)
    _expect(again.size == first.size, f"observe() changed the size from {first.size} to {again.size}")
    for cls in sorted(classes - env.capabilities - {Done}, key=lambda cls: cls.__name__):
        _check_refusal(env, cls)
    if Wait in env.capabilities:
        answer = env.step(Wait(0.0))
        _expect(len(answer) == 5, f"step must return five values, got {len(answer)}")
        observation, reward, terminated, truncated, info = answer
        _check_observation(observation)
        for name, value, kind in (
            ("reward", reward, float),
            ("terminated", terminated, bool),
            ("truncated", truncated, bool),
        ):
            _expect(isinstance(value, kind), f"{name} must be a {kind.__name__}, got {value!r}")
        _expect(isinstance(info, dict), f"info must be a dictionary, got {type(info).__name__}")
    env.close()
    env.close()


def check_policy(policy: Policy, *, instruction: str = "click the red square") -> Decision:
    """Check a policy against the ``Policy`` protocol: equal decisions for equal input, no point from a doubtful answer.

    Returns:
        The decision, for further checks.

    Raises:
        AssertionError: with the expected and the actual value.
    """
    _expect(isinstance(policy, Policy), f"expected name and act, got {type(policy).__name__}")
    observation, _ = ToyEnv().reset(seed=0)
    original = observation.image.copy()
    task = Task(instruction)
    decision = policy.act(task, observation, ())
    _expect(isinstance(decision, Decision), f"act must return a Decision, got {type(decision).__name__}")
    if decision.result is not None and decision.result.status != "ok":
        points = points_of(decision.action)
        _expect(not points, f"an answer with the status {decision.result.status!r} became the points {points}")
    _expect(np.array_equal(original, observation.image), "act must not draw on the observation")
    second = policy.act(task, observation, ())
    _expect(second.action == decision.action, f"the same input gave {decision.action} and then {second.action}")
    return decision


def check_model(model: PointingModel, *, instruction: str = "the red square") -> PointResult:
    """Check a pointing model against its protocol: equal answers alone and in a batch, and ``max_points`` respected.

    An answer with more points than ``max_points`` must become ``unparsed``, see ``PointResult.at_most``: it is unknown
    which of its points are meant. The check is stricter with an instruction that the model answers with several points.

    Returns:
        The answer.

    Raises:
        AssertionError: with the expected and the actual value.
    """
    _expect(isinstance(model, PointingModel), f"expected name, point and point_batch, got {type(model).__name__}")
    image = ToyEnv().reset(seed=0)[0].image
    batch = model.point_batch([image, image], [instruction, instruction])
    _expect(len(batch) == 2, f"a batch of 2 gave {len(batch)} answers")
    single = model.point(image, instruction)
    for other in batch:
        _expect((other.status, other.points) == (single.status, single.points), f"alone {single}, in a batch {other}")
    for most in {1, max(1, len(single.points)), max(1, len(single.points) - 1)}:
        answer, expected = model.point(image, instruction, max_points=most), single.at_most(most)
        _expect(len(answer.points) <= most, f"max_points={most} gave {len(answer.points)} points")
        _expect(
            (answer.status, answer.points) == (expected.status, expected.points),
            f"max_points={most} must give the whole answer or 'unparsed', never a part of it: expected "
            f"{expected.status!r} with {len(expected.points)} points, got {answer.status!r} with "
            f"{len(answer.points)}",
        )
    return single


def _check_observation(observation: Observation) -> None:
    _expect(isinstance(observation, Observation), f"expected an Observation, got {type(observation).__name__}")
    image = observation.image
    _expect(image.dtype == np.uint8, f"images are uint8, got {image.dtype}")
    _expect(image.ndim == 3, f"images are (height, width, 3), got {image.shape}")
    _expect(image.shape[2] == 3, f"images are (height, width, 3), got {image.shape}")
    for corner in (Point(0.0, 0.0), Point(1.0, 1.0)):
        observation.transform.to_device(corner)


def _check_refusal(env: Env, cls: type[Any]) -> None:
    middle = Point(0.5, 0.5)
    values: dict[str, Any] = {
        "point": middle,
        "start": middle,
        "end": middle,
        "text": "",
        "keys": ("shift",),
        "name": "",
    }
    values |= {"points": (), "direction": "down"}
    action = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
    try:
        env.step(action)
    except ActionRefused:
        return
    raise AssertionError(f"{cls.__name__} is not in capabilities, yet step() executed it; it must raise ActionRefused")


def _expect(condition: bool, message: str) -> None:
    """Raise AssertionError; not the statement `assert`, which `python -O` removes."""
    if not condition:
        raise AssertionError(message)
