"""The offline page of cap F1: precision and recall by length hint, as figure 9 of the paper, and the worst captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.html import render_page

PAGE_FILE = "report.html"
SCORES = ("precision", "recall", "cap F1")
MAX_CAPTIONS = 30
"""Number of captions per length hint on the page."""

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 24, 16, 36


@dataclass(frozen=True, slots=True)
class Line:
    """One score by length hint, in pixels of the chart: (x, y of the mean, y of the interval's ends)."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    # The first ones, of hints that are numbers, are joined.
    joined: int


def chart(hints: Mapping[str, Mapping[str, Any]]) -> tuple[list[Line], list[tuple[float, str]]]:
    """Return the lines of the chart and the labels below it, as (x, label).

    Hints stand at their numbers; "none" stands apart, on the right.

    Args:
        hints: length hint, or "none" -> figures of :func:`molmo_agent.evaluation.judged.captions.judge_captions`.
    """
    numbers = sorted(int(hint) for hint in hints if hint != "none")
    first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
    end = WIDTH - _RIGHT - (80 if "none" in hints and numbers else 0)

    def across(hint: str) -> float:
        if hint == "none":
            return WIDTH - _RIGHT - (0.0 if numbers else (WIDTH - _LEFT - _RIGHT) / 2)
        share = (int(hint) - first) / (last - first) if last > first else 0.5
        return _LEFT + share * (end - _LEFT)

    def down(value: float) -> float:
        return _TOP + (1 - value) * (HEIGHT - _TOP - _BOTTOM)

    order = [*map(str, numbers), *(["none"] if "none" in hints else [])]
    lines = []
    for name in SCORES:
        rows = [(hint, hints[hint]["scores"][name]) for hint in order]
        points = [(across(hint), *(down(row[key]) for key in ("mean", "low", "high"))) for hint, row in rows]
        lines.append(Line(name, tuple(points), len(numbers)))  # type: ignore[arg-type]
    return lines, [(across(hint), hint) for hint in order]


def worst_captions(judgements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the captions with the lowest precision and recall, with what is wrong in them and what they miss."""
    ordered = sorted(judgements, key=lambda row: row["precision"] + row["recall"])[:MAX_CAPTIONS]
    return [
        {
            **{name: row[name] for name in ("id", "caption", "precision", "recall")},
            "statements": list(zip(row["statements"], row["consistent"], strict=True)),
            "missed": [text for text, match in zip(row["references"], row["matches"], strict=True) if not match],
        }
        for row in ordered
    ]


def page(
    model: str, hints: Mapping[str, Mapping[str, Any]], judgements: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Return the page.

    Args:
        model: that wrote the captions.
        hints: figures by length hint.
        judgements: rows of ``judgements.jsonl`` by length hint.
    """
    lines, labels = chart(hints)
    return render_page(
        "evaluation/judged/cap_f1.html.jinja",
        model=model,
        hints=hints,
        lines=lines,
        labels=labels,
        ticks=[(_TOP + (1 - share / 100) * (HEIGHT - _TOP - _BOTTOM), share) for share in (0, 25, 50, 75, 100)],
        size=(WIDTH, HEIGHT),
        left=_LEFT,
        captions={hint: worst_captions(rows) for hint, rows in judgements.items()},
    )
