"""``agent eval`` in this process, and the summary that it writes."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from molmo_agent.cli.app import app


def agent(*arguments: str) -> Any:
    """Run ``agent eval`` with these words, and tables that are not cut."""
    return CliRunner().invoke(app, ["eval", *arguments], env={"COLUMNS": "300", "NO_COLOR": "1"})


def summary_of(folder: Path) -> dict[str, Any]:
    """Return the scores of a run."""
    whole: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return whole["summary"]
