"""Training: the same numbers on any number of workers, and nothing lost when one dies."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import psutil
import pytest
import torch
from ray_cluster import RayCluster
from safetensors.torch import load_file
from tiny_training import small_run, write_model
from torch.distributed.checkpoint import FileSystemReader
from waiting import wait_for

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.errors import ModelError, RunStopped, UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.pointers.profile import PointingProfile, read_profile
from molmo_agent.registry import load_policy
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.batching.encode import collate, encode
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import Lora, TrainConfig, check
from molmo_agent.train.export import profile_changes
from molmo_agent.train.flops import Flops
from molmo_agent.train.launch import process_group, run_here, run_workers
from molmo_agent.train.loggers import open_loggers
from molmo_agent.train.on_ray import POINTER_FILE, RayWorkers, follow, run_on_ray
from molmo_agent.train.starting_model import load_model
from molmo_agent.train.step import ModelWithLoss

pytest_plugins = ("quick_ranks",)
pytestmark = [
    pytest.mark.usefixtures("quick_ranks"),
    # torch and Ray warn about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    small_run(folder)
    return folder


@pytest.fixture(scope="module")
def config(data: Path) -> TrainConfig:
    return small_run(data, residual_dropout=0.1, answer_dropout=0.2)


@pytest.fixture(scope="module")
def alone(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert run_here(config, folder) == config.steps
    return folder


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "export" / "model.safetensors")


def assert_alike(folder: Path, other: Path) -> None:
    """Losses and gradient norms agree to 1e-6."""
    ours, theirs = metrics(folder), metrics(other)
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    for mine, its in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-6)
        assert mine["gradient_norms"] == pytest.approx(its["gradient_norms"], rel=1e-6, abs=1e-9)
        assert mine["sources"] == pytest.approx(its["sources"], rel=1e-5)
        assert mine["loss_tokens"] == its["loss_tokens"]


def test_a_run_learns_and_leaves_a_model_that_loads(alone: Path) -> None:
    losses = [record["loss"] for record in metrics(alone)]
    assert losses[-1] < losses[0]
    MolmoForConditionalGeneration.from_pretrained(alone / "export")
    MolmoProcessor.from_pretrained(alone / "export")
    assert sorted(path.name for path in alone.glob("step-*")) == ["step-000005", "step-000006"], "two are kept"


@pytest.mark.dependencies
@pytest.mark.slow
@pytest.mark.parametrize(("workers", "sharding"), [(2, "full"), (4, "hybrid"), (2, "none")])
def test_any_number_of_workers_computes_the_same(
    workers: int, sharding: Literal["full", "hybrid", "none"], config: TrainConfig, alone: Path, tmp_path: Path
) -> None:
    # With four workers: two copies of two shards.
    config = replace(config, sharding=sharding, shard_size=2 if sharding == "hybrid" else None)
    steps: list[int] = []
    assert run_workers(config, tmp_path, workers, lambda record: steps.append(record["step"])) == config.steps
    assert steps == list(range(1, config.steps + 1))
    assert_alike(tmp_path, alone)
    ours, theirs = weights(tmp_path), weights(alone)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_costs_only_time_and_any_number_may_go_on(
    config: TrainConfig, alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "two"

    def kill(record: dict[str, Any]) -> None:
        if record["step"] == 3:
            os.kill(multiprocessing.active_children()[-1].pid, signal.SIGKILL)

    with pytest.raises(UsageError, match="the same command resumes"):
        run_workers(config, folder, 2, kill)
    saved = (folder / "latest").read_text()
    assert saved in ("step-000001", "step-000002", "step-000003")
    for workers in (1, 4):
        again = tmp_path / f"then{workers}"
        shutil.copytree(folder, again)
        if workers == 1:
            run_here(config, again)
        else:
            run_workers(config, again, workers)
        assert_alike(again, alone)


def test_a_resumed_run_computes_bit_for_bit_what_it_would_have(
    config: TrainConfig, alone: Path, tmp_path: Path
) -> None:
    def interrupt(record: dict[str, Any]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunStopped, match="stopped after step 3; the same command resumes"):
        run_here(config, tmp_path, interrupt)
    run_here(config, tmp_path)
    assert [record["loss"] for record in metrics(tmp_path)] == [record["loss"] for record in metrics(alone)]
    ours, theirs = weights(tmp_path), weights(alone)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.dependencies
@pytest.mark.slow
@pytest.mark.timeout(900)  # Ray starts many processes
def test_ray_replaces_a_worker_that_dies(
    config: TrainConfig, alone: Path, tmp_path: Path, ray_cluster: RayCluster
) -> None:
    def kill_one() -> None:
        while not (tmp_path / "latest").exists():
            time.sleep(0.05)
        victims = [
            p for p in psutil.process_iter(["name", "cmdline"]) if "RayTrainWorker" in " ".join(p.info["cmdline"] or [])
        ]
        os.kill(victims[-1].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    steps: list[int] = []
    result = run_on_ray(config, tmp_path, 2, None, lambda record: steps.append(record["step"]), accelerator="cpu")
    killer.join(60)
    assert not killer.is_alive(), "one was killed"
    assert_alike(tmp_path, alone)
    assert steps == list(range(1, config.steps + 1)), "every step is told once where the run was started"
    pointer = json.loads((Path(result.checkpoint.path) / POINTER_FILE).read_text())
    assert pointer == {"checkpoint": str(tmp_path / "step-000006")}, "Ray knows the checkpoint"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_ray_cluster_that_loses_a_machine_goes_on_with_fewer_workers(
    config: TrainConfig,
    alone: Path,
    tmp_path: Path,
    ray_cluster: RayCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Resources of a lost machine are counted for a while yet.
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")

    def lose_one() -> None:
        while not (tmp_path / "latest").exists():
            time.sleep(0.05)
        ray_cluster.lose_one()

    loser = threading.Thread(target=lose_one, daemon=True)
    loser.start()
    given: list[RayWorkers] = []
    # The machines with GPUs have no processors: a worker that asked for none would not be there.
    run_on_ray(config, tmp_path, (1, 2), None, on_start=given.append)
    loser.join(60)
    assert not loser.is_alive(), "one was lost"
    assert [workers.use_gpu for workers in given] == [True]
    assert_alike(tmp_path, alone)
    MolmoForConditionalGeneration.from_pretrained(tmp_path / "export")


def test_global_batches_do_not_depend_on_the_number_of_ranks(config: TrainConfig) -> None:
    model, processor = load_model(config)
    loader = DataLoader(config, processor, Flops(model.config))
    prints = [loader.fingerprint(step) for step in range(4)]
    assert len(set(prints)) == 4
    for ranks in (1, 2, 4):
        tokens = []
        for step in range(4):
            batches = [loader.batch(step, rank, ranks) for rank in range(ranks)]
            assert len({len(batch.sequences) for batch in batches}) == 1
            sequences = [s for batch in batches for s in batch.sequences if s["loss_weights"].any()]
            examples = [
                s["input_ids"][s["document_ids"] == number].tolist()
                for s in sequences
                for number in np.unique(s["document_ids"])
            ]
            tokens.append(sorted(examples))
        if ranks == 1:
            expected = tokens
        assert tokens == expected


def test_packed_examples_have_the_loss_and_gradient_they_have_alone(config: TrainConfig) -> None:
    torch.manual_seed(0)
    model, processor = load_model(config)
    trained = ModelWithLoss(model, config).train()
    rows = [open_source(source).row(number, 7) for source in config.mixture for number in range(3)]
    wide = replace(config, length=2000)
    examples = [encode(row, processor, wide, 5) for row in rows]

    def learn(sequences: list[list[int]]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        trained.zero_grad()
        sums = [trained(collate([examples[n] for n in members], processor, wide)) for members in sequences]
        torch.stack(sums)[:, :2].sum().backward()
        gradients = {name: p.grad.clone() for name, p in trained.named_parameters() if p.grad is not None}
        return torch.stack(sums).sum(0).detach(), gradients

    together, gradients = learn([list(range(6))])
    apart, expected = learn([[n] for n in range(6)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=2e-5)


def test_a_loss_that_is_no_number_leaves_the_weights_alone(config: TrainConfig, tmp_path: Path) -> None:
    wild = replace(
        config, optimizer=replace(config.optimizer, llm=replace(config.optimizer.llm, peak=1e30, warmup_steps=0))
    )
    with pytest.raises(ModelError, match=r"the weights of step .* are unchanged"):
        run_here(wild, tmp_path)


def test_two_runs_do_not_share_a_folder(config: TrainConfig, tmp_path: Path) -> None:
    with process_group(0, 1, None):
        first = RunFolder(tmp_path, config)
        with pytest.raises(UsageError, match="another run uses"):
            RunFolder(tmp_path, config)
        first.close()
        with pytest.raises(UsageError, match=r"holds a run with another config \(batch was 6 and is 8\)"):
            RunFolder(tmp_path, replace(config, batch=8))


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_named(
    config: TrainConfig, alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    for shard in (folder / "step-000006").glob("*.distcp"):
        shard.unlink()
    with pytest.raises(UsageError, match=r"step-000006 cannot be read .*No such file.* write 'step-000005' into"):
        run_here(config, folder)


def test_what_cannot_be_written_leaves_the_last_checkpoint(config: TrainConfig, alone: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes are Unix's")
    folder, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(record: dict[str, Any]) -> None:
        if record["step"] == 2:
            # It is written beside the training: its last file comes when all others are there.
            wait_for(lambda: any(folder.glob("step-000001*/.metadata")))
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))

    try:
        with pytest.raises(
            UsageError, match=r"not be written completely; .* GB .*the same command resumes from step-000001"
        ):
            run_here(config, folder, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run_here(config, folder)
    assert_alike(folder, alone)


def test_adapters_learn_alone_and_are_merged(config: TrainConfig, tmp_path: Path) -> None:
    small = replace(config, lora=Lora(rank=2, alpha=4), freeze=("vit", "connector"), steps=2)
    run_here(small, tmp_path)
    before = load_file(Path(config.model) / "model.safetensors")
    after = weights(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert changed
    assert all("_proj.weight" in name and "language_model" in name for name in changed)


def test_adapters_learn_over_weights_in_four_bits(config: TrainConfig, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = write_model(tmp_path / "wide", width=64)
    small = replace(config, model=str(model), lora=Lora(rank=2, alpha=4, base="4bit"), freeze=("vit",), steps=2)
    with pytest.raises(UsageError, match=r"set sharding=none with lora\.base=4bit"):
        check(small)
    run_here(replace(small, sharding="none"), tmp_path / "run")
    before, after = load_file(model / "model.safetensors"), weights(tmp_path / "run")
    assert {name: (value.shape, value.dtype) for name, value in before.items()} == {
        name: (value.shape, value.dtype) for name, value in after.items()
    }, "what is exported is whole again"
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    moved = (after[name] - before[name]).abs().max()
    assert 0 < moved < 0.02, "the adapter's part is added to the weights as they were, not as four bits hold them"
    assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-6) <= 2


def test_a_checkpoint_holds_what_learns_alone(config: TrainConfig, tmp_path: Path) -> None:
    run_here(replace(config, lora=Lora(rank=2), freeze=("vit", "connector"), steps=1), tmp_path)
    state = FileSystemReader(tmp_path / "step-000001").read_metadata().state_dict_metadata
    assert state
    assert all(".lora_" in name for name in state)


def test_a_model_is_exported_in_the_official_layout_where_asked(config: TrainConfig, tmp_path: Path) -> None:
    run_here(replace(config, steps=1, export=("own", "official")), tmp_path)
    ours = MolmoForConditionalGeneration.from_pretrained(tmp_path / "export").state_dict()
    theirs = MolmoForConditionalGeneration.from_pretrained(tmp_path / "export-official").state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())


@pytest.mark.parametrize(("forms", "form"), [(None, "hl"), (["hl_cot"], "hl_cot"), (["ll", "hl"], "hl")])
def test_a_model_that_learned_android_control_is_exported_with_its_policy(
    config: TrainConfig, tmp_path: Path, forms: list[str] | None, form: str
) -> None:
    options = {} if forms is None else {"forms": forms}
    episodes = Source(kind="android-control", path=str(Path(__file__).with_name("golden") / "android_control"))
    model = shutil.copytree(config.model, tmp_path / "model")
    PointingProfile(min_confidence=0.25, remark="for screens").write(model)
    mixture = (replace(episodes, options=options),)
    run_here(replace(config, model=str(model), mixture=mixture, steps=1, batch=1, length=400), tmp_path / "run")
    exported = tmp_path / "run" / "export"
    expected = PointingProfile(min_confidence=0.25, remark="for screens", policy="android-control", form=form)
    assert read_profile(exported) == expected
    policy = load_policy(model=str(exported), env=SimPhone())
    assert policy.name == f"android_control(export, {form})"


@pytest.mark.parametrize(
    ("sources", "changes"),
    [
        (["points"], {}),
        (["android-control", "points"], {}),
        (["android-control", "android-control"], {"policy": "android-control", "form": "ll"}),
        (["chat"], {}),
    ],
)
def test_only_android_control_alone_decides_the_policy(
    config: TrainConfig, sources: list[str], changes: dict[str, str]
) -> None:
    forms = {"android-control": {"forms": ["ll", "hl_ll"]}}
    mixture = tuple(Source(kind=kind, options=forms.get(kind, {})) for kind in sources)
    decided = profile_changes(replace(config, mixture=mixture))
    assert {name: value for name, value in decided.items() if name in ("policy", "form")} == changes


def test_numbers_go_to_tensorboard_where_asked(config: TrainConfig, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run_here(replace(config, steps=2, loggers=("tensorboard",)), tmp_path)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = [event.value for event in events.Scalars("loss")]
    assert seen == pytest.approx([record["loss"] for record in metrics(tmp_path)])
    assert "sources/chat" in events.Tags()["scalars"]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_is_told_before_the_first_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=f"pip install {name}"):
        open_loggers([name], tmp_path, {})


def test_weights_and_biases_gets_the_numbers_of_a_run_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    run = SimpleNamespace(log=lambda *args, **kwargs: calls.append((args, kwargs)), finish=lambda: calls.append("end"))
    stand_in = SimpleNamespace(init=lambda **kwargs: calls.append(kwargs) or run)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    (logger,) = open_loggers(["wandb"], tmp_path, {"steps": 2})
    logger.log({"step": 1, "loss": 2.0, "sources": {"chat": 3.0}, "skipped": []})
    logger.close()
    settings, (numbers, where), end = calls
    assert (settings["id"], settings["config"], settings["resume"]) == (tmp_path.name, {"steps": 2}, "allow")
    assert (numbers, where, end) == (({"loss": 2.0, "sources/chat": 3.0},), {"step": 1}, "end")


def test_a_step_tells_its_speed_and_the_loss_of_each_data_set(alone: Path) -> None:
    for record in metrics(alone):
        assert record["tokens_per_s"] > 0
        assert record["teraflops"] > 0
        assert 0 <= record["waited_share"] <= 1
        assert set(record["sources"]) <= {"points", "chat"}
        low, high = min(record["sources"].values()), max(record["sources"].values())
        assert low <= record["cross_entropy"] * (1 + 1e-6)
        assert record["cross_entropy"] <= high * (1 + 1e-6)


def test_metrics_that_another_process_writes_are_followed_each_step_once(config: TrainConfig, tmp_path: Path) -> None:
    path, steps = tmp_path / "metrics.jsonl", []
    lines = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(1, 6)]
    path.write_text(lines[0])
    with follow(path, lambda record: steps.append(record["step"]), every_s=0.01):
        with path.open("a") as file:
            file.write(lines[1] + lines[2][:5])
            file.flush()
            wait_for(lambda: steps == [2])
            file.write(lines[2][5:] + lines[3])
        wait_for(lambda: steps == [2, 3, 4])
        with process_group(0, 1, None):
            run = RunFolder(tmp_path, config)
            run.forget_after(2)
            # It has grown beyond where it was before anybody looks again.
            for step in range(3, 6):
                run.log({"step": step, "loss": 1.0, "more": "x" * 200})
            run.close()
    assert steps == [2, 3, 4, 5]


def test_the_average_of_the_weights_is_what_is_exported(config: TrainConfig, tmp_path: Path) -> None:
    run_here(replace(config, ema=1.0, steps=2), tmp_path)
    before, after = load_file(Path(config.model) / "model.safetensors"), weights(tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before), "with a decay of 1 nothing moves"
