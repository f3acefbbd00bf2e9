"""Run tasks on real programs as ``agent run`` runs them, and judge them by what the programs did.

Every task runs in a process of its own: input goes to one display per process, and a crash ends one task.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from molmo_agent.actions import Done
from molmo_agent.episode import Trajectory
from molmo_agent.errors import EnvError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.evaluation.own_process import NoAnswer, answer_in_own_process, ask_own_process
from molmo_agent.evaluation.real_tasks.pointers import AtspiPointer, PointAudit
from molmo_agent.evaluation.real_tasks.session import REMEDY, Session, missing_tools
from molmo_agent.evaluation.real_tasks.tasks import RealTask, find_tasks
from molmo_agent.files import write_whole
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.careful import careful
from molmo_agent.registry import load_env, load_model, load_policy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import Settle
from molmo_agent.rollout.viewer import write_viewer

RESULTS_FILE = "results.json"
# Programs write files after they have drawn that they did.
_VERDICT_S = 6.0
# After its window is there, a program may still be laying it out.
_LAYOUT_S = 1.5
# Loading a model, the guards' limit, and waiting for the program.
_PROCESS_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task."""

    task: str
    # By what the program did.
    achieved: bool
    # What ``agent run`` would have returned: 0 achieved by the policy's claim, 1 not, 3 the env or the model failed.
    exit_code: int
    seconds: float
    # Why it is not achieved, and how the run ended.
    reason: str
    # The first point that missed an element of the accessibility tree; empty if none did.
    first_miss: str

    @property
    def false_claim(self) -> bool:
        """Whether the run claimed success and the program shows none."""
        return self.exit_code == 0 and not self.achieved


def runnable(tasks: Sequence[RealTask]) -> tuple[list[RealTask], list[str]]:
    """Return the tasks whose programs are installed, and the Debian packages of the others.

    Raises:
        EnvError: this machine cannot run any task; the message says what to install.
    """
    if missing := missing_tools():
        raise EnvError(f"real tasks need {', '.join(missing)}, which this machine lacks: {REMEDY}")
    able = [task for task in tasks if shutil.which(task.command.split()[0])]
    packages = sorted({task.package for task in tasks if task not in able})
    return able, packages


def run_task(
    task: RealTask, model: PointingModel | None, folder: Path, *, min_confidence: float | None = None
) -> Outcome:
    """Do one task in a session of its own, and record it.

    Args:
        task: what to do.
        model: points; None: the accessibility tree itself, which shows that the task can be done.
        folder: of the trajectory.
        min_confidence: replaces the model's threshold; 0 disables it.

    Raises:
        RunStopped: stopped by the user.
        UsageError: the model or its threshold does not fit the policy.
    """
    began = time.monotonic()
    trajectory: Trajectory | None = None
    misses: list[str] = []
    try:
        with Session(task.files) as session:
            session.start(task.command)
            session.await_window()
            time.sleep(_LAYOUT_S)
            oracle = AtspiPointer(session, task.aliases)
            audit = PointAudit(oracle if model is None else careful(model, min_confidence), oracle)
            misses = audit.misses
            with contextlib.closing(load_env("desktop")) as env:
                policy = load_policy(None, audit, env, min_confidence=min_confidence)
                guards = Guards(max_steps=30, max_seconds=600.0, confirm="never")
                recorder = Recorder(folder)
                instruction = task.instruction.replace("@HOME@", str(session.home))
                episode = rollout(policy, env, instruction, guards=guards, recorder=recorder, settle=Settle())
                for _ in episode:
                    pass
                trajectory = episode.trajectory
            seconds = time.monotonic() - began
            verdict = _await_verdict(task, session)
    except (RunStopped, UsageError):
        raise
    except MolmoAgentError as error:
        seconds, verdict = time.monotonic() - began, f"{error}"
    claimed = trajectory is not None and _claims_success(trajectory)
    # The page is for people; a task counts without it.
    with contextlib.suppress(OSError, MolmoAgentError):
        write_viewer(folder)
    return Outcome(
        task=task.name,
        achieved=not verdict,
        exit_code=3 if trajectory is None else 0 if claimed else 1,
        seconds=seconds,
        reason=verdict and _reason(verdict, trajectory, claimed),
        first_miss=misses[0] if misses else "",
    )


def _claims_success(trajectory: Trajectory) -> bool:
    last = trajectory.steps[-1].action if trajectory.steps else None
    return isinstance(last, Done) and last.success


def _reason(verdict: str, trajectory: Trajectory | None, claimed: bool) -> str:
    if trajectory is None or claimed:
        return verdict
    return f"{trajectory.ended} ({verdict})"


def _await_verdict(task: RealTask, session: Session) -> str:
    deadline = time.monotonic() + _VERDICT_S
    while (verdict := task.verdict(session)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if verdict:
        # Some programs write their settings when they end.
        session.close_windows()
        verdict = task.verdict(session)
    return verdict


def run_in_process(task: RealTask, model: str, folder: Path, *, min_confidence: float | None = None) -> Outcome:
    """Do one task in a process of its own.

    Args:
        task: one of :data:`~molmo_agent.evaluation.real_tasks.tasks.TASKS`.
        model: its name; "oracle" is the accessibility tree itself.
        folder: of the trajectory.
        min_confidence: replaces the model's threshold; 0 disables it.

    Raises:
        UsageError: the model does not exist or cannot point.
        RunStopped: stopped by the user.
    """
    request = {"task": task.name, "model": model, "folder": str(folder), "min_confidence": min_confidence}
    began = time.monotonic()
    try:
        return Outcome(**ask_own_process(__name__, request, _PROCESS_S))
    except NoAnswer as error:
        return _failed(task, 3, time.monotonic() - began, str(error))


def _failed(task: RealTask, exit_code: int, seconds: float, reason: str) -> Outcome:
    return Outcome(task=task.name, achieved=False, exit_code=exit_code, seconds=seconds, reason=reason, first_miss="")


def run_tasks(
    tasks: Sequence[RealTask],
    model: str,
    folder: Path,
    *,
    min_confidence: float | None = None,
    report: Callable[[str], object] = lambda name: None,
) -> list[Outcome]:
    """Do tasks one after the other, and write their results after each.

    Args:
        tasks: at least one.
        model: its name; "oracle" is the accessibility tree itself.
        folder: each task's trajectory is in a folder of its name; earlier ones are replaced.
        min_confidence: replaces the model's threshold; 0 disables it.
        report: called with the name of each task before it starts.

    Raises:
        UsageError: the model cannot be used, or the results cannot be written.
        RunStopped: stopped by the user.
    """
    outcomes: list[Outcome] = []
    for task in tasks:
        report(task.name)
        shutil.rmtree(folder / task.name, ignore_errors=True)
        outcomes.append(run_in_process(task, model, folder / task.name, min_confidence=min_confidence))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(summary_of(model, outcomes), indent=1) + "\n"
            write_whole(folder / RESULTS_FILE, text)
        except OSError as error:
            raise UsageError(f"cannot write {folder / RESULTS_FILE}: {error.strerror}; choose another --out") from error
    return outcomes


def summary_of(model: str, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
    """Return the results, ready for JSON."""
    return {
        "model": model,
        "tasks": len(outcomes),
        "achieved": sum(one.achieved for one in outcomes),
        "failed_with_exit_0": sum(one.false_claim for one in outcomes),
        "outcomes": [asdict(one) for one in outcomes],
    }


def _play_request(request: Mapping[str, Any]) -> Mapping[str, Any]:
    (task,) = find_tasks(request["task"])
    try:
        model = None if request["model"] == "oracle" else load_model(request["model"])
        return asdict(run_task(task, model, Path(request["folder"]), min_confidence=request["min_confidence"]))
    except (RunStopped, UsageError):
        raise
    except MolmoAgentError as error:
        return asdict(_failed(task, 3, 0.0, f"{error}"))


if __name__ == "__main__":
    answer_in_own_process(_play_request)
