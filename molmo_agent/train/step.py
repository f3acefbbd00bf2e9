"""One optimizer step over a global batch, with the same result on any number of ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from molmo_agent.errors import ModelError
from molmo_agent.model.residual_dropout import ExampleSeeds
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.batching.tree_attention import Forest
from molmo_agent.train.config import Optimizer, Rate, TrainConfig, source_names
from molmo_agent.train.distributed import all_reduce_sum, average_gradients, world_size
from molmo_agent.train.losses import response_loss
from molmo_agent.train.muon import Muon
from molmo_agent.train.optim import (
    COMPONENTS,
    AnyOptimizer,
    Component,
    MuonWithAdamW,
    Schedule,
    component_of,
    is_inner_matrix,
    parameter_groups,
)

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepReport:
    """The results of a step, over all ranks."""

    loss: float
    cross_entropy: float
    z_loss: float
    accuracy: float
    # Number of target tokens, and the sum of their weights.
    loss_tokens: int
    weight: float
    gradient_norms: dict[str, float]
    learning_rates: dict[str, float]
    # Cross-entropy by data set.
    sources: dict[str, float]


class ModelWithLoss(nn.Module):
    """A model and its loss as one module, so that sharding handles one forward pass per sequence."""

    def __init__(self, model: Any, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        # Set it on the config: the model's own method would look for a kernel of this name on the hub.
        model.model.language_model.config._attn_implementation = TREE_ATTENTION
        self.z_scale, self.precision = config.optimizer.z_loss, config.precision
        self.num_sources = len(config.mixture)
        self.drops = bool(config.residual_dropout or config.answer_dropout or (config.lora and config.lora.dropout))

    def forward(self, arrays: Arrays) -> Tensor:
        """Return a vector of weighted sums over one packed sequence.

        Its entries are cross-entropy, z-loss and correct tokens, then the cross-entropy of each data set, then the
        weight of each data set.

        Args:
            arrays: from :func:`~molmo_agent.train.batching.encode.collate`, with a leading dimension of 1.
        """
        inner = self.model.model
        device = next(self.parameters()).device
        inputs = {name: torch.as_tensor(array).to(device) for name, array in arrays.items() if name != "seeds"}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            features = inner.get_image_features(inputs["pixel_values"], inputs["image_masks"])
            # Use the features even if none has a position: all ranks must run the same modules, or others would wait.
            unused = features.sum() * 0
            embeds = inner.embed(inputs["input_ids"], features, inputs["image_input_idx"]) + unused
            weights = inputs["loss_weights"]
            hidden = inner(
                inputs_embeds=embeds,
                forest=Forest.of(inputs["document_ids"][0], inputs["subsegment_ids"][0], embeds.dtype),
                position_ids=inputs["position_ids"],
                answer_mask=weights > 0,
                use_cache=False,
                **({"example_seeds": _example_seeds(arrays)} if self.drops else {}),
            ).last_hidden_state
            head = self.model.lm_head.weight
            part = response_loss(hidden, head, inputs["labels"], weights, z_scale=self.z_scale)
            has_target = (inputs["labels"] >= 0) & (weights > 0)
        sums = torch.stack([part.cross_entropy.sum(), part.z.sum(), part.correct.detach()])
        by_source = sums.new_zeros(2, self.num_sources)
        if self.num_sources and part.weight > 0:
            values = torch.stack([part.cross_entropy.detach(), weights[has_target]]).to(sums.dtype)
            by_source = by_source.index_add(1, inputs["source_ids"][has_target], values)
        return torch.cat([sums, by_source.flatten()])


def _example_seeds(arrays: Arrays) -> ExampleSeeds:
    return ExampleSeeds(tuple(arrays["seeds"][0].tolist()), tuple(np.bincount(arrays["document_ids"][0]).tolist()))


def make_optimizer(model: nn.Module, settings: Optimizer) -> AnyOptimizer:
    """Return AdamW with a group per component, without frozen parameters; with Muon for matrices if it has a rate."""
    rates: dict[Component, float] = {name: getattr(settings, name).peak for name in COMPONENTS}
    learning = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [p for name, p in learning if settings.muon and is_inner_matrix(name, p)]
    of_muon = set(matrices)
    rest = [(name, parameter) for name, parameter in learning if parameter not in of_muon]
    groups: Any = parameter_groups(rest, rates, settings.weight_decay)
    # One pass over each weight; torch's default makes a dozen on a CPU.
    adamw = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps, fused=True)
    if settings.muon is None or not matrices:
        return adamw
    group = {"name": "matrices", "component": "muon", "params": matrices}
    return MuonWithAdamW(Muon([group], lr=settings.muon.peak, weight_decay=settings.weight_decay), adamw)


def schedules(settings: Optimizer, steps: int) -> dict[str, Schedule]:
    """Return each component's schedule, and that of "muon" if it has a rate."""
    rates: dict[str, Rate] = {name: getattr(settings, name) for name in COMPONENTS}
    if settings.muon:
        rates["muon"] = settings.muon
    return {name: Schedule(r.peak, r.warmup_steps, steps, final=settings.final) for name, r in rates.items()}


@torch.no_grad()
def clip(model: nn.Module, max_norm: float, by: Literal["component", "global"] = "component") -> dict[str, float]:
    """Clip gradients in place to the norm ``max_norm``: each component's by its own norm, or all by their total.

    Returns:
        The norms before clipping, over all shards: of each component, and "total".
    """
    members: dict[Component, list[Tensor]] = {name: [] for name in COMPONENTS}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            members[component_of(name)].append(parameter.grad)

    def square(gradient: Tensor) -> Tensor:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        return torch.linalg.vector_norm(local, dtype=torch.float64).square().cpu()

    zero = torch.zeros((), dtype=torch.float64)
    squares = [sum(map(square, gradients), zero) for gradients in members.values()]
    meshes = (g.device_mesh for gradients in members.values() for g in gradients if isinstance(g, DTensor))
    mesh = next(meshes, None)
    # With hybrid sharding, the first dimension of the mesh is that of the copies, which all have the same gradients.
    copies = mesh.size(0) if mesh is not None and mesh.ndim > 1 else 1
    sums = torch.stack(squares) if mesh is None else all_reduce_sum(*squares) / copies
    norms = {name: math.sqrt(value) for name, value in zip(COMPONENTS, sums.tolist(), strict=True)}
    total = math.hypot(*norms.values())
    for name, gradients in members.items():
        factor = min(1.0, max_norm / ((norms[name] if by == "component" else total) + 1e-6))
        for gradient in gradients if factor < 1 else ():
            gradient.mul_(factor)
    return {str(name): norm for name, norm in norms.items()} | {"total": total}


def train_step(
    model: ModelWithLoss, optimizer: AnyOptimizer, sequences: Sequence[Arrays], config: TrainConfig, step: int
) -> StepReport:
    """Run one optimizer step on a rank's sequences of a global batch.

    The loss is the weighted mean over the tokens of all ranks: each rank's sum is divided by the global weight, and
    multiplied by the number of ranks, since gradients are averaged over ranks. With a local divisor the gradient is
    that of the mean of the ranks' own means; what is reported stays the mean over all tokens.

    Args:
        model: on its device, sharded if there are several ranks.
        optimizer: from :func:`make_optimizer`.
        sequences: of this rank; all ranks have the same number.
        config: the run.
        step: counted from 1.

    Raises:
        ModelError: the loss is not a number; the weights were not changed.
    """
    plan = schedules(config.optimizer, config.steps)
    rates = {name: schedule.at(step) for name, schedule in plan.items()}
    for group in optimizer.param_groups:
        group["lr"] = rates[group["component"]]
    optimizer.zero_grad(set_to_none=True)
    weights = [torch.as_tensor(arrays["loss_weights"]) for arrays in sequences]
    own_weight = torch.stack([w.double().sum() for w in weights]).sum()
    counts = all_reduce_sum(own_weight, torch.tensor(sum(int((w > 0).sum()) for w in weights)))
    weight = float(counts[0])
    divisor, times = (weight, world_size()) if config.loss_divisor == "global" else (float(own_weight), 1)
    sums = torch.zeros(3 + 2 * len(config.mixture), dtype=torch.float64)
    for arrays in sequences:
        part = model(arrays)
        ((part[0] + part[1]) / max(divisor, 1e-9) * times).backward()
        sums += part.detach().double().cpu()
    entropy_sum, z_sum, correct, *by_source = (float(value) for value in all_reduce_sum(*sums))
    loss = (entropy_sum + z_sum) / max(weight, 1e-9)
    if not math.isfinite(loss):
        optimizer.zero_grad(set_to_none=True)
        raise ModelError(
            f"the loss of step {step} is {loss}; the weights of step {step - 1} are unchanged: lower the learning "
            "rates, or try precision=fp32"
        )
    average_gradients(model)
    norms = clip(model, config.optimizer.clip, config.optimizer.clip_by)
    if not math.isfinite(norms["total"]):
        optimizer.zero_grad(set_to_none=True)
        raise ModelError(
            f"the gradients of step {step} are not finite (norm {norms['total']}) though its loss is {loss:.4g}; the "
            f"weights of step {step - 1} are unchanged: lower the learning rates, or try precision=fp32"
        )
    optimizer.step()
    return StepReport(
        loss=loss,
        cross_entropy=entropy_sum / max(weight, 1e-9),
        z_loss=z_sum / max(weight, 1e-9),
        accuracy=correct / max(weight, 1e-9),
        loss_tokens=int(counts[1]),
        weight=weight,
        gradient_norms=norms,
        learning_rates={str(name): rate for name, rate in rates.items()},
        sources={
            name: entropy / source_weight
            for name, entropy, source_weight in zip(
                source_names(config.mixture),
                by_source[: len(by_source) // 2],
                by_source[len(by_source) // 2 :],
                strict=True,
            )
            if source_weight > 0
        },
    )
