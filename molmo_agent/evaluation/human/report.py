"""Write what a human evaluation found: figures as JSON, and an offline page with ratings, outcomes and win rates."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.evaluation.results.sheet import Sheet
from molmo_agent.files import write_whole
from molmo_agent.html import render_page

FIGURES_FILE, PAGE_FILE = "ratings.json", "ratings.html"
# Minimum width of the axis of ratings, in Elo.
_LEAST_SPAN = 60.0


def sheets_of(figures: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables for the terminal: ratings, then the outcomes of every pair."""
    ratings = [
        [
            f"{row['rank']}",
            row["model"],
            f"{row['elo']:.0f}",
            f"{row['low']:.0f} - {row['high']:.0f}",
            _percent(row["win_rate"]["mean"]),
            f"{row['matches']}",
        ]
        for row in figures["models"]
    ]
    anchor = figures["anchor"]
    scale = f"{anchor['model']} is set to {anchor['elo']:g}" if anchor else "the mean of the models is 1000"
    note = (
        f"{figures['votes']} votes by {len(figures['annotators'])} annotators on {figures['questions']} questions; "
        f"{figures['dont_know']} of them don't know, which count nowhere; {scale}"
    )
    pairs = [
        [
            f"{row['model']} - {row['other']}",
            *(_percent(row[name] / row["matches"]) for name in _OUTCOMES),
            f"{row['matches']}",
        ]
        for row in figures["pairs"]
    ]
    categories = [
        [name, *(f"{row[count]}" for count in ("questions", "votes", "dont_know"))]
        for name, row in figures["category_counts"].items()
    ]
    return [
        Sheet("Ratings", ("rank", "model", "Elo", "95 % interval", "wins without ties", "matches"), ratings, note),
        Sheet("Outcomes", ("first - second", "first", "both good", "both bad", "second", "matches"), pairs),
        Sheet(
            "Categories",
            ("category", "questions", "votes", "don't know"),
            categories,
            figures["category_remark"],
        ),
    ]


_OUTCOMES = ("win", "both_good", "both_bad", "loss")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def write_report(folder: Path, figures: Mapping[str, Any]) -> Path:
    """Write the figures and the page; return the page's path.

    Args:
        folder: of the study.
        figures: of :func:`molmo_agent.evaluation.human.ratings.rate`.

    Raises:
        OSError: a file cannot be written.
    """
    write_whole(folder / FIGURES_FILE, json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    path = folder / PAGE_FILE
    low, high = _axis(figures["models"])
    page = render_page(
        "evaluation/human/report.html.jinja",
        figures=figures,
        low=low,
        span=high - low,
        ticks=_ticks(low, high),
        charts=_charts(figures["pairs"], [row["model"] for row in figures["models"]]),
    )
    write_whole(path, page)
    return path


def _axis(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the ends of an axis with room for all intervals."""
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    margin = max(0.06 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Return four to ten round values between the ends."""
    step = next((step for step in (10, 20, 50, 100, 200, 500, 1000) if (high - low) / step <= 9), 2000)
    first = -int(-low // step) * step
    return [float(value) for value in range(first, int(high) + 1, step)]


def _charts(pairs: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return for every model its opponents with the outcomes as fractions, as seen by the opponent."""
    charts = []
    for model in models:
        bars = []
        for row in pairs:
            if model in (row["model"], row["other"]):
                wins, losses = ("loss", "win") if row["model"] == model else ("win", "loss")
                opponent = row["other"] if row["model"] == model else row["model"]
                order = (("win", wins), ("both_good", "both_good"), ("both_bad", "both_bad"), ("loss", losses))
                shares = {kind: row[name] / row["matches"] for kind, name in order}
                bars.append({"model": opponent, "matches": row["matches"], "shares": shares})
        charts.append({"model": model, "bars": bars})
    return charts
