"""Where training and evaluation pictures come from: practice sheets and the simulated desktop, by style and split."""

import zlib
from typing import Literal

from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.train.panels import sample_panel

Split = Literal["train", "held_out_fonts", "held_out_words", "held_out_looks"]


def seed_of(*parts: object) -> int:
    """Return a 32-bit seed that depends on every part."""
    return zlib.crc32(repr(parts).encode())


def draw(seed: int, style: str | None, *, width: int, height: int, split: Split) -> Screen:
    """Draw a picture with ground truth.

    Args:
        seed: the same seed draws the same picture.
        style: "panel" for a practice sheet; else a style of the simulated desktop, None for any kind of screen.
        width: pixels.
        height: pixels.
        split: which fonts, words and looks may appear. Sheets have no looks.
    """
    if style == "panel":
        sheet_split = "train" if split == "held_out_looks" else split
        return sample_panel(seed, width=width, height=height, split=sheet_split)
    from molmo_agent.envs.sim_desktop.sampling import sample_screen

    return sample_screen(seed, width=width, height=height, split=split, style=style)
