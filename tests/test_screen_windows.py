"""Stretched screens and windows of large ones as lessons: what they show is true, what they do not is not there."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from molmo_agent.envs.drawing.annotated_screen import Element, Screen, TextRun
from molmo_agent.nano.architecture import WINDOW, nano_processor
from molmo_agent.nano.batches import plan, prepare_point, sample
from molmo_agent.nano.curriculum import Stage
from molmo_agent.synthetic.augment import crop_screen, look_through_window, resize_screen
from molmo_agent.synthetic.sample import draw

WIDTH, HEIGHT = 1280, 800


def line(text: str, left: float, top: float) -> TextRun:
    return TextRun(text, tuple(left + 10 * i for i in range(len(text) + 1)), top, top + 12)


def thing(number: int, kind: str, label: str, box: tuple[float, float, float, float], *, text: bool = True) -> Element:
    return Element(number, kind, label, box, visible=True, text=text)


BUTTON = thing(0, "button", "Save", (20, 20, 80, 50))
BOX_BESIDE_CUT_WORDS = thing(1, "checkbox", "Remember", (170, 60, 185, 75))
ROW_BEYOND = thing(2, "list_item", "Apples", (20, 100, 500, 120))
ROW_OF_CUT_WORDS = thing(3, "list_item", "Elderberries", (150, 130, 500, 150))
ELSEWHERE = thing(4, "button", "Quit", (600, 20, 660, 50))
SCREEN = Screen(
    np.arange(300 * 700 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 700, 3),
    (BUTTON, BOX_BESIDE_CUT_WORDS, ROW_BEYOND, ROW_OF_CUT_WORDS, ELSEWHERE),
    (
        line("Save", 30, 30),
        line("Remember", 190, 60),
        line("Apples", 30, 104),
        line("Elderberries", 160, 134),
        line("Quit", 610, 30),
    ),
)
VIEW = (10.0, 5.0, 250.0, 205.0)


def test_a_window_shows_the_same_pixels_and_moves_what_is_told_of_them() -> None:
    part = crop_screen(SCREEN, VIEW)
    assert np.array_equal(part.image, SCREEN.image[5:205, 10:250])
    assert not part.image.flags.writeable
    assert [element.label for element in part.elements] == ["Save", "Remember", "Apples", "Elderberries"]
    assert part.elements[0].box == (10, 15, 70, 45)
    assert part.elements[0].visible
    assert part.texts[0] == line("Save", 20, 25)


def test_what_the_border_cuts_is_asked_for_only_where_its_words_are_whole() -> None:
    _, beside, row, cut_row = crop_screen(SCREEN, VIEW).elements
    assert beside.visible, "the square itself is whole"
    assert not beside.text, "its words are not"
    assert row.visible
    assert row.box == (10, 95, 240, 115), "as far as the window goes"
    assert not cut_row.visible


def test_a_cut_line_keeps_the_characters_that_are_whole() -> None:
    assert [run.text for run in crop_screen(SCREEN, VIEW).texts] == ["Save", "Rememb", "Apples", "Elderberr"]
    assert crop_screen(SCREEN, (0, 0, 700, 35)).texts == (), "a line that is cut lengthwise cannot be read"


def test_a_stretched_screen_tells_where_things_are_now() -> None:
    wide = resize_screen(SCREEN, 1400, 150)
    assert wide.image.shape == (150, 1400, 3)
    assert wide.elements[0].box == (40, 10, 160, 25)
    assert wide.texts[0] == TextRun("Save", (60, 80, 100, 120, 140), 15, 21)


def test_a_stage_stretches_screens_and_keeps_their_size() -> None:
    plain = Stage(name="s", kind="point", steps=1, batch=1, styles={"page@160x210": 0.5, "phone@180x320": 0.5})
    stretched = replace(plain, stretch=0.15)
    for step in range(4):
        before, after = (sample(one, plan(one, 0, step, 0)).screen for one in (plain, stretched))
        assert before.image.shape == after.image.shape
        assert not np.array_equal(before.image, after.image)


@pytest.mark.parametrize("seed", range(6))
def test_questions_of_a_window_ask_for_what_only_the_rest_of_the_screen_shows(seed: int) -> None:
    screen = draw(seed, "desktop", width=WIDTH, height=HEIGHT, split="train")
    looked = look_through_window(screen, Random(seed), WINDOW)
    height, width = looked.screen.image.shape[:2]
    assert (width, height) == WINDOW
    assert looked.questions
    words = {run.text.casefold() for run in looked.screen.texts} | {e.label.casefold() for e in looked.screen.elements}
    for question in looked.questions:
        assert question.elements == ()
        assert question.label not in words


def test_a_screen_that_is_read_at_once_is_its_own_window() -> None:
    screen = draw(0, "desktop", width=640, height=480, split="train")
    looked = look_through_window(screen, Random(0), WINDOW)
    assert np.array_equal(looked.screen.image, screen.image)
    assert looked.questions == ()


def test_a_stage_learns_both_from_windows() -> None:
    one = Stage(
        name="s", kind="point", steps=1, batch=3, styles={f"window@{WIDTH}x{HEIGHT}": 1.0}, none=0.0, several=0.0
    )
    assert sample(one, plan(one, 0, 0, 0)).screen.image.shape == (WINDOW[1], WINDOW[0], 3)
    examples = [example for example, _ in prepare_point(one, 0, 0, nano_processor())]
    asked = sum(int(example.subsegment_ids[example.subsegment_ids < 10000].max()) for example in examples)
    pointed = sum(len(example.point_questions) for example in examples)
    assert 0.2 < pointed / asked < 0.9
