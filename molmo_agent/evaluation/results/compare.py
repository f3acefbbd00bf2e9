"""Compare two runs on the questions that both answered: paired bootstrap of the difference, also by group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.results.folder import ResultFolder, check_comparable
from molmo_agent.evaluation.results.sheet import Sheet

RESAMPLES = 10_000
_Record = Mapping[str, Any]


def compare_runs(first: ResultFolder, second: ResultFolder, *, seed: int = 0) -> dict[str, Any]:
    """Compare two runs of one benchmark; ready for JSON.

    A difference is the second mean minus the first, on the questions that have the score in both runs.

    Args:
        first: a run.
        second: a run with the same settings except for the model.
        seed: of the bootstrap.

    Returns:
        ``models``; ``left_out``: number of questions that only the first or only the second run scored; ``scores``:
        score -> figures; ``groups``: group -> score -> figures. Figures have ``n``, ``first``, ``second``,
        ``difference``, ``low``, ``high`` and ``p``.

    Raises:
        UsageError: the settings differ, or the runs share no question.
    """
    check_comparable(first, second)
    ours = {id_: record for id_, record in first.records.items() if "scores" in record}
    theirs = {id_: record for id_, record in second.records.items() if "scores" in record}
    common = [id_ for id_ in ours if id_ in theirs]
    if not common:
        raise UsageError(f"expected {first.path} and {second.path} to share scored questions, got none")
    pairs = [(ours[id_], theirs[id_]) for id_ in common]
    groups: dict[str, list[tuple[_Record, _Record]]] = {}
    for pair in pairs:
        for group in pair[0]["groups"]:
            groups.setdefault(group, []).append(pair)
    return {
        "models": [first.settings["model"], second.settings["model"]],
        "left_out": [len(ours) - len(common), len(theirs) - len(common)],
        "scores": _figures(pairs, seed),
        "groups": {name: _figures(groups[name], seed) for name in sorted(groups)},
    }


def compare_suites(
    first: Mapping[str, ResultFolder], second: Mapping[str, ResultFolder], *, seed: int = 0
) -> dict[str, Any]:
    """Compare the runs of two suites by benchmark; ready for JSON.

    Args:
        first: runs by benchmark.
        second: runs of another model.
        seed: of the bootstrap.

    Returns:
        ``benchmarks``: benchmark -> see :func:`compare_runs`; ``left_out``: those that only one suite has.

    Raises:
        UsageError: the suites share no benchmark, or see :func:`compare_runs`.
    """
    common = [name for name in first if name in second]
    if not common:
        names = [", ".join(sorted(filter(None, suite))) or "a single benchmark" for suite in (first, second)]
        raise UsageError(f"expected two runs with a benchmark in common, got {names[0]} and {names[1]}")
    return {
        "benchmarks": {name: compare_runs(first[name], second[name], seed=seed) for name in common},
        "left_out": sorted({*first} ^ {*second}),
    }


def _figures(pairs: Sequence[tuple[_Record, _Record]], seed: int) -> dict[str, Any]:
    names = dict.fromkeys(name for record, _ in pairs for name in record["scores"])
    figures = {}
    for name in names:
        both = [(a["scores"][name], b["scores"][name]) for a, b in pairs if name in a["scores"] and name in b["scores"]]
        if both:
            values = np.asarray(both, dtype=np.float64)
            figures[name] = paired_bootstrap(values[:, 0], values[:, 1], seed=seed)
    return figures


def paired_bootstrap(
    first: NDArray[np.float64], second: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float | int]:
    """Return the difference of two means on the same questions, with its 95 % percentile interval and two-sided p.

    p is the probability of a difference at least this large if there were none: resamples are centred at 0. It is at
    least 1 / (resamples + 1).

    Args:
        first: scores, (n,).
        second: scores of the same questions, (n,).
        resamples: number of resampled differences.
        seed: of the draws.

    Raises:
        ValueError: no values, or not equally many.
    """
    if not len(first) or len(first) != len(second):
        raise ValueError(f"expected equally many scores, at least one, got {len(first)} and {len(second)}")
    distinct, counts = np.unique(second - first, return_counts=True)
    n = len(first)
    samples = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) @ distinct / n
    low, high = np.quantile(samples, (0.025, 0.975))
    difference = float(second.mean() - first.mean())
    extreme = int(np.sum(np.abs(samples - difference) >= abs(difference) - 1e-12))
    return {
        "n": n,
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": difference,
        "low": float(low),
        "high": float(high),
        "p": (extreme + 1) / (resamples + 1),
    }


def comparison_sheets(figures: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a comparison: all questions, then each group where there are several."""
    first, second = figures["models"]
    columns = ("score", "first", "second", "difference", "95 % interval", "p", "n")
    only = figures["left_out"]
    note = (
        f"first: {first}; second: {second}; left out: {only[0]} questions that only the first answered, {only[1]} that "
        "only the second answered"
    )
    sheets = [Sheet("Comparison", columns, [_cells(name, row) for name, row in figures["scores"].items()], note)]
    if len(figures["groups"]) > 1:
        rows = [
            [group, *_cells(name, row)] for group, scores in figures["groups"].items() for name, row in scores.items()
        ]
        note = "p is not corrected for the number of groups"
        sheets.append(Sheet("By group", ("group", *columns), rows, note))
    return sheets


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    interval = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
    means = (f"{row['first']:.1%}", f"{row['second']:.1%}", f"{100 * row['difference']:+.1f}")
    return [name, *means, interval, f"{row['p']:.4f}", f"{row['n']}"]
