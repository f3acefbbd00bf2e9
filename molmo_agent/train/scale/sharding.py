"""Shard a model over ranks (FSDP2), in full or within groups of ranks, and compile its layers."""

import os
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from molmo_agent.errors import UsageError
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.distributed import own_device, world_size


def layers(model: Any) -> Iterator[nn.Module]:
    """Yield the blocks of decoder and vision tower of a ``MolmoForConditionalGeneration``."""
    inner = model.model
    tower = inner.vision_tower.encoder
    yield from inner.language_model.layers
    yield from tower.layers if hasattr(tower, "layers") else tower.layer


def shard_size(config: TrainConfig) -> int:
    """Return the number of ranks that share one copy of the weights.

    Raises:
        UsageError: the number of ranks is no multiple of it.
    """
    ranks = world_size()
    if config.sharding == "none":
        return 1
    if config.sharding == "full":
        return ranks
    size = config.shard_size or int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    if ranks % size:
        raise UsageError(
            f"expected a number of workers that is a multiple of shard_size, got {ranks} workers and groups of {size}; "
            "set shard_size to a divisor of the number of workers, or sharding=full"
        )
    return size


def device_mesh(config: TrainConfig) -> DeviceMesh:
    """Return the mesh of all ranks: one dimension for full sharding; copies, then shards for hybrid sharding."""
    device, ranks, size = own_device().type, world_size(), shard_size(config)
    if config.sharding == "hybrid":
        return init_device_mesh(device, (ranks // size, size), mesh_dim_names=("replicate", "shard"))
    return init_device_mesh(device, (ranks,))


def shard(model: Any, config: TrainConfig) -> Any:
    """Shard weights, gradients and optimizer state of a ``ModelWithLoss``, block by block.

    With hybrid sharding, each group of ``shard_size`` ranks holds one copy: weights are gathered within a group only
    (on one machine, over its fast links), and gradients are averaged over all groups.

    Raises:
        UsageError: the number of ranks is no multiple of ``shard_size``.
    """
    mesh = device_mesh(config)
    for layer in layers(model.model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def compile_layers(model: Any, backend: str = "inductor") -> None:
    """Compile each block of a ``MolmoForConditionalGeneration`` by itself, for sequences of any length.

    Blocks of a kind share their code, so this takes as long for 80 layers as for one. Call it after adapters and
    activation checkpointing, and before sharding.
    """
    for layer in layers(model):
        layer.compile(backend=backend, dynamic=True)
