"""Learning rates and parameter groups by component: docs/reference/training.md#optimizer-and-schedules."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

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
