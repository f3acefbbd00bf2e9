"""Looking closer where a model is unsure: exact places back, the surer answer, and no click without either."""

import json
import random
import re

import numpy as np
import pytest

from molmo_agent.actions import Click, Done, Wait
from molmo_agent.cli import run as cli_run
from molmo_agent.cli.run import Request, run_request
from molmo_agent.episode import Decision, LabelledPoint, PointResult, Refusal
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.zoom import ZoomPointer, closer, look, unsure
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import ToyEnv, check_model

RED = (214, 40, 40)


class Sure:
    """Points at the middle of what is red, as sure as the red part of the picture is large."""

    name = "sure"

    def __init__(self, confidence=None, far=0.1, near=0.6):
        self.asked = []
        self._confidence, self._far, self._near = confidence, far, near

    def point(self, image, instruction, *, max_points=None):
        self.asked.append(image)
        rows, columns = np.nonzero((image == RED).all(axis=2))
        if not len(rows):
            return PointResult(status="none", reply="There are none.", latency_s=1.0)
        height, width = image.shape[:2]
        place = Point((columns.min() + columns.max() + 1) / 2 / width, (rows.min() + rows.max() + 1) / 2 / height)
        large = (columns.max() - columns.min()) / width > 0.15
        sure = self._confidence if self._confidence is not None else self._near if large else self._far
        points = (LabelledPoint(place, "it"),)
        return PointResult(status="ok", reply="<point>", points=points, latency_s=1.0, confidence=sure)

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def scene(width=640, height=480, left=500, top=20, side=64):
    image = np.full((height, width, 3), 236, np.uint8)
    image[top : top + side, left : left + side] = RED
    return image


def test_a_view_is_half_of_the_picture_inside_of_it_and_as_large_as_it():
    middle = closer(640, 480, Point(0.5, 0.5))
    assert middle.describe() == "capture 640 x 480, crop(160, 120, 480, 360), resize(640, 480)"
    assert [step.values for step in closer(640, 480, Point(0.0, 1.0)).steps] == [(0, 240, 320, 480), (640, 480)]
    assert [step.values for step in closer(641, 3, Point(1.0, 0.0)).steps] == [(321, 0, 641, 1), (641, 3)]
    assert [step.values for step in closer(1, 1, Point(0.3, 0.3)).steps] == [(0, 0, 1, 1), (1, 1)]


def test_points_of_a_view_lead_back_exactly():
    view = closer(640, 480, Point(0.999, 0.999))
    assert view.to_whole(Point(0.5, 0.5)) == Point(0.75, 0.75)
    assert view.to_whole(Point(0.0, 1.0)) == Point(0.5, 1.0)
    rng = random.Random(0)
    for _ in range(300):
        width, height = rng.randint(2, 3000), rng.randint(2, 2000)
        view = closer(width, height, Point(rng.random(), rng.random()))
        left, top, right, bottom = view.steps[0].values
        point = Point(rng.random(), rng.random())
        there = view.to_whole(point)
        assert there.x * width == pytest.approx(left + point.x * (right - left), abs=1e-9)
        assert there.y * height == pytest.approx(top + point.y * (bottom - top), abs=1e-9)
        assert view.from_capture(there.x * width, there.y * height).distance(point) < 1e-9


def test_a_view_shows_what_its_transform_says():
    image = scene()
    view = closer(640, 480, Point(0.8, 0.1))
    picture = look(image, view)
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    left, top, *_ = view.steps[0].values
    # The rim is blended; half of the way from one colour to the other is the edge.
    rows, columns = np.nonzero(picture[:, :, 1] < (RED[1] + 236) / 2)
    assert (columns.min(), columns.max() + 1) == (2 * (500 - left), 2 * (564 - left))
    assert (rows.min(), rows.max() + 1) == (2 * (20 - top), 2 * (84 - top))


def test_the_surer_answer_counts_and_its_place_is_on_the_whole_picture():
    model = Sure()
    result = ZoomPointer(model, 0.5).point(scene(), "the square")
    assert len(model.asked) == 2
    assert result.confidence == 0.6
    assert result.latency_s == 2.0
    assert result.points[0].label == "it"
    assert result.points[0].point.to_pixels(640, 480) == (532, 52)
    assert "looked closer, capture 640 x 480, crop(320, 0, 640, 240), resize(640, 480): <point>" in result.reply


@pytest.mark.parametrize(("confidence", "looks"), [(0.7, 1), (0.5, 1), (0.49, 2), (0.0, 2)])
def test_only_answers_below_the_threshold_are_looked_at_again(confidence, looks):
    model = Sure(confidence)
    ZoomPointer(model, 0.5).point(scene(), "the square")
    assert len(model.asked) == looks


def test_a_second_look_that_is_no_surer_changes_nothing_but_the_record():
    first = Sure(0.3).point(scene(), "it")
    result = ZoomPointer(Sure(0.3), 0.5).point(scene(), "it")
    assert (result.points, result.confidence) == (first.points, 0.3)
    assert "looked closer" in result.reply


def test_a_second_look_that_finds_nothing_keeps_the_first_answer():
    class Once(Sure):
        def point(self, image, instruction, *, max_points=None):
            result = super().point(image, instruction)
            return result if len(self.asked) == 1 else PointResult(status="none", reply="There are none.")

    result = ZoomPointer(Once(), 0.5).point(scene(), "it")
    assert result.status == "ok"
    assert result.confidence == 0.1


def test_a_model_without_confidence_or_without_one_place_is_left_alone():
    class Quiet(Sure):
        def point(self, image, instruction, *, max_points=None):
            self.asked.append(image)
            points = tuple(LabelledPoint(Point(x, 0.5)) for x in ((0.1, 0.9) if "all" in instruction else (0.5,)))
            confidence = 0.01 if "all" in instruction else None
            return PointResult(status="ok", reply="", points=points, confidence=confidence)

    model = Quiet()
    for text in ("all squares", "it"):
        assert ZoomPointer(model, 1.0).point(scene(), text) == Quiet().point(scene(), text)
    assert len(model.asked) == 2
    assert not unsure(PointResult(status="none", reply=""), 1.0)


def test_a_zooming_model_keeps_the_contract_of_models_alone_and_in_batches():
    check_model(ZoomPointer(Sure(far=0.1, near=0.2), 0.9))
    model = Sure()
    pictures = [scene(), scene(left=100, side=300), scene(side=0)]
    results = ZoomPointer(model, 0.5).point_batch(pictures, ["a", "b", "c"])
    assert [result.status for result in results] == ["ok", "ok", "none"]
    assert [result.confidence for result in results] == [0.6, 0.6, None]
    assert len(model.asked) == 4


def test_a_threshold_outside_of_what_a_confidence_can_be_is_refused():
    with pytest.raises(ValueError, match=r"expected a confidence in \[0, 1\], got 1.5"):
        ZoomPointer(Sure(), 1.5)
    with pytest.raises(UsageError, match=r"min_confidence must be in \[0, 1\], got -0.1"):
        Guards(min_confidence=-0.1)


# --- What is done with a doubtful point ---------------------------------------------------------------------------


def decision(confidence, action=None):
    points = (LabelledPoint(Point(0.5, 0.5)),)
    result = PointResult(status="ok", reply="", points=points, confidence=confidence)
    return Decision(action=action or Click(Point(0.5, 0.5)), instruction="click it", result=result)


@pytest.fixture
def observation():
    return ToyEnv().reset(seed=0)[0]


def test_a_doubtful_point_is_refused_where_nobody_can_be_asked(observation):
    guards = Guards(min_confidence=0.3)
    said = guards.refusal(decision(0.12), observation)
    assert said == Refusal("unsure", "the model's confidence is 12%, below the required 30% (min_confidence)")
    for passes in (decision(0.3), decision(None), decision(0.1, Wait(0.0)), decision(0.1, Done())):
        assert guards.refusal(passes, observation) is None
    assert Guards().refusal(decision(0.0), observation) is None


def test_a_doubtful_point_is_asked_about_though_nothing_else_is(observation):
    asked = []

    def ask(given, seen, why):
        asked.append(why)
        return len(asked) == 1

    guards = Guards(min_confidence=0.3, ask=ask)
    assert guards.refusal(decision(0.9), observation) is None
    assert asked == []
    assert guards.refusal(decision(0.12), observation) is None
    assert asked == ["the model's confidence is 12%, below the required 30%"]
    assert guards.refusal(decision(0.12), observation).text.startswith("the model's confidence is 12%")
    assert guards.refusal(decision(0.12), observation).text.endswith("and the user said no")


def test_one_question_is_asked_about_a_point_that_is_both_doubtful_and_risky(observation):
    asked = []
    guards = Guards(min_confidence=0.3, confirm="always", ask=lambda *given: asked.append(given[2]) or True)
    result = decision(0.12).result
    risky = Decision(action=Click(Point(0.5, 0.5)), instruction="delete it", result=result)
    assert guards.refusal(risky, observation) is None
    assert asked == ["the model's confidence is 12%, below the required 30%; 'delete' may not be undone"]


def test_a_run_stops_at_a_doubtful_point_and_does_not_fish_with_other_words():
    env, model = ToyEnv(), Sure(0.1)
    going = rollout(PointingPolicy(model), env, seed=0, guards=Guards(min_confidence=0.3), settle=AT_ONCE)
    steps = list(going)
    assert env.actions == []
    assert [type(step.action) for step in steps] == [Click, Done]
    assert "could not 'click the red square'" in going.trajectory.ended
    assert "the model's confidence is 10%, below the required 30%" in going.trajectory.ended
    assert len(model.asked) == 1


def test_a_drag_is_as_sure_as_its_less_sure_end():
    class Ends(Sure):
        def point(self, image, instruction, *, max_points=None):
            near = instruction == "a"
            points = (LabelledPoint(Point(0.2 if near else 0.8, 0.5)),)
            return PointResult(status="ok", reply="", points=points, confidence=0.9 if near else 0.2)

    env = ToyEnv()
    going = rollout(PointingPolicy(Ends()), env, "drag a to b", guards=Guards(min_confidence=0.3), settle=AT_ONCE)
    assert next(going).refused.kind == "unsure"
    assert env.actions == []


# --- agent run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run on the toy env with a model; return the exit code, what was sent and the lines."""

    def go(model, capsys, **options):
        env = ToyEnv()
        monkeypatch.setattr(cli_run, "load_env", lambda name, **given: env)
        monkeypatch.setattr(cli_run, "load_model", lambda name, env: model)
        given = {"env": "toy", "model": "sure", "out": tmp_path / "run", **options}
        code = run_request(Request(**given))
        return code, env.actions, capsys.readouterr().out

    return go


def test_agent_run_clicks_after_a_closer_look(run, capsys):
    model = Sure()
    model.traits = ModelTraits(min_confidence=0.5)
    code, sent, out = run(model, capsys, as_json=True)
    assert code == 0
    assert len(sent) == 1
    assert json.loads(out.splitlines()[0])["confidence"] == 0.6


def test_agent_run_stops_below_the_checkpoints_threshold_and_says_why(run, capsys):
    model = Sure(0.1)
    model.traits = ModelTraits(min_confidence=0.3)
    code, sent, out = run(model, capsys)
    assert code == 1
    assert sent == []
    assert "the model's confidence is 10%, below the required 30%" in re.sub(r"\s+", " ", out)


@pytest.mark.parametrize(("least", "clicks"), [(0.0, 1), (0.05, 1), (0.9, 0)])
def test_what_is_said_on_the_command_line_counts_before_the_checkpoint(run, capsys, least, clicks):
    model = Sure(0.2)
    model.traits = ModelTraits(min_confidence=0.5)
    _, sent, _ = run(model, capsys, min_confidence=least)
    assert len(sent) == clicks


def test_agent_run_asks_a_person_at_a_terminal(run, capsys, monkeypatch):
    class Terminal:
        def isatty(self):
            return True

        def readline(self, *_):
            return "y\n"

    monkeypatch.setattr("sys.stdin", Terminal())
    asked = []
    monkeypatch.setattr(cli_run, "Asker", lambda console: lambda *given: asked.append(given[2]) or True)
    model = Sure(0.1)
    code, sent, _ = run(model, capsys, min_confidence=0.3)
    assert (code, len(sent)) == (0, 1)
    assert asked == ["the model's confidence is 10%, below the required 30%"]


def test_agent_run_asks_nobody_who_wants_no_questions(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    code, sent, _ = run(Sure(0.1), capsys, min_confidence=0.3, confirm="never")
    assert (code, sent) == (1, [])


def test_a_model_that_tells_no_confidence_runs_as_before(run, capsys):
    class Silent(Sure):
        def point(self, image, instruction, *, max_points=None):
            result = super().point(image, instruction)
            return PointResult(status=result.status, reply=result.reply, points=result.points)

    model = Silent()
    code, sent, _ = run(model, capsys, min_confidence=0.9)
    assert (code, len(sent), len(model.asked)) == (0, 1, 1)
