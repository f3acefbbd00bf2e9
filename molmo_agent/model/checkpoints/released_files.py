"""The files beside the weights of a released repository, for servers and scripts that expect exactly those.

The code that reads them there is the authors'; these files only name the repository that has it.
"""

import json
from pathlib import Path
from typing import Any

from molmo_agent.files import write_whole
from molmo_agent.model.configuration import MolmoConfig

_DENSE = ("config_molmo", "modeling_molmo")
_SPARSE = ("config_molmoe", "modeling_molmoe")


def repository_of(config: MolmoConfig) -> str:
    """Return the released repository whose code reads checkpoints of this kind."""
    text: Any = config.text_config
    if text.model_type == "olmoe":
        return "allenai/MolmoE-1B-0924"
    if text.model_type == "olmo2":
        return "allenai/Molmo-7B-O-0924"
    return "allenai/Molmo-72B-0924" if text.hidden_size == 8192 else "allenai/Molmo-7B-D-0924"


def code_of_model(config: MolmoConfig) -> dict[str, str]:
    """Return the ``auto_map`` of config.json: where transformers finds config and model with ``trust_remote_code``."""
    configuration, modeling = _SPARSE if config.text_config.model_type == "olmoe" else _DENSE  # type: ignore[union-attr]
    repository = repository_of(config)
    return {
        "AutoConfig": f"{repository}--{configuration}.MolmoConfig",
        "AutoModelForCausalLM": f"{repository}--{modeling}.MolmoForCausalLM",
    }


def write_processor(processor: Any, config: MolmoConfig, target: Path) -> list[str]:
    """Write tokenizer, preprocessor_config.json and processor_config.json as a released repository has them.

    Returns:
        What the released code would do otherwise than this processor.
    """
    images, repository = processor.image_processor, repository_of(config)
    code = {
        "AutoImageProcessor": f"{repository}--image_preprocessing_molmo.MolmoImageProcessor",
        "AutoProcessor": f"{repository}--preprocessing_molmo.MolmoProcessor",
    }
    side = images.layout().pooled_side
    fields = {
        "auto_map": code,
        "base_image_input_size": [images.crop_size, images.crop_size],
        "do_normalize": True,
        "image_mean": list(images.image_mean),
        "image_padding_mask": True,
        "image_patch_size": images.patch_size,
        "image_processor_type": "MolmoImageProcessor",
        "image_std": list(images.image_std),
        "image_token_length_h": side,
        "image_token_length_w": side,
        "max_crops": images.max_crops,
        "overlap_margins": list(images.margins),
        "processor_class": "MolmoProcessor",
    }
    _write(target / "preprocessor_config.json", fields)
    both = {"auto_map": {"AutoProcessor": code["AutoProcessor"]}, "processor_class": "MolmoProcessor"}
    _write(target / "processor_config.json", both)
    processor.tokenizer.chat_template = processor.chat_template
    processor.tokenizer.save_pretrained(target)
    left = [("crop_mode", images.crop_mode, "overlap"), ("fast", images.fast, False)]
    left += [("pooling_size", images.pooling_size, 2)]
    return [
        f"its pictures are prepared with {name}={value!r}, which the released layout has no field for"
        for name, value, released in left
        if value != released
    ]


def write_config(model: Any, fields: dict[str, Any], target: Path) -> None:
    """Write config.json and generation_config.json."""
    _write(target / "config.json", fields | {"auto_map": code_of_model(model.config)})
    model.generation_config.save_pretrained(target)


def _write(path: Path, fields: dict[str, Any]) -> None:
    write_whole(path, json.dumps(fields, indent=2) + "\n")
