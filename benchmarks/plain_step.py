"""The authors' training step, written out plainly: what benchmarks/train.py compares our step with.

It follows docs/reference/model.md and docs/reference/training.md, with the weights of a model of ours under the
released names: one fused matrix for queries, keys and values and one for gate and up; RMS norms and rotary embeddings
in float32; attention under a dense mask of the whole sequence; every block of the vision tower; logits of all
positions in float32; gradient norms weight by weight, and every gradient scaled; AdamW as torch runs it by default.
The authors' other work in a step (FSDP, logging) is left out. Decoders like Qwen2's and CLIP towers only.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.checkpoints.molmo_0924 import to_official
from molmo_agent.model.message_tree import message_tree_mask
from molmo_agent.train.config import Optimizer, TrainConfig
from molmo_agent.train.step import ModelWithLoss, make_optimizer, schedules, train_step

COMPONENTS = {
    "connector": ("image_pooling_2d", "image_projector", "pad_embed", "new_embedding"),
    "vit": ("image_vit",),
    "llm": (),
}


class PlainMolmo:
    """A Molmo with copies of the weights of one of ours."""

    def __init__(self, model: MolmoForConditionalGeneration) -> None:
        self.config: Any = model.config
        self.weights = {
            key.removeprefix("model."): nn.Parameter(value.detach().clone())
            for key, value in to_official(model).items()
        }

    def linear(self, x: Tensor, name: str) -> Tensor:
        """Apply a matrix, with its bias where it has one."""
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        """Apply a layer norm of the tower."""
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-5)

    def rms_norm(self, x: Tensor, name: str) -> Tensor:
        """Apply an RMS norm of the decoder."""
        variance = x.float().pow(2).mean(-1, keepdim=True)
        normed = x.float() * torch.rsqrt(variance + self.config.text_config.rms_norm_eps)
        return self.weights[f"{name}.weight"] * normed.to(x.dtype)

    def tower(self, crops: Tensor) -> Tensor:
        """Encode (C, N, patch*patch*3) crops with all blocks; return (C, N, 2 * width) of the two that are read."""
        vision = self.config.vision_config
        x = self.linear(crops, "vision_backbone.image_vit.patch_embedding")
        first = self.weights["vision_backbone.image_vit.class_embedding"].expand(len(x), 1, -1)
        x = torch.cat([first, x], dim=1) + self.weights["vision_backbone.image_vit.positional_embedding"]
        x = self.layer_norm(x, "vision_backbone.image_vit.pre_ln")
        states = []
        for number in range(vision.num_hidden_layers):
            block = f"vision_backbone.image_vit.transformer.resblocks.{number}"
            normed = self.layer_norm(x, f"{block}.attention_norm")
            q, k, v = (
                self.linear(normed, f"{block}.attention.w{letter}")
                .unflatten(-1, (vision.num_attention_heads, -1))
                .transpose(1, 2)
                for letter in "qkv"
            )
            attended = F.scaled_dot_product_attention(q.float(), k.float(), v.float()).transpose(1, 2).flatten(2)
            x = x + self.linear(attended, f"{block}.attention.wo")
            inner = self.linear(self.layer_norm(x, f"{block}.ffn_norm"), f"{block}.feed_forward.w1")
            x = x + self.linear(inner * torch.sigmoid(1.702 * inner), f"{block}.feed_forward.w2")
            states.append(x)
        features = torch.cat([states[layer] for layer in self.config.vit_layers], dim=-1)[:, 1:]
        return features * (crops != -1).flatten(1).any(1)[:, None, None].to(x.dtype)

    def connector(self, features: Tensor, masks: Tensor) -> Tensor:
        """Turn (C, N, 2 * width) features into (C, G, D) image features."""
        padding = self.weights["vision_backbone.pad_embed"]
        features = features + padding[0] * (masks == 0).to(features.dtype).unsqueeze(-1)
        features = features + padding[1] * ((masks < 1) & (masks != 0)).to(features.dtype).unsqueeze(-1)
        side = self.config.num_patches_per_side
        grid = features.unflatten(1, (side // 2, 2, side // 2, 2)).transpose(2, 3)
        windows = grid.reshape(-1, 4, features.shape[-1])
        pooling = "vision_backbone.image_pooling_2d"

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.config.pooling_heads, -1)).transpose(1, 2)

        query = heads(self.linear(windows.mean(1, keepdim=True), f"{pooling}.wq"))
        key, value = (heads(self.linear(windows, f"{pooling}.w{letter}")) for letter in "kv")
        pooled = F.scaled_dot_product_attention(query.float(), key.float(), value.float()).transpose(1, 2).flatten(1)
        pooled = self.linear(pooled, f"{pooling}.wo")
        projector = "vision_backbone.image_projector"
        gated = F.silu(self.linear(pooled, f"{projector}.w1")) * self.linear(pooled, f"{projector}.w3")
        return self.linear(gated, f"{projector}.w2").unflatten(0, (len(features), -1))

    def rotary(self, positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return the sines and cosines of (T,) positions, each (T, width)."""
        powers = torch.arange(0, width, 2, dtype=torch.float) / width
        angles = positions[:, None].float() / self.config.text_config.rope_parameters["rope_theta"] ** powers
        angles = torch.cat([angles, angles], dim=-1)
        return angles.sin(), angles.cos()

    def block(self, x: Tensor, name: str, mask: Tensor, sines: Tensor, cosines: Tensor) -> Tensor:
        """Apply a block of the decoder to (1, T, D)."""
        text = self.config.text_config
        num_heads, num_kv = text.num_attention_heads, text.num_key_value_heads
        width = text.hidden_size // num_heads
        fused = self.linear(self.rms_norm(x, f"{name}.attn_norm"), f"{name}.att_proj")
        parts = fused.split([num_heads * width, num_kv * width, num_kv * width], dim=-1)
        q, k, v = (part.unflatten(-1, (-1, width)).transpose(1, 2) for part in parts)

        def rotate(y: Tensor) -> Tensor:
            left, right = y.float().chunk(2, dim=-1)
            return (y.float() * cosines + torch.cat([-right, left], dim=-1) * sines).to(y.dtype)

        q, k = rotate(q), rotate(k)
        k, v = (y.repeat_interleave(num_heads // num_kv, dim=1) for y in (k, v))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = x + self.linear(attended, f"{name}.attn_out")
        up, gate = self.linear(self.rms_norm(x, f"{name}.ff_norm"), f"{name}.ff_proj").chunk(2, dim=-1)
        return x + self.linear(F.silu(gate) * up, f"{name}.ff_out")

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the (1, T, V) logits of a sequence, in float32."""
        features = self.connector(self.tower(batch["pixel_values"][0]), batch["image_masks"][0])
        table = torch.cat([self.weights["transformer.wte.embedding"], self.weights["transformer.wte.new_embedding"]])
        x = F.embedding(batch["input_ids"], table)
        index = batch["image_input_idx"].flatten()
        kept = index >= 0
        x = x.index_put((torch.zeros_like(index[kept]), index[kept]), features.flatten(0, 1)[kept], accumulate=True)
        mask = message_tree_mask(batch["subsegment_ids"], batch["document_ids"] >= 0, x.dtype)
        text = self.config.text_config
        sines, cosines = self.rotary(batch["position_ids"][0], text.hidden_size // text.num_attention_heads)
        for number in range(text.num_hidden_layers):
            x = self.block(x, f"transformer.blocks.{number}", mask, sines, cosines)
        return self.linear(self.rms_norm(x, "transformer.ln_f"), "transformer.ff_out").float()

    def optimizer(self, settings: Optimizer) -> torch.optim.AdamW:
        """Return AdamW with a group per component, as torch runs it by default."""
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in COMPONENTS}
        for key, weight in self.weights.items():
            groups[component_of(key)].append(weight)
        rates = {name: getattr(settings, name).peak for name in COMPONENTS}
        return torch.optim.AdamW(
            [{"params": weights, "lr": rates[name], "component": name} for name, weights in groups.items()],
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )


def component_of(name: str) -> str:
    """Return the component of a weight by its released name."""
    return next((kind for kind, parts in COMPONENTS.items() if any(part in name for part in parts)), "llm")


def plain_step(
    model: PlainMolmo, optimizer: torch.optim.AdamW, batch: Mapping[str, Tensor], settings: Optimizer
) -> float:
    """Train on one sequence, with the learning rates of the optimizer's groups; return the loss."""
    optimizer.zero_grad(set_to_none=True)
    logits = model.logits(batch)
    weights = batch["loss_weights"].clamp(min=0) * (batch["labels"] >= 0)
    entropy = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="none", ignore_index=-1)
    z = settings.z_loss * logits.logsumexp(-1).square().flatten()
    loss = ((entropy + z) * weights.flatten()).sum() / weights.sum()
    _ = ((logits.argmax(-1) == batch["labels"]) * weights).sum()  # the accuracy that is logged
    loss.backward()
    for group in optimizer.param_groups:
        gradients = [p.grad for p in group["params"] if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
        for gradient in gradients:
            gradient.mul_((settings.clip / (norm + 1e-6)).clamp(max=1))
    optimizer.step()
    return float(loss)


def example_model(vocabulary: int) -> MolmoForConditionalGeneration:
    """Return a model of 34 million parameters (with 11,000 ids) that spends its time about where Molmo-7B does."""
    names = ("start", "end", "patch", "column")
    return MolmoForConditionalGeneration(
        MolmoConfig(
            vision_config={
                "hidden_size": 192,
                "intermediate_size": 768,
                "image_size": 336,
                "patch_size": 14,
                "num_attention_heads": 4,
                "num_hidden_layers": 6,
            },
            text_config={
                "hidden_size": 512,
                "intermediate_size": 1536,
                "vocab_size": vocabulary,
                "num_hidden_layers": 6,
                "num_attention_heads": 8,
                "num_key_value_heads": 2,
            },
            vit_layers=(-2, -5),
            pooling_heads=4,
            pooling_head_dim=48,
            projector_hidden_size=1536,
            **{f"image_{name}_token_id": vocabulary + number for number, name in enumerate(names)},
        )
    )


def example_batch(model: MolmoForConditionalGeneration, *, all_targets: bool) -> dict[str, np.ndarray]:
    """Return a sequence of 1,173 tokens: an image of 3 x 3 crops, and three annotations of 66 or 67 tokens.

    Args:
        model: of :func:`example_model`.
        all_targets: every position has a target; by default all but the first 16 of each annotation, its question.
    """
    rng, (crops, image, tokens) = np.random.default_rng(0), (10, 972, 1173)
    config: Any = model.config
    ids, labels = rng.integers(0, 1000, tokens), np.full(tokens, -1)
    ids[1 : 1 + image] = config.image_patch_token_id
    segments, positions = np.full(tokens, 10_000), np.arange(tokens)
    start = 1 + image
    for number, length in enumerate((67, 67, 66), 1):
        span = slice(start, start + length)
        segments[span], positions[span] = number, np.arange(1 + image, 1 + image + length)
        labels[start + 16 : start + length] = rng.integers(0, 1000, length - 16)
        start += length
    if all_targets:
        labels = rng.integers(0, 1000, tokens)
    index = np.full((crops, config.num_patches_per_side**2 // 4), -1)
    index.reshape(-1)[:image] = np.arange(1, 1 + image)
    pixels = (crops, config.num_patches_per_side**2)
    arrays = {
        "input_ids": ids,
        "labels": labels,
        "loss_weights": np.where(labels >= 0, 3**-0.5, 0).astype(np.float32),
        "document_ids": np.zeros(tokens, dtype=np.int64),
        "subsegment_ids": segments,
        "position_ids": positions,
        "pixel_values": rng.standard_normal((*pixels, 588), dtype=np.float32),
        "image_masks": rng.choice([0, 0.5, 1, 1, 1], pixels).astype(np.float32),
        "image_input_idx": index,
    }
    return {name: array[None] for name, array in arrays.items()}


def compare(vocabulary: int, *, all_targets: bool = False, steps: int = 5) -> tuple[float, float]:
    """Return the time of the plain step in ours, and the largest relative difference of their losses.

    Both train in turn on the same sequence, from the same weights and with the same learning rates; the first step of
    each allocates and is not counted. Of the others the fastest counts: what else the machine does only adds.
    """
    torch.manual_seed(0)
    model = example_model(vocabulary)
    config = TrainConfig()
    plain, ours = PlainMolmo(model), ModelWithLoss(model, config).train()
    arrays = example_batch(model, all_targets=all_targets)
    batch = {name: torch.as_tensor(array) for name, array in arrays.items()}
    optimizers = plain.optimizer(config.optimizer), make_optimizer(ours, config.optimizer)
    times: list[tuple[float, float]] = []
    apart = 0.0
    for step in range(1, steps + 2):
        start = time.process_time()
        loss = train_step(ours, optimizers[1], [arrays], config, step).loss
        middle = time.process_time()
        for group in optimizers[0].param_groups:
            group["lr"] = schedules(config.optimizer, config.steps)[group["component"]].at(step)
        expected = plain_step(plain, optimizers[0], batch, config.optimizer)
        times.append((middle - start, time.process_time() - middle))
        apart = max(apart, abs(loss / expected - 1))
    fastest = [min(column) for column in zip(*times[1:], strict=True)]
    return fastest[1] / fastest[0], apart
