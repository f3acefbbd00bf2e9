"""Each switch of the paper's ablations changes what it says, and the defaults stay what they were."""

import dataclasses
import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from made_data import cap, keep, opened, parquet, points_row, url
from test_start_model import SMALL, write_language, write_vision
from tiny_training import small_run, write_points
from torch import nn

from molmo_agent.cli.training.run import Launch, TrainingProgress
from molmo_agent.console import make_console
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.molmo_0924 import vision_fields
from molmo_agent.model.checkpoints.released_config import translate_config
from molmo_agent.model.connector import MolmoConnector
from molmo_agent.model.prompts import asked
from molmo_agent.model.start_model import Start, write_start_model
from molmo_agent.point_text.parse import format_points, parse_points
from molmo_agent.train import step
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.batching.encode import apply_template
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import Rate, StartModel, TrainConfig
from molmo_agent.train.export import profile_changes
from molmo_agent.train.flops import Flops
from molmo_agent.train.recipe import from_dict, load, set_value, to_dict
from molmo_agent.train.starting_model import load_model, start_place, write_start
from molmo_agent.train.validation.held_out import HeldOut

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return small_run(tmp_path_factory.mktemp("run"), batch=2)


# --- The step ---------------------------------------------------------------------------------------------------------


class TwoParts(nn.Module):
    """A model with a weight in the tower, the connector and the decoder."""

    def __init__(self, gradients: dict[str, float]) -> None:
        super().__init__()
        self.vision_tower, self.connector, self.llm = (nn.Linear(1, 1, bias=False) for _ in range(3))
        for name, value in gradients.items():
            getattr(self, name).weight.grad = torch.tensor([[value]])

    def left(self) -> list[float]:
        return [float(part.weight.grad) for part in (self.vision_tower, self.connector, self.llm)]


@pytest.mark.parametrize("norms", [(3.0, 4.0, 12.0), (0.3, 0.4, 1.2), (0.1, 0.2, 0.2), (100.0, 0.0, 0.0)])
def test_clipping_is_by_component_or_by_the_norm_of_all(norms: tuple[float, float, float]) -> None:
    gradients = dict(zip(("vision_tower", "connector", "llm"), norms, strict=True))
    total = math.hypot(*norms)
    alone, together = TwoParts(gradients), TwoParts(gradients)
    assert step.clip(alone, 1.0) == step.clip(together, 1.0, "global")
    assert alone.left() == pytest.approx([min(norm, 1.0) for norm in norms], abs=1e-5)
    assert together.left() == pytest.approx([norm / max(total, 1.0) for norm in norms], abs=1e-5)


class OneBatch:
    """A tiny model, and the gradient of one batch under a config; the weights stay as they are."""

    def __init__(self, config: TrainConfig) -> None:
        self.model, processor = load_model(config)
        self.sequences = (
            DataLoader(config, processor, Flops(self.model.config)).batch(0, rank=0, world_size=1).sequences
        )
        self.weight = sum(float(torch.as_tensor(s["loss_weights"]).double().sum()) for s in self.sequences)
        still = {name: Rate(peak=0.0) for name in ("vit", "connector", "llm")}
        self.optimizer = dataclasses.replace(config.optimizer, **still, clip=1e9)
        self.config = dataclasses.replace(config, optimizer=self.optimizer)

    def gradient(self, weight: str = "lm_head.weight", **changes: Any) -> torch.Tensor:
        """Return that of one weight."""
        config = dataclasses.replace(self.config, **changes)
        whole = step.ModelWithLoss(self.model, config)
        step.train_step(whole, step.make_optimizer(whole, config.optimizer), self.sequences, config, 1)
        gradient = self.model.get_parameter(weight).grad
        assert gradient is not None
        return gradient.clone()


@pytest.fixture(scope="module")
def batch(run: TrainConfig) -> OneBatch:
    return OneBatch(run)


def test_the_recipe_decides_how_gradients_are_clipped(batch: OneBatch) -> None:
    part = "model.connector.projector.down_proj.weight"
    plain = batch.gradient(part)
    by: dict[str, torch.Tensor] = {}
    for clip_by in ("component", "global"):
        by[clip_by] = batch.gradient(part, optimizer=dataclasses.replace(batch.optimizer, clip_by=clip_by, clip=1e-4))
    # The connector's own norm is far below the limit, that of all weights is above.
    torch.testing.assert_close(by["component"], plain, rtol=1e-4, atol=0)
    shares = by["global"][plain != 0] / plain[plain != 0]
    assert shares.max() < 0.5
    torch.testing.assert_close(shares, shares.mean().expand_as(shares), rtol=1e-2, atol=1e-4)


def test_a_local_divisor_is_the_own_weight_whatever_other_workers_have(
    batch: OneBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = batch.gradient()
    assert torch.equal(alone, batch.gradient(loss_divisor="local")), "with one worker, to the last bit"
    plain = step.all_reduce_sum
    monkeypatch.setattr(step, "world_size", lambda: 2)
    for others in (0.5, 3.0, 200.0):
        # A second worker with another number of tokens; its gradients are not added here.
        monkeypatch.setattr(step, "all_reduce_sum", lambda *v, n=others: plain(*v) + (n if len(v) == 2 else 0))
        torch.testing.assert_close(batch.gradient(loss_divisor="local"), alone)
        torch.testing.assert_close(batch.gradient(), alone * 2 * batch.weight / (batch.weight + others))


# --- Model ------------------------------------------------------------------------------------------------------------


def connector(pooling: str, layers: tuple[int, ...] = (-1, -2)) -> MolmoConnector:
    config = MolmoConfig(
        vision_config={
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config={"model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 50},
        pooling=pooling,
        vit_layers=layers,
        pooling_heads=2,
        pooling_head_dim=4,
        projector_hidden_size=12,
    )
    torch.manual_seed(0)
    return MolmoConnector(config)


@pytest.mark.parametrize(("pooling", "width"), [("attention", 8), ("mean", 16), ("stack", 64)])
def test_pooling_decides_what_the_projector_gets(pooling: str, width: int) -> None:
    part = connector(pooling)
    assert part.projector.gate_proj.in_features == width
    assert any("q_proj" in name for name, _ in part.named_parameters()) == (pooling == "attention")
    patches = torch.randn(2, 16, 16)
    pooled = part(patches)
    assert pooled.shape == (2, 4, 16)
    # Patches of a window change places: its mean is the same, their stack is not.
    swapped = patches.clone()
    swapped[:, [0, 1]] = patches[:, [1, 0]]
    assert torch.allclose(part(swapped), pooled, atol=1e-6) == (pooling != "stack")


@pytest.mark.parametrize("pooling", ["attention", "mean", "stack"])
def test_the_official_layout_keeps_the_pooling(pooling: str) -> None:
    fields = vision_fields(MolmoConfig(pooling=pooling, pad_embed=False))
    assert translate_config({**json.loads(OFFICIAL), **fields})["pooling"] == pooling


OFFICIAL = json.dumps(
    {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "qkv_bias": True,
        "rope_theta": 1e4,
        "layer_norm_eps": 1e-6,
        "vocab_size": 50,
        "embedding_size": 50,
        "max_position_embeddings": 64,
        "layer_norm_type": "rms",
        "model_type": "molmo",
    }
)


def test_start_has_the_options_of_agent_start() -> None:
    ours = {field.name: field.default for field in dataclasses.fields(StartModel)}
    theirs = {field.name: field.default for field in dataclasses.fields(Start)}
    assert ours.keys() - theirs.keys() == {"vision", "language"}
    assert {name: ours[name] for name in theirs} == theirs


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("parts")
    return {"vision": str(write_vision(folder / "vision")), "language": str(write_language(folder / "language"))}


def start_run(folder: Path, parts: dict[str, str], **choices: Any) -> TrainConfig:
    start = {**parts, "margins": [0, 0], "max_crops": 2, "vit_layers": [-1, -2], **choices}
    data = {"mixture": [{"kind": "points", "path": str(write_points(folder))}], "start": start, "max_crops": 2}
    config: Any = from_dict({**data, "steps": 1, "batch": 2, "length": 600, "checkpoint_every": 1})
    return config


def test_a_recipe_makes_the_model_that_it_starts_from_once(
    parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = start_run(tmp_path, parts, pooling="mean")
    progress = TrainingProgress(make_console(stderr=True), 1, as_json=False)
    ran = Launch().run(config, tmp_path / "run", progress)
    assert ran == start_place(config, tmp_path / "run")
    assert MolmoForConditionalGeneration.from_pretrained(tmp_path / "run" / "export").config.pooling == "mean"
    made = Path(ran.model) / "model.safetensors"
    before = made.stat().st_mtime_ns
    assert Launch().run(config, tmp_path / "run", progress) == ran, "a finished run is run again"
    assert made.stat().st_mtime_ns == before
    # Other choices are another model, also in this folder; and torchrun's processes cannot make it.
    other = start_run(tmp_path, parts, pooling="stack")
    assert start_place(other, tmp_path / "run").model != ran.model
    monkeypatch.setenv("RANK", "1")
    assert write_start(config, tmp_path / "run") == ran
    with pytest.raises(UsageError, match="torchrun's processes cannot make the model of 'start' together"):
        write_start(other, tmp_path / "run")


@pytest.mark.parametrize(
    ("choices", "field", "value"),
    [
        ({"crop_mode": "resize"}, "crop_mode", "resize"),
        ({"margins": [2, 0]}, "margins", [2, 0]),
        ({"max_crops": 3}, "max_crops", 3),
    ],
)
def test_cropping_is_decided_by_the_start_model(
    choices: dict[str, Any], field: str, value: Any, parts: dict[str, str], tmp_path: Path
) -> None:
    config = write_start(start_run(tmp_path, parts, **choices), tmp_path / "run")
    images = MolmoProcessor.from_pretrained(config.model).image_processor
    found = getattr(images, field)
    assert (list(found) if isinstance(found, tuple) else found) == value


# --- Points -----------------------------------------------------------------------------------------------------------

PLACES = (Point(0.8, 0.1), Point(0.2, 0.5), Point(0.5, 0.3))


def counting(folder: Path, **options: Any) -> list[tuple[str, ...]]:
    """Return questions and answers about three sheep that were marked from right to left, and about no goats."""
    rows = [points_row(0, "Sheep", [(80, 10), (20, 50), (50, 30)]), points_row(1, "Goats", [])]
    parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    keep(folder, 0, 1)
    data = opened("pixmo-points", folder, **options)
    return [one.turns for row in range(2) for one in data.row(row, 3).conversations]


IN_ORDER = '<points x1="20.0" y1="50.0" x2="50.0" y2="30.0" x3="80.0" y3="10.0" alt="sheep">sheep</points>'
AS_MARKED = '<points x1="80.0" y1="10.0" x2="20.0" y2="50.0" x3="50.0" y3="30.0" alt="sheep">sheep</points>'
TOKENS = (
    '<points x1="<|200|>" y1="<|500|>" x2="<|500|>" y2="<|300|>" x3="<|800|>" y3="<|100|>" alt="sheep">sheep</points>'
)


@pytest.mark.parametrize(
    ("options", "answer", "none"),
    [
        ({"style": "pointing"}, IN_ORDER, "There are none."),
        ({"style": "point_count"}, f"Counting the {IN_ORDER} shows a total of 3.", "There are none."),
        ({"style": "count_then_point"}, f"There are 3 {IN_ORDER}.", "There are none."),
        ({"style": "only_count"}, "3", "0"),
        ({"style": "pointing", "order": "annotated"}, AS_MARKED, "There are none."),
        ({"style": "pointing", "dialect": "molmo-tokens"}, TOKENS, "There are none."),
        (
            {"style": "point_count", "dialect": "molmo-tokens"},
            f"Counting the {TOKENS} shows a total of 3.",
            "There are none.",
        ),
    ],
)
def test_an_answer_counts_and_points_as_it_is_told(
    options: dict[str, str], answer: str, none: str, tmp_path: Path
) -> None:
    (question, ours), (_, without) = counting(tmp_path, **options)
    assert (ours, without) == (answer, none)
    assert "sheep" in question


@pytest.mark.parametrize("style", ["point_count", "count_then_point", "pointing"])
def test_random_points_are_elsewhere_and_the_count_stays_right(style: str, tmp_path: Path) -> None:
    numbers = []
    for places in ("random", "random_number"):
        data_folder = tmp_path / places
        (_, answer), (_, none) = counting(data_folder, style=style, places=places)
        assert none == "There are none."
        assert answer != counting(data_folder, style=style)[0][1]
        assert answer == counting(data_folder, style=style, places=places)[0][1], "the seed decides"
        stated = re.sub(r"<points?.*</points?>", "", answer)
        assert ("3" in stated) == (style != "pointing")
        data = opened("pixmo-points", data_folder, style=style, places=places)
        drawn = [data.row(0, seed).conversations[0].turns[1] for seed in range(20)]
        assert len(set(drawn)) == 20
        numbers.append(Counter(len(re.findall(r" x\d* ?=", text)) for text in drawn))
    assert set(numbers[0]) == {3}
    assert len(numbers[1]) > 3
    assert max(numbers[1]) <= 10


def test_a_count_needs_no_points(tmp_path: Path) -> None:
    rows = [{"image_url": url(0), "label": "Sheep", "count": 7, "points": None}]
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", rows)
    keep(tmp_path, 0)
    data = opened("pixmo-count", tmp_path, split="validation", style="only_count")
    assert data.row(0, 0).conversations[0].turns[1] == "7"
    with pytest.raises(ValueError, match="has no points to learn from"):
        opened("pixmo-count", tmp_path, split="validation", style="count_then_point").row(0, 0)


@pytest.mark.parametrize("points", [PLACES, PLACES[:1], (Point(1.0, 1.0), Point(0.0, 0.0))])
def test_point_tokens_are_read_back(points: tuple[Point, ...]) -> None:
    text = format_points("molmo-tokens", points, "Sheep")
    found = parse_points("molmo-tokens", text)
    assert found.status == "ok"
    wanted = sorted((min(p.x, 0.999), min(p.y, 0.999)) for p in points)
    assert [(p.point.x, p.point.y) for p in found.points] == [pytest.approx(pair) for pair in wanted]
    assert parse_points("molmo", text).status == "unparsed", "tokens are no percents"
    plain = format_points("molmo", points, "Sheep")
    assert parse_points("molmo-tokens", plain).status == "unparsed", "percents are no tokens"


def test_a_start_model_can_say_point_tokens(parts: dict[str, str], tmp_path: Path) -> None:
    write_start_model(
        parts["vision"], parts["language"], tmp_path / "model", dataclasses.replace(SMALL, point_tokens=True)
    )
    model = MolmoForConditionalGeneration.from_pretrained(tmp_path / "model")
    tokenizer: Any = MolmoProcessor.from_pretrained(tmp_path / "model").tokenizer
    vocabulary = model.config.text_config.vocab_size
    assert vocabulary == 320 + 1000
    assert model.lm_head.weight.shape[0] == vocabulary, "a logit for each"
    plain: Any = tokenizer(" ", add_special_tokens=False)["input_ids"]
    for number in (0, 7, 999):
        ids = tokenizer(f"<|{number}|>", add_special_tokens=False)["input_ids"]
        assert len(ids) == 1
        assert 320 <= ids[0] < vocabulary
        assert tokenizer.decode([*plain, *ids], skip_special_tokens=True).strip() == f"<|{number}|>"
    assert len(tokenizer("<|1000|>", add_special_tokens=False)["input_ids"]) > 1
    assert min(model.config.image_token_ids) >= vocabulary
    rows = model.get_output_embeddings().weight[320:vocabulary]
    assert rows.std(0).min() > 0, "their rows are not all the same"
    language = write_language(tmp_path / "language", more=tuple(f"<|{n}|>" for n in range(3)))
    with pytest.raises(ModelError, match="without tokens behind the decoder's vocabulary"):
        write_start_model(parts["vision"], language, tmp_path / "other", dataclasses.replace(SMALL, point_tokens=True))


def test_a_model_that_learned_point_tokens_is_read_in_them() -> None:
    def dialect(*sources: dict[str, Any]) -> str | None:
        config: Any = from_dict({"mixture": [{"path": "x", **source} for source in sources]})
        return profile_changes(config).get("dialect")

    tokens = {"kind": "pixmo-points", "options": {"dialect": "molmo-tokens", "style": "pointing"}}
    assert dialect(tokens) == "molmo-tokens"
    assert dialect(tokens, {"kind": "pixmo-count", "options": {"dialect": "molmo-tokens"}}) == "molmo-tokens"
    assert dialect({"kind": "pixmo-points"}) == "molmo"
    assert dialect({"kind": "vqa2"}) is None


# --- Captions, prefixes, crops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "styles", "texts"),
    [
        ("transcript_and_caption", ["long_caption", "transcript"], ("Caption 0.", "so here is 0|uh 0")),
        ("caption", ["long_caption"], ("Caption 0.",)),
        ("transcript", ["transcript"], ("so here is 0|uh 0",)),
        ("captions", ["long_caption"], ("Caption 0.",)),
    ],
)
def test_captions_and_transcripts_are_drawn_as_the_mode_says(
    mode: str, styles: list[str], texts: tuple[str, ...], tmp_path: Path
) -> None:
    row = opened("pixmo-cap", cap(tmp_path), mode=mode).row(0, 1)
    assert [one.style for one in row.conversations] == styles
    for one, text in zip(row.conversations, texts, strict=True):
        assert one.turns[1] in text.split("|")
        assert bool(one.turns[0]) == (mode == "captions"), "only fine-tuning asks in words"


def test_a_picture_without_a_transcript_is_told_where_only_those_are_used(tmp_path: Path) -> None:
    rows = [
        {"image_url": url(0), "caption": "Caption.", "transcripts": [" "]},
        {"image_url": url(1), "caption": "Caption.", "transcripts": ["said"]},
    ]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    keep(tmp_path, 0, 1)
    data = opened("pixmo-cap", tmp_path, mode="transcript")
    assert len(data) == 1
    assert [problem.reason for problem in data.problems.entries] == ["expected a transcript, got none"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("tag", {" long_caption:"}), ("none", {" "}), ("style", {" ", " long_caption:"}), ("length", None)],
)
def test_the_prefix_of_a_caption(prefix: str, expected: set[str] | None, tmp_path: Path) -> None:
    row = opened("pixmo-cap", cap(tmp_path), mode="caption").row(0, 1)
    config: Any = from_dict({"mixture": [{"kind": "chat", "path": "x"}], "prefix": prefix, "message_format": "none"})
    rng = np.random.RandomState(0)
    drawn = {apply_template(row.conversations[0], config, rng)[0] for _ in range(80)}
    if expected is None:
        assert all(re.fullmatch(r" long_caption (-?\d+)?:", text) for text in drawn)
        assert len(drawn) > 3
    else:
        assert drawn == expected


def test_a_model_that_saw_every_tag_is_asked_with_it() -> None:
    assert asked("Point to a cat", "pointing", "role", "tag") == " User: pointing: Point to a cat Assistant:"
    assert asked("low_level: tap", "android_control", "none", "tag") == " low_level: tap"


@pytest.mark.parametrize("crops", [1, 2])
def test_validation_has_its_own_number_of_crops(crops: int, tmp_path: Path) -> None:
    run = small_run(tmp_path)
    config: Any = from_dict(
        {
            **to_dict(run),
            "mixture": [{"kind": "points", "path": str(write_points(tmp_path)), "hold_out": 2}],
            "max_crops": 2,
            "validate": {"max_crops": crops},
        }
    )
    model, processor = load_model(config)
    held_out = HeldOut(config, processor, Flops(model.config))
    assert {example.encoded.crops for examples in held_out.examples.values() for example in examples} == {1 + crops}
    assert held_out.measure(step.ModelWithLoss(model, config))["examples"] > 0
    with pytest.raises(UsageError, match=r"expected validate\.max_crops to be at least 1, got 0"):
        from_dict({**to_dict(config), "validate": {"max_crops": 0}})


# --- Recipes ----------------------------------------------------------------------------------------------------------

TABLE_7 = {
    "points": 28.8, "count": 6.2, "pixmo-ask-model-anything": 3.8, "pixmo-cap": 3.2, "pixmo-cap-qa": 5.7,
    "pixmo-point-explanations": 2.4, "pixmo-clocks": 5.3, "docs-charts": 5.2, "docs-other": 4.0, "docs-tables": 3.3,
    "docs-diagrams": 1.9, "tally-qa": 3.9, "vqa2": 3.1, "android-control": 2.9, "a-okvqa": 2.8, "doc-qa": 2.1,
    "text-vqa": 2.0, "chart-qa": 1.8, "st-vqa": 1.7, "info-qa": 1.6, "tabmwp": 1.6, "plot-qa": 1.5, "ai2d": 1.3,
    "dvqa": 1.1, "figure-qa": 1.1, "ok-vqa": 1.0, "science-qa": 0.8,
}  # fmt: skip


def test_the_published_mixture_has_the_rates_of_table_7() -> None:
    config: Any = load("sft_table_7")
    rates = {source.name or source.kind: source.rate for source in config.mixture if source.group is None}
    assert rates | config.groups == TABLE_7
    assert sum(TABLE_7.values()) == pytest.approx(100, abs=0.3), "as far as the table is rounded"
    released: Any = load("sft")
    assert {s.kind for s in config.mixture} - {s.kind for s in released.mixture} == {"pixmo-clocks"}
    assert dataclasses.replace(config, mixture=released.mixture, groups=released.groups) == released


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("mixture.b.rate", 3, [1, 3, 1]),
        ("mixture.1.rate", 3, [1, 3, 1]),
        ("mixture.chat.rate", 3, [1, 1, 3]),
        ("mixture.b", None, [1, 1]),
    ],
)
def test_a_data_set_is_named_or_numbered(path: str, value: Any, found: list[int]) -> None:
    data: dict[str, Any] = {
        "mixture": [
            {"kind": "points", "rate": 1},
            {"kind": "points", "name": "b", "rate": 1},
            {"kind": "chat", "rate": 1},
        ]
    }
    set_value(data, path, value, where=path)
    assert [entry["rate"] for entry in data["mixture"]] == found


def test_a_kind_that_two_data_sets_have_names_neither() -> None:
    data: dict[str, Any] = {"mixture": [{"kind": "points"}, {"kind": "points"}]}
    with pytest.raises(UsageError, match=r"2 entries have the kind 'points'; use their numbers: \[0, 1\]"):
        set_value(data, "mixture.points.rate", 1, where="mixture.points.rate=1")


def test_a_run_from_before_these_keys_goes_on(run: TrainConfig, tmp_path: Path) -> None:
    old = to_dict(run)
    for key in ("start", "loss_divisor"):
        del old[key]
    del old["optimizer"]["clip_by"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    RunFolder(tmp_path, run).close()
    changed = dataclasses.replace(run, loss_divisor="local")
    with pytest.raises(UsageError, match="loss_divisor was 'global' and is 'local'"):
        RunFolder(tmp_path, changed)
    assert os.listdir(tmp_path)
