"""One of this package's envs as a gymnasium env: a point becomes a left click."""

from typing import Any

import numpy as np

from molmo_agent.actions import Click
from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point, to_pixel
from molmo_agent.interfaces import Env

# Families of the simulated desktop and phone that need one click.
ONE_CLICK = (
    "choose-radio",
    "click-button",
    "click-checkbox",
    "click-icon",
    "click-link",
    "click-shape",
    "close-window",
    "open-menu",
    "pick-list-item",
    "switch-tab",
)
ONE_TAP = ("launch-app", "open-app")


class DeviceEnv(PointingEnv):
    """Clicks at the point, on any env that executes ``Click``.

    ``info`` has ``in_mask`` and ``pixel_error`` if the env has ``locate``; ``is_success`` is the env's own.

    Args:
        env: the device; closed with this env.
        size: (width, height) of its observations in pixels.
        families: tasks to draw from, for an env with families; ``options={"task": ...}`` of ``reset`` takes precedence.
        options: passed to every ``reset`` of the env.
        max_steps: steps after which an episode is truncated; the env's own limit counts as well.
        render_mode: "rgb_array" or None.

    Raises:
        UsageError: the env cannot click.
    """

    def __init__(
        self,
        env: Env,
        *,
        size: tuple[int, int],
        families: tuple[str, ...] = (),
        options: dict[str, Any] | None = None,
        max_steps: int = 20,
        render_mode: str | None = None,
    ) -> None:
        if Click not in env.capabilities:
            able = ", ".join(sorted(cls.__name__ for cls in env.capabilities))
            raise UsageError(f"expected an env that executes Click, got {env.name!r}, which executes: {able}")
        super().__init__(size=size, max_points=1, max_steps=max_steps, render_mode=render_mode)
        self.device = env
        self._families, self._options = families, dict(options or {})
        self._image: Image = np.zeros((size[1], size[0], 3), np.uint8)
        self.knows_target = callable(getattr(env, "locate", None))

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Reset the device with the seed as given, else one from the generator; draw a family of tasks."""
        seed = int(rng.integers(2**31)) if self.episode_seed is None else self.episode_seed
        family = {"task": str(rng.choice(self._families))} if self._families else {}
        observation, info = self.device.reset(seed=seed, options={**family, **self._options, **options})
        self._image = observation.image
        if self._image.shape != self.observation_space.shape:
            raise UsageError(
                f"expected images of {self.observation_space.shape}, got {self._image.shape} from "
                f"{self.device.name!r}; give its size as (width, height)"
            )
        instruction = str(info.get("instruction", ""))
        if not instruction:
            raise UsageError(f"the env {self.device.name!r} has no task of its own, so there is nothing to point at")
        return instruction

    def image(self) -> Image:
        """Return the newest image of the device."""
        return self._image.copy()

    def look(self) -> Observation:
        """Capture the device again, without a step: its screen may change by itself."""
        observation = self.device.observe()
        self._image = observation.image
        return observation

    def locate(self, instruction: str) -> list[Box]:
        """Return the boxes of what an instruction names. Privileged."""
        boxes: list[Box] = self.device.locate(instruction)  # type: ignore[attr-defined]
        return boxes

    def target_mask(self) -> Mask:
        """Return the pixels in the boxes of what the instruction names. Privileged."""
        width, height = self.size
        mask = np.zeros((height, width), bool)
        for box in self.locate(self.task_description):
            rows = slice(to_pixel(box.top, height), to_pixel(box.bottom, height) + 1)
            mask[rows, to_pixel(box.left, width) : to_pixel(box.right, width) + 1] = True
        return mask

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Click."""
        observation, reward, terminated, truncated, info = self.device.step(Click(points[0]))
        self._image = observation.image
        success = bool(info.get("is_success", False))
        return Outcome(reward=reward, success=success, terminated=terminated, truncated=truncated)

    def close(self) -> None:
        """Close the device."""
        self.device.close()


def make_sim_desktop(
    *,
    width: int = 640,
    height: int = 480,
    task: str | None = None,
    max_steps: int = 5,
    render_mode: str | None = None,
    **options: Any,
) -> DeviceEnv:
    """Make ``MolmoAgent/SimDesktop-v0``.

    Args:
        width: pixels of the image.
        height: pixels of the image.
        task: a family of :data:`ONE_CLICK`; None draws one for each episode.
        max_steps: clicks after which an episode is truncated.
        render_mode: "rgb_array" or None.
        options: of ``SimDesktop.reset``, such as ``popups=True`` or ``split="held_out_words"``.

    Raises:
        UnknownNameError: not a family that needs one click.
    """
    return DeviceEnv(
        SimDesktop(width, height, max_steps=max_steps + 1),
        size=(width, height),
        families=_families(task, ONE_CLICK),
        options=options,
        max_steps=max_steps,
        render_mode=render_mode,
    )


def make_sim_phone(
    *,
    width: int = 360,
    height: int = 640,
    task: str | None = None,
    max_steps: int = 5,
    render_mode: str | None = None,
    **options: Any,
) -> DeviceEnv:
    """Make ``MolmoAgent/SimPhone-v0``.

    Args:
        width: pixels of the image, held upright.
        height: pixels of the image, held upright.
        task: a family of :data:`ONE_TAP`; None draws one for each episode.
        max_steps: taps after which an episode is truncated.
        render_mode: "rgb_array" or None.
        options: of ``SimPhone.reset``, such as ``theme="dark"``.

    Raises:
        UnknownNameError: not a family that needs one tap.
    """
    return DeviceEnv(
        SimPhone(width, height, max_steps=max_steps + 1),
        size=(width, height),
        families=_families(task, ONE_TAP),
        options=options,
        max_steps=max_steps,
        render_mode=render_mode,
    )


def _families(task: str | None, families: tuple[str, ...]) -> tuple[str, ...]:
    if task is not None and task not in families:
        raise UnknownNameError("one-click task family", task, families)
    return (task,) if task else families
