"""What packing, balancing and seeking are worth in training, each beside the plain way in the same run.

    python benchmarks/train.py [--json FILE] [--check] [--workers]

Lengths follow the published mixture (crops of each data set, molmo-data-training-eval section 3.2); models are small,
random. The plain way is the authors': one example per sequence, padded to 2,304 tokens and 13 crops. --workers also
compares one worker with two, each on one core.
"""

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

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.crops import CropLayout, image_token_counts
from molmo_agent.model.presets import preset
from molmo_agent.train.config import TrainConfig, from_dict
from molmo_agent.train.launch import run_workers
from molmo_agent.train.losses import response_loss
from molmo_agent.train.masks import additive
from molmo_agent.train.order import Order
from molmo_agent.train.pack import Size, plan
from molmo_agent.train.step import Learner
from molmo_agent.train.stream import flops_of
from molmo_agent.train.tree_attention import NAME as TREE_ATTENTION

TARGETS = {
    "fine-tuning mix: useful loss tokens per second, times the padded way": (">=", 2.0),
    "captions: useful loss tokens per second, times the padded way": (">=", 1.3),
    "work of 8 ranks, mean of the largest": (">=", 0.97),
    "seeking step 30,000 of batches of 256, s": ("<=", 0.1),
    "two workers, share of twice one's speed": (">=", 0.85),
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


def sequence(members: list[Size], learned: list[int], length: int, crops: int) -> dict[str, np.ndarray]:
    """Return arrays of one sequence, padded to a length and a number of crops."""
    ids = np.full(length, 5)
    labels, weights = np.full(length, -1), np.zeros(length, dtype=np.float32)
    documents, positions = np.full(length, -1), np.zeros(length, dtype=np.int64)
    start = 0
    for number, (size, count) in enumerate(zip(members, learned, strict=True)):
        end = start + size.tokens
        labels[end - count : end], weights[end - count : end] = 7, 1
        documents[start:end], positions[start:end] = number, np.arange(size.tokens)
        start = end
    index = np.full((crops, 16), -1)
    return {
        "input_ids": ids[None],
        "labels": labels[None],
        "loss_weights": weights[None],
        "document_ids": documents[None],
        "subsegment_ids": np.zeros((1, length), dtype=np.int64),
        "position_ids": positions[None],
        "pixel_values": np.zeros((1, crops, 64, 588), dtype=np.float32),
        "image_masks": np.ones((1, crops, 64), dtype=np.float32),
        "image_input_idx": index[None],
    }


class PaddedLearner(Learner):
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
            attention_mask=additive(inputs["document_ids"], inputs["subsegment_ids"], embeds.dtype),
            position_ids=inputs["position_ids"],
            use_cache=False,
        ).last_hidden_state
        inner.language_model.config._attn_implementation = TREE_ATTENTION
        loss = response_loss(hidden, self.model.lm_head.weight, inputs["labels"], inputs["loss_weights"])
        return torch.stack([loss.cross_entropy.sum(), loss.z.sum()])


def measure_packing(name: str, kind: dict[str, Any], examples: int = 16) -> dict[str, float]:
    """Compare how many tokens are learned from in a second of processor time, packed and padded."""
    sizes, learned = sample(kind, examples)
    learner = Learner(small_model(), TrainConfig())
    plainly = PaddedLearner(learner.model, TrainConfig())

    def run(learner: Learner, sequences: list[dict[str, np.ndarray]]) -> float:
        start = time.process_time()
        for arrays in sequences:
            learner.zero_grad()
            learner(arrays)[:2].sum().backward()
        return time.process_time() - start

    padded = [sequence([size], [count], LENGTH, CROPS) for size, count in zip(sizes, learned, strict=True)]
    model: Any = learner.model
    members = plan(sizes, length=PACKED, crops=4 * CROPS, ranks=1, cost=flops_of(model.config))[0]
    packed = []
    for numbers in members:
        mine = [sizes[n] for n in numbers]
        tokens, crops = sum(s.tokens for s in mine), sum(s.crops for s in mine)
        packed.append(sequence(mine, [learned[n] for n in numbers], tokens, crops))
    run(plainly, padded[:1])
    run(learner, packed[:1])
    plain, ours = run(plainly, padded), run(learner, packed)
    rate = f"{name}: useful loss tokens per second"
    return {
        f"{rate}, padded": sum(learned) / plain,
        f"{rate}, packed": sum(learned) / ours,
        f"{rate}, times the padded way": plain / ours,
    }


def measure_plan() -> dict[str, float]:
    """Measure how evenly a step of 256 examples is dealt to 8 ranks, and how long the plan takes."""
    cost = flops_of(preset("7B-D"))
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
    order = Order(tuple(rng.random(30)), tuple(rng.integers(1000, 10**6, 30).tolist()), 1)
    order.draws(0, 1)
    start = time.perf_counter()
    order.draws(30_000 * 256, 256)
    return {"seeking step 30,000 of batches of 256, s": time.perf_counter() - start}


def measure_workers() -> dict[str, float]:
    """Compare one worker with two, each on one core, over the same steps."""

    def per_step(config: TrainConfig, folder: Path, workers: int) -> float:
        times: list[float] = []
        run_workers(config, folder, workers, lambda step, report, rest: times.append(rest["seconds"]), threads=1)
        return statistics.median(times[3:])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = from_dict(
            {
                "model": "nano-fresh",
                "mixture": [{"kind": "sim-desktop", "options": {"width": 320, "height": 240, "most": 8}}],
                "steps": 12,
                "batch": 8,
                "length": 2304,
                "packing": False,
                "checkpoint_every": 100,
            }
        )
        one = per_step(config, folder / "one", 1)
        two = per_step(config, folder / "two", 2)
    return {
        "one worker, s per step": one,
        "two workers, s per step": two,
        "two workers, share of twice one's speed": one / two / 2,
    }


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--workers", action="store_true", help="also compare one worker with two: needs two idle cores"
    )
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
    for part in [*parts, *([measure_workers] if arguments.workers else [])]:
        results |= part()
    return finish(arguments, results, TARGETS, width=74)


if __name__ == "__main__":
    sys.exit(main())
