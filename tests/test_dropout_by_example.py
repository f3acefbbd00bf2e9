"""Training with dropout: what is dropped belongs to an example, so the number of workers changes nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import small_run
from torch import nn

from molmo_agent.model.residual_dropout import ExampleSeeds
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.config import Lora, TrainConfig
from molmo_agent.train.fine_tuning import FineTuning, prepare
from molmo_agent.train.flops import Flops
from molmo_agent.train.recipe import load, recipe_names
from molmo_agent.train.starting_model import load_model
from molmo_agent.train.step import ModelWithLoss


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return small_run(tmp_path_factory.mktemp("data"))


def sums(config: TrainConfig, ranks: int, steps: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the objectives and gradients of some steps, added over the sequences of all ranks."""
    torch.manual_seed(0)
    model, processor = load_model(config)
    loader = DataLoader(config, processor, Flops(model.config))
    trained = ModelWithLoss(prepare(config, model), config).train()
    for name, parameter in trained.named_parameters():
        if "lora_B" in name:  # zero at first: nothing would reach the other factor
            nn.init.normal_(parameter, std=0.1)
    total = torch.zeros(())
    for step in range(steps):
        for rank in range(ranks):
            # Each rank has its own random numbers.
            torch.manual_seed(1000 * step + rank + 10 * ranks)
            for arrays in loader.batch(step, rank, ranks).sequences:
                part = trained(arrays)
                (part[0] + part[1]).backward()
                total = total + part.detach()
    return total, {name: p.grad for name, p in trained.named_parameters() if p.grad is not None}


def assert_any_number_of_ranks_adds_up_to_the_same(config: TrainConfig) -> None:
    alone, gradients = sums(config, 1)
    for ranks in (2, 4):
        together, theirs = sums(config, ranks)
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
        assert theirs.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(theirs[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max() + 1))


def recipes() -> list[TrainConfig]:
    """Return the shipped recipes that fine-tune; those of the curriculum have no dropout."""
    return [recipe for name in recipe_names() if isinstance(recipe := load(name), TrainConfig)]


def test_every_recipe_adds_up_to_the_same_on_one_two_and_four_ranks(config: TrainConfig) -> None:
    # Their own data and models are large: what is left is how they batch, pack, weigh, drop and compute.
    forms: list[TrainConfig] = []
    for recipe in recipes():
        own: dict[str, Any] = {
            "precision": "fp32",
            "batch": 4,
            "length": 300,
            "max_crops": 2,
            "groups": {},
            "home": None,
        }
        small = replace(recipe, model=config.model, mixture=config.mixture, **own)
        form = replace(small, optimizer=config.optimizer, steps=9, checkpoint_every=9, keep=1, data_seed=1)
        if form not in forms:
            forms.append(form)
    assert len(forms) >= 3
    assert {form.residual_dropout for form in forms} >= {0.0, 0.1}, "and some of them drop"
    for form in forms:
        assert_any_number_of_ranks_adds_up_to_the_same(form)


@pytest.mark.parametrize(
    "changes",
    [
        {"residual_dropout": 0.3, "activation_checkpointing": True},
        {"residual_dropout": 0.1, "answer_dropout": 0.5, "packing": False},
        {"lora": Lora(rank=2, dropout=0.4), "freeze": ("vit",)},
        {"lora": Lora(rank=2, dropout=0.4), "residual_dropout": 0.2, "activation_checkpointing": True},
    ],
)
def test_dropout_adds_up_to_the_same_on_any_number_of_ranks(config: TrainConfig, changes: dict[str, Any]) -> None:
    changed = replace(config, batch=4, **changes)
    assert_any_number_of_ranks_adds_up_to_the_same(changed)
    without = replace(
        changed, residual_dropout=0.0, answer_dropout=0.0, lora=changed.lora and replace(changed.lora, dropout=0.0)
    )
    dropped, kept = (sums(one, 1, steps=1)[0][0] for one in (changed, without))
    assert abs(float(dropped - kept)) > 1e-3, "something was dropped"


def test_each_step_and_each_layer_drops_something_else() -> None:
    x = torch.ones(1, 50, 40)
    masks = [
        ExampleSeeds((seed, 99), (20, 30)).uniform(x, place)[0, :20] > 0.3
        for seed in (1, 2, 2**63 + 1, 2**64 - 1)
        for place in range(4)
    ]
    for number, mask in enumerate(masks):
        assert float(mask.float().mean()) == pytest.approx(0.7, abs=0.08)
        for other in masks[:number]:
            assert float((mask == other).float().mean()) == pytest.approx(0.58, abs=0.08), "as if independent"


def test_an_example_drops_the_same_behind_any_other() -> None:
    x = torch.ones(1, 7, 5)
    first = ExampleSeeds((11, 12), (3, 4)).uniform(x, 6)
    last = ExampleSeeds((5, 11), (4, 3)).uniform(x, 6)
    assert torch.equal(first[:, :3], last[:, 4:])
    with pytest.raises(ValueError, match=r"expected the 7 tokens of a sequence of 2 examples, got \(1, 6, 5\)"):
        ExampleSeeds((1, 2), (3, 4)).uniform(x[:, :6], 0)


def test_adapters_begin_the_same_on_every_rank(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for rank in (0, 1, 3):
        monkeypatch.setattr("molmo_agent.train.fine_tuning.own_rank", lambda rank=rank: rank)
        module = FineTuning(replace(config, lora=Lora(rank=2)))
        made.append({name: p.detach() for name, p in module.model.named_parameters() if "lora_A" in name})
    assert made[0]
    for other in made[1:]:
        assert all(torch.equal(value, made[0][name]) for name, value in other.items())
    assert np.isfinite(float(next(iter(made[0].values())).sum()))
