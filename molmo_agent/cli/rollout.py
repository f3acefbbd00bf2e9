"""``agent rollout``: many episodes of an env with a model, beside the oracle, random points and the middle."""

import contextlib
import dataclasses
import datetime
import functools
import importlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from molmo_agent.cli.run import loading
from molmo_agent.console import after_the_result, make_console, plain_text, say_json, warn
from molmo_agent.errors import MolmoAgentError, UsageError
from molmo_agent.files import write_whole
from molmo_agent.interfaces import Env, Locator, PointingModel, Policy, model_traits
from molmo_agent.pointers.careful import careful
from molmo_agent.registry import load_env, load_model, load_policy
from molmo_agent.rollout.batch import BatchConfig, BatchResult, EpisodeResult, roll_out
from molmo_agent.rollout.film import check_kind, write_film
from molmo_agent.rollout.recorder import Recorder

BASELINES = ("oracle", "random", "centre")
SCHEMA = "molmo-agent-rollouts"


@dataclass(frozen=True, kw_only=True)
class RolloutRequest:
    """The options of `agent rollout`."""

    env: str
    model: str
    episodes: int = 20
    seed: int = 0
    family: str | None = None
    policy: str | None = None
    form: str | None = None
    min_confidence: float | None = None
    num_envs: int = 1
    workers: int = 1
    address: str | None = None
    record: Path | None = None
    video: str | None = None
    lerobot: Path | None = None
    out: Path | None = None
    as_json: bool = False


OnEpisode = Callable[[EpisodeResult], object]


def play(
    request: RolloutRequest, name: str, episodes: Sequence[int], on_episode: OnEpisode = lambda result: None
) -> BatchResult:
    """Run some episodes with the model of this name, in this process.

    Raises:
        MolmoAgentError: see :func:`~molmo_agent.rollout.batch.roll_out`.
    """
    # The baselines do not answer in words: they run with the default policy of the env.
    own = name == request.model
    options: dict[str, Any] = {} if request.form is None or not own else {"form": request.form}

    def make_policy(env: Env, seat: PointingModel) -> Policy:
        pointer = load_model(name, env=env) if name == "oracle" else seat
        return load_policy(request.policy if own else None, pointer, env, **options)

    # The oracle asks its env and leaves the seat unused, so any model will do here.
    model = careful(load_model("centre" if name == "oracle" else name), request.min_confidence)
    if reserve := model_traits(model).reserve_images:
        reserve(request.num_envs)

    def make_recorder(number: int) -> Recorder | None:
        return Recorder(request.record / f"{number:05d}") if own and request.record is not None else None

    return roll_out(
        functools.partial(load_env, request.env),
        make_policy,
        model,
        episodes=episodes,
        seed=request.seed,
        config=BatchConfig(num_envs=request.num_envs, options={"task": request.family} if request.family else None),
        make_recorder=make_recorder,
        on_episode=on_episode,
    )


def _share(job: tuple[RolloutRequest, str, Sequence[int]]) -> BatchResult:
    return play(*job)


def play_all(request: RolloutRequest, name: str, on_episode: OnEpisode = lambda result: None) -> BatchResult:
    """Run all episodes with a model, on the requested number of workers."""
    numbers = range(request.episodes)
    if request.workers == 1:
        return play(request, name, numbers, on_episode)
    on_ray = importlib.import_module("molmo_agent.rollout.ray_map")
    shares = [numbers[first :: request.workers] for first in range(min(request.workers, request.episodes))]
    parts: list[BatchResult] = on_ray.map_on_ray(
        _share, [(request, name, share) for share in shares], address=request.address
    )
    return BatchResult(
        episodes=tuple(sorted((e for part in parts for e in part.episodes), key=lambda e: e.index)),
        calls=tuple(call for part in parts for call in part.calls),
        seconds=max(part.seconds for part in parts),
        problems=tuple(problem for part in parts for problem in part.problems),
    )


def summary(name: str, result: BatchResult) -> dict[str, Any]:
    """Return the figures of one row of the table."""
    wilson = importlib.import_module("molmo_agent.evaluation.metrics.interval").wilson
    verdicts = [episode.success for episode in result.episodes if episode.success is not None]
    has_spl = any(episode.spl is not None for episode in result.episodes)
    # An episode that ended before its first step failed, and has no path.
    spl = [e.spl or 0.0 for e in result.episodes if e.spl is not None or e.success is False] if has_spl else []
    latencies = [seconds for _, seconds in result.calls]
    steps = [episode.steps for episode in result.episodes]
    statuses: dict[str, int] = {}
    for episode in result.episodes:
        for status, count in episode.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return {
        "model": name,
        "episodes": len(result.episodes),
        "judged": len(verdicts),
        "successes": sum(verdicts),
        "success": sum(verdicts) / len(verdicts) if verdicts else None,
        "interval": list(wilson(sum(verdicts), len(verdicts))),
        "spl": float(np.mean(spl)) if spl else None,
        "mean_steps": float(np.mean(steps)),
        "answers": statuses,
        "calls": len(latencies),
        "questions": sum(count for count, _ in result.calls),
        "p50_s": float(np.quantile(latencies, 0.5)) if latencies else None,
        "p95_s": float(np.quantile(latencies, 0.95)) if latencies else None,
        "seconds": result.seconds,
        "steps_per_s": sum(steps) / result.seconds if result.seconds else None,
    }


def rollout_request(request: RolloutRequest) -> int:
    """Carry out a request: run, print the table, write the JSON file; return the exit code.

    Raises:
        UsageError: the request makes no sense.
    """
    if request.episodes < 1 or request.workers < 1 or request.num_envs < 1:
        raise UsageError(
            "--episodes, --workers and --num-envs must be at least 1, "
            f"got {request.episodes}, {request.workers} and {request.num_envs}"
        )
    if request.video is not None:
        check_kind(request.video)
    for option, value in (("video", request.video), ("lerobot", request.lerobot)):
        if value is not None and request.record is None:
            raise UsageError(f"--{option} needs --record FOLDER: it is made of what was recorded")
    out = request.out or _default_out(request)
    for path in (request.record, request.lerobot, request.out):
        if path is not None and path.exists():
            raise UsageError(f"{path} exists already and is not overwritten: name another")
    console = make_console(stderr=request.as_json)
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([request.model, *_baselines(request)]):
        finished: list[EpisodeResult] = []
        try:
            with loading(f"{request.episodes} episodes with {name}", quiet=request.as_json):
                result = play_all(request, name, finished.append)
        except MolmoAgentError:
            if rows or finished:
                finished.sort(key=lambda episode: episode.index)
                finished_rows = [*rows, *([_row(name, BatchResult(episodes=tuple(finished)))] if finished else [])]
                try:
                    out = _write(out, request, finished_rows, False)
                # The error that ended the run matters more, and is often the same full disk.
                except UsageError as unwritten:
                    warn(str(unwritten))
                else:
                    console.print(plain_text(f"what was finished until then: {out}"), soft_wrap=True)
            raise
        rows.append(_row(name, result))
        for problem in result.problems:
            warn(f"a record is not complete: {problem}")
        if request.as_json:
            say_json({key: value for key, value in rows[-1].items() if key != "results"})
    # Printed first, so that a failure to write a file loses no figures.
    if not request.as_json:
        _print(console, request, rows)
    _notes(console, rows)
    out = _write(out, request, rows, True)
    where = f"; trajectories: {request.record}" if request.record else ""
    console.print(plain_text(f"every episode: {out}{where}"), soft_wrap=True)
    if request.record is not None:
        folders = [request.record / f"{number:05d}" for number in range(request.episodes)]
        if request.video is not None:
            _films(folders, request.video)
        if request.lerobot is not None:
            note = importlib.import_module("molmo_agent.rollout.lerobot").export_lerobot(folders, request.lerobot)
            console.print(plain_text(f"{request.lerobot}: {note}"), soft_wrap=True)
    return 0


def _films(folders: Sequence[Path], kind: str) -> None:
    for folder in folders:
        with after_the_result(f"the film of {folder}", f"its page and a GIF: agent view {folder}"):
            write_film(folder, kind)


def _row(name: str, result: BatchResult) -> dict[str, Any]:
    return {**summary(name, result), "results": [dataclasses.asdict(episode) for episode in result.episodes]}


def _baselines(request: RolloutRequest) -> tuple[str, ...]:
    """Return the baselines that the env supports: the oracle needs one that knows where things are."""
    with contextlib.closing(load_env(request.env)) as env:
        return BASELINES if isinstance(env, Locator) else BASELINES[1:]


def _default_out(request: RolloutRequest) -> Path:
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{request.env}-{request.model}").strip("-")
    return Path("runs") / "rollouts" / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{slug}.json"


def _write(path: Path, request: RolloutRequest, rows: list[dict[str, Any]], complete: bool) -> Path:
    """Write the file and return its path, which is another one where a run at the same moment took the default name."""
    names = ("env", "model", "policy", "form", "min_confidence", "family", "episodes", "seed", "num_envs", "workers")
    settings = {name: getattr(request, name) for name in names}
    content = {"schema": SCHEMA, **settings, "complete": complete, "rows": rows}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        # An instruction may hold half a surrogate pair; its escape is JSON too.
        if request.out is None:
            path = _claim(path)
        write_whole(path, text)
        return path
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _claim(path: Path) -> Path:
    """Create an empty file under a free name, this one if possible, and return its path."""
    stem, number = path.stem, 1
    while True:
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            number += 1
            path = path.with_stem(f"{stem}-{number}")


def _print(console: Console, request: RolloutRequest, rows: list[dict[str, Any]]) -> None:
    spl = any(row["spl"] is not None for row in rows)
    title = f"{request.env}{f' ({request.family})' if request.family else ''}, {request.episodes} episodes, "
    table = Table(title=plain_text(title + f"seed {request.seed}"), box=None)
    names = ["model", "success", "95 % interval", *(["SPL"] if spl else []), "steps", "calls", "p50 ms", "p95 ms"]
    for name in [*names, "steps/s"]:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        has_verdict = row["success"] is not None
        low, high = row["interval"]
        cells = [
            row["model"],
            f"{row['success']:.1%}" if has_verdict else "-",
            f"{low:.1%} - {high:.1%}" if has_verdict else "-",
        ]
        cells += [("-" if row["spl"] is None else f"{row['spl']:.3f}")] if spl else []
        has_calls = row["model"] != "oracle"
        cells += [f"{row['mean_steps']:.1f}", str(row["calls"]) if has_calls else "-"]
        cells += [f"{1e3 * row[name]:.0f}" if row[name] is not None else "-" for name in ("p50_s", "p95_s")]
        table.add_row(*map(plain_text, cells), f"{row['steps_per_s']:.1f}")
    console.print(table)


def _notes(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print what the figures leave out."""
    for row in rows:
        unknown = row["episodes"] - row["judged"]
        if unknown:
            episodes = f"{unknown} of {row['episodes']} episodes"
            console.print(plain_text(f"{row['model']}: the env could not tell success in {episodes}"))
        failures = {status: count for status, count in row["answers"].items() if status != "ok"}
        if failures:
            text = ", ".join(f"{count} {status}" for status, count in failures.items())
            console.print(plain_text(f"{row['model']}: of {sum(row['answers'].values())} answers {text}"))
        num_refused = sum("cannot follow the instruction" in episode["ended"] for episode in row["results"])
        if num_refused:
            note = f"{num_refused} instructions could not be followed; they count as failures"
            console.print(plain_text(f"{row['model']}: {note}"))
