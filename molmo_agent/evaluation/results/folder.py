"""Read the result folder of a run, and check whether two of them may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError, UsageError
from molmo_agent.evaluation.predict import Record
from molmo_agent.evaluation.run import RECORDS_FILE, SETTINGS_FILE
from molmo_agent.parse import json_lines, read_json

# The model and its own settings may differ: they are what is compared. The data may have moved: its content is checked.
MAY_DIFFER = frozenset({"model", "max_crops", "asked", "data"})


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The settings and the records of a run, by the questions' ids."""

    path: Path
    settings: Mapping[str, Any]
    records: Mapping[str, Record]


def read_result_folder(path: Path) -> ResultFolder:
    """Read a run; its files are not changed, and a line that is cut off at the end is left out.

    Raises:
        UsageError: this is not a result folder of ``agent eval``, or a file is damaged.
    """
    for name in (SETTINGS_FILE, RECORDS_FILE):
        if not (path / name).is_file():
            raise UsageError(
                f"expected {path} to be a result folder of agent eval with {SETTINGS_FILE} and {RECORDS_FILE}, "
                f"got no {name}"
            )
    settings = read_json(path / SETTINGS_FILE, nan=True)
    if not isinstance(settings, dict) or not {"benchmark", "model", "data"} <= settings.keys():
        raise DataError(f"expected {path / SETTINGS_FILE} to hold the settings of a run of a benchmark on data")
    records: dict[str, Record] = {}
    for number, record in json_lines(path / RECORDS_FILE, nan=True, on_cut_end=lambda _: None):
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise DataError(f"expected line {number} of {path / RECORDS_FILE} to be a record with an id")
        records[record["id"]] = record
    return ResultFolder(path, settings, records)


def check_comparable(first: ResultFolder, second: ResultFolder) -> None:
    """Check that two runs asked the same questions under the same protocol.

    Raises:
        UsageError: they did not; the message names the first setting or question that differs.
    """
    for name in sorted({*first.settings, *second.settings} - MAY_DIFFER):
        ours, theirs = first.settings.get(name), second.settings.get(name)
        if ours != theirs:
            raise UsageError(
                f"cannot compare {first.path} with {second.path}: {name} is {ours!r} in one and {theirs!r} in the "
                "other; run both with the same settings"
            )
    common = [id_ for id_ in first.records if id_ in second.records]
    changed = [id_ for id_ in common if not _same_question(first.records[id_], second.records[id_])]
    if changed:
        raise UsageError(
            f"cannot compare {first.path} with {second.path}: {len(changed)} of {len(common)} questions differ, such as "
            f"{changed[0]!r}; run both on the same data"
        )


def _same_question(first: Record, second: Record) -> bool:
    """Return whether two records are of one question; only one of the models may put a tag of the style before it."""
    if "question" not in first or "question" not in second:
        return True
    ours, theirs = str(first["question"]), str(second["question"])
    return first["groups"] == second["groups"] and (ours.endswith(theirs) or theirs.endswith(ours))
