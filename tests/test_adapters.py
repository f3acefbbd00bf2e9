"""Adapters reach what a recipe names, experts too; a name that nothing has is an error with the near ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_models import load_golden
from tiny_training import small_run
from torch import nn

from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.adapters import adapter_targets, add_adapters
from molmo_agent.train.config import Lora, TrainConfig
from molmo_agent.train.export import merge_adapters
from molmo_agent.train.fine_tuning import prepare
from molmo_agent.train.starting_model import load_model

# bitsandbytes and torch warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
GOLDEN = Path(__file__).parent / "golden"
NAMES = ("dense_qwen", "dense_olmo", "moe_olmoe")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MolmoForConditionalGeneration]:
    folder = tmp_path_factory.mktemp("golden")
    return lambda name: load_golden(GOLDEN, name, folder / name)


class Wrapped(nn.Module):
    """As training holds a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def add(model: nn.Module, **changes: Any) -> None:
    lora = Lora(**changes)
    add_adapters(model, targets=lora.targets, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)


def test_the_default_reaches_every_matrix_of_a_decoder(golden) -> None:
    for name in NAMES:
        model = golden(name)
        modules, stacks = adapter_targets(model, Lora().targets)
        decoder = model.model.language_model.layers
        reached = {id(model.get_submodule(module).weight) for module in modules}
        reached |= {id(model.get_parameter(stack)) for stack in stacks}
        left = [
            n for n, p in decoder.named_parameters() if p.dim() > 1 and id(p) not in reached and "mlp.gate." not in n
        ]
        assert not left, name


@pytest.mark.parametrize(
    ("targets", "stacks"),
    [
        (r".*language_model.*\.(q_proj|gate_proj|down_proj)", {"gate_up_proj", "down_proj"}),
        (r".*experts\.down_proj", {"down_proj"}),
        (r".*\.gate_up_proj", {"gate_up_proj"}),
    ],
)
def test_adapters_on_experts_learn_and_are_merged(targets: str, stacks: set[str], golden) -> None:
    torch.manual_seed(0)
    model = golden("moe_olmoe").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = Wrapped(model)
    add(model, rank=2, alpha=4, targets=targets)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    model(input_ids=ids, labels=ids).loss.backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert any(".experts" in name and ".lora_" in name for name in learning)
    weights = {name.removeprefix("model."): value for name, value in wrapped.state_dict().items()}
    merged = merge_adapters(weights, wrapped)  # type: ignore[arg-type]
    assert merged.keys() == before.keys()
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], merged[name])}
    assert changed - {"weight"} == stacks
    plain = golden("moe_olmoe").eval()
    plain.load_state_dict(merged)
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=ids).logits, model(input_ids=ids).logits, atol=2e-4, rtol=1e-3)


def test_a_pattern_that_matches_nothing_is_told_with_near_names(golden) -> None:
    refused = [
        (r".*\.q_porj", r"matches none; did you mean .*q_proj"),
        (r".*language_model.*\.(q_proj|vproj)", r"\(\?:vproj\)' of .*matches none; did you mean .*v_proj"),
        (r".*\.(?:o_proj|wo)", r"matches none. Names end in .*o_proj"),
        ("q_proj", r"names of matrices as a whole, but 'q_proj' matches none"),
        (r".*language_modle.*\.q_proj", r"matches none"),
        (r".*\.(q_proj", r"expected lora.targets to be a regular expression, got"),
    ]
    for name in NAMES:
        model = golden(name)
        for pattern, message in refused:
            with pytest.raises(UsageError, match=message):
                add(model, targets=pattern)
        assert not any("lora_" in parameter for parameter, _ in model.named_parameters())
    with pytest.raises(UsageError, match=r"did you mean .*down_proj"):
        adapter_targets(golden("dense_qwen"), r".*\.donw_proj")


def test_dropout_before_experts_is_refused(golden) -> None:
    with pytest.raises(UsageError, match=r"expected lora.dropout=0 with adapters on experts, got 0.1"):
        add(golden("moe_olmoe"), dropout=0.1)
    model = golden("moe_olmoe")
    add(model, dropout=0.1, targets=r".*\.self_attn\.(q|v)_proj")
    assert any("lora_" in name for name, _ in model.named_parameters())


def test_a_recipe_trains_experts_by_adapters_alone(tmp_path: Path, golden) -> None:
    config: TrainConfig = replace(small_run(tmp_path), lora=Lora(rank=2), freeze=("vit", "connector"))
    model: Any = prepare(config, golden("moe_olmoe"))
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(".lora_" in name for name in learning)
    assert any(".experts" in name for name in learning)


def test_experts_that_four_bits_do_not_reach_are_told(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    small = small_run(tmp_path)
    fields = MolmoForConditionalGeneration.from_pretrained(small.model).config.to_dict()
    fields["text_config"] |= {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2}
    MolmoForConditionalGeneration(MolmoConfig(**fields)).save_pretrained(tmp_path / "experts")
    MolmoProcessor.from_pretrained(small.model).save_pretrained(tmp_path / "experts")
    config = replace(small, model=str(tmp_path / "experts"), lora=Lora(base="4bit"), sharding="none")
    with pytest.warns(
        UserWarning, match=r"leaves \d+% of the decoder's weights whole.*experts \(down_proj, gate_up_proj"
    ):
        load_model(config)
