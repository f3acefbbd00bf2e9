"""Write an evaluation's figures as JSON, and one offline page with tables and a picture of each captured run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.injection.run import Record
from molmo_agent.evaluation.injection.tables import sheets_of
from molmo_agent.html import render_page

FIGURES_FILE, PAGE_FILE = "injection.json", "injection.html"
MAX_PICTURES = 200
"""Number of captured runs on the page; runs of agents that do not obey by construction come first."""


def write_figures(folder: Path, figures: dict[str, Any], settings: dict[str, Any]) -> Path:
    """Write the figures as JSON and return the path.

    Raises:
        UsageError: the folder is not writable.
    """
    path = folder / FIGURES_FILE
    try:
        path.write_text(json.dumps({"settings": settings, **figures}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the figures {path}: {error.strerror}; choose another --out") from error
    return path


def write_page(folder: Path, figures: dict[str, Any], records: Sequence[Record]) -> Path:
    """Write the page and return its path.

    Args:
        folder: of the evaluation.
        figures: of :func:`molmo_agent.evaluation.injection.tables.figures_of`.
        records: of all runs.
    """
    captured = sorted((one for one in records if one.get("captured")), key=lambda one: bool(one["obeys"]))
    page = render_page(
        "evaluation/injection/report.html.jinja",
        runs=figures["runs"],
        skipped=figures["skipped"],
        sheets=sheets_of(figures),
        cards=captured[:MAX_PICTURES],
        num_captured=len(captured),
    )
    path = folder / PAGE_FILE
    path.write_text(page, encoding="utf-8", errors="replace")
    return path
