"""The train module of a curriculum: trains nano stage by stage, each with its own optimizers.

Every rank holds all weights, and gradients are averaged, since the models are small. `point` stages compute the same on
any number of workers. In `read` stages they do not: a rank's losses are means over its own crops, and these means are
averaged.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.nano.architecture import REMARK, WINDOW, nano_processor, new_nano
from molmo_agent.nano.auxiliary_losses import AuxiliaryLosses, on
from molmo_agent.nano.batches import balance, point_loss, prepare_point, prepare_read, read_loss
from molmo_agent.nano.curriculum import Curriculum, Stage
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.pointers.profile import PointingProfile
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.checkpoint import RunFolder, read_weights
from molmo_agent.train.distributed import (
    all_reduce_sum,
    average_gradients,
    mean_over_ranks,
    own_device,
    own_rank,
    world_size,
)
from molmo_agent.train.muon import Muon
from molmo_agent.train.optim import is_inner_matrix, set_step, tensors
from molmo_agent.train.train_module import StepTime

# Maximum gradient norm, of the model and of the auxiliary losses' heads separately.
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
    """Return Muon for the hidden matrices and AdamW for the rest; tower and connector have their own groups."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in nano.model.named_parameters():
        vision = "vision_tower" in name or "connector" in name
        hidden = is_inner_matrix(name, parameter)
        frozen = stage.vision_scale == 0 and "vision_tower" in name
        parameter.requires_grad_(not frozen and (stage.kind == "point" or vision))
        if parameter.requires_grad:
            groups.setdefault((hidden, vision), []).append(parameter)

    def group(parameters: list[Tensor], rate: float, vision: bool) -> dict[str, Any]:
        # With a frozen tower, the connector still learns, at a tenth of the rate.
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
    """Draw a rank's batch of a step; steps of the whole curriculum count from 0."""
    assert _PROCESSOR is not None
    number, inside = config.place(step)
    stage = config.stages[number]
    prepare = prepare_read if stage.kind == "read" else prepare_point
    return prepare(stage, config.seed, inside, _PROCESSOR, rank, world_size)


def add_gradients(nano: NanoWithHeads, stage: Stage, batch: Any) -> dict[str, float]:
    """Add the gradients of a rank's batch, averaged over all ranks.

    Returns:
        This rank's means of every objective, of the "acc_*" shares in [0, 1], and of the weighted sum, "loss"; empty
        if the batch is empty.
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
        # Screens without a target are skipped, so the number of screens must be counted.
        screens = float(all_reduce_sum(on(model.device, float(len(batch))))[0])
        for example, dense in batch:
            parts = point_loss(model, heads, example, dense, frozen_tower=stage.vision_scale == 0)
            loss = weigh(parts)
            (loss / screens * world_size()).backward()
            objectives.append(parts)
            losses.append(loss)
    for parameter in nano.parameters():
        # All ranks must exchange gradients of the same weights, even if their screens have none.
        if parameter.requires_grad and parameter.grad is None and world_size() > 1:
            parameter.grad = torch.zeros_like(parameter)
    average_gradients(nano)
    if not objectives:
        return {}
    means = {name: sum(float(parts[name].detach()) for parts in objectives) / len(objectives) for name in objectives[0]}
    return means | {"loss": float(torch.stack(losses).detach().mean())}


class CurriculumModule:
    """The train module of a curriculum; see :class:`molmo_agent.train.train_module.TrainModule`."""

    # Number of steps whose screens another process draws in advance.
    prefetch = 3

    def __init__(self, config: Curriculum) -> None:
        self.config = config
        for stage in config.stages:
            share = stage.crops if stage.kind == "read" else stage.batch
            if share < world_size():
                what = "crops" if stage.kind == "read" else "batch"
                raise UsageError(
                    f"stage {stage.name!r} has {what}={share} for {world_size()} processes; each needs at least one: "
                    f"raise {what}, or start fewer"
                )
        torch.manual_seed(config.seed)
        self.processor = nano_processor()
        if config.model == "nano-fresh":
            model = new_nano(self.processor, config.seed)
        else:
            model = MolmoForConditionalGeneration.from_pretrained(CHECKPOINT, trust_remote_code=False)
        self.nano = NanoWithHeads(model.float()).train().to(own_device())
        # The current stage's number, if any, and its optimizers.
        self._number: int | None = None
        self._optimizers: list[torch.optim.Optimizer] = []

    def problems(self) -> str:
        """Return an empty text: drawn screens have no unusable rows."""
        return ""

    def restore(self, run: RunFolder) -> int:
        """Resume from the last complete checkpoint, or load the weights of the run in ``start``.

        Returns:
            The number of finished steps.

        Raises:
            UsageError: the checkpoint is missing or damaged.
        """
        step = run.step
        if step:
            number, inside = self.config.place(step)
            if inside:
                self._make_optimizers(number)
            # At the start of a stage there are no averages yet.
            run.load(self.state())
            set_step(self._optimizers, inside)
        elif self.config.start:
            read_weights(Path(self.config.start), self.nano)
        return step

    def _make_optimizers(self, number: int) -> None:
        self._number, self._optimizers = number, make_optimizers(self.nano, self.config.stages[number])

    def open_pool(self) -> Executor:
        """Return a process pool for drawing screens."""
        return ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_drawing,
            initargs=(self.processor,),
        )

    def batch_loader(self) -> Callable[[int], Any]:
        """Return a function that draws this rank's batch of a step."""
        return partial(_prepare, self.config, own_rank(), world_size())

    def train_step(self, step: int, batch: Any) -> dict[str, Any]:
        """Run a step in its stage and return its objectives over all ranks."""
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
        num_examples = len(batch.crops if stage.kind == "read" else batch)
        parts = mean_over_ranks(add_gradients(self.nano, stage, batch), num_examples)
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

    def validate(self, step: int, folder: Path) -> None:
        """Return None: a curriculum is scored by its own suite of screens."""
        return

    def ends_stage(self, step: int) -> bool:
        """Return whether a stage ends after this number of steps; the next one has other optimizers."""
        return self.config.place(step)[1] == 0

    def state(self) -> dict[str, Tensor]:
        """Return all weights, including frozen ones and heads, and the averages of the stage's optimizers."""
        return tensors(self.nano, self._optimizers, frozen=True)

    def export(self, folder: Path) -> None:
        """Write a checkpoint in half precision, without the heads."""
        if own_rank() != 0:
            return
        profile = PointingProfile(question="{}", max_new_tokens=96, constrained=True, window=WINDOW, remark=REMARK)
        MolmoPointer(self.nano.model.half(), self.processor, profile, name="nano").save_pretrained(folder)
