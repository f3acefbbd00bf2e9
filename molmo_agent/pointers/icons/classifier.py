"""The icon classifier: a small convolutional network from the crop of a region to a probability per meaning.

A crop is a square around a region, ``CONTEXT`` times as long as the region's longer side, in ``SIDE_PX`` pixels; what
may be an icon is looked at in ``MORE_CONTEXTS`` too. The classes are the meanings of the vocabulary, "other" for an
icon without a meaning and "none" for what is no icon.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from molmo_agent.errors import ModelError

WEIGHTS = Path(__file__).with_name("icons.safetensors")
SIDE_PX = 40
# Side of a crop in sides of its region: what stands around an icon shows whether it is one.
CONTEXT = 1.4
# Regions are cut too wide or too narrow now and then: a closer and a wider look at those that may be icons.
MORE_CONTEXTS = (1.25, 1.6)
# Regions that are this surely no icon get no second look: most of a screen.
_SURELY_NONE = 0.98
_WIDTHS = (24, 48, 96, 192)


class _Residual(nn.Module):
    """A 3x3 convolution added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, h, w) to the same."""
        residual: torch.Tensor = self.norm(self.conv(x))
        return torch.relu(x + residual)


class IconClassifier(nn.Module):
    """From crops to logits.

    Args:
        classes: the meaning of each logit.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)
        stages: list[nn.Module] = []
        before = 3
        for width in _WIDTHS:
            stages += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if 3 < before < 192 and width < 192:
                stages.append(_Residual(width))
            before = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(2 * before, len(self.classes))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            crops: (B, 3, SIDE_PX, SIDE_PX), RGB in [0, 1].

        Returns:
            (B, num_classes) float.
        """
        # Relative to its mean: the same icon on a light and on a dark theme differs in sign only.
        features = self.stages((crops - crops.mean((2, 3), keepdim=True)) * 4)  # (B, 192, 3, 3)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        logits: torch.Tensor = self.head(self.dropout(pooled))
        return logits

    def save(self, path: Path = WEIGHTS) -> None:
        """Write the weights in float16, with the classes as metadata."""
        tensors = {
            name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(tensors, path, {"classes": json.dumps(self.classes)})


@lru_cache(maxsize=2)
def load_classifier(path: Path = WEIGHTS) -> IconClassifier:
    """Load weights in float32 for inference; the same object every time.

    Raises:
        ModelError: the file is missing, or is not one that :meth:`IconClassifier.save` wrote.
    """
    if not path.is_file():
        raise ModelError(
            f"expected the weights of the icon classifier in {path}, but there is no such file; "
            "install the package again, or train them: python -m molmo_agent.nano.icon_training"
        )
    with safe_open(path, framework="pt") as file:
        classes = (file.metadata() or {}).get("classes")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    if classes is None:
        raise ModelError(f"expected the classes in the metadata of {path}, found none; train the weights again")
    model = IconClassifier(json.loads(classes))
    model.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    )
    return model.eval()


def crops_of(image: npt.NDArray[np.uint8], boxes_px: npt.NDArray[np.float64], context: float = CONTEXT) -> torch.Tensor:
    """Cut the crops of regions out of an image.

    Args:
        image: (height, width, 3), RGB.
        boxes_px: (num_regions, 4), left, top, right, bottom in pixels.
        context: side of a crop in longer sides of its region.

    Returns:
        (num_regions, 3, SIDE_PX, SIDE_PX), uint8. What lies outside of the image repeats its border.
    """
    sides = np.maximum(boxes_px[:, 2] - boxes_px[:, 0], boxes_px[:, 3] - boxes_px[:, 1]) * context
    margin = int(sides.max(initial=0)) + 1
    padded = Image.fromarray(np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    centres = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2 + margin
    crops = np.empty((len(boxes_px), SIDE_PX, SIDE_PX, 3), np.uint8)
    for number, ((x, y), side) in enumerate(zip(centres, sides / 2, strict=True)):
        box = (x - side, y - side, x + side, y + side)
        crops[number] = np.asarray(padded.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box=box))
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


@torch.inference_mode()
def probabilities(
    model: IconClassifier, image: npt.NDArray[np.uint8], boxes_px: npt.NDArray[np.float64], batch_size: int = 128
) -> npt.NDArray[np.float32]:
    """Classify the regions of an image.

    Args:
        model: the classifier.
        image: (height, width, 3), RGB.
        boxes_px: (num_regions, 4), left, top, right, bottom in pixels.
        batch_size: crops at a time.

    Returns:
        (num_regions, num_classes); rows sum to 1.
    """
    none = model.classes.index("none") if "none" in model.classes else None

    def logs(boxes: npt.NDArray[np.float64], context: float) -> torch.Tensor:
        parts = crops_of(image, boxes, context).split(batch_size)
        return torch.cat([model(crops.float() / 255).log_softmax(1) for crops in parts])

    if not len(boxes_px):
        return np.zeros((0, len(model.classes)), np.float32)
    rows = logs(boxes_px, CONTEXT)
    unsure = np.arange(len(rows)) if none is None else np.flatnonzero(rows[:, none].exp() < _SURELY_NONE)
    if len(unsure):
        views = [rows[unsure], *(logs(boxes_px[unsure], context) for context in MORE_CONTEXTS)]
        rows[unsure] = torch.stack(views).mean(0)
    return rows.softmax(1).numpy()
