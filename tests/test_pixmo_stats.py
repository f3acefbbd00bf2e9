"""Statistics of PixMo data sets: counted by hand, without images too, for published layouts and our own."""

import json
from pathlib import Path

import pytest
from made_data import keep, parquet, url
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.readers.pixmo_layouts import pixmo_kind
from molmo_agent.errors import UsageError
from molmo_agent.pixmo.stats import SplitStats, count_folder, draw_points_figure

pytest.importorskip("pyarrow", reason="needs the extra 'train'")


def places(count: int) -> list[dict[str, float]]:
    return [{"x": float(n % 100), "y": 5.0} for n in range(count)]


def points_row(number: int, label: str, count: int, method: str = "pointing") -> dict[str, object]:
    return {
        "image_url": url(number),
        "image_sha256": "0",
        "label": label,
        "points": places(count),
        "count": count,
        "collection_method": method,
    }


# Rows by kind -> images, annotations, words, points (None: no pointing data).
LAYOUTS: dict[str, tuple[list[dict[str, object]], tuple[int, int, int, dict[int, int]]]] = {
    "pixmo-points": (
        [points_row(1, "red mug", 3), points_row(1, "spoon", 0), points_row(2, "window", 25)],
        (2, 3, 4, {0: 1, 3: 1, 25: 1}),
    ),
    "pixmo-count": (
        [
            {"image_url": url(n), "label": "people", "count": n, "points": {"x": [1.0] * n, "y": [2.0] * n}}
            for n in (0, 4)
        ],
        (2, 2, 2, {0: 1, 4: 1}),
    ),
    "pixmo-cap": (
        [{"image_url": url(n), "caption": "Two dogs sleep.", "transcripts": ["um two dogs"]} for n in (1, 2, 3)],
        (3, 3, 9, {}),
    ),
    "pixmo-cap-qa": (
        [
            {"image_url": url(1), "question": "[USER] a b [ASSISTANT] c [USER] d [ASSISTANT]", "answer": "e f"},
            {"image_url": url(1), "question": "Why?", "answer": "So."},
        ],
        (1, 3, 8, {}),
    ),
    "pixmo-ask-model-anything": (
        [{"image_url": url(1), "image_sha256": "0", "question": "Why so?", "answer": "Because."}],
        (1, 1, 3, {}),
    ),
    "pixmo-point-explanations": (
        [
            {
                "image_url": url(1),
                "question": "Where?",
                "response": "There it is",
                "parsed_response": "<|POINT|> it is",
                "alt_text": ["There"],
                "inline_text": ["There"],
                "points": [places(2), places(1)],
            }
        ],
        (1, 1, 4, {3: 1}),
    ),
    "pixmo-clocks": (
        [{"example_id": f"a/{n}", "hour_visible": 3, "minute_visible": n, "text": "3:05"} for n in range(2)],
        (2, 2, 2, {}),
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_each_layout_is_recognised_and_counted_without_images(kind: str, tmp_path: Path) -> None:
    rows, (images, annotations, words, by_points) = LAYOUTS[kind]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    assert pixmo_kind(tmp_path) == kind
    (stats,) = count_folder(tmp_path, tokenize=len)
    assert (stats.images, stats.annotations, stats.words) == (images, annotations, words)
    assert dict(stats.by_points) == by_points
    assert stats.tokens is not None
    assert stats.tokens > words
    assert (stats.crops, stats.unreadable) == (None, 0)


def test_documents_are_counted_by_part_and_split_with_their_crops(tmp_path: Path) -> None:
    from made_data import png

    for part, splits in (("charts", ("train", "validation")), ("other", ("train",))):
        for split in splits:
            questions = {"question": ["How many?", "Which?"], "answer": ["3", "b c"]}
            row = {"image": {"bytes": png(1, (700, 400)), "path": None}, "image_id": "1", "questions": questions}
            parquet(tmp_path / part / "data" / f"{split}-00000-of-00001.parquet", [row])
    counted = count_folder(tmp_path)
    names = [(one.name.rpartition("/")[2], one.split, one.annotations, one.words) for one in counted]
    assert names == [("charts", "train", 2, 6), ("charts", "validation", 2, 6), ("other", "train", 2, 6)]
    # 3 x 2 crops and the global one.
    assert counted[0].crops == 7.0


def test_images_that_are_there_tell_the_crops(tmp_path: Path) -> None:
    rows, _ = LAYOUTS["pixmo-points"]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    keep(tmp_path, 1)
    (stats,) = count_folder(tmp_path)
    assert stats.crops == 2.0


def test_ranges_of_points_are_those_of_the_figure() -> None:
    stats = SplitStats(name="a", kind="pixmo-points", split="train", annotations=9)
    stats.by_points.update({0: 2, 1: 1, 10: 2, 11: 1, 35: 3})
    assert stats.ranges == {"1-10": 3, "11-20": 1, "21-30": 0, "31-40": 3}
    assert (stats.absent, stats.points) == (2, 1 + 20 + 11 + 105)


def test_damaged_rows_are_counted_and_do_not_end_it(tmp_path: Path) -> None:
    rows = [
        {"image_url": url(1), "question": "Why?", "answer": "So."},
        {"image_url": url(2), "question": "", "answer": "So."},
        {"image_url": url(3), "question": "[USER] [USER] a", "answer": "b"},
    ]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    (stats,) = count_folder(tmp_path)
    assert (stats.annotations, stats.unreadable) == (1, 2)


def test_what_is_no_pixmo_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/train-00000-of-00001.parquet").write_bytes(b"no parquet")
    parquet(tmp_path / "other" / "train-00000-of-00001.parquet", [{"a": 1}])
    for name in ("none", "text", "other", "absent"):
        with pytest.raises(UsageError, match=f"expected a PixMo data set at .*{name}"):
            count_folder(tmp_path / name)


def test_the_command_prints_tables_json_and_a_figure(tmp_path: Path) -> None:
    for kind in ("pixmo-points", "pixmo-cap"):
        parquet(tmp_path / kind / "data" / "train-00000-of-00001.parquet", LAYOUTS[kind][0])
    folders = [str(tmp_path / kind) for kind in ("pixmo-points", "pixmo-cap")]
    printed = CliRunner().invoke(app, ["pixmo", "stats", *folders], catch_exceptions=False).output
    assert "1-10: 1, 11-20: 0, 21-30: 1" in printed
    assert "pixmo-cap" in printed
    values = json.loads(CliRunner().invoke(app, ["pixmo", "stats", *folders, "--json"], catch_exceptions=False).output)
    assert [one["images"] for one in values] == [2, 3]
    assert values[0]["points"] == 28
    wrong = CliRunner().invoke(app, ["pixmo", "stats", folders[1], "--tokenizer", str(tmp_path / "none")])
    assert "expected a tokenizer at" in str(wrong.exception)


def test_the_figure_shows_only_data_sets_with_points(tmp_path: Path) -> None:
    import PIL.Image

    pytest.importorskip("matplotlib", reason="needs the extra 'pixmo'")
    stats = SplitStats(name="a", kind="pixmo-points", split="train")
    with pytest.raises(UsageError, match="expected a data set with points for the figure, got none"):
        draw_points_figure([stats], tmp_path / "a.png")
    stats.by_points.update({1: 100, 15: 10})
    draw_points_figure([stats], tmp_path / "a.png")
    with PIL.Image.open(tmp_path / "a.png") as image:
        assert image.size[0] > 400
