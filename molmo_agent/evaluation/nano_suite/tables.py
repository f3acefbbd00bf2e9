"""A suite's figures as tables of text: the same ones for the terminal, the page and the card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.evaluation.nano_suite.categories import GROUPS, GROUPS_NOTE
from molmo_agent.evaluation.nano_suite.run import ALL, BASELINES


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # What has to be known to read it.
    note: str = ""


def percent(share: float | None) -> str:
    """Return "12.3 %", or a dash where nothing was tried."""
    return "-" if share is None else f"{100 * share:.1f} %"


def interval(row: Mapping[str, Any]) -> str:
    """Return the 95 % interval of a share."""
    return f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %" if row["n"] else "-"


def sheets_of(figures: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a suite; those without rows are left out.

    Args:
        figures: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.
    """
    name = figures["model"]
    made = (
        _glance(figures["hits"], name),
        *_hits(figures["hits"], name),
        _refusals(figures["refusals"]),
        _miniwob(figures["miniwob"], name),
        *_confidence(figures),
        _zoom(figures["zoom"]),
        _latency(figures["latency"]),
        _skipped(figures["skipped"]),
    )
    return [sheet for sheet in made if sheet.rows]


_Rows = Sequence[Mapping[str, Any]]


def _glance(rows: _Rows, name: str) -> Sheet:
    """Return a row for each kind of screen, with the groups side by side."""
    found = {(row["set"], row["category"]): row for row in rows if row["model"] == name and row["sum"]}
    shown = []
    for screens in dict.fromkeys(screens for screens, category in found if category == ALL):
        rows_of = (found.get((screens, category)) for category in (ALL, *GROUPS))
        cells = (f"{percent(row['share'])} ({interval(row)}; {row['n']})" if row else "-" for row in rows_of)
        shown.append((screens.removesuffix(", all of these"), *cells))
    return Sheet(
        title="At a glance",
        columns=("screens", ALL, *GROUPS),
        rows=tuple(shown),
        note=f"Hits with their 95 % interval, and of how many questions. {GROUPS_NOTE}",
    )


def _hits(rows: _Rows, name: str) -> list[Sheet]:
    """Return the hits of all sets by group, and where sets are summed up by category."""
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
            # Categories alone are few questions in one set.
            by_category.append(cells)
    columns = ("screens", "category", "n", "hit", "95 % interval", "same kind", *BASELINES)
    return [
        Sheet(
            title="Hits",
            columns=columns,
            rows=tuple(by_group),
            note="A hit is exactly one point, inside the element's box; of several things, a point in each and no "
            "other. Beside it, on the same questions: a random visible element of the same kind, perfectly localised; "
            "a random point; the middle; the truth.",
        ),
        Sheet(
            title="Hits by what is asked for, and how",
            columns=columns,
            rows=tuple(by_category),
            note="Where there is none, a hit is to say so.",
        ),
    ]


def _refusals(rows: _Rows) -> Sheet:
    return Sheet(
        title="Asked for what is not there",
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
        note="Half of the questions ask for what is not there: something of another screen, or something made up "
        "(other letters, another colour or form, a kind of widget that is not there). Precision: of what was refused, "
        "the share that is really absent; recall: of what is absent, the share that was refused.",
    )


def _miniwob(rows: _Rows, name: str) -> Sheet:
    shares = {(row["list"], row["task"], row["model"]): row["share"] for row in rows}
    shown = []
    for row in rows:
        if row["model"] != name:
            continue
        beside = (percent(shares.get((row["list"], row["task"], other))) for other in BASELINES)
        tasks = row["list"].replace("_", " ")
        shown.append((tasks, row["task"], f"{row['n']}", percent(row["share"]), interval(row), *beside))
    return Sheet(
        title="MiniWoB++ in Chromium",
        columns=("tasks", "task", "episodes", "success", "95 % interval", *BASELINES),
        rows=tuple(shown),
        note="Whole episodes with the pointing policy, which splits instructions; the oracle is its ceiling. Pages of "
        "160 x 210 pixels, as others play the benchmark. No task of the second list, nor any of its family, may be "
        "trained on; the seeds are new in both.",
    )


def _confidence(figures: Mapping[str, Any]) -> list[Sheet]:
    found = figures["calibration"]
    if found is None:
        return []
    rows = [("as given", f"{found['n']}", f"{found['given']['ece']:.3f}")]
    if found["own"] is not None:
        rows.append(("the model's own, not calibrated", f"{found['n']}", f"{found['own']['ece']:.3f}"))
    coverage = tuple(
        (f"{row['min_confidence']:.1f}", percent(row["answered"]), f"{row['n']}", percent(row["share"]), interval(row))
        for row in found["coverage"]
    )
    return [
        Sheet(
            title="How far the confidence can be believed",
            columns=("confidence", "n", "expected calibration error"),
            rows=tuple(rows),
            note="Where one thing is asked for on desktops, phones and pages. 0 would be a confidence of 70 % that "
            "is right 7 times out of 10.",
        ),
        Sheet(
            title="If only surer answers count",
            columns=("confidence at least", "answered", "n", "hit", "95 % interval"),
            rows=coverage,
        ),
    ]


def _zoom(rows: _Rows) -> Sheet:
    return Sheet(
        title="Looking closer where unsure",
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
        note="The same questions both times. More s: what a closer look takes, on the threads of this run.",
    )


def _latency(rows: _Rows) -> Sheet:
    return Sheet(
        title="Latency",
        note="One question about an image that was not seen before. Load: processes that wanted the machine's cores "
        "before the measurement, this one included; where there are more of them than cores, figures are too high.",
        columns=("picture", "threads", "n", "p50", "p95", "cores", "load"),
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


def _skipped(found: Mapping[str, str]) -> Sheet:
    return Sheet(title="Left out", columns=("what", "why"), rows=tuple(found.items()))
