"""The contract of a pointing gymnasium env, and the base class that implements it.

**Action.** ``Box(0, 1, (K, 3), float32)``; a row is (x, y, present) in fractions of the image, and its point counts
when ``present >= 0.5``. Several rows are one ordered answer, such as waypoints. An action without a present row says
"there is none": a step without effect. If a coordinate of a present row is NaN, infinite or outside [0, 1], the env
refuses the whole action: it has no effect, and ``info`` counts and reports the refusal.

**Observation.** The image, (height, width, 3) uint8 RGB, and nothing else. The instruction is the attribute
``task_description`` and ``info["instruction"]``.

**info**, the same keys and types after ``reset`` and every ``step``, and no clock times:

- ``instruction`` (str): the task.
- ``is_success`` (bool): the task is done.
- ``point_status`` (str): of this action: ``ok``, ``none``, ``out_of_range`` (a point was not on the image), or
  ``refused`` (the env cannot act there). ``none`` after ``reset``.
- ``refusal`` (str): the reason, for people; empty without a refusal.
- ``refused_points`` (int): actions refused so far in this episode, for either reason.
- ``in_mask`` (bool): the last present point was on the target, in the image that was shown before the action.
- ``pixel_error`` (float): its distance to the nearest pixel of the target; 0.0 on it, infinite without a point or
  without a visible target.
- further measurements of the env, such as ``spl``.

An env without a target mask omits ``in_mask`` and ``pixel_error``; one that cannot judge success omits ``is_success``.

``target_mask()`` and ``locate()`` are privileged: for oracles and metrics, never for a policy under test.
"""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from molmo_agent.episode import Image, PointStatus
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.images import draw_points

Rows = npt.NDArray[np.float32]
"""(max_points, 3) float32: x, y, present."""

Mask = npt.NDArray[np.bool_]
"""(height, width) bool."""


def pointing_space(max_points: int = 1) -> gymnasium.spaces.Box:
    """Return the action space of an env that takes up to ``max_points`` points."""
    return gymnasium.spaces.Box(0.0, 1.0, (max_points, 3), np.float32)


def is_pointing_space(space: gymnasium.Space[Any]) -> bool:
    """Return whether an action space is one of :func:`pointing_space`'s."""
    return (
        isinstance(space, gymnasium.spaces.Box)
        and len(space.shape) == 2
        and space == pointing_space(max(space.shape[0], 1))
    )


def to_rows(points: Sequence[Point], max_points: int = 1) -> Rows:
    """Return the action with these points; no points mean "there is none".

    Raises:
        UsageError: there are more points than the action has rows.
    """
    if len(points) > max_points:
        raise UsageError(f"expected at most {max_points} points, got {len(points)}: pass fewer points")
    rows = np.zeros((max_points, 3), np.float32)
    for row, point in zip(rows, points, strict=False):
        row[:] = point.x, point.y, 1.0
    return rows


def read_rows(action: npt.ArrayLike, max_points: int = 1) -> tuple[PointStatus, tuple[Point, ...], str]:
    """Read an action: its status, its points in order (only with ``ok``), and why it is refused (else empty).

    Raises:
        UsageError: the action has another shape, or is not numeric.
    """
    rows = np.asarray(action)
    if rows.shape != (max_points, 3) or rows.dtype.kind not in "fiub":
        raise UsageError(
            f"expected an action of shape ({max_points}, 3), rows of x, y, present; got {rows.dtype} {rows.shape}"
        )
    if not ((rows[:, 2] >= 0) & (rows[:, 2] <= 1)).all():  # a NaN is neither
        return "out_of_range", (), f"expected present flags in [0, 1], got {rows[:, 2].tolist()}"
    places = rows[rows[:, 2] >= 0.5, :2].astype(np.float64)
    if not ((places >= 0) & (places <= 1)).all():
        return "out_of_range", (), f"expected fractions of the image in [0, 1], got {places.tolist()}"
    points = tuple(Point(float(x), float(y)) for x, y in places)
    return ("ok" if points else "none"), points, ""


def judge(mask: Mask, points: Sequence[Point]) -> tuple[bool, float]:
    """Return ``in_mask`` and ``pixel_error`` of the last point; (False, infinity) without a point or a target."""
    rows, columns = np.nonzero(mask)
    if not points or not len(rows):
        return False, math.inf
    x, y = points[-1].to_pixels(mask.shape[1], mask.shape[0])
    error = math.sqrt(float(np.min((rows - y) ** 2 + (columns - x) ** 2)))
    return error == 0.0, error


def box_inside(mask: Mask) -> list[Box]:
    """Return a box within the largest disc of a mask: its centre is as far from the edge as can be; [] if empty."""
    if not mask.any():
        return []
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    height, width = mask.shape
    y, x = np.unravel_index(int(np.argmax(depth)), mask.shape)
    half = (float(depth[y, x]) - 0.5) / math.sqrt(2)
    return [Box.from_pixels(x + 0.5 - half, y + 0.5 - half, x + 0.5 + half, y + 0.5 + half, width, height)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of acting on points."""

    reward: float = 0.0
    success: bool = False
    # The episode is over, with or without success.
    terminated: bool = False
    # A limit of the wrapped env ended the episode.
    truncated: bool = False


class PointingEnv(gymnasium.Env[Image, Rows], abc.ABC):
    """A gymnasium env whose actions are points on its image. Subclasses implement four methods.

    ``begin`` makes a scene and returns the instruction, ``image`` draws it, ``target_mask`` returns the pixels of the
    target, and ``point_at`` acts. Optional: ``measures``, for further entries of ``info``, and ``locate``.

    Args:
        size: (width, height) of the image in pixels.
        max_points: K, the most points of one action.
        max_steps: steps after which an episode is truncated.
        render_mode: "rgb_array" or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    # False if the env has no target mask, or cannot judge success.
    knows_target: bool = True
    knows_success: bool = True

    def __init__(
        self,
        *,
        size: tuple[int, int],
        max_points: int = 1,
        max_steps: int = 10,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise UsageError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if min(size) < 1 or max_points < 1 or max_steps < 1:
            raise UsageError(f"expected sizes and limits of at least 1, got {size}, {max_points=}, {max_steps=}")
        self.render_mode = render_mode
        self.size, self.max_points, self.max_steps = size, max_points, max_steps
        self.observation_space = gymnasium.spaces.Box(0, 255, (size[1], size[0], 3), np.uint8)
        self.action_space: gymnasium.spaces.Box = pointing_space(max_points)  # type: ignore[assignment]
        self.task_description = ""
        # The seed of `reset`, for subclasses that pass it on; None without one.
        self.episode_seed: int | None = None
        self._success = self._over = False
        self._steps = self._num_refusals = 0
        self._points: tuple[Point, ...] = ()

    # --- What a subclass implements -------------------------------------------------------------------------------

    @abc.abstractmethod
    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Make a new scene from the generator and the options of ``reset``; return the instruction."""

    @abc.abstractmethod
    def image(self) -> Image:
        """Draw the present image: a new (height, width, 3) uint8 array at every call."""

    @abc.abstractmethod
    def target_mask(self) -> Mask:
        """Return the pixels of the image that show the target now; all False if it is hidden. Privileged."""

    @abc.abstractmethod
    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Act on 1 to ``max_points`` points of the image.

        Raises:
            ActionRefused: no action is possible there; the state is unchanged.
        """

    def measures(self) -> dict[str, Any]:
        """Return further entries of ``info``, always with the same keys, types and shapes."""
        return {}

    def locate(self, instruction: str) -> list[Box]:
        """Return where an expert would point now, as boxes in order; empty if nowhere. Privileged."""
        return box_inside(self.target_mask())

    def things(self) -> dict[tuple[str, str], Mask]:
        """Return which pixels show each thing that has a name of its own, by (colour, kind); "" for no colour.

        A thing may be hidden completely. Empty if the env has no names. Privileged.
        """
        return {}

    # --- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode; the same seed, the same episode."""
        super().reset(seed=seed)
        self.episode_seed = seed
        self._success = self._over = False
        self._steps = self._num_refusals = 0
        self._points = ()
        self.task_description = self.begin(self.np_random, dict(options or {}))
        return self.image(), self._info("none", "", False, math.inf)

    def step(self, action: Rows) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Read the points of an action and act on them.

        Raises:
            UsageError: the action has another shape, or no episode is running.
        """
        if not self.task_description or self._over:
            raise UsageError(f"{type(self).__name__} has no running episode; call reset() first")
        status, points, refusal = read_rows(action, self.max_points)
        verdict = judge(self.target_mask(), points) if self.knows_target else (False, math.inf)
        outcome = Outcome()
        if points:
            try:
                outcome = self.point_at(points)
            except ActionRefused as error:
                status, refusal = "refused", str(error)
        self._points = points
        self._num_refusals += bool(refusal)
        self._steps += 1
        self._success = self._success or outcome.success
        truncated = not outcome.terminated and (outcome.truncated or self._steps >= self.max_steps)
        self._over = outcome.terminated or truncated
        info = self._info(status, refusal, *verdict)
        return self.image(), float(outcome.reward), outcome.terminated, truncated, info

    def render(self) -> Image | None:
        """Return the image with the points of the last action drawn on it; None without a render mode."""
        if self.render_mode is None:
            return None
        # The points belong to the image before the action; subclasses whose view moves override this.
        return np.array(draw_points(self.image(), self._points))

    def _info(self, status: PointStatus, refusal: str, in_mask: bool, pixel_error: float) -> dict[str, Any]:
        truth = {"in_mask": in_mask, "pixel_error": pixel_error} if self.knows_target else {}
        verdict = {"is_success": self._success} if self.knows_success else {}
        return {
            "instruction": self.task_description,
            **verdict,
            "point_status": status,
            "refusal": refusal,
            "refused_points": self._num_refusals,
            **truth,
            **self.measures(),
        }
