"""A training run on this rank: the same function in one process, under torchrun and under Ray."""

import copy
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.model.transformers_names import enable_activation_checkpointing
from molmo_agent.pointers.profile import PROFILE_FILE
from molmo_agent.registry import UNTRAINED, load_attribute
from molmo_agent.train.batching.batches import RankBatch, Stream
from molmo_agent.train.checkpoint import RunFolder, set_step, tensors
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops, peak_of
from molmo_agent.train.loggers import open_loggers
from molmo_agent.train.optim import component_of
from molmo_agent.train.recipe import to_dict
from molmo_agent.train.step import Learner, make_optimizer, own_device, ranks, shard, train_step

PROBLEMS_FILE = "problems.txt"
"""Beside the metrics: what could not be read of the data sets."""

Told = Callable[[dict[str, Any]], None]
"""Takes the record of a step: what a step report says, its number, its speed, what could not be used."""
Saved = Callable[[Path | None], None]
"""Takes the checkpoint that became whole since the last step; None where there is none, and on other ranks."""


def load_model(config: TrainConfig) -> tuple[MolmoForConditionalGeneration, MolmoProcessor]:
    """Return the model to train and its processor. "nano" is the embedded one, "nano-fresh" untrained.

    Weights are in float32; of QLoRA those under the adapters are in four bits.

    Raises:
        UsageError: there is no checkpoint to start from.
        MissingExtraError: four bits need the extra ``quantize``.
    """
    if config.model in UNTRAINED:
        untrained: tuple[MolmoForConditionalGeneration, MolmoProcessor]
        untrained = load_attribute(UNTRAINED[config.model])(config.seed)
        return untrained
    source = source_of(config)
    try:
        processor = MolmoProcessor.from_pretrained(source, **places(source))
        how = {"dtype": torch.float32, **_four_bits(config), **places(source)}
        model = MolmoForConditionalGeneration.from_pretrained(source, **how)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a Molmo checkpoint at {str(source)!r} to train from, but: {error}{remark(source)}"
        ) from error
    return model, processor


def _four_bits(config: TrainConfig) -> dict[str, Any]:
    """Return how the weights under adapters are loaded; nothing for full precision."""
    if not config.lora or config.lora.base == "full":
        return {}
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("weights in four bits", "quantize") from error
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32,
        # The rest is small, and learns or is read with care.
        llm_int8_skip_modules=["model.vision_tower", "model.connector", "lm_head"],
    )
    return {"quantization_config": settings}


def source_of(config: TrainConfig) -> str:
    """Return the folder or hub name that a run starts from."""
    from molmo_agent.pointers.nano import CHECKPOINT

    return str(CHECKPOINT) if config.model.startswith("nano") else config.model


def prepare(config: TrainConfig, model: MolmoForConditionalGeneration) -> Any:
    """Apply what a config says about which weights learn, and how."""
    model.model.set_dropout(config.residual_dropout, config.answer_dropout)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(component_of(name) not in config.freeze and parameter.is_floating_point())
    if config.lora is not None:
        from peft import LoraConfig, inject_adapter_in_model

        settings = config.lora
        inject_adapter_in_model(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout,
                target_modules=settings.targets,
            ),
            model,
        )
        for name, parameter in model.named_parameters():
            if component_of(name) == "llm":
                parameter.requires_grad_("lora_" in name)
    if config.activation_checkpointing:
        enable_activation_checkpointing(model)
    return model


def batches(stream: Stream, start: int, rank: int, count: int) -> Iterator[tuple[int, RankBatch, float]]:
    """Yield (step, batch, seconds waited for it), made some steps ahead."""
    steps, ahead = stream.config.steps, stream.config.prefetch
    with ThreadPoolExecutor(ahead) as pool:
        ready = deque(pool.submit(stream.batch, step, rank, count) for step in range(start, min(start + ahead, steps)))
        try:
            for step in range(start, steps):
                began = time.perf_counter()
                batch = ready.popleft().result()
                waited = time.perf_counter() - began
                if step + ahead < steps:
                    ready.append(pool.submit(stream.batch, step + ahead, rank, count))
                yield step, batch, waited
        finally:
            for future in ready:
                future.cancel()


def train(
    config: TrainConfig,
    folder: Path,
    *,
    told: Told | None = None,
    saved: Saved = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Run from where the folder stands to the end; every rank calls this.

    Args:
        config: the run.
        folder: its checkpoints and metrics; the same folder resumes.
        told: called on every rank after every step.
        saved: called on every rank after every step, and at the end.
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
        stream = Stream(config, processor, Flops(model.config))
        unusable = Problems([problem for source in stream.sources for problem in source.problems.found])
        if rank == 0 and unusable.found:
            rows = unusable.summary(most=len(unusable.found)) + "\n"
            (folder / PROBLEMS_FILE).write_text(rows, encoding="utf-8", errors="backslashreplace")
        learner = Learner(prepare(config, model), config)
        device = own_device()
        learner.to(device)
        if count > 1 and config.sharding == "full":
            shard(learner)
        optimizer = make_optimizer(learner, config.optimizer)
        learning = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        ema = {name: p.detach().clone() for name, p in learning.items()} if config.ema else None
        start = run.load(tensors(learner, [optimizer], ema))
        set_step([optimizer], start)
        run.forget_after(start)
        learner.train()
        loggers = open_loggers(config.loggers if rank == 0 else (), folder, to_dict(config))
        done, ended = start, time.perf_counter()
        for number, batch, waited in batches(stream, start, rank, count):
            began = time.perf_counter()
            torch.manual_seed(config.seed * 1_000_003 + number * 1009 + rank)
            report = train_step(learner, optimizer, batch.sequences, config, number + 1)
            done = number + 1
            if ema:
                _follow(ema, learner, config.ema or 0.0)
            # What is neither waiting nor computing came after the last step: logging, reporting, copying a checkpoint.
            other, seconds, ended = began - waited - ended, time.perf_counter() - began, time.perf_counter()
            rest = speed(config, batch, seconds, waited, max(other, 0.0), count, device)
            record = {"step": done, **asdict(report), **rest, "skipped": batch.skipped, "cut": batch.cut}
            if rank == 0:
                run.log(record)
                for logger in loggers:
                    logger.log(record)
            if told:
                told(record)
            # The ranks agree, or the others would wait for the one that stops.
            asked = most(2 if run.failed else int(stop()))
            if asked == 2:
                break
            saved(run.check())
            if done % config.checkpoint_every == 0 or done == config.steps or asked:
                run.save(done, tensors(learner, [optimizer], ema))
            if asked:
                break
        saved(run.finish())
        for logger in loggers:
            logger.close()
        if done == config.steps:
            export(config, learner, processor, folder / "export", ema)
            if rank == 0:
                publish(config, folder / "export")
        return done
    finally:
        run.close()


def speed(
    config: TrainConfig,
    batch: RankBatch,
    seconds: float,
    waited: float,
    other: float,
    count: int,
    device: torch.device,
) -> dict[str, float]:
    """Return how fast a step was, over all ranks: times in s, rates per second, share of what the devices can do."""
    whole = seconds + waited + other
    rate = batch.work.step(config.freeze, adapters=config.lora is not None) / whole
    peak = peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return {
        "seconds": seconds,
        "waited": waited,
        "other": other,
        "waited_share": waited / whole,
        "tokens_per_s": batch.tokens / whole,
        "images_per_s": batch.images / whole,
        "teraflops": rate / 1e12,
    } | ({"mfu": rate / (peak * count)} if peak else {})


def publish(config: TrainConfig, folder: Path) -> None:
    """Make an exported model what people expect: its profile beside it, and the layouts that were asked for."""
    profile = Path(source_of(config)) / PROFILE_FILE
    if profile.is_file():
        shutil.copyfile(profile, folder / PROFILE_FILE)
    if "official" in config.export:
        from molmo_agent.model.checkpoints.convert import convert

        target = folder.with_name("export-official")
        shutil.rmtree(target, ignore_errors=True)
        convert(str(folder), target, "official")


def most(mine: int) -> int:
    """Return the largest of all ranks' numbers."""
    if not dist.is_initialized():
        return mine
    flag = torch.tensor(mine)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return int(flag)


@torch.no_grad()
def _follow(ema: dict[str, Tensor], learner: Learner, decay: float) -> None:
    for name, parameter in learner.named_parameters():
        if name in ema:
            ema[name].lerp_(parameter.detach(), 1 - decay)


def export(
    config: TrainConfig,
    learner: Learner,
    processor: MolmoProcessor,
    folder: Path,
    ema: dict[str, Tensor] | None = None,
) -> None:
    """Write the trained model as people load it; adapters are merged into the weights they adapt."""
    if ema:
        with torch.no_grad():
            for name, parameter in learner.named_parameters():
                if name in ema:
                    parameter.copy_(ema[name])
    whole: Any = get_model_state_dict(learner, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.is_initialized() and dist.get_rank() != 0:
        return
    learned = {name.removeprefix("model."): value for name, value in whole.items()}
    if config.lora and config.lora.base == "4bit":
        # Adapters are added to the weights as they were, not to what four bits hold of them.
        full = replace(config, lora=replace(config.lora, base="full"))
        before: dict[str, Tensor] = load_model(full)[0].state_dict()
        adapted = {name for name in learned if ".base_layer." in name}
        learned = {name: value for name, value in learned.items() if name not in adapted}
        learned |= {name: value for name, value in before.items() if name not in learned}
    model_config = copy.deepcopy(learner.model.config)
    if hasattr(model_config, "quantization_config"):
        del model_config.quantization_config
    fresh = MolmoForConditionalGeneration(model_config)
    fresh.load_state_dict(merge_adapters(learned, learner))
    fresh.save_pretrained(folder)
    processor.save_pretrained(folder)


def merge_adapters(weights: dict[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Return weights with low-rank adapters added to what they adapt, under the plain names."""
    scales = {
        name.removeprefix("model."): module.scaling["default"]
        for name, module in learner.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "scaling")
    }
    merged = {name.replace(".base_layer.", "."): value for name, value in weights.items() if ".lora_" not in name}
    for stem, scale in scales.items():
        up, down = (weights[f"{stem}.lora_{letter}.default.weight"] for letter in "BA")
        merged[f"{stem}.weight"] = merged[f"{stem}.weight"] + scale * (up @ down)
    return merged
