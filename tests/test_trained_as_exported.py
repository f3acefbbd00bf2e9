"""What was trained is what is exported: a model is asked with the crops and the texts that it learned from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_training import small_run, write_model
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.question import Question
from molmo_agent.data.source import Source
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation import run as evaluation
from molmo_agent.evaluation.predict import prompt_of
from molmo_agent.model.processor import MolmoProcessor
from molmo_agent.model.prompts import asked
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.profile import PROFILE_FILE, PointingProfile, read_profile
from molmo_agent.pointers.trained_crops import crops_remark, limit_crops
from molmo_agent.registry import load_model
from molmo_agent.train.export import profile_changes
from molmo_agent.train.launch import run_here

# torch warns of processes that are not there, and of names of its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

IMAGE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


def trained(folder: Path, **changes: Any) -> Path:
    run_here(small_run(folder, steps=1, batch=2, length=600, **changes), folder / "run")
    return folder / "run" / "export"


@pytest.mark.parametrize("max_crops", [1, 5, 36])
def test_a_model_is_exported_with_the_crops_of_its_training(max_crops: int, tmp_path: Path) -> None:
    export = trained(tmp_path, max_crops=max_crops)
    images = MolmoProcessor.from_pretrained(export).image_processor
    assert images.max_crops == max_crops
    arrays, _ = images.process_one(np.zeros((4000, 4000, 3), np.uint8))
    # As many crops of a large image as fit the limit, and the whole image.
    assert len(arrays["pixel_values"]) == 1 + {1: 1, 5: 4, 36: 36}[max_crops]
    start = MolmoProcessor.from_pretrained(tmp_path / "model").image_processor
    assert start.max_crops == 2
    for name in ("crop_size", "patch_size", "margins", "pooling_size", "crop_mode", "image_mean", "image_std"):
        assert getattr(images, name) == getattr(start, name)


def test_margins_and_crop_mode_of_the_starting_model_stay(tmp_path: Path) -> None:
    config = small_run(tmp_path, steps=1, batch=2, length=600)
    processor = MolmoProcessor.from_pretrained(config.model)
    processor.image_processor.crop_mode = "resize"
    processor.save_pretrained(config.model)
    run_here(config, tmp_path / "run")
    assert MolmoProcessor.from_pretrained(tmp_path / "run" / "export").image_processor.crop_mode == "resize"


@pytest.mark.parametrize(
    ("message_format", "prefix", "turn"),
    [
        ("role", "style", " User: Point to the cup Assistant:"),
        ("none", "none", " Point to the cup"),
        ("none", "length", " pointing : Point to the cup"),
        ("role", "none", " User: Point to the cup Assistant:"),
    ],
)
def test_a_model_is_asked_with_the_turns_of_its_training(
    message_format: Any, prefix: Any, turn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = trained(tmp_path, message_format=message_format, prefix=prefix)
    pointer = MolmoPointer.from_pretrained(export, max_new_tokens=2)
    assert (pointer.profile.message_format, pointer.profile.prefix) == (message_format, prefix)
    prompts: list[str] = []
    rows = MolmoPointer._rows

    def seen(self: Any, *args: Any) -> Any:
        ids = rows(self, *args)
        prompts.extend(self.processor.tokenizer.decode(row) for row in ids)
        return ids

    monkeypatch.setattr(MolmoPointer, "_rows", seen)
    pointer.point(IMAGE, "the cup")
    assert prompts == [turn]
    # In words, a question is put as it stands, but for the turns.
    pointer.answer_batch([IMAGE], ["vqa2: How many?"], max_new_tokens=2)
    assert prompts[1] == asked("vqa2: How many?", "text", message_format)
    assert pointer.traits.style_tags == (prefix != "none")


def test_a_model_without_tags_of_styles_is_evaluated_without_them() -> None:
    question = Question(id="1", style="chart_qa", text="How high?", answers=("3",))
    assert prompt_of(question) == "chart_qa: How high?"
    assert prompt_of(question, tags=False) == "How high?"


@pytest.mark.parametrize(
    ("sources", "question"),
    [
        ([("points", {"wording": "none"})], "{}"),
        ([("points", {}), ("chat", {})], "Point to {}"),
        ([("points", {"wording": "none"}), ("sim-desktop", {})], "{}"),
        ([("pixmo-points", {}), ("pixmo-count", {"style": "pointing"})], "Point to {}"),
        ([("points", {}), ("sim-desktop", {})], None),  # both ways: as the starting model
        ([("chat", {}), ("pixmo-count", {}), ("pixmo-points", {"style": "point_count"})], None),
    ],
)
def test_questions_for_points_are_worded_as_in_training(
    sources: list[tuple[str, Any]], question: str | None, tmp_path: Path
) -> None:
    from dataclasses import replace

    mixture = tuple(Source(kind=kind, options=options) for kind, options in sources)
    changes = profile_changes(replace(small_run(tmp_path), mixture=mixture))
    assert changes.get("question") == question
    # Every data set's points are written in this dialect.
    assert changes.get("dialect") == (None if question is None else "molmo")


def test_the_rest_of_the_profile_is_the_starting_models(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    PointingProfile(dialect="qwen", question="Where is {}?", remark="for screens", window=(640, 480)).write(model)
    config = small_run(tmp_path, steps=1, batch=2, length=600, max_crops=3)
    PointingProfile(dialect="qwen", question="Where is {}?", remark="for screens", window=(640, 480)).write(
        Path(config.model)
    )
    run_here(config, tmp_path / "run")
    expected = PointingProfile(question="Point to {}", remark="for screens", window=(640, 480))
    assert read_profile(tmp_path / "run" / "export") == expected


@pytest.mark.parametrize(
    "fields", [{"message_format": "chat"}, {"prefix": 3}, {"prefix": None}, {"message_format": []}]
)
def test_a_profile_with_unknown_turns_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / PROFILE_FILE).write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=r"'(message_format|prefix)' must be one of (role|style), "):
        read_profile(tmp_path)


def test_another_number_of_crops_than_in_training_is_told_with_what_it_costs(tmp_path: Path) -> None:
    model = load_model(str(write_model(tmp_path / "model")))
    told = limit_crops(model, 5)
    assert told == crops_remark(2, 5)
    assert "trained with at most 2 crops per image, and is asked with 5" in told
    published = json.loads((Path(evaluation.__file__).parent / "published_scores.json").read_text())
    assert "74.3 to 58.1" in told
    assert "85.2 to 73.9" in told
    assert published
    assert limit_crops(model, 5) == ""
    with pytest.raises(UsageError, match="--max-crops is for local Molmo checkpoints; 'centre' cuts no crops here"):
        limit_crops(CentrePointer(), 5)


def test_a_new_limit_of_crops_counts_for_images_that_were_seen_before(tmp_path: Path) -> None:
    pointer = MolmoPointer.from_pretrained(write_model(tmp_path / "model"))
    lengths = []
    for count in (1, 2, 12):
        pointer.limit_crops(count)
        lengths.append(pointer._prefix(IMAGE).length)
    assert lengths == sorted(set(lengths))


def test_point_run_and_eval_say_that_the_number_of_crops_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_model(tmp_path / "model"))
    PointingProfile(max_new_tokens=2).write(model)
    Image.fromarray(IMAGE).save(tmp_path / "screen.png")
    picture = str(tmp_path / "screen.png")

    def told(*command: str) -> str:
        return " ".join(CliRunner().invoke(app, [*command, "--model", model]).output.split())

    assert "asked with 3" in told("point", picture, "the cup", "--max-crops", "3")
    assert "asked with" not in told("point", picture, "the cup", "--max-crops", "2")
    assert "asked with" not in told("point", picture, "the cup")
    run = ("run", "--env", "toy", "--max-steps", "1", "--out", str(tmp_path / "run"))
    assert "asked with 4" in told(*run, "--max-crops", "4")
    evaluation.open_model(model, 5)
    assert "asked with 5" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(UsageError, match="'centre' cuts no crops here"):
        evaluation.open_model("centre", 5)
