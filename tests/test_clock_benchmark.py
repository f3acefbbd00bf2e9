"""The clock benchmark: the authors' tables are read, the paper's query is asked, and the three sets count the same."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import png, write
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.readers.clock_photos import QUESTION, ClockPhotos, crop_clock
from molmo_agent.data.source import Source
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation.benchmarks import BENCHMARKS
from molmo_agent.evaluation.predict import prompt_of
from molmo_agent.evaluation.published import compare
from molmo_agent.evaluation.run import mean_over, summarise

FILES = {"coco": "coco_final.csv", "openimages": "openimg_final.csv", "movies": "movies_final.csv"}
PLACES = {"coco": "coco", "openimages": "OpenImages_train/data", "movies": "movies"}


def tables(folder: Path, rows: dict[str, list[tuple[Any, ...]]]) -> Path:
    """Write tables as the authors do (the films' have no boxes by hand), and an image for each row."""
    for name, lines in rows.items():
        folder.mkdir(exist_ok=True)
        with (folder / FILES[name]).open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            more = () if name == "movies" else ("bbox_gt",)
            out.writerow(("img_id", "file_name", *more, "hour", "minute", "bbox_det"))
            for number, (image, hour, minute, *box) in enumerate(lines):
                gold = () if name == "movies" else ("[[1.0, 2.0, 3.5, 4.0], [5.0, 6.0, 7.0, 8.0]]",)
                out.writerow((number, image, *gold, hour, minute, *(box or ["[10.5, 20.0, 30.0, 20.25]"])))
                if image and "/" not in image:
                    write(folder / PLACES[name] / image, png(number))
    return folder


def read(folder: Path, **options: str) -> ClockPhotos:
    """Open the tables."""
    return ClockPhotos(Source(kind="clocks", path=str(folder), options=options))


SETS = {
    "coco": [("000000000064.jpg", 6, 9), ("000000000078.jpg", 12, 0)],
    "openimages": [("0a0de9af936cc28f.jpg", 11, 59)],
    "movies": [('24 "Day 1, 7.00pm" 7.11 p.m.png', 7, 11), ("Amélie 4.00 a.m.png", 4, 0), ("8½ 12.60.png", 12, 60)],
}


def test_the_authors_tables_are_read_with_their_images(tmp_path: Path) -> None:
    opened = read(tables(tmp_path, SETS))
    questions = opened.questions()
    answers = {question.id: question.answers[0] for question in questions}
    assert answers == {
        "clocks/coco/000000000064.jpg": "6:09",
        "clocks/coco/000000000078.jpg": "12:00",
        "clocks/openimages/0a0de9af936cc28f.jpg": "11:59",
        'clocks/movies/24 "Day 1, 7.00pm" 7.11 p.m.png': "7:11",
        "clocks/movies/Amélie 4.00 a.m.png": "4:00",
        "clocks/movies/8½ 12.60.png": "12:00",
    }
    for question in questions:
        assert question.image is not None
        assert question.image().shape == (60, 80, 3)
        # The name of a film's file tells the time.
        assert prompt_of(question) == f"clocks: {QUESTION}"
    assert not opened.missing


def test_a_set_without_a_table_is_named_and_rows_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    bad = [("a.png", 13, 0), ("b.png", 3, 61), ("../up.png", 1, 1), ("", 1, 1), ("c.png", "three", 0), ("d.png", 2, "")]
    opened = read(tables(tmp_path, {"coco": [*bad, ("e.png", 1, 2)]}))
    assert [question.id for question in opened.questions()] == ["clocks/coco/e.png"]
    assert opened.missing == ["openimages", "movies"]
    assert [problem.record for problem in opened.problems.entries] == [2, 3, 4, 5, 6, 7]
    with pytest.raises(UsageError, match="found none of them"):
        read(tmp_path / "coco")
    (tmp_path / FILES["movies"]).write_text("img_id,file_name,hour\n")
    with pytest.raises(UsageError, match="there is no minute"):
        read(tmp_path)


def test_a_crop_is_a_square_with_a_margin_inside_the_image(tmp_path: Path) -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    # x, y, width, height; not x, y, right, bottom.
    cases = {
        (50.0, 40.0, 20.0, 20.0): (28, 28),
        (0.0, 0.0, 20.0, 20.0): (24, 24),
        (180.0, 80.0, 20.0, 20.0): (24, 24),
        (-5.0, -5.0, 400.0, 300.0): (100, 200),
    }
    for box, shape in cases.items():
        assert crop_clock(image, box).shape[:2] == shape, box
    with pytest.raises(ValueError, match="outside of the image"):
        crop_clock(image, (300.0, 300.0, 20.0, 20.0))
    boxes = ["[1, 2, 3]", "[0, 0, 0, 5]", "__import__('os')", "[" * 300, ""]
    opened = read(tables(tmp_path, {"coco": [(f"{n}.png", 1, 1, box) for n, box in enumerate(boxes)]}), form="crop")
    assert not opened.questions()
    assert len(opened.problems.entries) == len(boxes)


class Says:
    """Answers with a time; fails from a question on."""

    name = "says"

    def __init__(self, words: str, left: int = 1000) -> None:
        self.words, self.left, self.asked = words, left, 0

    def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
        self.asked += len(questions)
        if self.asked > self.left:
            raise ModelError("the model stopped")
        return [self.words] * len(questions)

    def point_batch(self, images: Any, instructions: Any) -> Any:
        raise AssertionError("nothing is pointed at")

    def point(self, image: Any, instruction: str, *, max_points: int | None = None) -> Any:
        raise AssertionError("nothing is pointed at")


def test_the_sets_count_the_same_however_many_questions_they_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "12:00" is right for 11:59, 12:00, 12:01 and 12:60, and its minute for 4:00 too.
    many = [(f"{n}.png", 12, 1) for n in range(9)]
    data = tables(tmp_path / "data", {**SETS, "coco": [*many, ("x.png", 3, 30)]})
    options = ["eval", "clocks", "--data", str(data), "--model", "says", "--out", str(tmp_path / "out")]
    for model, code in ((Says("12:00", left=8), 1), (Says("12:00"), 0), (Says("1:00", left=0), 0)):
        monkeypatch.setattr("molmo_agent.evaluation.run.load_model", lambda name, model=model: model)
        result = CliRunner().invoke(app, options)
        assert result.exit_code == code, result.output
    assert model.asked == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    means = summary["summary"]["mean over groups"]["scores"]
    assert means["right within a minute"]["mean"] == pytest.approx((0.9 + 1 + 1 / 3) / 3)
    assert means["hour"]["mean"] == pytest.approx((0.9 + 0 + 1 / 3) / 3)
    assert means["minute"]["mean"] == pytest.approx((0.9 + 1 + 2 / 3) / 3)
    ours = {(row["model"], row["score"]): row["ours"] for row in summary["comparisons"]}
    assert ours["Molmo-7B-D", "right within a minute"] == pytest.approx(100 * (0.9 + 1 + 1 / 3) / 3)
    assert "mean of coco, openimages, movies" in " ".join(result.output.split())


def test_nothing_published_stands_beside_two_of_the_three_sets() -> None:
    def record(name: str, right: bool) -> dict[str, Any]:
        scores = {"right within a minute": right}
        return {"id": name, "scores": scores, "reference": scores, "unparsed": False, "groups": [name]}

    entry = BENCHMARKS["clocks"]
    for names, comparisons in ((("coco", "movies"), False), (("coco", "movies", "openimages"), True)):
        summary = summarise([record(name, name == "coco") for name in names])
        summary["mean over groups"] = mean_over(summary, entry.mean_over)
        assert bool(compare(entry.published, summary, entry.options)) == comparisons
        row = summary["mean over groups"]["scores"]["right within a minute"]
        assert row["mean"] == pytest.approx(1 / len(names))
        assert row["low"] < row["mean"] < row["high"]
    empty = mean_over(summarise([]), entry.mean_over)
    assert empty["missing"] == ["coco", "openimages", "movies"]
    assert empty["scores"] == {}
