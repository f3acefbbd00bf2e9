"""Step benchmarks are read from the files that their authors publish: units, axis orders, directions, damage."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import steps_data
from made_data import parquet, write
from steps_data import aitw_step, aitz_step, candidate, example, odyssey_step, page_row, tfrecord

from molmo_agent.data.android_control.step_lists import StepList
from molmo_agent.data.question import Question
from molmo_agent.data.readers.steps.mind2web import block_of
from molmo_agent.data.readers.steps.step import Step, gesture, view_direction
from molmo_agent.data.unusable_rows import NothingUsableError
from molmo_agent.errors import ImageError, UnknownNameError, UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.run import open_questions

ANDROID = Path(__file__).parent / "golden" / "android_control"


def opened(name: str, folder: Path, **options: str) -> Any:
    _, benchmark = find(name)
    return open_questions(name, benchmark, folder, {**benchmark.options, **options})


def questions(name: str, folder: Path, **options: str) -> list[Question]:
    return list(opened(name, folder, **options).questions())


def step(question: Question) -> Step:
    read: Step = question.extra["step"]
    return read


# --- AITW -------------------------------------------------------------------------------------------------------------


def test_aitw_gives_y_before_x_and_height_before_width(tmp_path: Path) -> None:
    first = step(questions("aitw", steps_data.aitw(tmp_path))[0])
    assert first.act.place == pytest.approx((0.25, 0.52))
    assert first.boxes == (pytest.approx((0.2, 0.5, 0.6, 0.55)),)


def test_aitw_has_the_steps_of_the_split_with_the_actions_before_them(tmp_path: Path) -> None:
    asked = questions("aitw", steps_data.aitw(tmp_path))
    assert [one.answers[0] for one in asked] == steps_data.AITW_GOLD
    assert [one.id for one in asked] == ["general/a/0", "general/a/1", "general/a/2", "general/a/3"] + [
        f"install/c/{number}" for number in (0, 1)
    ]
    assert "Previous actions" not in asked[0].text
    assert "- Click(25.0, 52.0)\n- Scroll down\n" in asked[2].text
    assert "Previous actions" not in asked[4].text, "another episode begins"
    assert [one.id for one in questions("aitw", tmp_path, split="train")] == ["general/b/0"]


def test_sets_of_aitw_that_are_not_there_are_named(tmp_path: Path) -> None:
    asked = opened("aitw", steps_data.aitw(tmp_path))
    assert len(list(asked.questions())) == 6
    assert [problem.file for problem in asked.problems.entries] == ["google_apps", "single", "web_shopping"]


def test_the_screenshots_of_aitw_are_plain_bytes_of_the_size_that_is_given(tmp_path: Path) -> None:
    image = questions("aitw", steps_data.aitw(tmp_path))[1].image
    assert image is not None
    assert image().shape == (160, 80, 3)
    assert (image() == 40).all()
    short = example(aitw_step("a", 0, 1, 5, **{"image/encoded": b"123"}))
    tfrecord(tmp_path / "general" / "general-00000-of-00001", [short])
    broken = questions("aitw", tmp_path)[0].image
    assert broken is not None
    with pytest.raises(ImageError, match="expected image/encoded to have 160 x 80 x 3 bytes in three channels, got 3"):
        broken()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"results/action_type": 2}, "expected an action type of 3, 4 or"),
        (
            {"results/yx_touch": [540.0, 300.0], "results/action_type": 4},
            "as fractions of the screen, got x=300, y=540",
        ),
        ({"results/yx_touch": [0.5]}, "expected 2 numbers as results/yx_touch"),
        ({"image/ui_annotations_positions": [0.1, 0.1, 0.2]}, "expected boxes of four numbers"),
        ({"image/ui_annotations_positions": [0.1, 0.1, -0.2, 0.1]}, "got a size below zero"),
        ({"goal_info": ""}, "expected the task as text"),
    ],
)
def test_a_step_of_aitw_that_cannot_be_used_is_reported_and_the_next_one_is_asked(
    tmp_path: Path, features: dict[str, Any], message: str
) -> None:
    steps_data.aitw(tmp_path)
    rows = [aitw_step("a", 0, 2, 5, **features), aitw_step("a", 1, 2, 6)]
    tfrecord(tmp_path / "general" / "general-00000-of-00001", [example(row) for row in rows])
    asked = opened("aitw", tmp_path)
    assert next(question.id for question in list(asked.questions())) == "general/a/1"
    assert message in str(asked.problems.entries[-1]), asked.problems.summary()


def test_seeclicks_selection_gives_x_before_y_and_names_its_scrolls(tmp_path: Path) -> None:
    asked = questions("aitw", steps_data.aitw_seeclick(tmp_path), form="seeclick")
    assert [one.answers[0] for one in asked] == ["Click(25.0, 52.0)", "Scroll left", "Type Rome", "Press Enter"]
    assert step(asked[0]).boxes == (pytest.approx((0.2, 0.5, 0.6, 0.55)),)
    assert step(asked[3]).facets == {"set": ("google_apps",)}
    assert asked[0].image is not None
    assert asked[0].image().shape == (160, 80, 3)
    assert asked[3].image is not None
    with pytest.raises(UsageError, match="has no subsplits"):
        opened("aitw", tmp_path, form="seeclick", subsplit="unseen_verb")


@pytest.mark.parametrize(
    ("touch", "lift", "words"),
    [
        ((0.5, 0.5), (0.5, 0.54), "Click(50.0, 50.0)"),
        ((0.5, 0.5), (0.5, 0.5401), "Scroll up"),
        ((0.5, 0.5), (0.5, 0.4), "Scroll down"),
        ((0.5, 0.5), (0.9, 0.2), "Scroll left"),
        ((0.5, 0.5), (0.1, 0.5), "Scroll right"),
        ((0.1, 0.1), (0.4, 0.4), "Scroll up"),
    ],
)
def test_a_short_gesture_is_a_tap_and_a_long_one_moves_the_view_against_the_finger(
    touch: tuple[float, float], lift: tuple[float, float], words: str
) -> None:
    assert gesture(touch, lift).words() == words


# --- AITZ -------------------------------------------------------------------------------------------------------------


def test_aitz_reads_texts_of_lists_and_boxes_in_pixels(tmp_path: Path) -> None:
    asked = questions("aitz", steps_data.aitz(tmp_path))
    assert [one.answers[0] for one in asked] == steps_data.AITZ_GOLD
    first = step(asked[0])
    assert (first.frame, first.boxes[0]) == ("pixels", (20, 80, 40, 90))
    assert first.in_fractions((80, 160)).boxes[0] == (0.25, 0.5, 0.5, 0.5625)
    assert (first.episode, first.length, first.facets) == ("general/7", 5, {"subset": ("general",)})


def test_a_gesture_of_aitz_is_vertical_from_nine_tenths_of_its_width_on() -> None:
    nearly = (0.2, 0.0), (0.8, 0.56)
    assert view_direction(*nearly, vertical_share=0.9) == "up"
    assert view_direction(*nearly) == "left"
    assert view_direction((0.2, 0.0), (0.8, 0.53), vertical_share=0.9) == "left"


def test_damaged_episodes_and_steps_of_aitz_are_named_and_the_others_read(tmp_path: Path) -> None:
    steps_data.aitz(tmp_path)
    rows = [
        aitz_step(0, 2, 4),
        aitz_step(0, 2, 5, episode_length="two"),
        aitz_step(1, 2, 6, ui_positions="[[1, 2, 3]]"),
        aitz_step(2, 2, 6),
        aitz_step(2, 2, 6),
    ]
    write(tmp_path / "test" / "install" / "INSTALL-8" / "INSTALL-8.json", rows)
    write(tmp_path / "test" / "install" / "INSTALL-9" / "INSTALL-9.json", b"[{")
    asked = opened("aitz", tmp_path)
    assert [one.id for one in asked.questions()][5:] == ["install/7/2", "install/7/2 #2"]
    reasons = [str(problem) for problem in asked.problems.entries]
    assert "INSTALL-9.json" in reasons[0]
    assert "other units" in reasons[1], "a tap has no touch of -1"
    assert "as whole numbers, got 0 and 'two'" in reasons[2]
    assert "a row of ui_positions" in reasons[3]


# --- GUI-Odyssey ------------------------------------------------------------------------------------------------------


def test_gui_odyssey_has_a_grid_of_1000_keys_and_scrolls_of_fingers(tmp_path: Path) -> None:
    asked = questions("gui_odyssey", steps_data.gui_odyssey(tmp_path))
    assert [one.answers[0] for one in asked] == steps_data.ODYSSEY_GOLD
    assert step(asked[0]).targets == ((0.1, 0.2, 0.9, 0.3),)
    assert step(asked[4]).targets == ()
    assert "Task: set {an} alarm\n" in asked[0].text
    assert asked[0].image is not None
    assert asked[0].image().shape == (160, 80, 3)


def test_the_low_form_of_gui_odyssey_asks_for_the_instruction_of_the_step(tmp_path: Path) -> None:
    asked = opened("gui_odyssey", steps_data.gui_odyssey(tmp_path), form="low")
    (only,) = asked.questions()
    assert "Task: Tap the bar\n" in only.text
    assert "'low_level_instruction' is missing" in asked.problems.summary()
    (molmo,) = opened("gui_odyssey", tmp_path, form="low", prompt="molmo").questions()
    assert molmo.text == "high_level: Tap the bar"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (odyssey_step(0, "CLICK", [[1080, 200]]), "expected places of 0 to 1000 as 'info'"),
        (odyssey_step(0, "CLICK", "KEY_POWER"), "expected 1 \\[x, y\\] as 'info'"),
        (odyssey_step(0, "SCROLL", [[1, 2]]), "expected 2 \\[x, y\\] as 'info'"),
        (odyssey_step(0, "TYPE", [[1, 2]]), "expected the typed text as 'info'"),
        (odyssey_step(0, "FLY", ""), "expected an action of CLICK, SCROLL, TYPE"),
        (odyssey_step(0, "CLICK", [[1, 2]], sam2_bbox=[9, 9, 1, 1]), "got swapped edges"),
    ],
)
def test_a_step_of_gui_odyssey_that_cannot_be_used_says_why(tmp_path: Path, broken: Any, message: str) -> None:
    steps_data.gui_odyssey(tmp_path)
    episode = json.loads((tmp_path / "annotations" / "1.json").read_text())
    write(tmp_path / "annotations" / "1.json", episode | {"steps": [broken]})
    with pytest.raises(NothingUsableError, match=message):
        opened("gui_odyssey", tmp_path)


# --- Multimodal-Mind2Web ----------------------------------------------------------------------------------------------


def test_mind2web_shows_the_block_with_the_target_and_moves_its_boxes(tmp_path: Path) -> None:
    asked = questions("mind2web", steps_data.mind2web(tmp_path))
    # The first block that holds one of the two elements starts at 800.
    assert step(asked[0]).targets == ((640, 500, 704, 600), (0, 900, 128, 1000))
    assert asked[0].image is not None
    assert asked[0].image().shape == (1000, 1280, 3)
    assert "- [link] Hats -> CLICK\n" in asked[1].text
    assert "Search" not in asked[1].text, "what is to be done is not told"
    whole = questions("mind2web", tmp_path, form="page")
    assert step(whole[0]).targets[0] == (640, 1300, 704, 1400)
    assert whole[0].image is not None
    assert whole[0].image().shape == (2000, 1300, 3)


@pytest.mark.parametrize(
    ("boxes", "place", "first"),
    [
        ([(0, 0, 10, 10)], (0, 0), (0, 0, 10, 10)),
        ([(0, 990, 10, 1000)], (0, 0), (0, 990, 10, 1000)),
        ([(0, 990, 10, 1001)], (0, 800), (0, 190, 10, 201)),
        ([(0, 5000, 10, 5001), (5, 900, 9, 950)], (0, 0), (5, 900, 9, 950)),
        # Wider than the block's place, and taller than a block.
        ([(1200, 100, 1300, 200)], (21, 0), (1179, 100, 1279, 200)),
        ([(0, 3000, 10, 4600)], (0, 3300), (0, -300, 10, 1300)),
        ([], (0, 0), None),
    ],
)
def test_the_block_is_the_first_that_holds_an_element_as_a_whole(boxes: Any, place: Any, first: Any) -> None:
    corner, moved = block_of(boxes)
    assert corner == place
    assert (moved[0] if moved else None) == first


def test_a_page_without_screenshot_is_not_asked_and_one_that_is_cut_off_says_so(tmp_path: Path) -> None:
    asked = questions("mind2web", steps_data.mind2web(tmp_path))
    assert asked[2].image is not None
    with pytest.raises(FileNotFoundError, match="the column 'screenshot' is empty"):
        asked[2].image()
    row = page_row(0, "CLICK", "", [candidate(0, 9000, 10, 10)])
    parquet(tmp_path / "data" / "test_task-00000-of-00001.parquet", [row])
    beyond = questions("mind2web", tmp_path)[0].image
    assert beyond is not None
    with pytest.raises(ImageError, match="its target lies beyond it"):
        beyond()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (page_row(0, "FLY", "", []), "expected an operation of CLICK, TYPE, SELECT"),
        (page_row(0, "CLICK", "", ['{"attributes": "{}"}']), "expected bounding_box_rect as 'x,y,width,height'"),
        (page_row(0, "CLICK", "", [candidate(1, 2, -3, 4)]), "got a size below zero"),
        (page_row(0, "CLICK", "", [], target_action_index="two"), "invalid literal"),
        (page_row(0, "CLICK", "", [], operation="[]"), "expected operation to be an object"),
        (page_row(0, "TYPE", ["a"], []), "expected a text to type or to select, got"),
    ],
)
def test_a_row_of_mind2web_that_cannot_be_used_says_why(tmp_path: Path, row: Any, message: str) -> None:
    parquet(tmp_path / "data" / "test_task-00000-of-00001.parquet", [row])
    with pytest.raises(NothingUsableError, match=message):
        opened("mind2web", tmp_path)


def test_seeclicks_pages_have_one_element_each_and_hovering_is_a_click(tmp_path: Path) -> None:
    asked = opened("mind2web", steps_data.mind2web_seeclick(tmp_path), form="seeclick")
    one, other = asked.questions()
    assert (step(one).act.kind, step(one).targets) == ("click", ((40, 80, 60, 120),))
    assert (step(other).number, step(other).length, step(other).act.text) == (2, 3, "58 cm")
    assert "the action has no element" in asked.problems.summary()


# --- AndroidControl ---------------------------------------------------------------------------------------------------


def test_steps_of_android_control_know_their_episode_and_all_their_sub_splits() -> None:
    asked = questions("android_control", ANDROID)
    sub_splits = json.loads((ANDROID / "test_subsplits.json").read_text())
    for question in asked:
        number = int(step(question).episode.removeprefix("episode "))
        names = tuple(name for name in sub_splits if number in sub_splits[name])
        assert step(question).facets["subsplit"] == names
    assert len({step(question).facets["subsplit"] for question in asked}) > 1


def test_a_list_of_steps_selects_them_and_says_what_it_lacks(tmp_path: Path) -> None:
    every = questions("android_control", ANDROID)
    chosen = [step(question) for question in every[:2]]
    lines = [f"{one.episode.replace('episode ', 'episode_')}_screenshot_{one.number}" for one in chosen]
    write(tmp_path / "mine.txt", "\n".join([*lines, "episode_1_screenshot_99", ""]).encode())
    asked = opened("android_control", ANDROID, steps=str(tmp_path / "mine.txt"))
    assert [question.id for question in asked.questions()] == [question.id for question in every[:2]]
    assert "1 of its 3 steps are not among the usable ones of the split" in asked.problems.summary()


def test_the_published_list_is_expected_beside_the_shards_with_all_of_its_steps(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"expected the list of steps at .*ac_idx.txt, found none: fetch ac_idx.txt of"
    ):
        StepList(tmp_path, "os-atlas")
    with pytest.raises(UsageError, match="or name a list: all, os-atlas"):
        StepList(tmp_path, "os-atlsa")
    write(tmp_path / "ac_idx.txt", b"episode_1_screenshot_2\nepisode_1_screenshot_3.png\n")
    listed = StepList(tmp_path, "os-atlas")
    assert [listed.has(1, number) for number in (1, 2, 3)] == [False, True, True]
    (problem,) = listed.missing(2)
    assert problem.reason == "expected the 7,708 published steps, got 2: another version?"
    write(tmp_path / "ac_idx.txt", b"episode_1_screenshot_2\n1, 2\n")
    with pytest.raises(UsageError, match=r"expected episode_X_screenshot_Y in line 2 of .*ac_idx\.txt, got '1, 2'"):
        StepList(tmp_path, "os-atlas")


def test_the_described_forms_explain_the_actions_to_any_model() -> None:
    high, low = (questions("android_control", ANDROID, form=form)[1] for form in ("described", "described_ll"))
    assert "Previous actions:\n- " in high.text
    assert "The next step: " in low.text
    assert "The next step: " not in high.text


# --- All --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aitw", "aitz", "mind2web", "gui_odyssey"])
def test_a_folder_without_the_files_says_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected "):
        opened(name, tmp_path)
    with pytest.raises(UnknownNameError, match="unknown split of"):
        opened(name, tmp_path, split="tset")


def test_tasks_and_typed_texts_may_hold_braces(tmp_path: Path) -> None:
    rows = [
        aitz_step(0, 2, 3, result_action_text="{task} {0}", instruction="write {previous}"),
        aitz_step(1, 2, 6, instruction="write {previous}"),
    ]
    write(tmp_path / "test" / "general" / "GENERAL-7" / "GENERAL-7.json", rows)
    text = questions("aitz", tmp_path)[1].text
    assert "Task: write {previous}\nPrevious actions:\n- Type {task} {0}\nReply with" in text


def test_questions_go_to_workers_as_they_are(tmp_path: Path) -> None:
    for name in ("aitw", "aitz", "mind2web", "gui_odyssey"):
        asked = questions(name, getattr(steps_data, name)(tmp_path / name))
        sent = pickle.loads(pickle.dumps(asked))  # noqa: S301
        assert [one.text for one in sent] == [one.text for one in asked]
        assert sent[0].image().shape == asked[0].image().shape
