"""What training costs besides its steps: memory at the start, the error of the plan, and validation."""

import multiprocessing
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.nano.architecture import nano_processor
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.fine_tuning import prepare
from molmo_agent.train.scale.memory import estimate
from molmo_agent.train.scale.sharded_start import empty_model, own_rows, start_sharded
from molmo_agent.train.step import ModelWithLoss, make_optimizer, train_step

RANKS = 2


def _status(name: str) -> int:
    """Return a figure of this process's memory from Linux, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _start_one_rank(model: str) -> tuple[int, int]:
    """Start the first of two ranks; return the bytes that its memory grew by at most, and those of its weights.

    Pages of the checkpoint that the system keeps in memory are not the process's own, and do not count.
    """
    config = TrainConfig(model=model)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    # Import and allocate what every start needs: that of a model a thousandth as large.
    start_sharded(replace(config, model=f"{model}-small"), prepare)
    before = _status("RssAnon")
    peak = _PeakOfOwnMemory()
    with peak:
        sharded, _ = start_sharded(config, prepare)
    return peak.bytes - before, sum(own_rows(p).nbytes for p in sharded.parameters())


class _PeakOfOwnMemory(TorchDispatchMode):
    """Looks at the process's own memory after every operation of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes = max(self.bytes, _status("RssAnon"))
        return result


def _shapes(width: int) -> MolmoConfig:
    heads = {"num_attention_heads": 4, "num_hidden_layers": 4}
    return MolmoConfig(
        vision_config={"hidden_size": 64, "intermediate_size": 256, "image_size": 112, "patch_size": 14, **heads},
        text_config={
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "vocab_size": 8192,
            "num_key_value_heads": 4,
            **heads,
        },
        vit_layers=(-1, -2),
        pooling_heads=4,
        pooling_head_dim=16,
        projector_hidden_size=256,
    )


def measure_start() -> dict[str, float]:
    """Measure the memory in which one of two ranks starts from a checkpoint, as a share of its weights."""
    with tempfile.TemporaryDirectory() as folder:
        for name, width in (("model", 1920), ("model-small", 32)):
            MolmoForConditionalGeneration(_shapes(width)).save_pretrained(Path(folder) / name)
            nano_processor().save_pretrained(Path(folder) / name)
        # A process of its own: this one has memory that was freed and can be used again.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak, share = pool.apply(_start_one_rank, (str(Path(folder) / "model"),))
    return {"start, peak host memory of a rank, share of its weights": peak / share}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that exist, and their maximum; a storage counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.peak = 0
        self._storages: dict[int, tuple[Any, int]] = {}

    def add(self, value: torch.Tensor) -> None:
        """Count a tensor that exists already."""
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def drop(_: Any) -> None:
            self.total -= self._storages.pop(key)[1]

        self._storages[key] = weakref.ref(storage, drop), size
        self.total += size
        self.peak = max(self.peak, self.total)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self.add, result)
        return result


def measure_plan_error(arrays: dict[str, Any], size: Size, targets: int) -> dict[str, float]:
    """Compare the memory that ``--plan`` states for a step with torch's: its allocator's on a GPU, else all tensors'.

    Args:
        arrays: one sequence for a model of :func:`_shapes`.
        size: of the sequence.
        targets: number of positions with a target.
    """
    config, shapes = TrainConfig(), _shapes(512)
    planned = estimate(
        config, prepare(config, empty_model(shapes, torch.float32)), size, targets=targets, shards=1, sequences=1
    ).peak
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = ModelWithLoss(prepare(config, MolmoForConditionalGeneration(shapes)), config).train().to(device)
    optimizer = make_optimizer(trained, config.optimizer)
    train_step(trained, optimizer, [arrays], config, 1)
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        train_step(trained, optimizer, [arrays], config, 2)
        peak = torch.cuda.max_memory_allocated()
    else:
        live = LiveBytes()
        for parameter in trained.parameters():
            for value in (parameter, *optimizer.state.get(parameter, {}).values()):
                live.add(value)
        with live:
            train_step(trained, optimizer, [arrays], config, 2)
        peak = live.peak
    return {"plan, peak memory of a step, relative error": abs(planned / peak - 1)}


def measure_validation(
    run: Callable[[Path, dict[str, Any]], list[dict[str, Any]]], every: int = 50, examples: int = 64
) -> dict[str, float]:
    """Measure what the held-out loss of 64 examples adds to 50 steps of 8 examples.

    Args:
        run: trains with some changes of a recipe, and returns the records of its steps.
        every: number of steps between measurements.
        examples: number of held-out examples.
    """
    data = {"kind": "sim-desktop", "options": {"width": 320, "height": 240, "most": 8}}
    validate = {"every": 4, "examples": 8, "generate": 0, "mixture": [data]}
    with tempfile.TemporaryDirectory() as folder:
        records = run(Path(folder), {"steps": 4, "validate": validate})
    step = sorted(record["seconds"] for record in records[2:])[len(records[2:]) // 2]
    measured = [record["validation"] for record in records if "validation" in record][-1]
    seconds = measured["seconds"] / measured["examples"] * examples
    return {"validation, run time, times that without": 1 + seconds / (every * step)}
