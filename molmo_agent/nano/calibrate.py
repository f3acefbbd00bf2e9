"""Fit the two numbers that make a probability of a hit of a model's confidence, and keep them in its profile.

They are fitted on screens of their own seeds and judged on the evaluation's, which the fit never sees.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from molmo_agent.console import after_the_result, shown
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.metrics.calibration import fit
from molmo_agent.evaluation.nano_suite.run import ask, confidences
from molmo_agent.evaluation.nano_suite.sets import CALIBRATION, EVALUATION, ScreenSet, calibration_sets
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_reliability, figures_of
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.calibration import Calibration
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.pointers.profile import PROFILE_FILE
from molmo_agent.registry import load_model

SCREENS = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Confidences with what came of them."""

    confidences: tuple[float, ...]
    hits: tuple[bool, ...]


def measure(model: PointingModel, sets: Sequence[ScreenSet], seeds: int) -> Measured:
    """Ask a model about screens; keep what it points at with a confidence where one thing is asked for.

    Raises:
        UsageError: it tells none.
    """
    asked = [one for chosen in track(sets, "asking", transient=True) for one in ask([model], chosen, seeds)[0]]
    sure = confidences(asked)
    if not sure:
        raise UsageError(f"the model {model.name!r} tells no confidence; there is nothing to calibrate")
    given, hits = zip(*sure, strict=True)
    return Measured(confidences=given, hits=hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What came of a fit."""

    calibration: Calibration
    # How many answers it was fitted on, and judged on.
    fitted_on: int
    judged_on: int
    # Expected calibration error on what it was judged on.
    ece_before: float
    ece_after: float
    # Figures of the same answers before and after, for :func:`molmo_agent.evaluation.reliability.draw_reliability`.
    series: dict[str, dict[str, Any]]


def calibrate(model: PointingModel, screens: int = SCREENS) -> Fitted:
    """Fit a model's confidences on one half of some screens, and judge the fit on the other.

    Args:
        model: with its own confidences, not with calibrated ones.
        screens: of each half.

    Raises:
        UsageError: the model tells no confidence, or always hits, or never.
    """
    sets = calibration_sets(screens)
    fitted = measure(model, sets, CALIBRATION)
    try:
        calibration = fit(fitted.confidences, fitted.hits)
    except ValueError as error:
        raise UsageError(f"the confidences of {model.name!r} cannot be calibrated: {error}") from error
    judged = measure(model, sets, EVALUATION)
    after = replace(judged, confidences=tuple(map(calibration.apply, judged.confidences)))
    before_figures, after_figures = (figures_of(one.confidences, one.hits) for one in (judged, after))
    return Fitted(
        calibration=calibration,
        fitted_on=len(fitted.hits),
        judged_on=len(judged.hits),
        ece_before=before_figures["ece"],
        ece_after=after_figures["ece"],
        series={"as the model says": before_figures, "calibrated": after_figures},
    )


def write_profile(folder: Path, calibration: Calibration, min_confidence: float | None = None) -> Path:
    """Put a calibration into the profile of a checkpoint; everything else in it stays.

    Args:
        folder: of the checkpoint.
        calibration: see :func:`calibrate`.
        min_confidence: what `agent run` asks of a point; None: as before.
    """
    path = folder / PROFILE_FILE
    profile = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    profile["calibration"] = {name: round(value, 4) for name, value in calibration.to_dict().items()}
    if min_confidence is not None:
        profile["min_confidence"] = min_confidence
    path.write_text(json.dumps(profile, indent=2) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate a checkpoint folder (by default the embedded one)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="checkpoint folder; default: the embedded nano")
    parser.add_argument("--screens", type=int, default=SCREENS, help=f"to fit on, and to judge on (default {SCREENS})")
    parser.add_argument("--min-confidence", type=float, help="also set what `agent run` asks of a point")
    parser.add_argument("--plot", type=Path, help=f"where to draw it (default: {PLOT_FILE} in this folder)")
    parser.add_argument("--dry-run", action="store_true", help="fit and tell; write no profile")
    given = parser.parse_args(arguments)
    if given.min_confidence is not None and not 0 <= given.min_confidence <= 1:
        raise UsageError(f"--min-confidence must be in [0, 1], got {given.min_confidence}")
    # As it is used: a small model reads large screens in windows.
    model = load_model(str(given.model.absolute()), dtype="float32", calibration=None)
    plot = given.plot or Path(PLOT_FILE)
    found = calibrate(model, given.screens)
    console = Console(highlight=False)
    line = found.calibration
    console.print(f"slope {line.slope:.4f}, offset {line.offset:.4f}, fitted on {found.fitted_on} answers")
    console.print(
        f"expected calibration error on {found.judged_on} others: {found.ece_before:.3f} before, "
        f"{found.ece_after:.3f} after"
    )
    if not given.dry_run:
        console.print(shown(f"written to {write_profile(given.model, line, given.min_confidence)}"))
    with after_the_result("the picture of the confidences", "name another with --plot"):
        console.print(shown(f"drawn in {draw_reliability(found.series, plot)}"))


if __name__ == "__main__":
    main()
