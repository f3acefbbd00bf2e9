"""``agent run``: connects env, model, policy, guards and recorder, and reports every step."""

import contextlib
import importlib
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from molmo_agent.actions import Done, Wait, action_to_dict, describe
from molmo_agent.cli.confirm import Asker, terminal_restorer
from molmo_agent.cli.planner import POLICY, answer_of, asker, planner_options, witness
from molmo_agent.cli.start_program import started
from molmo_agent.console import after_the_result, make_console, plain_text, say_json, warn
from molmo_agent.episode import Step, Trajectory
from molmo_agent.errors import MolmoAgentError, UsageError
from molmo_agent.geometry import Box
from molmo_agent.interfaces import Env, Policy, model_traits
from molmo_agent.interrupts import ending_in_time, last_step, time_limit
from molmo_agent.pointers.trained_crops import limit_crops
from molmo_agent.registry import is_checkpoint, is_gymnasium, load_env, load_model, load_policy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import Rollout, rollout
from molmo_agent.rollout.recorder import Recorder, default_folder
from molmo_agent.rollout.screen_changes import ScreenWatch, Settle
from molmo_agent.rollout.secrets import Secrets, secret_names
from molmo_agent.rollout.viewer import HTML_NAME, write_viewer

# Envs that act on a real device of the user -> name of the device.
REAL = {"desktop": "desktop", "android": "phone"}
# The loop itself ends a run at its limit, between two calls; this much later, one that takes too long is cut short.
_LATER_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `agent run`."""

    env: str
    model: str
    task: str | None = None
    family: str | None = None
    seed: int = 0
    virtual_display: str | None = None
    start: str | None = None
    monitor: str | None = None
    region: str | None = None
    window: str | None = None
    serial: str | None = None
    confirm: str | None = None
    dry_run: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    policy: str | None = None
    planner: str | None = None
    form: str | None = None
    min_confidence: float | None = None
    second_opinion: str | None = None
    max_crops: int | None = None
    max_steps: int = 30
    max_seconds: float = 600.0
    out: Path | None = None
    # Take another name where `out` exists.
    or_beside: bool = False
    as_json: bool = False


def _numbers(text: str, names: str) -> list[float]:
    """Read ``a,b,c,d``.

    Raises:
        UsageError: not four numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise UsageError(f"expected {names} as four numbers, got {text!r}")
    return values


def parse_box(text: str) -> Box:
    """Read a normalized box.

    Raises:
        UsageError: not four fractions, or edges swapped.
    """
    try:
        return Box(*_numbers(text, "LEFT,TOP,RIGHT,BOTTOM"))
    except ValueError as error:
        raise UsageError(f"{text!r} is no region: {error}") from error


@contextlib.contextmanager
def loading(name: str, *, quiet: bool) -> Iterator[None]:
    """Show at a terminal that something loads; importing torch alone takes seconds."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    # An address is checked only when the model is loaded.
    shown = importlib.import_module("molmo_agent.pointers.served.network").shown_address(name)
    with make_console(stderr=True).status(plain_text(f"loading {shown} ...")):
        yield


def env_options_of(request: Request) -> dict[str, Any]:
    """Return the options of the env that a request names.

    Raises:
        UsageError: an option is for another env, or cannot be read.
    """
    values = {"monitor": request.monitor, "region": request.region, "window": request.window, "serial": request.serial}
    options: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    is_phone = request.env == "android"
    for name in options:
        env = "android" if name == "serial" or (name == "monitor" and is_phone) else "desktop"
        if request.env != env:
            raise UsageError(f"--{name} goes with --env {env}, got --env {request.env}")
    if request.region is not None:
        left, top, width, height = (int(v) for v in _numbers(request.region, "LEFT,TOP,WIDTH,HEIGHT"))
        options["region"] = (left, top, width, height)
    if request.monitor is not None and re.fullmatch("-?[0-9]{1,9}", request.monitor):
        options["monitor"] = int(request.monitor)
    if is_phone and "monitor" in options:
        if not isinstance(options["monitor"], int):
            raise UsageError(
                f"--monitor of a phone is the id of one of its displays, such as 0, got {request.monitor!r}"
            )
        options["display"] = options.pop("monitor")
    return options


def _confirmation(request: Request) -> str:
    """Return when to ask: by default always on a real desktop or phone, else never.

    Raises:
        UsageError: confirmation needs a terminal and there is none.
    """
    real = request.env in REAL and request.virtual_display is None
    mode = request.confirm or ("always" if real and not request.dry_run else "never")
    if mode != "never" and not sys.stdin.isatty():
        raise UsageError(
            f"--confirm {mode} asks at a terminal and there is none; on a real "
            f"{REAL.get(request.env, 'desktop')} that is the default. "
            "Say --confirm never to send input unasked, or --dry-run to send none"
        )
    return mode


def _splits(request: Request) -> bool:
    """Return whether the policy splits the task for certain; a checkpoint may name another policy."""
    if request.planner is not None or request.policy is not None:
        return request.policy == "pointing"
    return not (is_gymnasium(request.env) or is_checkpoint(request.model))


def _can_ask(request: Request) -> bool:
    """Return whether a person can be asked about a point with a low confidence."""
    return request.confirm is None and not (request.dry_run or request.as_json) and sys.stdin.isatty()


@contextlib.contextmanager
def display(request: Request) -> Iterator[None]:
    """Start the requested virtual display and program; stop both at the end."""
    with contextlib.ExitStack() as stack:
        if request.virtual_display is not None:
            module = importlib.import_module("molmo_agent.envs.desktop.virtual_display")
            width, height = module.parse_size(request.virtual_display)
            stack.enter_context(module.VirtualDisplay(width, height))
        if request.start is not None:
            stack.enter_context(started(request.start))
        yield


def run_request(request: Request) -> int:
    """Carry out a request; return the exit code."""
    if request.virtual_display is not None and request.env == "sim-desktop":
        request = Request(**{**request.__dict__, "env": "desktop"})
    if request.start is not None and request.env != "desktop":
        raise UsageError(f"--start goes with --env desktop or --virtual-display, got --env {request.env}")
    if request.env in REAL and not (request.task or "").strip():
        thing = REAL[request.env]
        raise UsageError(f"a {thing} has no task of its own: say what to do with --task 'click \"Save\"'")
    if request.task and _splits(request):
        # Before anything heavy is loaded: a task that cannot be followed is reported at once.
        importlib.import_module("molmo_agent.policies.instructions.splitter").split_instruction(request.task)
    console = make_console(stderr=request.as_json)
    planning = planner_options(request.planner, request.policy, ask=asker(console, as_json=request.as_json))
    env_options = env_options_of(request)
    confirm = _confirmation(request)
    recorder = Recorder(
        request.out or default_folder(request.task or request.family or request.env),
        or_beside=request.out is None or request.or_beside,
    )
    # The user's own task may name secrets; an env's task only those that the user allowed.
    names = dict.fromkeys([*request.secrets, *secret_names(request.task or "")])
    secrets = Secrets.from_environment(names)
    guards = Guards(
        max_steps=request.max_steps,
        max_seconds=request.max_seconds,
        allow=tuple(map(parse_box, request.allow)),
        deny=tuple(map(parse_box, request.deny)),
        confirm=confirm,  # type: ignore[arg-type]
        ask=Asker(console) if confirm != "never" or _can_ask(request) else None,
        secrets=secrets,
        dry_run=request.dry_run,
        # Creating a file of this name ends the run.
        stop=lambda: (recorder.folder / "STOP").exists(),
    )
    with ending_in_time(), display(request), contextlib.closing(load_env(request.env, **env_options)) as env:
        with loading(request.model, quiet=request.as_json):
            model = load_model(request.model, env=env)
        if request.max_crops is not None and (remark := limit_crops(model, request.max_crops)):
            warn(remark)
        options: dict[str, Any] = {} if request.form is None else {"form": request.form}
        policy = load_policy(
            POLICY if planning else request.policy,
            model,
            env,
            min_confidence=request.min_confidence,
            second_opinion=request.second_opinion,
            **options,
            **planning,
        )
        if request.env in REAL and (remark := model_traits(model).remark):
            make_console(stderr=True).print(plain_text(remark, "yellow"))
        if request.start is not None:
            # Its window is there, but may be empty yet.
            first = env.observe()
            ScreenWatch(env.observe, Settle()).settle(first.image, first, reacts=False)
        return _roll(request, env, policy, guards, recorder, console)


def _roll(request: Request, env: Env, policy: Policy, guards: Guards, recorder: Recorder, console: Console) -> int:
    episode = rollout(
        policy,
        env,
        request.task,
        guards=guards,
        recorder=recorder,
        seed=request.seed,
        options={"task": request.family} if request.family else None,
    )
    try:
        _play(request, episode, recorder, console)
    except Exception as error:
        folder = recorder.folder
        # A closed terminal or pipe may be why the run ended, and must not replace the error.
        with contextlib.suppress(OSError):
            if request.as_json:
                ended = episode.trajectory.ended or f"{type(error).__name__}: {error}"
                _print_end(episode.trajectory, folder, achieved=False, ended=ended)
            if isinstance(error, MolmoAgentError) and (folder / "meta.json").exists():
                remark = f"what was recorded until then: agent view {folder}"
                make_console(stderr=True).print(plain_text(remark))
        raise
    return _report(request, episode, recorder.folder, console)


def _play(request: Request, episode: Rollout, recorder: Recorder, console: Console) -> None:
    """Go through the episode; end it at its time limit, on a signal, and when nobody can read what it prints."""
    restore_terminal = terminal_restorer()

    def without_main_thread(reason: str) -> None:
        recorder.finish(None, success=None, ended=reason)
        restore_terminal()
        if request.as_json:
            _print_end(episode.trajectory, recorder.folder, achieved=False, ended=reason)
        warn(f"{reason}; a call that did not return was given up. See: agent view {recorder.folder}")

    limit = f"the limit of {request.max_seconds:g} seconds is reached"
    with last_step(without_main_thread), time_limit(request.max_seconds + _LATER_S, limit):
        try:
            for step in episode:
                try:
                    if step.index == 0 and not request.as_json:
                        instruction = plain_text(f"  {episode.trajectory.task.instruction}")
                        console.print(Text.assemble(plain_text(request.env, "bold"), instruction))
                    _tell(step, console, as_json=request.as_json)
                except OSError:
                    episode.stop(KeyboardInterrupt("its output is closed"))
        except KeyboardInterrupt as interrupt:
            episode.stop(interrupt)


def _report(request: Request, episode: Rollout, folder: Path, console: Console) -> int:
    """Print the verdict and write the page; return the exit code."""
    # The verdict is printed first, because writing the page may fail.
    trajectory, page = episode.trajectory, folder / HTML_NAME
    achieved = _is_achieved(trajectory)
    failure = None if achieved else _failure(trajectory, folder)
    if request.as_json:
        failed = {"failed_step": failure.step, "picture": str(failure.picture or "")} if failure else {}
        _print_end(trajectory, folder, achieved=achieved, ended=trajectory.ended, **failed)
    else:
        label = plain_text("achieved", "green") if achieved else plain_text("not achieved", "yellow")
        judge = "" if trajectory.success is not None else f" ({witness(trajectory)}: this env cannot check)"
        console.print(Text.assemble(label, plain_text(f"{judge}: {trajectory.ended}")))
        if answer := answer_of(trajectory):
            console.print(plain_text(f"answer: {answer}", "bold"))
        if failure is not None:
            words = f" ({failure.instruction})" if failure.instruction else ""
            picture = f", screen: {failure.picture}" if failure.picture else ""
            console.print(plain_text(f"failed at step {failure.step + 1}{words}{picture}"))
    if episode.record_problem:
        warn(f"the record of this run is not complete: {episode.record_problem}")
        # Every exception: the page fails for the same reason, which is named already.
        with contextlib.suppress(Exception):
            write_viewer(folder, report=lambda problem: None)
        return 0 if achieved else 1
    with after_the_result("the page", f"make it with: agent view {folder}"), loading("page", quiet=request.as_json):
        write_viewer(folder, report=lambda problem: warn(f"{problem}; try again with: agent view {folder}"))
        if not request.as_json:
            console.print(plain_text(f"see {page}"))
    return 0 if achieved else 1


def _print_end(trajectory: Trajectory, folder: Path, *, achieved: bool, ended: str, **failed: Any) -> None:
    """Print the last line of ``--json``: every run that began ends with one, however it ended."""
    verdict = {"event": "end", "achieved": achieved, "success": trajectory.success, "ended": ended}
    if answer := answer_of(trajectory):
        verdict["answer"] = answer
    say_json({**verdict, **failed, "folder": str(folder), "page": str(folder / HTML_NAME)})


def _is_achieved(trajectory: Trajectory) -> bool:
    """Return whether the task was achieved: the env's verdict, or without one, the policy's claim."""
    if trajectory.success is not None:
        return trajectory.success
    last = trajectory.steps[-1].action if trajectory.steps else None
    return isinstance(last, Done) and last.success


@dataclass(frozen=True)
class _Failure:
    """Where a run failed."""

    # Index of the step, from 0.
    step: int
    instruction: str
    # The last screen that the policy saw, as recorded.
    picture: Path | None


def _failure(trajectory: Trajectory, folder: Path) -> _Failure | None:
    """Return the step at which a run failed: the last one, or the one that a policy gave up on."""
    if not trajectory.steps:
        return None
    last, picture = trajectory.steps[-1], None
    with contextlib.suppress(OSError, ValueError, KeyError):
        # A line of the record names the image, which an earlier step may have stored.
        for line in (folder / "steps.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n"):
            record = json.loads(line)
            if record["index"] == last.index and record["observation"]["file"]:
                picture = folder / record["observation"]["file"]
    instruction = last.decision.instruction
    tries = [step for step in trajectory.steps if instruction and step.decision.instruction == instruction]
    tries = (
        [step for step in tries if not isinstance(step.action, Wait | Done)] if isinstance(last.action, Done) else []
    )
    return _Failure((tries or [last])[-1].index, instruction, picture)


def _tell(step: Step, console: Console, *, as_json: bool) -> None:
    result = step.decision.result
    if as_json:
        line = {
            "event": "step",
            "index": step.index,
            "instruction": step.decision.instruction,
            "action": action_to_dict(step.action),
            "status": result.status if result else None,
            "reply": result.reply if result else None,
            "confidence": result.confidence if result else None,
            "effect": step.effect,
            "refused": str(step.refused or ""),
            "refusal_kind": step.refused.kind if step.refused else None,
            "dry_run": step.dry_run,
        }
        say_json(line)
        return
    outcome = f"refused: {step.refused}" if step.refused else "dry run" if step.dry_run else step.effect
    took = f"{result.latency_s:.2f} s" if result and result.latency_s else ""
    if isinstance(step.action, Done):
        outcome = ""
    text = f"{step.index + 1:3d}  {step.decision.instruction or '-':<40}  {describe(step.action)}  {outcome}  {took}"
    console.print(plain_text(text.rstrip()))
    if result is not None and result.status != "ok":
        console.print(plain_text(f"     {result.status}: {result.reply!r}", "yellow"))
