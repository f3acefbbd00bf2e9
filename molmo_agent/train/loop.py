"""The plain training loop: one process, stages one after another, resumable from its last checkpoint.

What step n of a stage sees is a pure function of (seed, stage, n), so a resumed run continues with the same screens.
"""

import json
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.errors import RunStopped
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.train.aids import Aids, DenseTargets, by_crop, dense_targets
from molmo_agent.train.draw import draw, seed_of
from molmo_agent.train.muon import Muon
from molmo_agent.train.phrases import ask_all
from molmo_agent.train.screens import TrainingScreen, make_training_screen
from molmo_agent.train.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.tree_attention import Forest


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with one objective mix."""

    name: str
    # `read`: tower and connector on crops of screens. `point`: everything, on whole screens with questions.
    kind: Literal["read", "point"]
    # Optimizer steps, and screens in each.
    steps: int
    batch: int
    # Crops of those screens that a `read` step keeps: the ones that show most.
    crops: int = 0
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
    # Begin by bringing image features to unit size (see balance).
    balance: bool = False


def learning_rate(stage: Stage, step: int) -> float:
    """Return the factor on the learning rates at a step (0-based): warm-up, plateau, linear fall to zero."""
    up = min(1.0, (step + 1) / max(stage.warmup_steps, 1))
    down = (stage.steps - step) / max(stage.decay * stage.steps, 1)
    return min(up, 1.0, down)


def sample(stage: Stage, seed: int, step: int, index: int) -> Screen:
    """Draw the screen number ``index`` of a step."""
    rng = Random(seed_of(seed, stage.name, step, index))
    (width, height) = rng.choices(list(stage.sizes), list(stage.sizes.values()))[0]
    style = rng.choices(list(stage.styles), list(stage.styles.values()))[0]
    return draw(rng.getrandbits(31), style, width=width, height=height, split="train")


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
        Muon(muon, lr=stage.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(adam, lr=stage.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Crops, with what their patches and image tokens show."""

    # (crops, N, patch*patch*3) and (crops, N).
    crops: Tensor
    masks: Tensor
    targets: list[DenseTargets]


def prepare_read(stage: Stage, seed: int, step: int, processor: MolmoProcessor) -> ReadBatch:
    """Draw the screens of a `read` step and keep the crops that show most.

    The crops are those of whole screens as they ship: resized and cut alike, words at their borders included.
    """
    found: list[tuple[float, Tensor, Tensor, DenseTargets]] = []
    for index in range(stage.batch):
        screen = sample(stage, seed, step, index)
        height, width = screen.image.shape[:2]
        layout, grid = processor.image_processor.grid_of(height, width)
        arrays = processor.image_processor.process_one(screen.image)[0]
        # The global crop comes first among the crops; its mask last (see crop_masks).
        crops, masks = arrays["pixel_values"][1:], arrays["image_masks"][:-1]
        targets = dense_targets(screen, grid, layout, words=True, max_items=400)
        for crop, mask, target in zip(crops, masks, by_crop(targets, grid, layout), strict=True):
            found.append((target.amount(), torch.from_numpy(crop), torch.from_numpy(mask), target))
    found.sort(key=lambda item: item[0], reverse=True)
    kept = found[: stage.crops]
    return ReadBatch(
        crops=torch.stack([crop for _, crop, _, _ in kept]),
        masks=torch.stack([mask for _, _, mask, _ in kept]),
        targets=[target for _, _, _, target in kept],
    )


def read_loss(model: MolmoForConditionalGeneration, aids: Aids, batch: ReadBatch) -> dict[str, Tensor]:
    """Objectives of one `read` step."""
    patches = model.model.encode_crops(batch.crops)
    return aids.read(patches, model.model.connector(patches, batch.masks), batch.targets)


def prepare_point(
    stage: Stage, seed: int, step: int, processor: MolmoProcessor
) -> list[tuple[TrainingScreen, DenseTargets]]:
    """Draw the screens of a `point` step; those with nothing to ask for are left out."""
    prepared = []
    for index in range(stage.batch):
        screen = sample(stage, seed, step, index)
        rng = Random(seed_of(seed, stage.name, step, index, "questions"))
        questions = ask_all(screen.elements, rng)
        rng.shuffle(questions)
        if not questions:
            continue
        height, width = screen.image.shape[:2]
        layout, grid = processor.image_processor.grid_of(height, width)
        example = make_training_screen(
            screen, questions[: stage.max_questions], processor, rng, tail=stage.tail, sigma=stage.sigma
        )
        prepared.append((example, dense_targets(screen, grid, layout, words=False)))
    return prepared


def point_loss(
    model: MolmoForConditionalGeneration,
    aids: Aids,
    example: TrainingScreen,
    dense: DenseTargets,
    *,
    frozen_tower: bool,
) -> dict[str, Tensor]:
    """Objectives of one screen with its questions."""
    arrays = {name: torch.from_numpy(array) for name, array in example.arrays.items()}
    with torch.set_grad_enabled(not frozen_tower):
        patches = model.model.encode_crops(arrays["pixel_values"])
    features = model.model.connector(patches, arrays["image_masks"])
    ids = torch.from_numpy(example.input_ids)[None]
    embeds = model.model.embed(ids, features[None], arrays["image_input_idx"][None])
    segments = torch.from_numpy(example.subsegment_ids)
    outputs = model.model.language_model(
        inputs_embeds=embeds,
        forest=Forest.of(torch.zeros_like(segments), segments, embeds.dtype),
        position_ids=torch.from_numpy(example.position_ids)[None],
        use_cache=False,
        output_hidden_states=True,
    )
    targets, weights = torch.from_numpy(example.targets), torch.from_numpy(example.loss_weights)
    rows = targets >= 0
    logits = model.lm_head(outputs.last_hidden_state[0, rows])
    token_loss = F.cross_entropy(logits, targets[rows], reduction="none")
    parts = {
        "tokens": (token_loss * weights[rows]).sum() / weights.sum(),
        "acc_tokens": (logits.argmax(-1) == targets[rows]).float().mean(),
        **aids.point(model, outputs.hidden_states, example),
    }
    if not frozen_tower:
        # Features of the grid in reading order: each image token from the crop that supplies it.
        index = arrays["image_input_idx"][1:].flatten()
        kept = (index >= 0).nonzero().flatten()
        order = torch.empty(len(example.grid_positions), dtype=torch.long)
        order[torch.searchsorted(torch.from_numpy(example.grid_positions), index[kept])] = kept
        parts |= aids.read(patches[1:], features[1:].flatten(0, 1)[order][None], [dense])
    return parts


@torch.no_grad()
def balance(model: MolmoForConditionalGeneration, aids: Aids, batch: list[tuple[TrainingScreen, DenseTargets]]) -> None:
    """Bring image features to unit size before the decoder learns from them; changes no objective.

    The reading objectives do not care how large features are, and they grow. Beside features of size 5 the
    decoder's own first contributions (size 0.05) are rounding noise, and it cannot tell where on the screen
    a token lies.
    """
    arrays = batch[0][0].arrays
    features = model.get_image_features(
        torch.from_numpy(arrays["pixel_values"])[None], torch.from_numpy(arrays["image_masks"])[None]
    )
    size = float(features.std())
    model.model.connector.projector.down_proj.weight.div_(size)
    for head in (aids.objects, aids.offsets, aids.image_code):
        head.weight.mul_(size)


_PROCESSOR: MolmoProcessor | None = None


def _start_worker(processor: MolmoProcessor) -> None:
    global _PROCESSOR
    _PROCESSOR = processor
    torch.set_num_threads(1)


def _prepare(stage: Stage, seed: int, step: int) -> Any:
    assert _PROCESSOR is not None
    return (prepare_read if stage.kind == "read" else prepare_point)(stage, seed, step, _PROCESSOR)


def batches(
    stage: Stage, seed: int, start: int, processor: MolmoProcessor, *, ahead: int = 3
) -> Iterator[tuple[int, Any]]:
    """Yield (step, batch) from ``start`` on, drawn by another process a few steps ahead."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker, initargs=(processor,)) as pool:
        waiting: deque[Future[Any]] = deque()
        submitted = start
        for step in range(start, stage.steps):
            while submitted < min(step + ahead, stage.steps):
                waiting.append(pool.submit(_prepare, stage, seed, submitted))
                submitted += 1
            yield step, waiting.popleft().result()


class Trainer:
    """Runs stages; owns the model, the aids, the optimizers and the run's folder."""

    def __init__(
        self, model: MolmoForConditionalGeneration, processor: MolmoProcessor, folder: Path, *, seed: int
    ) -> None:
        """Start in a folder, or resume what is there."""
        self.model, self.processor, self.folder, self.seed = model, processor, folder, seed
        torch.manual_seed(seed)
        decoder: Any = model.model.language_model
        decoder.config._attn_implementation = TREE_ATTENTION
        self.aids = Aids(model)
        self.done: dict[str, int] = {}
        self._stop_asked = False
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
        """Run a stage from where it stands to its end.

        Raises:
            RunStopped: :meth:`ask_to_stop` was called; everything is saved.
        """
        start = self.done.get(stage.name, 0)
        if start >= stage.steps:
            return
        optimizers = make_optimizers(self.model, self.aids, stage)
        if start:
            states = torch.load(self.folder / "optimizers.pt", weights_only=True)
            for optimizer, state in zip(optimizers, states, strict=True):
                rates = [group["base_lr"] for group in optimizer.param_groups]
                optimizer.load_state_dict(state)
                # The recipe decides, not what it said when the state was written.
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["base_lr"] = rate
        elif stage.balance:
            balance(self.model, self.aids, prepare_point(stage, self.seed, 0, self.processor))
        self.model.train()
        sums: dict[str, float] = {}
        saved, began, count = time.monotonic(), time.monotonic(), 0
        with (self.folder / "log.jsonl").open("a") as log:
            for step, batch in batches(stage, self.seed, start, self.processor):
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                    for group in optimizer.param_groups:
                        group["lr"] = group["base_lr"] * learning_rate(stage, step)
                for parts in self._backward(stage, batch):
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
                stopping = self._stop_asked
                if time.monotonic() - saved > save_every_s or step + 1 == stage.steps or stopping:
                    self.save(stage, optimizers, step + 1)
                    saved = time.monotonic()
                if stopping:
                    raise RunStopped(f"stopped after step {step + 1} of stage {stage.name!r}; the same command resumes")

    def ask_to_stop(self, *_: object) -> None:
        """Finish the current step, save and raise :class:`RunStopped`; fit to be a signal handler."""
        self._stop_asked = True

    def _backward(self, stage: Stage, batch: Any) -> Iterator[dict[str, Tensor]]:
        """Add the gradients of one step's screens; yield their parts."""

        def weigh(parts: dict[str, Tensor]) -> Tensor:
            losses = [
                value * stage.aid_weights.get(name, 1.0) for name, value in parts.items() if not name.startswith("acc_")
            ]
            return torch.stack(losses).sum()

        if stage.kind == "read":
            parts = read_loss(self.model, self.aids, batch)
            weigh(parts).backward()
            yield parts
            return
        for example, dense in batch:
            parts = point_loss(self.model, self.aids, example, dense, frozen_tower=stage.vision_scale == 0)
            (weigh(parts) / len(batch)).backward()
            yield parts
