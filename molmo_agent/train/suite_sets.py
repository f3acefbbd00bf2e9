"""The screens that a pointing model is measured on: drawn by seed, never in training, with questions and the truth.

A set and a number give the same screen and the same questions every time, so a case can be drawn again to be shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import PIL.Image

from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.episode import Image
from molmo_agent.geometry import Box
from molmo_agent.train.draw import Split, draw, seed_of
from molmo_agent.train.phrases import Question, ask_all
from molmo_agent.train.questions import ask

# Where the seeds of each purpose begin: training draws below the first, each range is 2**32 long.
EVALUATION, CALIBRATION = 2**31, 2**33
# Sections of screens as they ship: not enlarged, and everything asked for is there.
ORDINARY = ("desktop", "phone", "page")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSet:
    """Which screens to ask about."""

    name: str
    # What sets are summed up under.
    section: str
    split: Split = "train"
    screens: int
    # Pixels of the screen as it is drawn.
    width: int = 640
    height: int = 480
    # See draw(); None for any kind of screen of the desktop.
    style: str | None = None
    # The picture is shown at so many times its size.
    scale: float = 1.0
    # Questions per screen, drawn at random: neighbours on one screen tell less than other screens.
    questions: int = 8
    # Half of the questions ask for what is on another screen and not on this one.
    absent: bool = False
    # Things are asked for in all ways (by look, place, order, neighbour), not by name alone.
    all_ways: bool = False
    # Sets of the same key have the same screens and questions, whatever their scale. None: the name.
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with its truth."""

    # Number of the screen in its set.
    screen: int
    question: str
    category: str
    # None where the right answer is that there is none.
    box: Box | None
    # The chance that a random visible element of the same kind is the right one.
    chance: float


def screen_of(chosen: ScreenSet, index: int, seeds: int = EVALUATION) -> Screen:
    """Draw a screen of a set."""
    number = seeds + seed_of(chosen.key or chosen.name, index)
    return draw(number, chosen.style, width=chosen.width, height=chosen.height, split=chosen.split)


def picture_of(chosen: ScreenSet, screen: Screen) -> Image:
    """Return the picture as it is shown: (height, width, 3)."""
    if chosen.scale == 1:
        return screen.image
    height, width = screen.image.shape[:2]
    size = (max(1, round(width * chosen.scale)), max(1, round(height * chosen.scale)))
    return np.asarray(PIL.Image.fromarray(screen.image).resize(size, PIL.Image.Resampling.LANCZOS))


def is_absent(question: Question, screen: Screen) -> bool:
    """Tell whether nothing on a screen, not even half covered, could be meant by a question about another one."""
    wanted, name = question.element, question.label
    if wanted.kind == "shape":
        return all((e.color, e.shape) != (wanted.color, wanted.shape) for e in screen.elements)
    told = (*(e.label for e in screen.elements), *(e.shape or "" for e in screen.elements))
    return not any(name in text.casefold() for text in (*told, *(run.text for run in screen.texts)))


def _cases(chosen: ScreenSet, index: int, screen: Screen, seeds: int) -> list[Case]:
    height, width = screen.image.shape[:2]
    rng = Random(seed_of(seeds, chosen.key or chosen.name, index, "questions"))
    questions = ask(screen, rng, none=0, several=0) if chosen.all_ways else ask_all(screen.elements, rng)
    rng.shuffle(questions)
    cases = []
    for question in questions[: chosen.questions // 2 if chosen.absent else chosen.questions]:
        kind = question.element.kind
        same = sum(element.visible and element.kind == kind for element in screen.elements)
        box = Box.from_pixels(*question.element.box, width, height)
        cases.append(
            Case(screen=index, question=question.text, category=question.category, box=box, chance=1 / max(same, 1))
        )
    if chosen.absent:
        other = screen_of(chosen, index + chosen.screens, seeds)
        foreign = [question for question in ask_all(other.elements, rng) if is_absent(question, screen)]
        rng.shuffle(foreign)
        # As many as there are to be found: what is asked must not tell the answer.
        cases += [
            Case(screen=index, question=question.text, category=question.category, box=None, chance=0.0)
            for question in foreign[: len(cases)]
        ]
    return cases


def cases_of(chosen: ScreenSet, seeds: int = EVALUATION) -> Iterator[tuple[Image, list[Case]]]:
    """Yield the pictures of a set with the questions about each; screens with nothing to ask for are left out."""
    for index in range(chosen.screens):
        screen = screen_of(chosen, index, seeds)
        if cases := _cases(chosen, index, screen, seeds):
            yield picture_of(chosen, screen), cases


_SPLITS: tuple[tuple[str, Split], ...] = (
    ("seen looks, words and fonts", "train"),
    ("unseen words", "held_out_words"),
    ("unseen fonts", "held_out_fonts"),
    ("unseen looks", "held_out_looks"),
)
_SCALES = (0.75, 1.0, 1.5, 2.0)


def suite_sets() -> tuple[ScreenSet, ...]:
    """Return the sets of the whole suite."""
    sets = []
    for width, height, screens in ((640, 480, 16), (1280, 800, 10)):
        section = f"desktop {width}x{height}"
        for name, split in _SPLITS:
            sets.append(
                ScreenSet(
                    name=f"{section}, {name}",
                    section=section,
                    split=split,
                    screens=screens,
                    width=width,
                    height=height,
                )
            )
    shapes = ScreenSet(name="shapes and icons, unseen seeds", section="shapes", style="shapes", screens=6)
    sheets = ScreenSet(
        name="practice sheets, unseen words", section="sheets", split="held_out_words", style="panel", screens=6
    )
    sets += [shapes, sheets]
    small = (("phone", 360, 640, _SPLITS), ("page", 320, 420, _SPLITS[:2]))
    for style, width, height, splits in small:
        section = f"{style} {width}x{height}"
        for name, split in splits:
            sets.append(
                ScreenSet(
                    name=f"{section}, {name}",
                    section=section,
                    split=split,
                    screens=6,
                    width=width,
                    height=height,
                    style=style,
                )
            )
    sets.append(ScreenSet(name="asked for in all ways", section="ways", screens=12, all_ways=True))
    scaled = ScreenSet(name="", section="scale", key="scale", screens=6)
    sets += [replace(scaled, name=f"desktop 640x480 shown at {scale:g}x", scale=scale) for scale in _SCALES]
    sets.append(ScreenSet(name="asked for what is not there", section="absent", absent=True, screens=16))
    return tuple(sets)


def calibration_sets(screens: int) -> tuple[ScreenSet, ...]:
    """Return the suite's sets of ordinary screens with about so many screens in all, in the suite's proportions."""
    like = [chosen for chosen in suite_sets() if chosen.section.startswith(ORDINARY)]
    share = screens / sum(chosen.screens for chosen in like)
    return tuple(replace(chosen, screens=max(1, round(chosen.screens * share))) for chosen in like)
