"""`agent data check`: what of a person's data cannot be used, said before training."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_data import png, write
from test_data_gui_grounding import clicks
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.unusable_rows import Problem
from molmo_agent.errors import UsageError
from molmo_agent.train.preview.data_check import grouped, guess_kind


def invoke(*words: object) -> Any:
    result = CliRunner().invoke(app, ["data", "check", *map(str, words)])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def own(folder: Path, *records: Any) -> Path:
    for number in range(4):
        write(folder / f"{number}.png", png(number, (60 + number, 80)))
    return write(folder / "own.jsonl", b"".join(json.dumps(record).encode() + b"\n" for record in records))


def asked(image: str, question: str = "What?", answer: str = "A car.") -> dict[str, str]:
    return {"image": image, "question": question, "answer": answer}


def test_unusable_records_are_counted_by_reason_with_their_lines(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        asked("0.png"),
        asked("8.png"),
        asked("9.png"),
        asked("1.png", answer=" "),
        {"image": "2.png", "label": "x", "points": [[1.5, 0.5]]},
        {"image": "2.png", "label": "x", "points": [[0.5, -3]]},
        {"image": "3.png", "caption": "A lane."},
    )
    with path.open("ab") as file:
        file.write(b'{"image": \n')
    found = json.loads(invoke(path, "--json").stdout)
    (check,) = found["data"]
    assert found["usable"] is True
    assert (check["kind"], check["rows"], check["num_usable"], check["conversations"]) == ("conversations", 2, 2, 2)
    assert check["num_unusable"] == 6
    groups = {(reason["count"], tuple(reason["places"])) for reason in check["unusable"]}
    assert (2, ("own.jsonl, record 5", "own.jsonl, record 6")) in groups
    assert (2, ("own.jsonl, record 2", "own.jsonl, record 3")) in groups
    assert len(groups) == 4
    reasons = " / ".join(reason["reason"] for reason in check["unusable"])
    for part in ("8.png", "the answer is empty", "lies outside the image", "to be JSON"):
        assert part in reasons
    shown = invoke(path).stdout
    assert "conversations (conversations): 2 of 2 rows can be used" in shown
    assert "6 records cannot be used:" in shown
    assert "2 x " in shown
    assert "largest image: 80 x 63 (3.png)" in shown


def test_damaged_images_duplicates_and_long_texts_are_found(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        asked("0.png"),
        asked("0.png"),
        asked("0.png", "Who?"),
        asked("1.png"),
        asked("2.png", answer="so " * 3000),
        {"image": "3.png", "caption": "Same."},
        {"image": "3.png", "caption": "Same."},
    )
    write(tmp_path / "1.png", png(1, (61, 80))[:-60])
    (check,) = json.loads(invoke(path, "--json").stdout)["data"]
    assert (check["rows"], check["num_usable"]) == (4, 2)
    reasons = sorted(reason["reason"] for reason in check["unusable"])
    assert "no annotation fits in 2304 tokens" in reasons[1]
    assert "1.png is not a readable image" in reasons[0]
    assert check["duplicates"] == 2
    assert check["duplicate_places"] == ["0.png", "3.png"]
    assert check["longest"][0][1] in ("0.png", "3.png")


def test_nothing_usable_exits_with_one_and_a_missing_file_is_usage(tmp_path: Path) -> None:
    path = own(tmp_path, asked("8.png"), {"colour": 1})
    result = invoke(path)
    assert result.exit_code == 1
    assert "conversations (conversations): nothing can be used" in result.stdout
    assert "2 records cannot be used" in result.stdout
    for words, message in (
        (["none.jsonl"], "expected a file, a folder or a recipe, got 'none.jsonl'; recipes: android_control"),
        (["nano"], "is a curriculum, which draws its screens"),
        (["pointing", "--kind", "points"], "--kind and --option go with a file"),
        ([path, "--option", "style"], "expected --option NAME=VALUE, got 'style'"),
        ([path, "length=3"], "expected key=value with a recipe only, got 'length=3'"),
    ):
        with pytest.raises(UsageError, match=message):
            invoke(*words)


def test_few_rows_of_a_large_file_are_decoded_and_it_says_so(tmp_path: Path) -> None:
    path = own(tmp_path, *[asked(f"{number}.png") for number in range(4)])
    result = invoke(path, "--rows", 2)
    assert result.exit_code == 0
    assert "2 of 2 rows can be used (4 in all, of which these were decoded; --rows 0 decodes all)" in result.stdout
    assert "4 of 4 rows can be used" in invoke(path, "--rows", 0).stdout


def test_a_recipe_is_checked_whole(tmp_path: Path) -> None:
    own(tmp_path, {"image": "0.png", "label": "car", "points": [[0.5, 0.5]]}, {"image": "1.png", "label": "car"})
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"home: {tmp_path}\nmixture:\n"
        "  - {kind: points, path: own.jsonl, hold_out: 5}\n  - {kind: chat, path: own.jsonl}\n"
    )
    result = invoke(recipe, "--json")
    first, second = json.loads(result.stdout)["data"]
    assert result.exit_code == 1
    assert (first["num_usable"], first["num_unusable"], first["points"]) == (1, 1, 1)
    assert (second["num_usable"], second["num_unusable"]) == (0, 2)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ({"image": "a", "label": "b", "points": []}, "points"),
        ({"image": "a", "question": "b", "points": []}, "conversations"),
        ({"image": "a", "conversations": []}, "conversations"),
        ({"image": "a", "instruction": "b", "bbox": [1, 2, 3, 4]}, "gui-grounding"),
        ({"traj": []}, "gui-grounding"),
        (None, "conversations"),
    ],
)
def test_the_kind_of_a_file_is_seen_in_its_first_record(tmp_path: Path, first: Any, kind: str) -> None:
    assert guess_kind(tmp_path, first) == kind


def test_gui_data_needs_its_format(tmp_path: Path) -> None:
    records = [{**one, "bbox": [10, 10, 40, 40], "point": [20, 20]} for one in clicks((1, 1), (2, 2))]
    write(tmp_path / "0.png", png())
    path = write(tmp_path / "gui.json", records)
    with pytest.raises(UsageError, match="needs the option format"):
        invoke(path)
    result = invoke(path, "--option", "format=boxes", "--option", "scale=100", "--json")
    (check,) = json.loads(result.stdout)["data"]
    assert (check["kind"], check["points"], check["conversations"]) == ("gui-grounding", 2, 2)


def test_reasons_that_differ_in_names_and_numbers_are_one() -> None:
    reasons = [
        "line 3: 'a' is 5",
        "line 9: 'b' is 0.25",
        "the file /tmp/a/b.png is gone",
        "the file /c/d.png is gone",
        "x",
    ]
    groups = grouped(Problem(file="f", reason=reason, record=n) for n, reason in enumerate(reasons))
    assert [(group.reason, group.count) for group in groups] == [(reasons[0], 2), (reasons[2], 2), ("x", 1)]
    assert groups[0].places == ("f, record 0", "f, record 1")
