"""Static screens of the simulated desktop: repeatable, varied, and true to what they say about themselves."""

import random

import numpy as np
import pytest
from PIL import Image

from molmo_agent.envs.drawing import fonts as typeface_module
from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import Canvas
from molmo_agent.envs.drawing.fonts import FAMILIES, face
from molmo_agent.envs.sim_desktop import SPLITS, STYLES, Screen, sample_screen
from molmo_agent.envs.sim_desktop.draw import draw
from molmo_agent.envs.sim_desktop.looks import HELD_OUT_LOOKS, LOOKS
from molmo_agent.envs.sim_desktop.sampling import DesktopSpec, families, sample_desktop
from molmo_agent.errors import UnknownNameError


def screens(count: int, **options: object) -> list[Screen]:
    return [sample_screen(seed, **options) for seed in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("style", [None, *STYLES])
@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_draws_the_same_bytes(style: str | None, split: str) -> None:
    options = {"style": style, "split": split, "width": 400, "height": 300}
    first, again = sample_screen(5, **options), sample_screen(5, **options)  # type: ignore[arg-type]
    other = sample_screen(6, **options)  # type: ignore[arg-type]
    assert np.array_equal(first.image, again.image)
    assert (first.elements, first.texts) == (again.elements, again.texts)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("width", "height"), [(200, 200), (64, 64), (640, 480), (480, 640), (1280, 800)])
def test_every_size_is_drawn_at_that_size_with_true_boxes(width: int, height: int) -> None:
    for screen in screens(8, width=width, height=height):
        assert screen.image.shape == (height, width, 3)
        assert screen.image.dtype == np.uint8
        assert not screen.image.flags.writeable
        for element in screen.elements:
            left, top, right, bottom = element.box
            assert left < right, element
            assert top < bottom, element
            if element.visible:
                assert min(left, top) >= 0, element
                assert (right <= width, bottom <= height) == (True, True), element
        for run in screen.texts:
            assert len(run.edges) == len(run.text) + 1
            assert list(run.edges) == sorted(run.edges)
            assert run.edges[0] >= 0
            assert run.edges[-1] <= width
            assert run.top >= 0
            assert run.bottom <= height


def test_screens_hold_every_kind_of_element() -> None:
    kinds = {element.kind for screen in screens(60) for element in screen.elements if element.visible}
    assert kinds >= {
        *("button", "checkbox", "radio", "field", "link", "tab", "menu", "menu_item", "list_item", "slider", "icon"),
        *("window_close", "window_minimize", "window_maximize", "taskbar_item", "shape", "text", "window_title"),
    }


def test_the_centre_of_a_visible_element_belongs_to_it() -> None:
    checked = 0
    for seed in range(25):
        drawing = draw(sample_desktop(seed, DesktopSpec(width=640, height=480, split="train")))
        for element, owner in zip(drawing.screen.elements, drawing.owners, strict=True):
            if element.visible and owner is not None:
                assert drawing.hit(*element.center) is owner, (seed, element)
                checked += 1
    assert checked > 300


def test_a_label_said_to_be_readable_is_among_the_texts() -> None:
    for screen in screens(25):
        drawn = {run.text for run in screen.texts}
        for element in screen.elements:
            if element.text:
                assert element.label in drawn


def test_visible_text_has_ink_and_covered_text_is_not_listed() -> None:
    for screen in screens(15):
        for run in screen.texts:
            patch = screen.image[int(run.top) : int(run.bottom), int(run.edges[0]) : int(run.edges[-1])]
            assert patch.std(axis=(0, 1)).max() > 1, run


@pytest.mark.parametrize("family", FAMILIES)
def test_character_edges_lie_where_the_ink_of_each_character_is(family: str) -> None:
    text = "Save as: Wiggly fjord 0O1l"
    for size in (10, 16):
        letters = face(family, size)

        def ink(part: str, letters: typeface_module.Face = letters) -> np.ndarray:
            canvas = Canvas(400, 40, Image.new("RGB", (400, 40), "white"))
            canvas.text(20, 8, part, letters, (0, 0, 0))
            return canvas.finish().image[..., 0] < 200

        canvas = Canvas(400, 40, Image.new("RGB", (400, 40), "white"))
        canvas.text(20, 8, text, letters, (0, 0, 0))
        (run,) = canvas.finish().texts
        for i, character in enumerate(text):
            columns = np.flatnonzero((ink(text[: i + 1]) & ~ink(text[:i])).any(0))
            if character == " ":
                assert not len(columns)
            else:
                assert columns[0] >= run.edges[i] - 2, (character, size)
                assert columns[-1] <= run.edges[i + 1] + 2, (character, size)
        rows = np.flatnonzero(ink(text).any(1))
        assert rows[0] >= run.top
        assert rows[-1] < run.bottom


def test_a_text_wider_than_its_room_ends_in_an_ellipsis_and_is_not_called_readable() -> None:
    canvas = Canvas(200, 40, Image.new("RGB", (200, 40)))
    assert canvas.text(0, 0, "A rather long label", face("roboto", 14), (255, 255, 255), max_width=60) == -1
    assert canvas.finish().texts[0].text.endswith("…")


def test_characters_a_font_lacks_come_from_another_font() -> None:
    for text in ("Ελλάδα", "Привет", "日本語", "한국어"):
        letters = face("karla", 16)
        glyphs = {letters.letter(character).mask.tobytes() for character in set(text)}  # type: ignore[union-attr]
        assert len(glyphs) == len(set(text)), text


def test_a_covered_line_is_cut_to_its_longest_readable_part() -> None:
    canvas = Canvas(300, 40, Image.new("RGB", (300, 40)))
    run = canvas.text(0, 5, "Forward book", face("roboto", 14), (255, 255, 255))
    edges = face("roboto", 14).letter("Forward book").edges
    canvas.cover((0, 0, edges[3] - 1, 40))
    canvas.mark("text", "Forward book", (0, 5, edges[-1], 20), run)
    screen = canvas.finish()
    assert [line.text for line in screen.texts] == ["ward book"]
    assert not screen.elements[0].text


def test_held_out_fonts_are_never_on_training_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(families("train")) >= 14
    assert len(families("held_out_fonts")) >= 4
    assert not set(families("train")) & set(families("held_out_fonts"))
    used: set[str] = set()
    real = typeface_module.face

    def spy(family: str, size: int, bold: bool = False) -> typeface_module.Face:
        used.add(family)
        return real(family, size, bold)

    for name in ("looks", "draw_widgets", "layout", "sampling", "web_page"):
        monkeypatch.setattr(f"molmo_agent.envs.sim_desktop.{name}.face", spy)
    for seed in range(30):
        for split in ("train", "held_out_words", "held_out_looks"):
            sample_screen(seed, split=split)  # type: ignore[arg-type]
    assert used
    assert used <= set(families("train"))
    used.clear()
    for seed in range(10):
        sample_screen(seed, split="held_out_fonts")
    assert used <= set(families("held_out_fonts"))


def test_training_texts_and_held_out_texts_have_no_word_in_common() -> None:
    assert not set(words.dictionary("train")) & set(words.dictionary("held_out"))
    assert not set(words.phrases("train")) & set(words.phrases("held_out"))
    assert 0.15 < len(words.dictionary("held_out")) / len(words.dictionary("all")) < 0.25
    rng = random.Random(0)
    for make in (words.pseudo_word, words.word, words.short_text, words.label, words.person, words.file_name):
        assert not any(words.is_held_out(make(rng, "train")) for _ in range(200)), make
        assert all(words.is_held_out(make(rng, "held_out")) for _ in range(200)), make
    for seed in range(10):
        shown = [e.label for e in sample_screen(seed, split="train", style="words").elements]
        assert not any(words.is_held_out(label) for label in shown)
        shown = [e.label for e in sample_screen(seed, split="held_out_words", style="words").elements]
        assert all(words.is_held_out(label) for label in shown)


def test_words_no_interface_does_without_are_in_training() -> None:
    for word in ("OK", "Cancel", "Save", "Password", "Submit", "Log in"):
        assert not words.is_held_out(word)


def test_held_out_looks_are_never_sampled_for_training() -> None:
    train = {sample_desktop(seed, DesktopSpec(width=320, height=240, split="train")).look.name for seed in range(40)}
    held_out = {
        sample_desktop(seed, DesktopSpec(width=320, height=240, split="held_out_looks")).look.name for seed in range(20)
    }
    assert train <= set(LOOKS)
    assert held_out <= set(HELD_OUT_LOOKS)


def test_density_moves_the_number_of_words() -> None:
    def count(density: float) -> int:
        return sum(len(s.texts) for s in screens(10, style="words", density=density))

    assert count(0.0) < count(1.0)


def test_unknown_names_and_tiny_sizes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown split 'trian': did you mean train"):
        sample_screen(0, split="trian")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown style 'word': did you mean words"):
        sample_screen(0, style="word")
    with pytest.raises(ValueError, match="at least 64 x 64 pixels, got 32 x 480"):
        sample_screen(0, width=32)
    with pytest.raises(UnknownNameError, match="unknown font family 'robot': did you mean roboto"):
        face("robot", 12)
