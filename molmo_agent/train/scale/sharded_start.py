"""Start a sharded run: every rank reads its own shards from the checkpoint, and no machine holds a whole copy.

The model is built without memory (on torch's meta device) and sharded; then each rank allocates its shards and reads
the rows that belong to it.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.hub import remark
from molmo_agent.model.checkpoints.rows import Rows, local_folder, open_rows, read_config
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.distributed import own_device
from molmo_agent.train.scale.sharding import shard
from molmo_agent.train.starting_model import cast_weights, source_of, weights_dtype
from molmo_agent.train.step import ModelWithLoss

# Rows are read and converted in pieces of this size.
_PIECE_BYTES = 64_000_000

Prepare = Callable[[TrainConfig, MolmoForConditionalGeneration], Any]


def empty_model(config: Any, dtype: torch.dtype) -> MolmoForConditionalGeneration:
    """Return a model of a ``MolmoConfig`` on the meta device: names, shapes and types, but no memory."""
    with torch.device("meta"):
        model = MolmoForConditionalGeneration(config)
    cast_weights(model, dtype)
    return model


def start_sharded(config: TrainConfig, prepare: Prepare) -> tuple[ModelWithLoss, MolmoProcessor]:
    """Return the sharded model on this rank's device and its processor. All ranks must call this.

    Args:
        config: the run, with a checkpoint to start from.
        prepare: applies the config's frozen components, adapters and so on to a model on the meta device.

    Raises:
        UsageError: the checkpoint cannot be loaded, or the number of ranks does not fit the sharding.
    """
    source = source_of(config)
    try:
        folder = local_folder(source)
        processor: MolmoProcessor = MolmoProcessor.from_pretrained(folder, trust_remote_code=False)
        model = empty_model(read_config(folder), weights_dtype(config))
        with open_rows(folder, model) as rows:
            with torch.device("meta"):
                prepared = prepare(config, model)
            sharded: ModelWithLoss = shard(ModelWithLoss(prepared, config), config)
            sharded.to_empty(device=own_device())
            fill(sharded.model, rows)
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"expected a Molmo checkpoint at {source!r} to train from, but: {error}{remark(source)}"
        ) from error
    fill_buffers(sharded.model)
    initialize_adapters(sharded.model, config.seed)
    return sharded, processor


def first_row(parameter: Tensor) -> int:
    """Return the number of a whole weight's row with which this rank's shard begins."""
    if not isinstance(parameter, DTensor):
        return 0
    # FSDP shards rows over the last dimension of the mesh; the last ranks may have fewer rows, or none.
    mesh, rows = parameter.device_mesh, parameter.shape[0]
    chunk = -(-rows // mesh.size(-1))
    return min(chunk * mesh.get_local_rank(mesh.ndim - 1), rows)


def own_rows(parameter: Tensor) -> Tensor:
    """Return this rank's rows of a weight, without a copy."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


@torch.no_grad()
def fill(model: nn.Module, rows: Mapping[str, Rows]) -> None:
    """Read this rank's rows of all weights of a checkpoint; weights under adapters have the names without them.

    Raises:
        ValueError: a weight, not of an adapter, is not in the checkpoint.
    """
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        # Two stacks of the same experts are under two adapters, one inside the other.
        stored = rows.get(".".join(part for part in name.split(".") if part != "base_layer"))
        if stored is None:
            raise ValueError(f"the weight {name} is not in it")
        own, start = own_rows(parameter), first_row(parameter)
        row_bytes = max(own[:1].numel() * 4, 1)
        step = max(_PIECE_BYTES // row_bytes, 1)
        for at in range(0, len(own), step):
            piece = own[at : at + step]
            piece.copy_(stored.read(start + at, start + at + len(piece)))


def fill_buffers(model: Any) -> None:
    """Compute what is not in a checkpoint: frequencies and positions, which follow from the config."""
    for parameter in model.parameters():
        # transformers leaves such weights alone.
        parameter._is_hf_initialized = True
    model.initialize_weights()


@torch.no_grad()
def initialize_adapters(model: nn.Module, seed: int) -> None:
    """Draw the initial adapters by their names, so that any number of ranks starts from the same ones."""
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            continue
        whole = torch.zeros(parameter.shape)
        if ".lora_A." in name:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()))
            # PEFT's own: Kaiming's with a slope of sqrt(5).
            bound = parameter.shape[1] ** -0.5
            whole.uniform_(-bound, bound, generator=generator)
        own, start = own_rows(parameter), first_row(parameter)
        own.copy_(whole[start : start + len(own)])
