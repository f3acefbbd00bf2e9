"""Held-out measurements during training, the best checkpoint, and early warnings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_trainer import fit
from tiny_training import small_run, write_chat, write_points

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.train import trainer
from molmo_agent.train.batching.sampler import spread
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.curves import draw_curves
from molmo_agent.train.fine_tuning import FineTuning
from molmo_agent.train.launch import process_group, run_workers
from molmo_agent.train.recipe import from_dict, to_dict
from molmo_agent.train.validation.answers import PAGE, same_words
from molmo_agent.train.validation.early_warning import EarlyWarning
from molmo_agent.train.validation.held_out import HeldOut

pytest_plugins = ("quick_ranks",)
pytestmark = pytest.mark.usefixtures("quick_ranks")


def measured_run(folder: Path, **changes: Any) -> TrainConfig:
    folder.mkdir(parents=True, exist_ok=True)
    data = to_dict(small_run(folder))
    data["mixture"][0]["hold_out"] = 3
    data |= {"validate": {"every": 2, "generate": 2, "max_new_tokens": 4}, "checkpoint_every": 100, "steps": 4}
    return from_dict(data | changes)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def measurements(folder: Path) -> dict[int, tuple[float, float, bool]]:
    """Loss, exact answers and whether it is the best, by step."""
    found = {record["step"]: record["validation"] for record in records(folder) if "validation" in record}
    return {step: (one["loss"], one["exact"], one["best"]) for step, one in found.items()}


def same(one: dict[int, Any], other: dict[int, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[step][0] == pytest.approx(other[step][0], rel=2e-4) and one[step][1:] == other[step][1:] for step in one
    )


def test_the_held_out_loss_is_the_same_for_one_and_two_workers_and_after_a_restart(tmp_path: Path) -> None:
    config = measured_run(tmp_path / "data")
    whole, stopped, two = (tmp_path / name for name in ("whole", "stopped", "two"))
    fit(config, whole)
    steps = iter([False, False, True])
    fit(config, stopped, stop=lambda: next(steps))
    fit(config, stopped)
    run_workers(config, two, 2, threads=1)
    expected = measurements(whole)
    assert list(expected) == [2, 4]
    assert measurements(stopped) == expected
    assert same(measurements(two), expected), (measurements(two), expected)
    assert [record["loss"] for record in records(stopped)] == [record["loss"] for record in records(whole)]


def test_measuring_changes_nothing_in_training(tmp_path: Path) -> None:
    config = measured_run(tmp_path / "data", ema=0.5, residual_dropout=0.1)
    fit(config, tmp_path / "with")
    fit(from_dict(to_dict(config) | {"validate": None}), tmp_path / "without")
    losses = [[record["loss"] for record in records(tmp_path / name)] for name in ("with", "without")]
    assert losses[0] == losses[1]


def test_the_loss_is_that_of_the_exported_model_and_the_exact_answers_are_its_own(tmp_path: Path) -> None:
    config = measured_run(tmp_path)
    module = FineTuning(config)
    assert module.held_out is not None
    found = module.held_out.measure(module.model)
    assert {"loss", "accuracy", "exact", "sources", "examples", "seconds"} == found.keys()
    assert found["examples"] == 2, "every third of six pictures"
    assert list(found["sources"]) == ["points"]
    assert module.model.training
    with torch.no_grad():
        module.model.model.lm_head.weight.zero_()
    vocabulary = module.model.model.lm_head.weight.shape[0]
    flat = module.held_out.measure(module.model)
    assert flat["loss"] == pytest.approx(float(torch.tensor(float(vocabulary)).log()), rel=1e-3)
    assert flat["exact"] == 0


def test_an_answer_counts_as_exact_where_the_model_would_say_it(tmp_path: Path) -> None:
    path = write_chat(tmp_path)
    path.write_text(json.dumps({"messages": ["hello", "aaaa"]}) + "\n")
    data = to_dict(small_run(tmp_path / "run" if (tmp_path / "run").mkdir() is None else tmp_path))
    chat = {"kind": "chat", "path": str(path)}
    data |= {"mixture": [chat], "steps": 60, "batch": 2, "validate": {"every": 60, "mixture": [chat], "generate": 1}}
    rate = {"peak": 2e-2, "warmup_steps": 2}
    data["optimizer"] = {name: rate for name in ("vit", "connector", "llm")}
    fit(from_dict(data), tmp_path / "out")
    last = records(tmp_path / "out")[-1]["validation"]
    assert last["exact"] == 1.0
    assert last["answers"] == {"words": 1.0}, "what it says is what it was measured to say"
    page = (tmp_path / "out" / PAGE).read_text()
    assert "aaaa" in page
    assert "Right" in page
    said = "".join(
        MolmoPointer.from_pretrained(tmp_path / "out" / "export").stream_answer([], "hello", max_new_tokens=8)
    )
    assert said.strip() == "aaaa"


def test_the_checkpoint_with_the_smallest_loss_is_kept_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    measure = HeldOut.measure
    monkeypatch.setattr(HeldOut, "measure", lambda self, model: {**measure(self, model), "loss": next(losses)})
    config = measured_run(tmp_path / "data", steps=5, keep=1, validate={"every": 1, "generate": 0})
    fit(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "best.json").read_text()) == {"step": 2, "loss": 1.0}
    assert sorted(path.name for path in (tmp_path / "run").glob("step-*")) == ["step-000002", "step-000005"]
    assert [best for _, _, best in measurements(tmp_path / "run").values()] == [True, True, False, False, False]
    best, last = (MolmoPointer.from_pretrained(tmp_path / "run" / name).model for name in ("best", "export"))
    # The first two steps of the same schedule.
    monkeypatch.setattr(trainer.Trainer, "_export_best", lambda *_: None)
    steps = iter([False, True])
    fit(from_dict(to_dict(config) | {"validate": None}), tmp_path / "short", stop=lambda: next(steps))
    module = FineTuning(from_dict(to_dict(config) | {"validate": None}))
    with process_group(0, 1, None):
        run = RunFolder(tmp_path / "short", module.config)
        assert module.restore(run) == 2
        run.close()
    weights = dict(module.model.model.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in best.named_parameters())
    assert any(not torch.equal(weight, weights[name]) for name, weight in last.named_parameters())


def test_a_page_shows_pictures_questions_and_answers_and_runs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = measured_run(folder, length=600)
    lines = [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]
    for line in lines:
        line["label"] = "<script>alert(1)</script>"
    (folder / "points.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    fit(config, tmp_path / "run")
    page = (tmp_path / "run" / PAGE).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/") == 2
    assert "step 4" in page
    assert records(tmp_path / "run")[-1]["validation"]["answers"].keys() == {"pointing"}
    curves = draw_curves(tmp_path / "run" / "metrics.jsonl", tmp_path / "curves.png")
    assert curves is not None
    with Image.open(curves) as sheet:
        assert sheet.height == 3 * 240


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validate": {"every": 0}}, "expected validate.every to be at least 1, got 0"),
        ({"validate": {"generate": -1}}, "expected validate.generate to be at least 0, got -1"),
        (
            {"validate": {"mixture": [{"kind": "points", "path": "x", "hold_out": 2}]}},
            "without hold_out and group, got 2",
        ),
        ({"validate": {}, "mixture": [{"kind": "points", "path": "x"}]}, r"expected data to validate on.*hold_out=10"),
        ({"validate": {"evry": 3}}, "unknown key of validate 'evry': did you mean every"),
    ],
)
def test_a_measurement_that_cannot_be_is_an_error(changes: Any, message: str) -> None:
    data = {"mixture": [{"kind": "points", "path": "x", "hold_out": 5}]}
    with pytest.raises(UsageError, match=message):
        from_dict(data | changes)


def test_a_set_without_a_usable_example_is_an_error_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no example of 'points' can be used for validation, the first: .*no annotation"
    ):
        FineTuning(measured_run(tmp_path, length=12))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_examples_are_spread_evenly_and_never_repeat(size: int) -> None:
    for most in (1, 3, 64, 100):
        places = spread(size, most)
        assert len(set(places)) == len(places) == min(size, most)
        assert set(places) <= set(range(size))


def test_words_are_the_same_but_for_spaces_and_capitals() -> None:
    assert same_words(" Red  car. ", "red car.")
    assert not same_words("red car", "red car.")
    assert not same_words("", "x")


@pytest.mark.parametrize("where", ["loss", "gradients"])
def test_what_is_not_finite_stops_the_run_and_the_last_good_step_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    config = measured_run(tmp_path / "data", validate=None)
    step = FineTuning.train_step

    def spoil(self: FineTuning, number: int, batch: Any) -> dict[str, Any]:
        if number == 2:
            head = self.model.model.lm_head.weight
            if where == "loss":
                monkeypatch.setattr(type(self.model), "forward", lambda *_: torch.full((7,), torch.nan) * head.sum())
            else:
                head.register_hook(lambda gradient: gradient * torch.inf)
        return step(self, number, batch)

    monkeypatch.setattr(FineTuning, "train_step", spoil)
    message = "the loss of step 3 is nan" if where == "loss" else "the gradients of step 3 are not finite"
    with pytest.raises(ModelError, match=rf"{message}.*; the checkpoint of step 2 is kept in .*run"):
        fit(config, tmp_path / "run")
    monkeypatch.undo()
    module = FineTuning(config)
    with process_group(0, 1, None):
        run = RunFolder(tmp_path / "run", config)
        assert module.restore(run) == 2
        run.close()
    assert all(torch.isfinite(weight).all() for weight in module.model.parameters())


def observe(losses: list[float], **more: Any) -> list[str]:
    watch, told = EarlyWarning({}, 0), []
    for number, loss in enumerate(losses, 1):
        told += watch.observe({"step": number, "loss": loss, **more}, ())
    return told


@pytest.mark.parametrize(
    ("losses", "count"),
    [
        ([2.0] * 30 + [9.0] + [2.0] * 5 + [9.0], 1),
        ([5.0 - 0.1 * n for n in range(30)] + [12.0, 12.0, 12.0], 1),
        ([2.0 + 0.01 * (n % 7) for n in range(50)] + [3.2], 1),
        ([5.0 - 0.1 * n for n in range(45)], 0),
        ([2.0 + (n % 5) * 0.4 for n in range(60)], 0),
        ([2.0] * 10 + [90.0], 0),
    ],
)
def test_a_spike_of_the_loss_is_told_once(losses: list[float], count: int) -> None:
    told = observe(losses)
    assert len(told) == count
    assert all("the loss rose to" in line and "from a median of" in line and "\n" not in line for line in told)


def test_a_dead_data_set_is_told_once_and_not_again_after_a_restart() -> None:
    record = {"loss": 1.0, "drawn": {"mine": 8, "other": 8}, "used": {"other": 8}}
    watch = EarlyWarning({"mine": 0.5, "other": 0.4999, "rare": 0.0001}, 1000)
    told = [watch.observe({"step": n, **record}, ["a.png: it is damaged"]) for n in range(1, 9)]
    assert [len(lines) for lines in told] == [1, 0, 0, 1, 0, 0, 0, 0]
    assert "the data set 'rare' is unlikely to be sampled: 0.1 examples are expected" in told[0][0]
    assert "none of 32 examples of the data set 'mine' could be used, the last: a.png: it is damaged" in told[3][0]
    again = EarlyWarning({"mine": 0.5, "other": 0.4999, "rare": 0.0001}, 1000)
    again.replay({"step": n, **record} for n in range(1, 6))
    assert again.observe({"step": 6, **record}, ()) == []


def test_a_run_tells_of_a_data_set_whose_images_are_damaged(tmp_path: Path) -> None:
    config = measured_run(tmp_path / "data", validate=None, batch=30)
    gone = tmp_path / "gone"
    gone.mkdir()
    write_points(gone)
    data = to_dict(config)
    data["mixture"].append({"kind": "points", "path": str(gone / "points.jsonl"), "name": "gone", "rate": 2.0})
    config = from_dict(data)
    module = FineTuning(config)
    for path in gone.glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    told = []
    for step in range(4):
        told += module.train_step(step, module.batch_loader()(step)).get("warnings", [])
    assert len(told) == 1
    assert "examples of the data set 'gone' could be used" in told[0]
