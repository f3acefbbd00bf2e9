"""Fit the confidences of the default model's reader and icons: ``python -m molmo_agent.nano.calibrate_auto DIR``.

DIR holds recorded screens (``agent data record-screens --to DIR``) on which neither the icon classifier was trained nor
scores are reported. Two logistic regressions are fitted: that the best text is what was asked for, and that the
likeliest icon is. What nano adds stays as it is.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import minimize

from molmo_agent.console import make_console
from molmo_agent.data.question import Question
from molmo_agent.evaluation.real_screens import read_real_screens
from molmo_agent.files import write_whole
from molmo_agent.pointers.auto import AutoPointer, rival_of
from molmo_agent.pointers.reading.confidence import CALIBRATION, icon_observations, observations

# Keeps weights small that few questions speak for.
_PENALTY = 0.5


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
    options = parser.parse_args(arguments)
    screens = read_real_screens(options.folder)
    questions = sorted((*screens.targets, *screens.absent), key=lambda question: str(question.extra["screen"]))
    weights = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    console = make_console()
    for name, observed in observe(AutoPointer(), questions).items():
        if not observed.rows:
            console.print(f"{name}: no question has a candidate; its weights stay as they are")
            continue
        weights[name] = fit(observed)
        console.print(f"{name}: {len(observed.hits)} questions, {np.mean(observed.hits):.1%} right; {weights[name]}")
    write_whole(options.to, json.dumps(weights, indent=2) + "\n")


if __name__ == "__main__":
    main()
