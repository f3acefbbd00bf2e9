"""Fit the confidences of the default model's reader and icons: ``python -m molmo_agent.nano.calibrate_auto DIR``.

DIR holds recorded screens (``agent data record-screens --to DIR``) on which neither the icon classifier was trained nor
scores are reported. Two logistic regressions are fitted: that the best text is what was asked for, and that the
likeliest icon is. A third one, that nano's point is right on an image of a size it was trained on, is fitted on drawn
screens. What nano adds on other screens stays as it is.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import minimize

from molmo_agent.console import make_console
from molmo_agent.data.question import Question
from molmo_agent.evaluation.nano_suite.sets import CALIBRATION as CALIBRATION_SEEDS
from molmo_agent.evaluation.nano_suite.sets import calibration_sets, cases_of, suite_sets
from molmo_agent.evaluation.real_screens import read_real_screens
from molmo_agent.files import write_whole
from molmo_agent.pointers.auto import AutoPointer, is_sure, rival_of
from molmo_agent.pointers.reading.confidence import (
    CALIBRATION,
    icon_observations,
    observations,
    own_observations,
)
from molmo_agent.pointers.reading.pointer import answer
from molmo_agent.pointers.reading.ranking import equals

# Keeps weights small that few questions speak for.
_PENALTY = 0.5
# Drawn screens, apart from those with absent things.
SCREENS = 100


@dataclass(slots=True)
class Observed:
    """What was observed for each question that had a candidate, and whether the place was right."""

    rows: list[dict[str, float]] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    def add(self, row: dict[str, float], hit: bool) -> None:
        """Add a question."""
        self.rows.append(row)
        self.hits.append(hit)


def observe(model: AutoPointer, questions: Sequence[Question]) -> dict[str, Observed]:
    """Return the observations of texts ("text") and of icons ("icon").

    Args:
        model: the default model.
        questions: about recorded screens, those for absent things included; sorted by screen.
    """
    observed = {"text": Observed(), "icon": Observed()}
    screen, image = None, None
    for question in track(questions, "asking"):
        if image is None or question.extra["screen"] != screen:
            assert question.image is not None  # the reader sets it
            screen, image = question.extra["screen"], question.image()
        reading, boxes = model.reader.look_up(image, question.text), question.extra.get("boxes", ())
        if reading.candidates:
            point = reading.candidates[0].box.center
            row = observations(reading.expression, reading.candidates)
            observed["text"].add(row, any(box.contains(point) for box in boxes))
        if fitting := model.icons(reading):
            place, best = fitting[0]
            kind = reading.expression.kind
            row = icon_observations(best.probability, rival_of(fitting, best), len(reading.candidates), kind)
            observed["icon"].add(row, any(box.contains(place.center) for box in boxes))
    return observed


def observe_drawn(model: AutoPointer, screens: int) -> Observed:
    """Return the observations of nano's points on drawn screens, where no text is surely what was asked for.

    Half of the things on some of the screens are absent, as in the suite.

    Args:
        model: the default model.
        screens: about how many; their seeds are those of all calibrations.
    """
    observed = Observed()
    absent = [replace(one, screens=max(1, screens // 20)) for one in suite_sets() if one.absent]
    for screen_set in track([*calibration_sets(screens), *absent], "asking about drawn screens"):
        for image, cases in cases_of(screen_set, CALIBRATION_SEEDS):
            for case in cases if model.knows_size(image) else ():
                reading = model.reader.look_up(image, case.question)
                if reading.expression.several or len(case.boxes) > 1 or is_sure(answer(reading, 0.0)):
                    continue
                seen = model.eyes.point(image, case.question)
                # Where both agree, other weights hold.
                alone = not any(
                    one.box.contains(point.point) for one in equals(reading.candidates) for point in seen.points
                )
                if alone and len(seen.points) == 1 and seen.confidence is not None:
                    row = own_observations(seen.confidence, reading.expression, len(reading.candidates))
                    observed.add(row, any(box.contains(seen.points[0].point) for box in case.boxes))
    return observed


def fit(observed: Observed) -> dict[str, float]:
    """Return the weight of each observation: a logistic regression with a small penalty on all but the offset.

    Args:
        observed: at least one question.
    """
    names = list(observed.rows[0])
    inputs = np.array([[row[name] for name in names] for row in observed.rows])
    hits = np.array(observed.hits, float)
    penalized = np.array([name != "offset" for name in names])

    def loss(weights: NDArray[np.float64]) -> float:
        odds = inputs @ weights
        return float((np.logaddexp(0, odds) - hits * odds).sum() + _PENALTY * (weights[penalized] ** 2).sum())

    fitted = minimize(loss, np.zeros(len(names)), method="BFGS").x
    return {name: round(float(value), 3) for name, value in zip(names, fitted, strict=True)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m molmo_agent.nano.calibrate_auto", description=__doc__)
    parser.add_argument("folder", type=Path, help="recorded screens: targets.jsonl and absent.jsonl")
    parser.add_argument("--to", type=Path, default=CALIBRATION, help="file to write; default: the package's own")
    parser.add_argument(
        "--drawn", type=int, default=SCREENS, help=f"number of drawn screens (default {SCREENS}); 0: none"
    )
    options = parser.parse_args(arguments)
    screens = read_real_screens(options.folder)
    questions = sorted((*screens.targets, *screens.absent), key=lambda question: str(question.extra["screen"]))
    model = AutoPointer()
    observations_by_name = observe(model, questions)
    if options.drawn:
        observations_by_name["nano_own"] = observe_drawn(model, options.drawn)
    weights = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    console = make_console()
    for name, observed in observations_by_name.items():
        if not observed.rows:
            console.print(f"{name}: no question has a candidate; its weights stay as they are")
            continue
        weights[name] = fit(observed)
        console.print(f"{name}: {len(observed.hits)} questions, {np.mean(observed.hits):.1%} right; {weights[name]}")
    write_whole(options.to, json.dumps(weights, indent=2) + "\n")


if __name__ == "__main__":
    main()
