"""The configuration of a Molmo model.

A Molmo is a vision tower (CLIP-like), a connector (pad embeddings, 2x2 attention pooling, a gated projector) and a
decoder (Qwen2, OLMo with norm-after, OLMoE, ...). Tower and decoder are described by their own transformers configs.
"""

from typing import Any, Literal

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from molmo_agent.visible_text import visible_text

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class MolmoConfig(PreTrainedConfig):
    """The configuration of a :class:`MolmoForConditionalGeneration`. Defaults are those of Molmo-7B-D-0924."""

    model_type = "molmo"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="clip_vision_model",
            init_kwargs={
                "hidden_size": 1024,
                "intermediate_size": 4096,
                # CLIP has 24 blocks; the released models were trained without the last one.
                "num_hidden_layers": 23,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
                "hidden_act": "quick_gelu",
            },
        ),
        "text_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="qwen2",
            init_kwargs={
                "vocab_size": 152064,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "max_position_embeddings": 4096,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            },
        ),
    }

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    # The blocks whose outputs the connector reads, counted from the end and concatenated in this order.
    vit_layers: list[int] | tuple[int, ...] = (-2, -9)
    # Side of the square of patches that becomes one image token.
    pooling_size: int = 2
    # `attention`: the mean of a window attends to its patches. `mean`: that mean itself. `stack`: the window's features
    # are concatenated.
    pooling: Literal["attention", "mean", "stack"] = "attention"
    pooling_heads: int = 16
    pooling_head_dim: int = 64
    # Inner width of the projector's gated MLP.
    projector_hidden_size: int = 18944
    projector_hidden_act: str = "silu"
    # Learned vectors that are added to patches in the padding, or partly in it.
    pad_embed: bool = True
    # Dropout on the decoder's residual branches: at every token, and at target tokens.
    residual_dropout: float = 0.0
    answer_dropout: float = 0.0
    # Embedding rows after the decoder's vocabulary; no logits are computed for them, so they are never generated.
    additional_vocab_size: int = 128
    image_start_token_id: int = 152064
    image_end_token_id: int = 152065
    image_patch_token_id: int = 152066
    image_column_token_id: int = 152067
    # For normalizing eight-bit pixels on the model's device (see MolmoImageProcessor's ``fast``).
    image_mean: list[float] | tuple[float, ...] = CLIP_MEAN
    image_std: list[float] | tuple[float, ...] = CLIP_STD
    # "molmo-0924" in a config from a released one, until its weights are loaded.
    checkpoint_layout: str | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read our own fields, or those of a released config, which are translated.

        Raises:
            ValueError: a config that is neither.
        """
        from molmo_agent.model.checkpoints.released_config import is_official, translate_config

        try:
            if is_official(config_dict):
                config_dict = {"model_type": cls.model_type, **translate_config(config_dict)}
            return super().from_dict(config_dict, **kwargs)
        # Whatever comes of a field that is missing or of another type.
        except (ArithmeticError, AttributeError, LookupError, TypeError, StrictDataclassError) as error:
            problem = visible_text(f"{type(error).__name__}: {error}")
            raise ValueError(
                f"expected the config of a Molmo model, but a field is missing or of another type ({problem}): is the "
                "file complete?"
            ) from error

    @property
    def image_token_id(self) -> int:
        """The id of an image token, under the name that transformers uses."""
        return self.image_patch_token_id

    @property
    def image_token_ids(self) -> tuple[int, int, int, int]:
        """The ids of a picture's tokens: start, end, patch, column."""
        names = ("start", "end", "patch", "column")
        start, end, patch, column = (getattr(self, f"image_{name}_token_id") for name in names)
        return start, end, patch, column

    @property
    def num_patches_per_side(self) -> int:
        """Number of patches along one side of a crop."""
        return self.vision_config.image_size // self.vision_config.patch_size  # type: ignore[union-attr]
