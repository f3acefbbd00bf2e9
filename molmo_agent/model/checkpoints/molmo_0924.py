"""The released checkpoints' own layout: their config fields and weight names, and ours. Knows no images and no text.

One table of transforms serves both directions: loading goes through transformers' own weight conversion, which streams
tensor by tensor and knows devices, dtypes and quantisation; exporting runs the same table backwards.
Names and shapes: docs/reference/model.md#checkpoint-names.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    ConversionOps,
    Split,
    WeightConverter,
    WeightRenaming,
    WeightTransform,
    revert_weight_conversion,
)

from molmo_agent.model.checkpoints.released_config import (
    LAYOUT,
)
from molmo_agent.model.configuration import MolmoConfig


class FoldPatches(ConversionOps):
    """A patch embedding (out, rows*columns*channels) becomes a convolution kernel (out, channels, rows, columns)."""

    channels = 3

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        """Fold one tensor."""
        (value,) = input_dict.values()
        flat: Tensor = value[0] if isinstance(value, list) else value
        side = round((flat.shape[1] / self.channels) ** 0.5)
        kernel = flat.unflatten(1, (side, side, self.channels)).permute(0, 3, 1, 2).contiguous()
        return {target_patterns[0]: kernel}

    @property
    def reverse_op(self) -> ConversionOps:
        """Return the way back."""
        return UnfoldPatches()


class UnfoldPatches(ConversionOps):
    """A convolution kernel becomes a patch embedding, see :class:`FoldPatches`."""

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        """Unfold one tensor."""
        (value,) = input_dict.values()
        kernel: Tensor = value[0] if isinstance(value, list) else value
        return {target_patterns[0]: kernel.permute(0, 2, 3, 1).flatten(1).contiguous()}

    @property
    def reverse_op(self) -> ConversionOps:
        """Return the way back."""
        return FoldPatches()


def transforms(config: MolmoConfig) -> list[WeightTransform]:
    """Return what turns the released names into ours, for a config; each can be reversed."""
    text: Any = config.text_config
    sparse, norm_after = text.model_type == "olmoe", text.model_type == "olmo2"
    language, vision = "model.language_model.", "model.vision_tower."
    rules: list[WeightTransform] = [
        WeightRenaming("^model.transformer.blocks.", f"^{language}layers."),
        WeightRenaming("^model.transformer.wte.embedding", f"^{language}embed_tokens.weight"),
        WeightRenaming("^model.transformer.wte.new_embedding", f"^{language}embed_tokens.new_weight"),
        WeightRenaming("^model.transformer.ln_f.weight", f"^{language}norm.weight"),
        WeightRenaming("^model.transformer.ff_out.weight", "^lm_head.weight"),
        WeightRenaming("^model.vision_backbone.pad_embed", "^model.connector.pad_embed"),
        WeightRenaming("^model.vision_backbone.image_vit.", f"^{vision}"),
    ]
    pooling, projector = "model.vision_backbone.image_pooling_2d.", "model.vision_backbone.image_projector."
    for letter in "qkvo":
        rules.append(WeightRenaming(f"^{pooling}w{letter}.", f"^model.connector.pooling.{letter}_proj."))
    for theirs, ours in (("w1", "gate"), ("w3", "up"), ("w2", "down")):
        rules.append(WeightRenaming(f"^{projector}{theirs}.", f"^model.connector.projector.{ours}_proj."))

    def within(scope: str, *scoped: WeightTransform) -> None:
        for rule in scoped:
            rule.base_model_prefix, rule.scope_prefix = "model", scope
            rules.append(rule)

    first, second = (
        ("post_attention_layernorm", "post_feedforward_layernorm")
        if norm_after
        else ("input_layernorm", "post_attention_layernorm")
    )
    attention, feed = (".attn", ".mlp") if sparse else ("", "")
    within(
        "language_model",
        WeightRenaming(f"{attention}.attn_out.", ".self_attn.o_proj."),
        WeightRenaming(f"{attention}.q_norm.", ".self_attn.q_norm."),
        WeightRenaming(f"{attention}.k_norm.", ".self_attn.k_norm."),
        WeightRenaming(f"{attention}.attn_norm.", f".{first}."),
        WeightRenaming(f"{feed}.ff_norm.", f".{second}."),
        *(
            WeightConverter(
                f"{attention}.att_proj.{part}",
                [f".self_attn.{letter}_proj.{part}" for letter in "qkv"],
                operations=[Split(0)],
            )
            for part in ("weight", "bias")
        ),
    )
    if not sparse:  # the experts' names are those of transformers' own OLMoE, which merges them
        gated = [".mlp.up_proj.weight", ".mlp.gate_proj.weight"]  # up comes first
        within(
            "language_model",
            WeightRenaming(".ff_out.", ".mlp.down_proj."),
            WeightConverter(".ff_proj.weight", gated, operations=[Split(0)]),
        )
    within(
        "vision_tower",
        WeightRenaming("^class_embedding", "^embeddings.class_embedding"),
        WeightRenaming("^positional_embedding", "^embeddings.position_embedding.weight"),
        WeightConverter("^patch_embedding.weight", "^embeddings.patch_embedding.weight", operations=[FoldPatches()]),
        WeightRenaming("^pre_ln.", "^pre_layrnorm."),
        WeightRenaming("^transformer.resblocks.", "^encoder.layers."),
        *(WeightRenaming(f".attention.w{letter}.", f".self_attn.{letter}_proj.") for letter in "qkv"),
        WeightRenaming(".attention.wo.", ".self_attn.out_proj."),
        WeightRenaming(".feed_forward.w1.", ".mlp.fc1."),
        WeightRenaming(".feed_forward.w2.", ".mlp.fc2."),
        WeightRenaming(".attention_norm.", ".layer_norm1."),
        WeightRenaming(".ffn_norm.", ".layer_norm2."),
    )
    return rules


_LOCK = threading.Lock()


@contextlib.contextmanager
def reading(config: MolmoConfig, class_name: str) -> Iterator[None]:
    """Let transformers load weights of the released layout into a class, where the config says that they are.

    The table is registered for the time of loading only: weights of our own layout must not meet it.
    """
    if getattr(config, "checkpoint_layout", None) != LAYOUT:
        yield
        return
    with _LOCK:
        register_checkpoint_conversion_mapping(class_name, transforms(config), overwrite=True)
        try:
            yield
        finally:
            register_checkpoint_conversion_mapping(class_name, [], overwrite=True)
            config.checkpoint_layout = None


def to_official(model: Any, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return a model's weights under the released names: what reading them would give this very model.

    Args:
        model: the model.
        tensors: other tensors under the model's own names, such as gradients; by default its weights.
    """
    # Experts are merged by transformers' own table for the decoder; its table for towers is about other files.
    own = [t for t in get_model_conversion_mapping(model, add_legacy=False) if t.scope_prefix == "language_model"]
    before = getattr(model, "_weight_conversions", None)
    model._weight_conversions = [*transforms(model.config), *own]
    try:
        return dict(revert_weight_conversion(model, dict(tensors if tensors is not None else model.state_dict())))
    finally:
        model._weight_conversions = before


def from_native(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return training names as the released repositories' names: docs/reference/model.md#training-checkpoints.

    Views of the given tensors: nothing is copied.
    """
    named: dict[str, Tensor] = {}
    for key, value in state.items():
        key = key.replace("_fsdp_wrapped_module.", "")
        if ".ffn.router.layer.weight" in key:
            named["model." + key.replace(".ffn.router.layer.", ".mlp.gate.")] = value
        elif ".ffn.experts.mlp." in key:
            stem, matrix = key.split(".ffn.experts.mlp.")
            experts = state[f"{stem}.ffn.router.layer.weight"].shape[0]
            name = {"w1": "gate_proj", "v1": "up_proj", "w2": "down_proj"}[matrix]
            for number, part in enumerate(value.chunk(experts)):
                # The native down matrix is stored transposed.
                expert = part.T if matrix == "w2" else part
                named[f"model.{stem}.mlp.experts.{number}.{name}.weight"] = expert
        else:
            named["model." + key] = value
    if any(".mlp.experts." in key for key in named):
        named = {_sparse_name(key): value for key, value in named.items()}
    return named


def _sparse_name(key: str) -> str:
    """Return the hub name of a native key of the mixture-of-experts model, whose blocks are nested one level deeper."""
    if ".blocks." in key:
        for part in ("att_proj", "attn_out", "attn_norm", "q_norm", "k_norm"):
            if f".{part}." in key and ".attn." not in key:
                return key.replace(f".{part}.", f".attn.{part}.")
        if ".ff_norm." in key:
            return key.replace(".ff_norm.", ".mlp.ff_norm.")
    return key


def load_native(path: Any) -> dict[str, Tensor]:
    """Read ``model.pt`` of the authors' training code without running code from it, mapped instead of copied."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return from_native(state)


# The one vision side that the released code builds: CLIP ViT-L/14-336 without its last block.
_RELEASED_VISION = {
    "image_emb_dim": 1024,
    "image_mlp_dim": 4096,
    "image_num_layers": 23,
    "image_num_heads": 16,
    "image_head_dim": 64,
    "image_default_input_size": [336, 336],
    "image_patch_size": 14,
    "image_mlp_activations": "quick_gelu",
}


def vision_fields(config: MolmoConfig) -> dict[str, Any]:
    """Return the vision side in the training code's names; empty where it is the released one."""
    vision: Any = config.vision_config
    fields = {
        "image_emb_dim": vision.hidden_size,
        "image_mlp_dim": vision.intermediate_size,
        "image_num_layers": vision.num_hidden_layers,
        "image_num_heads": vision.num_attention_heads,
        "image_head_dim": vision.hidden_size // vision.num_attention_heads,
        "image_default_input_size": [vision.image_size, vision.image_size],
        "image_patch_size": vision.patch_size,
        "image_mlp_activations": vision.hidden_act,
    }
    rest = {
        "vit_layers": list(config.vit_layers),
        "image_pooling_2d": "attention_meanq" if config.pooling == "attention" else config.pooling,
        "image_padding_embed": "pad_and_partial_pad" if config.pad_embed else None,
        "additional_vocab_size": config.additional_vocab_size,
    }
    released = {"vit_layers": [-2, -9], "image_pooling_2d": "attention_meanq", "additional_vocab_size": 128}
    released["image_padding_embed"] = "pad_and_partial_pad"
    if fields == _RELEASED_VISION and rest == released:
        return {}
    return {"vision_backbone": fields, **rest}


def official_config(config: MolmoConfig) -> dict[str, Any]:
    """Return the config fields of a released repository for ours: docs/reference/model.md#checkpoint-configuration.

    A vision side that no release has uses the training code's names: this package reads them, the released code
    does not (:func:`vision_fields` returns whether there are any).

    Raises:
        ValueError: a size that the released fields cannot tell.
    """
    text: Any = config.text_config
    vision: Any = config.vision_config
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    pooling = (config.pooling_heads, config.pooling_head_dim)
    tower = (vision.num_attention_heads, vision.hidden_size // vision.num_attention_heads)
    if head_dim * text.num_attention_heads != text.hidden_size or pooling != tower:
        raise ValueError(
            "the released layout has no field for heads of another size than width / heads, nor for a pooling with "
            f"other heads than the vision tower's; got {text.num_attention_heads} heads of {head_dim} at width "
            f"{text.hidden_size}, and pooling heads x size {pooling} beside the tower's {tower}"
        )
    fields: dict[str, Any] = {
        "architectures": ["MolmoForCausalLM"],
        "model_type": "molmo",
        "embedding_size": text.vocab_size,
        "vocab_size": config.image_start_token_id,
        "eos_token_id": getattr(config, "eos_token_id", None),
        "layer_norm_eps": text.rms_norm_eps,
        "layer_norm_type": "rms",
        "rope_theta": text.rope_parameters["rope_theta"],
        "max_position_embeddings": text.max_position_embeddings,
        "tie_word_embeddings": False,
        "weight_tying": False,
        "use_position_ids": True,
        "use_cache": True,
        "initializer_range": config.initializer_range,
        **vision_fields(config),
    }
    if text.model_type == "olmoe":
        return fields | {
            "d_model": text.hidden_size,
            "n_heads": text.num_attention_heads,
            "n_kv_heads": text.num_key_value_heads,
            "n_layers": text.num_hidden_layers,
            "mlp_hidden_size": 2 * text.intermediate_size,
            "moe_num_experts": text.num_experts,
            "moe_top_k": text.num_experts_per_tok,
            "moe_dropless": True,
            "block_type": "moe",
            "attention_layer_norm": True,
            "norm_after": False,
        }
    return fields | {
        "hidden_size": text.hidden_size,
        "intermediate_size": 2 * text.intermediate_size,
        "num_attention_heads": text.num_attention_heads,
        "num_key_value_heads": text.num_key_value_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "qkv_bias": text.model_type == "qwen2",
        "norm_after": text.model_type == "olmo2",
        "attention_layer_norm": text.model_type == "olmo2",
    }
