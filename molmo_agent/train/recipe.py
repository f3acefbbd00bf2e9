"""Recipes: convert YAML files and key=value overrides to configs, and configs back to YAML."""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.parse import load_yaml, read_yaml
from molmo_agent.registry import RUN_KINDS, load_attribute
from molmo_agent.train.config import Run, TrainConfig, check
from molmo_agent.train.presets import merge_configs, preset

RECIPES = Path(__file__).parent / "recipes"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunKind:
    """A kind of training run; ``registry.RUN_KINDS`` lists those in addition to fine-tuning."""

    # A frozen dataclass, built from the recipe.
    config: type
    # Returns a valid config, or raises a UsageError.
    check: Callable[[Any], Run]
    # "module:name" of the train module's class, called with the config (see train_module.TrainModule).
    train_module: str


FINE_TUNING = RunKind(config=TrainConfig, check=check, train_module="molmo_agent.train.fine_tuning:FineTuning")
"""The kind of a recipe without the key of another kind."""


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Convert plain data to a field's type.

    Raises:
        UsageError: the value has another type.
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
        return build(kind, value, where)
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
    if kind is float and isinstance(value, str | int | float) and not isinstance(value, bool):
        return _float(value, where)
    if kind is int and isinstance(value, int) and abs(value) >= 2**63:
        raise UsageError(f"expected {where} to fit into 64 bits, got {value}")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"expected {where} to be {kind.__name__}, got {value!r}")
    return value


def _float(value: str | float, where: str) -> float:
    """Return a finite number; YAML reads 1e-5 as text.

    Raises:
        UsageError: the value is none.
    """
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UsageError(f"expected {where} to be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise UsageError(f"expected {where} to be a finite number, got {value!r}")
    return number


def build(kind: Any, data: Any, where: str) -> Any:
    """Return a dataclass of plain data.

    Args:
        kind: the dataclass.
        data: its fields by name.
        where: what the data are, for errors; empty for the whole file.

    Raises:
        UsageError: a key is unknown or missing, or a value has another type.
    """
    if not isinstance(data, Mapping):
        raise UsageError(f"expected {where or 'the config'} to be a mapping, got {data!r}")
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    for name in data:
        if name not in names:
            raise UnknownNameError(f"key of {where or 'the config'}", str(name), names)
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
    """Return the config of plain data: fine-tuning, unless a key indicates another kind of run.

    Raises:
        UsageError: a key is unknown (the message suggests the closest ones), or a value has the wrong type.
    """
    kinds = [_run_kind(key) for key in RUN_KINDS if key in data]
    kind = kinds[0] if kinds else FINE_TUNING
    return kind.check(build(kind.config, data, ""))


def _run_kind(key: str) -> RunKind:
    """Return the kind of run whose recipes have this key."""
    kind: RunKind = load_attribute(RUN_KINDS[key])
    return kind


def kind_of(config: Run) -> RunKind:
    """Return the kind of run of a config.

    Raises:
        TypeError: the config is of no registered kind.
    """
    if isinstance(config, FINE_TUNING.config):
        return FINE_TUNING
    for kind in map(_run_kind, RUN_KINDS):
        if isinstance(config, kind.config):
            return kind
    raise TypeError(f"expected the config of a training run, got {type(config).__name__}")


def to_dict(config: Run) -> dict[str, Any]:
    """Return a config as plain data, the inverse of :func:`from_dict`."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return value

    data: dict[str, Any] = plain(dataclasses.asdict(cast(Any, config)))
    return data


def with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Return a config as plain data with the keys that it lacks, at their defaults; unchanged if it is none.

    So the config of an older run can be compared with one that has new keys.
    """
    try:
        return to_dict(from_dict(data))
    except UsageError:
        return data


def to_yaml(config: Run) -> str:
    """Return a config as YAML."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def override(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply assignments ``key.inner=value`` to plain data; see :func:`set_value`. Values are parsed as YAML.

    Raises:
        UsageError: an assignment has no value, or its key does not exist in a list or a plain value.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, got {assignment!r}")
        set_value(data, path, load_yaml(text, where=f"the value of {path}"), where=assignment)
    return data


def set_value(data: dict[str, Any], path: str, value: Any, *, where: str) -> None:
    """Set one value of plain data in place.

    Args:
        data: of a recipe.
        path: keys joined by dots. Entries of a list are named by number, data sets also by ``name`` or ``kind``.
        value: None removes the entry of a list.
        where: what the value comes from, for errors.

    Raises:
        UsageError: the key does not exist in a list or a plain value.
    """
    node: Any = data
    *above, last = path.split(".")
    for part in above:
        if isinstance(node, list):
            node = node[_number(part, node, where)]
        elif isinstance(node, dict):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        else:
            raise UsageError(f"{where!r}: {part!r} has no parts to set")
    if isinstance(node, list) and value is None:
        del node[_number(last, node, where)]
    elif isinstance(node, list):
        node[_number(last, node, where)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UsageError(f"{where!r}: {last!r} cannot be set there")


def _number(part: str, entries: list[Any], where: str) -> int:
    """Return the number of the entry that a part of a path names."""
    if part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(entries):
        return int(part)
    for key in ("name", "kind"):
        matches = [n for n, entry in enumerate(entries) if isinstance(entry, dict) and entry.get(key) == part]
        if len(matches) > 1:
            raise UsageError(f"{where!r}: {len(matches)} entries have the {key} {part!r}; use their numbers: {matches}")
        if matches:
            return matches[0]
    raise UsageError(f"{where!r}: expected a number below {len(entries)} for {part!r}, or the name of an entry")


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load(recipe: str, assignments: Sequence[str] = ()) -> Run:
    """Read a recipe by name, or a YAML file by path, and apply assignments.

    Later sources override earlier ones: the recipe under the file's key ``like``, the preset under its key ``preset``,
    the file, the preset of an assignment ``preset=NAME``, all other assignments.

    Raises:
        UsageError: the recipe does not exist (the message suggests the closest names), the file is not YAML, a key is
            unknown, or a value is wrong.
    """
    return from_dict(assign(_recipe(recipe), assignments))


def assign(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's data with assignments, presets first; see :func:`load`."""
    for text in assignments:
        if text.startswith("preset="):
            data = merge_configs(data, preset(text.removeprefix("preset=")))
    return override(data, [text for text in assignments if not text.startswith("preset=")])


def _recipe(recipe: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe's data, merged over the recipe under its key ``like``."""
    if recipe in above:
        raise UsageError(f"the recipe {recipe!r} is based on itself ({' like '.join((*above, recipe))})")
    path = Path(recipe)
    if not (path.suffix in (".yaml", ".yml") and path.is_file()):
        path = RECIPES / f"{recipe}.yaml"
        if recipe not in recipe_names():
            raise UnknownNameError("recipe", recipe, recipe_names())
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UsageError(f"expected {path} to hold a mapping, got {type(data).__name__}")
    return resolve(data, (*above, recipe))


def resolve(data: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe's data merged over what its keys ``like`` and ``preset`` name.

    Args:
        data: of the recipe.
        above: the recipes that name this one, which it cannot be like.
    """
    own = {key: value for key, value in data.items() if key not in ("like", "preset")}
    base: dict[str, Any] = _recipe(str(data["like"]), above) if "like" in data else {}
    if "preset" in data:
        base = merge_configs(base, preset(str(data["preset"])))
    return merge_configs(base, own)
