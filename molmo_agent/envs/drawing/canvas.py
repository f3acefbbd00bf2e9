"""A canvas that draws quickly and records the ground truth of what it draws.

Everything round, soft or slanted is a small cached sprite; the rest is plain rectangles.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen, TextRun
from molmo_agent.envs.drawing.fonts import Face

Color = tuple[int, int, int]
IntBox = tuple[int, int, int, int]
_OVERSAMPLE = 4


def mix(a: Color, b: Color, share: float) -> Color:
    """Return the colour ``share`` of the way from ``a`` to ``b``."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


@lru_cache(maxsize=256)
def _quarter_discs(radius: int) -> tuple[Image.Image, Image.Image, Image.Image, Image.Image]:
    """Return the masks of a disc's quarters: top left, top right, bottom right, bottom left."""
    big = Image.new("L", (2 * radius * _OVERSAMPLE,) * 2)
    ImageDraw.Draw(big).ellipse((0, 0, big.width - 1, big.height - 1), fill=255)
    disc = big.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
    r, d = radius, 2 * radius
    return disc.crop((0, 0, r, r)), disc.crop((r, 0, d, r)), disc.crop((r, r, d, d)), disc.crop((0, r, r, d))


@lru_cache(maxsize=512)
def _rounded_mask(width: int, height: int, radius: int) -> Image.Image:
    mask = Image.new("L", (width, height), 255)
    for quarter, (x, y) in zip(
        _quarter_discs(radius),
        ((0, 0), (width - radius, 0), (width - radius, height - radius), (0, height - radius)),
        strict=True,
    ):
        mask.paste(quarter, (x, y))
    return mask


@lru_cache(maxsize=2048)
def _plate(width: int, height: int, radius: int, fill: Color, outline: Color | None, lower: Color) -> Image.Image:
    """Return a filled rounded rectangle as RGB, to be pasted through ``_rounded_mask``."""
    plate = Image.new("RGB", (width, height), outline or fill)
    inset = 1 if outline else 0
    inner = Image.new("RGB", (width - 2 * inset, height - 2 * inset), fill)
    if lower != fill:
        ramp = np.linspace(0, 1, inner.height)[:, None]
        rows = np.asarray(fill) + (np.asarray(lower) - np.asarray(fill)) * ramp
        column = np.broadcast_to(np.round(rows).astype(np.uint8)[:, None], (inner.height, inner.width, 3))
        inner = Image.fromarray(np.ascontiguousarray(column))
    if radius > inset:
        plate.paste(inner, (inset, inset), _rounded_mask(inner.width, inner.height, radius - inset))
    else:
        plate.paste(inner, (inset, inset))
    return plate


@lru_cache(maxsize=4096)
def _corners(radius: int, fill: Color, outline: Color | None) -> tuple[Image.Image | Color, ...]:
    """Return what to paint through each of the quarter discs: a plain colour, or tiles with the outline's arc."""
    if outline is None:
        return (fill,) * 4
    r, d = radius, 2 * radius
    tile = Image.new("RGB", (d, d), outline)
    if d > 2:
        tile.paste(fill, (1, 1), _rounded_mask(d - 2, d - 2, r - 1))
    return tuple(tile.crop(box) for box in ((0, 0, r, r), (r, 0, d, r), (r, r, d, d), (0, r, r, d)))


@lru_cache(maxsize=64)
def _soft_parts(reach: int, strength: int) -> tuple[tuple[Image.Image, ...], tuple[Image.Image, ...]]:
    """Return a shadow's four corners and, one pixel long, its sides outside of the box: top, right, bottom, left."""
    four, two, drop = 4 * reach, 2 * reach, reach // 3
    mask = Image.new("L", (four, four))
    mask.paste(strength, (reach, reach, four - reach, four - reach))
    mask = mask.filter(ImageFilter.GaussianBlur(reach / 2))
    halves = ((0, 0), (two, 0), (two, two), (0, two))
    corners = tuple(mask.crop((x, y, x + two, y + two)) for x, y in halves)
    top, right = mask.crop((two, 0, two + 1, reach)), mask.crop((four - reach, two, four, two + 1))
    bottom, left = mask.crop((two, four - reach - drop, two + 1, four)), mask.crop((0, two, reach, two + 1))
    return corners, (top, right, bottom, left)


@dataclass(frozen=True, slots=True)
class Spot:
    """A region that reacts to the pointer, and its target."""

    box: IntBox
    layer: int
    target: Any


@dataclass(slots=True)
class _Mark:
    """An element as recorded during drawing."""

    layer: int
    kind: str
    label: str
    box: IntBox
    run: int
    facts: dict[str, str | None]


@dataclass(slots=True)
class _Line:
    layer: int
    text: str
    edges: tuple[float, ...]
    top: float
    bottom: float


@dataclass(slots=True)
class Canvas:
    """An RGB image during drawing, with records of elements, text lines and covering layers."""

    width: int
    height: int
    image: Image.Image
    aliased: bool = False
    layer: int = 0
    spots: list[Spot] = field(default_factory=list)
    owners: list[Any] = field(default_factory=list)
    _pen: ImageDraw.ImageDraw = field(init=False)
    _covers: list[tuple[int, IntBox]] = field(default_factory=list)
    _marks: list[_Mark] = field(default_factory=list)
    _lines: list[_Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pen = ImageDraw.Draw(self.image)

    # --- Drawing --------------------------------------------------------------------------------------------------

    def rect(self, box: IntBox, fill: Color | None, outline: Color | None = None) -> None:
        """Fill and frame a rectangle; right and bottom are exclusive."""
        left, top, right, bottom = box
        if right > left and bottom > top:
            self._pen.rectangle((left, top, right - 1, bottom - 1), fill, outline)

    def line(self, points: tuple[float, ...], color: Color, width: int = 1) -> None:
        """Draw straight lines between points x0, y0, x1, y1, ..."""
        self._pen.line(points, color, width)

    def plate(
        self, box: IntBox, radius: int, fill: Color, outline: Color | None = None, lower: Color | None = None
    ) -> None:
        """Draw a rounded rectangle, with ``lower`` as the colour that the fill fades to at the bottom."""
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        radius = min(radius, width // 2, height // 2)
        if lower is not None and lower != fill and width > 2 and height > 2:
            plate = _plate(width, height, radius, fill, outline, lower)
            self.image.paste(plate, box[:2], _rounded_mask(width, height, radius) if radius else None)
            return
        if radius < 1:
            self.rect(box, fill, outline)
            return
        # Rectangles and four corners: much quicker than blending the whole area.
        r, edge = radius, outline or fill
        self.rect((left + r, top, right - r, bottom), edge)
        self.rect((left, top + r, right, bottom - r), edge)
        if outline is not None:
            self.rect((left + r, top + 1, right - r, bottom - 1), fill)
            self.rect((left + 1, top + r, right - 1, bottom - r), fill)
        places = ((left, top), (right - r, top), (right - r, bottom - r), (left, bottom - r))
        for tile, quarter, place in zip(_corners(r, fill, outline), _quarter_discs(r), places, strict=True):
            self.image.paste(tile, place, quarter)

    def bevel(self, box: IntBox, fill: Color, light: Color, dark: Color) -> None:
        """Draw a rectangle with a lit upper left and a shaded lower right edge (swap the colours to sink it)."""
        left, top, right, bottom = box
        self.rect(box, fill)
        self._pen.line((left, bottom - 1, left, top, right - 1, top), light)
        self._pen.line((left, bottom - 1, right - 1, bottom - 1, right - 1, top), dark)

    def stamp(self, sprite: Image.Image, x: int, y: int) -> None:
        """Paste an image; one with an alpha channel is blended."""
        self.image.paste(sprite, (x, y), sprite if sprite.mode == "RGBA" else None)

    def tint(self, mask: Image.Image, x: int, y: int, color: Color) -> None:
        """Paint a colour through a mask of mode "L"."""
        self.image.paste(color, (x, y), mask)

    def shadow(self, box: IntBox, reach: int, strength: int) -> None:
        """Darken softly around a box, slightly lower than it; what lies under the box itself is not painted."""
        if reach < 1:
            return
        corners, sides = _soft_parts(reach, strength)
        drop, black, two = reach // 3, (0, 0, 0), 2 * reach
        left, top, right, bottom = box[0] - reach, box[1] - reach + drop, box[2] - reach, box[3] - reach + drop
        for mask, (x, y) in zip(corners, ((left, top), (right, top), (right, bottom), (left, bottom)), strict=True):
            self.image.paste(black, (x, y), mask)
        across, down = right - left - two, bottom - top - two
        flat = Image.Resampling.NEAREST
        if across > 0:
            self.image.paste(black, (left + two, top), sides[0].resize((across, reach), flat))
            self.image.paste(black, (left + two, box[3]), sides[2].resize((across, reach + drop), flat))
        if down > 0:
            self.image.paste(black, (box[2], top + two), sides[1].resize((reach, down), flat))
            self.image.paste(black, (left, top + two), sides[3].resize((reach, down), flat))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        face: Face,
        color: Color,
        max_width: float = math.inf,
        align: str = "left",
        recorded: bool = True,
    ) -> int:
        """Draw one line whose top (ascent line) is at ``y``; cut it with an ellipsis at ``max_width`` pixels.

        ``x`` is the line's left end, middle or right end by ``align`` ("left", "center", "right"). A line that is not
        ``recorded`` is decoration (the shadow of a text) and not part of the ground truth.

        Returns:
            The number of the run, for :meth:`mark`; -1 when nothing was drawn or the text had to be cut.
        """
        visible = face.fit(text, max_width) if max_width < math.inf else text
        if not visible.strip():
            return -1
        lettering = face.letter(visible)
        total = lettering.edges[-1]
        pen = int(x) if align == "left" else int(x - total) if align == "right" else int(x - total / 2)
        top = int(y)
        mask = lettering.mask
        if mask is None:
            return -1
        if self.aliased:
            mask = mask.point(_HARD)
        self.image.paste(color, (pen - lettering.margin, top), mask)
        if not recorded:
            return -1
        self._lines.append(_Line(self.layer, visible, tuple(pen + e for e in lettering.edges), top, top + face.height))
        return len(self._lines) - 1 if visible == text else -1

    # --- Notes ----------------------------------------------------------------------------------------------------

    def cover(self, box: IntBox) -> None:
        """Begin a new layer that hides everything below the box."""
        self.layer += 1
        self._covers.append((self.layer, box))

    def react(self, box: IntBox, target: Any) -> None:
        """Record a region that belongs to ``target`` without being an element."""
        self.spots.append(Spot(box, self.layer, target))

    def mark(self, kind: str, label: str, box: IntBox, run: int = -1, target: Any = None, **facts: str | None) -> None:
        """Record an element; ``run`` is the number of the line that shows its label, -1 if none does.

        A box without area is not recorded.
        """
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        self._marks.append(_Mark(self.layer, kind, label, box, run, facts))
        self.owners.append(target)
        if target is not None:
            self.react(box, target)

    def is_covered(self, x: float, y: float, layer: int) -> bool:
        """Return whether something of a higher layer lies over a position."""
        return any(b[0] <= x < b[2] and b[1] <= y < b[3] for above, b in self._covers if above > layer)

    def _clear(self, box: PixelBox, layer: int) -> bool:
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > self.width or bottom > self.height:
            return False
        for above, b in self._covers:
            if above > layer and b[0] < right and left < b[2] and b[1] < bottom and top < b[3]:
                return False
        return True

    def _readable(self, line: _Line) -> TextRun | None:
        if self._clear((line.edges[0], line.top, line.edges[-1], line.bottom), line.layer):
            return TextRun(line.text, line.edges, line.top, line.bottom)
        best = start = end = 0
        for i in range(len(line.text) + 1):
            if i < len(line.text) and self._clear(
                (line.edges[i], line.top, line.edges[i + 1], line.bottom), line.layer
            ):
                continue
            if i - start > best:
                best, end = i - start, i
            start = i + 1
        if not line.text[end - best : end].strip():
            return None
        return TextRun(line.text[end - best : end], line.edges[end - best : end + 1], line.top, line.bottom)

    def finish(self) -> Screen:
        """Return the image with its ground truth."""
        runs = [self._readable(line) for line in self._lines]
        elements = []
        for number, note in enumerate(self._marks):
            run = runs[note.run] if note.run >= 0 else None
            readable = run is not None and len(run.text) == len(self._lines[note.run].text)
            visible = self._clear(note.box, note.layer)
            elements.append(Element(number, note.kind, note.label, note.box, visible, text=readable, **note.facts))
        pixels = np.frombuffer(self.image.tobytes(), np.uint8).reshape(self.height, self.width, 3)
        return Screen(pixels, tuple(elements), tuple(run for run in runs if run is not None))


_HARD = [0] * 110 + [255] * 146
