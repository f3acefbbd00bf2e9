"""Draw icons as they stand in programs: on buttons of light and dark themes, beside other icons and text.

Everything is drawn in batches of tensors at the resolution of the screen and then brought to the size of a crop, so
that an icon of 16 pixels looks as coarse in training as on a screenshot.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from molmo_agent.envs.drawing.fonts import FAMILIES, face
from molmo_agent.nano.icon_training.rasterise import OTHER, SIDE_PX, IconRasters
from molmo_agent.pointers.icons.classifier import CONTEXT
from molmo_agent.pointers.icons.classifier import SIDE_PX as CROP_PX

NONE = "none"
# Icons of one batch that are drawn at the same resolution.
_GROUP = 32
_TEXT_STRIPS = 1500
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:()%&/-"


def text_strips(seed: int) -> torch.Tensor:
    """Return masks of short texts in the bundled fonts, (num, 1, SIDE_PX, 2 * SIDE_PX) float in [0, 1]."""
    rng = np.random.default_rng(seed)
    names = sorted(FAMILIES)
    strips = np.zeros((_TEXT_STRIPS, SIDE_PX, 2 * SIDE_PX), np.uint8)
    for strip in strips:
        text = "".join(rng.choice(list(_LETTERS), rng.integers(1, 9)))
        image = Image.new("L", (2 * SIDE_PX, SIDE_PX))
        letters = face(names[rng.integers(len(names))], int(rng.integers(26, 44))).font
        ImageDraw.Draw(image).text((SIDE_PX, SIDE_PX // 2), text, 255, letters, "mm")
        strip[:] = np.asarray(image)
    return torch.from_numpy(strips).float()[:, None] / 255


def _place(pictures: torch.Tensor, side: torch.Tensor, x: torch.Tensor, y: torch.Tensor, canvas: int) -> torch.Tensor:
    """Put squares onto canvases.

    Args:
        pictures: (B, channels, h, w); premultiplied where they have colours.
        side: (B,) height of the picture in pixels of the canvas.
        x: (B,) of its centre, in pixels.
        y: (B,) of its centre, in pixels.
        canvas: side of the canvas in pixels.

    Returns:
        (B, channels, canvas, canvas), 0 where nothing is.
    """
    height, width = pictures.shape[2:]
    small = max(int(side.mean().round()), 2)
    if small < height:  # grid_sample does not average
        pictures = functional.interpolate(
            pictures, (small, max(small * width // height, 2)), mode="bilinear", antialias=True
        )
    scale = canvas / side
    theta = torch.zeros(len(side), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * height / width, scale
    theta[:, 0, 2] = (canvas - 2 * x) / side * height / width
    theta[:, 1, 2] = (canvas - 2 * y) / side
    grid = functional.affine_grid(theta, [len(side), 1, canvas, canvas], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", align_corners=False)


def _over(canvas: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
    """Put premultiplied RGBA over RGB."""
    return canvas * (1 - layer[:, 3:]) + layer[:, :3]


@dataclass(frozen=True, slots=True)
class _Theme:
    """The colours of each picture of a group, (B, 3, 1, 1) each."""

    background: torch.Tensor
    ink: torch.Tensor


class IconArtist:
    """Draws labelled crops.

    Args:
        rasters: the icons.
        seed: of everything that is drawn.
        sets: draw icons of these sets only; by default of all.
    """

    def __init__(self, rasters: IconRasters, seed: int, sets: tuple[int, ...] | None = None) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.classes = (*rasters.meanings, NONE)
        chosen = np.isin(rasters.sets, sets) if sets is not None else np.ones(len(rasters.sets), bool)
        pixels = torch.from_numpy(rasters.pixels[chosen])
        self.pixels = pixels.permute(0, 3, 1, 2).contiguous()
        self.labels = torch.from_numpy(rasters.labels[chosen])
        self.plain = _one_colour(self.pixels)
        self.text = text_strips(seed)
        origin = rasters.sets[chosen]
        # A meaning counts by the root of how many drawings it has; within it, every set counts the same.
        per_class = np.bincount(self.labels, minlength=len(self.classes)).astype(float)
        pairs = self.labels.numpy() * (origin.max(initial=0) + 1) + origin
        in_pair = np.bincount(pairs)[pairs]
        sets_of_class = np.bincount(np.unique(pairs) // (origin.max(initial=0) + 1), minlength=len(self.classes))
        weight = np.sqrt(per_class)[self.labels] / sets_of_class[self.labels] / in_pair
        other = (self.labels == self.classes.index(OTHER)).numpy()
        if other.any() and not other.all():
            weight[other] *= 0.08 / 0.92 * weight[~other].sum() / weight[other].sum()
        self.weight = torch.from_numpy(weight)

    def _uniform(self, count: int, low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=self.random) * (high - low) + low

    def _chance(self, count: int, share: float) -> torch.Tensor:
        return torch.rand(count, generator=self.random) < share

    def _pick(self, count: int) -> torch.Tensor:
        return torch.multinomial(self.weight, count, replacement=True, generator=self.random)

    def batch(self, size: int, none_share: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw crops.

        Args:
            size: how many; a multiple of 32.
            none_share: the share that shows no icon.

        Returns:
            (size, 3, CROP_PX, CROP_PX) RGB in [0, 1] in steps of 1/255, and (size,) labels.
        """
        groups = [self._group(none_share) for _ in range(size // _GROUP)]
        crops, labels = zip(*groups, strict=True)
        return torch.cat(crops), torch.cat(labels)

    def _theme(self) -> _Theme:
        """Choose colours: light, dark and a few coloured backgrounds, and an ink that can be seen on them."""
        count = _GROUP
        kind = torch.rand(count, generator=self.random)
        grey = torch.where(
            kind < 0.6, self._uniform(count, 0.82, 1.0), self._uniform(count, 0.06, 0.32)
        ) + 0.015 * torch.randn(3, count, generator=self.random)
        grey = torch.where(kind > 0.92, torch.rand(3, count, generator=self.random), grey)
        light = grey.mean(0) > 0.5
        ink = torch.where(light, self._uniform(count, 0.0, 0.45), self._uniform(count, 0.62, 1.0))
        coloured = torch.rand(3, count, generator=self.random)
        coloured = torch.where(light, coloured * 0.65, 0.4 + 0.6 * coloured)
        ink = torch.where(self._chance(count, 0.2), coloured, ink + 0.01 * torch.randn(3, count, generator=self.random))
        background, ink = (c.clamp(0, 1).T[:, :, None, None] for c in (grey, ink))
        return _Theme(background, ink)

    def _icon_layer(self, index: torch.Tensor, theme: _Theme) -> torch.Tensor:
        """Return icons as premultiplied RGBA (B, 4, SIDE_PX, SIDE_PX); those of one colour in the theme's ink."""
        rgba = self.pixels[index].float() / 255
        alpha = rgba[:, 3:]
        recolour = self.plain[index] & self._chance(len(index), 0.9)
        colour = torch.where(recolour[:, None, None, None], theme.ink, rgba[:, :3])
        faint = torch.where(self._chance(len(index), 0.1), self._uniform(len(index), 0.35, 0.6), 1.0)
        return torch.cat([colour * alpha, alpha], 1) * faint[:, None, None, None]

    def _button(self, canvas: torch.Tensor, theme: _Theme, side: torch.Tensor) -> torch.Tensor:
        """Draw frames and faces of buttons, and long edges, on some of the canvases."""
        count, pixels = len(canvas), canvas.shape[-1]
        axis = torch.arange(pixels) + 0.5
        centre = pixels / 2 + self._uniform(count, -0.06, 0.06) * pixels
        half_x = side * self._uniform(count, 0.55, 1.1)
        half_y = torch.where(self._chance(count, 0.6), half_x, side * self._uniform(count, 0.55, 1.1))
        corner = torch.minimum(half_x, half_y) * torch.where(
            self._chance(count, 0.12), 1.0, self._uniform(count, 0.0, 0.4)
        )
        dx = ((axis - centre[:, None]).abs() - (half_x - corner)[:, None])[:, None, :]
        dy = ((axis - centre[:, None]).abs() - (half_y - corner)[:, None])[:, :, None]
        outside = torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0)
        distance = (outside - corner[:, None, None])[:, None]
        face = (0.5 - distance).clamp(0, 1) * self._chance(count, 0.3)[:, None, None, None]
        frame = (1 - (distance + 0.5).abs()).clamp(0, 1) * self._chance(count, 0.3)[:, None, None, None]
        shade = self._uniform(count, -0.12, 0.12)[:, None, None, None]
        canvas = canvas + face * shade
        strength = self._uniform(count, 0.1, 0.7)[:, None, None, None]
        return (canvas + frame * strength * (theme.ink - canvas)).clamp(0, 1)

    def _group(self, none_share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw ``_GROUP`` crops at one resolution."""
        count = _GROUP
        # Most icons of screens are 12 to 32 pixels long.
        pixels = int(torch.exp(self._uniform(1, 2.6, 4.2)).item()) if torch.rand(1, generator=self.random) < 0.9 else 80
        theme = self._theme()
        canvas = theme.background.expand(-1, -1, pixels, pixels)
        slope = torch.where(self._chance(count, 0.2), self._uniform(count, -0.15, 0.15), 0.0)[:, None, None, None]
        canvas = (canvas + slope * torch.linspace(-0.5, 0.5, pixels)[:, None]).clamp(0, 1)
        side = pixels / CONTEXT * self._uniform(count, 0.86, 1.14)
        x = pixels / 2 + self._uniform(count, -0.08, 0.08) * pixels
        y = pixels / 2 + self._uniform(count, -0.08, 0.08) * pixels
        canvas = self._button(canvas, theme, side)
        canvas = self._neighbours(canvas, theme, side, x, y)
        index = self._pick(count)
        labels = self.labels[index].clone()
        none = self._chance(count, none_share)
        kind = torch.randint(0, 5, (count,), generator=self.random)
        labels[none] = self.classes.index(NONE)
        # No icon: a part of a large one (0), a small one aside (1), a gap between two (2), text (3), nothing (4).
        part, small, gap = (none & (kind == k) for k in range(3))
        away = torch.sign(self._uniform(count, -1, 1))
        own_side = torch.where(part, side * self._uniform(count, 1.8, 3.0), side)
        own_side = torch.where(small, side * self._uniform(count, 0.25, 0.5), own_side)
        own_x = torch.where(part, x + away * own_side * self._uniform(count, 0.25, 0.5), x)
        own_x = torch.where(gap, x + away * side * self._uniform(count, 0.45, 0.7), own_x)
        own_y = torch.where(part | small, y + self._uniform(count, -0.4, 0.4) * side, y)
        shown = ~none | (kind < 3)
        layer = _place(self._icon_layer(index, theme), own_side, own_x, own_y, pixels)
        canvas = _over(canvas, layer * shown[:, None, None, None])
        canvas = self._write(canvas, theme, none & (kind == 3), side)
        crops = functional.interpolate(canvas, (CROP_PX, CROP_PX), mode="bilinear", antialias=pixels > CROP_PX)
        noise = 0.01 * torch.randn(crops.shape, generator=self.random) * self._chance(count, 0.3)[:, None, None, None]
        return ((crops + noise).clamp(0, 1) * 255).round() / 255, labels

    def _neighbours(
        self, canvas: torch.Tensor, theme: _Theme, side: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Draw other icons and text at the edges of some canvases, as in a tool bar or a list."""
        count, pixels = len(canvas), canvas.shape[-1]
        for direction in (-1, 1):
            distance = direction * side * self._uniform(count, 1.15, 1.6)
            index = self._pick(count)
            layer = _place(self._icon_layer(index, theme), side, x + distance, y, pixels)
            canvas = _over(canvas, layer * self._chance(count, 0.25)[:, None, None, None])
        strips = self.text[torch.randint(0, len(self.text), (count,), generator=self.random)]
        below = self._chance(count, 0.5)
        text_x = torch.where(below, x, x + 1.6 * side)
        text_y = torch.where(below, y + side * self._uniform(count, 0.75, 1.0), y)
        mask = _place(strips, side * 0.7, text_x, text_y, pixels) * self._chance(count, 0.15)[:, None, None, None]
        return canvas + mask * (theme.ink - canvas)

    def _write(self, canvas: torch.Tensor, theme: _Theme, where: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        """Write short texts in the middle of some canvases."""
        count, pixels = len(canvas), canvas.shape[-1]
        strips = self.text[torch.randint(0, len(self.text), (count,), generator=self.random)]
        centre = torch.full((count,), pixels / 2)
        x = centre + self._uniform(count, -0.5, 0.5) * side
        mask = _place(strips, side * self._uniform(count, 0.9, 1.6), x, centre, pixels) * where[:, None, None, None]
        return canvas + mask * (theme.ink - canvas)


def _one_colour(pixels: torch.Tensor) -> torch.Tensor:
    """Return which icons have one colour, (num_icons,) bool, which programs redraw in the colour of their text."""
    plain = []
    for chunk in pixels.split(512):
        alpha = (chunk[:, 3:].float() > 200).float()
        total = alpha.sum((2, 3)).clamp(min=1)
        colour = chunk[:, :3].float()
        mean = (colour * alpha).sum((2, 3)) / total
        spread = (((colour - mean[:, :, None, None]).abs() * alpha).sum((2, 3)) / total).amax(1)
        plain.append(spread < 8)
    return torch.cat(plain)
