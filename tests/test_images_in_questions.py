"""Questions about several images, or none: MMMU with each image at its place, and with the first image alone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import Server
from eval_runs import agent
from made_data import parquet, png

from molmo_agent.errors import ImageError, UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.run import open_questions
from molmo_agent.pointers.nano import load_nano
from molmo_agent.pointers.wrapped import innermost


def row(id_: str, question: str, options: list[str], answer: str, images: int, **more: Any) -> dict[str, Any]:
    pictures = {f"image_{n}": {"bytes": png(n)} if n <= images else None for n in range(1, 8)}
    kind = "multiple-choice" if options else "open"
    fields = {"id": f"validation_Art_{id_}", "question": question, "options": repr(options), "answer": answer}
    return fields | {"question_type": kind} | pictures | more


ROWS = [
    row("1", "Who painted <image 1>?", ["Monet", "Manet"], "B", 1),
    row("2", "Which one follows <image 1>?", ["<image 2>", "<image 3>", "<image 4>"], "C", 4),
    row("3", "Compare <image 2> with <image 1>, and <image 2> again.", ["more", "less"], "A", 2),
    row("4", "Which?", [f"<image {n}>" for n in range(1, 8)], "G", 7),
    row("5", "How many stars does <image 1> show and <image 2> hide?", [], "5", 2),
    row("6", "It has no mark of its own.", ["yes", "no"], "A", 1),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "mmmu" / "Art" / "validation-00000-of-00001.parquet", ROWS)
    return tmp_path / "mmmu"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def records_of(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return {record["id"].rpartition("_")[2]: record for record in map(json.loads, lines)}


def test_a_served_model_gets_every_image_at_its_place(data: Path, server: Server) -> None:
    server.reply = "B"
    options = ("mmmu", "--data", str(data), "--model", f"{server.url}#Qwen3-VL-8B", "--out", "run")
    done = agent(*options, "--form", "all-images")
    assert done.exit_code == 0, (done.output, done.exception)
    asked = {}
    for _, _, body in server.seen:
        parts = body["messages"][0]["content"]
        text = "".join(part.get("text", "#") for part in parts)
        asked[text] = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    want = {
        "Who painted #?\nA: Monet\nB: Manet\n": [1],
        "Which one follows #?\nA: #\nB: #\nC: #\n": [1, 2, 3, 4],
        "Compare # with #, and # again.\nA: more\nB: less\n": [2, 1, 2],
        "Which?\n" + "".join(f"{letter}: #\n" for letter in "ABCDEFG"): [1, 2, 3, 4, 5, 6, 7],
        "How many stars does # show and # hide?": [1, 2],
        "#It has no mark of its own.\nA: yes\nB: no\n": [1],
    }
    assert {text: len(urls) for text, urls in asked.items()} == {text: len(order) for text, order in want.items()}
    (one,) = asked["Who painted #?\nA: Monet\nB: Manet\n"]
    for text, order in want.items():
        assert [urls == one for urls in asked[text]] == [number == 1 for number in order], text
        again = asked["Compare # with #, and # again.\nA: more\nB: less\n"]
        assert again[0] == again[2] != again[1]
    records = records_of(Path("run"))
    assert {id_: record["scores"]["right"] for id_, record in records.items()} == {
        "1": True, "2": False, "3": False, "4": False, "5": False, "6": False,
    }  # fmt: skip
    whole = json.loads(Path("run", "summary.json").read_text())
    assert whole["settings"]["form"] == "all-images"
    # Molmo's scores are for the first image alone.
    assert whole["comparisons"] == []
    page = Path("run", "report.html").read_text()
    assert page.count("data:image/webp") == 6
    first = agent(*options)
    assert "holds a run with form 'all-images'" in str(first.exception)


def test_the_first_image_alone_is_the_default_and_none_where_options_are_images(data: Path, server: Server) -> None:
    server.reply = "B"
    model = f"{server.url}#Molmo-7B-D-0924"
    done = agent("mmmu", "--data", str(data), "--model", model, "--out", "run")
    assert done.exit_code == 0, (done.output, done.exception)
    kinds = {
        "".join(part.get("text", "#") for part in body["messages"][0]["content"]): [
            part["type"] for part in body["messages"][0]["content"]
        ]
        for _, _, body in server.seen
    }
    assert kinds["a_okvqa_mc: Who painted <image 1>?\nA: Monet\nB: Manet\n".join(("#", ""))] == ["image_url", "text"]
    alone = [text for text, parts in kinds.items() if parts == ["text"]]
    assert sorted(text.partition("?")[0] for text in alone) == [
        "a_okvqa_mc: Which",
        "a_okvqa_mc: Which one follows <image 1>",
    ]
    assert all("skipped" not in record for record in records_of(Path("run")).values())
    summary = json.loads(Path("run", "summary.json").read_text())["summary"]
    assert summary["protocol"]["options"] == {"form": None, "split": "validation"}
    assert "the first image alone" in done.output
    published = json.loads(Path("run", "summary.json").read_text())["comparisons"]
    assert {one["model"] for one in published} >= {"Molmo-7B-D"}


def test_a_model_that_takes_one_image_is_not_asked_about_several(data: Path) -> None:
    class Plain:
        name = "plain"

        def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
            raise AssertionError("nothing is asked")

    from molmo_agent.evaluation.predict import predict

    name, benchmark = find("mmmu")
    asked = open_questions(name, benchmark, data, {"form": "all-images"})
    with pytest.raises(UsageError, match=r"several images in one question .* got 'plain'; leave --form out"):
        predict(Plain(), benchmark, list(asked.questions()))
    # Without an image, a model that always takes one skips the question and says so.
    alone = [one for one in open_questions(name, benchmark, data, {}).questions() if one.image is None]
    assert {record["skipped"] for record in predict(Plain(), benchmark, alone)} == {"the question has no image"}


def test_nano_answers_about_one_image_or_none() -> None:
    nano = innermost(load_nano())
    picture = np.zeros((60, 80, 3), np.uint8)
    whole = nano.answer_parts([picture, "What is it?"], max_new_tokens=3)
    assert whole == nano.answer_batch([picture], ["What is it?"], max_new_tokens=3)[0]
    assert isinstance(nano.answer_parts(["What is it?"], max_new_tokens=3), str)
    with pytest.raises(UsageError, match="expected at most one image in a question to 'nano', got 2"):
        nano.answer_parts(["Is", picture, "before", picture, "?"], max_new_tokens=3)


def test_people_are_shown_all_images_of_a_question_in_their_order(data: Path) -> None:
    name, benchmark = find("mmmu")
    asked = {one.id[-1]: one for one in open_questions(name, benchmark, data, {"form": "all-images"}).questions()}
    first, second, third = (asked[id_] for id_ in "123")
    one = first.shown()
    height, width = one.shape[:2]
    for question, count in ((second, 4), (third, 2)):
        whole = question.shown()
        assert whole.shape == (height, count * width + (count - 1) * (height // 20 + 1), 3)
    # The third names its second image first.
    assert np.array_equal(third.shown()[:, -width:], one)
    assert np.array_equal(second.shown()[:, :width], one)
    with pytest.raises(ImageError, match="has no image"):
        replace(first, image=None, images={}).shown()


def test_an_image_that_the_files_lack_is_named(tmp_path: Path) -> None:
    short = [{key: value for key, value in row_.items() if key in ("image_1",) or "image" not in key} for row_ in ROWS]
    parquet(tmp_path / "Art" / "validation-00000-of-00001.parquet", short)
    name, benchmark = find("mmmu")
    asked = open_questions(name, benchmark, tmp_path, {"form": "all-images"})
    assert len(list(asked.questions())) == 2
    assert any("names <image 2>, but the files have no image_2" in str(one) for one in asked.problems.entries)
