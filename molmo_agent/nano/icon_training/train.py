"""Train the icon classifier: one run of a fixed number of steps, which can be stopped and started again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed
from torch.multiprocessing.spawn import start_processes
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from molmo_agent.errors import UsageError
from molmo_agent.files import open_to_append
from molmo_agent.nano.icon_training.compose import NONE, IconArtist
from molmo_agent.nano.icon_training.rasterise import IconRasters
from molmo_agent.pointers.icons.classifier import IconClassifier

_STATE = "state.pt"
# Where the processes of a run find each other.
_MEETING = "rendezvous"
# The average is over every so many steps.
_AVERAGE_EVERY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IconTraining:
    """The settings of a run."""

    steps: int = 900
    # Crops per step; a multiple of 32 in each process.
    batch_size: int = 512
    # At the peak, see :func:`learning_rate`.
    learning_rate: float = 5e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    # Of the average of the weights, which is what is saved.
    average_decay: float = 0.97
    seed: int = 0
    # Icon sets that are not trained on, for measuring.
    held_out: tuple[str, ...] = ("carbon", "suru-icon-theme")
    # Steps between two saved states.
    save_every: int = 50


def train(rasters: IconRasters, options: IconTraining, folder: Path, workers: int = 1) -> IconClassifier:
    """Train, or continue the run of the folder.

    Args:
        rasters: the icons.
        options: settings; a folder can only be resumed with the same ones, but for the number of steps.
        folder: holds the state of the run.
        workers: processes that train together, each on its part of every batch. Other numbers draw other crops.

    Returns:
        The averaged model, in eval mode.

    Raises:
        UsageError: the folder holds a run with other settings, or a held-out set does not exist.
    """
    unknown = {*options.held_out} - {*rasters.set_names}
    if unknown:
        raise UsageError(f"expected icon sets of {', '.join(rasters.set_names)}; got {', '.join(sorted(unknown))}")
    folder.mkdir(parents=True, exist_ok=True)
    if _state_of(folder, options)["step"] < options.steps:
        if workers == 1:
            _work(0, 1, rasters, options, folder)
        else:
            # Forked: the rasters are large and need no copy. Threads would not survive it.
            torch.set_num_threads(1)
            (folder / _MEETING).unlink(missing_ok=True)  # of a run that was killed
            arguments = (workers, rasters, options, folder)
            start_processes(_work, arguments, nprocs=workers, start_method="fork")
    model = IconClassifier((*rasters.meanings, NONE))
    average = AveragedModel(model, use_buffers=True)
    average.load_state_dict(_state_of(folder, options)["average"])
    model.load_state_dict(average.module.state_dict())
    return model.eval()


def _work(rank: int, workers: int, rasters: IconRasters, options: IconTraining, folder: Path) -> None:
    """Train in one of several processes; the first one reports and saves."""
    if workers > 1:
        meeting = (folder / _MEETING).resolve().as_uri()
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    sets = tuple(i for i, name in enumerate(rasters.set_names) if name not in options.held_out)
    torch.manual_seed(options.seed)
    artist = IconArtist(rasters, options.seed, sets)
    model = IconClassifier(artist.classes)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer}
    state = _state_of(folder, options)
    step = state["step"]
    for name, part in parts.items() if step else ():
        part.load_state_dict(state[name])
    # Every start and every process draws from a seed of its own: the state of the artist is not kept.
    artist.random.manual_seed((options.seed * 1_000_003 + step) * 64 + rank)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=rank > 0
    )
    with progress:
        bar = progress.add_task("training icons", total=options.steps, completed=step)
        while step < options.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, options)
            loss = _step(model, artist.batch(options.batch_size // workers), optimizer, options, workers)
            step += 1
            if step % _AVERAGE_EVERY == 0:
                average.update_parameters(model)
            progress.update(bar, completed=step, description=f"training icons, loss {loss:.2f}")
            if rank == 0 and (step % options.save_every == 0 or step == options.steps):
                _save(folder, options, parts, step)
                with open_to_append(folder / "metrics.jsonl") as file:
                    file.write(json.dumps({"step": step, "loss": loss}) + "\n")
    if workers > 1:
        distributed.destroy_process_group()
        (folder / _MEETING).unlink(missing_ok=True)


def learning_rate(step: int, options: IconTraining) -> float:
    """Return the rate of a step: it rises over the first 50, stays, and falls to 0 over the last 40 %."""
    return options.learning_rate * min(1.0, (step + 1) / 50, (options.steps - step) / (0.4 * options.steps))


def _step(
    model: IconClassifier,
    batch: tuple[torch.Tensor, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    options: IconTraining,
    workers: int,
) -> float:
    """Take one step on crops and labels, with the gradients of all processes; return this one's loss."""
    model.train()
    crops, labels = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(crops.to(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=options.label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    if workers > 1:
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(together)
        together /= workers
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
    optimizer.step()
    return float(loss.detach())


def _save(folder: Path, options: IconTraining, parts: dict[str, Any], step: int) -> None:
    """Write the state of a run; a run that is stopped while it writes keeps the state before."""
    state = {name: part.state_dict() for name, part in parts.items()}
    temporary = folder / f"{_STATE}.new"
    torch.save({"step": step, "options": _fixed(options), **state}, temporary)
    temporary.replace(folder / _STATE)


def _fixed(options: IconTraining) -> str:
    """Return the settings that a run keeps, as text: it may become longer or shorter."""
    return json.dumps({name: value for name, value in asdict(options).items() if name not in ("steps", "save_every")})


def _state_of(folder: Path, options: IconTraining) -> dict[str, Any]:
    """Return the saved state of a folder; step 0 alone for a new one.

    Raises:
        UsageError: it is the state of a run with other settings.
    """
    path = folder / _STATE
    if not path.is_file():
        return {"step": 0}
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if state["options"] != _fixed(options):
        raise UsageError(f"{folder} holds a run with other settings: {state['options']}; choose another folder")
    return state


@torch.inference_mode()
def accuracy(model: IconClassifier, rasters: IconRasters, sets: tuple[str, ...], batches: int = 8) -> float:
    """Return the share of icons of the given sets, drawn on buttons, whose meaning the model puts first."""
    numbers = tuple(rasters.set_names.index(name) for name in sets)
    artist = IconArtist(rasters, 99, numbers)
    hits = []
    for _ in range(batches):
        crops, labels = artist.batch(256, none_share=0.0)
        hits.append((model(crops).argmax(1) == labels).numpy())
    return float(np.concatenate(hits).mean())
