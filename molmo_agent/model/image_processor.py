"""The transformers image processor of Molmo: from an image to crops and masks."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import BaseImageProcessor, BatchFeature

from molmo_agent.images import read_image as load_image
from molmo_agent.model.configuration import CLIP_MEAN, CLIP_STD
from molmo_agent.model.crops import (
    NO_GRID,
    CropLayout,
    crop_masks,
    cut_crops,
    image_input_idx,
    patchify,
    resize_and_pad,
    select_crop_grid,
)


class MolmoImageProcessor(BaseImageProcessor):
    """Cuts images into overlapping crops, with the same numbers as the authors' preprocessing."""

    model_input_names = ["pixel_values", "image_input_idx", "image_masks"]

    def __init__(
        self,
        crop_size: int = 336,
        patch_size: int = 14,
        margins: Sequence[int] = (4, 4),
        max_crops: int = 12,
        pooling_size: int = 2,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        crop_mode: Literal["overlap", "resize"] = "overlap",
        fast: bool = False,
        **kwargs: Any,
    ) -> None:
        """Store the layout.

        Args:
            crop_size: side of a crop in pixels.
            patch_size: side of a patch in pixels.
            margins: patches shared with the neighbour (left and top, right and bottom); multiples of ``pooling_size``.
            max_crops: maximum number of crops in the grid; 12 in training, 36 for high-resolution evaluation.
            pooling_size: number of patches along one side of a pooling window.
            image_mean: per channel, subtracted from values in [0, 1].
            image_std: per channel, divided by.
            crop_mode: "overlap" cuts the image into a grid of crops; "resize" shows its global crop alone.
            fast: resize in eight bits and leave normalising to the model's device: ``pixel_values`` are then uint8,
                each value within 1/255 of the exact one before it is normalised.
            kwargs: what transformers stores beside them.

        Raises:
            ValueError: sizes that do not fit together.
        """
        super().__init__(**kwargs)
        self.crop_size, self.patch_size, self.margins = crop_size, patch_size, list(margins)
        self.max_crops, self.pooling_size = max_crops, pooling_size
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.crop_mode, self.fast = crop_mode, fast
        if crop_mode not in ("overlap", "resize"):
            raise ValueError(f"expected crop_mode to be 'overlap' or 'resize', got {crop_mode!r}")
        if crop_size % patch_size or any(margin % pooling_size for margin in margins) or self.layout().window_px <= 0:
            raise ValueError(
                "expected crop_size to be a multiple of patch_size, margins to be multiples of pooling_size and "
                f"smaller than the crop; got crop_size={crop_size}, patch_size={patch_size}, margins={tuple(margins)}, "
                f"pooling_size={pooling_size}"
            )

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Create a processor from our own fields, or from those of a released repository."""
        if "base_image_input_size" in image_processor_dict:
            fields = image_processor_dict
            size = fields["base_image_input_size"]
            image_processor_dict = {
                "crop_size": size[0] if isinstance(size, list | tuple) else size,
                "patch_size": fields.get("image_patch_size", 14),
                "margins": fields.get("overlap_margins", (4, 4)),
                "max_crops": fields.get("max_crops", 12),
                "image_mean": fields.get("image_mean", CLIP_MEAN),
                "image_std": fields.get("image_std", CLIP_STD),
            }
        return super().from_dict(image_processor_dict, **kwargs)

    def layout(self, max_crops: int | None = None) -> CropLayout:
        """Return the sizes that determine crops and image tokens."""
        return CropLayout(
            crop_size=self.crop_size,
            patch_size=self.patch_size,
            margins=(self.margins[0], self.margins[1]),
            max_crops=max_crops or self.max_crops,
            pooling_size=self.pooling_size,
        )

    def grid_of(self, height: int, width: int, max_crops: int | None = None) -> tuple[CropLayout, tuple[int, int]]:
        """Return the layout and the crop grid (rows, columns) of an image of this size; (0, 0) without a grid."""
        layout = self.layout(max_crops)
        return layout, NO_GRID if self.crop_mode == "resize" else select_crop_grid(height, width, layout)

    def process_one(self, source: Any, max_crops: int | None = None) -> tuple[dict[str, Any], tuple[int, int]]:
        """Preprocess one image.

        Returns:
            ``pixel_values`` (C, N, patch*patch*3) and ``image_masks`` (C, N) float32 (``fast``: pixels in uint8),
            ``image_input_idx`` (C, G) int64 counted from the image's first token; and the crop grid (rows, columns).
            C = 1 + rows*columns.
        """
        image = load_image(source)
        layout, grid = self.grid_of(image.shape[0], image.shape[1], max_crops)
        pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
        crops = torch.empty(
            1 + grid[0] * grid[1],
            layout.side**2,
            layout.patch_size**2 * 3,
            dtype=torch.uint8 if self.fast else torch.float32,
        )
        overview, content = resize_and_pad(pixels, (layout.crop_size, layout.crop_size), fast=self.fast)
        cut_crops(self._patches(overview), layout, out=crops[:1])
        if grid != NO_GRID:
            canvas, content = resize_and_pad(pixels, layout.canvas(grid), fast=self.fast)
            cut_crops(self._patches(canvas), layout, out=crops[1:])
        arrays = {
            "pixel_values": crops.numpy(),
            "image_masks": crop_masks(content, grid, layout),
            "image_input_idx": image_input_idx(grid, layout),
        }
        return arrays, grid

    def _patches(self, canvas: Tensor) -> Tensor:
        """Normalize a canvas in place and split it into patches; eight-bit canvases are normalized later."""
        if not self.fast:
            # Normalize a row of pixels at a time, which is faster than three numbers at a time.
            mean, std = (torch.tensor(x).repeat(canvas.shape[1]) for x in (self.image_mean, self.image_std))
            flat = canvas.flatten(1)
            torch.addcmul(-mean / std, flat, 1 / std, out=flat)
        return patchify(canvas, self.patch_size)

    def preprocess(
        self, images: Any, return_tensors: str | None = None, max_crops: int | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Preprocess images one by one; each has its own number of crops."""
        batch = images if isinstance(images, list | tuple) else [images]
        results = [self.process_one(image, max_crops) for image in batch]
        data: dict[str, Any] = {name: [arrays[name] for arrays, _ in results] for name in self.model_input_names}
        data["crop_grids"] = [grid for _, grid in results]
        return BatchFeature(data=data, tensor_type=return_tensors if len(results) == 1 else None)
