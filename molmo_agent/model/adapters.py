"""Low-rank adapters on the decoder, through PEFT: on its matrices, and on experts that are stored in one tensor."""

import difflib
import re
from typing import Any

import torch
from torch import Tensor, nn

from molmo_agent.errors import UsageError

# A stack of experts, and the matrices that it holds, by which patterns name it.
_STACKS = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}


def add_adapters(model: nn.Module, *, targets: str, rank: int, alpha: int, dropout: float = 0.0) -> None:
    """Add adapters to what ``targets`` names.

    Args:
        model: to be changed in place.
        targets: a regular expression for whole names, see :func:`adapter_targets`.
        rank: of each adapter, and of each expert's.
        alpha: an adapter is scaled by alpha / rank.
        dropout: on what enters an adapter.

    Raises:
        UsageError: the pattern, or one of its alternatives, names nothing that can have an adapter.
    """
    from peft import LoraConfig, inject_adapter_in_model

    modules, parameters = adapter_targets(model, targets)
    if parameters and dropout:
        raise UsageError(
            f"expected lora.dropout=0 with adapters on experts, got {dropout}: PEFT cannot drop what enters "
            "them; set it to 0, or lora.targets to the attention's matrices alone"
        )
    adapters = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=modules,
        target_parameters=parameters or None,
    )
    inject_adapter_in_model(adapters, model)


def adapter_targets(model: nn.Module, pattern: str) -> tuple[list[str], list[str]]:
    """Return the names of matrices, and of stacks of experts, that a pattern matches as a whole.

    A stack is matched by its own name, or by that of a matrix in it ("...experts.gate_proj").

    Raises:
        UsageError: nothing matches the pattern, or one of the alternatives in its brackets; near names are listed.
    """
    names = {name: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    stacks: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        stem, _, last = name.rpartition(".")
        if parameter.dim() == 3 and last in _STACKS:
            stacks |= {f"{stem}.{alias}": name for alias in (last, *_STACKS[last])}
    known = [*names, *stacks]
    for part in _alternatives(pattern):
        if not any(part.fullmatch(name) for name in known):
            raise UsageError(_matched_nothing(pattern, part, known))
    whole = re.compile(pattern)
    modules = [name for name in names if whole.fullmatch(name)]
    return modules, sorted({stack for alias, stack in stacks.items() if whole.fullmatch(alias)})


def merged(module: Any, down: Tensor, up: Tensor) -> Tensor:
    """Return what an adapter adds to its weight.

    Args:
        module: PEFT's layer.
        down: its A: (r, in); of a stack of E experts (E*r, in).
        up: its B: (out, r); of a stack (out, r*E), where the expert changes fastest.
    """
    scale = module.scaling["default"]
    experts = getattr(module, "num_experts", 1)
    if experts == 1:
        return scale * (up @ down)
    factors = up.reshape(len(up), -1, experts), down.reshape(experts, -1, down.shape[-1])
    # PEFT notes whether experts are stored as (out, in), which is what transformers' own do.
    sides = "eoi" if module._did_swap_in_out_features else "eio"
    return scale * torch.einsum(f"ore,eri->{sides}", *factors)


def _alternatives(pattern: str) -> list[re.Pattern[str]]:
    """Return the pattern with each alternative of each plain bracket alone: "(q|v)_proj" asks for both.

    Raises:
        UsageError: it is no regular expression.
    """
    try:
        parts = [re.compile(pattern)]
        for bracket in re.finditer(r"(?<!\\)\((?:\?:)?([\w.|]+)\)", pattern):
            for choice in bracket[1].split("|"):
                parts.append(re.compile(f"{pattern[: bracket.start()]}(?:{choice}){pattern[bracket.end() :]}"))
        return parts
    except re.error as error:
        raise UsageError(f"expected lora.targets to be a regular expression, got {pattern!r}: {error}") from error


def _matched_nothing(pattern: str, part: re.Pattern[str], known: list[str]) -> str:
    endings = sorted({name.rpartition(".")[2] for name in known})
    words = [word for word in re.findall(r"\w+", part.pattern) if word not in endings]
    near = sorted({match for word in words for match in difflib.get_close_matches(word, endings, 3, 0.6)})
    what = "" if part.pattern == pattern else f" of {pattern!r}"
    return (
        f"expected lora.targets to match names of matrices as a whole, but {part.pattern!r}{what} matches none"
        + (f"; did you mean {', '.join(near)}?" if near else ".")
        + f" Names end in {', '.join(endings)}, such as {next(iter(known), 'none')}"
    )
