"""Crops of recorded screens, to adapt an icon classifier that was trained on drawings to real tool bars.

Read from the folder that ``agent data record-screens`` writes. A region in an element with a known name and without
text shows one of the meanings of that name; a region in a word shows no icon. Everything else is left out: pictures
that no element describes may be icons too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch.nn import functional

from molmo_agent.errors import UsageError
from molmo_agent.images import read_image
from molmo_agent.nano.icon_training.compose import NONE, IconArtist
from molmo_agent.nano.icon_training.rasterise import IconRasters
from molmo_agent.parse import json_lines
from molmo_agent.pointers.icons.classifier import IconClassifier, crops_of
from molmo_agent.pointers.icons.proposals import propose
from molmo_agent.pointers.icons.vocabulary import meanings_of

# A region of a button without text must cover this share of its shorter side, else it is a part of the icon.
_LEAST_SHARE = 0.3
_WIDEST_PX = 100
# Crops of each region, each a little off: the regions of another screen are cut a little differently.
_SHIFTS = 4
# Regions without an icon that are kept of a screen.
_NONE_PER_SCREEN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """The settings of an adaptation."""

    steps: int = 400
    # Crops per step that are drawn; a multiple of 32. As many crops of recorded screens as the second number.
    num_drawn: int = 384
    num_recorded: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RecordedCrops:
    """Regions of recorded screens.

    Attributes:
        crops: (num, 3, SIDE_PX, SIDE_PX) uint8.
        targets: (num, num_classes) float, rows sum to 1: the meanings that the name may have.
        icons: (num,) bool, whether it shows an icon.
    """

    crops: torch.Tensor
    targets: torch.Tensor
    icons: npt.NDArray[np.bool_]


def read_recorded(folder: Path, classes: tuple[str, ...], seed: int = 0) -> RecordedCrops:
    """Cut the regions out of all screens of a folder.

    Args:
        folder: as ``agent data record-screens`` writes it.
        classes: of the classifier.
        seed: of the shifts.

    Raises:
        UsageError: the folder holds no screens.
    """
    path = folder / "screens.jsonl"
    if not path.is_file():
        raise UsageError(f"expected {path}, as `agent data record-screens --to {folder}` writes it")
    random = Random(seed)
    crops, targets, icons = [], [], []
    for _, screen in track(list(json_lines(path)), "reading recorded screens"):
        image = read_image(folder / screen["image"])
        for box, target, is_icon in _labelled(screen, image, classes, random):
            shifted = np.repeat(box[None], _SHIFTS, axis=0)
            side = float(max(box[2] - box[0], box[3] - box[1]))
            noise = np.array([[random.uniform(-0.06, 0.06) for _ in range(4)] for _ in range(_SHIFTS)]) * side
            crops.append(crops_of(image, shifted + noise))
            targets += [target] * _SHIFTS
            icons += [is_icon] * _SHIFTS
    if not crops:
        raise UsageError(f"expected elements with icons in {path}, but there are none")
    return RecordedCrops(torch.cat(crops), torch.stack(targets), np.array(icons))


def _labelled(
    screen: dict[str, Any], image: npt.NDArray[np.uint8], classes: tuple[str, ...], random: Random
) -> Iterator[tuple[npt.NDArray[np.float64], torch.Tensor, bool]]:
    """Return the regions of a screen with what they show."""
    elements = [(np.array(e["box_px"], float), e) for e in screen["elements"]]
    boxes = [(np.array([x, y, x + width, y + height]), element) for (x, y, width, height), element in elements]
    rest = []
    for region in propose(image):
        x, y = (region[:2] + region[2:]) / 2
        around = [(box, element) for box, element in boxes if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
        if not around:
            continue
        box, element = min(around, key=lambda pair: (pair[0][2] - pair[0][0]) * (pair[0][3] - pair[0][1]))
        target = torch.zeros(len(classes))
        if element["has_visible_text"] is False and max(box[2:] - box[:2]) <= _WIDEST_PX:
            covers = max(region[2:] - region[:2]) >= _LEAST_SHARE * min(box[2:] - box[:2])
            weights = {name: w for name, w in meanings_of(element["name"]).items() if name in classes}
            if covers and weights:
                for name, weight in weights.items():
                    target[classes.index(name)] = weight
                yield region, target / target.sum(), True
        elif element["has_visible_text"] and x > box[0] + 1.2 * (box[3] - box[1]):
            # Right of where a button or an entry of a menu has its icon.
            target[classes.index(NONE)] = 1
            rest.append((region, target, False))
    yield from random.sample(rest, min(len(rest), _NONE_PER_SCREEN))


def adapt(
    model: IconClassifier, rasters: IconRasters, recorded: RecordedCrops, options: Adaptation, held_out: tuple[str, ...]
) -> IconClassifier:
    """Train on drawings and recorded crops together; return the model, in eval mode.

    A target with several meanings counts as right for whichever of them the model prefers: a name does not say which
    drawing a program uses.

    Args:
        model: trained on drawings; changed in place.
        rasters: the icons of the drawings.
        recorded: of screens.
        options: settings.
        held_out: icon sets that are not trained on.
    """
    torch.manual_seed(options.seed)
    sets = tuple(i for i, name in enumerate(rasters.set_names) if name not in held_out)
    artist = IconArtist(rasters, options.seed + 1, sets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    chosen = np.random.default_rng(options.seed)
    of_icons, of_rest = np.flatnonzero(recorded.icons), np.flatnonzero(~recorded.icons)
    model.train()
    for step in track(range(options.steps), "adapting to recorded screens"):
        rate = options.learning_rate * min(1.0, (step + 1) / 20, (options.steps - step) / (0.6 * options.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        drawn, labels = artist.batch(options.num_drawn)
        half = options.num_recorded // 2 if len(of_rest) else options.num_recorded
        rows = chosen.choice(of_icons, half)
        if len(of_rest):
            rows = np.concatenate([rows, chosen.choice(of_rest, options.num_recorded - half)])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(torch.cat([drawn, _jitter(recorded.crops[rows])]).to(memory_format=torch.channels_last))
        drawn_logits, real_logits = logits.float().split([len(drawn), len(rows)])
        chances = (real_logits.softmax(1) * (recorded.targets[rows] > 0)).sum(1)
        loss = functional.cross_entropy(drawn_logits, labels, label_smoothing=0.05)
        loss = loss - 0.5 * chances.clamp(min=1e-4).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def _jitter(crops: torch.Tensor) -> torch.Tensor:
    """Return crops in [0, 1] with random contrast and brightness, some of them as on a theme of the other kind."""
    count = len(crops)
    values = crops.float() / 255
    contrast = torch.empty(count, 1, 1, 1).uniform_(0.7, 1.2)
    shift = torch.empty(count, 1, 1, 1).uniform_(-0.1, 0.1)
    values = (values - 0.5) * contrast + 0.5 + shift
    inverted = torch.rand(count, 1, 1, 1) < 0.3
    return torch.where(inverted, 1 - values, values).clamp(0, 1)
