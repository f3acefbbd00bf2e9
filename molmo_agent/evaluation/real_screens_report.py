"""Write the results on real screens: tables, figures as JSON, and one offline page with the failures as images."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from molmo_agent.errors import ImageError, UsageError
from molmo_agent.evaluation.nano_suite.tables import interval, percent
from molmo_agent.evaluation.real_screens import ALL, DIMENSIONS, Answer, goals
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_reliability
from molmo_agent.evaluation.results.sheet import Sheet
from molmo_agent.files import write_whole
from molmo_agent.html import render_page

REPORT_FILE, PAGE_FILE, RECORDS_FILE = "report.json", "report.html", "records.jsonl"
SHOWN = 60
"""Number of failures on the page."""

_SIDE_PX = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure on the page; lengths in pixels of the embedded image."""

    answer: Answer
    kind: str
    uri: str
    width: int
    height: int
    predictions: tuple[tuple[float, float], ...]
    # Left, top, width, height; empty if the target is absent.
    boxes: tuple[tuple[float, float, float, float], ...]


def sheets_of(figures: Mapping[str, Any]) -> list[Sheet]:
    """Return the tables of a run.

    Args:
        figures: of :func:`molmo_agent.evaluation.real_screens.figures`.
    """
    threshold = figures["threshold"]
    at = "the model has no threshold" if threshold is None else f"the threshold is a confidence of {threshold:g}"
    note = (
        f"Acted on: one place, and a confidence that is not below the threshold ({at}). Hits, wrong clicks and acted: "
        "shares of all targets, at the threshold. Hits without threshold: the same answers whatever their confidence. "
        "In parentheses: 95 % Wilson intervals."
    )
    columns = ("n", "hits", "acted", "hits of acted", "wrong clicks", "hits without threshold")
    sheets = []
    for dimension in (ALL, *DIMENSIONS):
        rows = figures["targets"][dimension]
        if dimension == "group":
            note = "Words: text, menu, link and checkbox."
        sheets.append(
            Sheet(
                title="Targets" if dimension == ALL else f"Targets by {dimension}",
                columns=(dimension, *columns),
                rows=tuple((name, *_cells(row)) for name, row in rows.items()),
                note=note,
            )
        )
        note = ""
    return [*sheets, _refusals(figures), _absent(figures), _other(figures), _goals(figures), *_skipped(figures)]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['n']}",
        _with_interval(row["hits"]),
        percent(row["acted"]["share"]),
        percent(row["hits_of_acted"]["share"]),
        _with_interval(row["wrong_clicks"]),
        _with_interval(row["hits_without_threshold"]),
    )


def _with_interval(row: Mapping[str, Any]) -> str:
    return f"{percent(row['share'])} ({100 * row['low']:.0f}-{100 * row['high']:.0f})" if row["n"] else "-"


def _refusals(figures: Mapping[str, Any]) -> Sheet:
    row = figures["targets"][ALL][ALL]
    others = {name: count for name, count in row["outcomes"].items() if name != "click"}
    return Sheet(
        title="Refusals of targets that are there",
        columns=("reason", "n", "share of all targets"),
        rows=tuple((name, f"{count}", percent(count / row["n"])) for name, count in sorted(others.items())),
    )


def _absent(figures: Mapping[str, Any]) -> Sheet:
    clicks, outcomes = figures["absent"]["clicks"], figures["absent"]["outcomes"]
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())) or "-"
    return Sheet(
        title="Absent targets",
        columns=("n", "clicks", "95 %", "outcomes"),
        rows=((f"{clicks['n']}", percent(clicks["share"]), interval(clicks), reasons),) if clicks["n"] else (),
        note="Every click on something that is not on the screen is wrong.",
    )


def _other(figures: Mapping[str, Any]) -> Sheet:
    calibration, latency = figures["calibration"], figures["latency"]
    rows = [("calibration error (ECE)", f"{calibration['ece']:.3f}", f"{calibration['n']}")] if calibration else []
    for which, name in (("first", "first question on a screen"), ("later", "later questions")):
        row = latency[which]
        if row["n"]:
            rows.append((f"{name}, median", f"{row['median_s']:.3f} s", f"{row['n']}"))
    return Sheet(
        title="Confidence and time",
        columns=("figure", "value", "n"),
        rows=tuple(rows),
        note="The calibration error covers all answers with one place and a confidence, whatever the threshold.",
    )


def _goals(figures: Mapping[str, Any]) -> Sheet:
    rows = []
    for row in goals(figures):
        plain = row["goal"] == "calibration error"
        value, limit = (
            "-" if number is None else f"{number:.3f}" if plain else percent(number)
            for number in (row["value"], row["limit"])
        )
        rows.append((row["goal"], value, f"{'>=' if row['at_least'] else '<='} {limit}", "yes" if row["met"] else "no"))
    return Sheet(
        title="Goals",
        columns=("goal", "value", "limit", "met"),
        rows=tuple(rows),
        note="With --check, the exit code is 1 if a goal is missed. Hits count at the threshold.",
    )


def _skipped(figures: Mapping[str, Any]) -> list[Sheet]:
    rows = tuple((reason,) for reason in figures["skipped"])
    return [Sheet(title="Skipped: not in any figure", columns=("question and reason",), rows=rows)] if rows else []


def failures_of(answers: Sequence[Answer], most: int = SHOWN) -> list[tuple[str, Answer]]:
    """Return the failures to show with their kind: wrong clicks, clicks on absent targets, then misses without a click.

    Within a kind the most confident come first.
    """
    kinds: dict[str, list[Answer]] = {"wrong click": [], "click on an absent target": [], "not clicked": []}
    for one in answers:
        if one.acted and not one.hit:
            kinds["wrong click" if one.boxes else "click on an absent target"].append(one)
        elif one.boxes and not one.acted:
            kinds["not clicked"].append(one)
    ordered = [(kind, one) for kind, some in kinds.items() for one in sorted(some, key=lambda a: -(a.confidence or 0))]
    return ordered[:most]


def _drawn(kind: str, answer: Answer) -> Failure | None:
    assert answer.question.image is not None  # the reader sets it
    try:
        image = PILImage.fromarray(answer.question.image())
    except ImageError:
        return None
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80, method=4)
    width, height = image.size
    return Failure(
        answer=answer,
        kind=kind,
        uri=f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}",
        width=width,
        height=height,
        predictions=tuple((point.x * width, point.y * height) for point in answer.points),
        boxes=tuple(
            (box.left * width, box.top * height, (box.right - box.left) * width, (box.bottom - box.top) * height)
            for box in answer.boxes
        ),
    )


def write_figures(folder: Path, figures: Mapping[str, Any], answers: Sequence[Answer]) -> Path:
    """Write the figures and one record per answer as JSON; return the path of the figures.

    Args:
        folder: created if missing; results of an earlier run are replaced.
        figures: of :func:`molmo_agent.evaluation.real_screens.figures`.
        answers: behind them.

    Raises:
        UsageError: the folder is not writable.
    """
    path = folder / REPORT_FILE
    records = [
        {
            "id": one.question.id,
            "question": one.question.text,
            "screen": one.question.extra["screen"],
            "group": one.question.extra.get("group"),
            "outcome": one.outcome,
            "hit": one.hit if one.boxes else None,
            "confidence": one.confidence,
            "points": [[point.x, point.y] for point in one.points],
            "reply": one.reply,
            "latency_s": one.latency_s,
        }
        for one in answers
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(figures, indent=1) + "\n")
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_whole(folder / RECORDS_FILE, lines)
    except OSError as error:
        raise UsageError(f"cannot write the figures {path}: {error.strerror}; choose another --out") from error
    return path


def write_page(folder: Path, figures: Mapping[str, Any], answers: Sequence[Answer]) -> Path:
    """Write the reliability plot and the page, and return the path of the page.

    Args:
        folder: of :func:`write_figures`.
        figures: of the run.
        answers: of the run.
    """
    plot = folder / PLOT_FILE
    plot.unlink(missing_ok=True)
    if figures["calibration"]:
        draw_reliability({figures["model"]: figures["calibration"]}, plot)
    drawn = (_drawn(kind, answer) for kind, answer in failures_of(answers))
    page = render_page(
        "evaluation/real_screens.html.jinja",
        figures=figures,
        sheets=sheets_of(figures),
        plot=f"data:image/png;base64,{base64.b64encode(plot.read_bytes()).decode()}" if plot.exists() else None,
        failures=[failure for failure in drawn if failure is not None],
    )
    path = folder / PAGE_FILE
    write_whole(path, page)
    return path
