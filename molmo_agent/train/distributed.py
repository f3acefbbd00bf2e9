"""Collective operations of a run's ranks. Without a process group there is one rank."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_rank() -> int:
    """Return the number of this rank, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def backends(device_type: str) -> str:
    """Return the process group's backends for ranks that compute on "cpu" or "cuda".

    There is always one for the CPU, where counts, verdicts and norms are reduced; that of a GPU knows no CPU tensors.
    """
    return "cpu:gloo,cuda:nccl" if device_type == "cuda" else "cpu:gloo"


def own_device() -> torch.device:
    """Return this rank's device: its GPU if the process group has a backend for it, else the CPU.

    So whoever starts the ranks decides. Without a process group it is the GPU if there is one.
    """
    on_gpu = torch.cuda.is_available() and (not dist.is_initialized() or "cuda:" in dist.get_backend_config())
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def all_reduce_sum(*values: Tensor) -> Tensor:
    """Return the sums over all ranks of n scalars, as one (n,) float64 tensor."""
    sums = torch.stack([value.detach().double() for value in values])
    if dist.is_initialized():
        dist.all_reduce(sums)
    return sums


def mean_over_ranks(values: dict[str, float], weight: float) -> dict[str, float]:
    """Return the weighted means of all ranks' values by name; ranks of weight 0 may lack names.

    Args:
        values: of this rank.
        weight: of this rank, at least 0.
    """
    if world_size() == 1:
        return values
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, (values, weight))
    total = sum(share for _, share in parts)
    names = dict.fromkeys(name for part, share in parts if share for name in part)
    return {name: sum(part[name] * share for part, share in parts if share) / total for name in names}


def all_reduce_max(value: int) -> int:
    """Return the largest value of all ranks."""
    if not dist.is_initialized():
        return value
    largest = torch.tensor(value)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def average_gradients(model: nn.Module) -> None:
    """Average the gradients of weights that are not sharded over all ranks, in one all-reduce."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None and not isinstance(p.grad, DTensor)]
    if world_size() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
