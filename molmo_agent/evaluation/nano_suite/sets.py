"""The screens that a pointing model is measured on: drawn by seed, never in training, with questions and the truth.

A set and a number give the same screen and the same questions every time, so a case can be drawn again to be shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import comb
from random import Random

import numpy as np
import PIL.Image

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.episode import Image
from molmo_agent.evaluation.nano_suite.categories import ELSEWHERE, MADE_UP, category_of
from molmo_agent.geometry import Box
from molmo_agent.synthetic.referring.absent import ask_missing
from molmo_agent.synthetic.referring.matching import Scene
from molmo_agent.synthetic.referring.names import Question, describe
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.sample import Split, draw, seed_of

# Where the seeds of each purpose begin: training draws below the first, each range is 2**32 long.
EVALUATION, CALIBRATION = 2**31, 2**33
# Sections of screens as they ship: not enlarged, and everything asked for is there.
ORDINARY = ("desktop", "phone", "page")
# Share of questions for several things, or for their number; training has fewer, of which little could be said.
_SEVERAL = 0.1


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
    # The image is shown at so many times its size.
    scale: float = 1.0
    # Questions per screen, drawn at random: neighbours on one screen tell less than other screens.
    questions: int = 8
    # Half of the questions ask for what is not there, the others for one thing by its name or look.
    absent: bool = False
    # Sets of the same key have the same screens and questions, whatever their scale. None: the name.
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with its truth."""

    # Number of the screen in its set.
    screen: int
    question: str
    category: str
    # Of what is asked for, of which each wants a point; empty where the right answer is that there is none.
    boxes: tuple[Box, ...]
    # The chance that as many random visible elements of the same kind are the right ones.
    chance: float


def screen_of(chosen: ScreenSet, index: int, seeds: int = EVALUATION) -> Screen:
    """Draw a screen of a set."""
    number = seeds + seed_of(chosen.key or chosen.name, index)
    return draw(number, chosen.style, width=chosen.width, height=chosen.height, split=chosen.split)


def image_of(chosen: ScreenSet, screen: Screen) -> Image:
    """Return the image as it is shown: (height, width, 3)."""
    if chosen.scale == 1:
        return screen.image
    height, width = screen.image.shape[:2]
    size = (max(1, round(width * chosen.scale)), max(1, round(height * chosen.scale)))
    return np.asarray(PIL.Image.fromarray(screen.image).resize(size, PIL.Image.Resampling.LANCZOS))


def is_absent(name: str, screen: Screen) -> bool:
    """Tell whether nothing on a screen, not even half covered, could be meant by a name in lower case."""
    told = [text for e in screen.elements for text in (e.label, e.shape or "", describe(e))]
    return not any(name in text.casefold() for text in (*told, *(run.text for run in screen.texts)))


def _case(index: int, screen: Screen, question: Question) -> Case:
    height, width = screen.image.shape[:2]
    meant = question.elements
    same = sum(element.visible and element.kind == question.element.kind for element in screen.elements)
    return Case(
        screen=index,
        question=question.text,
        category=category_of(question),
        boxes=tuple(Box.from_pixels(*element.box, width, height) for element in meant),
        chance=1 / comb(max(same, len(meant)), len(meant)),
    )


def _there(screen: Screen, rng: Random, words: WordSplit) -> list[Question]:
    """Ask for single things, in the ways in which things are asked for that are not there."""
    asked = ask(screen, rng, none=0, several=0, split=words)
    return [question for question in asked if question.named or question.category in ("shape", "window-button")]


def _gone(chosen: ScreenSet, index: int, screen: Screen, rng: Random, words: WordSplit, seeds: int) -> list[Case]:
    """Ask for what is not there, by turns for what is made up, and for what another screen shows."""
    scene = Scene(screen)
    found = [ask_missing(scene, rng, words) for _ in range(chosen.questions)]
    made_up = [question.text for question in found if question]
    other = ask(screen_of(chosen, index + chosen.screens, seeds), rng, none=0, several=0, split=words)
    elsewhere = [question.text for question in other if question.named and is_absent(question.label, screen)]
    rng.shuffle(elsewhere)
    both = [
        (text, category)
        for pair in zip_longest(made_up, elsewhere)
        for text, category in zip(pair, (MADE_UP, ELSEWHERE), strict=True)
        if text is not None
    ]
    return [Case(screen=index, question=text, category=category, boxes=(), chance=0.0) for text, category in both]


def _cases(chosen: ScreenSet, index: int, screen: Screen, seeds: int) -> list[Case]:
    rng = Random(seed_of(seeds, chosen.key or chosen.name, index, "questions"))
    words: WordSplit = "held_out" if chosen.split == "held_out_words" else "train"
    if not chosen.absent:
        asked = ask(screen, rng, none=0, several=_SEVERAL, split=words)
        return _once([_case(index, screen, question) for question in asked])[: chosen.questions]
    there = _there(screen, rng, words)
    there_cases = _once([_case(index, screen, question) for question in there])[: chosen.questions // 2]
    gone = _once(_gone(chosen, index, screen, rng, words, seeds))
    # As many of both: what is asked must not tell the answer.
    number = min(len(there_cases), len(gone))
    return [*there_cases[:number], *gone[:number]]


def _once(cases: list[Case]) -> list[Case]:
    """Leave out what is asked a second time in the same words."""
    return list({case.question: case for case in reversed(cases)}.values())[::-1]


def cases_of(chosen: ScreenSet, seeds: int = EVALUATION) -> Iterator[tuple[Image, list[Case]]]:
    """Yield the images of a set with the questions about each; screens with nothing to ask for are left out."""
    for index in range(chosen.screens):
        screen = screen_of(chosen, index, seeds)
        if cases := _cases(chosen, index, screen, seeds):
            yield image_of(chosen, screen), cases


_SPLITS: tuple[tuple[str, Split], ...] = (
    ("seen looks, words and fonts", "train"),
    ("unseen words", "held_out_words"),
    ("unseen fonts", "held_out_fonts"),
    ("unseen looks", "held_out_looks"),
)
_SCALES = (0.75, 1.0, 1.5, 2.0)
# Kinds of screens: what they are called, style, width, height, screens of each set. Pages have few questions each;
# large desktops are read in several windows and take as many times as long.
_KINDS: tuple[tuple[str, str | None, int, int, int], ...] = (
    ("desktop", None, 640, 480, 14),
    ("desktop", None, 1280, 800, 5),
    ("phone", "phone", 360, 640, 16),
    ("page", "page", 160, 210, 20),
)


def suite_sets() -> tuple[ScreenSet, ...]:
    """Return the sets of the whole suite."""
    sets, absent = [], []
    for kind, style, width, height, screens in _KINDS:
        section = f"{kind} {width}x{height}"
        plain = ScreenSet(name="", section=section, style=style, width=width, height=height, screens=screens)
        sets += [replace(plain, name=f"{section}, {name}", split=split) for name, split in _SPLITS]
        if width != 1280:
            absent.append(replace(plain, name=f"{section}, what is not there", section="absent", absent=True))
    scaled = ScreenSet(name="", section="scale", key="scale", screens=6)
    sets += [replace(scaled, name=f"desktop 640x480 shown at {scale:g}x", scale=scale) for scale in _SCALES]
    return (*sets, *absent)


def calibration_sets(screens: int) -> tuple[ScreenSet, ...]:
    """Return the suite's sets of ordinary screens with about so many screens in all, in the suite's proportions."""
    like = [chosen for chosen in suite_sets() if chosen.section.startswith(ORDINARY)]
    share = screens / sum(chosen.screens for chosen in like)
    return tuple(replace(chosen, screens=max(1, round(chosen.screens * share))) for chosen in like)
