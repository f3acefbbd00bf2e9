"""AndroidControl against the authors' numbers; collected by test_parity.py.

Every number comes from the golden folder: ids of episodes, names of shards, the notation of boxes.
"""

import base64
import hashlib
import json
import re
import shutil

import pytest

from molmo_agent.data.android_control.accessibility import read_forest, reduced_text, reference_boxes
from molmo_agent.data.android_control.episodes import (
    AndroidControl,
    action_text,
    percent_box,
    read_episodes,
    reference_app_box,
    target_pixels,
)
from molmo_agent.data.formats.tfrecord import read_records
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.evaluation.metrics.android_control import reference_score, score
from molmo_agent.model.prompts import android_answer, android_prompt

EXPECTED_KINDS = {
    "format_version",
    "shards",
    "splits_file",
    "subsplits_file",
    "episodes",
    "reference_rows",
    "steps",
    "unit",
    "step_scores",
    "gold_against_itself",
}
GZIP = b"\x1f\x8b"
UNIT_KINDS = {"action_cases", "app_box_cases", "forest_cases"}


@pytest.fixture(scope="session")
def android(golden):
    """The folder, what is expected, and all steps that can be read."""
    folder = golden / "android_control"
    if not folder.exists():
        pytest.skip("this golden folder has no android_control")
    expected = json.loads((folder / "expected.json").read_text())
    problems, seen, steps = Problems(), set(), {}
    for shard in expected["shards"]:
        for episode in read_episodes(folder / shard, problems, seen):
            steps |= {(step.episode_id, step.number): step for step in episode}
    assert problems.entries == []
    return folder, expected, steps


def box_of(text):
    """Return the box (left, top, right, bottom) of a text in any notation; None where it does not hold four numbers.

    Digits inside words, as in "np.float64(7.4)", belong to no number.
    """
    numbers = re.findall(r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", text, re.IGNORECASE)
    return tuple(map(float, numbers)) if len(numbers) == 4 else None


def test_android_control_has_no_kind_of_check_that_is_left_out(android):
    _, expected, _ = android
    assert set(expected) <= EXPECTED_KINDS
    assert set(expected["unit"]) <= UNIT_KINDS


def test_android_records_are_found_where_they_are(android):
    folder, expected, _ = android
    found = []
    for shard in expected["shards"]:
        problems = Problems()
        found += [(shard, r.index, r.offset, len(r.payload)) for r in read_records(folder / shard, problems)]
        assert problems.entries == []
    keys = ("shard", "record_index", "byte_offset", "record_bytes")
    assert found == [tuple(episode[key] for key in keys) for episode in expected["episodes"]]


def test_android_splits_have_the_authors_rows(android):
    folder, expected, _ = android
    rows = {
        "train": len(list(AndroidControl(folder, "train"))),
        "val": len(list(AndroidControl(folder, "validation"))),
        "test": len(list(AndroidControl(folder, "test", subsplit="IDD"))),
    }
    assert rows == expected["reference_rows"]


def test_android_steps_are_told_as_the_authors_tell_them(android):
    _, expected, steps = android
    assert len(steps) == len(expected["steps"])
    for wanted in expected["steps"]:
        step = steps[wanted["episode_id"], wanted["step"]]
        where = step.row
        assert list(step.size()) == wanted["image_size"], where
        image = step.image()
        assert [image.shape[1], image.shape[0]] == wanted["image_size"]
        assert hashlib.sha256(step.png).hexdigest() == wanted["image_sha256"], where
        assert (step.goal, step.instruction) == (wanted["goal"], wanted["step_instruction"])
        assert step.action == wanted["action_json"]
        assert step.target_action(reference_quirks=True) == wanted["target_action"], where
        assert [list(box) for box in reference_boxes(step.windows, *step.size())] == wanted["visible_boxes"], where
        assert reduced_text(step.windows) == wanted["reduced_a11y"], where
        assert step.target_box(reference_quirks=True) == box_of(wanted["target_box"]), where
        plain = wanted["plain"]
        pixels = target_pixels(step.action, step.windows, step.size())
        assert (pixels and list(pixels)) == plain["target_box_pixels"], where
        assert (pixels and list(percent_box(pixels, step.size()))) == plain["target_box"], where


def test_android_steps_are_asked_in_four_forms(android):
    _, expected, steps = android
    for wanted in expected["steps"]:
        step = steps[wanted["episode_id"], wanted["step"]]
        for form, texts in wanted["forms"].items():
            assert android_prompt(form, goal=step.goal, step=step.instruction) == texts["prompt"]
            answer = step.target_action(reference_quirks=True)
            assert android_answer(form, answer, step=step.instruction) == texts["target"]


def test_android_actions_become_text(android):
    _, expected, _ = android
    for case in expected["unit"].get("action_cases", []):
        action, size = case["action_json"], tuple(case["image_size"])
        if "reference_error" in case:
            with pytest.raises(ValueError, match=r"expected an action_type|needs"):
                action_text(action, size, reference_quirks=True)
        else:
            assert action_text(action, size, reference_quirks=True) == case["target_action"], action


def test_android_apps_are_found_as_the_authors_find_them(android):
    _, expected, _ = android
    for case in expected["unit"].get("app_box_cases", []):
        if "reference_error" in case:
            with pytest.raises(re.error):
                reference_app_box(case["reduced_a11y"], case["app_name"])
        else:
            found = reference_app_box(case["reduced_a11y"], case["app_name"])
            assert (list(found) if found else None) == (case["reference_box_pixels"] or None), case["app_name"]


def test_android_forests_are_read(android):
    _, expected, _ = android
    for case in expected["unit"].get("forest_cases", []):
        windows = read_forest(base64.b64decode(case["forest_base64"]))
        if "reduced_a11y_reference_error" in case:
            with pytest.raises(ValueError, match="has no package"):
                reduced_text(windows)
        else:
            assert reduced_text(windows) == case["reduced_a11y"], case["label"]
        # The authors' code fails on a forest without windows; there is nothing to see on it.
        boxes = [list(box) for box in reference_boxes(windows, *case["image_size"])]
        assert boxes == case.get("visible_boxes", []), case["label"]


def assert_reference_verdict(verdict, gold, box, answer):
    """Compare a score with the authors': a number, or the error that their code fails with."""
    if isinstance(verdict, int | float):
        assert reference_score(gold, box, answer) == verdict, (gold, box, answer)
    else:
        with pytest.raises(ValueError, match="expected a box of four decimals"):
            reference_score(gold, box, answer)


def test_android_answers_are_scored_under_every_rule(android):
    _, expected, _ = android
    for case in expected["step_scores"]:
        gold, text, answer = case["gold"], case["target_box"], case["prediction"]
        assert_reference_verdict(case["reference"], gold, text, answer)
        for rule, verdict in case["variants"].items():
            assert score(gold, box_of(text), answer, rule) == verdict, (case, rule)


def test_android_gold_answers_score_as_the_authors_score_them(android):
    _, expected, steps = android
    boxes = {(wanted["episode_id"], wanted["step"]): wanted["target_box"] for wanted in expected["steps"]}
    for name, verdict in expected["gold_against_itself"].items():
        key = tuple(map(int, name.split("/")))
        step = steps[key]
        gold = step.target_action(reference_quirks=True)
        assert_reference_verdict(verdict, gold, boxes[key], gold)
        assert score(step.target_action(), step.target_box(), step.target_action()), name


def test_android_damage_is_reported_record_by_record(android, tmp_path):
    folder, _, _ = android
    expected = json.loads((folder / "broken" / "expected_broken.json").read_text())
    for case in expected["files"]:
        path = folder / case["file"]
        problems = Problems()
        ids = []
        for steps in read_episodes(path, problems, set()):
            ids.append(steps[0].episode_id)
        readable = case["readable_before"] + case["readable_after"]
        assert ids == list(dict.fromkeys(readable)), case["file"]
        if ids and not path.read_bytes().startswith(GZIP):  # read all the same
            assert problems.entries == []
            continue
        assert problems.entries, case["file"]
        told = {problem.record for problem in problems.entries}
        if "records" in case:
            assert told == {int(index) for index in case["records"]}, case["file"]
        else:
            assert all(path.name in str(problem) for problem in problems.entries)
        if case.get("record_index") is not None:
            (problem,) = problems.entries
            assert (problem.record, problem.offset) == (case["record_index"], case["byte_offset"]), case["file"]
        for index, episode in case.get("record_ids", {}).items():
            (problem,) = (p for p in problems.entries if p.record == int(index))
            assert problem.row in (f"episode {episode}", None)


def test_android_shards_are_read_as_a_folder_with_one_summary(android, tmp_path):
    folder, _, _ = android
    expected = json.loads((folder / "broken" / "expected_broken.json").read_text())
    # The shard with the most bad records.
    case = max(expected["files"], key=lambda case: len(case.get("records", {})))
    shutil.copy(folder / case["file"], tmp_path / "android_control-00000-of-00001")
    shutil.copy(folder / "broken" / "splits.json", tmp_path / "splits.json")
    reader = AndroidControl(tmp_path)
    assert {step.episode_id for step in reader} == {*case["readable_before"], *case["readable_after"]}
    count, first = len(case["records"]), min(map(int, case["records"]))
    summary = reader.problems.summary()
    assert summary.startswith(f"{count} could not be used:\n  android_control-00000-of-00001, record {first} at byte ")
    if str(first) in case.get("record_ids", {}):
        assert f"(episode {case['record_ids'][str(first)]}): " in summary.splitlines()[1]
    if count > 5:
        assert summary.endswith(f"... and {count - 5} more")
