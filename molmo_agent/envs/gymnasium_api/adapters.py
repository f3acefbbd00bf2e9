"""Gymnasium both ways: this package's envs as ``gymnasium.make("MolmoAgent/...")``, pointing gymnasium envs as ``Env``.

Importing this module registers the ids; without an import,
``gymnasium.make("molmo_agent.envs.gymnasium_api.adapters:ID")``.

    ours -> gymnasium    ids of ``ids.IDS``; ``DeviceEnv(env)`` for any env that clicks
    theirs -> ours       ``GymnasiumEnv(gymnasium.make(...))``; on the command line ``agent run --env ID`` for the ids
                         here, ``--env gymnasium:ID`` for others
    other envs           ``PointingAction(env, executor)`` makes a pointing env of them

The contract of actions, observations and info: ``molmo_agent.envs.gymnasium_api.base``.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from molmo_agent.actions import Action, Click, PointAt, Wait, describe
from molmo_agent.envs.gymnasium_api.action_wrapper import Executor, Limits, PointingAction, is_image_space
from molmo_agent.envs.gymnasium_api.base import (
    Outcome,
    PointingEnv,
    is_pointing_space,
    pointing_space,
    read_rows,
    to_rows,
)
from molmo_agent.envs.gymnasium_api.ids import IDS, register_envs
from molmo_agent.envs.gymnasium_api.screen_envs import DeviceEnv
from molmo_agent.envs.gymnasium_api.view_wrapper import ImageView
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import EnvTraits, env_traits
from molmo_agent.transforms import ImageTransform

__all__ = [
    "DeviceEnv",
    "Executor",
    "GymnasiumEnv",
    "ImageView",
    "Limits",
    "Outcome",
    "PointingAction",
    "PointingEnv",
    "load",
    "pointing_space",
    "read_rows",
    "register_envs",
    "to_rows",
]

register_envs()


class GymnasiumEnv:
    """A gymnasium env with the pointing action space as an ``Env``: ``PointAt`` and ``Click`` are its points.

    A left click is a point; ``Wait`` and ``PointAt(())`` are a step without effect. If the gymnasium env refuses
    (``point_status`` is ``refused`` or ``out_of_range``), ``step`` raises ``ActionRefused``; the env counts this step.

    Args:
        env: observations are images, actions points; see ``molmo_agent.envs.gymnasium_api.base``.
        name: for records; None: its id.

    Raises:
        UsageError: its actions or observations have another space; the message suggests a wrapper.
    """

    capabilities: frozenset[type] = frozenset({Click, PointAt, Wait})

    def __init__(self, env: gymnasium.Env[Any, Any], *, name: str | None = None) -> None:
        title = name or (env.spec.id if env.spec is not None else type(env.unwrapped).__name__)
        if not is_pointing_space(env.action_space):
            raise UsageError(
                f"expected the pointing action space Box(0, 1, (K, 3), float32) of {title}, got {env.action_space}: "
                "wrap it in PointingAction(env, executor), where executor is a generator that converts points to such "
                "actions; docs/gymnasium.md has an example of 20 lines"
            )
        if not is_image_space(env.observation_space):
            raise UsageError(
                f"expected images (height, width, 3) uint8 as observations of {title}, got {env.observation_space}"
            )
        self.name = title
        self.env = env
        self.max_points = (env.action_space.shape or (1,))[0]
        self._image: Image | None = None
        self._is_closed = False
        self._device = _live_device(env)
        device_traits = env_traits(self._device.device) if self._device else EnvTraits()
        self.traits = dataclasses.replace(device_traits, live=self._device is not None)
        # Privileged: None if the env has no `locate`.
        self.locate: Callable[[str], list[Box]] | None = None
        with contextlib.suppress(AttributeError):
            self.locate = env.get_wrapper_attr("locate")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode."""
        self._image, info = self.env.reset(seed=seed, options=options)
        if "instruction" not in info:
            with contextlib.suppress(AttributeError):
                info = {**info, "instruction": self.env.get_wrapper_attr("task_description")}
        return self.observe(), info

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Pass the points of an action to the env.

        Raises:
            ActionRefused: it is not a pointing action, has too many points, or the env refused it.
        """
        points = self._points(action)
        self._image, reward, terminated, truncated, info = self.env.step(to_rows(points, self.max_points))
        status = info.get("point_status")
        if status in ("refused", "out_of_range") and not (terminated or truncated):
            raise ActionRefused(f"{self.name} refused {describe(action)}: {info.get('refusal') or status}")
        return self.observe(), float(reward), bool(terminated), bool(truncated), info

    def observe(self) -> Observation:
        """Return the newest image; of a device whose screen changes by itself, capture it."""
        if self._image is None:
            raise UsageError(f"{self.name} has no episode; call reset() first")
        info: dict[str, Any] = {}
        if self._device is not None:
            observation = self._device.look()
            self._image, info = observation.image, observation.info
        height, width, _ = self._image.shape
        return Observation(np.asarray(self._image), ImageTransform.identity(width, height), info)

    def close(self) -> None:
        """Close the env; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            self.env.close()

    def _points(self, action: Action) -> tuple[Point, ...]:
        match action:
            case PointAt(points=points) if len(points) <= self.max_points:
                return points
            case PointAt(points=points):
                raise ActionRefused(f"{self.name} takes at most {self.max_points} points at a time, got {len(points)}")
            case Click(point=point, button="left", count=1, held=()):
                return (point,)
            case Wait():
                return ()
            case _:
                raise ActionRefused(
                    f"{self.name} cannot execute {describe(action)}; it executes: Click (left, once), PointAt, Wait"
                )


def _live_device(env: gymnasium.Env[Any, Any]) -> DeviceEnv | None:
    """Return the device whose screen is the image of an env and changes by itself; None where there is none."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.ObservationWrapper | ImageView):
            return None
        env = env.env
    return env if isinstance(env, DeviceEnv) and env_traits(env.device).live else None


def load(name: str, **options: Any) -> GymnasiumEnv:
    """Make a gymnasium env by its id and adapt it.

    Args:
        name: an id of ``ids.IDS``, or ``gymnasium:ID`` for any other, ``gymnasium:module:ID`` with the module
            that registers it.
        options: passed to ``gymnasium.make``.

    Raises:
        UnknownNameError: gymnasium does not know the id.
        UsageError: it is not a pointing env, or a package that it needs is not installed.
    """
    name = name.removeprefix("gymnasium:")
    try:
        env = gymnasium.make(name, **options)
    except gymnasium.error.UnregisteredEnv as error:
        ours = name.startswith("MolmoAgent/")
        raise UnknownNameError("gymnasium env", name, IDS if ours else gymnasium.registry) from error
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UsageError(f"gymnasium cannot make {name!r}: {error}") from error
    return GymnasiumEnv(env, name=name)
