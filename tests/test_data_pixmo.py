"""The PixMo data sets from files as on the hub: rows to train on, questions to ask, and what cannot be used."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import cap, keep, laid_out, opened, parquet, png, points_row, sha, turns, url, write

from molmo_agent.data.catalog import open_source
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import NOTES
from molmo_agent.data.row import Row
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import MissingExtraError, UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.model.prompt_banks import CAPTIONS, NO_POINTS


def reasons(data: Any) -> str:
    return "\n".join(str(problem) for problem in data.problems.entries)


def by_picture(data: Any, seed: int = 0) -> dict[str, Row]:
    return {row.name: row for row in (data.row(number, seed) for number in range(len(data)))}


def test_a_caption_and_one_of_the_transcripts_are_learned_by_style_and_length(tmp_path: Path) -> None:
    data = opened("pixmo-cap", cap(tmp_path))
    assert len(data) == 3
    assert data.problems.entries == []
    said = {dict(zip(("question", "answer"), row.conversations[1].turns, strict=True))["answer"] for row in
            (data.row(0, seed) for seed in range(20))}  # fmt: skip
    assert said == {"so here is 0", "uh 0"}
    assert [c.style for c in data.row(0, 0).conversations] == ["long_caption", "transcript"]
    encoded, text = laid_out(data, seed=3, message_format="none", prefix="length", weighting="one")
    assert "long_caption " in text
    assert "transcript " in text
    assert "User:" not in text
    learned = encoded.example.loss_weights[encoded.example.loss_weights > 0]
    assert set(learned.tolist()) == {1.0}
    assert np.allclose(laid_out(data)[0].example.loss_weights.max(), 2**-0.5)


def test_in_fine_tuning_a_caption_is_asked_for_in_words(tmp_path: Path) -> None:
    data = opened("pixmo-cap", cap(tmp_path), mode="captions")
    asked = {turns(data, 0, seed)[0][0] for seed in range(60)}
    assert len(asked) > 15
    assert asked <= set(CAPTIONS)
    assert turns(data, 2, 0)[0][1] == "Caption 2."
    assert [question.text for question in data.questions()] == [""] * 3
    assert next(iter(data.questions())).extra["transcripts"] == ("so here is 0", "uh 0")


def test_the_same_number_and_seed_give_the_same_row(tmp_path: Path) -> None:
    data, again = (opened("pixmo-cap", cap(tmp_path), mode="captions") for _ in range(2))
    assert [turns(data, n, n) for n in range(3)] == [turns(again, n, n) for n in range(3)]


def test_pictures_that_cannot_be_used_are_told_with_their_rows_and_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "ask"
    whole = [png(n) for n in range(4)]
    rows = [
        {"image_url": url(n), "image_sha256": sha(whole[n]), "question": "What?", "answer": "That."} for n in range(4)
    ] + [{"image_url": url(0), "image_sha256": sha(whole[0]), "question": "And?", "answer": " "}]
    parquet(folder / "train-00000-of-00001.parquet", rows)
    keep(folder, 0, 1, 3)
    store = folder / "images"
    for path in store.glob("*/*"):
        if path.read_bytes() == whole[1]:
            path.write_bytes(png(9))
        if path.read_bytes() == whole[3]:
            path.write_bytes(whole[3][:60])
    data = opened("pixmo-ask-model-anything", folder)
    assert len(data) == 1
    told = reasons(data)
    assert f"record 1 ({url(1)}): not the image that was annotated: its sha256 is {sha(png(9))[:12]}" in told
    assert f"record 2 ({url(2)}): the image is missing" in told
    assert f"record 3 ({url(3)}): not the image that was annotated" in told
    assert "record 4: expected a text in 'answer', got ' '" in told
    without = [{key: value for key, value in row.items() if key != "image_sha256"} for row in rows]
    for row in without:
        row["caption"], row["transcripts"] = "x", ["y"]
    parquet(folder / "train-00000-of-00001.parquet", without)
    assert f"({url(3)}): the file is not a readable image" in reasons(opened("pixmo-cap", folder))


def test_pictures_are_looked_at_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molmo_agent.data.images import checked as checked_pictures

    seen: list[int] = []
    judge = checked_pictures._judge
    monkeypatch.setattr(checked_pictures, "_judge", lambda *a: (seen.append(1), judge(*a))[1])
    folder = cap(tmp_path)
    assert len(opened("pixmo-cap", folder)) == len(seen) == 3
    again = opened("pixmo-cap", folder)
    assert (len(again), len(seen), again.row(0, 0).size) == (3, 3, (80, 60))
    notes = folder / "images" / NOTES
    assert json.loads(notes.read_text().splitlines()[0])[2] == [60, 80]
    notes.write_text(notes.read_text()[:-5])  # a run was killed while it wrote
    picture = next((folder / "images").glob("*/*"))
    picture.write_bytes(b"no picture")
    data = opened("pixmo-cap", folder)
    assert (len(data), len(data.problems.entries)) == (2, 1)
    assert 4 <= len(seen) <= 5
    (folder / "images" / NOTES).unlink()
    (folder / "images" / NOTES).mkdir()
    assert "cannot be written" in reasons(opened("pixmo-cap", folder / "."))


def test_questions_that_count_are_told_not_to_point(tmp_path: Path) -> None:
    rows = [
        {"image_url": url(0), "image_sha256": sha(png(0)), "question": q, "answer": "Two."}
        for q in ("How many cups are there?", "What is how many?")
    ]
    parquet(tmp_path / "train-0.parquet", rows)
    keep(tmp_path, 0)
    data = opened("pixmo-ask-model-anything", tmp_path)
    assert len(data) == 1
    asked = {tuple(question for question, _ in turns(data, 0, seed)) for seed in range(40)}
    assert {last for _, last in asked} == {"What is how many?"}
    assert len({first for first, _ in asked}) > 10
    assert all(first.removesuffix("How many cups are there?") in NO_POINTS for first, _ in asked)
    assert len(NO_POINTS) == len(set(NO_POINTS)) == 20
    assert len(set(CAPTIONS)) == len(CAPTIONS) == 30


def test_the_turns_of_a_conversation_are_told_apart(tmp_path: Path) -> None:
    asked = [
        "[USER] How many? [ASSISTANT]",
        "[USER] A [ASSISTANT] B [USER] how many C [ASSISTANT]",
        "plain",
        "[USER] A",
    ]
    rows = [{"image_url": url(0), "question": question, "answer": "Z"} for question in asked]
    parquet(tmp_path / "train.parquet", rows)
    keep(tmp_path, 0)
    data = opened("pixmo-cap-qa", tmp_path)
    first, second, third = turns(data)
    assert first[0].endswith("How many?")
    assert first[0] != "How many?"
    assert second[:2] == ("A", "B")
    assert second[2].endswith("how many C")
    assert second[3] == third[1] == "Z"
    assert "expected [USER] and [ASSISTANT] in turn and the answer apart, got '[USER] A'" in reasons(data)
    assert "synthetic_qa: A Assistant: B" in laid_out(data)[1].replace("  ", " ")
    rows = [{**row, "messages": ["Q", "A", "R"][: 2 + n % 2]} for n, row in enumerate(rows)]
    parquet(tmp_path / "train.parquet", rows)
    data = opened("pixmo-cap-qa", tmp_path)
    assert turns(data) == [("Q", "A")] * 2
    assert "expected questions and answers in turn, got 3 texts" in reasons(data)


def test_everything_pointed_at_on_a_picture_is_one_row(tmp_path: Path) -> None:
    rows = [
        points_row(0, "Red Cup", [(50.0, 25.0), (10.0, 99.95)]),
        points_row(1, "dog", [(0, 100)]),
        points_row(0, "cat", []),
        points_row(2, "tree", [(5.0, 5.0)] * 3, "counting"),
        points_row(0, "lost", [(100.1, 5.0)]),
        points_row(0, "gone", None),
        points_row(1, "crowd", [(1.0, float(n)) for n in range(41)]),
    ]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    keep(tmp_path, 0, 1, 2)
    data = opened("pixmo-points", tmp_path, most=40)
    told = reasons(data)
    assert "record 4: a point lies outside the image: x must be a fraction of the image in [0, 1]" in told
    assert "record 5: expected a list of points, got None" in told
    assert "record 6: 'crowd' has 41 points, more than 40" in told
    found = by_picture(data)
    answers = {c.turns[1] for c in found[url(0)].conversations}
    assert answers == {
        '<points x1="10.0" y1="100.0" x2="50.0" y2="25.0" alt="red cup">red cup</points>',
        "There are none.",
    }
    assert [c.turns[1] for c in found[url(1)].conversations] == ['<point x="0.0" y="100.0" alt="dog">dog</point>']
    assert all("cup" in c.turns[0] or "cat" in c.turns[0] for c in found[url(0)].conversations)
    counting = opened("pixmo-points", tmp_path, method="counting", style="point_count")
    assert turns(counting)[0][1].endswith("</points> shows a total of 3.")
    assert "There are none." in laid_out(data)[1]
    questions = list(data.questions())
    assert [(q.style, q.text, q.points) for q in questions][1] == ("pointing", "cat", ())
    assert questions[0].points == (Point(0.5, 0.25), Point(0.1, 0.9995))
    assert questions[0].image is not None
    assert questions[0].image().shape == (60, 80, 3)
    for options, message in (
        ({"method": "guessing"}, "unknown method of 'pixmo-points' 'guessing'.*known: counting, pointing"),
        ({"stile": "pointing"}, "unknown option of 'pixmo-points' 'stile': did you mean style"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            opened("pixmo-points", tmp_path, **options)


def test_pictures_of_the_evaluation_are_not_trained_on(tmp_path: Path) -> None:
    train, test = tmp_path / "train", tmp_path / "eval"
    parquet(train / "train-0.parquet", [points_row(n, "cup", [(5.0, 5.0)]) for n in range(3)])
    keep(train, 0, 1, 2)
    masks = np.zeros((1, 60, 80), bool)
    masks[0, :10, :10] = True
    held = {**points_row(1, "cup", [(5.0, 5.0)]), "masks": masks.tolist()}
    parquet(test / "data" / "test-00000-of-00001.parquet", [held])
    keep(test, 1)
    data = opened("pixmo-points", train, leave_out=str(test))
    assert set(by_picture(data)) == {url(0), url(2)}
    (question,) = opened("pixmo-points-eval", test).questions()
    assert (question.text, question.points, question.size) == ("cup", (Point(0.05, 0.05),), (80, 60))
    assert np.array_equal(question.extra["masks"](), masks)
    with pytest.raises(UsageError, match=r"expected the split 'test' at .*nowhere, as test-\*.parquet there or in its"):
        opened("pixmo-points", train, leave_out=str(tmp_path / "nowhere"))


def test_a_part_of_the_pictures_is_held_out_whichever_could_be_fetched(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [points_row(n, "cup", [(5.0, 5.0)]) for n in range(30)], 30)
    keep(tmp_path, *range(30))
    train, held = (by_picture(opened("pixmo-points", tmp_path, part=part)) for part in ("train", "validation"))
    assert (len(train), len(held)) == (27, 3)
    assert set(train) | set(held) == {url(n) for n in range(30)}
    for path in list((tmp_path / "images").glob("*/*"))[:10]:
        path.unlink()
    assert set(by_picture(opened("pixmo-points", tmp_path))) < set(train)


def test_an_explanation_has_its_points_in_its_words(tmp_path: Path) -> None:
    def row(number: int, answer: str | None, count: int) -> Any:
        return {
            "image_url": url(number),
            "image_sha256": sha(png(number)),
            "question": f"Why {answer}?",
            "parsed_response": answer,
            "alt_text": ["the cup"] * count,
            "inline_text": ["it"] * count,
            "points": [[{"x": 10.0, "y": 20.0}]] * count,
        }

    rows = [row(0, "Because <|POINT|> is <|POINT|>.", 2), row(0, None, 0), row(0, "See <|POINT|>.", 2)]
    rows += [row(1, f"Number {n}: <|POINT|>", 1) for n in range(3)]
    parquet(tmp_path / "train-0.parquet", rows)
    keep(tmp_path, 0, 1)
    data = opened("pixmo-point-explanations", tmp_path)
    tag = '<point x="10.0" y="20.0" alt="the cup">it</point>'
    assert turns(data, 0)[0][1] == f"Because {tag} is {tag}."
    assert [len(data.row(n, 0).conversations) for n in range(len(data))] == [1, 2, 1]
    assert "record 2: expected points for 1 places of the answer, got 2" in reasons(data)
    assert "point_qa: Why" in laid_out(data)[1]


def test_published_pixels_become_fractions_of_the_picture(tmp_path: Path) -> None:
    def row(number: int, xs: list[float], ys: list[float], count: int) -> Any:
        return {"image_url": url(number), "label": "Cups", "count": count, "points": {"x": xs, "y": ys}}

    rows = [row(0, [40.0, 80.0], [15.0, 60.0], 2), row(1, [], [], 0), row(0, [81.0], [1.0], 1), row(1, [4.0], [1.0], 2)]
    parquet(tmp_path / "data" / "train-0.parquet", rows)
    parquet(tmp_path / "data" / "test-0.parquet", [{**row(1, [], [], 5), "points": None}])
    keep(tmp_path, 0, 1)
    data = opened("pixmo-count", tmp_path)
    assert [len(data.row(n, 0).conversations) for n in range(len(data))] == [1, 1]
    assert turns(data)[0][1] == (
        'Counting the <points x1="50.0" y1="25.0" x2="100.0" y2="100.0" alt="cups">cups</points> shows a total of 2.'
    )
    assert turns(data, 1)[0][1] == "There are none."
    assert f"record 2 ({url(0)}): a point lies outside the image" in reasons(data)
    assert "record 3: expected a point for each of 2 'Cups', got 1" in reasons(data)
    assert turns(opened("pixmo-count", tmp_path, style="pointing"))[0][1].startswith("<points")
    test = opened("pixmo-count", tmp_path, split="test")
    (question,) = test.questions()
    assert (question.style, question.text, question.answers, question.points) == ("point_count", "Cups", ("5",), None)
    with pytest.raises(ValueError, match="pixmo-count/test/0 has no points to learn from: train on another split"):
        test.row(0, 0)
    laid_out(data)


def test_documents_have_their_pictures_in_the_table(tmp_path: Path) -> None:
    rows = [
        {
            "image": {"bytes": png(n), "path": f"{n}.png"},
            "image_id": f"doc{n}",
            "questions": {"question": ["What?", "How much?"], "answer": ["A bar.", "7"]},
        }
        for n in range(5)
    ]
    rows[1]["image"]["bytes"] = b"broken"
    rows[2]["image"] = None
    rows[3]["questions"]["answer"] = ["one"]
    parquet(tmp_path / "charts" / "train-00000-of-00001.parquet", rows)
    data = opened("pixmo-docs", tmp_path, type="charts")
    assert len(data) == 2
    assert "record 1 (1): the file is not a readable image" in reasons(data)
    assert "record 2 (2): the image is missing" in reasons(data)
    assert "record 3: expected as many answers as questions, got 1 for 2" in reasons(data)
    assert turns(data, 1) == [("What?", "A bar."), ("How much?", "7")]
    image = data.row(1, 0).image
    assert image is not None
    assert image().shape == (60, 80, 3)
    assert "pixmo_docs_charts: What?" in laid_out(data)[1]
    assert "scifi_charts: What?" in laid_out(opened("pixmo-docs", tmp_path, style="scifi_charts"))[1]
    assert [q.id for q in data.questions()][:2] == ["pixmo-docs-charts/doc0/0", "pixmo-docs-charts/doc0/1"]


def test_a_watch_face_is_found_by_its_example(tmp_path: Path) -> None:
    times = [(8, 5, "8:05:30"), (-1, -1, "The time is not shown in the image."), (3, 0, "3:00 PM")]
    rows = [
        {
            "example_id": f"face{n}/00{n}_x.123_moto",
            "hour_visible": h,
            "minute_visible": m,
            "second_visible": 0,
            "text": t,
        }
        for n, (h, m, t) in enumerate(times)
    ]
    parquet(tmp_path / "data" / "train-0.parquet", rows)
    for row in rows[:2]:
        write(tmp_path / "images" / f"{row['example_id']}.png", png())
    data = opened("pixmo-clocks", tmp_path)
    assert [turns(data, n)[0][1] for n in range(2)] == ["The time shown is 8:05:30", times[1][2]]
    assert [q.answers for q in data.questions()] == [("8:05",), (times[1][2],)]
    assert "(face2/002_x.123_moto): the image is missing" in reasons(data)
    assert "clocks: What time is being shown?" in laid_out(data)[1]


def test_rows_are_read_in_groups_and_few_groups_stay_in_memory(tmp_path: Path) -> None:
    path = parquet(tmp_path / "train.parquet", [{"a": n, "b": "x" * n} for n in range(40)], 4)
    table = Table(path, "train", ("a",), Problems())
    assert [table.row(n, ["a"])["a"] for n in (39, 0, 17, 18)] == [39, 0, 17, 18]
    for number in range(40):
        assert table.row(number, ["b"]) == {"b": "x" * number}
    assert len(table._cache) == 4
    assert [(n, row["a"]) for n, row in table.scan(["a"])] == [(n, n) for n in range(40)]


def test_data_sets_saved_to_disk_are_read_too(tmp_path: Path) -> None:
    import pyarrow

    rows = pyarrow.Table.from_pylist([points_row(n, "cup", [(5.0, 5.0)]) for n in range(4)])
    (tmp_path / "train").mkdir()
    path = str(tmp_path / "train" / "data-00000-of-00001.arrow")
    with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=3)
    keep(tmp_path, 0, 1, 2, 3)
    assert len(opened("pixmo-points", tmp_path)) == 4


def test_files_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the data set 'pixmo-cap' needs a path"):
        open_source(Source(kind="pixmo-cap"))
    folder = cap(tmp_path / "cap")
    second = folder / "data" / "train-00001-of-00002.parquet"
    second.write_bytes(second.read_bytes()[:100])
    data = opened("pixmo-cap", folder)
    assert len(data) == 2
    assert "train-00001-of-00002.parquet: the file cannot be read" in reasons(data)
    first = folder / "data" / "train-00000-of-00002.parquet"
    whole = bytearray(first.read_bytes())
    whole[4:60] = bytes(56)
    first.write_bytes(bytes(whole))
    with pytest.raises(UsageError, match=r"(?s)no record of .* can be used; .*rows 0 to 1 cannot be read"):
        opened("pixmo-cap", folder)
    first.write_bytes(b"")
    with pytest.raises(UsageError, match=r"(?s)no file of the split 'train' at .* can be read; 2 could not be used"):
        opened("pixmo-cap", folder)
    parquet(tmp_path / "other" / "train-0.parquet", [{"url": "x"}])
    with pytest.raises(UsageError, match=r"expected the column image_url in .*train-0.parquet, which has url"):
        opened("pixmo-cap", tmp_path / "other")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="reading Parquet and Arrow files needs the extra 'train'"):
        opened("pixmo-cap", folder)
