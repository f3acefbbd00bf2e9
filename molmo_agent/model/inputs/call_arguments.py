"""What may be passed to the model's forward pass: a name that nobody reads is refused, never swallowed."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from transformers.utils.generic import TransformersKwargs

# What transformers, PEFT and this package hand through to the decoder.
_PASSED_ON = frozenset(TransformersKwargs.__annotations__) | {
    "cache_position",
    "forest",
    "answer_mask",
    "example_seeds",
    "return_dict",
}
# Names that other models have for the same thing.
_OTHER_NAMES = {
    "images": "pixel_values",
    "image": "pixel_values",
    "pixels": "pixel_values",
    "image_inputs": "pixel_values",
    "image_embeds": "image_features",
    "image_idx": "image_input_idx",
    "image_mask": "image_masks",
    "pixel_attention_mask": "image_masks",
    "append_last_valid_logits": "logits_to_keep",
    "num_logits_to_keep": "logits_to_keep",
    "attention_bias": "attention_mask",
}


def refuse_unknown(arguments: Mapping[str, Any], call: Callable[..., Any]) -> None:
    """Refuse arguments that neither the model nor its decoder reads; those that are None are not given.

    Args:
        arguments: by name.
        call: the forward pass, whose own arguments are suggested.

    Raises:
        TypeError: one that would be ignored, with the name that was probably meant.
    """
    for name, value in arguments.items():
        if value is None or name in _PASSED_ON:
            continue
        names = sorted(inspect.signature(call).parameters.keys() - {"kwargs"})
        near = _OTHER_NAMES.get(name) or next(iter(difflib.get_close_matches(name, names, 1, 0.75)), None)
        raise TypeError(
            f"Molmo has no input {name!r}, and would not look at it"
            + (f"; did you mean {near!r}?" if near else ".")
            + f" Expected some of {', '.join(names)}: pass what MolmoProcessor returns"
        )
    if arguments.get("output_router_logits"):
        raise ValueError("expected output_router_logits=False: Molmo is trained without a loss on its routers")
