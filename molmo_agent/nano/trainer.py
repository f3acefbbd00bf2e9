"""Training by a curriculum on this rank: stages one after another, resumable, the same on any number of workers.

Weights are on every rank, and gradients are averaged: the models are small. In `read` stages a rank's losses are means
over its own crops, so that numbers agree between numbers of workers but for how those means are grouped.
"""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.nano.architecture import REMARK, WINDOW, nano_processor, new_nano
from molmo_agent.nano.auxiliary_losses import Aids, on
from molmo_agent.nano.batches import balance, point_loss, prepare_point, prepare_read, read_loss
from molmo_agent.nano.curriculum import Curriculum, Stage
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.pointers.profile import PointingProfile
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.checkpoint import RunFolder, read_weights, set_step, tensors
from molmo_agent.train.loggers import open_loggers
from molmo_agent.train.muon import Muon
from molmo_agent.train.recipe import to_dict
from molmo_agent.train.step import average_gradients, own_device, ranks, total
from molmo_agent.train.trainer import Saved, Told, most

# Most that the gradient norm of the model may be, and that of the aids.
_CLIP = 5.0


class Pupil(nn.Module):
    """A model with the heads of its training-only objectives."""

    def __init__(self, model: MolmoForConditionalGeneration) -> None:
        super().__init__()
        decoder: Any = model.model.language_model
        decoder.config._attn_implementation = TREE_ATTENTION
        self.model, self.aids = model, Aids(model)


def make_optimizers(pupil: Pupil, stage: Stage) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest; tower and connector in groups of their own."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in pupil.model.named_parameters():
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

    muon = [group(found, stage.muon_lr, vision) for (hidden, vision), found in groups.items() if hidden]
    adam = [group(found, stage.adam_lr, vision) for (hidden, vision), found in groups.items() if not hidden]
    adam.append(group(list(pupil.aids.parameters()), stage.adam_lr, False))
    return [
        Muon(muon, lr=stage.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(adam, lr=stage.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


_PROCESSOR: MolmoProcessor | None = None


def _start_drawing(processor: MolmoProcessor) -> None:
    global _PROCESSOR
    _PROCESSOR = processor
    torch.set_num_threads(1)


def _prepare(stage: Stage, seed: int, step: int, rank: int, count: int) -> Any:
    assert _PROCESSOR is not None
    return (prepare_read if stage.kind == "read" else prepare_point)(stage, seed, step, _PROCESSOR, rank, count)


def batches(
    stage: Stage, seed: int, start: int, processor: MolmoProcessor, rank: int, count: int, *, ahead: int = 3
) -> Iterator[tuple[int, Any, float]]:
    """Yield (step, batch, seconds waited for it) from ``start`` on, drawn by another process a few steps ahead."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start_drawing, initargs=(processor,)) as pool:
        waiting: deque[Future[Any]] = deque()
        submitted = start
        for step in range(start, stage.steps):
            while submitted < min(step + ahead, stage.steps):
                waiting.append(pool.submit(_prepare, stage, seed, submitted, rank, count))
                submitted += 1
            began = time.perf_counter()
            yield step, waiting.popleft().result(), time.perf_counter() - began


def learn(pupil: Pupil, stage: Stage, batch: Any) -> dict[str, float]:
    """Add the gradients of a rank's part of a step, averaged over all ranks; return this rank's objectives."""

    def weigh(parts: dict[str, Tensor]) -> Tensor:
        losses = [v * stage.aid_weights.get(name, 1.0) for name, v in parts.items() if not name.startswith("acc_")]
        return torch.stack(losses).sum()

    found: list[dict[str, Tensor]] = []
    losses: list[Tensor] = []
    if stage.kind == "read":
        if len(batch.crops):
            parts = read_loss(pupil.model, pupil.aids, batch)
            share = on(pupil.model.device, float(len(batch.crops)))
            loss = weigh(parts)
            (loss * share / total(share)[0].float() * ranks()).backward()
            found, losses = [parts], [loss]
        else:
            total(on(pupil.model.device, 0.0))
    else:
        # Screens with nothing to ask about are left out: how many there are is known by counting.
        screens = float(total(on(pupil.model.device, float(len(batch))))[0])
        for example, dense in batch:
            parts = point_loss(pupil.model, pupil.aids, example, dense, frozen_tower=stage.vision_scale == 0)
            loss = weigh(parts)
            (loss / screens * ranks()).backward()
            found.append(parts)
            losses.append(loss)
    for parameter in pupil.parameters():
        # Ranks exchange gradients of the same weights, whether their screens touched them or not.
        if parameter.requires_grad and parameter.grad is None and ranks() > 1:
            parameter.grad = torch.zeros_like(parameter)
    average_gradients(pupil)
    means = {name: sum(float(parts[name].detach()) for parts in found) / len(found) for name in (found or [{}])[0]}
    return means | ({"loss": float(torch.stack(losses).detach().mean())} if losses else {})


def train(
    config: Curriculum,
    folder: Path,
    *,
    told: Told | None = None,
    saved: Saved = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Run from where the folder stands to the end; every rank calls this. Arguments as of ``runner.train``.

    Raises:
        UsageError: the folder is another run's, or a checkpoint cannot be read or written.
    """
    count, rank = ranks(), dist.get_rank() if dist.is_initialized() else 0
    torch.manual_seed(config.seed)
    run = RunFolder(folder, config)
    try:
        processor = nano_processor()
        fresh = config.model == "nano-fresh"
        model = new_nano(processor, config.seed) if fresh else MolmoForConditionalGeneration.from_pretrained(CHECKPOINT)
        pupil = Pupil(model.float()).train().to(own_device())
        loggers = open_loggers(config.loggers if rank == 0 else (), folder, to_dict(config))
        done = run.step
        if config.start and not done:
            read_weights(Path(config.start), pupil)
        number, inside = config.place(done)
        run.forget_after(done)
        for later, stage in enumerate(config.stages[number:]):
            optimizers = make_optimizers(pupil, stage)
            if later == 0 and done:
                # The first steps of a stage have no averages yet.
                run.load(tensors(pupil, optimizers if inside else [], frozen=True))
                set_step(optimizers, inside)
            start = inside if later == 0 else 0
            if stage.balance and not start:
                balance(pupil.model, pupil.aids, prepare_point(stage, config.seed, 0, processor))
            for step, batch, waited in batches(stage, config.seed, start, processor, rank, count):
                began = time.perf_counter()
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                    for group in optimizer.param_groups:
                        group["lr"] = group["base_lr"] * stage.rate(step)
                parts = learn(pupil, stage, batch)
                norms = [
                    float(nn.utils.clip_grad_norm_([p for p in part.parameters() if p.grad is not None], _CLIP))
                    for part in (pupil.model, pupil.aids)
                ]
                for optimizer in optimizers:
                    optimizer.step()
                done += 1
                seconds = time.perf_counter() - began
                record = {
                    "step": done,
                    "stage": stage.name,
                    "loss": parts.pop("loss", 0.0),
                    "accuracy": parts.get("acc_tokens", parts.get("acc_characters", 0.0)),
                    "parts": parts,
                    "gradient_norms": {"model": norms[0], "aids": norms[1], "total": norms[0]},
                    "learning_rates": {"llm": stage.muon_lr * stage.rate(step)},
                    "seconds": seconds,
                    "waited": waited,
                    "waited_share": waited / (seconds + waited),
                    "images_per_s": stage.batch / (seconds + waited),
                }
                if rank == 0:
                    run.log(record)
                    for logger in loggers:
                        logger.log(record)
                if told:
                    told(record)
                asked = most(2 if run.failed else int(stop()))
                if asked < 2:
                    saved(run.check())
                    last = step + 1 == stage.steps
                    if done % config.checkpoint_every == 0 or last or asked:
                        run.save(done, tensors(pupil, optimizers, frozen=True))
                if asked:
                    break
            else:
                continue
            break
        saved(run.finish())
        for logger in loggers:
            logger.close()
        if done == config.steps and rank == 0:
            export(pupil.model, processor, folder / "export")
        return done
    finally:
        run.close()


def export(model: MolmoForConditionalGeneration, processor: MolmoProcessor, folder: Path) -> None:
    """Write a checkpoint in half precision, without what only training needs."""
    profile = PointingProfile(question="{}", max_new_tokens=96, constrained=True, window=WINDOW, remark=REMARK)
    MolmoPointer(model.half(), processor, profile, name="nano").save_pretrained(folder)
