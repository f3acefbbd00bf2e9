"""A suite's results as files: figures as JSON, and one offline page with its tables and its worst cases as pictures."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PILImage

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.nano_suite.run import Answer, Suite
from molmo_agent.evaluation.nano_suite.sets import picture_of, screen_of
from molmo_agent.evaluation.nano_suite.tables import sheets_of
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_calibration
from molmo_agent.html import render_page

FIGURES_FILE, PAGE_FILE = "suite.json", "suite.html"
# Worst cases of each section that the page shows.
SHOWN = 6
_SIDE_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A question that was answered wrongly, on the page."""

    answer: Answer
    uri: str
    # In pixels of the embedded picture.
    width: int
    height: int
    said: tuple[tuple[float, float], ...]
    # Left, top, width, height; empty where there is nothing to point at.
    boxes: tuple[tuple[float, float, float, float], ...]


def worst(answers: Sequence[Answer], most: int = SHOWN) -> list[Answer]:
    """Return the wrong answers to show: of each section so many, the surest first, one per screen."""
    shown: list[Answer] = []
    for section in dict.fromkeys(one.section for one in answers):
        wrong = [one for one in answers if one.section == section and not one.hit]
        wrong.sort(key=lambda one: -(one.confidence or 0.0))
        screens: set[tuple[str, int]] = set()
        for one in wrong:
            if len(screens) < most and (one.set, one.case.screen) not in screens:
                screens.add((one.set, one.case.screen))
                shown.append(one)
    return shown


def _shown(answer: Answer, suite: Suite) -> Shown:
    chosen = next(one for one in suite.sets if one.name == answer.set)
    picture = PILImage.fromarray(picture_of(chosen, screen_of(chosen, answer.case.screen)))
    picture.thumbnail((_SIDE_PX, _SIDE_PX))
    packed = io.BytesIO()
    picture.save(packed, "WEBP", quality=80, method=4)
    width, height = picture.size
    boxes = tuple(
        (box.left * width, box.top * height, (box.right - box.left) * width, (box.bottom - box.top) * height)
        for box in answer.case.boxes
    )
    return Shown(
        answer=answer,
        uri=f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}",
        width=width,
        height=height,
        said=tuple((point.x * width, point.y * height) for point in answer.points),
        boxes=boxes,
    )


def write_figures(folder: Path, suite: Suite) -> Path:
    """Write a suite's figures as JSON and return the path.

    Args:
        folder: made where it is missing; what an earlier run left there is replaced.
        suite: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.

    Raises:
        UsageError: the folder cannot be written to.
    """
    path = folder / FIGURES_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(suite.figures, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the figures {path}: {error.strerror}; choose another --out") from error
    return path


def write_suite(folder: Path, suite: Suite) -> Path:
    """Write a suite's figures and its page; return the path of the page.

    Args:
        folder: see :func:`write_figures`.
        suite: the suite.

    Raises:
        UsageError: the folder cannot be written to.
    """
    write_figures(folder, suite)
    plot = draw_calibration(suite.figures["calibration"], folder / PLOT_FILE)
    page = render_page(
        "evaluation/nano_suite/report.html.jinja",
        figures=suite.figures,
        sheets=sheets_of(suite.figures),
        plot=plot and f"data:image/png;base64,{base64.b64encode(plot.read_bytes()).decode()}",
        cases=[_shown(answer, suite) for answer in worst(suite.answers)],
    )
    path = folder / PAGE_FILE
    path.write_text(page, encoding="utf-8", errors="replace")
    return path
