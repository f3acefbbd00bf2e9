"""Measure an icon reader: on tool bars drawn with icon sets it never saw, or on screens with known answers.

An answer is a hit if the likeliest match lies in the button, wrong if it lies elsewhere, and a refusal if its
probability is below the threshold. An absent icon can only be refused or clicked.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from molmo_agent.envs.drawing.fonts import face
from molmo_agent.geometry import Box
from molmo_agent.images import read_image
from molmo_agent.nano.icon_training.rasterise import OTHER, IconRasters
from molmo_agent.parse import json_lines
from molmo_agent.pointers.icons.reader import IconReader, IconScene
from molmo_agent.pointers.icons.vocabulary import meanings_of, names_of

_WORDS = [
    "File",
    "Edit",
    "View",
    "Search",
    "Terminal",
    "Help",
    "Name",
    "Size",
    "Type",
    "Modified",
    "Documents",
    "Downloads",
    "Music",
    "Untitled",
    "Ready",
    "Line",
]


@dataclass(frozen=True, slots=True)
class IconAnswer:
    """What a reader answered to one question.

    Attributes:
        name: what was asked for.
        probability: of the likeliest match, 0 without one.
        hit: whether it lies in the button.
        present: whether the screen shows the icon.
    """

    name: str
    probability: float
    hit: bool
    present: bool


@dataclass(frozen=True, slots=True)
class IconScores:
    """Shares of questions at one threshold, in [0, 1].

    Attributes:
        hits: of the questions for present icons, those hit.
        wrong: of the questions for present icons, those clicked elsewhere.
        absent_clicks: of the questions for absent icons, those clicked.
    """

    hits: float
    wrong: float
    absent_clicks: float


def scores(answers: Sequence[IconAnswer], threshold: float) -> IconScores:
    """Count the answers at a threshold of the probability; a share of nothing is 0."""
    present = [a for a in answers if a.present]
    absent = [a for a in answers if not a.present]
    hits = sum(a.hit and a.probability >= threshold for a in present)
    clicks = sum(a.probability >= threshold for a in present)
    absent_clicks = sum(a.probability >= threshold for a in absent)
    count = max(len(present), 1)
    return IconScores(hits / count, (clicks - hits) / count, absent_clicks / max(len(absent), 1))


def answer(scene: IconScene, name: str, button: Box | None) -> IconAnswer:
    """Ask for one icon; ``button`` is None if the screen does not show it."""
    matches = scene.find(name)
    if not matches:
        return IconAnswer(name, 0.0, False, button is not None)
    hit = button is not None and button.contains(matches[0].box.center)
    return IconAnswer(name, matches[0].probability, hit, button is not None)


def draw_screen(
    rasters: IconRasters, sets: tuple[str, ...], rng: random.Random
) -> tuple[npt.NDArray[np.uint8], dict[str, Box]]:
    """Draw a window with a tool bar.

    Args:
        rasters: the icons.
        sets: icon sets to draw from; one screen shows one set.
        rng: decides everything.

    Returns:
        (600, 800, 3) RGB, and the button of each meaning that is shown.
    """
    number = rasters.set_names.index(rng.choice(sets))
    own = np.flatnonzero((rasters.sets == number) & (rasters.labels != rasters.meanings.index(OTHER)))
    light = rng.random() < 0.6
    paper, ink = ((rng.randint(225, 255), 30) if light else (rng.randint(25, 60), 225))[:2]
    image = Image.new("RGB", (800, 600), (paper,) * 3)
    pen = ImageDraw.Draw(image)
    letters = face("noto_sans", 14).font
    size = rng.choice((16, 18, 20, 22, 24, 32))
    pitch = size + rng.choice((8, 12, 16, 20))
    top = rng.randint(40, 80)
    buttons: dict[str, Box] = {}
    x = rng.randint(6, 40)
    for index in rng.sample([*map(int, own)], min(len(own), rng.randint(8, 16))):
        meaning = rasters.meanings[rasters.labels[index]]
        if meaning in buttons or x + pitch > 790:
            continue
        icon = Image.fromarray(rasters.pixels[index]).resize((size, size), Image.Resampling.LANCZOS)
        if _is_plain(rasters.pixels[index]):
            icon = Image.merge("RGBA", (*(Image.new("L", icon.size, ink) for _ in range(3)), icon.getchannel("A")))
        image.paste(icon, (x, top), icon)
        buttons[meaning] = Box.from_pixels(x - 4, top - 4, x + size + 4, top + size + 4, 800, 600)
        x += pitch
    for word, left in zip(rng.sample(_WORDS, 6), range(12, 800, 90), strict=False):
        pen.text((left, 10), word, (ink,) * 3, letters)
    for line in range(rng.randint(3, 12)):
        text = " ".join(rng.choices(_WORDS, k=rng.randint(2, 9)))
        pen.text((20, 170 + 26 * line), text, (ink,) * 3, letters)
    pen.line((0, top + size + 12, 800, top + size + 12), ((paper + ink) // 2,) * 3)
    return np.asarray(image), buttons


def _is_plain(pixels: npt.NDArray[np.uint8]) -> bool:
    """Tell whether an icon has one colour, which programs draw in the colour of their text."""
    colours = pixels[pixels[..., 3] > 200][:, :3]
    return len(colours) > 0 and float(colours.std(0).max()) < 8


def drawn_answers(
    reader: IconReader, rasters: IconRasters, sets: tuple[str, ...], screens: int, seed: int
) -> Iterator[IconAnswer]:
    """Ask for every icon of drawn screens, and for as many that they do not show."""
    rng = random.Random(seed)
    for _ in range(screens):
        image, buttons = draw_screen(rasters, sets, rng)
        scene = reader.read(image)
        for meaning, button in buttons.items():
            yield answer(scene, rng.choice(names_of(meaning)), button)
        absent = [
            name
            for meaning in rasters.meanings[:-1]
            for name in names_of(meaning)
            if not buttons.keys() & meanings_of(name).keys()
        ]
        for name in rng.sample(absent, len(buttons)):
            yield answer(scene, name, None)


def recorded_answers(reader: IconReader, file: Path) -> Iterator[IconAnswer]:
    """Ask for the icons of recorded screens.

    Args:
        reader: what is measured.
        file: JSON lines with ``image`` (relative to the file), ``boxes`` (normalized; empty for what is absent), and
            ``extra`` with ``group`` ("icon" is asked, the rest is not) and ``name``.
    """
    scenes: dict[str, IconScene] = {}
    for _, row in json_lines(file):
        if row["extra"]["group"] != "icon":
            continue
        if row["image"] not in scenes:
            scenes[row["image"]] = reader.read(read_image(file.parent / row["image"]))
        button = Box(*row["boxes"][0]) if row["boxes"] else None
        yield answer(scenes[row["image"]], row["extra"]["name"], button)
