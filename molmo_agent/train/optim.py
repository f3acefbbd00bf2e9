"""Learning rates, parameter groups by component, and the optimizers' state in checkpoints.

Settings: docs/reference/training.md#optimizer-and-schedules.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from molmo_agent.train.muon import Muon

Component = Literal["connector", "vit", "llm"]
COMPONENTS: tuple[Component, ...] = ("connector", "vit", "llm")

# Parameters without weight decay, by parts of their names (the released recipes have no weight decay at all).
_NO_DECAY = (
    "embed_tokens",
    "layernorm",
    "layer_norm",
    "layrnorm",
    "language_model.norm.",
    "lambda1",
    "lambda2",
    "position_embedding",
    "class_embedding",
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine to ``final`` of the peak; steps count from 1."""

    peak: float
    warmup_steps: int
    max_steps: int
    # Learning rate at the start of the warm-up; None: a tenth of the peak.
    start: float | None = 0.0
    # The end, as a share of the peak.
    final: float = 0.1

    def at(self, step: int) -> float:
        """Return the learning rate of an update."""
        low = self.peak * self.final
        if step < self.warmup_steps:
            # A tenth of the peak, whatever ``final`` is.
            start = self.peak * 0.1 if self.start is None else self.start
            return start + (self.peak - start) * min(step, self.warmup_steps) / self.warmup_steps
        if step >= self.max_steps:
            return low
        # The cosine runs from the end of this component's own warm-up.
        done = (step - self.warmup_steps) / (self.max_steps - self.warmup_steps)
        return low + (self.peak - low) * (1 + math.cos(math.pi * done)) / 2


def component_of(name: str) -> Component:
    """Return the component of a parameter by its name. The extra embedding rows belong to the connector."""
    if "connector." in name or name.endswith("embed_tokens.new_weight"):
        return "connector"
    return "vit" if "vision_tower." in name else "llm"


def group_of(name: str) -> str:
    """Return the name of a parameter's group, such as "vit_no_decay".

    Norms of queries and keys, biases and pad embeddings are not exempt from decay in the authors' code.
    """
    exempt = any(part in name for part in _NO_DECAY)
    return f"{component_of(name)}_{'no_decay' if exempt else 'decay'}"


def parameter_groups(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], rates: Mapping[Component, float], weight_decay: float = 0.0
) -> list[dict[str, object]]:
    """Return parameter groups for an optimizer, one per component and decay, with their ``name`` and ``component``."""
    groups: dict[str, dict[str, object]] = {}
    for name, parameter in parameters:
        key = group_of(name)
        if key not in groups:
            component = component_of(name)
            decay = 0.0 if key.endswith("no_decay") else weight_decay
            groups[key] = {
                "name": key,
                "component": component,
                "lr": rates[component],
                "weight_decay": decay,
                "params": [],
            }
        members = groups[key]["params"]
        assert isinstance(members, list)
        members.append(parameter)
    return list(groups.values())


class MuonWithAdamW:
    """Muon for the matrices inside of blocks and connector, AdamW for everything else, used as one optimizer."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.parts: tuple[torch.optim.Optimizer, ...] = (muon, adamw)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Update all weights."""
        for part in self.parts:
            part.step()


AnyOptimizer = torch.optim.Optimizer | MuonWithAdamW


def parts_of(optimizer: AnyOptimizer) -> tuple[torch.optim.Optimizer, ...]:
    """Return the optimizers that an optimizer consists of."""
    return optimizer.parts if isinstance(optimizer, MuonWithAdamW) else (optimizer,)


def is_inner_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is a matrix inside of a block or the connector, which Muon is made for."""
    inside = ".layers." in name or "connector.p" in name
    return parameter.ndim == 2 and inside and "pad_embed" not in name


# The optimizers' state per weight, in addition to the number of steps.
_MOMENTS: dict[type, tuple[str, ...]] = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq"), Muon: ("momentum",)}


def tensors(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: dict[str, Tensor] | None = None,
    *,
    frozen: bool = False,
) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name; missing averages of the optimizers are created as zeros.

    Args:
        model: the weights.
        optimizers: AdamW or Muon.
        ema: moving averages of the weights, by name.
        frozen: include frozen weights; by default they are left out, since they equal the initial ones.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    state: dict[str, Any] = {f"model.{name}": p.data for p, name in names.items() if frozen or p.requires_grad}
    for optimizer in optimizers:
        keys = _MOMENTS[type(optimizer)]
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            moments = optimizer.state[parameter]
            if not moments:
                moments |= {key: torch.zeros_like(parameter) for key in keys}
                if isinstance(optimizer, torch.optim.AdamW):
                    device = parameter.device if optimizer.defaults["fused"] else None
                    moments["step"] = torch.zeros((), device=device)
            state |= {f"{key}.{names[parameter]}": moments[key] for key in keys}
    return state | {f"ema.{name}": average for name, average in (ema or {}).items()}


def set_step(optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Set the number of steps in AdamW's state."""
    for optimizer in optimizers:
        for moments in optimizer.state.values():
            if "step" in moments:
                moments["step"].fill_(step)
