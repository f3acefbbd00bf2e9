"""The plain training loop: one process, stages one after another, resumable from its last checkpoint.

What step n of a stage sees is a pure function of (seed, stage, n), so a resumed run continues with the same screens.
"""

import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.modeling import message_tree_mask
from molmo_agent.train.aids import Aids, dense_targets
from molmo_agent.train.panels import sample_panel
from molmo_agent.train.phrases import ask_all
from molmo_agent.train.screens import TrainingScreen, make_training_screen


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with one objective mix."""

    name: str
    # `read`: tower and connector on single crops. `point`: everything, on whole screens with questions.
    kind: Literal["read", "point"]
    # Optimizer steps, and screens in each.
    steps: int
    batch: int
    # (width, height) of the screens, and how often each; same for the styles (None: any kind of screen).
    sizes: dict[tuple[int, int], float]
    styles: dict[str | None, float]
    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    # Learning rate of tower and connector relative to the rest; 0 freezes the tower.
    vision_scale: float = 1.0
    warmup_steps: int = 30
    # Share of the steps over which the learning rate falls linearly to zero.
    decay: float = 0.4
    # Weight of the training-only objectives, by name; 1 where not named.
    aid_weights: dict[str, float] = field(default_factory=dict)
    # Most questions about one screen.
    max_questions: int = 40
    # Share of answers that are learned to the end (alt text and label included).
    tail: float = 0.0
    # Width in image tokens of the bell that attention should follow.
    sigma: float = 1.0


def seed_of(*parts: object) -> int:
    """Return a 32-bit seed that depends on every part."""
    return zlib.crc32(repr(parts).encode())


def learning_rate(stage: Stage, step: int) -> float:
    """Return the factor on the learning rates at a step (0-based): warm-up, plateau, linear fall to zero."""
    up = min(1.0, (step + 1) / max(stage.warmup_steps, 1))
    down = (stage.steps - step) / max(stage.decay * stage.steps, 1)
    return min(up, 1.0, down)


def sample(stage: Stage, seed: int, step: int, index: int) -> Screen:
    """Draw the screen number ``index`` of a step."""
    rng = Random(seed_of(seed, stage.name, step, index))
    # All screens of a `read` step share a size, so that their features stack.
    sizes = Random(seed_of(seed, stage.name, step)) if stage.kind == "read" else rng
    (width, height) = sizes.choices(list(stage.sizes), list(stage.sizes.values()))[0]
    style = rng.choices(list(stage.styles), list(stage.styles.values()))[0]
    if style == "panel":
        return sample_panel(rng.getrandbits(31), width=width, height=height)
    from molmo_agent.envs.sim_desktop.sampling import sample_screen

    return sample_screen(rng.getrandbits(31), width=width, height=height, split="train", style=style)


def make_optimizers(model: MolmoForConditionalGeneration, aids: Aids, stage: Stage) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest; tower and connector in groups of their own."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        vision = "vision_tower" in name or "connector" in name
        hidden = parameter.ndim == 2 and (".layers." in name or "connector.p" in name) and "pad_embed" not in name
        parameter.requires_grad_(not (stage.vision_scale == 0 and "vision_tower" in name))
        if parameter.requires_grad and (stage.kind == "point" or vision):
            groups.setdefault((hidden, vision), []).append(parameter)

    def scale(vision: bool) -> float:
        # A frozen tower leaves the connector, which learns at a tenth.
        return (stage.vision_scale or 0.1) if vision and stage.kind == "point" else 1.0

    muon = [
        {"params": parameters, "lr": stage.muon_lr * scale(vision), "base_lr": stage.muon_lr * scale(vision)}
        for (hidden, vision), parameters in groups.items()
        if hidden
    ]
    adam = [
        {"params": parameters, "lr": stage.adam_lr * scale(vision), "base_lr": stage.adam_lr * scale(vision)}
        for (hidden, vision), parameters in groups.items()
        if not hidden
    ]
    adam.append({"params": list(aids.parameters()), "lr": stage.adam_lr, "base_lr": stage.adam_lr})
    return [
        torch.optim.Muon(muon, lr=stage.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(adam, lr=stage.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def read_loss(
    model: MolmoForConditionalGeneration, aids: Aids, processor: MolmoProcessor, screens: list[Screen]
) -> dict[str, Tensor]:
    """Objectives of one `read` step: pictures that are one crop each."""
    height, width = screens[0].image.shape[:2]
    layout, grid = processor.image_processor.grid_of(height, width)
    if grid != (1, 1):
        raise ValueError(f"a read stage takes pictures of one crop, got {width}x{height} which makes a {grid} grid")
    arrays = [processor.image_processor.process_one(screen.image)[0] for screen in screens]
    crops = torch.stack([torch.from_numpy(a["pixel_values"][1]) for a in arrays])
    masks = torch.stack([torch.from_numpy(a["image_masks"][0]) for a in arrays])
    patches = model.model._encode_crops(crops)
    features = model.model.connector(patches, masks)
    targets = [dense_targets(screen, grid, layout, words=True) for screen in screens]
    return aids.read(patches, features, targets)


def point_loss(
    model: MolmoForConditionalGeneration,
    aids: Aids,
    processor: MolmoProcessor,
    screen: Screen,
    example: TrainingScreen,
    *,
    read: bool,
    frozen_tower: bool,
) -> dict[str, Tensor]:
    """Objectives of one screen with its questions."""
    arrays = {name: torch.from_numpy(array) for name, array in example.arrays.items()}
    with torch.set_grad_enabled(not frozen_tower):
        patches = model.model._encode_crops(arrays["pixel_values"])
    features = model.model.connector(patches, arrays["image_masks"])
    ids = torch.from_numpy(example.input_ids)[None]
    embeds = model.model.embed(ids, features[None], arrays["image_input_idx"][None])
    segments = torch.from_numpy(example.subsegment_ids)[None]
    outputs = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=message_tree_mask(segments, None, embeds.dtype),
        position_ids=torch.from_numpy(example.position_ids)[None],
        use_cache=False,
        output_hidden_states=True,
    )
    targets, weights = torch.from_numpy(example.targets), torch.from_numpy(example.loss_weights)
    rows = targets >= 0
    logits = model.lm_head(outputs.last_hidden_state[0, rows])
    token_loss = F.cross_entropy(logits, targets[rows], reduction="none")
    right = (logits.argmax(-1) == targets[rows]).float()
    parts = {
        "tokens": (token_loss * weights[rows]).sum() / weights.sum(),
        "acc_tokens": right.mean(),
        **aids.point(model, outputs.hidden_states, example),
    }
    if read:
        height, width = screen.image.shape[:2]
        layout, grid = processor.image_processor.grid_of(height, width)
        index = arrays["image_input_idx"][1:].flatten()
        order = torch.empty(len(example.grid_positions), dtype=torch.long)
        kept = (index >= 0).nonzero().flatten()
        order[torch.searchsorted(torch.from_numpy(example.grid_positions), index[kept])] = kept
        in_order = features[1:].flatten(0, 1)[order][None]
        dense = aids.read(patches[1:], in_order, [dense_targets(screen, grid, layout, words=False)])
        parts |= dense
    return parts


def training_examples(
    stage: Stage, seed: int, step: int, processor: MolmoProcessor
) -> Iterator[tuple[Screen, TrainingScreen]]:
    """Yield the screens of a `point` step that have something to ask for."""
    for index in range(stage.batch):
        screen = sample(stage, seed, step, index)
        rng = Random(seed_of(seed, stage.name, step, index, "questions"))
        questions = ask_all(screen.elements, rng)
        rng.shuffle(questions)
        if questions:
            yield (
                screen,
                make_training_screen(
                    screen, questions[: stage.max_questions], processor, rng, tail=stage.tail, sigma=stage.sigma
                ),
            )


class Trainer:
    """Runs stages; owns the model, the aids, the optimizers and the run's folder."""

    def __init__(
        self, model: MolmoForConditionalGeneration, processor: MolmoProcessor, folder: Path, *, seed: int
    ) -> None:
        """Start in a folder, or resume what is there."""
        self.model, self.processor, self.folder, self.seed = model, processor, folder, seed
        torch.manual_seed(seed)
        self.aids = Aids(model)
        self.done: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._state = folder / "state.json"
        if self._state.exists():
            self.done = json.loads(self._state.read_text())["done"]
            self.model.load_state_dict(load_file(folder / "model.safetensors"))
            self.aids.load_state_dict(load_file(folder / "aids.safetensors"))

    def save(self, stage: Stage, optimizers: list[torch.optim.Optimizer], step: int) -> None:
        """Write everything that a resumed run needs; the state file last, by renaming."""
        save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, self.folder / "model.safetensors")
        save_file({k: v.contiguous() for k, v in self.aids.state_dict().items()}, self.folder / "aids.safetensors")
        torch.save([optimizer.state_dict() for optimizer in optimizers], self.folder / "optimizers.pt")
        self.done[stage.name] = step
        partial = self.folder / "state.json.partial"
        partial.write_text(json.dumps({"done": self.done, "seed": self.seed}))
        partial.replace(self._state)

    def run(self, stage: Stage, *, save_every_s: float = 120.0, log_every: int = 10) -> None:
        """Run a stage from where it stands to its end."""
        start = self.done.get(stage.name, 0)
        if start >= stage.steps:
            return
        optimizers = make_optimizers(self.model, self.aids, stage)
        if start:
            states = torch.load(self.folder / "optimizers.pt", weights_only=True)
            for optimizer, state in zip(optimizers, states, strict=True):
                optimizer.load_state_dict(state)
        self.model.train()
        saved, began, sums, count = time.monotonic(), time.monotonic(), {}, 0
        with (self.folder / "log.jsonl").open("a") as log:
            for step in range(start, stage.steps):
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                    for group in optimizer.param_groups:
                        group["lr"] = group["base_lr"] * learning_rate(stage, step)
                for parts in self._backward(stage, step):
                    for name, value in parts.items():
                        sums[name] = sums.get(name, 0.0) + float(value.detach())
                    count += 1
                for parameters in (self.model.parameters(), self.aids.parameters()):
                    torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 5.0)
                for optimizer in optimizers:
                    optimizer.step()
                if (step + 1) % log_every == 0 or step + 1 == stage.steps:
                    means: dict[str, Any] = {name: round(total / max(count, 1), 4) for name, total in sums.items()}
                    record = {"stage": stage.name, "step": step + 1, **means, "s": round(time.monotonic() - began, 1)}
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                    sums, count = {}, 0
                if time.monotonic() - saved > save_every_s or step + 1 == stage.steps:
                    self.save(stage, optimizers, step + 1)
                    saved = time.monotonic()

    def _backward(self, stage: Stage, step: int) -> Iterator[dict[str, Tensor]]:
        """Add the gradients of one step's screens; yield their parts."""

        def weigh(parts: dict[str, Tensor]) -> Tensor:
            losses = [
                value * stage.aid_weights.get(name, 1.0) for name, value in parts.items() if not name.startswith("acc_")
            ]
            return torch.stack(losses).sum()

        if stage.kind == "read":
            screens = [sample(stage, self.seed, step, index) for index in range(stage.batch)]
            parts = read_loss(self.model, self.aids, self.processor, screens)
            weigh(parts).backward()
            yield parts
            return
        for screen, example in training_examples(stage, self.seed, step, self.processor):
            frozen = stage.vision_scale == 0
            parts = point_loss(
                self.model, self.aids, self.processor, screen, example, read=not frozen, frozen_tower=frozen
            )
            (weigh(parts) / stage.batch).backward()
            yield parts
