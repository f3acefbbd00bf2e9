"""Write the offline HTML page of a benchmark run: scores, published scores, images and replies.

Questions and replies are untrusted and escaped. The page has one script, allowed by its hash.
"""

import base64
import hashlib
import io
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image as PILImage

from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Target
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.grounding.protocols import NEAR_PX
from molmo_agent.evaluation.grounding.rules import drawn_mask, outline
from molmo_agent.evaluation.predict import Record
from molmo_agent.evaluation.published import Comparison
from molmo_agent.evaluation.results.costs import lines_of
from molmo_agent.evaluation.run import outcome_of
from molmo_agent.evaluation.scoring import masks_of
from molmo_agent.evaluation.steps.sheets import step_sheets
from molmo_agent.files import write_whole
from molmo_agent.geometry import Point
from molmo_agent.html import render_page

REPORT_FILE = "report.html"
MAX_CARDS = 40
"""Number of questions per outcome on the page; no browser opens a page of thousands of images."""

_SIDE_PX = 480
_TINT = np.array([38, 166, 91])
_SCRIPT = """
const buttons = document.querySelectorAll("[data-show]");
buttons.forEach(button => button.addEventListener("click", () => {
  buttons.forEach(other => other.setAttribute("aria-pressed", other === button));
  document.querySelectorAll("article").forEach(card => {
    card.hidden = button.dataset.show !== "all" && !card.dataset.outcome.split(" ").includes(button.dataset.show);
  });
}));
"""


@dataclass(frozen=True, slots=True)
class Card:
    """One question on the page."""

    record: Record
    outcome: str
    references: tuple[str, ...]
    uri: str | None
    # In pixels of the embedded image.
    width: int
    height: int
    predictions: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]
    # Left, top, width, height.
    box: tuple[float, float, float, float] | None
    # Corners of the target of a grounding benchmark.
    outline: tuple[tuple[float, float], ...] = ()

    @property
    def near(self) -> bool:
        """Whether it is a near miss."""
        return is_near_miss(self.record)


def _badness(record: Record) -> tuple[float, float]:
    miss = record.get("miss_px", 0.0)
    return float(next(iter(record["scores"].values()))), -math.inf if miss is None else -miss


def is_near_miss(record: Record) -> bool:
    """Return whether the first point is outside of its target, but within the widest distance of a near miss."""
    return 0 < (record.get("miss_px") or 0) <= max(NEAR_PX)


def worst_first(records: Sequence[Record], most: int = MAX_CARDS) -> list[Record]:
    """Return the records to show, worst first, at most ``most`` per outcome.

    Of equal scores, no point and points far from the target are the worst; other ties are drawn at random.
    """
    candidates = [record for record in records if "skipped" not in record]
    random.Random(0).shuffle(candidates)
    order = ("wrong", "unparsed", "partly", "right")
    by_outcome: dict[str, list[Record]] = {outcome: [] for outcome in order}
    for record in sorted(candidates, key=_badness):
        by_outcome[outcome_of(record)].append(record)
    return [record for outcome in order for record in by_outcome[outcome][:most]]


def _uri(image: Image, masks: Sequence[Any]) -> tuple[str, int, int]:
    """Return a thumbnail as data URI, its targets tinted, with width and height."""
    if masks:
        union = np.logical_or.reduce(masks)
        image = np.where(union[:, :, None], (0.55 * image + 0.45 * _TINT).astype(np.uint8), image)
    thumbnail = PILImage.fromarray(image)
    thumbnail.thumbnail((_SIDE_PX, _SIDE_PX))
    file = io.BytesIO()
    thumbnail.save(file, "WEBP", quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}", thumbnail.width, thumbnail.height


def _card(record: Record, question: Question | None) -> Card:
    outcome = outcome_of(record)
    if question is None or question.image is None:
        return Card(record, outcome, (), None, 1, 1, (), (), None)
    target: Target | None = question.extra.get("target")
    try:
        image = question.shown()
        size = (image.shape[1], image.shape[0])
        if target is not None:
            mask = drawn_mask(target, size)
            masks = [] if mask is None else [mask]
        else:
            masks = masks_of(question) if "masks" in question.extra else []
        uri, width, height = _uri(image, masks)
    except (ImageError, OSError, ValueError):
        return Card(record, outcome, question.answers, None, 1, 1, (), (), None)

    def places(points: Iterable[Point]) -> tuple[tuple[float, float], ...]:
        return tuple((point.x * width, point.y * height) for point in points)

    box = question.extra.get("box")
    if box is not None:
        left, top, right, bottom = (edge / 100 * side for edge, side in zip(box, (width, height) * 2, strict=True))
        box = (left, top, right - left, bottom - top)
    predictions = places(Point(x, y) for x, y in record["points"])
    nothing = question.points == () or (target is not None and target.kind == "absent" and not question.answers)
    references = question.answers or (("there are none",) if nothing else ())
    corners = outline(target, size) if target is not None else ()
    return Card(
        record,
        outcome,
        references,
        uri,
        width,
        height,
        predictions,
        places(question.points or ()),
        box,
        tuple((x * width, y * height) for x, y in corners),
    )


def _chart(comparisons: Sequence[Comparison]) -> list[tuple[str, Comparison, list[Comparison]]]:
    """Return (score, its first row, all its rows)."""
    names = list(dict.fromkeys(row.score for row in comparisons))
    groups = [(name, [row for row in comparisons if row.score == name]) for name in names]
    return [(name, rows[0], rows) for name, rows in groups]


def write_report(
    folder: Path,
    *,
    name: str,
    benchmark: Benchmark,
    settings: Mapping[str, Any],
    summary: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    records: Sequence[Record],
    questions: Iterable[Question],
) -> Path:
    """Write a run's page and return its path.

    Args:
        folder: of the run.
        name: of the benchmark.
        benchmark: the benchmark.
        settings: of the run.
        summary: its figures.
        comparisons: with published figures.
        records: of all questions.
        questions: read again for the images to show.
    """
    selection = worst_first(records)
    ids = {record["id"] for record in selection}
    questions_by_id: dict[str, Question] = {}
    for question in questions:
        if question.id in ids and question.id not in questions_by_id:
            questions_by_id[question.id] = question
        if len(questions_by_id) == len(ids):
            break
    counts = {outcome: 0 for outcome in ("wrong", "partly", "right", "unparsed")}
    for record in records:
        if "skipped" not in record:
            counts[outcome_of(record)] += 1
    page = render_page(
        "evaluation/report.html.jinja",
        name=name,
        benchmark=benchmark,
        settings=settings,
        summary=summary,
        costs=lines_of(summary.get("costs")),
        charts=_chart(comparisons),
        sheets=step_sheets(summary),
        cards=[_card(record, questions_by_id.get(record["id"])) for record in selection],
        counts={outcome: count for outcome, count in counts.items() if count},
        near=(max(NEAR_PX), sum(map(is_near_miss, records))),
        script=Markup(_SCRIPT),
        script_hash=base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode(),
    )
    path = folder / REPORT_FILE
    write_whole(path, page)
    return path
