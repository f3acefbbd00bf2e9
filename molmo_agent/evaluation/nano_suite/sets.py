"""The evaluation screens of a pointing model: drawn by seed, disjoint from training, with questions and targets.

A set and a number always give the same screen and questions, so that a case can be drawn again for the report.
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

# First seed of each purpose: training uses seeds below the first; each range is 2**32 long.
EVALUATION, CALIBRATION = 2**31, 2**33
# Sections of ordinary screens: not enlarged, all targets present.
ORDINARY = ("desktop", "phone", "page")
# Share of questions about several targets or their count; training has fewer, too few to measure.
_SEVERAL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSet:
    """A set of screens."""

    name: str
    # The section that sums up several sets.
    section: str
    split: Split = "train"
    screens: int
    # Size of the drawn screen in pixels.
    width: int = 640
    height: int = 480
    # See draw(); None: any kind of desktop screen.
    style: str | None = None
    # Scale factor of the image.
    scale: float = 1.0
    # Random questions per screen; more screens are more informative than more questions on one.
    questions: int = 8
    # Half of the targets are absent, the others are single targets by name or look.
    absent: bool = False
    # Sets with the same key have the same screens and questions at any scale. None: the name.
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with its targets."""

    # Number of the screen in its set.
    screen: int
    question: str
    category: str
    # Boxes of the targets, each of which needs a point; empty if the target is absent.
    boxes: tuple[Box, ...]
    # Probability that the same number of random visible elements of the same kind are the targets.
    chance: float


def screen_of(screen_set: ScreenSet, index: int, seeds: int = EVALUATION) -> Screen:
    """Draw a screen of a set."""
    number = seeds + seed_of(screen_set.key or screen_set.name, index)
    return draw(number, screen_set.style, width=screen_set.width, height=screen_set.height, split=screen_set.split)


def image_of(screen_set: ScreenSet, screen: Screen) -> Image:
    """Return the scaled image, (height, width, 3)."""
    if screen_set.scale == 1:
        return screen.image
    height, width = screen.image.shape[:2]
    size = (max(1, round(width * screen_set.scale)), max(1, round(height * screen_set.scale)))
    return np.asarray(PIL.Image.fromarray(screen.image).resize(size, PIL.Image.Resampling.LANCZOS))


def is_absent(name: str, screen: Screen) -> bool:
    """Return whether nothing on a screen, not even half covered, matches a name in lower case."""
    texts = [text for e in screen.elements for text in (e.label, e.shape or "", describe(e))]
    return not any(name in text.casefold() for text in (*texts, *(run.text for run in screen.texts)))


def _case(index: int, screen: Screen, question: Question) -> Case:
    height, width = screen.image.shape[:2]
    elements = question.elements
    same = sum(element.visible and element.kind == question.element.kind for element in screen.elements)
    return Case(
        screen=index,
        question=question.text,
        category=category_of(question),
        boxes=tuple(Box.from_pixels(*element.box, width, height) for element in elements),
        chance=1 / comb(max(same, len(elements)), len(elements)),
    )


def _single_targets(screen: Screen, rng: Random, words: WordSplit) -> list[Question]:
    """Ask for single targets, with the same kinds of expressions as for absent ones."""
    questions = ask(screen, rng, none=0, several=0, split=words)
    return [question for question in questions if question.named or question.category in ("shape", "window-button")]


def _absent_cases(
    screen_set: ScreenSet, index: int, screen: Screen, rng: Random, words: WordSplit, seeds: int
) -> list[Case]:
    """Ask for absent targets, alternately made up and from another screen."""
    scene = Scene(screen)
    questions = [ask_missing(scene, rng, words) for _ in range(screen_set.questions)]
    made_up = [question.text for question in questions if question]
    other = ask(screen_of(screen_set, index + screen_set.screens, seeds), rng, none=0, several=0, split=words)
    elsewhere = [question.text for question in other if question.named and is_absent(question.label, screen)]
    rng.shuffle(elsewhere)
    both = [
        (text, category)
        for pair in zip_longest(made_up, elsewhere)
        for text, category in zip(pair, (MADE_UP, ELSEWHERE), strict=True)
        if text is not None
    ]
    return [Case(screen=index, question=text, category=category, boxes=(), chance=0.0) for text, category in both]


def _cases(screen_set: ScreenSet, index: int, screen: Screen, seeds: int) -> list[Case]:
    rng = Random(seed_of(seeds, screen_set.key or screen_set.name, index, "questions"))
    words: WordSplit = "held_out" if screen_set.split == "held_out_words" else "train"
    if not screen_set.absent:
        questions = ask(screen, rng, none=0, several=_SEVERAL, split=words)
        return _once([_case(index, screen, question) for question in questions])[: screen_set.questions]
    there = _single_targets(screen, rng, words)
    there_cases = _once([_case(index, screen, question) for question in there])[: screen_set.questions // 2]
    absent = _once(_absent_cases(screen_set, index, screen, rng, words, seeds))
    # Equal numbers of both: the expression must not reveal the answer.
    number = min(len(there_cases), len(absent))
    return [*there_cases[:number], *absent[:number]]


def _once(cases: list[Case]) -> list[Case]:
    """Drop duplicate questions."""
    return list({case.question: case for case in reversed(cases)}.values())[::-1]


def cases_of(screen_set: ScreenSet, seeds: int = EVALUATION) -> Iterator[tuple[Image, list[Case]]]:
    """Yield the images of a set with their questions; screens without questions are skipped."""
    for index in range(screen_set.screens):
        screen = screen_of(screen_set, index, seeds)
        if cases := _cases(screen_set, index, screen, seeds):
            yield image_of(screen_set, screen), cases


_SPLITS: tuple[tuple[str, Split], ...] = (
    ("seen looks, words and fonts", "train"),
    ("unseen words", "held_out_words"),
    ("unseen fonts", "held_out_fonts"),
    ("unseen looks", "held_out_looks"),
)
_SCALES = (0.75, 1.0, 1.5, 2.0)
# Kinds of screens: name, style, width, height, screens per set. Pages have few questions each; large desktops are read
# in several windows and take correspondingly longer.
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
    """Return the suite's sets of ordinary screens with about this many screens in total, in the suite's proportions."""
    like = [screen_set for screen_set in suite_sets() if screen_set.section.startswith(ORDINARY)]
    share = screens / sum(screen_set.screens for screen_set in like)
    return tuple(replace(screen_set, screens=max(1, round(screen_set.screens * share))) for screen_set in like)
