"""How likely the best candidate is right: a logistic regression on what was observed, fitted on recorded screens."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from molmo_agent.pointers.calibration import log_odds, probability_of
from molmo_agent.pointers.reading.expression import Expression, Kind
from molmo_agent.pointers.reading.ranking import Candidate, equals

# Written by: python -m molmo_agent.nano.calibrate_auto
CALIBRATION = Path(__file__).with_name("calibration.json")


def observations(expression: Expression, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return what the confidence of the best candidate depends on, by name.

    Args:
        expression: what was asked for.
        candidates: the places that fit, the best first, at least one.
    """
    best = candidates[0]
    alike = len(equals(candidates))
    others = [one.rank for one in candidates[1:] if not one.box.contains(best.box.center)]
    lead = best.rank - max(others, default=0.0)
    field = expression.kind in ("field", "dropdown")
    return {
        "offset": 1.0,
        # 0 for the exact name, 1 for one that shares four letters of five with it.
        "unlike": min(1.0, (1 - best.quality) / 0.2),
        "part": float(not best.match.whole),
        "equals": math.log(alike),
        "lead": min(lead, 0.25) / 0.25,
        "short": float(len(best.match.segment.text) <= 3),
        "field": float(field),
        "field_by_label": float(field and best.found_by.endswith("of its text")),
        "field_not_seen": float(field and best.found_by == "its text"),
        "unsupported": float(best.support < 0),
        "icon": float(expression.kind == "icon"),
    }


@lru_cache(maxsize=1)
def weights() -> Mapping[str, Mapping[str, float]]:
    """Return the fitted weights of observations: of the reader alone ("text"), and of icons ("icon")."""
    fitted: Mapping[str, Mapping[str, float]] = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    return fitted


def confidence_of(expression: Expression, candidates: Sequence[Candidate]) -> float:
    """Return the probability in [0, 1] that the best candidate is what was asked for; at least one candidate."""
    fitted = weights()["text"]
    row = observations(expression, candidates)
    return probability_of(sum(fitted.get(name, 0.0) * value for name, value in row.items()))


def icon_observations(probability: float, rival: float, texts: int, kind: Kind | None) -> dict[str, float]:
    """Return what the confidence of an icon depends on, by name; the arguments are those of :func:`icon_confidence`."""
    return {
        "offset": 1.0,
        "probability": log_odds(min(max(probability, 0.01), 0.99)),
        "rival": rival,
        "texts": float(texts > 0),
        "other_kind": float(kind not in ("icon", "button")),
    }


def icon_confidence(probability: float, rival: float, texts: int, kind: Kind | None) -> float:
    """Return the probability that a recognized icon is what was asked for.

    Args:
        probability: the classifier's, that the region shows what the name means.
        rival: that of the next likely region.
        texts: places whose text fits the name, which speak against an icon.
        kind: what was asked for: a name alone, and a link even more, is mostly a text.
    """
    fitted = weights()["icon"]
    row = icon_observations(probability, rival, texts, kind)
    return probability_of(sum(fitted.get(name, 0.0) * value for name, value in row.items()))


def nano_confidence(confidence: float, *, agreed: bool) -> float:
    """Return the probability that nano's point is right on a screen that is not one of its own.

    Args:
        confidence: what nano reports.
        agreed: whether the reader or the icons lead to the same place; if not, they found nothing.
    """
    fitted = weights()["nano_agreed" if agreed else "nano_alone"]
    return probability_of(fitted["offset"] + fitted["confidence"] * log_odds(min(max(confidence, 0.01), 0.99)))


def own_observations(confidence: float, expression: Expression, texts: int) -> dict[str, float]:
    """Return what the confidence of nano's point depends on, by name; the arguments are those of own_confidence()."""
    return {
        "offset": 1.0,
        "confidence": log_odds(min(max(confidence, 0.01), 0.99)),
        # What is written in quotes can be read where it stands.
        "unread": float(expression.quoted and not texts),
        "texts": float(texts > 0),
    }


def own_confidence(confidence: float, expression: Expression, texts: int) -> float:
    """Return the probability that nano's point is right on an image of a size that it was trained on.

    Args:
        confidence: what nano reports.
        expression: what was asked for.
        texts: places whose text fits, none of which is surely right.
    """
    fitted = weights()["nano_own"]
    row = own_observations(confidence, expression, texts)
    return probability_of(sum(fitted.get(name, 0.0) * value for name, value in row.items()))
