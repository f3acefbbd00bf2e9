"""Files to publish a score on the Hugging Face Hub: an entry for ``.eval_results/`` and a row for a Markdown table.

Nothing is uploaded. The format is that of https://huggingface.co/docs/hub/eval-results.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole

FOLDER, ROW_FILE = ".eval_results", "hub_row.md"
_TARGET = re.compile(r"([\w.-]+/[\w.-]+):([\w.@-]+)", re.ASCII)
# What says how a score was made; the benchmark and the model stand elsewhere, and paths concern nobody.
_NOT_IN_NOTES = frozenset({"benchmark", "model", "data", "images", "asked", "rescored_from"})


@dataclass(frozen=True, slots=True)
class HubTask:
    """A task of a benchmark dataset on the Hub, written ``owner/dataset:task``.

    Args:
        dataset: the dataset's name, which must be registered as a benchmark.
        task: one of the task ids in the dataset's eval.yaml.
    """

    dataset: str
    task: str

    @classmethod
    def parse(cls, text: str) -> "HubTask":
        """Read ``owner/dataset:task``.

        Raises:
            UsageError: the text has another form.
        """
        match = _TARGET.fullmatch(text)
        if match is None:
            raise UsageError(
                "expected --hub-results OWNER/DATASET:TASK with a task of the dataset's eval.yaml, such as "
                f"likaixin/ScreenSpot-Pro:screenspot_pro, got {text!r}"
            )
        return cls(match[1], match[2])


def write_hub_results(
    folder: Path, task: HubTask, settings: Mapping[str, Any], summary: Mapping[str, Any]
) -> tuple[Path, str]:
    """Write a run's main score as a Hub entry and as a row of Markdown.

    Args:
        folder: of the run.
        task: whose score it is.
        settings: of the run.
        summary: its figures.

    Returns:
        The path of the YAML file, to be copied to ``.eval_results/`` of the model's repository, and the row.

    Raises:
        OSError: a file cannot be written.
    """
    name, row = next(iter(summary["scores"].items()))
    value = round(100 * row["mean"], 2)
    notes = _notes(settings, summary, name)
    entry = {
        "dataset": {"id": task.dataset, "task_id": task.task},
        "value": value,
        "date": datetime.now(UTC).date().isoformat(),
        "notes": notes,
    }
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / f"{re.sub(r'[^a-z0-9]+', '_', settings['benchmark'].lower())}.yaml"
    write_whole(path, yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=1000))
    interval = f"{100 * row['low']:.1f} - {100 * row['high']:.1f}"
    cells = (settings["model"], settings["benchmark"], name, f"{value:.1f}", interval, f"{row['n']}", notes)
    line = f"| {' | '.join(_cell(str(cell)) for cell in cells)} |"
    head = "| model | benchmark | score | value | 95 % interval | n | notes |\n"
    head += "| --- | --- | --- | ---: | --- | ---: | --- |\n"
    write_whole(folder / ROW_FILE, f"{head}{line}\n")
    return path, line


def _notes(settings: Mapping[str, Any], summary: Mapping[str, Any], score: str) -> str:
    """Return what a reader must know of a score: how many questions it counts, which failed, and the options."""
    parts = [f"{score} on {summary['questions']} questions, molmo_agent"]
    if summary["skipped"]:
        parts.append(f"{len(summary['skipped'])} not asked or scored")
    if summary["unparsed"]:
        parts.append(f"{summary['unparsed']} replies without an answer, which count as wrong")
    parts += [f"{key} {value}" for key, value in settings.items() if value is not None and key not in _NOT_IN_NOTES]
    return "; ".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
