"""The work of a training step in floating point operations, from what its examples really hold. Knows no tensors.

Two per multiplication and addition, as torch's own counter counts. What is thrown away is not counted: padding, pairs
of tokens that a mask hides, logits that nothing is learned from, activations computed twice.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from molmo_agent.train.batching.pack import Cost, Size

# Dense bfloat16 operations per second of one device, by a part of the name that torch gives it (vendors' data sheets).
PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 5090": 210e12,
}


def peak_of(device_name: str) -> float | None:
    """Return a device's operations per second in bfloat16; None where it is not known."""
    return next((peak for name, peak in PEAKS.items() if name in device_name), None)


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of a forward pass, by part of the model."""

    vit: float = 0.0
    connector: float = 0.0
    # Weights of the decoder, products of attention, and the head over learned positions.
    decoder: float = 0.0
    attention: float = 0.0
    head: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Return the sum, part by part."""
        return Work(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def llm(self) -> float:
        """Everything behind the connector."""
        return self.decoder + self.attention + self.head

    @property
    def forward(self) -> float:
        """All of it."""
        return self.vit + self.connector + self.llm

    def step(self, frozen: Collection[str] = (), *, adapters: bool = False) -> float:
        """Return forward and backward together.

        Backward costs a forward pass for the gradients of the weights and one for those of the inputs; what is frozen
        needs the second only, and only where something before it learns.

        Args:
            frozen: components that do not learn: "vit", "connector", "llm".
            adapters: the decoder learns through low-rank adapters alone; they are too small to be counted.
        """
        total, before = 0.0, False
        for name in ("vit", "connector", "llm"):
            learns = name not in frozen
            weights = learns and not (name == "llm" and adapters)
            # The layers of the first component that learns hand gradients to each other too.
            total += getattr(self, name) * (1 + weights + (learns or before))
            before = before or learns
        return total


class Flops:
    """Counts for one model.

    Args:
        config: a ``MolmoConfig``.
    """

    def __init__(self, config: Any) -> None:
        text, vision = config.text_config, config.vision_config
        d, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
        head = getattr(text, "head_dim", None) or d // text.num_attention_heads
        projections = d * head * (2 * text.num_attention_heads + 2 * text.num_key_value_heads)
        experts = getattr(text, "num_experts_per_tok", 1) or 1
        router = d * (getattr(text, "num_experts", 0) or 0)
        self._token = 2.0 * layers * (projections + 3 * d * inner * experts + router)
        self._pair = 4.0 * layers * text.num_attention_heads * head
        self._logits = 2.0 * d * text.vocab_size
        side, width = config.num_patches_per_side, vision.hidden_size
        patches = side**2
        mlp = getattr(vision, "intermediate_size", None) or width * vision.mlp_ratio
        # With a class token, where there is one.
        tokens = patches + (vision.model_type in ("clip_vision_model", "dinov2"))
        embedding = patches * 3 * vision.patch_size**2 * width
        block = tokens * (4 * width * width + 2 * width * mlp) + 2 * tokens * tokens * width
        self._tower = 2.0 * (embedding + vision.num_hidden_layers * block)
        windows, window = (-(-side // config.pooling_size)) ** 2, config.pooling_size**2
        both, inner = width * len(config.vit_layers), config.pooling_heads * config.pooling_head_dim
        # A window's patches and their mean into keys, values and a query; and the way out. Products are elementwise.
        attended = config.pooling == "attention"
        pooling = (2 * window + 1) * both * inner + inner * inner if attended else 0
        pooled = inner if attended else both * window
        projector = config.projector_hidden_size * (2 * pooled + d)
        self._connector = 2.0 * windows * (pooling + projector)

    def work(self, *, tokens: int, pairs: float, crops: int, learned: int) -> Work:
        """Return the work of an example.

        Args:
            tokens: of the text, image tokens included.
            pairs: of a token and one that it attends to (see :func:`visible_pairs`).
            crops: of its images.
            learned: positions whose logits are computed.
        """
        return Work(
            vit=self._tower * crops,
            connector=self._connector * crops,
            decoder=self._token * tokens,
            attention=self._pair * pairs,
            head=self._logits * learned,
        )

    @property
    def cost(self) -> Cost:
        """What ranks are balanced by: the work of an example whose sizes alone are known."""

        def cost(size: Size) -> float:
            # A sequence without an image runs the tower over a blank crop.
            crops = max(size.crops, 1)
            return self.work(tokens=size.tokens, pairs=size.tokens**2 / 2, crops=crops, learned=0).forward

        return cost


def visible_pairs(prefix: int, branches: Collection[int]) -> float:
    """Return how many (token, token seen) pairs a message tree has.

    Args:
        prefix: tokens that all see, the image's.
        branches: tokens of each annotation; it sees the prefix and itself.
    """
    return prefix * (prefix + 1) / 2 + sum(n * prefix + n * (n + 1) / 2 for n in branches)
