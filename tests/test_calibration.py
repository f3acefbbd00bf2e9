"""Confidences that can be believed: figures known by hand, fits that are found again, profiles that are applied."""

import json
import math
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation.metrics.calibration import calibration_error, fit, reliability
from molmo_agent.evaluation.nano_suite.sets import CALIBRATION, EVALUATION, calibration_sets, screen_of
from molmo_agent.evaluation.reliability import draw_reliability, figures_of
from molmo_agent.geometry import Point
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.calibrate import calibrate, main, measure, write_profile
from molmo_agent.pointers.calibration import Calibration, log_odds, probability_of
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.profile import PROFILE_FILE, PointingProfile


def test_bins_hold_what_belongs_to_them():
    found = reliability([0.0, 0.1, 0.100001, 0.95, 1.0], [False, True, True, True, False])
    assert [(one.low, one.high, one.n, one.hits) for one in found] == [
        (0.0, 0.1, 2, 1),
        (0.1, 0.2, 1, 1),
        (0.9, 1, 2, 1),
    ]
    assert found[0].confidence == pytest.approx(0.05)
    with pytest.raises(ValueError, match="expected a verdict per confidence, got 1 and 2"):
        reliability([0.5], [True, False])


def test_the_error_is_the_mean_distance_of_confidence_and_share_of_hits():
    # Three of four right at 0.75: nothing to complain about. At 0.25 all are right: 0.75 off, for half of the answers.
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0)
    assert calibration_error([0.75] * 4 + [0.25] * 4, [True, True, True, False] + [True] * 4) == pytest.approx(0.375)
    assert calibration_error([1.0, 1.0], [False, False]) == 1.0
    with pytest.raises(ValueError, match="expected at least one confidence, got none"):
        calibration_error([], [])


def test_a_fit_finds_the_line_that_the_hits_were_drawn_from():
    rng = random.Random(0)
    own = [rng.random() for _ in range(6000)]
    truth = Calibration(slope=0.6, offset=1.2)
    hits = [rng.random() < truth.apply(one) for one in own]
    found = fit(own, hits)
    assert found.slope == pytest.approx(0.6, abs=0.06)
    assert found.offset == pytest.approx(1.2, abs=0.08)
    before, after = calibration_error(own, hits), calibration_error([found.apply(one) for one in own], hits)
    assert before > 0.15
    assert after < 0.03


def test_a_fit_of_separable_answers_stays_finite_and_of_upside_down_ones_flat():
    sharp = fit([0.1] * 50 + [0.9] * 50, [False] * 50 + [True] * 50)
    assert math.isfinite(sharp.slope)
    assert sharp.apply(0.9) > 0.95 > 0.05 > sharp.apply(0.1)
    wrong = fit([0.1] * 50 + [0.9] * 50, [True] * 50 + [False] * 50)
    assert wrong.apply(0.1) == pytest.approx(wrong.apply(0.9), abs=0.01)


@pytest.mark.parametrize("hits", [[True, True], [False, False], [True]])
def test_nothing_is_fitted_to_hits_alone(hits):
    with pytest.raises(ValueError, match="expected hits and misses, one per confidence"):
        fit([0.2, 0.7], hits)


def test_a_calibration_can_be_undone_and_stays_a_probability():
    line = Calibration(slope=0.7, offset=2.0)
    for own in (0.001, 0.2, 0.5, 0.99):
        assert line.undo(line.apply(own)) == pytest.approx(own, abs=1e-9)
    assert 0 < line.apply(0.0) < line.apply(1.0) < 1
    assert Calibration().apply(0.3) == pytest.approx(0.3)
    assert probability_of(-800) == 0.0
    assert probability_of(log_odds(0.25)) == pytest.approx(0.25)


@pytest.mark.parametrize("data", [{"slope": 0.0}, {"slope": -1}, {"offset": math.nan}, {"slope": "1"}])
def test_a_senseless_calibration_is_refused(data):
    with pytest.raises(ValueError, match="expected a slope above 0 and an offset"):
        Calibration.from_dict(data)


# --- In a checkpoint ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return the folder of a model that points somewhere."""
    folder = tmp_path_factory.mktemp("checkpoint")
    processor = nano_processor()
    model = new_nano(processor, seed=0)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.lm_head.weight)
    profile = PointingProfile(question="{}", constrained=True)
    MolmoPointer(model, processor, profile, name="random").save_pretrained(folder)
    return folder


@pytest.fixture
def copied(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "model")
    return tmp_path / "model"


def picture():
    return np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)


def test_the_pointer_applies_what_its_profile_says(copied):
    plain = MolmoPointer.from_pretrained(copied)
    assert plain.profile.calibration is None
    assert plain.traits.min_confidence is None
    question = next(text for text in map(str, range(20)) if plain.point(picture(), text).status == "ok")
    own = plain.point(picture(), question).confidence
    line = Calibration(slope=0.5, offset=1.25)
    write_profile(copied, line, 0.3)
    fitted = MolmoPointer.from_pretrained(copied)
    assert fitted.point(picture(), question).confidence == pytest.approx(line.apply(own))
    assert fitted.traits.min_confidence == 0.3
    assert fitted.profile.constrained
    assert MolmoPointer.from_pretrained(copied, calibration=None).point(picture(), question).confidence == own


def test_a_saved_pointer_keeps_its_calibration(copied, tmp_path):
    write_profile(copied, Calibration(slope=0.5, offset=1.25), 0.3)
    MolmoPointer.from_pretrained(copied).save_pretrained(tmp_path / "again")
    again = MolmoPointer.from_pretrained(tmp_path / "again")
    assert (again.profile.calibration, again.profile.min_confidence) == (Calibration(slope=0.5, offset=1.25), 0.3)


def test_a_new_calibration_leaves_the_rest_of_a_profile_alone(copied):
    before = json.loads((copied / PROFILE_FILE).read_text())
    write_profile(copied, Calibration(slope=0.5, offset=1.0), 0.3)
    write_profile(copied, Calibration(slope=2.0, offset=0.0))
    after = json.loads((copied / PROFILE_FILE).read_text())
    assert after.pop("calibration") == {"slope": 2.0, "offset": 0.0}
    assert after.pop("min_confidence") == 0.3
    assert after.items() <= before.items()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"calibration": {"slope": -1}}',
        '{"calibration": {"sloppe": 1}}',
        "[1]",
        '{"window": [640]}',
        '{"window": 9}',
    ],
)
def test_a_damaged_profile_is_told(copied, text):
    (copied / PROFILE_FILE).write_text(text)
    with pytest.raises(ModelError, match="to hold the options of a pointing model as JSON"):
        MolmoPointer.from_pretrained(copied)


# --- The command --------------------------------------------------------------------------------------------------


class Modest:
    """Hits with a chance that is known and says half of it; points at the truth or at the corner."""

    name = "modest"

    def __init__(self, seed=0):
        self._rng = random.Random(seed)
        self.truth = {}

    def point(self, image, instruction, *, max_points=None):
        chance = self._rng.random()
        boxes = self.truth[instruction]
        hit = self._rng.random() < chance
        elsewhere = Point(0.0 if boxes[0].left > 0 else 1.0, 0.5)
        points = tuple(LabelledPoint(box.center if hit else elsewhere) for box in boxes)
        return PointResult(status="ok", reply="", points=points, confidence=chance / 2)

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


@pytest.fixture
def modest(monkeypatch):
    """Return a model that is told the truth of every screen before it is asked."""
    from molmo_agent.evaluation.nano_suite import run as nano_suite

    model, cases_of = Modest(), nano_suite.cases_of

    def telling(chosen, seeds):
        for shown, cases in cases_of(chosen, seeds):
            model.truth = {case.question: case.boxes for case in cases}
            yield shown, cases

    monkeypatch.setattr(nano_suite, "cases_of", telling)
    return model


@pytest.mark.slow
def test_a_fit_on_some_screens_holds_on_others(modest, tmp_path):
    found = calibrate(modest, 42)
    assert found.num_fit > 150
    assert found.num_held_out > 150
    assert found.ece_before > 0.15
    assert found.ece_after < 0.11
    with Image.open(draw_reliability(found.series, tmp_path / "plot.png")) as plot:
        assert plot.size == (776, 388)


def test_the_screens_of_the_fit_are_others_than_those_of_the_evaluation():
    for chosen in calibration_sets(20):
        fitted, judged = (screen_of(chosen, 0, seeds).image for seeds in (CALIBRATION, EVALUATION))
        assert not np.array_equal(fitted, judged)
        assert np.array_equal(judged, screen_of(chosen, 0).image)


def test_a_model_without_confidence_cannot_be_calibrated():
    class Silent(Modest):
        def point(self, image, instruction, *, max_points=None):
            return PointResult(status="none", reply="There are none.")

    with pytest.raises(UsageError, match="'modest' reports no confidence; there is nothing to calibrate"):
        measure(Silent(), calibration_sets(10)[:1], CALIBRATION)


def test_a_model_that_never_hits_cannot_be_calibrated():
    class Blind(Modest):
        def point(self, image, instruction, *, max_points=None):
            # Several points for one thing are no hit, wherever they are.
            points = (LabelledPoint(Point(0.0, 1.0)), LabelledPoint(Point(1.0, 1.0)))
            return PointResult(status="ok", reply="", points=points, confidence=0.5)

    with pytest.raises(UsageError, match="cannot be calibrated: expected hits and misses"):
        calibrate(Blind(), 10)


def test_the_command_refuses_a_threshold_that_is_none():
    with pytest.raises(UsageError, match=r"--min-confidence must be in \[0, 1\], got 3"):
        main(["--min-confidence", "3"])


def test_the_command_writes_the_profile_unless_told_not_to(copied, tmp_path, monkeypatch, capsys):
    from molmo_agent.nano import calibrate as module

    found = module.CalibrationFit(
        calibration=Calibration(slope=0.8, offset=1.5), num_fit=10, num_held_out=9, ece_before=0.25, ece_after=0.04,
        series={"one": figures_of([0.55], [True])},
    )  # fmt: skip
    monkeypatch.setattr(module, "calibrate", lambda model, screens: found)
    # A folder that is not there: the figures and the profile do not need the picture.
    plot = ["--plot", str(tmp_path / "none" / "x.png")]
    main(["--model", str(copied), *plot, "--dry-run"])
    assert json.loads((copied / PROFILE_FILE).read_text())["calibration"] is None
    main(["--model", str(copied), *plot, "--min-confidence", "0.2"])
    profile = json.loads((copied / PROFILE_FILE).read_text())
    assert (profile["calibration"], profile["min_confidence"]) == ({"slope": 0.8, "offset": 1.5}, 0.2)
    told, err = capsys.readouterr()
    assert "agent: cannot write the plot of the confidences: No such file or directory" in " ".join(err.split())
    assert "slope 0.8000, offset 1.5000, fitted on 10 answers" in told
    assert "error on 9 others: 0.250 before, 0.040 after" in told


def test_a_picture_of_a_single_bin_can_be_drawn(tmp_path):
    out = draw_reliability({"one": figures_of([0.55], [True])}, tmp_path / "one.png")
    with Image.open(out) as plot:
        shown = np.asarray(plot)
    assert shown.shape == (388, 388, 3)
    # The bar reaches the top, and the dot sits on it.
    assert (shown == (230, 0, 92)).all(axis=2).any()
    assert tuple(shown[200, 58 + 165]) != (255, 255, 255)
