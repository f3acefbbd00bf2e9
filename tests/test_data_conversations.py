"""People's own pictures with questions, answers and captions, in the forms in which they have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import laid_out, opened, parquet, png, turns, write

from molmo_agent.data.row import Conversation
from molmo_agent.data.unusable_rows import NothingUsableError
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.model.prompts import TEXT_STYLE

ASKED = {"image": "0.png", "question": "How many?", "answer": "Three."}


def lines(folder: Path, *records: Any, pictures: int = 3) -> Path:
    for number in range(pictures):
        write(folder / f"{number}.png", png(number))
    return write(folder / "own.jsonl", "".join(json.dumps(record) + "\n" for record in records).encode())


def read(folder: Path, *records: Any, **options: Any) -> list[Conversation]:
    data = opened("conversations", lines(folder, *records), **options)
    assert data.problems.entries == []
    return [one for n in range(len(data)) for one in data.row(n, 0).conversations]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (ASKED, ("How many?", "Three.")),
        ({"image": "0.png", "messages": ["a?", "b", "c?", "d"]}, ("a?", "b", "c?", "d")),
        ({"image": "0.png", "question": "Sum?", "answer": 12}, ("Sum?", "12")),
        ({"images": ["0.png"], "question": "Sum?", "answers": ["x", "y", "y"]}, ("Sum?", "y")),
        (
            {
                "image": "0.png",
                "messages": [
                    {"role": "system", "content": "Be short."},
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "A car."}]},
                ],
            },
            ("Be short.\n\nWhat?", "A car."),
        ),
        (
            {
                "id": 7,
                "image": "0.png",
                "conversations": [
                    {"from": "human", "value": "What?\n<image>"},
                    {"from": "gpt", "value": "A car."},
                    {"from": "human", "value": "Which colour?"},
                    {"from": "gpt", "value": "Red."},
                ],
            },
            ("What?", "A car.", "Which colour?", "Red."),
        ),
        ({"question": "Two and two?", "answer": "Four."}, ("Two and two?", "Four.")),
    ],
)
def test_questions_and_answers_are_read_in_every_form(tmp_path: Path, record: Any, expected: tuple[str, ...]) -> None:
    (found,) = read(tmp_path, record)
    assert found.turns == expected
    assert found.style == ("user_qa" if len(record) > 2 or "image" in record else TEXT_STYLE)


def test_a_picture_can_have_a_caption_a_question_and_points_and_all_become_annotations_of_one_row(
    tmp_path: Path,
) -> None:
    path = lines(
        tmp_path,
        {**ASKED, "caption": "A street."},
        {"image": "0.png", "label": "the car", "points": [[0.25, 0.5]]},
        {"image": "0.png", "question": "Where is the dog?", "points": []},
        {"image": "0.png", "question": "Why?", "answer": "See <|POINT|>.", "points": [[0.5, 0.75]], "label": "that"},
        {"image": "1.png", "text": "A lane.", "style": "pixmo_cap"},
    )
    data = opened("conversations", path)
    first, second = data.row(0, 0), data.row(1, 0)
    assert (len(data), first.name, second.name) == (2, "0.png", "1.png")
    assert [one.style for one in first.conversations] == ["user_qa", "long_caption", "pointing", "pointing", "user_qa"]
    answers = [one.turns[1] for one in first.conversations]
    assert answers[1] == "A street."
    assert answers[2].startswith('<point x="25.0" y="50.0"')
    assert answers[3] == "There are none."
    assert answers[4] == 'See <point x="50.0" y="75.0" alt="that">that</point>.'
    assert [one.target.points for one in first.conversations if one.target] == [(Point(0.25, 0.5),), ()]
    assert second.conversations[0].style == "pixmo_cap"
    assert len({data.row(1, seed).conversations[0].turns[0] for seed in range(20)}) > 3, "captions are asked in words"
    assert "A lane." in laid_out(data, 1)[1]


def test_several_pictures_stand_before_the_text_in_their_order(tmp_path: Path) -> None:
    path = lines(
        tmp_path, {"images": ["1.png", "0.png"], "question": "<image>\n<image>\nWhat changed?", "answer": "It."}
    )
    write(tmp_path / "1.png", png(1, (40, 20)))
    data = opened("conversations", path)
    row = data.row(0, 0)
    assert row.name == "1.png + 0.png"
    assert [picture.size for picture in row.pictures] == [(20, 40), (80, 60)]
    assert [picture.image().shape for picture in row.pictures] == [(40, 20, 3), (60, 80, 3)]
    assert turns(data, 0) == [("What changed?", "It.")]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"image": "0.png", "question": "What?", "answer": " "}, "the answer is empty"),
        ({"image": "0.png", "question": "What?", "answers": []}, "the list of answers is empty"),
        ({"image": "0.png", "question": "What?"}, "expected an 'answer' to the question, got none"),
        ({"image": "0.png", "awnser": "x"}, "'caption'; got the keys image, awnser"),
        ({"image": "9.png", "caption": "x"}, "9.png"),
        ({"image": "https://a.example/b.png", "caption": "x"}, "is an address: fetch it first"),
        ({"image": ["0.png", ""], "caption": "x"}, "expected the path of an image"),
        ({"image": "0.png", "images": ["1.png"], "caption": "x"}, "expected one of 'image', 'images'"),
        ({"image": "0.png", "messages": ["only a question"]}, "as many answers as questions"),
        ({"image": "0.png", "messages": ["a", "b", "c"]}, "as many answers as questions"),
        ({"image": "0.png", "messages": ["a", ""]}, "answer 1 is empty"),
        (
            {"image": "0.png", "messages": [{"role": "assistant", "content": "b"}]},
            "to be of the user, got one of the ass",
        ),
        ({"image": "0.png", "messages": [{"role": "tool", "content": "b"}]}, "message 1 to be of user, human"),
        ({"image": "0.png", "messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "text or images"),
        ({"image": "0.png", "messages": ["<image> <image> a", "b"]}, "once for each of 1 images, got it 2 times"),
        ({"image": "0.png", "messages": ["a", "b", "<image> c", "d"]}, "in the first question only"),
        (
            {"images": ["0.png", "1.png"], "messages": ["<image> then <image> a", "b"]},
            "a text stands between two images",
        ),
        ({"images": ["0.png", "1.png"], "question": "a", "points": [[0.1, 0.1]]}, "expected one image for 'points'"),
        ({"image": "0.png", "label": "car", "points": [[1.2, 0.1]]}, r"\[1.2, 0.1\] lies outside the image"),
        ({"image": "0.png", "label": "car", "points": [[True, 0.1]]}, "lies outside the image"),
        ({"image": "0.png", "question": "a", "answer": "b", "points": [[0.1, 0.1]]}, "once for each of 1 points"),
        ({"image": "0.png", "caption": "x", "style": 3}, "expected a text as 'style', got 3"),
        ([1, 2], "expected an object with an image and its texts"),
        ({"image": 3, "caption": "x"}, "expected an image as a path or with its bytes, got 3"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_with_its_line_and_its_reason(
    tmp_path: Path, record: Any, reason: str
) -> None:
    data = opened("conversations", lines(tmp_path, ASKED, record, {**ASKED, "image": "1.png"}))
    (problem,) = data.problems.entries
    assert problem.record == 2
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(problem.reason)
    assert len(data) == 2
    with pytest.raises(NothingUsableError, match=r"(?s)no record of own.jsonl can be used; 1 could not") as error:
        opened("conversations", lines(tmp_path, record))
    assert len(error.value.problems.entries) == 1


def test_a_json_list_and_tables_give_the_same_rows_as_lines(tmp_path: Path) -> None:
    records = [
        {"image": "0.png", "conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]},
        {"image": "1.png", "conversations": [{"from": "human", "value": "c?"}, {"from": "gpt", "value": "Grüße"}]},
    ]
    path = lines(tmp_path, *records)
    write(tmp_path / "list.json", json.dumps(records, ensure_ascii=False).encode())
    write(tmp_path / "lines.json", path.read_bytes())
    parquet(tmp_path / "table.parquet", records)
    inside = [{**record, "image": {"bytes": png(n), "path": None}} for n, record in enumerate(records)]
    parquet(tmp_path / "inside.parquet", inside)
    expected = opened("conversations", path)
    for name in ("list.json", "lines.json", "table.parquet", "inside.parquet"):
        data = opened("conversations", tmp_path / name)
        assert [turns(data, n) for n in range(2)] == [turns(expected, n) for n in range(2)], name
        for n in range(2):
            mine, theirs = data.row(n, 0).image, expected.row(n, 0).image
            assert mine is not None
            assert theirs is not None
            assert np.array_equal(mine(), theirs()), name
    parquet(tmp_path / "other.parquet", [{"colour": "red"}])
    with pytest.raises(UsageError, match=r"expected columns such as image, .* got colour"):
        opened("conversations", tmp_path / "other.parquet")
    write(tmp_path / "cut.json", (tmp_path / "list.json").read_bytes()[:-30])
    cut = opened("conversations", tmp_path / "cut.json")
    assert len(cut) == 1
    assert "truncated or damaged after object 1" in cut.problems.summary()
    with pytest.raises(UsageError, match=r"expected a JSON file at .*none.json"):
        opened("conversations", tmp_path / "none.json")


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.jsonl", "train/metadata.jsonl"])
def test_a_folder_with_a_list_of_captions_is_read(tmp_path: Path, name: str) -> None:
    folder = (tmp_path / name).parent
    write(folder / "in" / "a.png", png(0))
    write(folder / "b.png", png(1))
    records = [{"file_name": "in/a.png", "text": "One."}, {"file_name": "b.png", "text": "Two.", "extra": 1}]
    write(tmp_path / name, "".join(json.dumps(record) + "\n" for record in records).encode())
    data = opened("conversations", tmp_path)
    assert [data.row(n, 0).conversations[0].turns[1] for n in range(2)] == ["One.", "Two."]


def test_a_folder_of_pictures_beside_texts_is_read_and_what_lacks_one_is_named(tmp_path: Path) -> None:
    for name, caption in [("a.png", b"A car.\n"), ("in/b.PNG", b"Ein Weg."), ("c.jpg.png", b"Both.")]:
        write(tmp_path / name, png())
        write((tmp_path / name).with_suffix(".txt"), caption)
    write(tmp_path / "d.png", png())
    write(tmp_path / "e.png", png())
    write(tmp_path / "e.txt", b"\xff\xfeA\0")
    data = opened("conversations", tmp_path)
    assert [data.row(n, 0).conversations[0].turns[1] for n in range(3)] == ["A car.", "Both.", "Ein Weg."]
    assert "d.png: its caption cannot be read" in data.problems.summary()
    assert "e.png: its caption cannot be read: expected" in data.problems.summary()
    assert len(data.problems.entries) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"expected pictures with captions in .*a.txt beside a.png"):
        opened("conversations", empty)


def test_pictures_can_lie_elsewhere_and_be_named_as_on_windows(tmp_path: Path) -> None:
    write(tmp_path / "pictures" / "in" / "a.png", png())
    path = lines(tmp_path, {"image": "in\\a.png", "caption": "x"}, pictures=0)
    assert len(opened("conversations", path, images=str(tmp_path / "pictures"))) == 1
    with pytest.raises(UsageError, match="expected the option 'images' of 'conversations' to be a folder, got 3"):
        opened("conversations", path, images=3)
    with pytest.raises(UsageError, match="expected the option 'style' of 'conversations' to be a text, got 3"):
        opened("conversations", path, style=3)
