"""What training makes of a screen and its questions: at every size, with no point, one or several."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from molmo_agent.envs.drawing.annotated_screen import Element, Screen
from molmo_agent.model.processor import IMAGE_TOKENS
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.auxiliary_losses import by_crop, dense_targets
from molmo_agent.nano.batches import plan, prepare_point, prepare_read, sample
from molmo_agent.nano.curriculum import OBJECTIVES, Stage
from molmo_agent.nano.curriculum_module import NanoWithHeads, add_gradients
from molmo_agent.nano.encode_screen import CanvasMap, make_training_screen
from molmo_agent.synthetic.referring.names import Question
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.sample import draw

PROCESSOR = nano_processor()


def stage(kind: Any, **changes: Any) -> Stage:
    data: dict[str, Any] = {"name": "s", "steps": 1, "batch": 2, "crops": 2, "sizes": {"200x200": 1.0}}
    return Stage(kind=kind, **(data | {"styles": {"panel": 1.0}} | changes))


SIZES = [(160, 210), (200, 200), (320, 420), (360, 640), (640, 480), (1280, 800)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("style", ["page", "phone", "desktop"])
def test_targets_and_attention_lie_where_the_answer_is_at_every_size(style: str, size: tuple[int, int]) -> None:
    width, height = size
    screen = draw(7, style, width=width, height=height, split="train")
    rng = Random(0)
    questions = ask(screen, rng, none=0.2, several=0.2, most=20)
    example = make_training_screen(screen, questions, PROCESSOR, rng, tail=0.5, sigma=0.7)
    layout, grid = PROCESSOR.image_processor.grid_of(height, width)
    assert len(example.arrays["pixel_values"]) == 1 + grid[0] * grid[1]
    assert len(example.grid_positions) == len(example.grid_centers) == example.attention.shape[1]
    tokens = PROCESSOR.tokenizer.convert_ids_to_tokens(example.input_ids[example.grid_positions].tolist())
    assert set(tokens) == {IMAGE_TOKENS[2]}, "every one an image token, none of them a column's end"
    on_screen = ((example.grid_centers > 0) & (example.grid_centers < 1)).all(1)
    token_px = layout.patch_size * layout.pooling_size
    for weights, answer in zip(example.attention, example.answers, strict=True):
        assert weights[on_screen].sum() > 0.9
        center = weights @ example.grid_centers
        canvas = CanvasMap.of(height, width, grid, layout)
        reach = token_px / min(canvas.scale_x * width, canvas.scale_y * height)
        assert np.abs(center - answer).max() < reach, "within a token of the answer"
    dense = dense_targets(screen, grid, layout, words=True, max_items=400)
    assert dense.objects.shape == (example.attention.shape[1],)
    parts = by_crop(dense, grid, layout)
    assert len(parts) == grid[0] * grid[1]
    assert sum(part.amount() for part in parts) > 0


def test_a_small_picture_is_one_crop() -> None:
    one = stage("read", batch=3, sizes={"190x150": 1.0}, styles={"page": 1.0})
    batch = prepare_read(one, 0, 0, PROCESSOR)
    assert PROCESSOR.image_processor.grid_of(150, 190)[1] == (1, 1)
    assert 0 < len(batch.crops) <= 2


def test_a_style_may_have_a_size_of_its_own() -> None:
    styles = {"page@160x210": 0.5, "phone@180x320": 0.5}
    one = stage("point", sizes={"640x480": 1.0}, styles=styles)
    shapes = {sample(one, plan(one, 0, step, 0)).screen.image.shape[:2] for step in range(12)}
    assert shapes == {(210, 160), (320, 180)}


def shape(number: int, x: int, y: int, color: str = "red") -> Element:
    box = (x, y, x + 20, y + 20)
    return Element(number, "shape", f"{color} circle", box, visible=True, color=color, shape="circle", size="small")


def test_answers_have_no_point_one_or_several_and_the_first_of_several_is_learned_from() -> None:
    elements = (shape(0, 150, 20), shape(1, 30, 120), shape(2, 90, 60, "blue"))
    screen = Screen(np.full((200, 200, 3), 255, np.uint8), elements, ())
    questions = [
        Question(elements[2:], "the blue circle", "small blue circle", "shape"),
        Question((), "the green circle", "green circle", "absent", named=False),
        Question(elements[:2], "all red circles", "red circles", "several", named=False),
        Question(elements[:2], "how many red circles", "red circles", "count", named=False, counted=True),
    ]
    example = make_training_screen(screen, questions, PROCESSOR, Random(0), tail=1.0, sigma=1.0)
    text = PROCESSOR.tokenizer.decode(example.input_ids.tolist())
    assert " User: the green circle Assistant: There are none." in text
    several = '<points x1="20.0" y1="65.0" x2="80.0" y2="15.0" alt="red circles">red circles</points>'
    assert f" User: all red circles Assistant: {several}" in text
    assert f" User: how many red circles Assistant: Counting the {several} shows a total of 2." in text
    assert [question.text for question in example.point_questions] == [questions[i].text for i in (0, 2, 3)]
    np.testing.assert_allclose(example.answers, [(0.5, 0.35), (0.2, 0.65), (0.2, 0.65)], atol=1e-6)
    pieces = [PROCESSOR.tokenizer.decode([int(i)]) for i in example.input_ids[example.x_positions]]
    assert pieces == [' <point x="', ' <points x1="', ' <points x1="']
    pieces = [PROCESSOR.tokenizer.decode([int(i)]) for i in example.input_ids[example.y_positions]]
    assert pieces == ['" y="', '" y1="', '" y1="']
    learned = [example.targets[example.subsegment_ids == number] for number in range(1, 5)]
    assert PROCESSOR.tokenizer.decode(learned[1][learned[1] >= 0].tolist()).strip() == "There are none.<|end|>"
    assert {float(w) for w in example.loss_weights[example.subsegment_ids == 2]} == {0.0, 1.0}
    short = make_training_screen(screen, questions, PROCESSOR, Random(0), tail=0.0, sigma=1.0)
    text = PROCESSOR.tokenizer.decode(short.input_ids.tolist())
    assert "There are none." in text
    assert "alt=" not in text


def test_questions_without_points_or_names_are_learned_from_without_harm() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nano = NanoWithHeads(new_nano(PROCESSOR, 0))
    elements = (shape(0, 150, 20), shape(1, 30, 120, "blue"))
    screen = Screen(np.full((200, 200, 3), 255, np.uint8), elements, ())
    missing = Question((), "the green circle", "green circle", "absent", named=False)
    left = Question(elements[1:], "the leftmost circle", "leftmost circle", "place", named=False)
    layout, grid = PROCESSOR.image_processor.grid_of(200, 200)
    dense = dense_targets(screen, grid, layout, words=False)
    batch = [(make_training_screen(screen, [missing, left], PROCESSOR, Random(0), tail=0.0, sigma=1.0), dense)]
    parts = add_gradients(nano, stage("point"), batch)
    assert all(np.isfinite(value) for value in parts.values())
    assert parts["query_code"] == 0
    assert parts["attention"] > 0
    assert parts["first_attention"] > 0
    assert parts["key_code"] > 0, "the circles are told apart by their colours"
    assert {name for name in parts if not name.startswith("acc_")} == {*OBJECTIVES, "loss"}


def test_a_stage_asks_for_what_is_missing_and_for_several_as_often_as_it_says() -> None:
    changes: dict[str, Any] = {"batch": 4, "sizes": {"300x300": 1.0}, "styles": {"panel": 0.5, "page": 0.5}}
    silent, plain = stage("point", none=0.0, several=0.0, **changes), stage("point", none=0.4, **changes)
    counts = []
    for one in (silent, plain):
        batch = [example for step in range(3) for example, _ in prepare_point(one, 0, step, PROCESSOR)]
        asked = sum(int(example.subsegment_ids[example.subsegment_ids < 10000].max()) for example in batch)
        counts.append((asked, sum(len(example.point_questions) for example in batch)))
    assert counts[0][0] == counts[0][1] > 0
    assert 0.15 < 1 - counts[1][1] / counts[1][0] < 0.5
