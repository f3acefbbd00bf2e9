"""Every pipeline offline: a script annotates known scenes, all readers read the outputs, training mixes them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmark_modules import load
from tiny_training import write_model
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.parse import load_yaml
from molmo_agent.pixmo.count import ShapesDetector, most_frequent
from molmo_agent.pixmo.docs import make as docs_make
from molmo_agent.pixmo.everything import RECIPE
from molmo_agent.pixmo.gallery import write_gallery
from molmo_agent.pixmo.rehearsal.annotator import Connection
from molmo_agent.pixmo.rehearsal.collection import rehearse
from molmo_agent.pixmo.rehearsal.scenes import COLOURS, FORMS, GROUNDS, draw_scene, sample_scene
from molmo_agent.pixmo.rehearsal.speech import questions, transcript
from molmo_agent.pixmo.words import content_words

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("pyarrow", reason="needs the extra 'train'")
ROOT = Path(__file__).parents[1]


def read(folder: Path, kind: str, **options: str):
    """Return the questions of a data set, and check that none is unusable."""
    data = open_source(Source(kind=kind, path=str(folder), options=options))
    assert data.problems.entries == []
    return list(data.questions())


class TestScenes:
    def test_the_detector_counts_what_was_drawn_in_every_scene(self):
        wrong = []
        for seed in range(44):
            scene = sample_scene(seed)
            found = most_frequent(ShapesDetector().detect(draw_scene(scene), 0.45), 0.9)
            if found is None:
                wrong += [str(seed)] if scene.groups else []
                continue
            label, points = found
            drawn = sorted((p.x, p.y) for p in scene.points_of(label.removesuffix(" shape")))
            if len(drawn) != len(points) or not np.allclose(drawn, sorted((p.x, p.y) for p in points), atol=0.03):
                wrong.append(f"{seed}: {label}, {len(points)} of {len(drawn)}")
        assert wrong == []

    def test_scenes_vary_and_the_same_seed_is_the_same_scene(self):
        scenes = [sample_scene(seed) for seed in range(300)]
        groups = [group for scene in scenes for group in scene.groups]
        assert {group.colour for group in groups} == {*COLOURS}
        assert {group.form for group in groups} == {*FORMS}
        assert {scene.ground for scene in scenes} == {*GROUNDS}
        assert {max((len(g.points) for g in scene.groups), default=0) for scene in scenes} == {*range(11)}
        assert scenes[7] == sample_scene(7)

    def test_shapes_do_not_touch_each_other_the_sign_or_the_border(self):
        for seed in range(200):
            scene = sample_scene(seed)
            spots = [(p.x * 480, p.y * 360, group.radius) for group in scene.groups for p in group.points]
            for number, (x, y, radius) in enumerate(spots):
                assert radius < x < 480 - radius
                assert radius < y < 360 - radius
                assert all(
                    max(abs(x - other_x), abs(y - other_y)) > radius + other
                    for other_x, other_y, other in spots[:number]
                ), seed
                if scene.sign:
                    assert abs(y - scene.sign_point.y * 360) > radius + 18, seed

    def test_what_is_said_is_on_the_scene(self):
        colours = {content_words(colour).pop() for colour in COLOURS}
        said = set()
        for seed in range(60):
            scene = sample_scene(seed)
            for speaker in (0, 1):
                text = transcript(scene, speaker)
                said.add(text)
                words = content_words(text)
                named = {group.colour for group in scene.groups} | ({"blue"} if "blue" in scene.ground else set())
                assert words & colours <= named, text
                assert (scene.sign in text) or not scene.sign
        assert len(said) > 100
        assert all(asked.right for seed in range(60) for asked in questions(sample_scene(seed)))


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """Return the data sets of 24 scenes, and the requests of the script."""
    folder = tmp_path_factory.mktemp("rehearsed")
    done = rehearse(folder / "collection", folder, 24, report=lambda line: None)
    return folder, done


class TestTheScript:
    def test_points_are_those_of_the_scenes_and_disputes_are_settled(self, rehearsed):
        folder, done = rehearsed
        asked = read(folder / "pixmo-points", "pixmo-points")
        assert len(asked) + len(read(folder / "pixmo-points", "pixmo-points", part="validation")) == done["points"]
        labels = {question.text for question in asked}
        assert {"shapes"} <= labels
        assert any(question.points == () for question in asked)
        known = {(group.name, len(group.points)) for seed in range(24) for group in sample_scene(seed).groups}
        assert {(q.text, len(q.points)) for q in asked} & known

    def test_counts_are_verified_where_they_are_held_out(self, rehearsed):
        folder, done = rehearsed
        rows = {split: read(folder / "pixmo-count", "pixmo-count", split=split) for split in ("train", "validation")}
        assert done["counts"] >= 2
        assert sum(map(len, rows.values())) >= 10
        assert {question.extra["count"] for question in rows["train"]} <= {*range(11)}

    def test_wrong_answers_are_rejected_until_one_is_right(self, rehearsed):
        folder, done = rehearsed
        assert done["rejected answers"] >= 1
        assert done["questions"] >= 24
        plain = read(folder / "pixmo-ask-model-anything", "pixmo-ask-model-anything")
        pointing = read(folder / "pixmo-point-explanations", "pixmo-point-explanations")
        assert len(plain) >= 20
        assert len(pointing) >= 10
        assert all(question.extra["inline"][0].points for question in pointing)

    def test_captions_merge_both_speakers_without_hesitation(self, rehearsed):
        folder, done = rehearsed
        captions = read(folder / "pixmo-cap", "pixmo-cap", mode="captions")
        assert len(captions) >= 20
        assert done["transcripts"] == 36
        texts = [answer for question in captions for answer in question.answers]
        assert not [text for text in texts if "Um," in text or "you know" in text.casefold()]

    def test_a_second_run_annotates_nothing_again(self, rehearsed, tmp_path):
        folder, _ = rehearsed
        shutil.copytree(folder / "collection", tmp_path / "collection")
        again = rehearse(tmp_path / "collection", tmp_path, 24, report=lambda line: None)
        assert not {"points", "transcripts", "questions"} & again.keys()

    def test_a_server_that_refuses_is_an_error(self, rehearsed):
        from molmo_agent.pixmo.collect.server import serving
        from molmo_agent.pixmo.collect.tasks import Helpers

        folder, _ = rehearsed
        with serving(folder / "collection", Helpers(), report=pytest.fail) as address:
            with pytest.raises(EnvError, match="expected the server of a collection at"):
                Connection(address.replace("token=", "token=wrong"))
            server = Connection(address)
            with pytest.raises(
                EnvError, match=r"expected /api/points to be accepted, got status 400: expected an image"
            ):
                server.post("/api/points", annotator="a", item="none", label="x", points=[])
            server.close()

    def test_the_gallery_draws_points_and_shortens_texts(self, rehearsed, tmp_path):
        folder, _ = rehearsed
        for kind in ("pixmo-points", "pixmo-cap", "pixmo-point-explanations", "pixmo-count"):
            data = open_source(Source(kind=kind, path=str(folder / kind)))
            count = write_gallery(data, tmp_path / "page.html", title=kind)
            page = (tmp_path / "page.html").read_text()
            assert page.count("<img") == count == min(24, len(data))
            assert "&lt;point" not in page


def drawn_by_a_fake(library: str, code: str):
    """Stand in for the sandbox: a drawing with something on it."""
    from molmo_agent.pixmo.docs.renderers import Rendering

    image = np.full((90, 120, 3), 255, np.uint8)
    image[30:60, 30:90] = 20
    return Rendering(image, (), "")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return what ``agent pixmo all`` writes, with documents that are not really drawn, and its output."""
    folder = tmp_path_factory.mktemp("everything") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docs_make, "render", drawn_by_a_fake)
        patch.setattr(docs_make, "libraries", lambda: ("matplotlib", "html", "graphviz"))
        result = CliRunner().invoke(app, ["pixmo", "all", "--to", str(folder), "--count", "3"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder, result.output


class TestEverything:
    def test_the_command_makes_every_data_set_and_counts_it(self, made):
        folder, output = made
        for name in ("clocks", "points, count, cap, ask", "capqa", "docs (charts)", "docs (other)"):
            assert f"{name}: done" in output
        assert "pixmo-docs/diagrams" in output
        assert "labels by points: 1-10" in output
        assert "transcripts were typed" in (folder / "left_out.txt").read_text()

    def test_the_recipe_in_the_docs_is_the_one_that_is_written(self, made):
        folder, _ = made
        ours, written = RECIPE.read_text(), (folder / "mixture.yaml").read_text()
        assert ours in (ROOT / "docs" / "pixmo.md").read_text()
        assert load_yaml(written, where="") == load_yaml(ours, where="") | {"home": str(folder)}

    def test_training_mixes_all_of_them(self, made, tmp_path):
        folder, _ = made
        model = write_model(tmp_path / "model")
        arguments = [str(folder / "mixture.yaml"), f"model={model}", "steps=2", "batch=12", "length=2000"]
        trained = CliRunner().invoke(
            app, ["train", *arguments, "precision=fp32", "--out", str(tmp_path / "run")], catch_exceptions=False
        )
        assert trained.exit_code == 0, trained.output
        assert (tmp_path / "run/export/model.safetensors").is_file()

    def test_data_show_opens_every_output_by_its_folder(self, made, tmp_path):
        folder, _ = made
        failed = []
        model = str(write_model(tmp_path / "model"))
        paths = [*(p for p in sorted(folder.glob("pixmo-*")) if p.name != "pixmo-docs")]
        paths += sorted(p for p in (folder / "pixmo-docs").iterdir() if p.is_dir())
        assert len(paths) == 11
        for path in paths:
            option = ["--option", f"type={path.name}"] if path.parent.name == "pixmo-docs" else []
            page = tmp_path / f"{path.name}.html"
            shown = CliRunner().invoke(
                app, ["data", "show", str(path), *option, "--model", model, "--rows", "2", "--out", str(page)]
            )
            if shown.exit_code or "data:image/webp" not in page.read_text():
                failed.append(f"{path.name}: {shown.output} {shown.exception}")
        assert failed == []

    def test_a_step_that_cannot_run_is_reported_and_the_others_go_on(self, tmp_path, monkeypatch):
        def nothing(*_: object, **__: object) -> None:
            raise UsageError("nothing here draws tables: install chromium")

        monkeypatch.setattr("molmo_agent.pixmo.everything.make_docs", nothing)
        result = CliRunner().invoke(app, ["pixmo", "all", "--to", str(tmp_path), "--count", "1"])
        assert result.exit_code == 1
        assert "docs (tables): nothing here draws tables: install chromium" in result.output
        assert "clocks: done" in result.output


def test_the_benchmark_measures_the_collection_and_names_missed_targets(tmp_path, capsys, monkeypatch):
    import argparse

    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark, report = load("pixmo"), load("_report")
    monkeypatch.setattr(benchmark, "_SCENES", 12)
    figures = benchmark.collected(tmp_path)
    assert set(figures) == {benchmark.ANNOTATIONS, benchmark.EXPORT}
    assert min(figures.values()) > 0
    slow = {**figures, benchmark.CLOCKS: 3.0, benchmark.ANNOTATIONS: 1e6}
    arguments = argparse.Namespace(json=tmp_path / "figures.json", check=True)
    assert report.finish(arguments, slow, benchmark.TARGETS) == 1
    assert "missed: clocks, images per second of one core: 3.000, target >= 20.0" in capsys.readouterr().out
