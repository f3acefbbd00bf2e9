"""Draw small web pages with ground truth, in the plain look of early HTML: an instruction above random blocks.

The instruction is never a target. Pages have any size: their own, scaled up as by a browser's zoom, or inside a larger
image.
"""

from dataclasses import replace
from random import Random
from typing import Literal

import numpy as np
from PIL import Image

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.canvas import Canvas, Color, mix
from molmo_agent.envs.drawing.fonts import FAMILIES
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_desktop.looks import hue, ink_on
from molmo_agent.synthetic.pages.blocks import BLOCKS, dialog, submit
from molmo_agent.synthetic.pages.widgets import HELD_OUT_PAGE_LOOKS, PAGE_LOOKS, Sheet, sample_page_look

Split = Literal["train", "held_out_fonts", "held_out_words", "held_out_looks"]

# CSS pixels of a whole page and of the instruction at its top.
WIDTH, HEIGHT, BAR = 160, 210, 50


def sample_page(seed: int, *, width: int, height: int, split: Split = "train") -> Screen:
    """Draw one page.

    Args:
        seed: the same seed draws the same page.
        width: pixels of the image.
        height: pixels of the image.
        split: the fonts, words and looks to draw from.
    """
    rng = Random(f"page {seed}")
    families = [f.name for f in FAMILIES.values() if f.held_out == (split == "held_out_fonts")]
    name = rng.choice(HELD_OUT_PAGE_LOOKS if split == "held_out_looks" else PAGE_LOOKS)
    look = sample_page_look(rng, name, families)
    full_scale = min(width / WIDTH, height / HEIGHT)
    if full_scale >= 1.2 and rng.random() < 0.45:
        scale = rng.choice([s for s in (1, 1.25, 1.5, 2, 2, 2.5, 3, 3) if min(0.4 * full_scale, 3) <= s <= full_scale])
        size = round(WIDTH * scale), round(HEIGHT * scale)
        at_corner = rng.random() < 0.5
        left = 0 if at_corner else rng.randint(0, width - size[0])
        top = 0 if at_corner else rng.randint(0, height - size[1])
        around: Color = rng.choice(((255, 255, 255), (255, 255, 255), (230, 230, 230), hue(rng, 0.2, 0.8)))
    else:
        # As wide as one to two pages, in the steps of a browser's zoom.
        scale = max(round(width / rng.uniform(WIDTH - 10, 2 * WIDTH) * 4) / 4, min(full_scale, 1.0))
        scale = max(min(scale, max(full_scale * 1.25, 1.0)), 0.75)
        size, left, top, around = (width, height), 0, 0, look.ground
    canvas = Canvas(width, height, Image.new("RGB", (width, height), around), aliased=rng.random() < 0.05)
    right, bottom = left + size[0], top + size[1]
    canvas.rect((left, top, right, bottom), look.ground)
    words: WordSplit = "held_out" if split == "held_out_words" else "train"
    has_bar = rng.random() < 0.85
    high = round(BAR * scale) if has_bar else round(2 * scale)
    sheet = Sheet(canvas, look, rng, words, scale, left, top + high, right, bottom)
    _fill(sheet)
    if has_bar:
        sheet.left, sheet.top, sheet.right, sheet.bottom = left, top, right, top + high
        _instruction(sheet)
    return canvas.finish()


def _fill(sheet: Sheet) -> None:
    """Draw blocks until the page is full or a random draw stops."""
    rng = sheet.rng
    margin = sheet.u(rng.choice((2, 2, 3, 8)))
    right = sheet.right
    sheet.left, sheet.right, sheet.top = sheet.left + margin, sheet.right - margin, sheet.top + margin
    makers, weights = [maker for maker, _ in BLOCKS], [weight for _, weight in BLOCKS]
    rooms = (sheet.bottom - sheet.top) / sheet.u(100)
    for _ in range(max(round(rooms * rng.choice((1, 1, 2, 3))), 1)):
        if sheet.bottom - sheet.top < sheet.u(14):
            break
        rng.choices(makers, weights)[0](sheet)
        sheet.top += sheet.u(rng.choice((1, 4, 8)))
        if rng.random() < 0.2:
            break
    if rng.random() < 0.4 or not sheet.canvas.owners:
        submit(sheet)
    if rng.random() < 0.14:
        sheet.right = right
        dialog(sheet, floating=True)


# Instructions without hold-out words, which include many common ones.
_ABOUT_WIDGET = (
    'Select the "{}" {}.',
    'Find the "{}" {}.',
    "Select {} and Submit.",
    "Mark {}.",
    "Find {}.",
    'Use the "{}" {}.',
)
_GENERAL = (
    "Select the button.",
    "Close the dialog box.",
    "Fill in the form and Submit.",
    "Find the right one.",
)


def _instruction(sheet: Sheet) -> None:
    """Draw an instruction about something on the page, mostly on yellow."""
    rng, canvas = sheet.rng, sheet.canvas
    fill = (255, 255, 0) if rng.random() < 0.75 else mix((255, 255, 255), hue(rng, 0.7, 1.0), rng.uniform(0.1, 0.7))
    canvas.rect((sheet.left, sheet.top, sheet.right, sheet.bottom), fill)
    if sheet.labelled_widgets and rng.random() < 0.85:
        kind, label = rng.choice(sheet.labelled_widgets)
        instruction = rng.choice(_ABOUT_WIDGET).format(label, "option" if kind == "radio" else kind.replace("_", " "))
    else:
        instruction = rng.choice(_GENERAL)
    letters, bold = sheet.font(10), sheet.font(10, bold=True)
    x, y = sheet.left + sheet.u(3), sheet.top + sheet.u(3)
    start, line = x, ""
    for word in instruction.split():
        longer = f"{line} {word}" if line else word
        if line and start + letters.width(longer) > sheet.right - sheet.u(3):
            canvas.text(start, y, line, letters, ink_on(fill))
            y, longer = y + letters.height, word
            if y + letters.height > sheet.bottom:
                return
        line = longer
    canvas.text(start, y, line, bold if rng.random() < 0.1 else letters, ink_on(fill), sheet.right - start)


def on_ground(screen: Screen, width: int, height: int, rng: Random) -> Screen:
    """Return a screen at a random position in a larger image that is otherwise empty."""
    inner_height, inner_width = screen.image.shape[:2]
    x, y = rng.randint(0, width - inner_width), rng.randint(0, height - inner_height)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.choice(((255, 255, 255), (24, 24, 28), hue(rng, 0.15, 0.9)))
    image[y : y + inner_height, x : x + inner_width] = screen.image
    image.flags.writeable = False
    elements = []
    for element in screen.elements:
        left, top, right, bottom = element.box
        # Clip boxes at the screen's border: nothing outside of it can be clicked.
        box = (max(left, 0) + x, max(top, 0) + y, min(right, inner_width) + x, min(bottom, inner_height) + y)
        elements.append(replace(element, box=box))
    return Screen(image, tuple(elements), tuple(run.transform(x, y) for run in screen.texts))
