"""Format a suite's figures as text tables for the terminal, the page and the card."""

from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.evaluation.nano_suite.categories import GROUPS, GROUPS_NOTE
from molmo_agent.evaluation.nano_suite.run import ALL, BASELINES
from molmo_agent.evaluation.results.sheet import Sheet


def percent(share: float | None) -> str:
    """Return "12.3 %", or a dash for None."""
    return "-" if share is None else f"{100 * share:.1f} %"


def interval(row: Mapping[str, Any]) -> str:
    """Return the 95 % interval of a share."""
    return f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %" if row["n"] else "-"


def sheets_of(figures: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a suite; empty tables are skipped.

    Args:
        figures: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.
    """
    name = figures["model"]
    sheets = (
        _glance(figures["hits"], name),
        *_hits(figures["hits"], name),
        _refusals(figures["refusals"]),
        _miniwob(figures["miniwob"], name),
        *_confidence(figures),
        _zoom(figures["zoom"]),
        _latency(figures["latency"]),
        _skipped(figures["skipped"]),
    )
    return [sheet for sheet in sheets if sheet.rows]


_Rows = Sequence[Mapping[str, Any]]


def _glance(rows: _Rows, name: str) -> Sheet:
    """Return one row per kind of screen, with one column per group."""
    by_set = {(row["set"], row["category"]): row for row in rows if row["model"] == name and row["sum"]}
    glance_rows = []
    for screens in dict.fromkeys(screens for screens, category in by_set if category == ALL):
        rows_of = (by_set.get((screens, category)) for category in (ALL, *GROUPS))
        cells = (f"{percent(row['share'])} ({interval(row)}; {row['n']})" if row else "-" for row in rows_of)
        glance_rows.append((screens.removesuffix(", all of these"), *cells))
    return Sheet(
        title="At a glance",
        columns=("screens", ALL, *GROUPS),
        rows=tuple(glance_rows),
        note=f"Hit rates with 95 % interval and number of questions. {GROUPS_NOTE}",
    )


def _hits(rows: _Rows, name: str) -> list[Sheet]:
    """Return the hit rates of all sets by group, and of sums by category too."""
    shares = {(row["set"], row["category"], row["model"]): row["share"] for row in rows}
    by_group, by_category = [], []
    for row in rows:
        if row["model"] != name:
            continue
        beside = [percent(shares.get((row["set"], row["category"], other))) for other in BASELINES]
        same = percent(row["random_same_kind"])
        cells = (row["set"], row["category"], f"{row['n']}", percent(row["share"]), interval(row), same, *beside)
        if row["category"] in (ALL, *GROUPS):
            by_group.append(cells)
        elif row["sum"]:
            # A single category has few questions in one set.
            by_category.append(cells)
    columns = ("screens", "category", "n", "hit", "95 % interval", "same kind", *BASELINES)
    return [
        Sheet(
            title="Hits",
            columns=columns,
            rows=tuple(by_group),
            note="A hit is exactly one point inside the element's box; for several targets, one point in each and no "
            "other. For comparison on the same questions: the centre of a random visible element of the same kind; "
            "a random point; the image centre; the oracle.",
        ),
        Sheet(
            title="Hit rates by category",
            columns=columns,
            rows=tuple(by_category),
            note="For an absent target, a hit is the status none.",
        ),
    ]


def _refusals(rows: _Rows) -> Sheet:
    return Sheet(
        title="Absent targets",
        columns=(
            "screens",
            "model",
            "refuses by",
            "questions",
            "precision",
            "95 % interval",
            "recall",
            "95 % interval",
            "F1",
        ),
        rows=tuple(
            (
                row["set"].partition(",")[0],
                row["model"],
                row["refusing"],
                f"{row['questions']}",
                percent(row["precision"]["share"]),
                interval(row["precision"]),
                percent(row["recall"]["share"]),
                interval(row["recall"]),
                "-" if row["f1"] is None else f"{row['f1']:.3f}",
            )
            for row in rows
        ),
        note="Half of the targets are absent: from another screen, or made up "
        "(other letters, another colour or shape, a missing kind of widget). Precision: share of refusals "
        "that are correct; recall: share of absent targets that are refused.",
    )


def _miniwob(rows: _Rows, name: str) -> Sheet:
    shares = {(row["list"], row["task"], row["model"]): row["share"] for row in rows}
    lines = []
    for row in rows:
        if row["model"] != name:
            continue
        beside = (percent(shares.get((row["list"], row["task"], other))) for other in BASELINES)
        tasks = row["list"].replace("_", " ")
        lines.append((tasks, row["task"], f"{row['n']}", percent(row["share"]), interval(row), *beside))
    return Sheet(
        title="MiniWoB++ in Chromium",
        columns=("tasks", "task", "episodes", "success", "95 % interval", *BASELINES),
        rows=tuple(lines),
        note="Whole episodes with the pointing policy, which splits instructions; the oracle is its ceiling. Pages of "
        "160 x 210 pixels, the benchmark's usual size. Tasks of the second list and their families are excluded from "
        "training; the seeds are new in both.",
    )


def _confidence(figures: Mapping[str, Any]) -> list[Sheet]:
    calibration = figures["calibration"]
    if calibration is None:
        return []
    rows = [("as given", f"{calibration['n']}", f"{calibration['given']['ece']:.3f}")]
    if calibration["own"] is not None:
        rows.append(("the model's own, not calibrated", f"{calibration['n']}", f"{calibration['own']['ece']:.3f}"))
    coverage = tuple(
        (f"{row['min_confidence']:.1f}", percent(row["answered"]), f"{row['n']}", percent(row["share"]), interval(row))
        for row in calibration["coverage"]
    )
    return [
        Sheet(
            title="Calibration of the confidence",
            columns=("confidence", "n", "expected calibration error"),
            rows=tuple(rows),
            note="Questions with one target on desktops, phones and pages. At 0, a confidence of 70 % is "
            "right 7 times out of 10.",
        ),
        Sheet(
            title="Hit rate above a confidence threshold",
            columns=("confidence at least", "answered", "n", "hit", "95 % interval"),
            rows=coverage,
        ),
    ]


def _zoom(rows: _Rows) -> Sheet:
    return Sheet(
        title="Zooming in at low confidence",
        columns=(
            "screens",
            "n",
            "without",
            "95 % interval",
            "with",
            "95 % interval",
            "looked",
            "won",
            "lost",
            "more s",
        ),
        rows=tuple(
            (
                row["section"],
                f"{row['without']['n']}",
                percent(row["without"]["share"]),
                interval(row["without"]),
                percent(row["with"]["share"]),
                interval(row["with"]),
                f"{row['looked_closer']}",
                f"{row['won']}",
                f"{row['lost']}",
                "-" if row["extra_s"] is None else f"{row['extra_s']:.2f}",
            )
            for row in rows
        ),
        note="The same questions both times. More s: extra seconds per zoom, on the threads of this run.",
    )


def _latency(rows: _Rows) -> Sheet:
    return Sheet(
        title="Latency",
        note="One question about an uncached image. Load: runnable processes on the machine "
        "before the measurement, including this one; if there are more than cores, the figures are too high.",
        columns=("image", "threads", "n", "p50", "p95", "cores", "load"),
        rows=tuple(
            (
                row["size"],
                f"{row['threads']}",
                f"{row['n']}",
                f"{1e3 * row['p50_s']:.0f} ms",
                f"{1e3 * row['p95_s']:.0f} ms",
                f"{row['cores']}",
                "-" if row["load"] is None else f"{row['load']:.1f}",
            )
            for row in rows
        ),
    )


def _skipped(reasons: Mapping[str, str]) -> Sheet:
    return Sheet(title="Skipped", columns=("what", "why"), rows=tuple(reasons.items()))
