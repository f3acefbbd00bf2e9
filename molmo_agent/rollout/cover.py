"""Covers typed secrets in images: the one place that models, people, steps and records get their images from.

The env's own images are compared to learn the effect of an action; nobody else gets them once a secret is being typed.

- What the screen changed where the secret was typed, from before its first letter until the next input, stays covered
  for the rest of the run wherever it differs from the screen before. So does what grows there: a field that begins to
  show its text.
- Other changes, such as the next page, are read: lines with a piece of the secret are covered. If they cannot be read,
  all of them are covered. Reading is best effort.
- If the screen has another size than before the typing, all of it is covered.
"""

import dataclasses
import unicodedata

import numpy as np

from molmo_agent.actions import Action, Wait
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import MolmoAgentError
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.rollout.screen_changes import CELL_PX, LARGE_SHARE, Cells, changed_cells
from molmo_agent.rollout.secrets import Secrets, types_secret
from molmo_agent.screen_text import TextReader

COVER_GREY = 128
# Letters and signs that readers of text take for each other; other signs are left out.
_ALIKE = str.maketrans("01i!|5$2869@", "ollllsszbbga")
# So many letters in a row are a piece of the secret, or half of it if that is less.
_PIECE = 6
_MIN_PIECE = 3


def cover(image: Image, cells: Cells | None) -> Image:
    """Return an image with these cells in grey; with all of it in grey for None. The image itself is not written to."""
    if cells is None:
        return np.full_like(image, COVER_GREY)
    if not cells.any():
        return image
    height, width = image.shape[:2]
    covered = image.copy()
    covered[cells.repeat(CELL_PX, axis=0)[:height].repeat(CELL_PX, axis=1)[:, :width]] = COVER_GREY
    return covered


def _around(cells: Cells, across: int) -> Cells:
    """Return the cells with their neighbours: so many to the left and right, one above and below."""
    padded = np.pad(cells, ((1, 1), (across, across)))
    rows, columns = cells.shape
    result = np.zeros_like(cells)
    for down in range(3):
        for right in range(2 * across + 1):
            result |= padded[down : down + rows, right : right + columns]
    return result


def _letters(text: str) -> str:
    """Return a text as readers of text may confuse it: small letters and digits only, those alike made the same."""
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_ALIKE)
    return "".join(char for char in plain if char.isalnum())


class SecretCover:
    """Covers secrets on the screens of one episode.

    Args:
        secrets: those that the episode may type.
        reader: reads text; by default the engine that comes with the package. It is given parts of screens.
    """

    def __init__(self, secrets: Secrets, reader: TextReader | None = None) -> None:
        self._secrets, self._reader = secrets, reader or LazyReader()
        self._pieces: frozenset[str] = frozenset()
        # The screen before the first secret, and before the one whose typing may still show an effect.
        self._first: Image | None = None
        self._pending: Image | None = None
        # Where secrets were typed. None: anywhere.
        self._typed: Cells | None = None
        self._last: tuple[Observation, Observation] | None = None

    def before(self, action: Action, image: Image) -> None:
        """Note the screen just before an action is sent."""
        if self._pending is not None and not isinstance(action, Wait):
            self._take_effect(image)
            self._pending = None
        if not types_secret(action):
            return
        if self._first is None:
            self._first, self._typed = image, np.zeros_like(changed_cells(image, image))
            self._pieces = frozenset(
                letters[start : start + size]
                for letters in map(_letters, self._secrets.values.values())
                for size in [max(_MIN_PIECE, min(_PIECE, len(letters) // 2))]
                for start in range(max(1, len(letters) - size + 1))
            ) - {""}
        self._pending = image

    def show(self, observation: Observation) -> Observation:
        """Return what others than the env may see of an observation, in its image and its words."""
        if not self._secrets.values:
            return observation
        if self._first is None:
            return dataclasses.replace(observation, info=self._secrets.scrub(observation.info))
        if self._last is None or self._last[0] is not observation:
            shown = cover(observation.image, self._cells(observation.image))
            info = self._secrets.scrub(observation.info)
            self._last = observation, dataclasses.replace(observation, image=shown, info=info)
        return self._last[1]

    def _cells(self, image: Image) -> Cells | None:
        """Return where an image may show a secret; None: anywhere."""
        assert self._first is not None
        if self._pending is not None:
            self._take_effect(image)
        changes = changed_cells(self._first, image)
        if changes is None or self._typed is None:
            return None
        others = changes & ~self._typed
        if others.mean() <= LARGE_SHARE:
            while (grown := _around(self._typed, across=2) & others).any():
                self._typed, others = self._typed | grown, others & ~grown
        return changes & (self._typed | self._readable(image, others))

    def _take_effect(self, image: Image) -> None:
        """Add what changed since the secret was typed to what is covered."""
        assert self._pending is not None
        effect = changed_cells(self._pending, image)
        if effect is None or self._typed is None or effect.shape != self._typed.shape:
            self._typed = None
        else:
            # A letter may reach into the next cell only later, under a caret or a highlight.
            self._typed |= _around(effect, across=1)

    def _readable(self, image: Image, cells: Cells) -> Cells:
        """Return the cells on which a piece of a secret is written; all of them if that cannot be found out."""
        if not cells.any():
            return cells
        rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
        top, left = max(0, rows[0] - 1) * CELL_PX, max(0, columns[0] - 1) * CELL_PX
        part = np.ascontiguousarray(image[top : (rows[-1] + 2) * CELL_PX, left : (columns[-1] + 2) * CELL_PX])
        try:
            lines = self._reader.read(part)
        except (MolmoAgentError, ImportError):
            return cells
        secret_cells = np.zeros_like(cells)
        height, width = part.shape[:2]
        for line in lines:
            if any(piece in _letters(line.text) for piece in self._pieces):
                first_row, last_row = (int(top + y * height) // CELL_PX for y in (line.box.top, line.box.bottom))
                first_column, last_column = (int(left + x * width) // CELL_PX for x in (line.box.left, line.box.right))
                secret_cells[first_row : last_row + 1, first_column : last_column + 1] = True
        return _around(secret_cells, across=1)
