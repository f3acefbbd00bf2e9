"""The bundled fonts, and strings as coverage masks with their character boundaries.

A glyph is rendered once per face and cached; a string is composed of cached glyphs, about ten times faster than
with FreeType. The fonts carry no kerning, so character edges are plain sums of whole-pixel advances.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from molmo_agent.errors import UnknownNameError

_FOLDER = Path(__file__).with_name("font_files")
_FALLBACKS = ("noto_sans", "noto_sans_cjk")
# A character that no font has: what a font draws for it, it draws for every character it lacks.
_ABSENT = "\U0010fffe"
_PRINTABLE = "".join(map(chr, range(33, 127)))


@dataclass(frozen=True, slots=True)
class Family:
    """A typeface that texts can be set in."""

    name: str
    # "sans", "serif" or "mono".
    style: str
    # True when no training screen shows it.
    held_out: bool = False


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("noto_sans", "sans"),
        Family("noto_serif", "serif"),
        Family("dejavu_sans", "sans"),
        Family("dejavu_serif", "serif"),
        Family("dejavu_sans_mono", "mono"),
        Family("arimo", "sans"),
        Family("tinos", "serif"),
        Family("cousine", "mono"),
        Family("open_sans", "sans"),
        Family("roboto", "sans"),
        Family("roboto_condensed", "sans"),
        Family("roboto_slab", "serif"),
        Family("cantarell", "sans"),
        Family("hack", "mono"),
        Family("go", "sans"),
        Family("inter", "sans"),
        Family("jetbrains_mono", "mono"),
        Family("clear_sans", "sans"),
        Family("vollkorn", "serif"),
        Family("caladea", "serif"),
        Family("manrope", "sans"),
        Family("b612", "sans"),
        Family("fira_code", "mono", held_out=True),
        Family("karla", "sans", held_out=True),
        Family("comic_neue", "sans", held_out=True),
        Family("yrsa", "serif", held_out=True),
        Family("jura", "sans", held_out=True),
    )
}


@dataclass(frozen=True, slots=True)
class _Glyph:
    """A character at line height, so that a string is its cells side by side."""

    # (line height, advance): what of the glyph lies between its pen positions.
    cell: npt.NDArray[np.uint8]
    # (line height, any): the whole glyph where it reaches past them, from ``left`` of the pen on; else None.
    whole: npt.NDArray[np.uint8] | None
    left: int


@dataclass(frozen=True, slots=True)
class Lettering:
    """A string as an image: a coverage mask and where its characters begin and end."""

    # Mode "L", as high as the face's line; None when nothing is inked (spaces).
    mask: Image.Image | None
    # How far left of the pen the mask begins, pixels.
    margin: int
    # len(text) + 1 offsets from the pen, pixels.
    edges: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Face:
    """A family at one size: measures strings and turns them into masks."""

    family: str
    # Pixels per em.
    size: int
    bold: bool
    font: ImageFont.FreeTypeFont
    # Pixels above and below the baseline.
    ascent: int
    descent: int
    _glyphs: dict[str, _Glyph] = field(default_factory=dict)
    _advances: dict[str, int] = field(default_factory=dict)
    # What the font draws for a character it lacks.
    _absent: npt.NDArray[np.uint8] | None = None
    _letterings: dict[str, Lettering] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Ascent plus descent, pixels."""
        return self.ascent + self.descent

    def _render(self, character: str) -> _Glyph:
        left, top, right, bottom = (int(v) for v in self.font.getbbox(character, anchor="ls"))
        image = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
        ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=self.font, anchor="ls")
        ink = np.asarray(image)
        if character != _ABSENT and not character.isspace() and self.family != _FALLBACKS[-1] and self._lacks(ink):
            following = _FALLBACKS[_FALLBACKS.index(self.family) + 1] if self.family in _FALLBACKS else _FALLBACKS[0]
            return _refit(face(following, self.size), character, self)
        return self._settle(ink, left, self.ascent + top, round(self.font.getlength(character)))

    def _lacks(self, ink: npt.NDArray[np.uint8]) -> bool:
        if self._absent is None:
            self._absent = np.asarray(self.font.getmask(_ABSENT)).reshape(-1)
        return np.array_equal(ink.reshape(-1), self._absent)

    def _settle(self, ink: npt.NDArray[np.uint8], left: int, y: int, advance: int) -> _Glyph:
        """Place ink on the line; what is above or below the line is cut off."""
        ink = ink[max(-y, 0) : max(self.height - y, 0)]
        y = max(y, 0)
        low, high = min(left, 0), max(left + ink.shape[1], advance)
        whole = np.zeros((self.height, high - low), np.uint8)
        whole[y : y + ink.shape[0], left - low : left - low + ink.shape[1]] = ink
        cell = np.ascontiguousarray(whole[:, -low : -low + advance])
        return _Glyph(cell, whole if low < 0 or high > advance else None, low)

    def _glyph(self, character: str) -> _Glyph:
        glyph = self._glyphs.get(character)
        if glyph is None:
            if character in _PRINTABLE and self._render_printable():
                return self._glyphs[character]
            glyph = self._glyphs[character] = self._render(character)
            self._advances[character] = glyph.cell.shape[1]
        return glyph

    def _render_printable(self) -> bool:
        """Render the ASCII letters, digits and signs in one go, several times quicker than one by one.

        Returns:
            False where this font cannot be cut into glyphs that way.
        """
        space = round(self.font.getlength(" "))
        blanks = -(-(self.size + 6) // max(space, 1))  # no glyph reaches farther than this beyond its pen positions
        gap = blanks * space
        advances = [round(self.font.getlength(character)) for character in _PRINTABLE]
        pens = list(accumulate((advance + gap for advance in advances), initial=gap))
        line = " " * blanks + "".join(character + " " * blanks for character in _PRINTABLE)
        if self.family == _FALLBACKS[-1] or self.font.getlength(line) != pens[-1]:
            return False
        image = Image.new("L", (pens[-1], self.height))
        ImageDraw.Draw(image).text((0, self.ascent), line, fill=255, font=self.font, anchor="ls")
        row = np.asarray(image)
        half = gap // 2
        for character, pen, advance in zip(_PRINTABLE, pens, advances, strict=False):
            around = row[:, pen - half : pen + advance + half]
            ink_columns = np.flatnonzero(around.any(axis=0))
            first, last = (int(ink_columns[0]), int(ink_columns[-1])) if len(ink_columns) else (half, half)
            self._glyphs[character] = self._settle(around[:, first : last + 1], first - half, 0, advance)
            self._advances[character] = advance
        return True

    def width(self, text: str) -> int:
        """Return the sum of the advances of a string, pixels."""
        advances = self._advances
        try:
            return sum([advances[character] for character in text])
        except KeyError:
            return sum([self._glyph(character).cell.shape[1] for character in text])

    def count_fitting(self, characters: Iterable[str], max_width: float) -> int:
        """Return how many of the first characters fit into a width in pixels; no others are looked at."""
        width = count = 0
        for character in characters:
            width += self.width(character)
            if width > max_width:
                break
            count += 1
        return count

    def fit(self, text: str, max_width: float) -> str:
        """Return the text, or as much of its beginning as fits with an ellipsis; empty if not even that fits."""
        if self.width(text) <= max_width:
            return text
        room = max_width - self.width("…")
        length = 0
        for character in text:
            room -= self._advances[character]
            if room < 0:
                break
            length += 1
        return text[:length].rstrip() + "…" if length else ""

    def letter(self, text: str) -> Lettering:
        """Return the mask and edges of a string; cached."""
        lettering = self._letterings.get(text)
        if lettering is None:
            if len(self._letterings) > 500:
                self._letterings.clear()
            lettering = self._letterings[text] = self._compose(text)
        return lettering

    def _compose(self, text: str) -> Lettering:
        cache = self._glyphs
        glyphs = [cache.get(character) or self._glyph(character) for character in text]
        edges = tuple(accumulate([glyph.cell.shape[1] for glyph in glyphs], initial=0))
        if edges[-1] == 0 or text.isspace():
            return Lettering(None, 0, edges)
        first, last = glyphs[0], glyphs[-1]
        # Only the outer glyphs make the image wider than the sum of advances.
        margin = -first.left
        beyond = last.left + last.whole.shape[1] - last.cell.shape[1] if last.whole is not None else 0
        cells = [glyph.cell for glyph in glyphs]
        if margin:
            cells.insert(0, np.zeros((self.height, margin), np.uint8))
        if beyond:
            cells.append(np.zeros((self.height, beyond), np.uint8))
        mask = np.concatenate(cells, axis=1)
        for pen, glyph in zip(edges, glyphs, strict=False):
            if glyph.whole is not None:  # reaches into its neighbours
                left = max(pen + glyph.left + margin, 0)
                ink = glyph.whole[:, left - (pen + glyph.left + margin) :][:, : mask.shape[1] - left]
                target = mask[:, left : left + ink.shape[1]]
                np.maximum(target, ink, out=target)
        image = Image.frombuffer("L", (mask.shape[1], self.height), mask, "raw", "L", 0, 1)
        return Lettering(image, margin, edges)


def _refit(other: Face, character: str, line: Face) -> _Glyph:
    """Return a glyph of another face on this face's line, baselines together."""
    glyph = other._glyph(character)
    shift = line.ascent - other.ascent
    whole = glyph.whole if glyph.whole is not None else glyph.cell
    return line._settle(whole, glyph.left, shift, glyph.cell.shape[1])


@lru_cache(maxsize=1024)
def face(family: str, size: int, bold: bool = False) -> Face:
    """Return a family at a size in pixels per em; ``bold`` where the family has it, else the regular weight.

    Raises:
        UnknownNameError: no such family.
    """
    if family not in FAMILIES and family not in _FALLBACKS:
        raise UnknownNameError("font family", family, FAMILIES)
    stems = (f"{family}-bold", family) if bold else (family,)
    paths = [_FOLDER / f"{stem}{suffix}" for stem in stems for suffix in (".ttf", ".otf")]
    font = ImageFont.truetype(next(p for p in paths if p.exists()), size, layout_engine=ImageFont.Layout.BASIC)
    ascent, descent = font.getmetrics()
    # Some families have very high lines; limit them to 1.3 em.
    spare = max(ascent + descent - round(1.3 * size), 0)
    return Face(family, size, bold, font, ascent - spare // 2, descent - (spare - spare // 2))
