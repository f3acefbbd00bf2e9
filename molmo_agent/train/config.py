"""What a training run is: frozen dataclasses, read from YAML and changed by ``key=value``. Knows no torch."""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.train.presets import merged, preset
from molmo_agent.nano.curriculum import Curriculum
from molmo_agent.nano.curriculum import check as check_curriculum

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set of a mixture."""

    # Which reader (see train/data/sources.py), and where its files are.
    kind: str
    path: str | None = None
    # What its loss is called; by default the kind.
    name: str | None = None
    # Share of the examples; shares are relative to each other.
    rate: float = 1.0
    # Instead of a rate: one of the config's groups, whose share is divided by the square roots of sizes.
    group: str | None = None
    # How many rows it counts as in its group; by default as many as it has. All of them are used either way.
    size: int | None = None
    # Every nth row is kept from training and asked for afterwards (see train/held_out.py); 0: none is.
    hold_out: int = 0
    # What the reader takes besides.
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Learning rate of one component."""

    peak: float
    warmup_steps: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """AdamW with a schedule for each component (molmo-data-training-eval section 4.1)."""

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
    # What annotations that share a picture weigh: each of n 1/sqrt(n) ("root"), or 1 ("one").
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
    # Steps whose pictures are prepared ahead, each on a thread of its own.
    prefetch: int = 2
    # Where the numbers go beside metrics.jsonl.
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    # Layouts of the trained model: "own" loads here, "official" wherever the released models are served.
    export: tuple[Literal["own", "official"], ...] = ("own",)


Run = TrainConfig | Curriculum
"""Either kind of training run."""


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


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Turn plain data into a field's type.

    Raises:
        UsageError: it does not fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise UnknownNameError(f"value of {where}", str(value), [str(a) for a in arguments])
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UsageError(f"expected {where} to be a list, got {value!r}")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise UsageError(f"expected {where} to have {len(kinds)} entries, got {len(value)}")
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError(f"expected {where} to be a mapping, got {value!r}")
        return {
            _convert(arguments[0], k, f"a name in {where}"): _convert(arguments[1], v, f"{where}.{k}")
            for k, v in value.items()
        }
    if kind is float and isinstance(value, str):  # YAML reads 1e-5 as text
        try:
            return float(value)
        except ValueError:
            raise UsageError(f"expected {where} to be a number, got {value!r}") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"expected {where} to be {kind.__name__}, got {value!r}")
    return value


def _build(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UsageError(f"expected {where or 'the config'} to be a mapping, got {data!r}")
    hints = get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for name in data:
        if name not in known:
            raise UnknownNameError(f"key of {where or 'the config'}", str(name), known)
    values = {name: _convert(hints[name], value, f"{where}.{name}" if where else name) for name, value in data.items()}
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    if missing:
        raise UsageError(f"expected {where or 'the config'} to have {', '.join(missing)}")
    return kind(**values)


def from_dict(data: Mapping[str, Any]) -> Run:
    """Return the config that plain data describes: a curriculum, where it has stages.

    Raises:
        UsageError: an unknown key (the nearest are offered), or a value of the wrong type.
    """
    if "stages" in data:
        curriculum: Curriculum = check_curriculum(_build(Curriculum, data, ""))
        return curriculum
    config: TrainConfig = check(_build(TrainConfig, data, ""))
    return config


def to_dict(config: Run) -> dict[str, Any]:
    """Return a config as plain data: what :func:`from_dict` reads."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return value

    data: dict[str, Any] = plain(dataclasses.asdict(config))
    return data


def to_yaml(config: Run) -> str:
    """Return a config as YAML."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def override(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply ``key.inner=value`` (numbers count entries of lists) to plain data; values are read as YAML.

    Raises:
        UsageError: an assignment without a value, or into something that has no parts.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, got {assignment!r}")
        place: Any = data
        *above, last = path.split(".")
        for part in above:
            if isinstance(place, list):
                place = place[_number(part, place, assignment)]
            elif isinstance(place, dict):
                if place.get(part) is None:
                    place[part] = {}
                place = place[part]
            else:
                raise UsageError(f"{assignment!r}: {part!r} has no parts to set")
        value = yaml.safe_load(text)
        if isinstance(place, list):
            place[_number(last, place, assignment)] = value
        elif isinstance(place, dict):
            place[last] = value
        else:
            raise UsageError(f"{assignment!r}: {last!r} cannot be set there")
    return data


def _number(part: str, entries: list[Any], assignment: str) -> int:
    if not part.isdigit() or int(part) >= len(entries):
        raise UsageError(f"{assignment!r}: expected a number below {len(entries)} for {part!r}")
    return int(part)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come along."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load(recipe: str, assignments: Sequence[str] = ()) -> Run:
    """Read a recipe by name, or a YAML file by path, and change it.

    What comes later counts: the recipe that the file names under ``like``, the preset that it names under ``preset``,
    the file, the preset of an assignment ``preset=NAME``, all other assignments.

    Raises:
        UsageError: no such recipe (the nearest are offered), a file that is no YAML, an unknown key or a wrong value.
    """
    data = _recipe(recipe)
    for text in assignments:
        if text.startswith("preset="):
            data = merged(data, preset(text.removeprefix("preset=")))
    return from_dict(override(data, [text for text in assignments if not text.startswith("preset=")]))


def _recipe(recipe: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe's data over those that it is like."""
    if recipe in above:
        raise UsageError(f"the recipe {recipe!r} is like itself ({' like '.join((*above, recipe))})")
    path = Path(recipe)
    if not (path.suffix in (".yaml", ".yml") and path.is_file()):
        path = RECIPES / f"{recipe}.yaml"
        if recipe not in recipe_names():
            raise UnknownNameError("recipe", recipe, recipe_names())
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"expected {path} to be YAML, but: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"expected {path} to hold a mapping, got {type(data).__name__}")
    found: dict[str, Any] = {}
    if "like" in data:
        found = _recipe(str(data.pop("like")), (*above, recipe))
    if "preset" in data:
        found = merged(found, preset(str(data.pop("preset"))))
    return merged(found, data)
