"""What the model's forward passes return, in the order of transformers."""

from dataclasses import dataclass

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


@dataclass
class MolmoModelOutput(BaseModelOutputWithPast):
    """The output of the model without its output head; fields are None unless requested.

    ``last_hidden_state``: (B, T, D). ``image_features``: (B, C, G, D) before they are added to the embeddings.
    """

    image_features: Tensor | None = None


@dataclass
class MolmoOutput(CausalLMOutputWithPast):
    """The output of a forward pass; fields are None unless requested.

    ``logits``: (B, T, V). ``last_hidden_state``: (B, T, D). ``image_features``: (B, C, G, D) before they are added.
    """

    last_hidden_state: Tensor | None = None
    image_features: Tensor | None = None
