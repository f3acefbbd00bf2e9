import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen, TextRun
from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.model.crops import CropLayout
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.auxiliary_losses import AuxiliaryLosses, by_crop, dense_targets, position_code
from molmo_agent.nano.batches import prepare_point, prepare_read
from molmo_agent.nano.curriculum import Curriculum, Stage
from molmo_agent.nano.curriculum_module import NanoWithHeads, add_gradients, make_optimizers
from molmo_agent.nano.encode_screen import CHARACTERS, CanvasMap, character_targets, make_training_screen, phoc
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.synthetic.practice_sheets import sample_sheet
from molmo_agent.synthetic.referring.names import Question, ask_all, describe
from molmo_agent.synthetic.target_boxes import cue_box, target_box
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.distributed import backends
from molmo_agent.train.launch import process_group, run_here, run_workers
from molmo_agent.train.muon import Muon, orthogonalize
from molmo_agent.train.optim import Schedule, tensors
from molmo_agent.train.recipe import from_dict

pytest_plugins = ("quick_ranks",)
pytestmark = pytest.mark.usefixtures("quick_ranks")
PROCESSOR = nano_processor()


def stage(kind: str, steps: int, **changes: Any) -> dict[str, Any]:
    data = {"name": kind, "kind": kind, "steps": steps, "batch": 2, "crops": 2, "warmup_steps": 1}
    return data | {"sizes": {"200x200": 0.5, "350x180": 0.5}, "styles": {"panel": 1.0}} | changes


def curriculum(**changes: Any) -> Curriculum:
    """Two short stages."""
    stages = [stage("read", 3), stage("point", 3, max_questions=4, balance=True)]
    config = from_dict({"stages": stages, "checkpoint_every": 2, **changes})
    assert isinstance(config, Curriculum)
    return config


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "export" / "model.safetensors")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curriculum in one go."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    assert run_here(curriculum(), folder) == 6
    return folder


def test_a_curriculum_leaves_a_model_that_points(whole: Path) -> None:
    pointer = MolmoPointer.from_pretrained(str(whole / "export"))
    result = pointer.point(np.zeros((200, 200, 3), np.uint8), "the button")
    assert result.status in ("ok", "none", "unparsed", "out_of_range")
    assert len(losses(whole)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [3, 4])
def test_a_resumed_curriculum_ends_where_an_uninterrupted_one_does(stopped: int, whole: Path, tmp_path: Path) -> None:
    def interrupt(record: dict[str, Any]) -> None:
        if record["step"] == stopped:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunStopped, match=f"stopped after step {stopped}; the same command resumes"):
        run_here(curriculum(), tmp_path, interrupt)
    run_here(curriculum(), tmp_path)
    assert losses(tmp_path) == losses(whole)
    ours, theirs = weights(tmp_path), weights(whole)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_finished_curriculum_that_is_run_again_leaves_the_same_model(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "export")
    assert run_here(curriculum(), folder) == 6
    ours, theirs = weights(folder), weights(whole)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.slow
def test_a_curriculum_runs_on_several_workers(whole: Path, tmp_path: Path) -> None:
    run_workers(curriculum(), tmp_path, 2, threads=1)
    ours, theirs = weights(tmp_path), weights(whole)
    start = new_nano(PROCESSOR, 0).state_dict()
    moved = sum(float((theirs[name].float() - value).norm()) for name, value in start.items())
    apart = sum(float((theirs[name].float() - ours[name].float()).norm()) for name in theirs)
    assert apart < 0.5 * moved, "means are grouped otherwise in the reading stage; the way is the same"


@pytest.mark.slow
def test_a_curriculum_learns_the_same_on_another_device() -> None:
    # In a process of its own: naming a device changes torch for good.
    found = subprocess.run([sys.executable, Path(__file__).parent / "far_device.py"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    here, there = json.loads(found.stdout)
    assert len(here["objectives"]) == 6
    for ours, theirs in zip(here["objectives"], there["objectives"], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-4)
    # Gradients are exchanged where they are, counts and verdicts on the CPU: a group needs a backend for each.
    assert there["collectives"] == ["cpu", "far"]
    assert here["collectives"] == ["cpu"]
    for kind, used in (("cpu", here["collectives"]), ("cuda", ["cpu", "cuda"])):
        assert {backend.split(":")[0] for backend in backends(kind).split(",")} == set(used)


@pytest.mark.slow
def test_the_other_device_refuses_what_a_gpu_would() -> None:
    code = "import torch; from far_device import *\nwith FarDevice(): torch.ones(2).to(FAR) + torch.ones(2)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert "expected all tensors on one device" in found.stderr


def test_files_of_a_checkpoint_are_small_enough_to_be_sent(tmp_path: Path) -> None:
    nano, config = NanoWithHeads(new_nano(PROCESSOR, 0)), curriculum()
    with process_group(0, 1, None):
        run = RunFolder(tmp_path, config)
        run.save(1, tensors(nano, make_optimizers(nano, config.stages[1]), frozen=True))
        run.finish()
        run.close()
    sizes = [path.stat().st_size for path in (tmp_path / "step-000001").iterdir()]
    assert sum(sizes) > 32e6
    assert max(sizes) < 16e6


def test_pointing_stages_have_the_same_gradients_on_any_number_of_ranks() -> None:
    torch.set_num_threads(1)
    one = curriculum().stages[1]
    batches = [prepare_point(one, 0, 0, PROCESSOR, rank, 2) for rank in range(2)]
    together = prepare_point(one, 0, 0, PROCESSOR)
    assert [len(batch) for batch in batches] == [1, 1]
    for rank, batch in enumerate(batches):
        assert np.array_equal(batch[0][0].input_ids, together[rank][0].input_ids)


def test_a_few_steps_on_one_picture_lower_its_losses() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nano = NanoWithHeads(new_nano(PROCESSOR, 0))
    one = from_dict({"stages": [stage("point", 6, batch=1, sizes={"200x200": 1.0})]}).stages[0]  # type: ignore[union-attr]
    batch = prepare_point(one, 0, 0, PROCESSOR)
    optimizers = make_optimizers(nano, one)
    found = []
    for _ in range(6):
        for optimizer in optimizers:
            optimizer.zero_grad()
        found.append(add_gradients(nano, one, batch)["tokens"])
        for optimizer in optimizers:
            optimizer.step()
    assert found[-1] < 0.6 * found[0]


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    one = Stage(name="s", kind="read", steps=100, batch=1, warmup_steps=10, decay=0.4)
    rates = [one.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:60] == [1.0] * 51
    assert rates[99] == pytest.approx(1 / 40)
    assert rates[60:] == sorted(rates[60:], reverse=True)


@pytest.mark.parametrize("final", [0.0, 0.1, 0.5])
def test_a_warm_up_without_a_start_begins_at_a_tenth_wherever_the_cosine_ends(final: float) -> None:
    rates = Schedule(2e-4, warmup_steps=100, max_steps=1000, start=None, final=final)
    assert rates.at(0) == pytest.approx(2e-5)
    assert rates.at(50) == pytest.approx(1.1e-4)
    assert rates.at(100) == pytest.approx(2e-4)
    assert rates.at(550) == pytest.approx(2e-4 * (1 + final) / 2)
    assert rates.at(1000) == rates.at(5000) == pytest.approx(2e-4 * final)


def test_a_step_of_a_stage_always_draws_the_same_batch() -> None:
    one = curriculum().stages[0]
    first, other = (prepare_read(one, 7, 2, PROCESSOR) for _ in range(2))
    assert torch.equal(first.crops, other.crops)
    assert not torch.equal(first.crops, prepare_read(one, 7, 1, PROCESSOR).crops)
    shares = [prepare_read(one, 7, 2, PROCESSOR, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([share.crops for share in shares]), first.crops)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": []}, "expected at least one stage, got none"),
        ({"stages": [stage("read", 0)]}, "expected steps of stage 'read' to be at least 1, got 0"),
        (
            {"stages": [stage("read", 1, sizes={"big": 1.0})]},
            "expected a size as WIDTHxHEIGHT, such as 640x480, got 'big'",
        ),
        ({"stages": [stage("read", 1, styles={"dialogs": 1.0})]}, "unknown style 'dialogs': did you mean dialog"),
        (
            {"stages": [stage("point", 1, aid_weights={"answer_positions": 4.0})]},
            "unknown objective 'answer_positions': did you mean answer_position",
        ),
        ({"stages": [stage("read", 1, styles={"any": 0.0})]}, "expected rates of styles of stage 'read' above zero"),
        (
            {"stages": [stage("read", 1, sizes={"9x9": "much"})]},
            "expected stages.0..sizes.9x9 to be a number, got 'much'",
        ),
        (
            {"stages": [stage("point", 1, none=0.6, several=0.5)]},
            "expected none and several of stage 'point' to be at least 0 and together at most 0.9, got 0.6 and 0.5",
        ),
        (
            {"stages": [stage("point", 1, stretch=0.9)]},
            "expected stretch of stage 'point' to be from 0 to 0.5, got 0.9",
        ),
        ({"stages": [stage("read", 1, styles={"page@small": 1.0})]}, "expected a size as WIDTHxHEIGHT, .* got 'small'"),
        ({"stages": [stage("read", 1, styles={"pages@9x9": 1.0})]}, "unknown style 'pages': did you mean page"),
        ({"stages": [stage("rest", 1)]}, "unknown value of stages.0..kind 'rest'"),
    ],
)
def test_a_curriculum_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        curriculum(**change)


def test_muon_steps_have_singular_values_near_one() -> None:
    matrix = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_muon_descends() -> None:
    weight = torch.nn.Parameter(torch.full((4, 4), 2.0) + torch.eye(4))
    optimizer = Muon([weight], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert float((weight.detach() ** 2).sum()) < 10


@pytest.mark.parametrize("size", [(640, 480), (200, 200), (333, 471), (1280, 800)])
def test_canvas_weights_point_back_to_the_box(size: tuple[int, int]) -> None:
    width, height = size
    layout, grid = PROCESSOR.image_processor.grid_of(height, width)
    canvas = CanvasMap.of(height, width, grid, layout)
    box = (0.3 * width, 0.6 * height, 0.3 * width + 40, 0.6 * height + 12)
    weights = canvas.weights(box)
    y, x = np.mgrid[0 : canvas.rows, 0 : canvas.columns] + 0.5
    center_x = (weights * x).sum() * canvas.token_px - canvas.left
    center_y = (weights * y).sum() * canvas.token_px - canvas.top
    assert center_x / canvas.scale_x == pytest.approx((box[0] + box[2]) / 2, abs=12 / canvas.scale_x)
    assert center_y / canvas.scale_y == pytest.approx((box[1] + box[3]) / 2, abs=12 / canvas.scale_y)


def test_a_box_outside_the_picture_has_no_weights() -> None:
    canvas = CanvasMap.of(200, 200, (1, 1), CropLayout(crop_size=200, patch_size=10, margins=(2, 2)))
    with pytest.raises(ValueError, match="lies outside the image"):
        canvas.weights((300, 300, 310, 310))


def test_character_cells_carry_the_letter_under_their_middle() -> None:
    run = TextRun("ab c", (10.0, 20.0, 30.0, 35.0, 45.0), 10.0, 20.0)
    cells = character_targets((run,), 4, 10, (5.0, 10.0))
    assert "".join(CHARACTERS[i] for i in cells[1]) == "  aabb cc "
    assert not cells[[0, 2, 3]].any()


def test_label_codes_ignore_case_and_tell_anagrams_apart() -> None:
    assert np.array_equal(phoc("Save"), phoc("sAVE"))
    assert not np.array_equal(phoc("listen"), phoc("silent"))
    assert phoc("")[0] == 0


def test_questions_are_never_ambiguous() -> None:
    for seed in range(20):
        screen = sample_sheet(seed, width=400, height=300)
        for question in ask_all(screen.elements, Random(seed)):
            target = question.element
            assert target.visible
            same = [e for e in screen.elements if e.visible and describe(e).casefold() == describe(target).casefold()]
            if len(same) > 1 and target.kind != "shape":
                assert [e.id for e in same if e.kind == target.kind] == [target.id]


def test_every_crop_is_taught_what_it_shows_itself() -> None:
    screen = sample_sheet(3, width=640, height=480)
    layout, grid = PROCESSOR.image_processor.grid_of(480, 640)
    whole = dense_targets(screen, grid, layout, words=True, max_items=400)
    parts = by_crop(whole, grid, layout)
    assert len(parts) == 12
    objects = whole.objects.reshape(26, 34)
    # The crop in the second row and third column begins 8 rows and 16 columns of image tokens into the canvas.
    assert torch.equal(parts[6].objects.reshape(10, 10), objects[8:18, 16:26])
    for part in parts:
        assert torch.allclose(part.label_weights.sum(1), torch.ones(len(part.labels)), atol=1e-3)
    assert 0 < len({label for part in parts for label in part.labels}) <= len(set(whole.labels))
    assert max(part.amount() for part in parts) > 0


def test_an_untrained_nano_already_knows_where_its_image_tokens_lie() -> None:
    torch.set_num_threads(1)
    model = new_nano(PROCESSOR, 0)
    AuxiliaryLosses(model)
    states, centers = [], []
    for seed in (1, 2, 3):
        screen = sample_sheet(seed, width=640, height=480)
        questions = ask_all(screen.elements, Random(0))[:1]
        example = make_training_screen(screen, questions, PROCESSOR, Random(0), tail=0.0, sigma=1.0)
        inputs = {name: torch.from_numpy(array)[None] for name, array in example.arrays.items()}
        with torch.no_grad():
            ids = torch.from_numpy(example.input_ids)[None]
            hidden = model(input_ids=ids, **inputs, output_hidden_states=True).hidden_states[1][0]
        found = hidden[torch.from_numpy(example.grid_positions)]
        states.append(torch.cat([found / found.square().mean(-1, keepdim=True).sqrt(), torch.ones(len(found), 1)], 1))
        centers.append(position_code(torch.from_numpy(example.grid_centers)).unflatten(-1, (2, 2, -1))[..., 0])
    known, asked = torch.cat(states[:2]), states[2]
    weights = torch.linalg.lstsq(known, torch.cat(centers[:2]).flatten(1)).solution
    error = float((asked @ weights - centers[2].flatten(1)).square().mean())
    assert error < 0.15, "one turn over the screen's width and height, as a linear probe finds it; chance is 0.5"


def test_a_label_on_a_wide_row_is_pointed_at_where_its_words_are() -> None:
    row = Element(id=0, kind="list_item", label="Save", box=(0, 0, 200, 20), visible=True, text=True)
    runs = (
        TextRun("Save", (200.0, 230.0, 240.0), 2, 18),
        TextRun("Save", (10.0, 20.0, 30.0, 40.0, 50.0), 2, 18),
    )
    screen = Screen(np.zeros((20, 260, 3), dtype=np.uint8), (row,), runs)
    assert target_box(screen, row) == (10.0, 2, 50.0, 18)
    assert target_box(Screen(screen.image, (row,), ()), row) == row.box


def test_where_the_words_are_is_looked_at_first_and_then_what_they_name() -> None:
    def thing(kind: str, label: str, box: PixelBox, **facts: Any) -> Element:
        return Element(id=0, kind=kind, label=label, box=box, visible=True, text=facts.pop("text", True), **facts)

    def words(text: str, left: float, top: float) -> TextRun:
        return TextRun(text, (left, *(left + 10 * (i + 1) for i in range(len(text)))), top, top + 14)

    tick, button, picture = (
        thing("checkbox", "Agree", (10, 40, 22, 52)),
        thing("button", "Save", (100, 80, 180, 104)),
        thing("icon", "home", (10, 80, 30, 100), text=False, shape="home"),
    )
    runs = (words("Agree:", 30, 39), words("AGREE", 20, 150), words("Save", 120, 84), words("Home", 60, 150))
    screen = Screen(np.zeros((200, 200, 3), dtype=np.uint8), (tick, button, picture), runs)

    def first(element: Element, **facts: Any) -> PixelBox:
        question = Question((element,), "", element.label, "", **facts)
        return cue_box(screen, question, target_box(screen, element))

    assert first(tick) == runs[0].box, "the words beside it, not those that say the same farther down"
    assert first(tick, named=False) == tick.box, "asked for by its look"
    assert first(button) == runs[2].box == target_box(screen, button), "its words are on it"
    assert first(picture) == picture.box, "the text 'Home' is another thing"
    assert first(tick, named=False, beside=button.box) == button.box, "what it stands next to"

    questions = [Question((tick,), "the Agree checkbox", "agree", "text-checkbox")]
    example = make_training_screen(screen, questions, PROCESSOR, Random(0), tail=0.0, sigma=1.0)
    np.testing.assert_allclose(example.answers, [(0.08, 0.23)], atol=1e-6)
    np.testing.assert_allclose(example.first_points, [(0.3, 0.23)], atol=1e-6)
    found = [float((weights @ example.grid_centers)[0, 0]) for weights in (example.first_attention, example.attention)]
    assert found[0] > 0.2 > found[1], "attention is shown the words first, then the box"

    outside = Screen(screen.image, (tick,), (words("Agree", 10, 205),))
    example = make_training_screen(outside, questions, PROCESSOR, Random(0), tail=0.0, sigma=1.0)
    np.testing.assert_array_equal(example.first_attention, example.attention, "words beyond the border are not seen")
    np.testing.assert_array_equal(example.first_points, example.answers)


def test_a_training_sequence_answers_every_question_with_its_own_point() -> None:
    screen = sample_sheet(5, width=200, height=200)
    rng = Random(0)
    questions = ask_all(screen.elements, rng)
    example = make_training_screen(screen, questions, PROCESSOR, rng, tail=1.0, sigma=1.0)
    text = PROCESSOR.tokenizer.decode(example.input_ids.tolist())
    for question, (x, y) in zip(questions, example.answers, strict=True):
        left, top, right, bottom = target_box(screen, question.element)
        assert x * 200 == pytest.approx((left + right) / 2, abs=1e-3)
        assert y * 200 == pytest.approx((top + bottom) / 2, abs=1e-3)
        assert f" User: {question.text} Assistant: <point x=" in text
    starts = example.input_ids[example.x_positions]
    assert {PROCESSOR.tokenizer.decode([int(i)]) for i in starts} == {' <point x="'}
    learned = example.targets >= 0
    assert np.array_equal(learned, example.loss_weights > 0)
    assert (example.subsegment_ids[learned] < 10000).all()
    np.testing.assert_allclose(example.attention.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [' User: the "Save as…" button Assistant:', "Ünïcode 日本\n\ttabs", "<point x=", ' close the "Close" window', "🙂"],
)
def test_the_tokenizer_gives_back_any_text(text: str) -> None:
    assert PROCESSOR.tokenizer.decode(PROCESSOR.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_labels_are_spelled_and_question_words_are_single_ids() -> None:
    tokens = PROCESSOR.tokenizer.tokenize(' the "the" button')
    assert tokens == ["Ġthe", "Ġ", '"', "t", "h", "e", '"', "Ġbutton"]


def test_practice_sheets_are_the_same_for_the_same_seed_and_keep_held_out_fonts_apart() -> None:
    one, other = (sample_sheet(3, width=200, height=200) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    apart = sample_sheet(3, width=200, height=200, split="held_out_fonts")
    assert not np.array_equal(one.image, apart.image)
