"""Plan a run before its GPUs are rented: parameters, memory per GPU, steps per second and GPU hours.

Needs neither weights nor GPUs: the model has shapes only. Sizes of examples are those of sampled examples where the
data can be read, else the largest that the recipe allows.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from molmo_agent.errors import MolmoAgentError, UnknownNameError, UsageError
from molmo_agent.model import MolmoConfig, MolmoProcessor
from molmo_agent.model.checkpoints.hub import places
from molmo_agent.model.checkpoints.rows import read_config
from molmo_agent.model.crops import CropLayout, image_token_counts
from molmo_agent.model.presets import PRESETS, preset
from molmo_agent.train.batching.data_loader import DataLoader, max_crops_of_sequence
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.batching.pack import plan as pack
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.fine_tuning import prepare
from molmo_agent.train.flops import PEAKS, Flops, visible_pairs
from molmo_agent.train.optim import COMPONENTS, component_of
from molmo_agent.train.scale.memory import Memory, estimate
from molmo_agent.train.scale.sharded_start import empty_model
from molmo_agent.train.starting_model import source_of, weights_dtype

MFU = {"dense": 0.17, "experts": 0.09}
"""Default share of the peak: what the GPU hours of the paper's table 8 mean for its recipes, whose sequences are padded
to 2,304 tokens and 13 crops. Its dense models reached 0.16 to 0.20, the one with experts 0.08 to 0.10."""

# Gigabytes of memory, by the names in flops.PEAKS (from the vendors' data sheets).
CAPACITIES = {
    "B200": 180,
    "H200": 141,
    "H100 PCIe": 80,
    "H100": 80,
    "A100": 80,
    "L40S": 48,
    "L4": 24,
    "A10": 24,
    "RTX 4090": 24,
    "RTX 5090": 32,
}
# Share of the memory that torch and the driver leave to a run.
_USABLE = 0.92
_SAMPLED_STEPS = 2


@dataclass(frozen=True, slots=True)
class ExampleSize:
    """An example's tokens and crops, the pairs of tokens that attend to each other, and the targets."""

    size: Size
    pairs: float
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run. Memory in bytes, times in s unless named otherwise."""

    # Where the shapes come from, and the sizes of examples.
    model: str
    contents: str
    # By component: all parameters, and those that are trained.
    parameters: dict[str, int]
    trained: dict[str, int]
    gpus: int
    gpu: str
    # Number of GPUs that share a copy of the weights.
    shards: int
    # Of the largest sequence; number of sequences per GPU and step.
    tokens: int
    crops: int
    sequences: int
    memory: Memory
    capacity: float
    flops_per_step: float
    mfu: float
    seconds_per_step: float
    gpu_hours: float

    @property
    def fits(self) -> bool:
        """Whether the peak is below the usable memory of a GPU."""
        return self.memory.peak <= _USABLE * self.capacity

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            **asdict(self),
            "memory": {**asdict(self.memory), "peak": self.memory.peak},
            "fits": self.fits,
            "steps_per_second": 1 / self.seconds_per_step,
        }


def gpu_named(name: str) -> str:
    """Return a GPU's name in :data:`PEAKS`, in any case.

    Raises:
        UnknownNameError: it is not in the table.
    """
    for known in PEAKS:
        if known.replace(" ", "").lower() == name.replace(" ", "").lower():
            return known
    raise UnknownNameError("GPU", name, list(PEAKS))


def shapes_of(config: TrainConfig) -> tuple[MolmoConfig, str]:
    """Return the config of the model that a run starts from, and where it comes from; nothing is downloaded.

    A folder's own config counts, then the size in the name of a checkpoint that is not here, such as
    ``allenai/Molmo-72B-0924`` or ``72B``.

    Raises:
        UsageError: neither is known, or the config is damaged.
    """
    source = source_of(config)
    folder = Path(source)
    if folder.is_dir():
        try:
            return read_config(folder), source
        except (OSError, ValueError) as error:
            raise UsageError(f"expected a Molmo checkpoint at {source!r} to plan for, but: {error}") from error
    for size in PRESETS:
        if size.lower() in folder.name.lower():
            return preset(size), f"the sizes of Molmo-{size}, by the name {source!r}"
    raise UsageError(
        f"expected a checkpoint at {source!r}, or a size in its name, but there is neither; name the size to plan for, "
        f"such as model=7B-D ({', '.join(PRESETS)})"
    )


def largest_example(config: TrainConfig, model: MolmoConfig) -> ExampleSize:
    """Return the largest example that a recipe allows: an image of the most crops, and text up to the length."""
    vision: Any = model.vision_config
    layout = CropLayout(crop_size=vision.image_size, patch_size=vision.patch_size, pooling_size=model.pooling_size)
    image = 0
    for rows in range(1, config.max_crops + 1):
        grid = rows, config.max_crops // rows
        image = max(image, sum(2 + r * (c + 1) for r, c in image_token_counts(grid, layout)))
    tokens = config.length
    return ExampleSize(
        Size(tokens, config.max_crops + 1), visible_pairs(tokens, ()), max(tokens - image, tokens // 10, 1)
    )


def sampled_examples(config: TrainConfig, model: MolmoConfig) -> list[ExampleSize] | str:
    """Return the sizes of the examples of the first steps; where model or data cannot be read, the reason."""
    source = source_of(config)
    if not Path(source).is_dir():
        return "the model is not here"
    try:
        processor = MolmoProcessor.from_pretrained(source, **places(source))
        loader = DataLoader(config, processor, Flops(model))
        encoded = [example for step in range(_SAMPLED_STEPS) for example in loader.encode_step(step)[0]]
    except (MolmoAgentError, OSError, ValueError) as error:
        return str(error)
    return [ExampleSize(e.size, e.num_pairs, e.num_targets) for e in encoded] or "no example could be used"


def plan_run(
    config: TrainConfig, *, gpus: int, gpu: str, mfu: float | None = None, examples: Sequence[ExampleSize] | None = None
) -> Plan:
    """Return the plan of a run.

    Args:
        config: the run.
        gpus: number of GPUs.
        gpu: their kind, a name of :data:`PEAKS` in any case.
        mfu: useful operations as a share of the peak; by default :data:`MFU`.
        examples: sizes of examples; by default sampled, or the largest.

    Raises:
        UsageError: the model's sizes are unknown, a number is out of range, or the GPUs do not fit the sharding.
    """
    if gpus < 1 or (mfu is not None and not 0 < mfu <= 1):
        raise UsageError(f"expected at least one GPU and an MFU between 0 and 1, got {gpus} and {mfu}")
    gpu = gpu_named(gpu)
    shapes, where = shapes_of(config)
    contents = "the given sizes"
    if examples is None:
        sampled = sampled_examples(config, shapes)
        if isinstance(sampled, str):
            examples = [largest_example(config, shapes)]
            contents = f"the largest that the recipe allows ({sampled})"
        else:
            examples, contents = sampled, f"{len(sampled)} sampled examples"
    examples = [examples[n % len(examples)] for n in range(max(config.batch, len(examples)))]
    flops = Flops(shapes)
    work = [
        flops.work(tokens=e.size.tokens, pairs=e.pairs, crops=max(e.size.crops, 1), targets=e.targets).step(
            config.freeze, adapters=config.lora is not None
        )
        for e in examples
    ]
    sizes = [example.size for example in examples]
    ranks = pack(
        sizes[: config.batch],
        length=config.length,
        crops=max_crops_of_sequence(config),
        ranks=gpus,
        cost=flops.cost,
        packing=config.packing,
    )
    packed = [
        (Size(sum(sizes[n].tokens for n in s), sum(sizes[n].crops for n in s)), sum(examples[n].targets for n in s))
        for rank in ranks
        for s in rank
    ]
    largest, targets = max(packed, key=lambda sequence: flops.cost(sequence[0]))
    slowest = max(sum(work[n] for sequence in rank for n in sequence) for rank in ranks)
    model = prepare_shapes(config, shapes)
    shards = shards_of(config, gpus)
    sequences = max(len(rank) for rank in ranks)
    share = mfu or MFU["experts" if getattr(shapes.text_config, "num_experts", None) else "dense"]
    seconds = slowest / (PEAKS[gpu] * share)
    return Plan(
        model=where,
        contents=contents,
        parameters=count_parameters(model, trained=False),
        trained=count_parameters(model, trained=True),
        gpus=gpus,
        gpu=gpu,
        shards=shards,
        tokens=largest.tokens,
        crops=largest.crops,
        sequences=sequences,
        memory=estimate(config, model, largest, targets=targets, shards=shards, sequences=sequences),
        capacity=CAPACITIES[gpu] * 1e9,
        flops_per_step=sum(work) / len(work) * config.batch,
        mfu=share,
        seconds_per_step=seconds,
        gpu_hours=seconds * config.steps * gpus / 3600,
    )


def prepare_shapes(config: TrainConfig, shapes: MolmoConfig) -> Any:
    """Return the run's model without memory: with its adapters and frozen weights."""
    import torch

    with torch.device("meta"):
        return prepare(config, empty_model(shapes, weights_dtype(config)))


def shards_of(config: TrainConfig, gpus: int) -> int:
    """Return the number of GPUs that share a copy of the weights; machines have up to eight.

    Raises:
        UsageError: the number of GPUs is no multiple of it.
    """
    if config.sharding == "none":
        return 1
    size = gpus if config.sharding == "full" else config.shard_size or math.gcd(gpus, 8)
    if gpus % size:
        raise UsageError(f"expected a number of GPUs that is a multiple of shard_size={size}, got {gpus}")
    return size


def count_parameters(model: Any, *, trained: bool) -> dict[str, int]:
    """Return the number of parameters by component."""
    counts: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or not trained:
            counts[component_of(name)] += parameter.numel()
    return counts
