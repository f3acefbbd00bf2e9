"""Bradley-Terry ratings on the scale of Elo, with bootstrap intervals; win rates without ties; outcomes of matches.

The method is that of Chatbot Arena: a tie is half a win for each model, votes of "don't know" are dropped, 400 points
are odds of ten to one. A weak prior keeps the rating of a model that won every match finite.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.human.study import NO_CATEGORY
from molmo_agent.evaluation.human.votes import BOTH_BAD, BOTH_GOOD, DONT_KNOW, FIRST, SECOND, Vote
from molmo_agent.evaluation.metrics.interval import wilson

ELO_PER_LOGIT = 400 / math.log(10)
MEAN_ELO = 1000.0
"""The mean of all ratings, unless one model's rating is set."""
RESAMPLES = 1000
PAPER_CATEGORIES = 10
"""Number of categories of questions in the Molmo paper's study, 50 questions each in its second part."""
# Precision of the prior on a strength, in logits: about a hundredth of one vote.
_PRIOR = 0.01
_Wins = NDArray[np.float64]


def strengths(wins: _Wins) -> NDArray[np.float64]:
    """Return the strengths of a Bradley-Terry model by Newton's method, in logits, with mean 0.

    Args:
        wins: (models, models); how often the model of the row beat that of the column. A tie is half a win for each.
    """
    matches = wins + wins.T
    beta = np.zeros(len(wins))
    identity = np.eye(len(wins))
    for _ in range(100):
        probability = 1 / (1 + np.exp(beta[None, :] - beta[:, None]))
        gradient = (wins - matches * probability).sum(1) - _PRIOR * beta
        weights = matches * probability * (1 - probability)
        step = np.linalg.solve(np.diag(weights.sum(1)) - weights + _PRIOR * identity, gradient)
        # A full step from far away may overshoot where the likelihood is flat.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        beta += step
        if float(np.abs(step).max()) < 1e-9:
            break
    return beta - beta.mean()


def elo(beta: NDArray[np.float64], anchor: tuple[int, float] | None = None) -> NDArray[np.float64]:
    """Return strengths on the scale of Elo.

    Args:
        beta: strengths in logits.
        anchor: (number of a model, its rating); None sets the mean of all ratings to 1000.
    """
    if anchor is None:
        return MEAN_ELO + ELO_PER_LOGIT * (beta - beta.mean())
    return anchor[1] + ELO_PER_LOGIT * (beta - beta[anchor[0]])


def rate(
    votes: Sequence[Vote],
    *,
    anchor: tuple[str, float] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Return all figures of a study, ready for JSON: fractions in [0, 1], 95 % intervals.

    The bootstrap draws questions, not votes: votes on the same question are not independent.

    Args:
        votes: the last vote of each annotator on each match.
        anchor: (model, its rating), such as a rating on Chatbot Arena; None sets the mean of all ratings to 1000.
        seed: of the bootstrap.
        resamples: number of resampled studies.

    Raises:
        UsageError: there is no vote with an opinion, or the anchor is not a model of the study.
    """
    opinions = [vote for vote in votes if vote.outcome != DONT_KNOW]
    if not opinions:
        raise UsageError(f"expected votes on two models, got {len(votes)}, none of them with an opinion")
    models = sorted({model for vote in opinions for model in (vote.first, vote.second)})
    if anchor and anchor[0] not in models:
        raise UsageError(f"expected the anchor to be one of {', '.join(models)}, got {anchor[0]!r}")
    number = {model: place for place, model in enumerate(models)}
    fixed = (number[anchor[0]], anchor[1]) if anchor else None
    by_question = _wins_by_question(opinions, number)
    ratings = elo(strengths(by_question.sum(0)), fixed)
    draws = np.random.default_rng(seed).multinomial(
        len(by_question), [1 / len(by_question)] * len(by_question), resamples
    )
    flat = by_question.reshape(len(by_question), -1)
    samples = np.stack([elo(strengths((draw @ flat).reshape(by_question.shape[1:])), fixed) for draw in draws])
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    rows: list[dict[str, Any]] = [
        {"model": model, "elo": float(ratings[place]), "low": float(low[place]), "high": float(high[place])}
        | {"rank": 1 + int(np.sum(low > high[place]))}
        | _record_of(model, opinions)
        for model, place in number.items()
    ]
    rows.sort(key=lambda row: -row["elo"])
    return {
        "votes": len(votes),
        "dont_know": len(votes) - len(opinions),
        "questions": len({vote.question for vote in votes}),
        "annotators": dict(Counter(vote.annotator for vote in votes).most_common()),
        "agreement": _agreement(opinions),
        "anchor": {"model": anchor[0], "elo": anchor[1]} if anchor else None,
        "models": rows,
        "pairs": _pairs(opinions, [row["model"] for row in rows]),
        "categories": _categories(opinions, models),
        "category_counts": _category_counts(votes),
        "category_remark": _remark_on_categories(votes),
        "remarks": _remarks(by_question.sum(0), models),
    }


def _wins_by_question(votes: Sequence[Vote], number: Mapping[str, int]) -> _Wins:
    """Return (questions, models, models)."""
    place = {question: at for at, question in enumerate(sorted({vote.question for vote in votes}))}
    wins = np.zeros((len(place), len(number), len(number)))
    for vote in votes:
        first, second, at = number[vote.first], number[vote.second], place[vote.question]
        share = {FIRST: 1.0, SECOND: 0.0}.get(vote.outcome, 0.5)
        wins[at, first, second] += share
        wins[at, second, first] += 1 - share
    return wins


def _outcome_for(model: str, vote: Vote) -> str:
    """Return "win", "loss", "both_good" or "both_bad", as seen by one of the two models."""
    if vote.outcome in (BOTH_GOOD, BOTH_BAD):
        return vote.outcome
    return "win" if (vote.outcome == FIRST) == (model == vote.first) else "loss"


def _record_of(model: str, votes: Sequence[Vote]) -> dict[str, Any]:
    """Return how often a model won, lost and tied, and its win rate without ties with its Wilson interval."""
    counts = Counter(_outcome_for(model, vote) for vote in votes if model in (vote.first, vote.second))
    decided = counts["win"] + counts["loss"]
    low, high = wilson(counts["win"], decided)
    return {
        "matches": counts.total(),
        **{name: counts[name] for name in ("win", "loss", BOTH_GOOD, BOTH_BAD)},
        "win_rate": {"mean": counts["win"] / decided if decided else None, "n": decided, "low": low, "high": high},
    }


def _pairs(votes: Sequence[Vote], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the outcomes of every pair that met, as seen by the model with the higher rating."""
    rows = []
    for place, model in enumerate(models):
        for other in models[place + 1 :]:
            met = [vote for vote in votes if {vote.first, vote.second} == {model, other}]
            if met:
                rows.append({"model": model, "other": other, **_record_of(model, met)})
    return rows


def _categories(votes: Sequence[Vote], models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return each model's record by category."""
    groups: dict[str, list[Vote]] = {}
    for vote in votes:
        groups.setdefault(vote.category, []).append(vote)
    return {
        name: {
            model: _record_of(model, group)
            for model in models
            if any(model in (vote.first, vote.second) for vote in group)
        }
        for name, group in sorted(groups.items())
    }


def _category_counts(votes: Sequence[Vote]) -> dict[str, dict[str, int]]:
    """Return the numbers of questions, of votes, and of votes without an opinion by category."""
    groups: dict[str, list[Vote]] = {}
    for vote in votes:
        groups.setdefault(vote.category, []).append(vote)
    return {
        name: {
            "questions": len({vote.question for vote in group}),
            "votes": len(group),
            "dont_know": sum(vote.outcome == DONT_KNOW for vote in group),
        }
        for name, group in sorted(groups.items())
    }


def _remark_on_categories(votes: Sequence[Vote]) -> str:
    """Return what sets the questions apart from the paper's: no categories, more or fewer, or of other sizes."""
    counts = {name: row["questions"] for name, row in _category_counts(votes).items()}
    if without := counts.pop(NO_CATEGORY, 0):
        return f"{without} questions have no category; in the Molmo paper's study every question has one of ten"
    if len(counts) != PAPER_CATEGORIES:
        names = "category" if len(counts) == 1 else "categories"
        return f"{len(counts)} {names} of questions; the Molmo paper's study has {PAPER_CATEGORIES}"
    if len(set(counts.values())) > 1:
        least, most = min(counts.values()), max(counts.values())
        return f"{least} to {most} questions in a category: those with more count more in the ratings"
    return ""


def _agreement(votes: Sequence[Vote]) -> dict[str, Any] | None:
    """Return how often two annotators of one match gave the same vote; None if no match has two votes."""
    by_match: dict[tuple[str, str, str], list[str]] = {}
    for vote in votes:
        by_match.setdefault(vote.match, []).append(vote.outcome)
    same = pairs = 0
    for outcomes in by_match.values():
        n = len(outcomes)
        pairs += n * (n - 1) // 2
        same += sum(count * (count - 1) // 2 for count in Counter(outcomes).values())
    return {"mean": same / pairs, "n": pairs} if pairs else None


def _remarks(wins: _Wins, models: Sequence[str]) -> list[str]:
    """Return what limits the ratings: groups of models that never met, models that won or lost everything."""
    remarks = []
    reach = (wins + wins.T > 0) | np.eye(len(models), dtype=bool)
    for _ in models:
        reach = reach @ reach
    apart = [model for model, met in zip(models, reach[0], strict=True) if not met]
    if apart:
        remarks.append(f"{', '.join(apart)} and {models[0]} share no chain of matches: their ratings do not compare")
    for place, model in enumerate(models):
        if wins[place].sum() == 0 or wins[:, place].sum() == 0:
            what = "lost" if wins[place].sum() == 0 else "won"
            remarks.append(f"{model} {what} every match: its rating is a bound, set by the prior")
    return remarks
