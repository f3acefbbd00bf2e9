"""Build an untrained Molmo from a vision encoder and a language model."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from molmo_agent.model.checkpoints.hub import places
from molmo_agent.model.checkpoints.untrusted import check_configs
from molmo_agent.model.configuration import MolmoConfig
from molmo_agent.model.vision_tower import NORMALIZATION, resize_positions

# CLIP's last block is left out, as in the released models; other encoders keep all of theirs, and give other layers.
_DROPPED_BLOCKS = {"clip_vision_model": 1}
_LAYERS = {"clip_vision_model": (-2, -9)}
_OTHER_LAYERS = (-3, -9)


def vision_tower(source: Any, dtype: torch.dtype) -> Any:
    """Return the vision tower of a checkpoint; for one of images and texts, its vision model."""
    check_configs(source, types=None)
    config: Any = AutoConfig.from_pretrained(source, **places(source))
    model: Any = AutoModel.from_pretrained(source, dtype=dtype, use_safetensors=True, **places(source))
    return model.vision_model if hasattr(config, "vision_config") else model


def _check_layers(config: MolmoConfig) -> None:
    """Check that the layers to read are outputs of the tower's blocks, or what goes into the first.

    Raises:
        ValueError: one is not.
    """
    first = -config.vision_config.num_hidden_layers - 1  # type: ignore[union-attr]
    layers = list(config.vit_layers)
    if not layers or not all(first <= layer < 0 for layer in layers):
        raise ValueError(
            f"expected layers of the vision encoder from -1, the last, to {first}, the embeddings, got {layers}; "
            "choose others (vit_layers, agent start --layers)"
        )


@torch.no_grad()
def from_backbones(
    cls: Any,
    vision: Any,
    language: Any,
    *,
    dtype: torch.dtype = torch.float32,
    crop_size: int | None = None,
    extra_tokens: int = 128,
    vocabulary: int | None = None,
    **changes: Any,
) -> Any:
    """Join a vision encoder and a language model; the connector between them is initialized randomly.

    Args:
        cls: the class to build.
        vision: folder or hub name of a CLIP, SigLIP or DINOv2 checkpoint.
        language: folder or hub name of a Qwen2, OLMo 2 or OLMoE checkpoint.
        dtype: of the weights.
        crop_size: side of a crop in pixels; learned positions are resized to it. Default: the encoder's image size.
        extra_tokens: number of embedding rows after the vocabulary, for the image tokens.
        vocabulary: number of tokens that the decoder is to know; new ones get random rows like those of the others.
        changes: other fields of the config.

    Raises:
        ValueError: parts that do not fit, with the names of the weights.
    """
    tower = vision_tower(vision, dtype)
    check_configs(language, types=None)
    decoder: Any = AutoModelForCausalLM.from_pretrained(language, dtype=dtype, use_safetensors=True, **places(language))
    if vocabulary is not None and vocabulary != decoder.config.vocab_size:
        decoder.resize_token_embeddings(vocabulary)
    sizes, text = tower.config.to_dict(), decoder.config.to_dict()
    kind = sizes["model_type"]
    sizes["num_hidden_layers"] -= _DROPPED_BLOCKS.get(kind, 0)
    if crop_size is not None:
        sizes["image_size"] = crop_size
    rows = text["vocab_size"]
    ids = {f"image_{name}_token_id": rows + i for i, name in enumerate(("start", "end", "patch", "column"))}
    fields: dict[str, Any] = {
        "vision_config": sizes,
        "text_config": text,
        "vit_layers": _LAYERS.get(kind, _OTHER_LAYERS),
        "pooling_heads": sizes["num_attention_heads"],
        "pooling_head_dim": sizes["hidden_size"] // sizes["num_attention_heads"],
        "projector_hidden_size": text["intermediate_size"],
        "additional_vocab_size": extra_tokens,
        **dict(zip(("image_mean", "image_std"), NORMALIZATION[kind], strict=True)),
        **ids,
    }
    config = MolmoConfig(**(fields | changes))
    _check_layers(config)
    model = cls(config).to(dtype)
    left: list[str] = []
    vision_weights = resize_positions(tower.state_dict(), kind, model.config.num_patches_per_side)
    for part, source in (
        (model.model.vision_tower, vision_weights),
        (model.model.language_model, decoder.model.state_dict()),
    ):
        own = part.state_dict()
        weights = {key: value for key, value in source.items() if key in own}
        # The extra rows are new; everything else must come from the checkpoint.
        left += [key for key in own if key not in weights and key != "embed_tokens.new_weight"]
        part.load_state_dict(weights, strict=False)
    if left:
        raise ValueError(
            f"expected every weight to come from {vision!r} or {language!r}, but these did not: {left[:5]}"
        )
    model.lm_head.weight.copy_(decoder.get_output_embeddings().weight)
    return model
