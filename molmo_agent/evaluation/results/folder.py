"""The result folder of a run: its files, its settings, and whether it may be compared with another."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError, UsageError
from molmo_agent.evaluation.grounding.protocols import check_comparable as check_protocols
from molmo_agent.files import write_whole
from molmo_agent.parse import json_lines, read_json

RECORDS_FILE, SETTINGS_FILE, SUMMARY_FILE = "records.jsonl", "settings.json", "summary.json"
# The model and its own settings may differ: they are what is compared. The data may have moved: its content is checked.
MAY_DIFFER = frozenset({"model", "max_crops", "asked", "data", "rescored_from"})


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The settings and the records of a run, by the questions' ids."""

    path: Path
    settings: Mapping[str, Any]
    records: Mapping[str, Mapping[str, Any]]
    # Name of a protocol -> its row in the summary; empty without a summary or protocols.
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new run; compare them with those of a run that is resumed.

    Raises:
        UsageError: they differ, or the file is damaged.
    """
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = read_json(path, nan=True)
    except UsageError as error:
        raise UsageError(f"{path} is damaged ({error}); choose another folder with --out") from error
    if not isinstance(before, dict):
        raise UsageError(f"{path} is damaged (expected an object); choose another folder with --out")
    for name in sorted({*before, *settings}):
        if before.get(name) != settings.get(name):
            raise UsageError(
                f"{path.parent} holds a run with {name} {before.get(name)!r}, this one has {settings.get(name)!r}; "
                "choose another folder with --out"
            )


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
    records: dict[str, Mapping[str, Any]] = {}
    for number, record in json_lines(path / RECORDS_FILE, nan=True, on_cut_end=lambda _: None):
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise DataError(f"expected line {number} of {path / RECORDS_FILE} to be a record with an id")
        records[record["id"]] = record
    return ResultFolder(path, settings, records, _protocols(path / SUMMARY_FILE))


def _protocols(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the protocols of a summary by name.

    Raises:
        UsageError: the file is damaged.
    """
    summary = read_json(path, nan=True) if path.is_file() else {}
    rows = summary.get("summary", {}) if isinstance(summary, dict) else {}
    rows = rows.get("protocols", []) if isinstance(rows, dict) else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise DataError(f"expected {path} to hold protocols with names; run the same agent eval again to write it")
    return {row["name"]: row for row in rows}


def read_result_folders(path: Path) -> dict[str, ResultFolder]:
    """Read the runs of a suite, such as molmo-11 or text, by their benchmarks; a run alone has the name "".

    Raises:
        UsageError: see :func:`read_result_folder`.
    """
    is_suite = path.is_dir() and not (path / RECORDS_FILE).is_file()
    names = sorted(part.parent.name for part in path.glob(f"*/{RECORDS_FILE}")) if is_suite else []
    return {name: read_result_folder(path / name) for name in names} or {"": read_result_folder(path)}


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
    for name in sorted({*first.protocols} & {*second.protocols}):
        # Under one name, but of another version.
        check_protocols(first.protocols[name], second.protocols[name])
    common = [id_ for id_ in first.records if id_ in second.records]
    changed = [id_ for id_ in common if not _same_question(first.records[id_], second.records[id_])]
    if changed:
        raise UsageError(
            f"cannot compare {first.path} with {second.path}: {len(changed)} of {len(common)} questions differ, "
            f"such as {changed[0]!r}; run both on the same data"
        )


def _same_question(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two records are of one question; only one of the models may put a tag of the style before it."""
    if "question" not in first or "question" not in second:
        return True
    ours, theirs = str(first["question"]), str(second["question"])
    return first["groups"] == second["groups"] and (ours.endswith(theirs) or theirs.endswith(ours))
