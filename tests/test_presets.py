"""The paper's hyper-parameters by name, its recipes, and the shares of its mixture."""

from pathlib import Path
from typing import Any

import pytest

from molmo_agent.data.catalog import KINDS, open_mixture
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.train.batching.mixture_weights import mixture_weights
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.presets import PRESETS
from molmo_agent.train.recipe import from_dict, load


def loaded(recipe: str, *changes: str) -> TrainConfig:
    config = load(recipe, changes)
    assert isinstance(config, TrainConfig)
    return config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_config(name: str) -> None:
    config = loaded("pointing", f"preset={name}")
    assert config.precision == "bf16"
    assert config.optimizer.betas == (0.9, 0.95)
    assert config.mixture[0].kind == "points"


# Table 6 of the paper: peaks of tower, connector and decoder, their warm-up, batch, steps.
@pytest.mark.parametrize(
    ("name", "peaks", "warmup", "batch", "steps"),
    [
        ("molmoe-1b/pretrain", (6e-6, 2e-4, 2e-5), (2000, 200, 2000), 128, 22300),
        ("molmo-7b-o/pretrain", (6e-6, 2e-4, 2e-5), (2000, 200, 2000), 128, 22300),
        ("molmo-7b-d/pretrain", (6e-6, 2e-4, 2e-5), (2000, 200, 2000), 128, 22300),
        ("molmo-72b/pretrain", (6e-6, 2e-4, 1e-5), (2000, 200, 2000), 128, 22300),
        ("molmoe-1b/sft", (5e-6, 5e-6, 2e-5), (200, 200, 200), 256, 30000),
        ("molmo-7b-o/sft", (5e-6, 5e-6, 1e-5), (200, 200, 200), 256, 32000),
        ("molmo-7b-d/sft", (5e-6, 5e-6, 1e-5), (200, 200, 200), 256, 30000),
        ("molmo-72b/sft", (3e-6, 3e-6, 5e-6), (200, 200, 200), 256, 20000),
        ("molmo-7b-d/high-res", (2e-6, 2e-6, 5e-6), (200, 200, 200), 256, 3000),
    ],
)
def test_a_preset_has_the_papers_numbers(
    name: str, peaks: tuple[float, ...], warmup: tuple[int, ...], batch: int, steps: int
) -> None:
    config = loaded("pointing", f"preset={name}")
    rates = config.optimizer.vit, config.optimizer.connector, config.optimizer.llm
    assert tuple(rate.peak for rate in rates) == peaks
    assert tuple(rate.warmup_steps for rate in rates) == warmup
    assert (config.batch, config.steps) == (batch, steps)
    pretrain = name.endswith("pretrain")
    assert (config.residual_dropout, config.answer_dropout) == ((0.0, 0.1) if pretrain else (0.1, 0.0))
    assert (config.message_format, config.prefix, config.weighting) == (
        ("none", "length", "one") if pretrain else ("role", "style", "root")
    )
    assert (config.max_crops, config.length) == ((36, 4096) if "high" in name else (12, 2304))
    assert (config.seed, config.data_seed) == (6198, 95818 if pretrain else 50189)


def test_what_comes_later_counts(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("like: sft\npreset: molmo-72b/sft\nbatch: 7\noptimizer: {llm: {peak: 1.0e-3}}\n")
    config = loaded(str(file))
    assert (config.steps, config.batch, config.optimizer.llm.peak, config.optimizer.vit.peak) == (20000, 7, 1e-3, 3e-6)
    assert config.mixture == loaded("sft").mixture
    config = loaded(str(file), "preset=molmo-7b-o/sft", "steps=5")
    assert (config.steps, config.batch, config.optimizer.llm.peak) == (5, 256, 1e-5)


def test_names_that_do_not_exist_are_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown preset 'molmo-7b-d/pretrian': did you mean molmo-7b-d/pretrain"
    ):
        load("sft", ["preset=molmo-7b-d/pretrian"])
    file = tmp_path / "mine.yaml"
    file.write_text("preset: molmo\n")
    with pytest.raises(UnknownNameError, match=r"unknown preset 'molmo': .*known: molmo-72b/pretrain"):
        load(str(file))
    file.write_text("like: sfd\n")
    with pytest.raises(UnknownNameError, match="unknown recipe 'sfd': did you mean sft"):
        load(str(file))
    file.write_text(f"like: {file}\n")
    with pytest.raises(UsageError, match="is based on itself"):
        load(str(file))


@pytest.mark.parametrize(
    ("recipe", "steps", "kinds"), [("pixmo_cap", 22300, 1), ("sft", 30000, 27), ("high_res", 3000, 27)]
)
def test_a_recipe_of_the_paper_names_data_sets_that_exist(recipe: str, steps: int, kinds: int) -> None:
    config = loaded(recipe)
    assert config.steps == steps
    assert {source.kind for source in config.mixture} <= set(KINDS)
    assert all(source.path for source in config.mixture)
    assert len({source.kind for source in config.mixture}) >= min(kinds, 20)


def test_all_data_sets_that_are_missing_are_told_at_once(tmp_path: Path) -> None:
    config = loaded("sft", f"home={tmp_path}")
    with pytest.raises(UsageError, match="31 of 31 data sets cannot be used:") as told:
        open_mixture(config.mixture, config.home)
    assert str(told.value).count("\n") == 31
    assert f"mixture.26 (points-count): expected the split 'train' at {tmp_path / 'pixmo-points'}" in str(told.value)
    (alone,) = loaded("pixmo_cap").mixture
    with pytest.raises(UsageError, match=r"^expected the split 'train' at .*x/pixmo-cap"):
        open_mixture([alone], str(tmp_path / "x"))


# Table 7 of the paper: pictures (or questions, where each is a row) and rate in percent.
PAPER = {"pixmo-ask-model-anything": (71e3, 3.8), "pixmo-cap": (712e3, 3.2), "pixmo-cap-qa": (160e3, 5.7),
         "pixmo-point-explanations": (28e3, 2.4)}  # fmt: skip


def test_the_rule_of_square_roots_gives_the_papers_rates() -> None:
    config = loaded("sft")
    sizes = [int(PAPER.get(source.kind, (10_000, 0))[0]) for source in config.mixture]
    found = mixture_weights(config, sizes)
    assert sum(found) == pytest.approx(1.0)
    for source, share in zip(config.mixture, found, strict=True):
        if source.kind in PAPER:
            assert 100 * share == pytest.approx(PAPER[source.kind][1], abs=0.3), source.kind
    of = {source.kind: share for source, share in zip(config.mixture, found, strict=True)}
    assert of["plot-qa"] == pytest.approx(of["dvqa"] * 2**0.5)
    groups = {
        name: sum(s for c, s in zip(config.mixture, found, strict=True) if c.group == name) for name in config.groups
    }
    assert groups == pytest.approx({"people": 0.15, "academic": 0.5, "pointing": 0.35})


def test_text_alone_has_a_share_beside_the_groups() -> None:
    data: dict[str, Any] = {
        "groups": {"a": 0.9},
        "mixture": [
            {"kind": "points", "path": "x", "group": "a"},
            {"kind": "points", "path": "y", "group": "a", "size": 400},
            {"kind": "chat", "path": "z", "rate": 0.1},
        ],
    }
    config = from_dict(data)
    assert isinstance(config, TrainConfig)
    assert mixture_weights(config, [100, 1_000_000, 5]) == pytest.approx((0.3, 0.6, 0.1))
    data["mixture"][0]["kind"] = "sim-desktop"
    endless = from_dict(data)
    assert isinstance(endless, TrainConfig)
    with pytest.raises(UsageError, match=r"'sim-desktop' is infinite, .*'a' is unknown: set mixture.0.size"):
        mixture_weights(endless, [0, 1, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("mixture.0.group=b", r"unknown group of mixture\[0\] 'b': known: a"),
        ("mixture.0.size=0", r"expected mixture\[0\].size to be at least 1, got 0"),
        ("groups.b=1", "expected a data set of the group 'b', found none; remove it from 'groups'"),
        ("groups.a=much", "expected groups.a to be a number, got 'much'"),
        ("groups.a=-1", "not negative and not all zero"),
    ],
)
def test_groups_that_do_not_fit_are_told(change: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("groups: {a: 1}\nmixture: [{kind: chat, path: x, group: a}]\n")
    with pytest.raises(UsageError, match=message):
        load(str(file), [change])
