"""What a training run is: frozen dataclasses, read from YAML and changed by ``key=value``. Knows no torch."""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

from molmo_agent.data.source import Source
from molmo_agent.errors import UnknownNameError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Learning rate of one component."""

    peak: float
    warmup_steps: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """AdamW with a schedule for each component: docs/reference/training.md#optimizer-and-schedules."""

    vit: Rate = Rate(peak=5e-6)
    connector: Rate = Rate(peak=5e-6)
    llm: Rate = Rate(peak=1e-5)
    # Where the cosine ends, as a share of the peak.
    final: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-6
    weight_decay: float = 0.0
    # Most that each component's gradient norm may be.
    clip: float = 1.0
    z_loss: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters on the decoder, through PEFT."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    # "4bit": the weights under the adapters are kept in four bits (QLoRA); needs sharding: none.
    base: Literal["full", "4bit"] = "full"
    targets: str = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a run computes; the same config computes the same."""

    # Folder or hub name of a checkpoint, or "nano".
    model: str = "nano"
    mixture: tuple[Source, ...] = ()
    # Share of each group of data sets, relative to each other and to the rates of data sets without one.
    groups: dict[str, float] = field(default_factory=dict)
    # Folder that the paths of the mixture are relative to.
    home: str | None = None
    steps: int = 1000
    # Examples per step, over all workers.
    batch: int = 8
    # Most tokens of a sequence; longer examples lose their last annotations, and are counted.
    length: int = 2304
    max_crops: int = 12
    # "role": questions and answers. "none": captions without roles.
    message_format: Literal["role", "none"] = "role"
    # Prefix of a question: the task's style, the style with a length, or nothing.
    prefix: Literal["style", "length", "none"] = "style"
    # What annotations that share an image weigh: each of n 1/sqrt(n) ("root"), or 1 ("one").
    weighting: Literal["root", "one"] = "root"
    # Several examples may share a sequence.
    packing: bool = True
    optimizer: Optimizer = Optimizer()
    residual_dropout: float = 0.0
    answer_dropout: float = 0.0
    # Components that do not learn.
    freeze: tuple[Literal["vit", "connector", "llm"], ...] = ()
    lora: Lora | None = None
    # Decay of a moving average of the weights, which is what is exported.
    ema: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    activation_checkpointing: bool = False
    # "full": weights, gradients and averages are spread over all workers. "none": each has them all, which is faster
    # where they fit.
    sharding: Literal["full", "none"] = "full"
    seed: int = 6198
    data_seed: int = 50189
    checkpoint_every: int = 500
    keep: int = 2
    # Steps whose images are prepared ahead, each on a thread of its own.
    prefetch: int = 2
    # Where the numbers go beside metrics.jsonl.
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    # Layouts of the trained model: "own" loads here, "official" wherever the released models are served.
    export: tuple[Literal["own", "official"], ...] = ("own",)


class Run(Protocol):
    """What every kind of training run has: fine-tuning (:class:`TrainConfig`), or one that the registry names."""

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""

    @property
    def seed(self) -> int:
        """Seed of what is drawn at random."""

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""

    @property
    def keep(self) -> int:
        """Number of checkpoints that are kept."""

    @property
    def loggers(self) -> tuple[Literal["tensorboard", "wandb"], ...]:
        """Where the metrics go beside metrics.jsonl."""


def check(config: TrainConfig) -> TrainConfig:
    """Return a config that makes sense as a whole.

    Raises:
        UsageError: it does not.
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
    if config.lora and config.lora.base == "4bit" and config.sharding != "none":
        raise UsageError("weights in four bits cannot be spread over workers: set sharding=none beside lora.base=4bit")
    return config


def _check_groups(config: TrainConfig) -> None:
    for number, source in enumerate(config.mixture):
        if source.group is not None and source.group not in config.groups:
            raise UnknownNameError(f"group of mixture[{number}]", source.group, config.groups)
        if source.size is not None and source.size < 1:
            raise UsageError(f"expected mixture[{number}].size to be at least 1, got {source.size}")
        if source.hold_out and (source.hold_out < 2 or config.model == "nano-fresh"):
            raise UsageError(
                f"expected mixture[{number}].hold_out to be 0, or at least 2 and a model that can be asked before; "
                f"got {source.hold_out} and {config.model!r}"
            )
    for name in config.groups:
        if all(source.group != name for source in config.mixture):
            raise UsageError(f"expected a data set of the group {name!r}, found none; take it out of 'groups'")


def source_names(config: TrainConfig) -> list[str]:
    """Return what the data sets of a mixture are called, each name once."""
    names: list[str] = []
    for source in config.mixture:
        name = source.name or source.kind
        names.append(name if name not in names else f"{name} {len(names)}")
    return names
