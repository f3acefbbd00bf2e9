"""Translate the configuration of released checkpoints to ours."""

from collections.abc import Mapping
from typing import Any

LAYOUT = "molmo-0924"
"""Value of ``config.checkpoint_layout`` while weights in the released layout are to be read."""


# End-of-text ids of the released models by vocabulary size; their configs do not contain them.
_END_IDS = {152064: 151643, 100278: 100257, 50280: 50279}


def is_official(fields: Mapping[str, Any]) -> bool:
    """Return whether config fields are those of a released repository or of the authors' training code."""
    return "vision_config" not in fields and ("d_model" in fields or "norm_after" in fields or "qkv_bias" in fields)


def translate_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of our config for those of a released one, hub names or training names.

    Raises:
        ValueError: a feature that no released model has and that this code would get wrong.
    """

    def get(*names: str, default: Any = None) -> Any:
        return next((fields[name] for name in names if fields.get(name) is not None), default)

    width, heads = get("hidden_size", "d_model"), get("num_attention_heads", "n_heads")
    unknown = {name: fields[name] for name in ("clip_qkv", "scale_logits", "include_bias") if fields.get(name)}
    if get("tie_word_embeddings", "weight_tying"):
        unknown["weight_tying"] = True
    # A dump of all fields names experts whatever the blocks are; hub configs may leave the block type out.
    block = get("block_type", default="moe" if get("moe_num_experts") else "sequential")
    if block not in ("sequential", "moe"):
        unknown["block_type"] = block
    if block == "moe":
        unknown |= {name: True for name in ("moe_interleave", "moe_shared_expert") if fields.get(name)}
    if unknown:
        raise ValueError(f"expected a config like those of the released models, got {unknown}, which none of them has")
    # The training code's own defaults.
    experts = get("moe_num_experts", default=8) if block == "moe" else 0
    # The field counts gate and up together.
    inner = get("intermediate_size", "mlp_hidden_size", default=int(get("mlp_ratio", default=4) * width)) // 2
    vocabulary = get("vocab_size")
    end = get("eos_token_id", default=_END_IDS.get(vocabulary))
    text: dict[str, Any] = {
        "model_type": "olmoe" if experts else "olmo2" if get("norm_after") else "qwen2",
        "vocab_size": get("embedding_size", default=vocabulary),
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": get("num_hidden_layers", "n_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("num_key_value_heads", "n_kv_heads", default=heads),
        "max_position_embeddings": get("max_position_embeddings", "max_sequence_length", default=4096),
        "rms_norm_eps": get("layer_norm_eps", default=1e-5),
        "rope_parameters": {"rope_type": "default", "rope_theta": get("rope_theta", default=10000.0)},
        "initializer_range": get("initializer_range", default=0.02),
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": None,
    }
    if experts:
        text |= {"num_experts": experts, "num_experts_per_tok": get("moe_top_k", default=2), "norm_topk_prob": False}
    translated: dict[str, Any] = {
        "text_config": text,
        "projector_hidden_size": inner,
        "bos_token_id": end,
        "eos_token_id": end,
        "checkpoint_layout": LAYOUT,
        "additional_vocab_size": get("additional_vocab_size", default=128),
        # Behind the tokenizer's own, maybe in spare rows: docs/reference/preprocessing.md#special-tokens.
        **{f"image_{name}_token_id": vocabulary + i for i, name in enumerate(("start", "end", "patch", "column"))},
    }
    vision = get("vision", "vision_backbone")
    if vision:
        translated |= _translate_vision(vision)
    if get("vit_layers") is not None:
        translated["vit_layers"] = tuple(fields["vit_layers"])
    if "image_pooling_2d" in fields:
        pooling = str(get("image_pooling_2d"))
        translated["pooling"] = (
            "attention" if pooling.startswith("attention") else "mean" if pooling == "mean" else "stack"
        )
    if "crop_mode" in fields or "image_padding_embed" in fields:  # the training code's own config
        translated["pad_embed"] = bool(get("image_padding_embed"))
    for name in ("dtype", "torch_dtype"):
        if fields.get(name) is not None:
            translated["dtype"] = fields[name]
    return translated


def _translate_vision(vision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vision fields of our config for the training code's."""
    heads, head_dim = vision["image_num_heads"], vision["image_head_dim"]
    tower = {
        "model_type": "clip_vision_model",
        "hidden_size": vision["image_emb_dim"],
        "intermediate_size": vision["image_mlp_dim"],
        "num_hidden_layers": vision["image_num_layers"],
        "num_attention_heads": heads,
        "image_size": vision["image_default_input_size"][0],
        "patch_size": vision.get("image_patch_size", 14),
        "hidden_act": vision.get("image_mlp_activations", "quick_gelu"),
    }
    return {"vision_config": tower, "pooling_heads": heads, "pooling_head_dim": head_dim}
