"""From where marks are and where the pointer arrived for them: whether both agree, and if not, how they differ.

Pure arithmetic, in whatever unit the two have in common; the origin is the top left corner of the display.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Position = tuple[float, float]

# Spread over the display. The middle one is not at 1/2: input that goes 2.5 times as far still arrives on the display.
GRID = (0.1, 0.35, 0.9)
"""Fractions of the width and height at which marks stand: nine marks in all."""

# What a fit may leave over, as a share of the display, before the pointer counts as moved by somebody else.
_SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class Sample:
    """One mark. Positions are (x, y) from the top left corner of the display."""

    mark: Position
    # Where the pointer arrived; None: the mark was not seen in the capture, so nothing was sent.
    arrived: Position | None
    # The edge of the screen held the pointer up: (in x, in y).
    held_up: tuple[bool, bool] = (False, False)
    # Whether the program at the mark noticed the pointer there.
    noticed: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the marks of a display say. ``problem`` and ``remedy`` are empty if every mark was hit."""

    problem: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether every mark was hit."""
        return not self.problem


_COVERED = (
    "another window, workspace or lock screen covers the marks, or the screen changes too much: close videos and "
    "windows that stay on top, and run the check again"
)
_SCALE = (
    "give every display the same scale (100 %), log out and in, and run the check again; until then use only a "
    "display that is ok"
)
_TURNED = "undo the rotation or mirroring of this display in the system's settings, and run the check again"
_UNCLEAR = (
    "compare scale, rotation and arrangement of the displays in the system's settings, and run the check again; "
    "until then use only a display that is ok"
)
_SHIFTED = "arrange the displays anew in the system's settings, so that none overlap, and run the check again"


def judge(samples: Sequence[Sample], size: tuple[int, int], tolerance: float) -> Verdict:
    """Return whether the pointer arrived at every mark.

    Args:
        samples: the marks of one display.
        size: (width, height) of the display.
        tolerance: how far from the mark the pointer may arrive, per axis.
    """
    unseen = sum(sample.arrived is None for sample in samples)
    if unseen == len(samples):
        return Verdict(f"none of the {unseen} marks was seen in the capture", _COVERED)
    wrong = _difference(samples, size, tolerance)
    if wrong is not None:
        return wrong
    if unseen:
        return Verdict(f"{unseen} of {len(samples)} marks were not seen in the capture; the others were hit", _COVERED)
    if unnoticed := sum(not sample.noticed for sample in samples):
        return Verdict(
            f"the pointer arrived at every mark, but {unnoticed} of {len(samples)} did not notice it",
            "an invisible window lies over the screen and takes the input: close it, and run the check again",
        )
    return Verdict()


def _difference(samples: Sequence[Sample], size: tuple[int, int], tolerance: float) -> Verdict | None:
    """Return how the arrivals differ from the marks; None if they do not."""
    pairs = [(sample.mark, sample.arrived, sample.held_up) for sample in samples if sample.arrived is not None]
    missed = [max(abs(a - m) for a, m in zip(arrived, mark, strict=True)) > tolerance for mark, arrived, _ in pairs]
    if not any(missed):
        return None
    x, y = (_fit([(mark, arrived[i]) for mark, arrived, held in pairs if not held[i]]) for i in (0, 1))
    count = f"{sum(missed)} of {len(samples)} marks were missed"
    # Arrivals are rounded to whole units, which may add up over the width of the grid.
    doubt = max(tolerance, 1) / (min(size) * (GRID[-1] - GRID[0]))
    if x is None or y is None:
        problem, remedy = _describe_half(x, y, doubt)
        return Verdict(f"{count}: {problem}the pointer was held up at the edge of the screen", remedy)
    spread = max(
        abs(row @ (*mark, 1.0) - arrived[i])
        for mark, arrived, held in pairs
        for i, row in enumerate((x, y))
        if not held[i]
    )
    if spread > max(2 * tolerance, _SPREAD * max(size)):
        return Verdict(
            f"{count}, each in another way (by up to {spread:.0f} beside any rule)",
            "was the mouse moved meanwhile, or a window with a grip on the pointer in front? Run the check again",
        )
    problem, remedy = _describe(x, y, doubt)
    return Verdict(f"{count}: {problem}", remedy)


_Row = npt.NDArray[np.float64]


def _fit(pairs: Sequence[tuple[Position, float]]) -> _Row | None:
    """Return (a, b, c) of the best arrival = a x + b y + c; None if the marks do not determine it."""
    if not pairs:
        return None
    marks = np.array([(*mark, 1.0) for mark, _ in pairs])
    if np.linalg.matrix_rank(marks) < 3:
        return None
    row: _Row = np.linalg.lstsq(marks, np.array([arrival for _, arrival in pairs]), rcond=None)[0]
    return row


def _describe_half(x: _Row | None, y: _Row | None, doubt: float) -> tuple[str, str]:
    """Return what the fit of one axis alone means, or of none, and what to do about it."""
    row, straight = (x, 0) if x is not None else (y, 1)
    if row is None or abs(row[straight] - 1) <= doubt:
        return "", _UNCLEAR
    if row[straight] < abs(row[1 - straight]):
        return "input is rotated or mirrored against the capture, and ", _TURNED
    return f"input is {row[straight]:.3g} times the capture, and ", _SCALE


def _describe(x: _Row, y: _Row, doubt: float) -> tuple[str, str]:
    """Return what a fit means, and what to do about it."""
    straight, crossed = max(abs(x[0]), abs(y[1])), max(abs(x[1]), abs(y[0]))
    if min(straight, crossed) > 0.1 * max(straight, crossed):
        return "the pointer goes at an angle to the capture", _TURNED
    if crossed > straight:
        # In images y goes down: a turn to the right takes x to y and y to -x.
        turn = {(-1, 1): "by 90 degrees", (1, -1): "by 270 degrees"}
        signs = int(np.sign(x[1])), int(np.sign(y[0]))
        which = (
            f"input is rotated {turn[signs]} against the capture"
            if signs in turn
            else (
                "the axes of input are swapped against the capture"
                + (", and both are mirrored" if signs == (-1, -1) else "")
            )
        )
        return which + _scale_words(abs(x[1]), abs(y[0]), doubt), _TURNED
    if x[0] < 0 or y[1] < 0:
        which = (
            "input is rotated by 180 degrees against the capture"
            if x[0] < 0 and y[1] < 0
            else f"input is mirrored {'left to right' if x[0] < 0 else 'top to bottom'} against the capture"
        )
        return which + _scale_words(abs(x[0]), abs(y[1]), doubt), _TURNED
    if scale := _scale_words(x[0], y[1], doubt):
        return scale.removeprefix(", and "), _SCALE
    return f"input arrives ({round(x[2]):+}, {round(y[2]):+}) beside the mark, everywhere by the same", _SHIFTED


def _scale_words(horizontal: float, vertical: float, doubt: float) -> str:
    """Return ``, and input is 1.5 times the capture``; empty if it is 1."""
    if max(abs(horizontal - 1), abs(vertical - 1)) <= doubt:
        return ""
    if abs(horizontal - vertical) <= 2 * doubt * max(horizontal, vertical):
        return f", and input is {(horizontal + vertical) / 2:.3g} times the capture"
    return f", and input is {horizontal:.3g} times the capture across and {vertical:.3g} times down"


def grid(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the positions of the marks on a display of this (width, height), in whole units."""
    return [(math.floor(size[0] * x), math.floor(size[1] * y)) for y in GRID for x in GRID]
