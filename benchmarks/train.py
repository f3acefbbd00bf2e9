"""What packing, balancing and seeking are worth in training, each beside the plain way in the same run.

    python benchmarks/train.py [--json FILE] [--check] [--step] [--costs] [--workers] [--ray]

Lengths follow the published mixture (crops of each data set, docs/reference/training.md#mixture); models are small,
random. The plain way is the authors': one example per sequence, padded to 2,304 tokens and 13 crops. --step compares a
step with the authors', on equal shapes (plain_step.py); --costs measures what a run needs besides its steps; --workers
compares one worker with two, each on one core; --ray compares a plain process with the same on Ray. With a GPU, the
share of its peak that a step of a small Molmo takes is measured too.
"""

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser
from _training_costs import measure_plan_error, measure_start, measure_validation
from plain_step import compare

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.crops import CropLayout, image_token_counts
from molmo_agent.model.message_tree import message_tree_mask
from molmo_agent.model.presets import preset
from molmo_agent.train.batching.pack import Size, plan
from molmo_agent.train.batching.sampler import Sampler
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops, peak_of, visible_pairs
from molmo_agent.train.launch import run_workers
from molmo_agent.train.losses import response_loss
from molmo_agent.train.on_ray import run_on_ray
from molmo_agent.train.recipe import from_dict
from molmo_agent.train.step import ModelWithLoss, make_optimizer, train_step

TARGETS = {
    "fine-tuning mix: useful loss tokens per second, times the padded way": (">=", 2.0),
    "captions: useful loss tokens per second, times the padded way": (">=", 1.3),
    "work of 8 ranks, mean of the largest": (">=", 0.97),
    "seeking step 30,000 of batches of 256, s": ("<=", 0.1),
    "step, times the authors'": (">=", 1.15),
    "step with 152,064 ids, times the authors'": (">=", 1.3),
    "step, largest relative difference of the loss": ("<=", 1e-5),
    "start, peak host memory of a rank, share of its weights": ("<=", 1.2),
    "plan, peak memory of a step, relative error": ("<=", 0.25),
    "validation, run time, times that without": ("<=", 1.2),
    "two workers, share of twice one's speed": (">=", 0.85),
    "Ray, share of a step on top of a plain process": ("<=", 0.02),
}
LENGTH, CROPS = 2304, 13
# Sequences into which examples are packed: twice the authors' length, so that a second picture fits.
PACKED = 2 * LENGTH
# Grids of crops that give the published averages (10.1 crops over the mixture by its rates, 10.9 for captions; with the
# global crop), and how many tokens questions and answers have.
GRIDS = ((1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4))
FINE_TUNING = {"grids": (0.05, 0.04, 0.06, 0.13, 0.22, 0.50), "annotations": (1, 6), "question": 16, "answer": (3, 60)}
CAPTIONS = {"grids": (0.02, 0.03, 0.04, 0.11, 0.22, 0.58), "annotations": (2, 2), "question": 8, "answer": (120, 330)}


def sample(kind: dict[str, Any], count: int, seed: int = 0) -> tuple[list[Size], list[int]]:
    """Return sizes of examples and how many tokens each has to learn."""
    rng, layout = np.random.default_rng(seed), CropLayout()
    sizes, learned = [], []
    for _ in range(count):
        grid = GRIDS[rng.choice(len(GRIDS), p=kind["grids"])]
        picture = sum(2 + rows * (columns + 1) for rows, columns in image_token_counts(grid, layout))
        annotations = int(rng.integers(kind["annotations"][0], kind["annotations"][1] + 1))
        answers = rng.integers(*kind["answer"], size=annotations)
        total = min(1 + picture + annotations * kind["question"] + int(answers.sum()), LENGTH)
        sizes.append(Size(total, 1 + grid[0] * grid[1]))
        learned.append(int(answers.sum()))
    return sizes, learned


def small_model() -> MolmoForConditionalGeneration:
    """Return a model in which tower and decoder take about the shares of time that they take in Molmo-7B."""
    heads = {"num_attention_heads": 4, "num_hidden_layers": 2}
    return MolmoForConditionalGeneration(
        MolmoConfig(
            vision_config={"hidden_size": 64, "intermediate_size": 256, "image_size": 112, "patch_size": 14, **heads},
            text_config={
                "hidden_size": 256,
                "intermediate_size": 1024,
                "vocab_size": 1024,
                "num_key_value_heads": 4,
                **heads,
            },
            vit_layers=(-1, -2),
            pooling_heads=4,
            pooling_head_dim=16,
            projector_hidden_size=256,
        )
    )


def sequence(
    members: list[Size], learned: list[int], length: int, crops: int, *, side: int = 8, patch: int = 14
) -> dict[str, np.ndarray]:
    """Return arrays of one sequence, padded to a length and a number of crops of side x side patches."""
    ids = np.full(length, 5)
    labels, weights = np.full(length, -1), np.zeros(length, dtype=np.float32)
    documents, positions = np.full(length, -1), np.zeros(length, dtype=np.int64)
    start = 0
    for number, (size, count) in enumerate(zip(members, learned, strict=True)):
        end = start + size.tokens
        labels[end - count : end], weights[end - count : end] = 7, 1
        documents[start:end], positions[start:end] = number, np.arange(size.tokens)
        start = end
    index = np.full((crops, (-(-side // 2)) ** 2), -1)
    return {
        "input_ids": ids[None],
        "labels": labels[None],
        "loss_weights": weights[None],
        "document_ids": documents[None],
        "subsegment_ids": np.zeros((1, length), dtype=np.int64),
        "position_ids": positions[None],
        "pixel_values": np.zeros((1, crops, side**2, 3 * patch**2), dtype=np.float32),
        "image_masks": np.ones((1, crops, side**2), dtype=np.float32),
        "image_input_idx": index[None],
    }


class PaddedModel(ModelWithLoss):
    """The plain way: attention over the whole padded sequence under a dense mask."""

    def forward(self, arrays: dict[str, Any]) -> torch.Tensor:
        """Return the sums of one padded sequence."""
        inputs = {name: torch.as_tensor(array) for name, array in arrays.items()}
        inner = self.model.model
        features = inner.get_image_features(inputs["pixel_values"], inputs["image_masks"])
        embeds = inner.embed(inputs["input_ids"], features, inputs["image_input_idx"]) + features.sum() * 0
        inner.language_model.config._attn_implementation = "sdpa"
        hidden = inner(
            inputs_embeds=embeds,
            attention_mask=message_tree_mask(inputs["subsegment_ids"], inputs["document_ids"] >= 0, embeds.dtype),
            position_ids=inputs["position_ids"],
            use_cache=False,
        ).last_hidden_state
        inner.language_model.config._attn_implementation = TREE_ATTENTION
        loss = response_loss(hidden, self.model.lm_head.weight, inputs["labels"], inputs["loss_weights"])
        return torch.stack([loss.cross_entropy.sum(), loss.z.sum()])


def measure_packing(name: str, kind: dict[str, Any], examples: int = 16) -> dict[str, float]:
    """Compare how many tokens are learned from in a second of processor time, packed and padded."""
    sizes, learned = sample(kind, examples)
    trained = ModelWithLoss(small_model(), TrainConfig())
    plainly = PaddedModel(trained.model, TrainConfig())

    def run(trained: ModelWithLoss, sequences: list[dict[str, np.ndarray]]) -> float:
        start = time.process_time()
        for arrays in sequences:
            trained.zero_grad()
            trained(arrays)[:2].sum().backward()
        return time.process_time() - start

    padded = [sequence([size], [count], LENGTH, CROPS) for size, count in zip(sizes, learned, strict=True)]
    model: Any = trained.model
    members = plan(sizes, length=PACKED, crops=4 * CROPS, ranks=1, cost=Flops(model.config).cost)[0]
    packed = []
    for numbers in members:
        mine = [sizes[n] for n in numbers]
        tokens, crops = sum(s.tokens for s in mine), sum(s.crops for s in mine)
        packed.append(sequence(mine, [learned[n] for n in numbers], tokens, crops))
    run(plainly, padded[:1])
    run(trained, packed[:1])
    plain, ours = run(plainly, padded), run(trained, packed)
    rate = f"{name}: useful loss tokens per second"
    return {
        f"{rate}, padded": sum(learned) / plain,
        f"{rate}, packed": sum(learned) / ours,
        f"{rate}, times the padded way": plain / ours,
    }


def measure_plan() -> dict[str, float]:
    """Measure how evenly a step of 256 examples is dealt to 8 ranks, and how long the plan takes."""
    cost = Flops(preset("7B-D")).cost
    shares, times = [], []
    for seed in range(5):
        sizes, _ = sample(FINE_TUNING, 256, seed)
        start = time.perf_counter()
        dealt = plan(sizes, length=PACKED, crops=4 * CROPS, ranks=8, cost=cost)
        times.append(time.perf_counter() - start)
        work = [sum(cost(sizes[n]) for numbers in rank for n in numbers) for rank in dealt]
        shares.append(statistics.mean(work) / max(work))
    return {
        "work of 8 ranks, mean of the largest": min(shares),
        "planning a step of 256 examples, ms": statistics.median(times) * 1e3,
    }


def measure_seek() -> dict[str, float]:
    """Measure how long it takes to find the examples of a late step of a mixture of 30 data sets."""
    rng = np.random.default_rng(0)
    sampler = Sampler(tuple(rng.random(30)), tuple(rng.integers(1000, 10**6, 30).tolist()), 1)
    sampler.draws(0, 1)
    start = time.perf_counter()
    sampler.draws(30_000 * 256, 256)
    return {"seeking step 30,000 of batches of 256, s": time.perf_counter() - start}


def measure_step() -> dict[str, float]:
    """Compare a step with the authors' on equal shapes: with targets in answers, everywhere, and with many ids."""
    answers, apart = compare(11_000)
    everywhere, also_apart = compare(11_000, all_targets=True)
    wide, wide_apart = compare(152_064, steps=3)
    return {
        "step, times the authors'": answers,
        "step with a target at every position, times the authors'": everywhere,
        "step with 152,064 ids, times the authors'": wide,
        "step, largest relative difference of the loss": max(apart, also_apart, wide_apart),
    }


def measure_costs() -> dict[str, float]:
    """Measure the memory of a start, the error of the plan, and the time of validation."""

    def run(folder: Path, changes: dict[str, Any]) -> list[dict[str, Any]]:
        run_workers(timed_run(folder, **changes), folder, 1, threads=1)
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    size = Size(1024, 6)
    arrays = sequence([size], [128], size.tokens, size.crops)
    return measure_start() | measure_plan_error(arrays, size, 128) | measure_validation(run)


def timed_run(folder: Path, **changes: Any) -> TrainConfig:
    """Return a run whose steps take about a second on one core."""
    config = from_dict(
        {
            "model": "nano-fresh",
            "mixture": [{"kind": "sim-desktop", "options": {"width": 320, "height": 240, "most": 8}}],
            "steps": 14,
            "batch": 8,
            "length": 2304,
            "packing": False,
            "sharding": "none",
            "checkpoint_every": 100,
            **changes,
        }
    )
    assert isinstance(config, TrainConfig)
    return config


def per_step(folder: Path, name: str) -> float:
    """Return the median duration of a run's steps without the first three, everything between two steps included."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][3:]
    return statistics.median(record[name] for record in records)


def _products(core: int, seconds: float) -> int:
    """Count how many small matrix products one core does in some seconds."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    left, right = torch.randn(600, 240), torch.randn(240, 960)
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        left @ right
        done += 1
    return done


def measure_cores(seconds: float = 5.0) -> float:
    """Return the share of twice one core's speed that two processes reach which share nothing."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        alone = pool.apply(_products, (cores[0], seconds))
        both = pool.starmap(_products, [(core, seconds) for core in cores])
    return sum(both) / alone / 2


def measure_workers() -> dict[str, float]:
    """Compare one worker with two, each on one core, over the same steps, and with what the cores can do at best."""
    ceiling = measure_cores()
    with tempfile.TemporaryDirectory() as name:
        cores = sorted(os.sched_getaffinity(0))
        for workers in (1, 2):
            folder = Path(name) / str(workers)
            # Drawing has a thread of its own: without this one worker would have two cores.
            os.sched_setaffinity(0, cores[:workers])
            run_workers(timed_run(folder), folder, workers, threads=1)
        os.sched_setaffinity(0, cores)
        one, two = (per_step(Path(name) / str(workers), "seconds") for workers in (1, 2))
    return {
        "one worker, s per step": one,
        "two workers, s per step": two,
        "two workers, share of twice one's speed": one / two / 2,
        "two processes that share nothing, share of twice one's speed": ceiling,
        "two workers, share of two processes that share nothing": one / two / 2 / ceiling,
    }


def measure_ray() -> dict[str, float]:
    """Compare what comes between the steps of one worker, alone and on Ray."""
    with tempfile.TemporaryDirectory() as name:
        alone, on_ray = Path(name) / "alone", Path(name) / "ray"
        run_workers(timed_run(alone), alone, 1, threads=1)
        run_on_ray(timed_run(on_ray), on_ray, 1, None)
        step = per_step(alone, "seconds") + per_step(alone, "other")
        more = per_step(on_ray, "other") - per_step(alone, "other")
    return {
        "Ray, ms on top of a step": more * 1e3,
        "Ray, share of a step on top of a plain process": max(more, 0.0) / step,
    }


def measure_gpu() -> dict[str, float]:
    """Measure the share of a GPU's peak that steps of a Molmo with the decoder of Qwen2-0.5B take, in bfloat16."""
    device = torch.device("cuda")
    config = MolmoConfig(
        text_config={
            "hidden_size": 896,
            "intermediate_size": 4864,
            "vocab_size": 152064,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
        },
        projector_hidden_size=4864,
    )
    settings = TrainConfig(precision="bf16", activation_checkpointing=False)
    trained = ModelWithLoss(MolmoForConditionalGeneration(config), settings).to(device)
    optimizer = make_optimizer(trained, settings.optimizer)
    flops, layout = Flops(config), CropLayout()
    sizes, learned = sample(FINE_TUNING, 64)
    members = plan(sizes, length=PACKED, crops=4 * CROPS, ranks=1, cost=flops.cost)[0]
    times, work = [], []
    for numbers in members:
        mine = [sizes[n] for n in numbers]
        tokens, crops = sum(s.tokens for s in mine), sum(s.crops for s in mine)
        count = [learned[n] for n in numbers]
        arrays = sequence(mine, count, tokens, crops, side=layout.side, patch=layout.patch_size)
        torch.cuda.synchronize()
        start = time.perf_counter()
        train_step(trained, optimizer, [arrays], settings, len(times) + 1)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        done = [
            flops.work(tokens=s.tokens, pairs=visible_pairs(s.tokens, ()), crops=s.crops, targets=n)
            for s, n in zip(mine, count, strict=True)
        ]
        work.append(sum(w.step() for w in done))
    rate = sum(work[3:]) / sum(times[3:])
    found = {"GPU, teraflops of a step": rate / 1e12}
    peak = peak_of(torch.cuda.get_device_name(device))
    return found | ({"GPU, MFU of a step": rate / peak} if peak else {})


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--step", action="store_true", help="also compare a step with the authors'")
    options.add_argument("--costs", action="store_true", help="also measure memory, plan and validation (Linux)")
    options.add_argument(
        "--workers", action="store_true", help="also compare one worker with two: needs two idle cores"
    )
    options.add_argument("--ray", action="store_true", help="also compare a plain process with Ray")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts: list[Callable[[], dict[str, float]]] = [
        lambda: measure_packing("fine-tuning mix", FINE_TUNING),
        lambda: measure_packing("captions", CAPTIONS),
        measure_plan,
        measure_seek,
    ]
    results: dict[str, float] = {}
    parts += [measure_step] if arguments.step else []
    parts += [measure_costs] if arguments.costs else []
    parts += [measure_workers] if arguments.workers else []
    parts += [measure_ray] if arguments.ray else []
    parts += [measure_gpu] if torch.cuda.is_available() else []
    for part in parts:
        results |= part()
    return finish(arguments, results, TARGETS, width=74)


if __name__ == "__main__":
    sys.exit(main())
