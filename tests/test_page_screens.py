"""Small web pages and phones as training screens: repeatable, of any size, true to what they say about themselves."""

import re
from random import Random

import numpy as np
import pytest

from molmo_agent.envs.drawing import fonts as typeface
from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.fonts import FAMILIES
from molmo_agent.envs.sim_phone.looks import FAMILIES as PHONE_FAMILIES
from molmo_agent.envs.sim_phone.looks import HELD_OUT_FAMILIES, held_out_look, sample_look
from molmo_agent.synthetic.pages.page import on_ground, sample_page
from molmo_agent.synthetic.pages.widgets import HELD_OUT_PAGE_LOOKS, PAGE_LOOKS, SCRIPTS, sample_page_look
from molmo_agent.synthetic.sample import OWN_STYLES, Split, draw

SPLITS: tuple[Split, ...] = ("train", "held_out_fonts", "held_out_words", "held_out_looks")
SIZES = ((160, 210), (320, 420), (360, 640), (640, 480), (1280, 800))


@pytest.mark.parametrize("style", OWN_STYLES)
@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_draws_the_same_bytes(style: str, split: Split) -> None:
    first, again, other = (draw(seed, style, width=360, height=320, split=split) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert (first.elements, first.texts) == (again.elements, again.texts)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("style", ["page", "phone"])
def test_every_size_is_drawn_at_that_size_with_true_boxes(style: str, size: tuple[int, int]) -> None:
    width, height = size
    for seed in range(12):
        screen = draw(seed, style, width=width, height=height, split="train")
        assert screen.image.shape == (height, width, 3)
        assert not screen.image.flags.writeable
        assert [element.id for element in screen.elements] == list(range(len(screen.elements)))
        for element in screen.elements:
            left, top, right, bottom = element.box
            if element.visible:
                assert 0 <= left < right <= width, element
                assert 0 <= top < bottom <= height, element
        for run in screen.texts:
            assert len(run.edges) == len(run.text) + 1
            assert min(run.edges[0], run.top) >= 0
            assert run.edges[-1] <= width
            assert run.bottom <= height


@pytest.mark.parametrize("size", [(64, 64), (100, 400), (900, 120), (3840, 2160)])
def test_odd_sizes_are_drawn_too(size: tuple[int, int]) -> None:
    for seed in range(12 if size[0] < 1000 else 3):
        for style in ("page", "phone"):
            assert draw(seed, style, width=size[0], height=size[1], split="train").image.shape == (*size[::-1], 3)


def test_pages_hold_every_kind_of_element() -> None:
    kinds = {e.kind for seed in range(80) for e in draw(seed, "page", width=320, height=420, split="train").elements}
    assert kinds >= {
        *("button", "checkbox", "radio", "field", "dropdown", "link", "tab", "list_item", "menu_item", "section"),
        *("slider", "icon", "shape", "letter", "text", "window_close", "window_title"),
    }


def ink(screen: Screen, box: tuple[float, float, float, float]) -> float:
    """Return how much a region varies; 0 where nothing is drawn."""
    left, top, right, bottom = (round(v) for v in box)
    return float(screen.image[top:bottom, left:right].reshape(-1, 3).std(0).max())


@pytest.mark.parametrize("size", [(160, 210), (640, 480)])
def test_what_is_said_to_be_there_can_be_seen_there(size: tuple[int, int]) -> None:
    for seed in range(30):
        screen = draw(seed, "page", width=size[0], height=size[1], split="train")
        for element in screen.elements:
            left, top, right, bottom = element.box
            # One pixel around it, so that a plain square is seen against what surrounds it.
            around = max(left - 2, 0), max(top - 2, 0), min(right + 2, size[0]), min(bottom + 2, size[1])
            if element.visible:
                assert ink(screen, around) > 2, (seed, element)
        for run in screen.texts:
            assert ink(screen, run.box) > 1, (seed, run)


def test_shapes_have_the_colour_that_they_are_called() -> None:
    pure = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
    checked = 0
    for seed in range(120):
        screen = draw(seed, "page", width=160, height=210, split="train")
        for element in screen.elements:
            if element.visible and element.shape in ("circle", "square") and element.color in pure:
                x, y = (round(v) for v in element.center)
                assert np.abs(screen.image[y, x].astype(int) - pure[element.color]).max() < 30, element
                checked += 1
    assert checked > 30


def test_the_instruction_can_be_read_and_is_no_element() -> None:
    found = 0
    for seed in range(40):
        screen = draw(seed, "page", width=160, height=210, split="train")
        yellow = (screen.image[0, :, :] == (255, 255, 0)).all()
        if not yellow:
            continue
        found += 1
        bar = next(y for y in range(210) if not (screen.image[y, 0] == (255, 255, 0)).all())
        assert any(run.bottom <= bar for run in screen.texts)
        assert all(element.box[1] >= bar for element in screen.elements)
    assert found > 15


def test_pages_are_scaled_up_and_stand_in_larger_pictures() -> None:
    heights = set()
    padded = 0
    for seed in range(40):
        screen = draw(seed, "page", width=640, height=480, split="train")
        heights |= {round(run.bottom - run.top) for run in screen.texts}
        reach = max((e.box[2] for e in screen.elements), default=0) - min(
            (e.box[0] for e in screen.elements), default=0
        )
        padded += reach < 330
    assert min(heights) <= 14
    assert max(heights) >= 30
    assert padded > 5


def test_a_screen_on_a_ground_has_its_truth_moved_along() -> None:
    page = sample_page(3, width=160, height=210)
    moved = on_ground(page, 400, 300, Random(1))
    assert moved.image.shape == (300, 400, 3)
    dx = moved.elements[0].box[0] - page.elements[0].box[0]
    dy = moved.elements[0].box[1] - page.elements[0].box[1]
    assert (dx, dy) != (0, 0)
    x, y = int(dx), int(dy)
    assert np.array_equal(moved.image[y : y + 210, x : x + 160], page.image)
    for old, new in zip(page.texts, moved.texts, strict=True):
        assert [e + dx for e in old.edges] == list(new.edges)
        assert (old.top + dy, old.bottom + dy) == (new.top, new.bottom)


def test_a_phone_is_upright_where_the_picture_is() -> None:
    seen = set()
    for seed in range(20):
        upright = draw(seed, "phone", width=270, height=480, split="train")
        assert upright.image.shape == (480, 270, 3)
        wide = draw(seed, "phone", width=480, height=270, split="train")
        boxes = [e.box for e in wide.elements if e.visible]
        seen.add(max(b[2] for b in boxes) - min(b[0] for b in boxes) > 240)
    assert seen == {True, False}, "sideways, or upright on a ground"


@pytest.mark.parametrize("style", ["page", "phone"])
def test_held_out_words_are_never_on_training_screens_and_alone_on_held_out_ones(style: str) -> None:
    letters = re.compile(r"[^\W\d_]")
    for seed in range(30):
        for split in ("train", "held_out_words"):
            screen = draw(seed, style, width=240, height=400, split=split)  # type: ignore[arg-type]
            for element in screen.elements:
                if not element.text or len(letters.findall(element.label)) < 3:
                    continue
                assert words.is_held_out(element.label) == (split == "held_out_words"), (split, element)
        if style == "page":
            train = draw(seed, style, width=240, height=400, split="train")
            for run in train.texts:
                if len(letters.findall(run.text)) >= 3:
                    assert not words.is_held_out(re.sub(r"\W+$", "", run.text)), run


@pytest.mark.parametrize("style", ["page", "phone"])
def test_held_out_fonts_are_never_on_training_screens(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    real = typeface.face

    def spy(family: str, size: int, bold: bool = False) -> typeface.Face:
        used.add(family)
        return real(family, size, bold)

    monkeypatch.setattr("molmo_agent.synthetic.pages.widgets.face", spy)
    monkeypatch.setattr("molmo_agent.envs.sim_phone.looks.face", spy)
    for split in ("train", "held_out_words", "held_out_looks"):
        for seed in range(25):
            draw(seed, style, width=200, height=300, split=split)  # type: ignore[arg-type]
    assert len(used) > 4
    assert not any(FAMILIES[name].held_out for name in used)
    used.clear()
    for seed in range(15):
        draw(seed, style, width=200, height=300, split="held_out_fonts")
    assert used
    assert all(FAMILIES[name].held_out for name in used)


def test_held_out_looks_are_apart() -> None:
    assert not set(PAGE_LOOKS) & set(HELD_OUT_PAGE_LOOKS)
    assert not set(PHONE_FAMILIES) & set(HELD_OUT_FAMILIES)
    look = sample_look(Random(0), 360, dark=False)
    assert look.radius > 0
    assert held_out_look(look, Random(0)).radius == 0
    shown = {sample_page_look(Random(i), name, ["arimo"]).button_round for i in range(9) for name in PAGE_LOOKS}
    assert max(shown) < 5
    assert sample_page_look(Random(0), "round", ["arimo"]).button_round > 10


def test_every_letter_of_other_scripts_can_be_drawn() -> None:
    letters = typeface.face("arimo", 16)
    for script in SCRIPTS:
        glyphs = {letters.letter(character).mask.tobytes() for character in script}  # type: ignore[union-attr]
        assert len(glyphs) == len(set(script)), script


def test_phones_say_the_usual_words_on_half_of_the_training_screens() -> None:
    usual = ("Settings", "Clock", "Contacts", "Notes", "Shop", "Save", "Display", "Sound", "Wi-Fi", "Messages", "Mail")
    said = sum(
        any(run.text in usual for run in draw(seed, "phone", width=240, height=400, split="train").texts)
        for seed in range(60)
    )
    assert 10 < said < 50
