"""What a run is, read from files and changed on the command line."""

from pathlib import Path

import pytest
import yaml

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.train.recipe import from_dict, load, override, recipe_names, to_dict, to_yaml

SMALL = {"mixture": [{"kind": "chat", "path": "x.jsonl"}]}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_read_and_comes_back_from_yaml(name: str) -> None:
    config = load(name)
    assert from_dict(yaml.safe_load(to_yaml(config))) == config


def test_values_are_set_by_their_place() -> None:
    config = load("pointing", ["mixture.0.path=a b.jsonl", "optimizer.llm.peak=1e-5", "lora.rank=4", "freeze=[vit]"])
    assert config.mixture[0].path == "a b.jsonl"
    assert config.optimizer.llm.peak == 1e-5
    assert config.lora is not None
    assert config.lora.rank == 4
    assert config.freeze == ("vit",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stepz=3", "unknown key of the config 'stepz': did you mean steps"),
        ("optimizer.lm.peak=1", "unknown key of optimizer 'lm': did you mean llm"),
        ("precision=fp8", "unknown value of precision 'fp8'"),
        ("steps=many", "expected steps to be int, got 'many'"),
        ("steps=0", "expected steps to be at least 1, got 0"),
        ("batch=1000000000000", "expected batch to be at most 1000000, got 1000000000000"),
        ("length=1000000000000", "expected length to be at most 10000000, got"),
        ("max_crops=1000000", "expected max_crops to be at most 1000, got"),
        ("steps", "expected key=value, got 'steps'"),
        ("mixture.7.rate=1", "expected a number below 1 for '7'"),
        ("mixture.0.rate=0", "not negative and not all zero, got \\[0.0\\]"),
        ("mixture.0.rate=-1", "not negative and not all zero"),
        ("mixture=[]", "a mixture of at least one data set, got none"),
        ("optimizer.betas=[0.9]", "expected optimizer.betas to have 2 entries, got 1"),
        ("optimizer.llm.peak=fast", "expected optimizer.llm.peak to be a number, got 'fast'"),
        ("optimizer=3", "expected optimizer to be a mapping, got 3"),
        ("mixture.0={}", "expected mixture\\[0\\] to have kind"),
        ("steps.more=1", "'more' cannot be set there"),
        ("packing=1", "expected packing to be bool, got 1"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load("pointing", [change])


def test_an_unknown_recipe_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'android': did you mean android_control"):
        load("android")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UsageError, match="to be YAML, but"):
        load(str(tmp_path / "broken.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="to hold a mapping, got list"):
        load(str(tmp_path / "list.yaml"))


def test_plain_data_is_not_shared_with_the_config() -> None:
    data = to_dict(from_dict(SMALL))
    override(data, ["mixture.0.options.a=1"])
    assert from_dict(SMALL).mixture[0].options == {}
