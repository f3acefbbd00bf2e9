"""The screens that the suite asks about, and what is asked there."""

from dataclasses import replace

import numpy as np
import pytest

from molmo_agent.envs.drawing.annotated_screen import Element, Screen, TextRun
from molmo_agent.evaluation.nano_suite.categories import ELSEWHERE, LOOKS, MADE_UP, REST, TEXTS, category_of, group_of
from molmo_agent.evaluation.nano_suite.sets import ScreenSet, cases_of, is_absent, suite_sets
from molmo_agent.synthetic.referring.names import Question

SMALL = ScreenSet(name="desktop small", section="desktop small", screens=3, width=240, height=180, questions=4)
ABSENT = replace(SMALL, name="absent", section="absent", absent=True, screens=4)


def test_a_set_gives_the_same_questions_every_time_and_no_other_set_the_same():
    def seen(chosen):
        return [(shown.tobytes(), cases) for shown, cases in cases_of(chosen)]

    assert seen(SMALL) == seen(SMALL)
    other = replace(SMALL, name="another")
    assert not {picture for picture, _ in seen(SMALL)} & {picture for picture, _ in seen(other)}


def test_the_suite_has_seen_and_unseen_looks_words_and_fonts_of_all_screens_and_names_no_set_twice():
    sets = suite_sets()
    for section in ("desktop 640x480", "desktop 1280x800", "phone 360x640", "page 160x210"):
        mine = [one for one in sets if one.section == section]
        assert [one.split for one in mine] == ["train", "held_out_words", "held_out_fonts", "held_out_looks"]
        assert {f"{one.width}x{one.height}" for one in mine} == {section.split()[1]}
    assert {one.scale for one in sets if one.section == "scale"} == {0.75, 1.0, 1.5, 2.0}
    assert {one.style for one in sets if one.absent} == {None, "phone", "page"}
    assert len({one.name for one in sets}) == len(sets)


def test_a_scaled_set_asks_the_same_of_the_same_screens_at_another_size():
    plain = replace(SMALL, key="scale")
    for scale, size in ((0.75, (135, 180)), (2.0, (360, 480))):
        for (shown, cases), (large, same) in zip(
            cases_of(plain), cases_of(replace(plain, name="larger", scale=scale)), strict=True
        ):
            assert cases == same
            assert large.shape == (*size, 3)
            assert abs(float(large.mean()) - float(shown.mean())) < 2


@pytest.mark.parametrize("style", [None, "phone", "page"])
def test_half_of_the_questions_ask_for_what_is_not_there(style):
    width, height = (160, 210) if style == "page" else (360, 640) if style == "phone" else (320, 240)
    chosen = replace(ABSENT, style=style, width=width, height=height, screens=6)
    asked = [case for _, cases in cases_of(chosen) for case in cases]
    gone = [case for case in asked if not case.boxes]
    assert 2 * len(gone) == len(asked) > 8
    assert {case.category for case in gone} == {MADE_UP, ELSEWHERE}
    assert all(len(case.boxes) == 1 for case in asked if case not in gone)


def test_no_question_is_asked_twice_about_a_screen():
    for chosen in (replace(SMALL, screens=10, questions=40), ABSENT):
        for _, cases in cases_of(chosen):
            assert len({case.question for case in cases}) == len(cases)


def test_what_is_covered_or_part_of_a_longer_text_is_not_absent():
    def element(label, **more):
        given = {"id": 0, "kind": "button", "box": (0, 0, 9, 9), "visible": False, "text": True} | more
        return Element(label=label, **given)

    texts = (TextRun("Open the Mail", (0.0,) * 14, 0, 9),)
    shape = element("", kind="shape", color="red", shape="star", size="large")
    seen = (element("Save"), shape, element("", shape="bubble", text=False))
    screen = Screen(np.zeros((9, 9, 3), np.uint8), seen, texts)

    assert is_absent("print", screen)
    assert not is_absent("save", screen)
    assert not is_absent("mail", screen)
    assert not is_absent("star", screen)
    # What people call a picture is not what it is called in code.
    assert not is_absent("speech bubble", screen)


@pytest.mark.parametrize(
    ("category", "label", "more", "counted", "group"),
    [
        ("shape", "large red star", {"size": "large", "color": "red", "shape": "star"}, "by size", LOOKS),
        ("shape", "red star", {"size": "large", "color": "red", "shape": "star"}, "by colour", LOOKS),
        ("shape", "star", {"size": "large", "color": "red", "shape": "star"}, "by shape", LOOKS),
        ("letter", "red letter", {"color": "red"}, "by colour", LOOKS),
        ("letter", "digit", {}, "by shape", LOOKS),
        ("icon", "gear", {}, "by picture", LOOKS),
        ("window-button", "mail", {}, "window button", LOOKS),
        ("text-checkbox", "agree", {}, "by text: checkbox", LOOKS),
        ("text-radio", "agree", {}, "by text: radio button", LOOKS),
        ("text-menu_item", "open", {}, "by text: menu item", TEXTS),
        ("text-icon", "notes", {}, "by text: icon", TEXTS),
        ("word", "hello", {}, "by text: plain text", REST),
        ("look", "text field", {}, "by kind", REST),
        ("place", "top left red star", {"color": "red"}, "by place", REST),
        ("several", "red stars", {"color": "red"}, "several", REST),
        ("count", "buttons", {}, "count", REST),
    ],
)
def test_a_question_is_counted_by_how_it_tells_what_is_meant(category, label, more, counted, group):
    element = Element(id=0, kind="shape", label="", box=(0, 0, 9, 9), visible=True, **more)
    assert category_of(Question((element,), "x", label, category)) == counted
    assert group_of(counted) == group
