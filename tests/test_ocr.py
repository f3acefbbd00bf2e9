"""Text readers: the bundled engine on drawn text, reading only what changed, and adapters for other engines."""

import socket
import stat
import sys
import types

import numpy as np
import PIL.Image
import pytest
from drawn_text import Drawing

from molmo_agent.errors import ModelError, UnknownNameError, UsageError
from molmo_agent.geometry import Box
from molmo_agent.images import changed_part
from molmo_agent.ocr.incremental import IncrementalReader
from molmo_agent.ocr.reader import READERS, load_reader
from molmo_agent.ocr.tesseract import TesseractReader
from molmo_agent.screen_text import Line, TextReader, Word, reading_order


@pytest.fixture(scope="module")
def rapid():
    """The bundled engine."""
    return load_reader("rapidocr").inner


def page():
    """Return a drawing with three labels."""
    return Drawing().text(40, 40, "Save document").text(300, 40, "Cancel").text(40, 200, "Open recent files")


def test_the_bundled_engine_reads_words_with_their_boxes_without_a_network(rapid, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    drawing = page()
    lines = rapid.read(drawing.array())
    assert [line.text for line in lines] == ["Save document", "Cancel", "Open recent files"]
    for line, truth in zip(lines, drawing.lines, strict=True):
        assert line.confidence > 0.8
        assert len(line.words) == len(truth.words)
        for word, expected in zip(line.words, truth.words, strict=True):
            assert expected.box.contains(word.box.center), (word, expected)
    assert isinstance(rapid, TextReader)


def test_light_text_on_dark_is_read_too(rapid):
    dark = 255 - page().array()
    assert [line.text for line in rapid.read(dark)] == ["Save document", "Cancel", "Open recent files"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 400, 3), (400, 3, 3), (40, 40, 3)])
def test_an_image_without_text_has_no_lines(rapid, shape):
    assert list(rapid.read(np.full(shape, 200, np.uint8))) == []


def test_a_strip_is_read_without_being_enlarged_to_the_size_of_a_screen(rapid, monkeypatch):
    sizes = []
    kind = type(rapid._engine.text_det.preprocess_op)
    prepare = kind.__call__

    def noted(self, image):
        sizes.append(prepare(self, image).shape[-2:])
        return prepare(self, image)

    monkeypatch.setattr(kind, "__call__", noted)
    drawing = Drawing(440, 30).text(20, 6, "Save document").text(300, 6, "Cancel")
    lines = list(rapid.read(drawing.array()))
    assert [line.text for line in lines] == ["Save document", "Cancel"]
    for line, truth in zip(lines, drawing.lines, strict=True):
        assert truth.box.contains(line.box.center)
        assert line.box.bottom <= 1, "in the image, not in what was added below it"
    for strip in (drawing.array().transpose(1, 0, 2), np.full((2, 300, 3), 200, np.uint8)):
        assert all(0 <= line.box.right <= 1 for line in rapid.read(strip))
    assert len(sizes) == 3
    assert max(height * width for height, width in sizes) < 1024 * 1024, sizes


def test_models_that_are_missing_are_named(monkeypatch, tmp_path):
    spec = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    with pytest.raises(ModelError, match=r"PP-OCRv6_det_small.*install it again: pip install"):
        load_reader("rapidocr")


def test_a_reader_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean tesseract"):
        load_reader("teseract")
    assert {*READERS} == {"rapidocr", "tesseract", "windows", "macos"}


class Counting:
    """Returns one line per image: its size; notes the shapes that it was asked about."""

    name = "counting"

    def __init__(self):
        self.shapes = []

    def read(self, image):
        self.shapes.append(image.shape[:2])
        height, width = image.shape[:2]
        box = Box.from_pixels(10, 10, 60, 30, width, height)
        return (Line((Word(f"{width}x{height}", box),), box, 0.9),)


def test_the_same_image_is_read_once_and_a_change_only_around_it():
    reader = IncrementalReader(inner := Counting())
    before = np.zeros((1200, 1600, 3), np.uint8)
    first = reader.read(before)
    assert reader.read(before.copy()) == first
    after = before.copy()
    after[800:820, 1000:1100] = 255
    lines = reader.read(after)
    assert len(inner.shapes) == 2
    height, width = inner.shapes[1]
    assert height < 700
    assert width < 800
    assert [line.text for line in lines] == ["1600x1200", f"{width}x{height}"], "the line that did not change is kept"
    left, top = lines[1].box.left * 1600, lines[1].box.top * 1200
    assert (left, top) == pytest.approx((1050 - width // 2 + 10, 810 - height // 2 + 10), abs=2)
    assert reader.read(before) == first, "the screen before is remembered"


def test_a_changed_part_grows_around_the_lines_that_it_cuts():
    drawing = page()
    reader = IncrementalReader(drawing.reader)
    image = drawing.array()
    reader.read(image)
    changed = image.copy()
    changed[205:210, 45:60] = 0
    reader.read(changed)
    assert reader.inner.num_reads == 2


def test_an_image_of_another_size_or_one_that_changed_everywhere_is_read_whole():
    reader = IncrementalReader(inner := Counting())
    reader.read(np.zeros((1000, 1000, 3), np.uint8))
    reader.read(np.zeros((1000, 900, 3), np.uint8))
    reader.read(np.full((1000, 1000, 3), 9, np.uint8))
    assert inner.shapes == [(1000, 1000), (1000, 900), (1000, 1000)]


def test_an_array_that_its_owner_writes_to_is_read_again():
    reader = IncrementalReader(inner := Counting())
    image = np.zeros((900, 900, 3), np.uint8)
    reader.read(image)
    image[:] = 255
    reader.read(image)
    assert len(inner.shapes) == 2


def test_the_changed_part_is_the_smallest_rectangle():
    before = np.zeros((50, 60, 3), np.uint8)
    after = before.copy()
    assert changed_part(before, after) is None
    after[10, 20, 0], after[30, 40, 2] = 1, 1
    assert changed_part(before, after) == (20, 10, 41, 31)


def test_what_was_read_in_parts_equals_what_is_read_at_once(rapid):
    drawing = page()
    reader = IncrementalReader(rapid)
    reader.read(drawing.array())
    drawing.text(300, 200, "New label")
    whole = [line.text for line in rapid.read(drawing.array())]
    assert [line.text for line in reader.read(drawing.array())] == whole


def test_lines_come_in_reading_order():
    def line(text, left, top):
        box = Box(left, top, left + 0.1, top + 0.05)
        return Line((Word(text, box),), box, 1.0)

    lines = [line("d", 0.1, 0.5), line("b", 0.6, 0.11), line("a", 0.1, 0.1), line("c", 0.8, 0.12)]
    assert [one.text for one in reading_order(lines)] == ["a", "b", "c", "d"]


def program(path, body):
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


TABLE = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n" + "".join(
    f"5\t1\t{block}\t1\t1\t{number}\t{left}\t40\t100\t40\t{confidence}\t{text}\n"
    for block, number, left, confidence, text in (
        (1, 1, 20, 96.5, "Save"),
        (1, 2, 140, 90.5, '"as"'),
        (2, 1, 600, -1, "File"),
        (2, 2, 700, 95, " "),
    )
)


def test_tesseract_is_read_through_its_table(tmp_path):
    (tmp_path / "table").write_text(TABLE)
    script = program(
        tmp_path / "tesseract", f"cat > {tmp_path}/in.png; echo $@ > {tmp_path}/args; cat {tmp_path}/table"
    )
    lines = TesseractReader(language="eng+deu", program=script).read(np.zeros((100, 400, 3), np.uint8))
    assert [line.text for line in lines] == ['Save "as"', "File"]
    assert lines[0].words[1].box == Box.from_pixels(70, 20, 120, 40, 400, 100), "tesseract saw it twice as large"
    assert lines[0].confidence == pytest.approx(0.935)
    assert lines[1].confidence == 0
    with PIL.Image.open(tmp_path / "in.png") as seen:
        assert seen.size == (800, 200)
    assert "-l eng+deu" in (tmp_path / "args").read_text()


def test_tesseract_says_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match=r"apt install tesseract-ocr.*rapidocr"):
        TesseractReader(program=str(tmp_path / "none"))
    broken = program(tmp_path / "broken", "echo no language xyz >&2; exit 1")
    with pytest.raises(ModelError, match="ended with 1: no language xyz"):
        TesseractReader(program=broken).read(np.zeros((10, 10, 3), np.uint8))


def test_windows_words_become_lines(monkeypatch):
    rectangle = {"x": 10, "y": 20, "width": 30, "height": 10}
    answer = {"lines": [{"words": [{"text": "Save", "bounding_rect": rectangle}]}, {"words": []}]}
    fake = types.SimpleNamespace(recognize_pil_sync=lambda image, language: answer if language == "de" else 1 / 0)
    monkeypatch.setitem(sys.modules, "winocr", fake)
    image = np.zeros((100, 200, 3), np.uint8)
    (line,) = load_reader("windows", language="de").read(image)
    assert (line.text, line.box) == ("Save", Box.from_pixels(10, 20, 40, 30, 200, 100))
    with pytest.raises(ModelError, match="expected the engine of Windows to read 'xx'"):
        load_reader("windows", language="xx").read(image)


def test_lines_of_macos_are_turned_upright_and_split_into_words(monkeypatch):
    class OCR:
        def __init__(self, image, language_preference):
            assert image.size == (200, 100)
            self.language = language_preference

        def recognize(self):
            return [("Save as", 0.9, (0.1, 0.2, 0.7, 0.1)), (" ", 0.5, (0, 0, 0.1, 0.1))] if self.language else 1 / 0

    package = types.ModuleType("ocrmac")
    package.ocrmac = types.ModuleType("ocrmac.ocrmac")
    package.ocrmac.OCR = OCR
    monkeypatch.setitem(sys.modules, "ocrmac", package)
    monkeypatch.setitem(sys.modules, "ocrmac.ocrmac", package.ocrmac)
    (line,) = load_reader("macos").read(np.zeros((100, 200, 3), np.uint8))
    assert line.text == "Save as"
    assert (line.box.top, line.box.bottom) == pytest.approx((0.7, 0.8))
    assert (line.words[1].box.left, line.words[1].box.right) == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize(("reader", "package"), [("windows", "winocr"), ("macos", "ocrmac")])
def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch, reader, package):
    for name in ("winocr", "ocrmac", "ocrmac.ocrmac"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UsageError, match=f"on .*: pip install {package};"):
        load_reader(reader)
