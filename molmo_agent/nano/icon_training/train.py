"""Train the icon classifier: one run of a fixed number of steps, which can be stopped and started again."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from molmo_agent.errors import UsageError
from molmo_agent.nano.icon_training.compose import IconArtist
from molmo_agent.nano.icon_training.rasterise import IconRasters
from molmo_agent.pointers.icons.classifier import IconClassifier

_STATE = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class IconTraining:
    """The settings of a run."""

    steps: int = 2500
    # Crops per step; a multiple of 32.
    batch_size: int = 256
    # At the peak, after a tenth of the steps; it falls to 0 along a cosine.
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    # Of the average of the weights, which is what is saved.
    average_decay: float = 0.995
    seed: int = 0
    # Icon sets that are not trained on, for measuring.
    held_out: tuple[str, ...] = ("carbon", "suru-icon-theme")
    # Steps between two saved states.
    save_every: int = 100


class _Batches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches without end, from a seed of the run, the step it starts at and the worker that draws."""

    def __init__(self, artist: IconArtist, options: IconTraining, step: int) -> None:
        self._artist, self._options, self._step = artist, options, step

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        number = 0 if worker is None else worker.id
        # Every start and every worker draws from a seed of its own: the state of the artist is not kept.
        self._artist.random.manual_seed((self._options.seed * 1_000_003 + self._step) * 64 + number)
        while True:
            yield self._artist.batch(self._options.batch_size)


def train(rasters: IconRasters, options: IconTraining, folder: Path, workers: int = 0) -> IconClassifier:
    """Train, or continue the run of the folder.

    Args:
        rasters: the icons.
        options: settings; a folder can only be resumed with the same ones.
        folder: holds the state of the run.
        workers: processes that draw crops beside the one that trains. Other numbers draw other crops.

    Returns:
        The averaged model, in eval mode.

    Raises:
        UsageError: the folder holds a run with other settings, or a held-out set does not exist.
    """
    unknown = {*options.held_out} - {*rasters.set_names}
    if unknown:
        raise UsageError(f"expected icon sets of {', '.join(rasters.set_names)}; got {', '.join(sorted(unknown))}")
    sets = tuple(i for i, name in enumerate(rasters.set_names) if name not in options.held_out)
    torch.manual_seed(options.seed)
    artist = IconArtist(rasters, options.seed, sets)
    model = IconClassifier(artist.classes)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=options.steps + 1, pct_start=0.1
    )
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    step = _resume(folder, options, parts)
    batches = iter(DataLoader(_Batches(artist, options, step), batch_size=None, num_workers=workers))
    progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress:
        bar = progress.add_task("training icons", total=options.steps, completed=step)
        while step < options.steps:
            loss = _step(model, next(batches), optimizer, options)
            schedule.step()
            average.update_parameters(model)
            step += 1
            progress.update(bar, completed=step, description=f"training icons, loss {loss:.2f}")
            if step % options.save_every == 0 or step == options.steps:
                _save(folder, options, parts, step)
                with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, "loss": loss}) + "\n")
    model.load_state_dict(average.module.state_dict())
    return model.eval()


def _step(
    model: IconClassifier,
    batch: tuple[torch.Tensor, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    options: IconTraining,
) -> float:
    """Take one step on crops and labels; return its loss."""
    model.train()
    crops, labels = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(crops.to(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=options.label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _save(folder: Path, options: IconTraining, parts: dict[str, Any], step: int) -> None:
    """Write the state of a run; a run that is stopped while it writes keeps the state before."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    temporary = folder / f"{_STATE}.new"
    torch.save({"step": step, "options": json.dumps(asdict(options)), **state}, temporary)
    temporary.replace(folder / _STATE)


def _resume(folder: Path, options: IconTraining, parts: dict[str, Any]) -> int:
    """Load the state of a folder into the parts, and return its step; 0 for a new folder."""
    path = folder / _STATE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        return 0
    state = torch.load(path, weights_only=True)
    if state["options"] != json.dumps(asdict(options)):
        raise UsageError(f"{folder} holds a run with other settings: {state['options']}; choose another folder")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


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
