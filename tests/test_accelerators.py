"""What a run asks its machines for: GPUs where the cluster has them, however the caller's own machine is."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray_cluster import RayCluster
from tiny_training import small_run

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.train import distributed, on_ray
from molmo_agent.train.distributed import backends, own_device
from molmo_agent.train.launch import device_here, process_group, run_workers
from molmo_agent.train.on_ray import RayWorkers, backends_of, choose_workers, group_config, map_on_ray, run_on_ray

HEAD = {"CPU": 0.0, "node:1": 1.0}
TWO = {"CPU": 64.0, "GPU": 2.0, "accelerator_type:H100": 1.0}
FOUR = {"CPU": 64.0, "GPU": 4.0, "accelerator_type:A100": 1.0}
SMALL = {"CPU": 3.0}


@pytest.mark.parametrize(
    ("accelerator", "count", "machines", "use_gpu", "kind", "summary"),
    [
        ("auto", 4, [HEAD, TWO, TWO], True, None, "4 workers on Ray, one GPU each: the cluster has 4 GPUs"),
        ("auto", (2, 8), [HEAD, TWO], True, None, "2 to 8 workers on Ray, one GPU each: the cluster has 2 GPUs"),
        ("auto", 3, [HEAD, SMALL], False, None, "3 workers on Ray, one CPU each: the cluster has 3 CPUs"),
        ("auto", 1, [{"CPU": 1.0, "GPU": 0.0}], False, None, "1 worker on Ray, one CPU each: the cluster has 1 CPU"),
        ("cpu", 4, [HEAD, TWO], False, None, "4 workers on Ray, one CPU each: the cluster has 64 CPUs"),
        ("gpu", 8, [HEAD, TWO], True, None, "the cluster has 2 GPUs; waiting for 6 more"),
        ("gpu", 1, [SMALL], True, None, "the cluster has 0 GPUs; waiting for 1 more"),
        ("h100", 2, [HEAD, FOUR, TWO], True, "H100", "2 workers on Ray, one H100 each: the cluster has 2 H100s"),
        ("A100", 6, [FOUR, TWO], True, "A100", "the cluster has 4 A100s; waiting for 2 more"),
    ],
)
def test_workers_are_given_what_the_cluster_has(
    accelerator: str, count: Any, machines: list[dict[str, float]], use_gpu: bool, kind: str | None, summary: str
) -> None:
    workers = choose_workers(accelerator, count, machines)
    assert (workers.count, workers.use_gpu, workers.accelerator_type) == (count, use_gpu, kind)
    assert summary in workers.summary


@pytest.mark.parametrize(
    ("accelerator", "count", "machines", "message"),
    [
        (
            *("auto", 8, [HEAD, TWO]),
            "expected a GPU for each of 8 workers, but the cluster has 2 GPUs; use --workers 2, --accelerator cpu, or "
            "--accelerator gpu to wait for more machines",
        ),
        ("auto", (3, 8), [TWO], "expected a GPU for each of 3 to 8 workers, but the cluster has 2 GPUs"),
        ("auto", 5, [SMALL], "the cluster has 3 CPUs; use --workers 3, --accelerator cpu or gpu to wait for"),
        ("auto", 2, [HEAD], "expected a CPU for each of 2 workers, but the cluster has 0 CPUs; use --accelerator"),
        # Half a GPU is none: two ranks cannot share one.
        ("auto", 2, [{"GPU": 1.5}], "the cluster has 1 GPU; use --workers 1"),
    ],
)
def test_too_small_a_cluster_is_told_at_once(
    accelerator: str, count: Any, machines: list[dict[str, float]], message: str
) -> None:
    with pytest.raises(UsageError) as told:
        choose_workers(accelerator, count, machines)
    assert message in str(told.value)


@pytest.mark.parametrize(("name", "suggestion"), [("H10", "H100"), ("gpus", "gpu"), ("A-100", "A100")])
def test_a_type_that_no_machine_has_is_told_with_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(
        UnknownNameError, match=f"unknown accelerator of the cluster '{name}': did you mean {suggestion}"
    ):
        choose_workers(name, 1, [TWO, FOUR])


def test_on_one_machine_every_rank_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_here("auto", 1), device_here("gpu", 2), device_here("cpu", 9)] == ["cuda", "cuda", "cpu"]
    for accelerator in ("auto", "gpu"):
        with pytest.raises(
            UsageError, match=r"a GPU for each of 3 workers, found 2 on .* --workers 2, or --accelerator cpu"
        ):
            device_here(accelerator, 3)


def test_on_a_machine_without_a_gpu_one_that_is_asked_for_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_here("auto", 5) == "cpu"
    with pytest.raises(UsageError, match=r"a GPU for each of 2 workers, found 0 on this machine"):
        run_workers(small_run(tmp_path), tmp_path / "run", 2, accelerator="gpu")
    with pytest.raises(UnknownNameError, match=r"unknown accelerator \(types of GPUs need Ray\) 'H100'"):
        device_here("H100", 1)


def test_a_rank_computes_where_its_group_can_reduce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert own_device() == torch.device("cuda", 1), "alone: the GPU"
    # Ray hides no GPUs from workers that asked for none.
    with process_group(0, 1, None, "cpu"):
        assert own_device() == torch.device("cpu")
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed.dist, "get_backend_config", lambda: backends("cuda"))
    assert own_device() == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("given", "usable", "kind"),
    [(1, [True, True], "cuda"), (1, [True, False], "cpu"), (1, [False, False], "cpu"), (0, [True, True], "cpu")],
)
def test_the_group_of_workers_on_ray_reduces_on_the_cpu_too(given: int, usable: list[bool], kind: str) -> None:
    group = SimpleNamespace(get_resources_per_worker=lambda: {"GPU": given}, execute=lambda function: usable)
    assert backends_of(group) == backends(kind)
    assert "cpu:gloo" in backends(kind).split(","), "counts and norms are reduced there"
    assert ("cuda:nccl" in backends(kind).split(",")) == (kind == "cuda")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_workers_on_ray_are_asked_for_with_the_gpus_of_the_cluster(
    tmp_path: Path, ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    sent = __import__("ray.train.torch", fromlist=["TorchTrainer"])

    class Trainer:
        def __init__(self, loop: Any, **settings: Any) -> None:
            asked.append(settings)

        def fit(self) -> str:
            return "done"

    monkeypatch.setattr(sent, "TorchTrainer", Trainer)
    config, given = small_run(tmp_path), list[RayWorkers]()
    for accelerator, count in (("auto", 2), ("auto", (1, 8)), ("cpu", 3), ("gpu", 5)):
        run_on_ray(config, tmp_path / "run", count, None, accelerator=accelerator, on_start=given.append)
    scaling = [settings["scaling_config"] for settings in asked]
    assert [(one.num_workers, one.use_gpu) for one in scaling] == [(2, True), ((1, 8), True), (3, False), (5, True)]
    assert [settings["train_loop_config"]["needs_gpu"] for settings in asked] == [False, False, False, True]
    assert all(type(settings["torch_config"]).__name__ == type(group_config()).__name__ for settings in asked)
    assert "the cluster has 2 GPUs" in given[0].summary
    with pytest.raises(UsageError, match="expected a GPU for each of 3 workers, but the cluster has 2 GPUs"):
        run_on_ray(config, tmp_path / "run", 3, None)
    assert len(asked) == 4
    with pytest.raises(UsageError, match="expected a GPU for each of 3 workers"):
        next(map_on_ray(3, None)(lambda: len, ["batch"]))


def test_a_worker_that_was_promised_a_gpu_does_not_train_without() -> None:
    settings = {"start": os.getcwd(), "threads": torch.get_num_threads(), "needs_gpu": True}
    pytest.importorskip("ray", reason="needs the extra 'train'")
    with process_group(0, 1, None, "cpu"), pytest.raises(UsageError, match=r"was given a GPU that torch .* cannot use"):
        on_ray._ray_loop(settings)
