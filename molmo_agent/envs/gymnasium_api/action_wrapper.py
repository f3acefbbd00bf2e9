"""Turn any gymnasium env with an image into a pointing env: an executor converts points to its own actions.

The executor is the fast controller under the slow model. It is a generator: it yields native actions one by one and may
read the env in between, so one point can be a whole drive.

    def drive(env, points):
        goal = env.unwrapped.place_of(points[0])
        while not env.unwrapped.is_at(goal):
            yield env.unwrapped.steer_towards(goal)

    env = PointingAction(gymnasium.make("TheirRobot-v1"), drive, instruction="drive to the door")
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np

from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point


class Executor(Protocol):
    """Converts points of the observed image to native actions, one after the other."""

    def __call__(self, env: gymnasium.Env[Any, Any], points: tuple[Point, ...]) -> Iterator[Any]:
        """Yield native actions; return when the points are processed.

        After each ``yield`` the env has executed that action. When the step ends the episode, the generator is closed.

        Raises:
            ActionRefused: no action is possible there. After the first action it only ends the step.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far one action and one episode of a :class:`PointingAction` may go."""

    # Points of one action, at most.
    max_points: int = 1
    # Pointing steps after which an episode is truncated.
    max_steps: int = 50
    # Native steps of one pointing step; an executor that yields more is closed there.
    max_native_steps: int = 1000


class PointingAction(PointingEnv):
    """A gymnasium env with the pointing action space; one step runs as many native steps as the executor makes.

    The reward of a step is the sum of the native rewards; ``info["native_steps"]`` counts the native steps of the
    episode, ``info["stopped"]`` is the reason why the executor did not finish, empty if it did. A step without points
    runs no native step.

    Args:
        env: its observation is an image, (height, width, 3) uint8. Wrap other envs in
            ``gymnasium.wrappers.AddRenderObservation`` first.
        executor: converts points to native actions.
        instruction: the text, or a function that reads it from the env after ``reset``; None: the env's own
            ``info["instruction"]`` or ``task_description``.
        success: judges a native step from (env, reward, terminated, info); None: the env's own ``info["is_success"]``
            or ``info["success"]`` counts; without either, ``is_success`` is omitted. A reward alone never counts.
        target_mask: privileged: the pixels of the target; None: the env's own ``target_mask()``, if it has one.
        limits: how many points, steps and native steps are allowed.
        render_mode: "rgb_array" or None.

    Raises:
        UsageError: the observation is not an image.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        executor: Executor,
        *,
        instruction: str | Callable[[gymnasium.Env[Any, Any]], str] | None = None,
        success: Callable[[gymnasium.Env[Any, Any], float, bool, dict[str, Any]], bool] | None = None,
        target_mask: Callable[[gymnasium.Env[Any, Any]], Mask] | None = None,
        limits: Limits | None = None,
        render_mode: str | None = None,
    ) -> None:
        space = env.observation_space
        if not is_image_space(space):
            raise UsageError(
                f"expected images (height, width, 3) uint8 as observations, got {space}; "
                "wrap the env in gymnasium.wrappers.AddRenderObservation(env, render_only=True) first"
            )
        height, width, _ = space.shape or (1, 1, 3)
        limits = limits or Limits()
        super().__init__(
            size=(width, height), max_points=limits.max_points, max_steps=limits.max_steps, render_mode=render_mode
        )
        self.native = env
        self._executor, self._instruction, self._judge = executor, instruction, success
        self._mask = target_mask or _own_mask(env)
        self._max_native_steps = limits.max_native_steps
        self.knows_target = self._mask is not None
        self._image: Image = np.zeros((height, width, 3), np.uint8)
        self._native_steps, self._stop_reason = 0, ""

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Reset the env: the seed as given, else one from the generator."""
        seed = int(rng.integers(2**31)) if self.episode_seed is None else self.episode_seed
        self._image, info = self.native.reset(seed=seed, options=options or None)
        self._native_steps, self._stop_reason = 0, ""
        self.knows_success = self._judge is not None or "is_success" in info or "success" in info
        own = info.get("instruction") or getattr(self.native.unwrapped, "task_description", "")
        instruction = self._instruction(self.native) if callable(self._instruction) else self._instruction or own
        if not instruction:
            raise UsageError("the env has no instruction: pass PointingAction(..., instruction='...')")
        return str(instruction)

    def image(self) -> Image:
        """Return a copy of the env's newest observation."""
        return np.array(self._image)

    def target_mask(self) -> Mask:
        """Return the pixels of the target. Privileged.

        Raises:
            UsageError: the env has no target mask.
        """
        if self._mask is None:
            raise UsageError("the env has no target mask: pass PointingAction(..., target_mask=...)")
        return self._mask(self.native)

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Run the executor to its end, to the end of the episode or to the limit of native steps."""
        total, success, terminated, truncated, num_steps = 0.0, False, False, False, 0
        self._stop_reason = ""
        actions = self._executor(self.native, points)
        try:
            for action in actions:
                self._image, reward, terminated, truncated, info = self.native.step(action)
                num_steps += 1
                total += float(reward)
                success = success or self._is_success(float(reward), terminated, info)
                if terminated or truncated:
                    break
                if num_steps >= self._max_native_steps:
                    self._stop_reason = f"stopped after {num_steps} native steps"
                    break
        except ActionRefused as error:
            # Native steps cannot be undone: they count, and the image shows the state after them.
            if not num_steps:
                raise
            self._stop_reason = str(error)
        self._native_steps += num_steps
        return Outcome(reward=total, success=success, terminated=bool(terminated), truncated=bool(truncated))

    def measures(self) -> dict[str, Any]:
        """Count the native steps."""
        return {"native_steps": self._native_steps, "stopped": self._stop_reason}

    def close(self) -> None:
        """Close the env."""
        self.native.close()

    def _is_success(self, reward: float, terminated: bool, info: dict[str, Any]) -> bool:
        if self._judge is not None:
            return bool(self._judge(self.native, reward, terminated, info))
        return bool(info.get("is_success", info.get("success", False)))


def is_image_space(space: gymnasium.Space[Any]) -> bool:
    """Return whether a space holds (height, width, 3) uint8 images."""
    return isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and np.shape(space.low)[2:] == (3,)


def _own_mask(env: gymnasium.Env[Any, Any]) -> Callable[[gymnasium.Env[Any, Any]], Mask] | None:
    mask = getattr(env.unwrapped, "target_mask", None)
    return (lambda env: env.unwrapped.target_mask()) if callable(mask) else None  # type: ignore[attr-defined]
