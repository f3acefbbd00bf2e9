"""Write a suite's results: figures as JSON, and one offline page with tables and the worst cases as images."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PILImage

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.nano_suite.run import Answer, Suite
from molmo_agent.evaluation.nano_suite.sets import image_of, screen_of
from molmo_agent.evaluation.nano_suite.tables import sheets_of
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_calibration
from molmo_agent.files import write_whole
from molmo_agent.html import render_page

FIGURES_FILE, PAGE_FILE = "suite.json", "suite.html"
# Number of worst cases per section on the page.
MAX_CASES = 6
_SIDE_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """A wrongly answered question on the page."""

    answer: Answer
    uri: str
    # In pixels of the embedded image.
    width: int
    height: int
    predictions: tuple[tuple[float, float], ...]
    # Left, top, width, height; empty if the target is absent.
    boxes: tuple[tuple[float, float, float, float], ...]


def worst(answers: Sequence[Answer], most: int = MAX_CASES) -> list[Answer]:
    """Return the wrong answers to show: a number per section, most confident first, one per screen."""
    cases: list[Answer] = []
    for section in dict.fromkeys(one.section for one in answers):
        wrong = [one for one in answers if one.section == section and not one.hit]
        wrong.sort(key=lambda one: -(one.confidence or 0.0))
        screens: set[tuple[str, int]] = set()
        for one in wrong:
            if len(screens) < most and (one.set, one.case.screen) not in screens:
                screens.add((one.set, one.case.screen))
                cases.append(one)
    return cases


def _worst_case(answer: Answer, suite: Suite) -> WorstCase:
    screen_set = next(one for one in suite.sets if one.name == answer.set)
    image = PILImage.fromarray(image_of(screen_set, screen_of(screen_set, answer.case.screen)))
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80, method=4)
    width, height = image.size
    boxes = tuple(
        (box.left * width, box.top * height, (box.right - box.left) * width, (box.bottom - box.top) * height)
        for box in answer.case.boxes
    )
    return WorstCase(
        answer=answer,
        uri=f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}",
        width=width,
        height=height,
        predictions=tuple((point.x * width, point.y * height) for point in answer.points),
        boxes=boxes,
    )


def write_figures(folder: Path, suite: Suite) -> Path:
    """Write a suite's figures as JSON and return the path.

    Args:
        folder: created if missing; results of an earlier run are replaced.
        suite: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.

    Raises:
        UsageError: the folder is not writable.
    """
    path = folder / FIGURES_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(suite.figures, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write the figures {path}: {error.strerror}; choose another --out") from error
    return path


def write_suite(folder: Path, suite: Suite) -> Path:
    """Write a suite's figures and its page; return the path of the page.

    Args:
        folder: see :func:`write_figures`.
        suite: the suite.

    Raises:
        UsageError: the folder is not writable.
    """
    write_figures(folder, suite)
    plot = draw_calibration(suite.figures["calibration"], folder / PLOT_FILE)
    page = render_page(
        "evaluation/nano_suite/report.html.jinja",
        figures=suite.figures,
        sheets=sheets_of(suite.figures),
        plot=plot and f"data:image/png;base64,{base64.b64encode(plot.read_bytes()).decode()}",
        cases=[_worst_case(answer, suite) for answer in worst(suite.answers)],
    )
    path = folder / PAGE_FILE
    write_whole(path, page)
    return path
