"""A suite's figures as tables of text: the same ones for the terminal, the page and the card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.train.nano_suite import ALL, BASELINES, GROUPS


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
        figures: of :func:`molmo_agent.train.nano_suite.run_suite`.
    """
    name = figures["model"]
    made = (
        _hits(figures["hits"], name),
        _refusals(figures["refusals"]),
        _miniwob(figures["miniwob"], name),
        *_confidence(figures),
        _zoom(figures["zoom"]),
        _latency(figures["latency"]),
        _skipped(figures["skipped"]),
    )
    return [sheet for sheet in made if sheet.rows]


def _hits(rows: Sequence[Mapping[str, Any]], name: str) -> Sheet:
    shares = {(row["set"], row["category"], row["model"]): row["share"] for row in rows}
    shown = []
    for row in rows:
        # Categories alone are few questions in one set; they are shown where sets are summed up.
        if row["model"] != name or (row["category"] not in (ALL, *GROUPS) and not row["sum"]):
            continue
        beside = [percent(shares.get((row["set"], row["category"], other))) for other in BASELINES]
        same = percent(row["random_same_kind"])
        cells = (row["set"], row["category"], f"{row['n']}", percent(row["share"]), interval(row), same, *beside)
        shown.append(cells)
    return Sheet(
        title="Hits",
        columns=("screens", "category", "n", "hit", "95 % interval", "same kind", *BASELINES),
        rows=tuple(shown),
        note="A hit is exactly one point inside the element's box. Beside it, on the same questions: a random visible "
        "element of the same kind, perfectly localised; a random point; the middle; the truth.",
    )


def _refusals(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    return Sheet(
        title="Asked for what is not there",
        columns=("model", "refuses by", "questions", "precision", "95 % interval", "recall", "95 % interval", "F1"),
        rows=tuple(
            (
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
        note="Half of the questions ask for something of another screen. Precision: of what was refused, the share "
        "that is really absent; recall: of what is absent, the share that was refused.",
    )


def _miniwob(rows: Sequence[Mapping[str, Any]], name: str) -> Sheet:
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
        note="Whole episodes with the pointing policy, which splits instructions; the oracle is its ceiling.",
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
            note="On the screens of desktops, phones and pages, as they ship. 0 would be a confidence of 70 % that "
            "is right 7 times out of 10.",
        ),
        Sheet(
            title="If only surer answers count",
            columns=("confidence at least", "answered", "n", "hit", "95 % interval"),
            rows=coverage,
        ),
    ]


def _zoom(rows: Sequence[Mapping[str, Any]]) -> Sheet:
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
                f"{row['extra_s']:.2f}",
            )
            for row in rows
        ),
        note="The same questions both times. More s: what a closer look takes, on the threads of this run.",
    )


def _latency(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    return Sheet(
        title="Latency",
        note="One question about a picture that was not seen before. Load: processes that wanted the machine's cores "
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
