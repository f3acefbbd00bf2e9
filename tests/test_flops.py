"""The count of operations against torch's own counter, and what it leaves out."""

import re
from typing import Any

import pytest
import torch
from tiny_training import small_run
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from molmo_agent.data.catalog import open_source
from molmo_agent.model.presets import preset
from molmo_agent.train.batching.encode import collate, encode
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.flops import Flops, Work, peak_of, visible_pairs
from molmo_agent.train.starting_model import load_model
from molmo_agent.train.step import ModelWithLoss

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


# The parts of the tower that run one after another.
TOWER = re.compile(r"ModelWithLoss\.model\.model\.vision_tower\.(?:embeddings|encoder\.layers\.\d+)")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, dict[str, float], float]:
    """The work of an example by our count, each part of it by torch's, and torch's for forward and backward."""
    config = small_run(tmp_path_factory.mktemp("data"))
    model, processor = load_model(config)
    trained = ModelWithLoss(model, config).train()
    example = encode(open_source(config.mixture[0]).row(1, 3), processor, config, 3)
    arrays = collate([example], processor, config)
    learned, tokens = int((arrays["loss_weights"] > 0).sum()), len(example.example.input_ids)
    # torch computes every pair; which of them a mask hides is another test's matter.
    ours = Flops(model.config).work(tokens=tokens, pairs=tokens**2, crops=example.crops, targets=learned)

    def count(work: Any) -> dict[str, float]:
        # The fused kernels of a CPU are not in torch's books; plain products are.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, depth=9) as counter:
            work()
        return {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}

    with torch.no_grad():
        forward = count(lambda: trained(arrays))
    whole = count(lambda: trained(arrays)[:2].sum().backward())["Global"]
    return ours, forward, whole


def test_every_part_of_the_model_is_counted_as_torch_counts_it(measured: tuple[Work, dict[str, float], float]) -> None:
    ours, theirs, _ = measured
    assert ours.vit == sum(count for name, count in theirs.items() if TOWER.fullmatch(name))
    assert ours.connector == theirs["ModelWithLoss.model.model.connector"]
    assert ours.decoder + ours.attention == theirs["ModelWithLoss.model.model.language_model"]
    assert ours.forward == theirs["Global"]


def test_a_step_is_counted_as_torch_counts_it(measured: tuple[Work, dict[str, float], float]) -> None:
    ours, theirs, whole = measured
    # The only piece of logits is kept for the backward pass. Torch does not count gradients of the pixels, which nobody
    # asks for.
    embedding = theirs["ModelWithLoss.model.model.vision_tower.embeddings"]
    assert ours.step() == pytest.approx(whole + embedding, rel=1e-9)


def test_what_a_mask_hides_and_what_does_not_learn_is_not_counted() -> None:
    assert visible_pairs(4, []) == 10
    assert visible_pairs(4, [2, 3]) == 10 + (8 + 3) + (12 + 6)
    work = Work(vit=1, connector=10, decoder=100)
    assert work.step() == 333
    assert work.step(["vit"]) == 1 + 20 + 300 + 10, "the tower runs forward only"
    assert work.step(["vit", "connector"]) == 1 + 10 + 300
    assert work.step(["llm"]) == 33 + 200, "gradients pass through a frozen decoder"
    assert work.step(["vit", "connector"], adapters=True) == 1 + 10 + 200


def test_the_released_models_have_the_published_order_of_work() -> None:
    # 7.6 billion weights of the decoder less its embeddings and head, twice a token.
    seven = Flops(preset("7B-D")).work(tokens=1000, pairs=0, crops=0, targets=0)
    assert seven.decoder == pytest.approx(2 * 6.5e9 * 1000, rel=0.02)
    # One billion of seven is active in the mixture of experts.
    experts = Flops(preset("E-1B")).work(tokens=1000, pairs=0, crops=0, targets=0)
    assert experts.decoder == pytest.approx(2 * 1.1e9 * 1000, rel=0.1)


def test_a_text_alone_costs_a_blank_crop_in_the_balance() -> None:
    cost = Flops(preset("7B-D")).cost
    assert cost(Size(100, 0)) == cost(Size(100, 1)) < cost(Size(100, 2))


def test_the_peak_of_a_device_is_looked_up_by_its_name() -> None:
    assert peak_of("NVIDIA H200") == 989e12
    assert peak_of("NVIDIA H100 PCIe") == 756e12
    assert peak_of("some other") is None
