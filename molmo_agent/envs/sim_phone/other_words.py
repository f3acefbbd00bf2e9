"""Replace the texts of a drawn phone by others that are at most as wide."""

import random
from dataclasses import dataclass, field
from typing import Any

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import Canvas, IntBox
from molmo_agent.envs.drawing.fonts import Face
from molmo_agent.envs.drawing.words import WordSplit


@dataclass(slots=True)
class OtherWords:
    """Chooses a substitute for each text, the same everywhere on a screen."""

    rng: random.Random
    # The words that may appear.
    split: WordSplit
    # Replace all texts, not only those outside of the split.
    everywhere: bool
    _substitutes: dict[str, str] = field(default_factory=dict)

    def of(self, text: str, face: Face) -> str:
        """Return the substitute of a text; single letters, numbers and times stay unchanged."""
        if text not in self._substitutes:
            self._substitutes[text] = self._choose(text, face)
        return self._substitutes[text]

    def _choose(self, text: str, face: Face) -> str:
        if sum(c.isalpha() for c in text) < 3 or text.endswith("…"):
            return text
        wrong = self.split != "all" and words.is_held_out(text) != (self.split == "held_out")
        if not wrong and not self.everywhere:
            return text
        room = face.width(text)
        count, old_substitutes = len(text.split()), set(self._substitutes.values())
        for _ in range(30):
            if count > 2:
                new = words.sentence(self.rng, self.split, count)[:-1]
            else:
                new = words.short_text(self.rng, self.split, count)
            if face.width(new) <= room and new not in old_substitutes:
                return new
        while True:
            new = "".join(self.rng.choice("abcdefhiklmnoprstuvwxyz") for _ in range(min(len(text), 6)))
            if words.is_held_out(new) == (self.split == "held_out") and face.width(new) <= max(room, face.width("mmm")):
                return new.capitalize()


@dataclass(slots=True)
class OtherCanvas(Canvas):
    """A canvas that draws the substitutes of texts and records those."""

    words: OtherWords = field(kw_only=True)
    _texts: dict[str, str] = field(default_factory=dict)

    def text(self, x: float, y: float, text: str, face: Face, *arguments: Any, **options: Any) -> int:
        """Draw one line in other words."""
        new = self._texts[text] = self.words.of(text, face)
        return Canvas.text(self, x, y, new, face, *arguments, **options)

    def mark(self, kind: str, label: str, box: IntBox, run: int = -1, target: Any = None, **facts: str | None) -> None:
        """Record an element, labelled by its substitute if its label is drawn."""
        visible = self._texts.get(label, label) if run >= 0 else label
        Canvas.mark(self, kind, visible, box, run, target, **facts)
