"""GUI grounding data in the forms in which others publish it."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_data import opened, parquet, png, write

from molmo_agent.data.row import Target
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point


def chat(question: str, answer: str, image: str = "0.png") -> dict[str, Any]:
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"image": image, "conversations": turns}


def file_of(folder: Path, *records: Any) -> Path:
    write(folder / "0.png", png(0, (60, 80)))
    return write(folder / "gui.json", list(records))


def targets(folder: Path, form: str, *records: Any, **options: Any) -> list[Target]:
    data = opened("gui-grounding", file_of(folder, *records), format=form, **options)
    assert data.problems.entries == []
    found = [one.target for n in range(len(data)) for one in data.row(n, 0).conversations]
    return [target for target in found if target is not None]


WEB = {
    "image": "0.png",
    "messages": [
        {
            "question": "Open the cart",
            "answer": json.dumps({"thought": "?", "action": {"name": "click", "x": 25.0, "y": 50.0}}),
            "bbox": "[20, 40, 30, 60]",
        }
    ],
}


@pytest.mark.parametrize(
    ("form", "record", "point", "box"),
    [
        ("os-atlas", chat('Where is "Save"?', "<|box_start|>(200,400),(300,600)<|box_end|>"), (0.25, 0.5), (0.2, 0.4)),
        ("os-atlas", chat("Save", "(0,0),(1000,1000)"), (0.5, 0.5), (0, 0)),
        ("uground", chat('Where is "Save"?', "(333, 999)"), (333 / 999, 1.0), None),
        ("aguvis", chat("Save", "pyautogui.click(x=0.25, y=0.5)"), (0.25, 0.5), None),
        ("aguvis", chat("Save", "Action: pyautogui.doubleClick(0.25, 0.5, interval=1)"), (0.25, 0.5), None),
        ("showui", {"image": "0.png", "instruction": "Save", "bbox": [0.2, 0.4, 0.3, 0.6]}, (0.25, 0.5), (0.2, 0.4)),
        (
            "showui",
            {
                "img_url": "0.png",
                "element": [{"instruction": "Save", "bbox": [0.2, 0.4, 0.3, 0.6], "point": [0.3, 0.5]}],
            },
            (0.3, 0.5),
            (0.2, 0.4),
        ),
        ("molmoweb", WEB, (0.25, 0.5), (0.2, 0.4)),
        (
            "agentnet",
            {
                "traj": [
                    {"image": "0.png", "value": {"code": "pyautogui.click(x=0.25, y=0.5)", "action": "Click Save."}}
                ]
            },
            (0.25, 0.5),
            None,
        ),
    ],
)
def test_every_form_gives_fractions_of_the_screenshot(
    tmp_path: Path, form: str, record: Any, point: tuple[float, float], box: tuple[float, float] | None
) -> None:
    (target,) = targets(tmp_path, form, record)
    assert target.points[0].x == pytest.approx(point[0])
    assert target.points[0].y == pytest.approx(point[1])
    assert [(edge.left, edge.top) for edge in target.boxes] == ([box] if box else [])


@pytest.mark.parametrize(
    ("scale", "numbers"),
    [
        (1, [0.25, 0.5, 0.75, 1]),
        (100, [25, 50, 75, 100]),
        (999, [249.75, 499.5, 749.25, 999]),
        (1000, [250, 500, 750, 1000]),
        ("pixels", [20, 30, 60, 60]),
    ],
)
def test_the_same_box_in_every_scale(tmp_path: Path, scale: Any, numbers: list[float]) -> None:
    record = {"image_path": "0.png", "instruction": "Save", "bbox": numbers}
    (target,) = targets(tmp_path, "boxes", record, scale=scale)
    assert target.boxes == (Box(0.25, 0.5, 0.75, 1.0),)
    assert target.points == (Point(0.5, 0.75),)


def test_the_answer_is_in_this_models_own_words_and_the_question_in_many(tmp_path: Path) -> None:
    path = file_of(tmp_path, chat('Where is the element "Save as"?', "(250, 500)"))
    data = opened("gui-grounding", path, format="uground", scale=1000)
    conversations = [data.row(0, seed).conversations[0] for seed in range(12)]
    assert {one.turns[1] for one in conversations} == {'<point x="25.0" y="50.0" alt="save as">save as</point>'}
    assert len({one.turns[0] for one in conversations}) > 3
    plain = opened("gui-grounding", path, format="uground", scale=1000, wording="none")
    assert plain.row(0, 0).conversations[0].turns[0] == "Save as"


@pytest.mark.parametrize(
    ("form", "record", "reason"),
    [
        ("os-atlas", chat("a", "(100,100),(1200,300)"), "lies outside the image; expected numbers of 0 to 1000"),
        ("os-atlas", chat("a", "(300,100),(200,300)"), "the edges of the box .* are swapped"),
        ("os-atlas", chat("a", "the button"), "expected a box"),
        ("uground", chat("a", "(0.25, 0.5)"), "look like fractions; expected the scale 999"),
        ("uground", chat("a", "(25, 50) and (30, 60)"), "expected a point"),
        ("uground", chat("a", "(-5, 50)"), "lies outside the image"),
        ("aguvis", chat("a", "pyautogui.write(message='x')"), r"the action is no single click \(write\)"),
        ("aguvis", chat("a", "pyautogui.moveTo(0.1, 0.2)\npyautogui.dragTo(0.3, 0.4)"), "no single click"),
        ("aguvis", chat("a", "pyautogui.click(__import__('os'), 1)"), "no single click|expected a click at x and y"),
        ("aguvis", chat("a", "pyautogui.click()"), "expected a click at x and y"),
        ("showui", {"image": "0.png", "instruction": "a"}, "expected a 'bbox'"),
        ("showui", {"image": "0.png", "instruction": " ", "point": [0.1, 0.2]}, "expected a text as 'instruction'"),
        ("showui", {"image": "0.png", "instruction": "a", "bbox": [0.1, "2", 1, 1]}, "expected 4 numbers"),
        (
            "showui",
            {"image": "0.png", "instruction": "a", "bbox": [0.1, 0.1, 0.2, 0.2], "point": [0.5, 0.5]},
            "lies outside of its own box",
        ),
        ("showui", {"image": ["0.png", "0.png"], "instruction": "a", "point": [0, 0]}, "expected one screenshot"),
        ("molmoweb", {**WEB, "messages": [{"question": "a", "answer": '{"action": {"name": "scroll"}}'}]}, "scroll"),
        ("molmoweb", {**WEB, "messages": []}, "expected a list as 'messages'"),
        (
            "agentnet",
            {"traj": [{"image": "0.png", "value": {"code": "computer.terminate()", "action": "End."}}]},
            "terminate",
        ),
        ("agentnet", {"task": 1}, "expected one screenshot as 'image'"),
    ],
)
def test_what_is_no_click_on_the_screenshot_is_named_and_skipped(
    tmp_path: Path, form: str, record: Any, reason: str
) -> None:
    with pytest.raises(UsageError, match=rf"(?s)no record of gui.json can be used; .*({reason})"):
        opened("gui-grounding", file_of(tmp_path, record), format=form)


def test_the_scale_is_declared_and_never_guessed(tmp_path: Path) -> None:
    record = {"image": "0.png", "instruction": "a", "point": [30, 20]}
    path = file_of(tmp_path, record)
    with pytest.raises(UsageError, match="needs the option format, which says what its numbers mean: os-atlas, "):
        opened("gui-grounding", path)
    with pytest.raises(UnknownNameError, match="unknown format of 'gui-grounding' 'aguvi': did you mean aguvis"):
        opened("gui-grounding", path, format="aguvi")
    with pytest.raises(UsageError, match="the format 'boxes' needs the option scale: 1, 100, 999, 1000, pixels"):
        opened("gui-grounding", path, format="boxes")
    for scale in (10, True, "percent"):
        with pytest.raises(UnknownNameError, match="unknown scale of 'gui-grounding'"):
            opened("gui-grounding", path, format="boxes", scale=scale)


def clicks(*places: tuple[float, float]) -> list[Any]:
    return [{"image": "0.png", "instruction": f"target {n}", "point": list(place)} for n, place in enumerate(places)]


@pytest.mark.parametrize(
    ("scale", "records", "message"),
    [
        (1000, clicks(*[(n * 4, 99 - n) for n in range(24)]), "at most 99, so they are not of the scale 1000; .*100"),
        (999, clicks((1, 0), (0, 1)), "at most 1, so they are not of the scale 999; .*1"),
        ("pixels", clicks((1, 1), (0, 0)), "at most 1, so they are not of the scale pixels"),
        (100, clicks((500, 200), (90, 910), (50, 50), (20, 20)), "2 coordinates .* outside of the scale 100, and 5"),
        (1, clicks((0.5, 0.5), (30, 40), (50, 20)), "2 coordinates .* outside of the scale 1, and 2"),
    ],
)
def test_a_file_whose_numbers_are_of_another_scale_is_refused(
    tmp_path: Path, scale: Any, records: list[Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        opened("gui-grounding", file_of(tmp_path, *records), format="boxes", scale=scale)


def test_one_stray_place_is_skipped_and_the_others_are_used(tmp_path: Path) -> None:
    data = opened(
        "gui-grounding", file_of(tmp_path, *clicks((700, 20), (1200, 2), (5, 600))), format="boxes", scale=1000
    )
    assert len(data.row(0, 0).conversations) == 2
    (problem,) = data.problems.entries
    assert "[1200.0, 2.0] lies outside" in problem.reason


def test_tables_with_images_inside_and_conversations_as_text_are_read(tmp_path: Path) -> None:
    turns = chat('Where is "Save"?', "(500, 250)")["conversations"]
    rows = [{"image": {"bytes": png(0), "path": None}, "conversations": json.dumps(turns), "width": 80}] * 3
    data = opened("gui-grounding", parquet(tmp_path / "part.parquet", rows), format="uground", scale=1000)
    assert len(data) == 3
    assert [one.target.points for n in range(3) for one in data.row(n, 0).conversations if one.target] == [
        (Point(0.5, 0.25),)
    ] * 3


def test_each_click_of_a_recorded_task_is_a_row(tmp_path: Path) -> None:
    codes = ["pyautogui.click(x=0.1, y=0.2)", "pyautogui.write('a')", "pyautogui.rightClick(x=0.3, y=0.4)"]
    steps = [{"image": f"{n}.png", "value": {"code": code, "action": f"Step {n}"}} for n, code in enumerate(codes)]
    for n in range(3):
        write(tmp_path / f"{n}.png", png(n))
    path = write(tmp_path / "tasks.jsonl", (json.dumps({"traj": steps}) + "\n").encode())
    data = opened("gui-grounding", path, format="agentnet")
    assert [data.row(n, 0).name for n in range(len(data))] == ["0.png", "2.png"]
    assert [problem.record for problem in data.problems.entries] == [2]
