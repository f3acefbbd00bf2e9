"""Answers in words: `agent ask` and `agent caption`, streamed, with points shown as numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import Server
from made_data import png, write
from PIL import Image
from tiny_training import write_model
from typer.testing import CliRunner

from molmo_agent.cli.app import app, main
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.model import MolmoProcessor
from molmo_agent.point_text.cut_off import is_cut, without_mark
from molmo_agent.point_text.in_words import InlineAnswer
from molmo_agent.pointers.molmo import MolmoPointer

CUP = '<point x="25.0" y="50.0" alt="cup">cup</point>'
CUPS = '<points x1="10.0" y1="20.0" x2="30.5" y2="40.0" alt="cups">cups</points>'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("talker"))


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


@pytest.mark.parametrize(
    ("reply", "text", "count"),
    [
        ("Nothing to see.", "Nothing to see.", 0),
        (f"The {CUP} stands there.", "The cup [1: 0.250, 0.500] stands there.", 1),
        (f"{CUPS}{CUP}", "cups [1: 0.100, 0.200; 2: 0.305, 0.400]cup [3: 0.250, 0.500]", 3),
        ("a < b, <b>bold</b> <pointer> and <poi", "a < b, <b>bold</b> <pointer> and <poi", 0),
        ('Off: <point x="125.0" y="5.0" alt="a">a</point>!', 'Off: <point x="125.0" y="5.0" alt="a">a</point>!', 0),
        ('Open: <point x="12.0" y="5.0" alt="a">a', 'Open: <point x="12.0" y="5.0" alt="a">a', 0),
        ("Zeile eins.\nZeile zwei: Grüße, 你好 👩‍🚒", "Zeile eins.\nZeile zwei: Grüße, 你好 👩‍🚒", 0),
    ],
)
def test_an_answer_reads_the_same_wherever_its_pieces_end(reply: str, text: str, count: int) -> None:
    wrong = []
    for size in (1, 2, 3, 7, 1000):
        inline = InlineAnswer("molmo")
        shown = "".join(inline.feed(reply[n : n + size]) for n in range(0, len(reply), size)) + inline.end()
        if (shown, len(inline.points)) != (text, count):
            wrong.append((size, shown, inline.points))
    assert wrong == []


def test_words_are_shown_as_soon_as_they_are_whole_and_tags_are_held() -> None:
    inline = InlineAnswer("molmo")
    pieces = ("A bl", "ue ", "<po", 'int x="25.0" y="5.0"', ' alt="c">c</point>', " is")
    assert [inline.feed(piece) for piece in pieces] == ["A ", "blue ", "", "", "c [1: 0.250, 0.050]", " "]
    assert inline.end() == "is"
    plain = InlineAnswer("tuple")
    assert plain.feed(CUP + " ") + plain.end() == CUP + " ", "a dialect without tags has nothing to turn"


def test_a_streamed_answer_is_the_whole_answer(model: Path) -> None:
    pointer = MolmoPointer.from_pretrained(model)
    wrong = []
    for number, question in enumerate(["What is this?", "Wie viele?", "a"]):
        image = np.asarray(Image.open(write(model / "image.png", png(number))))
        (whole,) = pointer.answer_batch([image], [question], max_new_tokens=12)
        pieces = list(pointer.stream_answer([image], question, max_new_tokens=12))
        if without_mark("".join(pieces)).strip() != without_mark(whole).strip() or is_cut("".join(pieces)) != is_cut(
            whole
        ):
            wrong.append((question, whole, pieces))
    assert wrong == []


def test_several_pictures_are_read_in_their_order(model: Path) -> None:
    pointer = MolmoPointer.from_pretrained(model)
    first, second = (np.full((40, 60, 3), value, np.uint8) for value in (0, 250))
    processor: MolmoProcessor = pointer.processor
    ids, arrays = processor.encode([first, second], "")
    assert pointer._prefix(first, second).length == len(ids)
    assert len(np.unique(arrays["image_input_idx"][arrays["image_input_idx"] >= 0])) == ids.count(processor.patch_id)
    answers = {"".join(pointer.stream_answer(pair, "Which?", max_new_tokens=8)) for pair in ([first, second], [first])}
    assert all(answers)
    with pytest.raises(ModelError, match=r"expected picture and question to leave 5000000 of .* tokens"):
        list(pointer.stream_answer([first], "Which?", max_new_tokens=5_000_000))


def test_ask_prints_the_answer_and_says_when_it_was_cut_off(model: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", png())
    result = invoke("ask", str(image), "What is this?", "--model", str(model), "--max-tokens", "4", "--json")
    answer = json.loads(result.stdout)
    assert answer["model"] == model.name
    assert result.exit_code == (1 if answer["cut"] or not answer["answer"] else 0)
    whole = MolmoPointer.from_pretrained(model).answer_batch(
        [np.asarray(Image.open(image))], ["What is this?"], max_new_tokens=4
    )
    assert answer["answer"] == without_mark(whole[0])
    if answer["cut"]:
        assert "the answer was cut off after 4 tokens; --max-tokens allows more" in result.stderr
    several = invoke("ask", str(image), str(image), "Same?", "--model", str(model), "--max-tokens", "4", "--json")
    assert "trained with one image per question" in several.stderr


@pytest.mark.parametrize("command", ["ask", "caption"])
def test_a_served_model_answers_and_its_points_are_drawn(command: str, tmp_path: Path) -> None:
    server = Server()
    image, out = write(tmp_path / "a.png", png()), tmp_path / "drawn.png"
    server.reply = f"Here: {CUP}\n\x1b[2Jand {CUPS}."
    words = [str(image), "Where?"] if command == "ask" else [str(image)]
    address = f"{server.url}#Molmo-7B-D-0924"
    try:
        result = invoke(command, *words, "--model", address, "--out", str(out))
        as_json = invoke(command, *words, "--model", address, "--json")
        two = invoke("ask", str(image), str(image), "Which?", "--model", address)
    finally:
        server.close()
    assert result.exit_code == 0, result.output
    assert "Here: cup [1: 0.250, 0.500]\n" in result.stdout
    assert "cups [2: 0.100, 0.200; 3: 0.305, 0.400]." in result.stdout
    assert "\x1b[2J" not in result.stdout
    assert not np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(image)))
    answer = json.loads(as_json.stdout)
    assert [(one["x"], one["pixel"]) for one in answer["points"]] == [
        (0.25, [20, 30]),
        (0.1, [8, 12]),
        (0.305, [24, 24]),
    ]
    assert isinstance(two.exception, UsageError)
    assert "reads one image per question here, got 2" in str(two.exception)


def test_what_only_points_is_refused_and_what_can_answer_is_named(tmp_path: Path) -> None:
    image = str(write(tmp_path / "a.png", png()))
    for name in ("nano", "auto", "reader", "random", "scripted:a.json"):
        with pytest.raises(UsageError, match="only points and cannot answer in words; name one with --model: a Molmo"):
            raise invoke("ask", image, "What?", "--model", name).exception
    with pytest.raises(UsageError, match="expected a model that answers in words; name one with --model"):
        raise invoke("caption", image).exception


@pytest.mark.parametrize("words", [["{image}"], ["What?"], ["{image}", "other.png"], ["{image}", "  "]])
def test_images_come_first_and_the_question_last(words: list[str], tmp_path: Path) -> None:
    image = str(write(tmp_path / "a.png", png()))
    with pytest.raises(UsageError, match="expected image files and then a question, such as"):
        raise invoke("ask", *[word.format(image=image) for word in words], "--model", "m").exception


def test_an_input_is_never_overwritten_and_an_answer_without_points_writes_nothing(model: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", png())
    with pytest.raises(UsageError, match="would overwrite an input image"):
        raise invoke("ask", str(image), "What?", "--model", str(model), "--out", str(image)).exception
    out = tmp_path / "b.png"
    result = invoke("ask", str(image), "What?", "--model", str(model), "--out", str(out), "--max-tokens", "3")
    assert f"the answer has no points, so {out} was not written" in result.stderr.replace("\n", "")
    assert not out.exists()


def test_a_missing_image_ends_as_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["agent", "ask", "none.png", "What?", "--model", "m"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "there is no file none.png" in capsys.readouterr().err
