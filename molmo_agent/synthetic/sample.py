"""Draw images for training and evaluation: simulated desktops, phones, web pages, practice sheets, robot scenes."""

import zlib
from random import Random
from typing import Literal

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_desktop.sampling import sample_screen
from molmo_agent.envs.sim_phone.sampling import LookSplit
from molmo_agent.envs.sim_phone.sampling import sample_screen as sample_phone
from molmo_agent.synthetic.pages.page import on_ground, sample_page
from molmo_agent.synthetic.practice_sheets import sample_sheet
from molmo_agent.synthetic.robot_scenes import SCENES, draw_scene

Split = Literal["train", "held_out_fonts", "held_out_words", "held_out_looks"]

OWN_STYLES = ("panel", "page", "phone", *SCENES)
"""Styles in addition to those of the simulated desktop: practice sheets, small web pages, phones, robot scenes."""


def seed_of(*parts: object) -> int:
    """Return a 32-bit seed that depends on every part."""
    return zlib.crc32(repr(parts).encode())


def draw(seed: int, style: str | None, *, width: int, height: int, split: Split) -> Screen:
    """Draw an image with ground truth, of exactly this size.

    Args:
        seed: the same seed draws the same image.
        style: one of OWN_STYLES or a style of the simulated desktop; None draws any kind of desktop screen.
        width: pixels.
        height: pixels.
        split: the fonts, words and looks to draw from. Practice sheets have no looks; scenes have none of the three.
    """
    if style in SCENES:
        return draw_scene(seed, style, width=width, height=height)
    if style == "panel":
        sheet_split = "train" if split == "held_out_looks" else split
        return sample_sheet(seed, width=width, height=height, split=sheet_split)
    if style == "page":
        return sample_page(seed, width=width, height=height, split=split)
    if style == "phone":
        return _phone(seed, width, height, split)
    return sample_screen(seed, width=width, height=height, split=split, style=style)


def _phone(seed: int, width: int, height: int, split: Split) -> Screen:
    """Draw a phone's screen; a landscape image shows it rotated, or upright on a background."""
    rng = Random(f"held {seed}")
    words: WordSplit = "held_out" if split == "held_out_words" else "train"
    look: LookSplit = "train" if split == "held_out_words" else split
    upright = width <= height
    if upright or rng.random() < 0.4:
        short, long = sorted((width, height))
        return sample_phone(seed, short, long, split=words, look=look, rotation=0 if upright else 1)
    across = round(height * rng.uniform(0.45, 0.62))
    screen = sample_phone(seed, across, height, split=words, look=look, rotation=0)
    return on_ground(screen, width, height, rng)
