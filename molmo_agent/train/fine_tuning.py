"""The train module of fine-tuning: trains Molmo on a mixture of data sets."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molmo_agent.console import after_the_result
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.adapters import add_adapters
from molmo_agent.model.transformers_names import enable_activation_checkpointing
from molmo_agent.registry import UNTRAINED
from molmo_agent.train.batching.data_loader import DataLoader, RankBatch
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import TrainConfig, source_names
from molmo_agent.train.distributed import own_device, own_rank, world_size
from molmo_agent.train.export import export
from molmo_agent.train.flops import Flops, peak_of
from molmo_agent.train.optim import component_of, parts_of, set_step, tensors
from molmo_agent.train.scale.sharded_start import initialize_adapters, start_sharded
from molmo_agent.train.scale.sharding import compile_layers, shard
from molmo_agent.train.starting_model import load_model
from molmo_agent.train.step import ModelWithLoss, make_optimizer, train_step
from molmo_agent.train.train_module import StepTime
from molmo_agent.train.validation.answers import answers_of, rates, write_answers
from molmo_agent.train.validation.early_warning import EarlyWarning, records_until
from molmo_agent.train.validation.held_out import HeldOut, averaged


def prepare(config: TrainConfig, model: MolmoForConditionalGeneration) -> Any:
    """Apply a config's dropout, frozen components, adapters, activation checkpointing and compilation to a model."""
    model.model.set_dropout(config.residual_dropout, config.answer_dropout)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(component_of(name) not in config.freeze and parameter.is_floating_point())
    if config.lora is not None:
        lora = config.lora
        add_adapters(model, targets=lora.targets, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)
        for name, parameter in model.named_parameters():
            if component_of(name) == "llm":
                parameter.requires_grad_("lora_" in name)
        if lora.dropout:
            model.model.seed_dropouts()
    if config.activation_checkpointing:
        enable_activation_checkpointing(model)
    if config.compile:
        compile_layers(model)
    return model


def start(config: TrainConfig) -> tuple[ModelWithLoss, MolmoProcessor]:
    """Return the prepared model on this rank's device, sharded as the config says, and its processor.

    Raises:
        UsageError: the model cannot be loaded, or the number of ranks does not fit the sharding.
    """
    sharded = world_size() > 1 and config.sharding != "none"
    if sharded and config.model not in UNTRAINED:
        return start_sharded(config, prepare)
    whole, processor = load_model(config)
    model = ModelWithLoss(prepare(config, whole), config).to(own_device())
    initialize_adapters(model.model, config.seed)
    return shard(model, config) if sharded else model, processor


class FineTuning:
    """Weights, optimizer and data of a fine-tuning run on this rank; see :class:`.TrainModule`.

    Raises:
        UsageError: the model or a data set cannot be read.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.prefetch = config, config.prefetch
        self.world_size, self.rank, self.device = world_size(), own_rank(), own_device()
        # The same on all ranks, for the first weights of adapters.
        torch.manual_seed(config.seed)
        self.model, self.processor = start(config)
        self.loader = DataLoader(config, self.processor, Flops(self.model.model.config))
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self.held_out = HeldOut(config, self.processor, self.loader.flops) if config.validate else None
        weights, names = self.loader.sampler.rates, source_names(config.mixture)
        shares = dict(zip(names, (weight / sum(weights) for weight in weights), strict=True))
        self.early_warning = EarlyWarning(shares, config.steps * config.batch)
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.ema = {name: p.detach().clone() for name, p in trained.items()} if config.ema else None

    def problems(self) -> str:
        """Return the unusable rows."""
        unusable = Problems([problem for source in self.loader.sources for problem in source.problems.entries])
        return unusable.summary(most=len(unusable.entries)) if unusable.entries else ""

    def restore(self, run: RunFolder) -> int:
        """Resume from the last complete checkpoint; return its step."""
        step = run.load(self.state())
        set_step(parts_of(self.optimizer), step)
        self.early_warning.replay(records_until(run.folder, step))
        self.model.train()
        return step

    def open_pool(self) -> Executor:
        """Return a thread pool: preparing images releases the interpreter's lock."""
        return ThreadPoolExecutor(self.prefetch)

    def batch_loader(self) -> Callable[[int], RankBatch]:
        """Return a function that prepares this rank's batch of a step."""
        return partial(self.loader.batch, rank=self.rank, world_size=self.world_size)

    def train_step(self, step: int, batch: RankBatch) -> dict[str, Any]:
        """Run a step on this rank's sequences; return the fields of :class:`.StepReport`."""
        torch.manual_seed(self.config.seed * 1_000_003 + step * 1009 + self.rank)
        report = train_step(self.model, self.optimizer, batch.sequences, self.config, step + 1)
        names = source_names(self.config.mixture)
        counts = {
            "drawn": {names[source]: count for source, count in sorted(batch.drawn.items())},
            "used": {names[source]: count for source, count in sorted(batch.used.items())},
        }
        warnings = self.early_warning.observe({"step": step + 1, "loss": report.loss, **counts}, batch.skip_reasons)
        if self.ema:
            self._update_ema(self.ema, self.config.ema or 0.0)
        return {**asdict(report), **counts, **({"warnings": warnings} if warnings else {})}

    @torch.no_grad()
    def _update_ema(self, ema: dict[str, Tensor], decay: float) -> None:
        for name, parameter in self.model.named_parameters():
            if name in ema:
                ema[name].lerp_(parameter.detach(), 1 - decay)

    def throughput(self, batch: RankBatch, time: StepTime) -> dict[str, Any]:
        """Return times, rates over all ranks, model FLOPs utilization, and the data that could not be used."""
        total_s = time.seconds + time.waited + time.other
        rate = batch.work.step(self.config.freeze, adapters=self.config.lora is not None) / total_s
        peak = peak_of(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
        return {
            **asdict(time),
            "waited_share": time.waited / total_s,
            "tokens_per_s": batch.tokens / total_s,
            "images_per_s": batch.images / total_s,
            "teraflops": rate / 1e12,
            **({"mfu": rate / (peak * self.world_size)} if peak else {}),
            "skipped": batch.skip_reasons,
            "cut": batch.num_truncated,
        }

    def validate(self, step: int, folder: Path) -> dict[str, Any] | None:
        """Measure the held-out loss every so many steps; rank 0 also lets the model answer some examples."""
        settings = self.config.validate
        if self.held_out is None or settings is None or (step % settings.every and step != self.config.steps):
            return None
        with averaged(self.model, self.ema):
            measured = self.held_out.measure(self.model)
            # Sharded weights cannot answer on one rank alone.
            if settings.generate and self.rank == 0 and (self.world_size == 1 or self.config.sharding == "none"):
                answers = answers_of(self.held_out, self.model, self.processor, settings.generate)
                measured["answers"] = rates(answers)
                with after_the_result("the page of held-out examples", "the next measurement writes it again"):
                    write_answers(folder, step, measured, answers)
        return measured

    def ends_stage(self, step: int) -> bool:
        """Return False: the whole run is one stage."""
        return False

    def state(self) -> dict[str, Tensor]:
        """Return the trained weights, the optimizer's averages and the moving average of the weights."""
        return tensors(self.model, parts_of(self.optimizer), self.ema)

    def export(self, folder: Path) -> None:
        """Write the trained model; see :func:`.export.export`."""
        export(self.config, self.model, self.processor, folder, self.ema)
