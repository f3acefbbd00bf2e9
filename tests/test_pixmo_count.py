"""Counts by a detector: what is counted, what is skipped, how validation and test are balanced, the detectors."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Box
from molmo_agent.parse import json_lines
from molmo_agent.pixmo.collect.export import export_project
from molmo_agent.pixmo.count import Detection, ShapesDetector, load_detector, most_frequent, propose


def found(label, score, left, top=0.1):
    return Detection(label, Box(left, top, left + 0.1, top + 0.1), score)


class TestWhatIsCounted:
    def test_the_class_with_most_objects_and_their_middles(self):
        objects = [found("cup", 0.95, 0.1), found("dog", 0.99, 0.3), found("cup", 0.95, 0.6)]
        label, points = most_frequent(objects, 0.9)
        assert label == "cup"
        np.testing.assert_allclose(sorted((p.x, p.y) for p in points), [(0.15, 0.15), (0.65, 0.15)])

    @pytest.mark.parametrize(
        "objects",
        [
            [],
            [found("cup", 0.5, 0.1)],
            # One more cup may be there.
            [found("cup", 0.95, 0.1), found("cup", 0.6, 0.5)],
        ],
    )
    def test_doubt_counts_nothing(self, objects):
        assert most_frequent(objects, 0.9) is None

    def test_an_object_found_twice_counts_once_and_a_doubt_about_another_class_is_none(self):
        objects = [found("cup", 0.95, 0.1), found("cup", 0.91, 0.11), found("cup", 0.92, 0.5), found("dog", 0.5, 0.7)]
        label, points = most_frequent(objects, 0.9)
        assert (label, len(points)) == ("cup", 2)


def draw(path, number, seed, *, colour=(30, 90, 200)):
    image = PIL.Image.new("RGB", (240, 200 + seed), (250, 250, 245))
    pen = PIL.ImageDraw.Draw(image)
    for i in range(number):
        left, top = 10 + 45 * (i % 5), 10 + 45 * (i // 5)
        pen.ellipse((left, top, left + 20, top + 20), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


class TestTheCollection:
    @pytest.fixture(scope="class")
    @classmethod
    def raw(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("raw")
        for number in range(13):
            for seed in range(4):
                draw(folder / f"{number}/{seed}.png", number, seed)
        return folder

    def test_every_number_from_0_to_10_is_held_out_alike(self, raw, tmp_path):
        lines = []
        options = {"threshold": 0.9, "per_count": 1, "report": lines.append}
        summary = propose(raw, tmp_path, ShapesDetector(), **options)
        assert summary["validation"] == summary["test"] == dict.fromkeys(range(11), 1)
        assert summary["train"] == dict.fromkeys(range(11), 2)
        assert lines == ["skipped 8 images: more than 10 objects"]
        before = (tmp_path / "count.jsonl").read_bytes()
        propose(raw, tmp_path, ShapesDetector(), **options)
        assert (tmp_path / "count.jsonl").read_bytes() == before
        empty = [row for _, row in json_lines(tmp_path / "count.jsonl") if not row["points"]]
        assert {row["label"] for row in empty} == {"blue shape"}

    def test_the_reader_finds_the_points_where_the_objects_are(self, raw, tmp_path):
        propose(raw / "7", tmp_path / "set", ShapesDetector(), threshold=0.9, per_count=0)
        export_project(tmp_path / "set", tmp_path / "out", method="pointing", least=1, report=pytest.fail)
        source = Source(kind="pixmo-count", path=str(tmp_path / "out/pixmo-count"))
        # Each image has another height, and is one row.
        rows = open_source(source)
        assert len(rows) == 4
        places = {
            (round(x * 240), y)
            for row in rows.questions()
            for x, y in [(p[0] / 240, p[1]) for p in row.extra["pixels"]]
        }
        np.testing.assert_allclose(sorted({x for x, _ in places}), [20, 65, 110, 155, 200], atol=1)

    def test_nobody_verified_it_so_it_is_not_held_out(self, raw, tmp_path):
        propose(raw, tmp_path / "set", ShapesDetector(), threshold=0.9, per_count=1)
        result = export_project(tmp_path / "set", tmp_path / "out", method="pointing", least=1, report=pytest.fail)
        assert (result.rows["pixmo-count/train"], result.rows["pixmo-count/test"]) == (22, 0)
        assert len(result.left_out) == 22
        assert all("nobody verified it" in line for line in result.left_out)

    def test_a_broken_image_is_reported_and_a_missing_folder_is_an_error(self, tmp_path):
        draw(tmp_path / "raw/a.png", 2, 0)
        (tmp_path / "raw/b.png").write_bytes(b"\x89PNG nothing")
        lines = []
        summary = propose(
            tmp_path / "raw", tmp_path / "set", ShapesDetector(), threshold=0.9, per_count=1, report=lines.append
        )
        assert summary == {"train": {2: 1}}
        assert len(lines) == 1
        assert lines[0].startswith("skipped b.png: ")
        with pytest.raises(UsageError, match="expected a folder of images"):
            propose(tmp_path / "none", tmp_path / "set", ShapesDetector(), threshold=0.9, per_count=1)


class TestDetectors:
    @pytest.mark.parametrize(
        ("colour", "name"),
        [
            ((200, 30, 30), "red"),
            ((240, 220, 40), "yellow"),
            ((30, 160, 60), "green"),
            ((20, 20, 20), "black"),
            ((120, 40, 160), "purple"),
        ],
    )
    def test_shapes_are_named_by_their_colour(self, tmp_path, colour, name):
        draw(tmp_path / "a.png", 3, 0, colour=colour)
        shapes = ShapesDetector().detect(np.array(PIL.Image.open(tmp_path / "a.png")), 0.5)
        assert [(shape.label, shape.score) for shape in shapes] == [(f"{name} shape", 1.0)] * 3

    def test_a_shape_that_is_cut_off_is_doubtful(self):
        image = np.full((100, 100, 3), 255, np.uint8)
        image[:20, 40:60] = (200, 0, 0)
        (shape,) = ShapesDetector().detect(image, 0.4)
        assert shape.score == 0.5
        assert ShapesDetector().detect(image, 0.9) == []

    def test_a_detection_model_of_transformers_gives_boxes_within_the_image(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = transformers.YolosConfig(
            **sizes, image_size=[64, 64], patch_size=16, num_detection_tokens=5, num_labels=3
        )
        transformers.YolosForObjectDetection(config).save_pretrained(tmp_path)
        processor = transformers.YolosImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
        processor.save_pretrained(tmp_path)
        detections = load_detector(str(tmp_path)).detect(np.zeros((80, 120, 3), np.uint8), 0.0)
        assert detections
        assert {detection.label for detection in detections} <= {"LABEL_0", "LABEL_1", "LABEL_2"}

    def test_what_is_no_detector_is_named(self, tmp_path):
        with pytest.raises(UsageError, match="expected a detection model of transformers or 'shapes', got"):
            load_detector(str(tmp_path / "none"))


class TestTheCommands:
    def run(self, *arguments):
        from typer.testing import CliRunner

        from molmo_agent.cli.app import app

        return CliRunner().invoke(app, ["pixmo", *map(str, arguments)], catch_exceptions=True)

    def test_count_export_and_capqa_print_what_they_wrote(self, tmp_path):
        for number in (2, 3):
            draw(tmp_path / f"raw/{number}.png", number, number)
        counted = self.run("count", tmp_path / "raw", tmp_path / "set")
        assert counted.exit_code == 0, counted.output
        assert "train: 2 images; 2: 1, 3: 1" in counted.output
        exported = self.run("export", tmp_path / "set", tmp_path / "out")
        assert exported.exit_code == 0, exported.output
        assert "2 rows in " in exported.output

    def test_a_folder_without_clear_images_is_an_error(self, tmp_path):
        PIL.Image.effect_noise((60, 60), 90).save(tmp_path / "noise.png")
        result = self.run("count", tmp_path, tmp_path / "set")
        assert isinstance(result.exception, UsageError)
        assert "lower --threshold, or try another detector" in str(result.exception)
        assert isinstance(self.run("export", tmp_path / "none", tmp_path / "out").exception, UsageError)
        assert isinstance(self.run("capqa", tmp_path / "none", tmp_path / "out").exception, UsageError)
        assert isinstance(self.run("collect", tmp_path / "none", "--reader", "none").exception, UsageError)
        unknown = self.run("collect", tmp_path, "--reader", "glasses").exception
        assert "unknown text reader 'glasses'" in str(unknown)
