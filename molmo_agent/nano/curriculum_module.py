"""Training nano by a curriculum, as a train module: stages one after another, each with optimizers of its own.

Weights are on every rank, and gradients are averaged: the models are small. In `read` stages a rank's losses are means
over its own crops, so that numbers agree between numbers of workers but for how those means are grouped.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.nano.architecture import REMARK, WINDOW, nano_processor, new_nano
from molmo_agent.nano.auxiliary_losses import AuxiliaryLosses, on
from molmo_agent.nano.batches import balance, point_loss, prepare_point, prepare_read, read_loss
from molmo_agent.nano.curriculum import Curriculum, Stage
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.pointers.profile import PointingProfile
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.checkpoint import RunFolder, read_weights, set_step, tensors
from molmo_agent.train.distributed import all_reduce_sum, average_gradients, own_device, own_rank, world_size
from molmo_agent.train.muon import Muon
from molmo_agent.train.train_module import StepTime

# Most that the gradient norm of the model may be, and that of the auxiliary losses' heads.
_CLIP = 5.0


class NanoWithHeads(nn.Module):
    """A model with the heads of its auxiliary losses."""

    def __init__(self, model: MolmoForConditionalGeneration) -> None:
        super().__init__()
        decoder: Any = model.model.language_model
        decoder.config._attn_implementation = TREE_ATTENTION
        self.model = model
        # Checkpoints of runs name the heads' tensors "aids.*".
        self.aids = AuxiliaryLosses(model)

    @property
    def auxiliary_losses(self) -> AuxiliaryLosses:
        """The heads."""
        return self.aids


def make_optimizers(nano: NanoWithHeads, stage: Stage) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest; tower and connector in groups of their own."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in nano.model.named_parameters():
        vision = "vision_tower" in name or "connector" in name
        hidden = parameter.ndim == 2 and (".layers." in name or "connector.p" in name) and "pad_embed" not in name
        frozen = stage.vision_scale == 0 and "vision_tower" in name
        parameter.requires_grad_(not frozen and (stage.kind == "point" or vision))
        if parameter.requires_grad:
            groups.setdefault((hidden, vision), []).append(parameter)

    def group(parameters: list[Tensor], rate: float, vision: bool) -> dict[str, Any]:
        # A frozen tower leaves the connector, which learns at a tenth.
        scale = (stage.vision_scale or 0.1) if vision and stage.kind == "point" else 1.0
        return {"params": parameters, "lr": rate * scale, "base_lr": rate * scale}

    muon = [group(members, stage.muon_lr, vision) for (hidden, vision), members in groups.items() if hidden]
    adam = [group(members, stage.adam_lr, vision) for (hidden, vision), members in groups.items() if not hidden]
    adam.append(group(list(nano.auxiliary_losses.parameters()), stage.adam_lr, False))
    return [
        Muon(muon, lr=stage.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(adam, lr=stage.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


_PROCESSOR: MolmoProcessor | None = None


def _start_drawing(processor: MolmoProcessor) -> None:
    global _PROCESSOR
    _PROCESSOR = processor
    torch.set_num_threads(1)


def _prepare(config: Curriculum, rank: int, world_size: int, step: int) -> Any:
    """Draw a rank's batch of a step of the whole curriculum, counted from 0."""
    assert _PROCESSOR is not None
    number, inside = config.place(step)
    stage = config.stages[number]
    prepare = prepare_read if stage.kind == "read" else prepare_point
    return prepare(stage, config.seed, inside, _PROCESSOR, rank, world_size)


def add_gradients(nano: NanoWithHeads, stage: Stage, batch: Any) -> dict[str, float]:
    """Add the gradients of a rank's part of a step, averaged over all ranks.

    Returns:
        This rank's means of every objective, of "acc_*" shares in [0, 1], and of their weighted sum, "loss"; nothing
        where it has nothing to learn from.
    """

    def weigh(parts: dict[str, Tensor]) -> Tensor:
        losses = [v * stage.aid_weights.get(name, 1.0) for name, v in parts.items() if not name.startswith("acc_")]
        return torch.stack(losses).sum()

    objectives: list[dict[str, Tensor]] = []
    losses: list[Tensor] = []
    model, heads = nano.model, nano.auxiliary_losses
    if stage.kind == "read":
        if len(batch.crops):
            parts = read_loss(model, heads, batch)
            num_crops = on(model.device, float(len(batch.crops)))
            loss = weigh(parts)
            (loss * num_crops / all_reduce_sum(num_crops)[0].float() * world_size()).backward()
            objectives, losses = [parts], [loss]
        else:
            all_reduce_sum(on(model.device, 0.0))
    else:
        # Screens with nothing to ask about are left out: how many there are is known by counting.
        screens = float(all_reduce_sum(on(model.device, float(len(batch))))[0])
        for example, dense in batch:
            parts = point_loss(model, heads, example, dense, frozen_tower=stage.vision_scale == 0)
            loss = weigh(parts)
            (loss / screens * world_size()).backward()
            objectives.append(parts)
            losses.append(loss)
    for parameter in nano.parameters():
        # Ranks exchange gradients of the same weights, whether their screens touched them or not.
        if parameter.requires_grad and parameter.grad is None and world_size() > 1:
            parameter.grad = torch.zeros_like(parameter)
    average_gradients(nano)
    if not objectives:
        return {}
    means = {name: sum(float(parts[name].detach()) for parts in objectives) / len(objectives) for name in objectives[0]}
    return means | {"loss": float(torch.stack(losses).detach().mean())}


class CurriculumModule:
    """nano, its stages and what they draw, on this rank; see :class:`molmo_agent.train.train_module.TrainModule`."""

    # Steps whose screens are drawn ahead, by another process.
    prefetch = 3

    def __init__(self, config: Curriculum) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.processor = nano_processor()
        if config.model == "nano-fresh":
            model = new_nano(self.processor, config.seed)
        else:
            model = MolmoForConditionalGeneration.from_pretrained(CHECKPOINT)
        self.nano = NanoWithHeads(model.float()).train().to(own_device())
        # Of the stage that was begun, if any: its number, and its optimizers.
        self._number: int | None = None
        self._optimizers: list[torch.optim.Optimizer] = []

    def problems(self) -> str:
        """Return nothing: screens are drawn."""
        return ""

    def restore(self, run: RunFolder) -> int:
        """Continue from the last complete checkpoint, or from the weights of the run that ``start`` names.

        Returns:
            The steps that the run has done.

        Raises:
            UsageError: there is no such checkpoint, or it is damaged.
        """
        done = run.step
        if done:
            number, inside = self.config.place(done)
            if inside:
                self._make_optimizers(number)
            # The first steps of a stage have no averages yet.
            run.load(self.state())
            set_step(self._optimizers, inside)
        elif self.config.start:
            read_weights(Path(self.config.start), self.nano)
        return done

    def _make_optimizers(self, number: int) -> None:
        self._number, self._optimizers = number, make_optimizers(self.nano, self.config.stages[number])

    def open_pool(self) -> Executor:
        """Return a process that draws."""
        return ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_drawing,
            initargs=(self.processor,),
        )

    def batch_loader(self) -> Callable[[int], Any]:
        """Return what draws this rank's batch of a step."""
        return partial(_prepare, self.config, own_rank(), world_size())

    def train_step(self, step: int, batch: Any) -> dict[str, Any]:
        """Take a step of the stage that it belongs to; return this rank's objectives."""
        number, inside = self.config.place(step)
        stage = self.config.stages[number]
        if number != self._number:
            self._make_optimizers(number)
            if stage.balance:
                examples = prepare_point(stage, self.config.seed, 0, self.processor)
                balance(self.nano.model, self.nano.auxiliary_losses, examples)
        rate = stage.rate(inside)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate
        parts = add_gradients(self.nano, stage, batch)
        model_norm, heads_norm = (
            float(nn.utils.clip_grad_norm_([p for p in module.parameters() if p.grad is not None], _CLIP))
            for module in (self.nano.model, self.nano.auxiliary_losses)
        )
        for optimizer in self._optimizers:
            optimizer.step()
        return {
            "stage": stage.name,
            "loss": parts.pop("loss", 0.0),
            "accuracy": parts.get("acc_tokens", parts.get("acc_characters", 0.0)),
            "parts": parts,
            "gradient_norms": {"model": model_norm, "aids": heads_norm, "total": model_norm},
            "learning_rates": {"llm": stage.muon_lr * rate},
        }

    def throughput(self, batch: Any, time: StepTime) -> dict[str, Any]:
        """Return times in s, and screens per second over all ranks."""
        assert self._number is not None
        total_s = time.seconds + time.waited
        return {
            "seconds": time.seconds,
            "waited": time.waited,
            "waited_share": time.waited / total_s,
            "images_per_s": self.config.stages[self._number].batch / total_s,
        }

    def ends_stage(self, done: int) -> bool:
        """Return whether a stage ends with so many steps done: the next one has other optimizers."""
        return self.config.place(done)[1] == 0

    def state(self) -> dict[str, Tensor]:
        """Return all weights, frozen ones and heads too, and the averages of the stage's optimizers."""
        return tensors(self.nano, self._optimizers, frozen=True)

    def export(self, folder: Path) -> None:
        """Write a checkpoint in half precision, without what only training needs."""
        if own_rank() != 0:
            return
        profile = PointingProfile(question="{}", max_new_tokens=96, constrained=True, window=WINDOW, remark=REMARK)
        MolmoPointer(self.nano.model.half(), self.processor, profile, name="nano").save_pretrained(folder)
