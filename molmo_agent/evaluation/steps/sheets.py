"""The tables of a run on steps: the parts of the score by protocol, and every protocol by sub-split."""

from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.evaluation.results.sheet import Sheet

_PARTS = ("type", "grounding", "text", "step")
# The groups whose table has a column for each value.
_GROUPS = ("subsplit", "set", "subset", "domain", "category")


def step_sheets(summary: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a run's summary; none if its benchmark has no steps."""
    rows = [row for row in summary.get("protocols", ()) if "parts" in row]
    if not rows:
        return []
    sheets = [_parts(rows)]
    for facet in _GROUPS:
        prefix = f"{facet}: "
        groups = {
            name.removeprefix(prefix): part for name, part in summary["groups"].items() if name.startswith(prefix)
        }
        if groups:
            sheets.append(_by_group(facet, groups, rows))
    return sheets


def _parts(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = ("protocol", *_PARTS, "mean of episodes", "goal progress", "right episodes", "episodes")
    cells = [
        [
            row["name"],
            *(_cell(row["parts"].get(part)) for part in _PARTS),
            *(_percent(row["episodes"].get(figure)) for figure in ("mean", "progress", "success")),
            f"{row['episodes']['n'] - row['episodes']['incomplete']} of {row['episodes']['n']}",
        ]
        for row in rows
    ]
    note = (
        "type, grounding, text: parts of the steps, each with its number; grounding where both actions have one type "
        "with a place (Mind2Web: everywhere), text where the recorded action has one. Goal progress: the mean share of "
        "steps before the first error, over episodes of which every step was asked."
    )
    return Sheet("Steps", columns, cells, note)


def _by_group(facet: str, groups: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Sheet:
    cells = [
        [
            row["name"],
            *(_cell(part["scores"].get(row["name"])) for part in groups.values()),
            _cell(row["parts"]["step"]),
        ]
        for row in rows
    ]
    note = "the share of right steps, and the number of steps"
    if facet == "subsplit":
        note += "; an episode may be in several sub-splits, or in none"
    return Sheet(f"By {facet}", ("protocol", *groups, "all"), cells, note)


def _cell(figure: Mapping[str, Any] | None) -> str:
    return "" if figure is None else f"{figure['mean']:.1%} ({figure['n']})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
