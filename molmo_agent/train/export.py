"""Export a fine-tuned model: unsharded, with merged adapters, in the configured layouts."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from molmo_agent.data.source import Source
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.adapters import merged
from molmo_agent.model.prompts import AndroidForm
from molmo_agent.pointers.profile import read_profile
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.distributed import own_rank
from molmo_agent.train.starting_model import load_model, source_of
from molmo_agent.train.step import ModelWithLoss

# Data sets whose points are written in the dialect of their option; all others are written as Molmo does.
_WITH_DIALECT = ("pixmo-points", "pixmo-count")


def export(
    config: TrainConfig,
    model_with_loss: ModelWithLoss,
    processor: MolmoProcessor,
    folder: Path,
    ema: dict[str, Tensor] | None = None,
) -> None:
    """Write the trained model, or the moving average of its weights. Every rank must call this; the first one writes.

    Args:
        config: the run.
        model_with_loss: the trained model, sharded or not; ``ema`` overwrites its weights.
        processor: the model's.
        folder: of the checkpoint; the official layout is written to "export-official" next to it.
        ema: moving averages of the trained weights, by name.
    """
    if ema:
        with torch.no_grad():
            for name, parameter in model_with_loss.named_parameters():
                if name in ema:
                    parameter.copy_(ema[name])
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    full_state: Any = get_model_state_dict(model_with_loss, options=options)
    if own_rank() != 0:
        return
    weights = {name.removeprefix("model."): value for name, value in full_state.items()}
    if config.lora and config.lora.base == "4bit":
        # Add the adapters to the original weights, not to their quantized values.
        full = replace(config, lora=replace(config.lora, base="full"))
        original: dict[str, Tensor] = load_model(full)[0].state_dict()
        weights = {name: value for name, value in weights.items() if ".base_layer." not in name}
        weights |= {name: value for name, value in original.items() if name not in weights}
    model_config = copy.deepcopy(model_with_loss.model.config)
    if hasattr(model_config, "quantization_config"):
        del model_config.quantization_config
    model = MolmoForConditionalGeneration(model_config)
    model.load_state_dict(merge_adapters(weights, model_with_loss))
    model.save_pretrained(folder)
    trained_processor(config, processor).save_pretrained(folder)
    _publish(config, folder)


def merge_adapters(weights: dict[str, Tensor], model_with_loss: ModelWithLoss) -> dict[str, Tensor]:
    """Return weights with their low-rank adapters added, under the plain names."""
    state: dict[str, Tensor] = {}
    for name, value in weights.items():
        if ".lora_" not in name:
            state[name.replace(".base_layer", "")] = value  # stacks of experts have one for each tensor
    for full_name, module in model_with_loss.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "scaling"):
            stem = full_name.removeprefix("model.")
            down, up = (weights[f"{stem}.lora_{letter}.default.weight"] for letter in "AB")
            target = f"{stem.replace('.base_layer', '')}.{getattr(module, 'parameter_name', 'weight')}"
            state[target] = state[target] + merged(module, down, up)
    return state


def trained_processor(config: TrainConfig, processor: MolmoProcessor) -> MolmoProcessor:
    """Return a processor that prepares images as the run did; margins, sizes and crop mode are the processor's own."""
    processor = copy.deepcopy(processor)
    processor.image_processor.max_crops = config.max_crops
    return processor


def profile_changes(config: TrainConfig) -> dict[str, str]:
    """Return the fields of the pointing profile that the run decides: the model is asked as it was trained.

    A mixture with points all of whose questions have the same form decides how an instruction becomes a question, and
    the syntax of the points. A model that learns AndroidControl alone is asked with it, in the form that it learned:
    ``hl`` where that is one of several, because it needs the goal alone.
    """
    changes: dict[str, str] = {"message_format": config.message_format, "prefix": config.prefix}
    questions = {question for source in config.mixture if (question := _pointing_question(source))}
    if len(questions) == 1:
        changes |= {"question": questions.pop(), "dialect": "molmo"}
    dialects = {source.options.get("dialect") for source in config.mixture if source.kind in _WITH_DIALECT}
    if dialects == {"molmo-tokens"}:
        changes["dialect"] = "molmo-tokens"
    return changes | _policy_changes(config)


def _pointing_question(source: Source) -> str | None:
    """Return how a data set asks for points, as a profile's question; None if it does not, or in several ways."""
    match source.kind:
        case "points":
            return "{}" if source.options.get("wording") == "none" else "Point to {}"
        case "sim-desktop":
            return "{}"
        case "pixmo-points":
            return "Point to {}" if source.options.get("style", "pointing") == "pointing" else None
        case "pixmo-count":
            return "Point to {}" if source.options.get("style") == "pointing" else None
        case _:
            return None


def _policy_changes(config: TrainConfig) -> dict[str, str]:
    if any(source.kind != "android-control" for source in config.mixture):
        return {}
    # A data set without this option trains on all forms.
    forms = [form for source in config.mixture for form in source.options.get("forms", get_args(AndroidForm))]
    return {"policy": "android-control", "form": "hl" if "hl" in forms else forms[0]} if forms else {}


def _publish(config: TrainConfig, folder: Path) -> None:
    """Write the profile beside the weights, based on that of the starting model, and the official layout."""
    read_profile(source_of(config), **profile_changes(config)).write(folder)
    if "official" in config.export:
        from molmo_agent.model.checkpoints.convert import convert

        target = folder.with_name("export-official")
        shutil.rmtree(target, ignore_errors=True)
        convert(str(folder), target, "official")
