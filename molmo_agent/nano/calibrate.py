"""Fit the two parameters that map a model's confidence to the probability of a hit, and write them to its profile.

The fit uses screens with seeds of their own; its calibration error is measured on the screens of evaluation.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import track

from molmo_agent.console import after_the_result, make_console, plain_text
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.metrics.calibration import fit
from molmo_agent.evaluation.nano_suite.run import ask, confidences
from molmo_agent.evaluation.nano_suite.sets import CALIBRATION, EVALUATION, ScreenSet, calibration_sets
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_reliability, figures_of
from molmo_agent.files import write_whole
from molmo_agent.interfaces import PointingModel
from molmo_agent.parse import read_json
from molmo_agent.pointers.calibration import Calibration
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.pointers.profile import PROFILE_FILE
from molmo_agent.registry import load_model

SCREENS = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Confidences of answers, and whether each answer hit."""

    confidences: tuple[float, ...]
    hits: tuple[bool, ...]


def measure(model: PointingModel, sets: Sequence[ScreenSet], seeds: int) -> Measurements:
    """Ask a model about screens; return the confidences of its points on single targets.

    Raises:
        UsageError: the model reports no confidence.
    """
    answers = [
        one for screen_set in track(sets, "asking", transient=True) for one in ask([model], screen_set, seeds)[0]
    ]
    pairs = confidences(answers)
    if not pairs:
        raise UsageError(f"the model {model.name!r} reports no confidence; there is nothing to calibrate")
    values, hits = zip(*pairs, strict=True)
    return Measurements(confidences=values, hits=hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFit:
    """The result of a fit."""

    calibration: Calibration
    # Number of answers in the fit, and in its evaluation.
    num_fit: int
    num_held_out: int
    # Expected calibration error on the evaluation's answers.
    ece_before: float
    ece_after: float
    # Figures of the same answers before and after, for :func:`molmo_agent.evaluation.reliability.draw_reliability`.
    series: dict[str, dict[str, Any]]


def calibrate(model: PointingModel, screens: int = SCREENS) -> CalibrationFit:
    """Fit a model's confidences on some screens, and measure the calibration error on others.

    Args:
        model: with uncalibrated confidences.
        screens: number of screens for each of the two.

    Raises:
        UsageError: the model reports no confidence, or always hits, or never.
    """
    sets = calibration_sets(screens)
    fit_answers = measure(model, sets, CALIBRATION)
    try:
        calibration = fit(fit_answers.confidences, fit_answers.hits)
    except ValueError as error:
        raise UsageError(f"the confidences of {model.name!r} cannot be calibrated: {error}") from error
    held_out = measure(model, sets, EVALUATION)
    after = replace(held_out, confidences=tuple(map(calibration.apply, held_out.confidences)))
    before_figures, after_figures = (figures_of(one.confidences, one.hits) for one in (held_out, after))
    return CalibrationFit(
        calibration=calibration,
        num_fit=len(fit_answers.hits),
        num_held_out=len(held_out.hits),
        ece_before=before_figures["ece"],
        ece_after=after_figures["ece"],
        series={"not calibrated": before_figures, "calibrated": after_figures},
    )


def write_profile(folder: Path, calibration: Calibration, min_confidence: float | None = None) -> Path:
    """Write a calibration to the profile of a checkpoint; the other fields are unchanged.

    Args:
        folder: of the checkpoint.
        calibration: see :func:`calibrate`.
        min_confidence: confidence threshold of `agent run`; None leaves it unchanged.
    """
    path = folder / PROFILE_FILE
    profile = read_json(path) if path.exists() else {}
    profile["calibration"] = {name: round(value, 4) for name, value in calibration.to_dict().items()}
    if min_confidence is not None:
        profile["min_confidence"] = min_confidence
    write_whole(path, json.dumps(profile, indent=2) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate a checkpoint folder (by default the embedded one)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="checkpoint folder; default: the embedded nano")
    parser.add_argument(
        "--screens", type=int, default=SCREENS, help=f"number for the fit, and for its evaluation (default {SCREENS})"
    )
    parser.add_argument("--min-confidence", type=float, help="also set the confidence threshold of `agent run`")
    parser.add_argument("--plot", type=Path, help=f"file of the plot (default: {PLOT_FILE} in this folder)")
    parser.add_argument("--dry-run", action="store_true", help="fit and print the result; write no profile")
    options = parser.parse_args(arguments)
    if options.min_confidence is not None and not 0 <= options.min_confidence <= 1:
        raise UsageError(f"--min-confidence must be in [0, 1], got {options.min_confidence}")
    # Load it as in use: a small model reads large screens in windows.
    model = load_model(str(options.model.absolute()), dtype="float32", calibration=None)
    plot = options.plot or Path(PLOT_FILE)
    result = calibrate(model, options.screens)
    console = make_console()
    calibration = result.calibration
    console.print(f"slope {calibration.slope:.4f}, offset {calibration.offset:.4f}, fitted on {result.num_fit} answers")
    console.print(
        f"expected calibration error on {result.num_held_out} others: {result.ece_before:.3f} before, "
        f"{result.ece_after:.3f} after"
    )
    if not options.dry_run:
        console.print(plain_text(f"wrote {write_profile(options.model, calibration, options.min_confidence)}"))
    with after_the_result("the plot of the confidences", "choose another file with --plot"):
        console.print(plain_text(f"plot: {draw_reliability(result.series, plot)}"))


if __name__ == "__main__":
    main()
