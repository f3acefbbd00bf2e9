"""Play cases with agents and guards, a record per run; an interrupted evaluation can be resumed.

A run is judged by the state of its env, after the run and whatever the policy claims.
"""

import base64
import contextlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from molmo_agent.actions import Done, points_of
from molmo_agent.envs.android.device import load_adbutils
from molmo_agent.episode import Step
from molmo_agent.errors import MolmoAgentError, RunStopped, UsageError
from molmo_agent.evaluation.injection.agents import Agent, PolicyMaker
from molmo_agent.evaluation.injection.cases import FAMILIES, Case, Stage
from molmo_agent.evaluation.injection.guard import GUARDS, guards_of
from molmo_agent.evaluation.own_process import NoAnswer, answer_in_own_process, ask_own_process
from molmo_agent.evaluation.real_tasks.session import missing_tools
from molmo_agent.evaluation.results.folder import RECORDS_FILE, SETTINGS_FILE, same_settings
from molmo_agent.evaluation.run import read_records
from molmo_agent.rollout.loop import rollout

Record = dict[str, Any]
MAX_STEPS, MAX_SECONDS = 12, 120.0
# Starting programs, loading a model, and the run itself.
_PROCESS_S = 600.0
_SIDE_PX = 640
# Comes with adbutils.
_ADB = "adb"


@dataclass(frozen=True, slots=True)
class Run:
    """One case, played by one agent under one guard."""

    case: Case
    agent: Agent
    guard: str

    @property
    def id(self) -> str:
        """The run within an evaluation."""
        return f"{self.case.name}/{self.agent.name}/{self.guard}"


def runnable(families: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the families that this machine can show, and a line for each of the others."""
    able, lines = [], []
    for name in families:
        family = FAMILIES[name]
        missing = [] if family.needs in ("", _ADB) or shutil.which(family.needs) else [family.needs]
        if family.needs == _ADB:
            missing += _missing_adb()
        if family.own_process:
            missing += missing_tools() if sys.platform.startswith("linux") else ["Linux"]
        if name.startswith("web-"):
            missing += _missing_browser()
        if missing:
            lines.append(f"{name}: needs {', '.join(dict.fromkeys(missing))}")
        else:
            able.append(name)
    return able, lines


def _missing_adb() -> list[str]:
    # The phone at the other end of it needs named pipes.
    missing = [] if hasattr(os, "mkfifo") else ["Linux or macOS"]
    try:
        load_adbutils()
    except MolmoAgentError:
        missing.append("the extra android")
    return missing


def _missing_browser() -> list[str]:
    from molmo_agent.envs.web.installed import find_browser

    try:
        import selenium  # noqa: F401

        find_browser()
    except ImportError:
        return ["the extra web"]
    except MolmoAgentError as error:
        return [str(error)]
    return []


def play(run: Run, make_policy: PolicyMaker) -> Record:
    """Play a run in this process and return its record.

    Raises:
        RunStopped: stopped by the user.
        UsageError: the policy cannot be used.
    """
    began = time.monotonic()
    guard = GUARDS[run.guard]
    with run.case.open() as stage, contextlib.closing(stage.env) as env:
        guards, person = guards_of(guard, stage, max_steps=MAX_STEPS, max_seconds=MAX_SECONDS)
        episode = rollout(make_policy(stage), env, stage.instruction, guards=guards)
        steps: list[Step] = []
        problem, culprit = "", None
        # Programs show what an action did after a while: asking after each step would take minutes.
        watches = stage.order is not None and not FAMILIES[run.case.family].own_process
        try:
            for step in episode:
                steps.append(step)
                if watches and culprit is None and stage.captured():
                    culprit = step
        except (RunStopped, UsageError):
            raise
        except MolmoAgentError as error:
            problem = f"{type(error).__name__}: {error}"
        captured, achieved = stage.captured(), stage.achieved()
        record = _record(run, stage)
    last = steps[-1].action if steps else None
    record |= {
        "captured": captured,
        "achieved": achieved and not captured,
        "claimed": isinstance(last, Done) and last.success,
        "ended": problem or episode.trajectory.ended,
        "failed": bool(problem),
        "declined": sum(step.refused is not None for step in steps),
        "questions": person.questions,
        "steps": len(steps),
        "seconds": round(time.monotonic() - began, 2),
    }
    if captured and steps:
        sent = [step for step in steps if step.refused is None and not isinstance(step.action, Done)]
        record |= _picture(culprit or (sent or steps)[-1])
    return record


def _identity(run: Run) -> Record:
    return {
        "id": run.id,
        "family": run.case.family,
        "variant": run.case.variant,
        "number": run.case.number,
        "agent": run.agent.name,
        "obeys": run.agent.obeys,
        "guard": run.guard,
    }


def _record(run: Run, stage: Stage) -> Record:
    order = " ".join(stage.order.lines) if stage.order else ""
    return {**_identity(run), "task": stage.instruction, "ordered": stage.ordered, "order": order}


def _picture(step: Step) -> Record:
    """Return the screen of a step as a data URI, with its size and the points of the action in its pixels."""
    image = PILImage.fromarray(step.observation.image)
    image.thumbnail((_SIDE_PX, _SIDE_PX))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80, method=4)
    points = [(point.x * image.width, point.y * image.height) for point in points_of(step.action)]
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"picture": uri, "width": image.width, "height": image.height, "points": points}


def play_in_process(run: Run, min_confidence: float | None) -> Record:
    """Play a run in a process of its own, as real programs need, and return its record.

    Raises:
        RunStopped: stopped by the user.
        UsageError: the policy cannot be used.
    """
    request = {**asdict(run), "min_confidence": min_confidence}
    try:
        record: Record = ask_own_process(__name__, request, _PROCESS_S)
    except NoAnswer as error:
        return _lost(run, str(error))
    return record


def _lost(run: Run, reason: str) -> Record:
    """Return the record of a run that cannot be judged: it counts in no share, and its reason is shown."""
    return {**_identity(run), "skipped": reason}


def evaluate(
    runs: Sequence[Run],
    folder: Path,
    settings: Mapping[str, Any],
    *,
    min_confidence: float | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Record]:
    """Play every run that has no record yet, and return all records in the order of the runs.

    Args:
        runs: at least one.
        folder: of the evaluation; created if missing.
        settings: the values that records depend on, as JSON; a folder is only resumed with the same settings.
        min_confidence: replaces the models' thresholds; 0 disables them.
        progress: called with the number of finished runs after each.

    Raises:
        UsageError: the folder holds another evaluation or is not writable, or an agent cannot be used.
        RunStopped: stopped by the user; the records until then are kept.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        same_settings(folder / SETTINGS_FILE, settings)
        records = read_records(folder / RECORDS_FILE)
        # Programs that were missing may be there now.
        records = {id_: record for id_, record in records.items() if "skipped" not in record}
        with (folder / RECORDS_FILE).open("a", encoding="utf-8", errors="backslashreplace") as file:
            for record in _play_missing([run for run in runs if run.id not in records], min_confidence):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                records[record["id"]] = record
                progress(sum(run.id in records for run in runs))
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose another --out") from error
    return [records[run.id] for run in runs]


def _play_missing(runs: Sequence[Run], min_confidence: float | None) -> Iterator[Record]:
    # Agent by agent: one model at a time is in memory.
    for agent in dict.fromkeys(run.agent for run in runs):
        make_policy = PolicyMaker(agent, min_confidence)
        for run in runs:
            if run.agent != agent:
                continue
            if FAMILIES[run.case.family].own_process:
                yield play_in_process(run, min_confidence)
                continue
            try:
                yield play(run, make_policy)
            except (RunStopped, UsageError):
                raise
            except MolmoAgentError as error:
                yield _lost(run, f"{type(error).__name__}: {error}")


def _play_request(values: dict[str, Any]) -> Record:
    run = Run(Case(**values["case"]), Agent(**values["agent"]), values["guard"])
    try:
        return play(run, PolicyMaker(run.agent, values["min_confidence"]))
    except (RunStopped, UsageError):
        raise
    except MolmoAgentError as error:
        return _lost(run, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    answer_in_own_process(_play_request)
