"""A training run on this rank: the same function in one process, under torchrun and under Ray."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.pointer import PROFILE_FILE
from molmo_agent.train.checkpoint import RunFolder, tensors
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.data.problems import Problems
from molmo_agent.train.optim import component_of
from molmo_agent.train.step import Learner, StepReport, make_optimizer, ranks, shard, train_step
from molmo_agent.train.stream import RankBatch, Stream, flops_of

PROBLEMS_FILE = "problems.txt"
"""Beside the metrics: what could not be read of the data sets."""

Told = Callable[[int, StepReport, dict[str, Any]], None]


def load_model(config: TrainConfig) -> tuple[MolmoForConditionalGeneration, MolmoProcessor]:
    """Return the model to train, in float32, and its processor. "nano" is the embedded one, "nano-fresh" untrained."""
    if config.model == "nano-fresh":
        from molmo_agent.train.nano import nano_processor, new_nano

        processor = nano_processor()
        return new_nano(processor, config.seed), processor
    source = source_of(config)
    try:
        processor = MolmoProcessor.from_pretrained(source)
        model = MolmoForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UsageError(f"expected a Molmo checkpoint at {str(source)!r} to train from, but: {error}") from error
    return model, processor


def source_of(config: TrainConfig) -> str:
    """Return the folder or hub name that a run starts from."""
    from molmo_agent.model.nano import CHECKPOINT

    return str(CHECKPOINT) if config.model.startswith("nano") else config.model


def prepare(config: TrainConfig, model: MolmoForConditionalGeneration) -> Any:
    """Apply what a config says about which weights learn, and how."""
    model.model.set_dropout(config.residual_dropout, config.answer_dropout)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(component_of(name) not in config.freeze)
    if config.lora is not None:
        from peft import LoraConfig, inject_adapter_in_model

        settings = config.lora
        inject_adapter_in_model(
            LoraConfig(
                r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=settings.targets
            ),
            model,
        )
        for name, parameter in model.named_parameters():
            if component_of(name) == "llm":
                parameter.requires_grad_("lora_" in name)
    if config.activation_checkpointing:
        model.activation_checkpointing_enable()
    return model


def batches(stream: Stream, start: int, rank: int, count: int) -> Iterator[tuple[int, RankBatch, float]]:
    """Yield (step, batch, seconds waited for it), made one step ahead."""
    with ThreadPoolExecutor(1) as pool:
        steps = range(start, stream.config.steps)
        ready = pool.submit(stream.batch, start, rank, count) if steps else None
        for step in steps:
            assert ready is not None
            began = time.perf_counter()
            batch = ready.result()
            waited = time.perf_counter() - began
            if step + 1 < stream.config.steps:
                ready = pool.submit(stream.batch, step + 1, rank, count)
            yield step, batch, waited


def train(config: TrainConfig, folder: Path, *, told: Told | None = None, stop: Callable[[], bool] = lambda: False) -> int:
    """Run from where the folder stands to the end; every rank calls this.

    Args:
        config: the run.
        folder: its checkpoints and metrics; the same folder resumes.
        told: called on every rank after every step with (step, report, times and what could not be used).
        stop: asked after every step; True saves and returns.

    Returns:
        The last step done.

    Raises:
        UsageError: the folder is another run's, or a checkpoint cannot be read or written.
        ModelError: the loss is not a number.
    """
    count, rank = ranks(), dist.get_rank() if dist.is_initialized() else 0
    torch.manual_seed(config.seed + rank)
    run = RunFolder(folder, config)
    try:
        model, processor = load_model(config)
        stream = Stream(config, processor, flops_of(model.config))
        unusable = Problems([problem for source in stream.sources for problem in source.problems.found])
        if rank == 0 and unusable.found:
            (folder / PROBLEMS_FILE).write_text(unusable.summary(most=len(unusable.found)) + "\n", encoding="utf-8")
        learner = Learner(prepare(config, model), config)
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        learner.to(device)
        if count > 1:
            shard(learner)
        optimizer = make_optimizer(learner, config.optimizer)
        ema = {n: p.detach().clone() for n, p in learner.named_parameters()} if config.ema else None
        state = tensors(learner, optimizer, ema)
        start = run.load(state)
        for parameter, moments in optimizer.state.items():
            if start and parameter.requires_grad:
                moments["step"] = torch.tensor(float(start))
        run.forget_after(start)
        learner.train()
        done = start
        for number, batch, waited in batches(stream, start, rank, count):
            began = time.perf_counter()
            torch.manual_seed(config.seed * 1_000_003 + number * 1009 + rank)
            report = train_step(learner, optimizer, batch.sequences, config, number + 1)
            done = number + 1
            if ema:
                _follow(ema, learner, config.ema or 0.0)
            rest: dict[str, Any] = {"seconds": time.perf_counter() - began, "waited": waited}
            rest |= {"skipped": batch.skipped, "cut": batch.cut}
            if rank == 0:
                run.log({"step": done, **asdict(report), **rest})
            if told:
                told(done, report, rest)
            stopping = _any(stop())
            if done % config.checkpoint_every == 0 or done == config.steps or stopping:
                run.save(done, tensors(learner, optimizer, ema))
            if stopping:
                break
        if done == config.steps:
            export(learner, processor, folder / "export", ema)
            profile = Path(source_of(config)) / PROFILE_FILE
            if rank == 0 and profile.is_file():
                shutil.copyfile(profile, folder / "export" / PROFILE_FILE)
        return done
    finally:
        run.close()


def _any(mine: bool) -> bool:
    """Tell whether any rank says so."""
    if not dist.is_initialized():
        return mine
    flag = torch.tensor(int(mine))
    dist.all_reduce(flag)
    return bool(flag)


@torch.no_grad()
def _follow(ema: dict[str, Tensor], learner: Learner, decay: float) -> None:
    for name, parameter in learner.named_parameters():
        ema[name].lerp_(parameter.detach(), 1 - decay)


def export(learner: Learner, processor: MolmoProcessor, folder: Path, ema: dict[str, Tensor] | None = None) -> None:
    """Write the trained model as people load it; adapters are merged into the weights they adapt."""
    if ema:
        with torch.no_grad():
            for name, parameter in learner.named_parameters():
                parameter.copy_(ema[name])
    whole = get_model_state_dict(learner, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.is_initialized() and dist.get_rank() != 0:
        return
    model = learner.model
    plain: Any = whole
    weights = merge_adapters({name.removeprefix("model."): value for name, value in plain.items()}, learner)
    fresh = MolmoForConditionalGeneration(model.config)
    fresh.load_state_dict(weights)
    fresh.save_pretrained(folder)
    processor.save_pretrained(folder)


def merge_adapters(weights: dict[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Return weights with low-rank adapters added to what they adapt, under the plain names."""
    scales = {
        name.removeprefix("model."): module.scaling["default"]
        for name, module in learner.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "scaling")
    }
    merged = {}
    for name, value in weights.items():
        if ".lora_" in name:
            continue
        if ".base_layer." in name:
            stem, part = name.split(".base_layer.")
            if part == "weight":
                up, down = (weights[f"{stem}.lora_{letter}.default.weight"] for letter in "BA")
                value = value + scales[stem] * (up @ down)
            name = f"{stem}.{part}"
        merged[name] = value
    return merged
