"""Recorded screens: what is written is read, an interrupted recording goes on, what is broken is told."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from desktop_screen import needs

from molmo_agent.envs.drawing.annotated_screen import Element, Screen, TextRun
from molmo_agent.envs.web.elements import PageElement, find
from molmo_agent.envs.web.miniwob import HEIGHT, WIDTH, MiniWob
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Box
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.batches import plan as plan_of
from molmo_agent.nano.batches import prepare_point, sample
from molmo_agent.nano.curriculum import Curriculum, Stage, check
from molmo_agent.nano.curriculum_module import NanoWithHeads, add_gradients
from molmo_agent.synthetic.miniwob_split import SEED, task_lists
from molmo_agent.synthetic.record_miniwob import element_of, questions_of, watch
from molmo_agent.synthetic.recorded_screens import FILE, RecordedScreen, RecordedScreens, Recorder
from molmo_agent.synthetic.referring.names import Question
from molmo_agent.synthetic.referring.templates import reword


def seen(number: int = 0) -> RecordedScreen:
    image = np.full((210, 160, 3), 200 + number, np.uint8)
    button = Element(0, "button", "Save", (20.0, 30.0, 70.0, 50.0), visible=True, text=True)
    circle = Element(
        1, "shape", "", (90.0, 120.0, 110.0, 140.0), visible=True, color="red", shape="circle", size="large"
    )
    run = TextRun("Save", (30.0, 36.0, 42.0, 48.0, 54.0), 34.0, 46.0)
    target = Element(2, "target", "save", (20.0, 30.0, 70.0, 50.0), visible=True, text=True)
    questions = (Question((target,), 'the "Save" button', "save", "recorded"),)
    return RecordedScreen(screen=Screen(image, (button, circle), (run,)), questions=questions)


def write(folder: Path, *screens: RecordedScreen) -> Path:
    recorder = Recorder(folder)
    for screen in screens:
        recorder.add(screen)
    recorder.close()
    return folder


def test_what_is_written_is_read_to_the_pixel(tmp_path: Path) -> None:
    found = RecordedScreens(write(tmp_path, seen(), seen(3)))[1]
    np.testing.assert_array_equal(found.screen.image, seen(3).screen.image)
    assert found.screen.elements == seen().screen.elements
    assert found.screen.texts == seen().screen.texts
    assert found.questions == seen().questions
    assert not found.screen.image.flags.writeable


def test_an_interrupted_recording_goes_on_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, seen())
    write(tmp_path, seen(1))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"picture": "pictures/0000')
    screens = RecordedScreens(tmp_path)
    assert [int(screens[n].screen.image[0, 0, 0]) for n in range(len(screens))] == [200, 201]
    write(tmp_path, seen(2))
    screens = RecordedScreens(tmp_path)
    assert [int(screens[n].screen.image[0, 0, 0]) for n in range(len(screens))] == [200, 201, 202]


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"expected recorded screens at .*screens.jsonl, but reading it failed: .*No such"
    ):
        RecordedScreens(tmp_path)
    (tmp_path / FILE).write_text("")
    with pytest.raises(UsageError, match=r"expected recorded screens in .*screens.jsonl, but it is empty"):
        RecordedScreens(tmp_path)
    write(tmp_path, seen(), seen())
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    lines[0]["questions"][0]["box"] = [5, 5, 5, 9]
    lines[1]["picture"] = "pictures/none.png"
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    screens = RecordedScreens(tmp_path)
    with pytest.raises(UsageError, match=r"in line 1 of .*a box without area: \[5, 5, 5, 9\].*record it again"):
        screens[0]
    with pytest.raises(UsageError, match=r"there is no file .*none.png"):
        screens[1]
    with pytest.raises(UsageError, match=r"cannot record into .*; choose another folder"):
        Recorder(tmp_path / FILE / "below")


def stage(folder: Path | None, **changes: Any) -> Stage:
    data: dict[str, Any] = {"name": "s", "steps": 1, "batch": 2, "styles": {"recorded": 1.0}}
    return Stage(kind="point", recorded=str(folder) if folder else None, **(data | changes))


def test_a_stage_asks_what_was_asked_and_more(tmp_path: Path) -> None:
    one = stage(write(tmp_path, seen()))
    assert sample(one, plan_of(one, 0, 0, 0)).questions == seen().questions
    asked = [
        question.text
        for example, _ in prepare_point(one, 0, 0, nano_processor())
        for question in example.point_questions
    ]
    assert sum('the "Save" button' in text for text in asked) >= 2, "in every picture"
    assert any("circle" in text for text in asked), "what it shows besides is asked for too"


def test_a_screen_on_which_nothing_has_a_name_is_learned_from(tmp_path: Path) -> None:
    nameless = replace(seen().questions[0], named=False)
    bare = replace(seen(), screen=Screen(seen().screen.image, (), ()), questions=(nameless,))
    one = stage(write(tmp_path, bare), batch=1)
    nano = NanoWithHeads(new_nano(nano_processor(), 0))
    parts = add_gradients(nano, one, prepare_point(one, 0, 0, nano_processor()))
    assert all(np.isfinite(list(parts.values())))
    assert parts["image_code"] == parts["query_code"] == 0


def test_recorded_screens_need_both_a_folder_and_a_rate(tmp_path: Path) -> None:
    assert check(Curriculum(stages=(stage(tmp_path),)))
    for wrong in (stage(None), stage(tmp_path, styles={"panel": 1.0})):
        with pytest.raises(
            UsageError, match=r"both a rate for the style 'recorded' and a folder in 'recorded', or neither"
        ):
            check(Curriculum(stages=(wrong,)))


def test_questions_are_put_again_in_the_policys_words() -> None:
    texts = {reword("the {x} button", Random(n)) for n in range(50)}
    assert texts == {"the {x} button", "Where is the {x} button", "Click the {x} button", "Click on the {x} button"}


# --- MiniWoB++'s pages ------------------------------------------------------------------------------------------------


def element(label: str = "", kind: str = "shape", form: str = "", color: str = "", extent: float = 0.0) -> PageElement:
    return PageElement(label=label, kind=kind, box=Box(0.1, 0.5, 0.2, 0.6), form=form, color=color, extent=extent)


RED, AQUA = "rgb(255, 0, 0)", "rgb(0, 255, 255)"
DRAWN = (
    element(form="circle", color=RED, extent=20),
    element(form="triangle", color=AQUA, extent=10),
    element("t", "text", "letter", RED, 10),
    element("T", "text", "letter", RED, 20),
    element("4", "text", "digit", AQUA, 20),
)


@pytest.mark.parametrize(
    ("phrase", "numbers"),
    [
        ("a large red item", [0, 3]),
        ("a cyan triangle", [1]),
        ("the aqua shape", [1]),
        ("a small letter", [2]),
        ("a T", [3]),
        ("a large digit", [4]),
        ("a small circle", []),
        ("a red item of mine", []),
    ],
)
def test_drawings_are_found_by_what_a_phrase_says_of_them(phrase: str, numbers: list[int]) -> None:
    assert find(DRAWN, phrase) == [DRAWN[n] for n in numbers]


def test_widgets_are_found_by_kind_and_order() -> None:
    fields = tuple(replace(element(kind="field", form="text"), box=Box(0.1, y, 0.5, y + 0.1)) for y in (0.7, 0.3, 0.5))
    area = replace(element(kind="field", form="textarea"), box=Box(0.1, 0.9, 0.5, 0.95))
    radio = element("a", "radio button")
    assert find((*fields, area), "into the 2nd input textbox") == [fields[2]]
    assert find((*fields, area), 'a "textarea" widget') == [area]
    assert find((*fields, radio), 'a "radio" widget') == [radio], "not what is labelled a"


def test_all_that_has_a_name_is_asked_for_in_the_same_words() -> None:
    page = (element("(0,1)", form="circle"), element("(2,1)", form="circle"), element("x", "text"))
    found = questions_of("the grid coordinate (2,1)", page[1], page)
    assert [question.text for question in found] == ["the grid coordinate (0,1)", "the grid coordinate (2,1)"]
    assert [question.label for question in found] == ["(0,1)", "(2,1)"]
    (only,) = questions_of("a small letter", DRAWN[2], DRAWN)
    assert (only.text, only.label, only.named) == ("a small letter", "small letter", False)


def test_a_pages_drawings_are_told_as_the_simulated_screens_are() -> None:
    letter = element_of(DRAWN[2], 0, DRAWN, ())
    assert (letter.kind, letter.label, letter.color, letter.size) == ("letter", "t", "red", "small")
    circle = element_of(DRAWN[0], 0, DRAWN, ())
    assert (circle.kind, circle.shape, circle.color, circle.size) == ("shape", "circle", "red", "large")


@pytest.mark.slow
@needs("chromium", "chromedriver")
def test_every_task_for_training_is_recorded_with_its_answer_and_its_words() -> None:
    tasks = task_lists()["trained"]
    with pytest.raises(ValueError, match="are for evaluation"):
        next(watch(None, tasks, range(SEED - 1, SEED + 1)))  # type: ignore[arg-type]
    env = MiniWob(scale=1)
    try:
        for number, task in enumerate(tasks):
            found = [page for n in (0, 12) for page in watch(env, tasks, range(number + n, number + n + 1))]
            if task == "click-scroll-list" and not found:
                continue  # what is asked for may be out of sight
            assert found, task
            for page in found:
                assert page.screen.image.shape == (HEIGHT, WIDTH, 3)
                assert page.questions, task
                for question in page.questions:
                    left, top, right, bottom = question.element.box
                    assert 0 <= left < right <= WIDTH, task
                    assert 50 <= top < bottom <= HEIGHT, f"{task}: below the query"
                for run in page.screen.texts:
                    x = [int(edge) for edge in (run.edges[0], run.edges[-1] + 1)]
                    line = page.screen.image[int(run.top) : int(run.bottom) + 1, x[0] : x[1]]
                    assert line.std() > 5, f"{task}: {run.text!r} is written there"
    finally:
        env.close()
