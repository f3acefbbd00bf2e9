"""Clicks that are kept from training: which, when they count as hit, and what `agent train` says of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import agent_here
from made_data import opened
from tiny_training import write_model, write_points

from molmo_agent.data.catalog import open_mixture, open_source
from molmo_agent.data.hits import is_hit
from molmo_agent.data.row import Target
from molmo_agent.data.source import Source
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.evaluation.before_and_after import Hits, compare, report
from molmo_agent.geometry import Box, Point
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.recipe import from_dict, load

# torch warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

SIZE = 400, 300
"""Height and width; the diagonal is 500 pixels, so that 20 are near."""


def names(source: Source, *, held_out: bool) -> list[str]:
    rows = open_source(source, held_out=held_out)
    return [Path(rows.row(number, 0).name).name for number in range(len(rows))]


def test_every_so_manieth_picture_is_kept_and_more_pictures_move_none(tmp_path: Path) -> None:
    path = write_points(tmp_path, 6)
    source = Source(kind="points", path=str(path), hold_out=3)
    assert names(source, held_out=True) == ["2.png", "5.png"]
    assert names(source, held_out=False) == ["0.png", "1.png", "3.png", "4.png"]
    write_points(tmp_path, 8)
    assert names(source, held_out=True) == ["2.png", "5.png"]
    (learned,) = open_mixture([Source(kind="points", path="points.jsonl", hold_out=3)], str(tmp_path))
    assert len(learned) == 6


def test_too_few_pictures_to_keep_some_are_told(tmp_path: Path) -> None:
    path = str(write_points(tmp_path, 3))
    with pytest.raises(UsageError, match=r"expected at least 5 images, to hold every 5th .* but found 3; add imag"):
        open_source(Source(kind="points", path=path, hold_out=5))
    with pytest.raises(UsageError, match=r"but this data set is infinite; .* or 0 to train on all"):
        open_source(Source(kind="sim-desktop", hold_out=5))


@pytest.mark.parametrize(("model", "every"), [("nano", 1), ("nano", -2), ("nano-fresh", 5)])
def test_a_share_that_cannot_be_kept_is_an_error(model: str, every: int) -> None:
    with pytest.raises(UsageError, match=rf"hold_out to be 0, or at least 2 and a model .* got {every} and '{model}'"):
        from_dict({"model": model, "mixture": [{"kind": "points", "path": "x", "hold_out": every}]})


def test_a_click_may_say_where_it_counts_and_is_asked_for_in_the_users_words(tmp_path: Path) -> None:
    path = write_points(tmp_path, 1)
    line = {"image": "0.png", "label": "Bin", "points": [[0.5, 0.5]]}
    box = {"boxes": [[0.4, 0.4, 0.6, 0.7]], "question": "throw it away"}
    wrong: list[tuple[Any, str]] = [
        ([], "expected 'boxes' to be as many as the 1 points"),
        ([[0.1, 0.2, 0.3]], r"expected a box as \[left, top, right, bottom\] in 0..1"),
        ([[0.1, 0.2, 0.3, 1.4]], "bottom must be a fraction"),
        ([[0.9, 0.2, 0.3, 0.4]], "expected left <= right"),
    ]
    lines = [line, line | box, *(line | {"boxes": boxes} for boxes, _ in wrong)]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    data = opened("points", path, wording="none")
    assert len(data.problems.entries) == len(wrong)
    for problem, (_, message) in zip(data.problems.entries, wrong, strict=True):
        with pytest.raises(ValueError, match=message):
            raise ValueError(problem.reason)
    plain, own = data.row(0, 0).conversations
    assert plain.turns[0] == "Bin"
    assert plain.target == Target(instruction="Bin", points=(Point(0.5, 0.5),))
    assert own.turns[0] == own.target.instruction == "throw it away"
    assert own.target.boxes == (Box(0.4, 0.4, 0.6, 0.7),)
    assert any(opened("points", path).row(0, seed).conversations[0].turns[0] != "Bin" for seed in range(20))
    with pytest.raises(UnknownNameError, match=r"wording of 'points' 'som'.*many, none"):
        opened("points", path, wording="som")


def said(*points: tuple[float, float], status: Any = "ok") -> PointResult:
    return PointResult(status=status, reply="", points=tuple(LabelledPoint(Point(*point)) for point in points))


@pytest.mark.parametrize(
    ("result", "hit"),
    [
        (said((0.5, 0.5)), True),
        (said((0.549, 0.5)), True),
        (said((0.551, 0.5)), False),
        (said((0.5, 0.566)), True),
        (said((0.5, 0.567)), False),
        (said((0.5, 0.5), (0.5, 0.5)), False),
        (said(status="none"), False),
    ],
)
def test_without_a_box_near_the_point_is_a_hit(result: PointResult, hit: bool) -> None:
    assert is_hit(result, Target(instruction="x", points=(Point(0.5, 0.5),)), SIZE) is hit


def test_with_a_box_only_the_box_counts_and_each_of_several_targets_wants_its_own_point() -> None:
    low, high = Box(0.0, 0.0, 0.2, 0.2), Box(0.8, 0.8, 1.0, 1.0)
    both = Target(instruction="x", points=(low.center, high.center), boxes=(low, high))
    assert is_hit(said((0.99, 0.99), (0.01, 0.01)), both, SIZE)
    assert not is_hit(said((0.1, 0.1), (0.11, 0.11)), both, SIZE)
    assert not is_hit(said((0.1, 0.1)), both, SIZE)
    one = Target(instruction="x", points=(low.center,), boxes=(low,))
    assert not is_hit(said((0.201, 0.1)), one, SIZE)


def test_what_is_not_there_is_right_when_there_is_none() -> None:
    nothing = Target(instruction="a cat", points=())
    assert is_hit(said(status="none"), nothing, SIZE)
    assert not is_hit(said((0.5, 0.5)), nothing, SIZE)
    assert not is_hit(said(status="unparsed"), nothing, SIZE)


def kept(tmp_path: Path) -> TrainConfig:
    config = from_dict({"mixture": [{"kind": "points", "path": str(write_points(tmp_path, 9)), "hold_out": 2}]})
    assert isinstance(config, TrainConfig)
    return config


def test_two_models_are_asked_for_what_was_kept_and_nothing_else(tmp_path: Path) -> None:
    config, asked_for = kept(tmp_path), []
    right = {row.name: row for row in (open_source(config.mixture[0], held_out=True).row(n, 0) for n in range(4))}

    class Right(OraclePointer):
        def point_batch(self, images: Any, instructions: Any) -> list[PointResult]:
            (target,) = [one.target for one in right[list(right)[len(asked_for)]].conversations]
            asked_for.append(instructions)
            return [said((target.points[0].x, target.points[0].y))]

    asked = compare(CentrePointer(), Right(lambda _: []), config)
    assert [Path(one.image).name for one in asked] == ["1.png", "3.png", "5.png", "7.png"]
    assert asked_for == [["Bright square"]] * 4
    before, after = report(asked)
    assert (before.hits, after.hits, after.n) == (sum(one.hit_before for one in asked), 4, 4)
    assert str(Hits.of([True, False])) == "1 of 2, 50 % (9 to 91)"
    assert str(Hits.of([])) == "none asked"


def test_a_run_on_own_screens_says_how_often_it_hits_before_and_after(tmp_path: Path) -> None:
    write_points(tmp_path)
    model = str(write_model(tmp_path / "model"))
    done = agent_here("train", "my-screens", "--from", model, "steps=2", "batch=2", "mixture.1.rate=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hold-out set: 1 clicks on 1 images" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(("before", "after"))]
    assert [(row[0], row[-1]) for row in rows] == [("before", "1"), ("after", "1")]
    found = json.loads((tmp_path / "runs" / "my-screens" / "held_out.json").read_text())
    assert found["model"] == model
    assert found["before"]["n"] == found["after"]["n"] == len(found["clicks"]) == 1
    (click,) = found["clicks"]
    assert Path(click["picture"]).name == "4.png"
    assert click["before"]["hit"] == bool(found["before"]["hits"])


def test_where_to_start_from_is_said_once_for_any_recipe(tmp_path: Path) -> None:
    done = agent_here("train", "pointing", "--from", "a/b", "model=nano", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected one model to start from, got --from a/b and model=; leave one out" in " ".join(done.stderr.split())
    done = agent_here("train", "nano", "--from", "nanno", cwd=tmp_path)
    assert "unknown value of model 'nanno': did you mean nano" in " ".join(done.stderr.split())


def test_the_recipe_asks_as_the_model_is_asked_and_keeps_some_clicks() -> None:
    config = load("my-screens")
    assert isinstance(config, TrainConfig)
    assert config.mixture[0].hold_out == 5
    assert config.mixture[0].options == {"wording": "none"}
    assert config.prefix == "none"
