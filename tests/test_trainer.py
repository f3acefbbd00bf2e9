"""The loop itself, with a train module that only counts: what is called when, and what is left behind."""

import json
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from molmo_agent.train import distributed, recipe, trainer
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.distributed import mean_over_ranks
from molmo_agent.train.launch import process_group
from molmo_agent.train.recipe import RunKind, from_dict, kind_of
from molmo_agent.train.train_module import StepTime
from molmo_agent.train.trainer import PROBLEMS_FILE, Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class CountConfig:
    count_to: int
    seed: int = 0
    checkpoint_every: int = 2
    keep: int = 9
    loggers: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return self.count_to


class CountModule:
    """Its weight is the sum of its batches, which are the numbers of steps."""

    prefetch = 2

    def __init__(self, config: CountConfig) -> None:
        self.weight = torch.zeros(())

    def problems(self) -> str:
        return "row 3: too odd"

    def restore(self, run: RunFolder) -> int:
        return run.load(self.state())

    def open_pool(self) -> Executor:
        return ThreadPoolExecutor(1)

    def batch_loader(self) -> Callable[[int], int]:
        return abs

    def train_step(self, step: int, batch: int) -> dict[str, Any]:
        assert step == batch
        self.weight += batch
        return {"loss": float(self.weight), "accuracy": 0.0}

    def throughput(self, batch: int, time: StepTime) -> dict[str, Any]:
        assert min(time.seconds, time.waited, time.other) >= 0
        return {"size": batch}

    def ends_stage(self, done: int) -> bool:
        return done == 3

    def state(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def export(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "weight").write_text(str(float(self.weight)))


COUNTING = RunKind(config=CountConfig, check=lambda config: config, train_module=f"{__name__}:CountModule")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "RUN_KINDS", {"count_to": f"{__name__}:COUNTING"})


def fit(config: Any, folder: Path, **options: Any) -> int:
    with process_group(0, 1, None):
        return Trainer(config, folder, **options).fit()


def test_a_kind_of_run_that_the_registry_names_is_trained_by_its_own_module(tmp_path: Path) -> None:
    config = from_dict({"count_to": 5})
    assert kind_of(config) is COUNTING
    steps: list[int] = []
    checkpoints: list[Path | None] = []
    assert fit(config, tmp_path, on_step=lambda r: steps.append(r["step"]), on_checkpoint=checkpoints.append) == 5
    assert steps == [1, 2, 3, 4, 5]
    assert len(checkpoints) == 6, "after every step, and at the end"
    saved = ["step-000002", "step-000003", "step-000004", "step-000005"]
    assert sorted(path.name for path in tmp_path.glob("step-*")) == saved, "when due, at the end of a stage, at the end"
    assert [path.name for path in checkpoints if path][-1] == saved[-1]
    assert (tmp_path / "export" / "weight").read_text() == "10.0"
    assert (tmp_path / PROBLEMS_FILE).read_text() == "row 3: too odd\n"
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first == {"step": 1, "loss": 0.0, "accuracy": 0.0, "size": 0, "device": "cpu"}


def test_a_stopped_run_is_saved_at_once_and_resumed_where_it_was(tmp_path: Path) -> None:
    config = from_dict({"count_to": 5, "checkpoint_every": 100})
    assert fit(config, tmp_path, stop=lambda: True) == 1
    assert (tmp_path / "latest").read_text().strip() == "step-000001"
    assert not (tmp_path / "export").exists()
    assert fit(config, tmp_path) == 5
    assert (tmp_path / "export" / "weight").read_text() == "10.0"


def test_what_is_no_config_of_a_run_is_an_error() -> None:
    with pytest.raises(TypeError, match="expected the config of a training run, got dict"):
        trainer.make_train_module({})  # type: ignore[arg-type]


def test_what_ranks_measure_is_averaged_by_what_they_measured_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mean_over_ranks({"loss": 2.0}, 5) == {"loss": 2.0}, "alone"
    others = [({"loss": 1.0, "acc": 0.5}, 3), ({}, 0), ({"loss": 4.0, "acc": 1.0}, 1)]
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    monkeypatch.setattr(
        distributed.dist, "all_gather_object", lambda parts, own: parts.__setitem__(slice(None), [own, *others])
    )
    assert mean_over_ranks({"loss": 7.0, "acc": 0.0}, 2) == {"loss": 21 / 6, "acc": 2.5 / 6}
