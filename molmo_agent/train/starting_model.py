"""Load the initial model of fine-tuning: the embedded one, a checkpoint, or an untrained one."""

import hashlib
import json
import os
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.model.fit import check_fit
from molmo_agent.registry import UNTRAINED, load_attribute
from molmo_agent.train.config import TrainConfig


def start_place(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return a config that starts from the model that it says to make first; one without ``start`` as it is.

    Args:
        config: the run.
        folder: of the run, where the model is or will be.
    """
    if config.start is None:
        return config
    digest = hashlib.sha256(json.dumps(asdict(config.start)).encode()).hexdigest()[:8]
    return replace(config, model=str(folder / f"start-{digest}"))


def write_start(config: TrainConfig, folder: Path) -> TrainConfig:
    """Write the model that a config says to make first, unless it is there; return :func:`start_place`.

    Raises:
        UsageError: the choices do not fit the parts, or torchrun started this process as one of several.
        ModelError: a part cannot be read.
    """
    started = start_place(config, folder)
    place = Path(started.model)
    if config.start is not None and not place.exists():
        from molmo_agent.model.start_model import Start, write_start_model

        if "RANK" in os.environ:
            raise UsageError(
                "torchrun's processes cannot make the model of 'start' together: make it with agent start, and set "
                "model=FOLDER start=null"
            )
        choices = asdict(config.start)
        vision, language = choices.pop("vision"), choices.pop("language")
        write_start_model(vision, language, place, Start(**choices))
    return started


def load_model(config: TrainConfig) -> tuple[MolmoForConditionalGeneration, MolmoProcessor]:
    """Return the model to train and its processor. "nano" is the embedded model, "nano-fresh" an untrained one.

    Weights are in the config's precision; with QLoRA, those under the adapters are in four bits.

    Raises:
        UsageError: the checkpoint cannot be loaded.
        MissingExtraError: four bits need the extra ``quantize``.
    """
    if config.model in UNTRAINED:
        untrained: tuple[MolmoForConditionalGeneration, MolmoProcessor]
        untrained = load_attribute(UNTRAINED[config.model])(config.seed)
        cast_weights(untrained[0], weights_dtype(config))
        return untrained
    source = source_of(config)
    try:
        processor = MolmoProcessor.from_pretrained(source, **places(source))
        options = {"dtype": weights_dtype(config), **four_bits(config), **places(source)}
        model = MolmoForConditionalGeneration.from_pretrained(source, **options)
        check_fit(model.config, processor)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a Molmo checkpoint at {str(source)!r} to train from, but: {error}{remark(source)}"
        ) from error
    if config.lora and config.lora.base == "4bit":
        _tell_what_is_whole(model)
    return model, processor


def weights_dtype(config: TrainConfig) -> torch.dtype:
    """Return the type of a run's weights."""
    return torch.bfloat16 if config.weights == "bf16" else torch.float32


def cast_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert weights, but no buffers: frequencies of positions need their precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _tell_what_is_whole(model: MolmoForConditionalGeneration) -> None:
    """Warn where most of a decoder is not in four bits: bitsandbytes knows no stacks of experts."""
    whole = {name: p.numel() for name, p in model.model.language_model.named_parameters() if p.dim() == 3}
    if whole:
        rest = sum(p.numel() * (2 if p.dtype == torch.uint8 else 1) for p in model.model.language_model.parameters())
        endings = ", ".join(sorted({name.rpartition(".")[2] for name in whole}))
        warnings.warn(
            f"lora.base=4bit leaves {sum(whole.values()) / rest:.0%} of the decoder's weights whole, because four bits "
            f"do not reach experts ({endings}): plan their memory in float32",
            stacklevel=2,
        )


def four_bits(config: TrainConfig) -> dict[str, Any]:
    """Return the loading options for weights under adapters; empty for full precision."""
    if not config.lora or config.lora.base == "full":
        return {}
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("weights in four bits", "quantize") from error
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32,
        # The other modules are small, and are trained or sensitive to precision.
        llm_int8_skip_modules=["model.vision_tower", "model.connector", "lm_head"],
    )
    return {"quantization_config": settings}


def source_of(config: TrainConfig) -> str:
    """Return the folder or hub name that a run starts from."""
    from molmo_agent.pointers.nano import CHECKPOINT

    return str(CHECKPOINT) if config.model.startswith("nano") else config.model
