"""The configuration of a training run: frozen dataclasses, read from YAML and overridden by ``key=value``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from molmo_agent.data.source import Source
from molmo_agent.errors import UnknownNameError, UsageError

# Far more than any training needs; a slip of the keyboard would fill the memory or take for ever.
_MOST = {"steps": 1_000_000_000, "batch": 1_000_000, "length": 10_000_000, "max_crops": 1_000, "prefetch": 100_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Learning rate of one component."""

    peak: float
    warmup_steps: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """AdamW with a schedule per component: docs/reference/training.md#optimizer-and-schedules.

    With ``muon``, the matrices inside of blocks and connector are updated by Muon, at that rate.
    """

    vit: Rate = Rate(peak=5e-6)
    connector: Rate = Rate(peak=5e-6)
    llm: Rate = Rate(peak=1e-5)
    # For small models that are trained from scratch; requires sharding: none.
    muon: Rate | None = None
    # End of the cosine, as a share of the peak.
    final: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-6
    weight_decay: float = 0.0
    # Maximum gradient norm: of each component, or of all together ("global").
    clip: float = 1.0
    clip_by: Literal["component", "global"] = "component"
    z_loss: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters on the decoder, through PEFT."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    # "4bit": the weights under the adapters are stored in four bits (QLoRA); requires sharding: none.
    base: Literal["full", "4bit"] = "full"
    targets: str = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartModel:
    """A model to start from that is first made of two others, as ``agent start`` does (model/start_model.py)."""

    # Folder or hub name of a CLIP, MetaCLIP, SigLIP or DINOv2 checkpoint, and of a language model.
    vision: str
    language: str
    crop_size: int | None = None
    margins: tuple[int, int] = (4, 4)
    max_crops: int = 12
    crop_mode: Literal["overlap", "resize"] = "overlap"
    pooling: Literal["attention", "mean", "stack"] = "attention"
    pooling_size: int = 2
    vit_layers: tuple[int, ...] | None = None
    # Whether the tokenizer gets a token for each coordinate: the dialect molmo-tokens.
    point_tokens: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What is measured during a run, on examples that it does not train on."""

    # Number of steps between measurements; the last step is measured too.
    every: int = 100
    # Data sets of their own; by default the hold-out sets of the run's mixture (hold_out).
    mixture: tuple[Source, ...] = ()
    # Maximum number of examples of each data set, spread evenly.
    examples: int = 64
    # So many of all examples are also answered by the model, for the page and for the rate of right answers.
    generate: int = 8
    # Maximum length of an answer in tokens.
    max_new_tokens: int = 64
    # Maximum number of crops of an image; by default that of training.
    max_crops: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that determines the result of a run."""

    # Folder or hub name of a checkpoint, or "nano".
    model: str = "nano"
    # In place of it: written to the run's folder before the first step.
    start: StartModel | None = None
    mixture: tuple[Source, ...] = ()
    # Weight of each group of data sets, relative to other groups and to the rates of data sets without a group.
    groups: dict[str, float] = field(default_factory=dict)
    # Base folder of the mixture's relative paths.
    home: str | None = None
    steps: int = 1000
    # Examples per step, over all workers.
    batch: int = 8
    # Maximum number of tokens of a sequence; annotations that do not fit are dropped and counted.
    length: int = 2304
    max_crops: int = 12
    # "role": questions and answers. "none": captions without roles.
    message_format: Literal["role", "none"] = "role"
    # Prefix of a question: the task's style, which demo styles mostly lack; the style of every question ("tag"); the
    # style with a length; or nothing.
    prefix: Literal["style", "tag", "length", "none"] = "style"
    # Weight of each of n annotations that share an image: 1/sqrt(n) ("root"), or 1 ("one").
    weighting: Literal["root", "one"] = "root"
    # Whether several examples may share a sequence.
    packing: bool = True
    optimizer: Optimizer = Optimizer()
    # The loss is divided by the weight of the global batch. "local": each worker divides by the weight of its own part,
    # as most trainers do; then the number of workers changes the result.
    loss_divisor: Literal["global", "local"] = "global"
    residual_dropout: float = 0.0
    answer_dropout: float = 0.0
    # Frozen components.
    freeze: tuple[Literal["vit", "connector", "llm"], ...] = ()
    lora: Lora | None = None
    # Decay of a moving average of the weights; if set, the average is exported.
    ema: float | None = None
    # Of the computation. The weights have their own: in bf16, they and the optimizer's averages take half the memory,
    # and the loss is measurably worse (figure 8 of the paper).
    precision: Literal["fp32", "bf16"] = "fp32"
    weights: Literal["fp32", "bf16"] = "fp32"
    activation_checkpointing: bool = False
    # Compile every layer (torch.compile): minutes at the start, faster steps on GPUs.
    compile: bool = False
    # "full": weights, gradients and optimizer state are sharded over all workers. "hybrid": over groups of `shard_size`
    # workers (default: those of one machine), each group with its own copy. "none": each worker has all of them, which
    # is faster if they fit.
    sharding: Literal["full", "hybrid", "none"] = "full"
    shard_size: int | None = None
    seed: int = 6198
    data_seed: int = 50189
    checkpoint_every: int = 500
    keep: int = 2
    # Number of steps whose batches are prepared in advance, each on its own thread.
    prefetch: int = 2
    # Loggers in addition to metrics.jsonl.
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    # Measurements on examples that are not trained on; the checkpoint with the smallest loss is kept.
    validate: Validation | None = None
    # Layouts of the exported model: "own" for this package, "official" for servers of the released models.
    export: tuple[Literal["own", "official"], ...] = ("own",)


class Run(Protocol):
    """The common part of all configs: fine-tuning (:class:`TrainConfig`), or a kind of run from the registry."""

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the run."""

    @property
    def seed(self) -> int:
        """Seed of all randomness."""

    @property
    def checkpoint_every(self) -> int:
        """Number of steps between checkpoints."""

    @property
    def keep(self) -> int:
        """Number of checkpoints to keep."""

    @property
    def loggers(self) -> tuple[Literal["tensorboard", "wandb"], ...]:
        """Loggers in addition to metrics.jsonl."""


def check(config: TrainConfig) -> TrainConfig:
    """Validate a config and return it.

    Raises:
        UsageError: a value is out of range, or values contradict each other.
    """
    if not config.mixture:
        raise UsageError("expected a mixture of at least one data set, got none; add one under 'mixture'")
    _check_groups(config)
    rates = [*(source.rate for source in config.mixture if source.group is None), *config.groups.values()]
    if min(rates) < 0 or not math.isfinite(sum(rates)) or sum(rates) <= 0:
        raise UsageError(f"expected rates of the mixture that are not negative and not all zero, got {rates}")
    for name in ("steps", "batch", "length", "max_crops", "checkpoint_every", "keep", "prefetch"):
        if getattr(config, name) < 1:
            raise UsageError(f"expected {name} to be at least 1, got {getattr(config, name)}")
    for name, most in _MOST.items():
        if getattr(config, name) > most:
            raise UsageError(f"expected {name} to be at most {most}, got {getattr(config, name)}")
    if config.weights == "bf16" and config.precision != "bf16":
        raise UsageError("weights in bf16 cannot be computed with in fp32: set precision=bf16 with weights=bf16")
    if config.shard_size is not None and (config.sharding != "hybrid" or config.shard_size < 1):
        raise UsageError(
            f"expected shard_size to be at least 1, with sharding=hybrid; got {config.shard_size} and "
            f"sharding={config.sharding}"
        )
    if config.lora and config.lora.base == "4bit" and config.sharding != "none":
        raise UsageError("weights in four bits cannot be sharded: set sharding=none with lora.base=4bit")
    if config.optimizer.muon and config.sharding != "none":
        raise UsageError("Muon needs whole matrices: set sharding=none with optimizer.muon")
    if config.validate is not None:
        _check_validation(config, config.validate)
    return config


def _check_validation(config: TrainConfig, validate: Validation) -> None:
    for name, least in (("every", 1), ("examples", 1), ("generate", 0), ("max_new_tokens", 1), ("max_crops", 1)):
        value = getattr(validate, name)
        if value is not None and value < least:
            raise UsageError(f"expected validate.{name} to be at least {least}, got {value}")
    if not validate.mixture and not any(source.hold_out for source in config.mixture):
        raise UsageError(
            "expected data to validate on, got none: set hold_out of a data set (mixture.0.hold_out=10 holds out every "
            "tenth row), or list data sets under validate.mixture"
        )
    for number, source in enumerate(validate.mixture):
        if source.hold_out or source.group is not None:
            raise UsageError(
                f"expected validate.mixture[{number}] without hold_out and group, got {source.hold_out} and "
                f"{source.group!r}: all of its rows are for validation"
            )


def _check_groups(config: TrainConfig) -> None:
    for number, source in enumerate(config.mixture):
        if source.group is not None and source.group not in config.groups:
            raise UnknownNameError(f"group of mixture[{number}]", source.group, config.groups)
        if source.size is not None and source.size < 1:
            raise UsageError(f"expected mixture[{number}].size to be at least 1, got {source.size}")
        if source.share is not None and not 0 < source.share <= 1:
            raise UsageError(f"expected mixture[{number}].share to be a fraction above 0, up to 1, got {source.share}")
        if source.rows is not None and (source.rows < 1 or source.share is not None):
            raise UsageError(
                f"expected mixture[{number}].rows to be at least 1, and without 'share'; got rows={source.rows} and "
                f"share={source.share}"
            )
        if source.draw < 0:
            raise UsageError(f"expected mixture[{number}].draw to be at least 0, got {source.draw}")
        if source.hold_out and (source.hold_out < 2 or config.model == "nano-fresh"):
            raise UsageError(
                f"expected mixture[{number}].hold_out to be 0, or at least 2 and a model that can be asked before; "
                f"got {source.hold_out} and {config.model!r}"
            )
    for name in config.groups:
        if all(source.group != name for source in config.mixture):
            raise UsageError(f"expected a data set of the group {name!r}, found none; remove it from 'groups'")


def source_names(mixture: Sequence[Source]) -> list[str]:
    """Return the names of a mixture's data sets, made unique."""
    names: list[str] = []
    for source in mixture:
        name = source.name or source.kind
        names.append(name if name not in names else f"{name} {len(names)}")
    return names
