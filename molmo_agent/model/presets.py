"""The released models' sizes by name, in the released configs' own fields: docs/reference/model.md#sizes."""

from typing import Any

from molmo_agent.errors import UnknownNameError
from molmo_agent.model.checkpoints.released_config import translate_config
from molmo_agent.model.configuration import MolmoConfig

PRESETS: dict[str, dict[str, Any]] = {
    "7B-D": {
        "hidden_size": 3584,
        "intermediate_size": 37888,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "qkv_bias": True,
        "rope_theta": 1e6,
        "layer_norm_eps": 1e-6,
        "vocab_size": 152064,
        "embedding_size": 152064,
        "max_position_embeddings": 4096,
    },
    "7B-O": {
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "qkv_bias": False,
        "norm_after": True,
        "rope_theta": 5e5,
        "layer_norm_eps": 1e-6,
        "vocab_size": 100278,
        "embedding_size": 100352,
        "max_position_embeddings": 4096,
    },
    "E-1B": {
        "d_model": 2048,
        "n_heads": 16,
        "n_layers": 16,
        "mlp_ratio": 1,
        "moe_num_experts": 64,
        "moe_top_k": 8,
        "rope_theta": 1e4,
        "layer_norm_eps": 1e-5,
        "vocab_size": 50280,
        "embedding_size": 50304,
        "max_position_embeddings": 32768,
    },
    "72B": {
        "hidden_size": 8192,
        "intermediate_size": 59136,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "qkv_bias": True,
        "rope_theta": 1e6,
        "layer_norm_eps": 1e-5,
        "vocab_size": 152064,
        "embedding_size": 152064,
        "max_position_embeddings": 4096,
    },
}


def preset(name: str, **changes: Any) -> MolmoConfig:
    """Return the config of a released model, by "7B-D", "7B-O", "E-1B" or "72B".

    Args:
        name: which.
        changes: fields of :class:`MolmoConfig` to set otherwise, such as ``pooling="stack"`` or ``pad_embed=False``.

    Raises:
        UnknownNameError: no such preset; the nearest names are offered.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    fields = translate_config(PRESETS[name]) | {"checkpoint_layout": None} | changes
    return MolmoConfig(**fields)
