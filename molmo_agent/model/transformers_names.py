"""Names that differ between the supported versions of transformers. No other module checks the version."""

from typing import Any

from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast

# Keys and values of earlier tokens, in calls and outputs: `cache` from 5.24 on, `past_key_values` before.
CACHE = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"


def one_cache(cache: Cache | None, past_key_values: Cache | None) -> Cache | None:
    """Return the cache that a caller passed under either name.

    Raises:
        ValueError: both names were used.
    """
    if cache is not None and past_key_values is not None:
        raise ValueError("expected one of cache and past_key_values, got both; they are two names of one argument")
    return past_key_values if cache is None else cache


def cache_of(output: Any) -> Cache | None:
    """Return the cache of a model output; None if the call did not ask for one."""
    cache: Cache | None = output.get(CACHE)
    return cache


def enable_activation_checkpointing(model: Any) -> None:
    """Recompute activations in the backward pass, to save memory; `gradient_checkpointing_enable` before 5.23."""
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable()
    else:
        model.gradient_checkpointing_enable()
