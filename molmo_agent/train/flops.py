"""Floating point operations of a training step, from the sizes of its examples.

A multiplication with an addition counts as two, as in torch's own counter. Only useful operations count: no padding, no
token pairs hidden by a mask, no logits without a target, no recomputed activations.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from molmo_agent.train.batching.pack import Cost, Size

# Dense bfloat16 operations per second of one device, by a part of its name in torch (from the vendors' data sheets).
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
    """Return a device's operations per second in bfloat16; None if unknown."""
    return next((peak for name, peak in PEAKS.items() if name in device_name), None)


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of a forward pass, by part of the model."""

    vit: float = 0.0
    connector: float = 0.0
    # The decoder's weights, its attention products, and the output head at positions with a target.
    decoder: float = 0.0
    attention: float = 0.0
    head: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Return the sum, part by part."""
        return Work(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def llm(self) -> float:
        """Operations of the language model: decoder, attention and head."""
        return self.decoder + self.attention + self.head

    @property
    def forward(self) -> float:
        """Operations of the whole forward pass."""
        return self.vit + self.connector + self.llm

    def step(self, frozen: Collection[str] = (), *, adapters: bool = False) -> float:
        """Return the operations of forward and backward pass together.

        The backward pass costs one forward pass for the gradients of the weights and one for those of the inputs.
        Frozen components need only the second, and only if a component before them is trained.

        Args:
            frozen: frozen components: "vit", "connector", "llm".
            adapters: only low-rank adapters of the decoder are trained; their own cost is neglected.
        """
        total, before = 0.0, False
        for name in ("vit", "connector", "llm"):
            learns = name not in frozen
            weights = learns and not (name == "llm" and adapters)
            # The layers of the first trained component need gradients of their inputs too.
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
        # Some towers have a class token.
        tokens = patches + (vision.model_type in ("clip_vision_model", "dinov2"))
        embedding = patches * 3 * vision.patch_size**2 * width
        block = tokens * (4 * width * width + 2 * width * mlp) + 2 * tokens * tokens * width
        # Blocks above the last one that is read do not run.
        blocks = vision.num_hidden_layers + 1 + max(config.vit_layers)
        self._tower = 2.0 * (embedding + blocks * block)
        windows, window = (-(-side // config.pooling_size)) ** 2, config.pooling_size**2
        both, inner = width * len(config.vit_layers), config.pooling_heads * config.pooling_head_dim
        # Keys and values of a window's patches, the query of their mean, and the output projection.
        has_attention = config.pooling == "attention"
        pooling = (2 * window + 1) * both * inner + inner * inner if has_attention else 0
        pooled_width = {"attention": inner, "mean": both}.get(config.pooling, both * window)
        projector = config.projector_hidden_size * (2 * pooled_width + d)
        self._connector = 2.0 * windows * (pooling + projector)

    def work(self, *, tokens: int, pairs: float, crops: int, targets: int) -> Work:
        """Return the work of an example.

        Args:
            tokens: number of tokens, including image tokens.
            pairs: number of (query, key) pairs in attention (see :func:`visible_pairs`).
            crops: number of crops.
            targets: number of positions with logits.
        """
        return Work(
            vit=self._tower * crops,
            connector=self._connector * crops,
            decoder=self._token * tokens,
            attention=self._pair * pairs,
            head=self._logits * targets,
        )

    @property
    def cost(self) -> Cost:
        """The cost function for balancing ranks: the approximate work of an example by its sizes."""

        def cost(size: Size) -> float:
            # A sequence without an image runs the tower over a blank crop.
            crops = max(size.crops, 1)
            return self.work(tokens=size.tokens, pairs=size.tokens**2 / 2, crops=crops, targets=0).forward

        return cost


def visible_pairs(prefix: int, branches: Collection[int]) -> float:
    """Return the number of (query, key) pairs in a message tree.

    Args:
        prefix: number of tokens of the image, to which all annotations attend.
        branches: number of tokens of each annotation, which attends to the prefix and to itself.
    """
    return prefix * (prefix + 1) / 2 + sum(n * prefix + n * (n + 1) / 2 for n in branches)
