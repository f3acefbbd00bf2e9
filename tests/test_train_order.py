"""Which example comes when, which share a sequence, and who sees whom in it."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from molmo_agent.model.modeling import message_tree_mask
from molmo_agent.train.batching.pack import Size, balance, plan
from molmo_agent.train.batching.sampler import BLOCK, Order, mix, shuffled
from molmo_agent.train.batching.tree_attention import Forest, forest_attention
from molmo_agent.train.batching.tree_mask import additive, flex_rule, visible

ORDER = Order((0.28, 0.06, 0.5, 0.16), (1000, 50, 7000, 0), 3)
STRETCH = ORDER.draws(0, 3 * BLOCK)


@given(st.integers(1, 1500), st.integers(0, 2**64 - 1))
def test_shuffling_meets_every_row_once(size: int, key: int) -> None:
    assert sorted(shuffled(i, size, key) for i in range(size)) == list(range(size))


@given(st.integers(0, 2600), st.integers(1, 400))
def test_a_stretch_of_the_stream_is_the_same_wherever_one_begins(start: int, count: int) -> None:
    assert ORDER.draws(start, count) == STRETCH[start : start + count]


def test_each_source_gets_its_share_and_every_row_once_an_epoch() -> None:
    draws = ORDER.draws(0, 40 * BLOCK)
    shares = Counter(draw.source for draw in draws)
    for source, rate in enumerate(ORDER.rates):
        assert abs(shares[source] - rate * 40 * BLOCK) <= 40
    for source, size in enumerate(ORDER.sizes[:3]):
        for epoch in range(shares[source] // size):
            rows = [draw.row for draw in draws if (draw.source, draw.epoch) == (source, epoch)]
            assert sorted(rows) == list(range(size))
    endless = [draw.row for draw in draws if draw.source == 3]
    assert sorted(endless) == list(range(len(endless)))
    assert len({draw.seed for draw in draws}) == len(draws)


def test_epochs_and_seeds_shuffle_differently() -> None:
    draws = ORDER.draws(0, 3000)
    first, second = ([d.row for d in draws if (d.source, d.epoch) == (1, epoch)] for epoch in (0, 1))
    assert first != second
    assert Order(ORDER.rates, ORDER.sizes, 4).draws(0, 50) != draws[:50]


def test_a_source_without_a_share_is_never_drawn() -> None:
    draws = Order((1.0, 0.0, 1.0), (10, 10, 10), 0).draws(0, 2 * BLOCK)
    assert {draw.source for draw in draws} == {0, 2}


def test_mixed_bits_are_spread() -> None:
    bits = np.array([[(mix(1, n) >> bit) & 1 for bit in range(64)] for n in range(2000)])
    assert abs(bits.mean(0) - 0.5).max() < 0.06


sizes = st.lists(st.builds(Size, st.integers(1, 100), st.integers(0, 13)), min_size=1, max_size=40)


def work(size: Size) -> float:
    return float(size.tokens + 50 * size.crops)


@given(sizes, st.integers(1, 9), st.booleans())
def test_every_example_is_computed_once_where_it_fits(examples: list[Size], ranks: int, packing: bool) -> None:
    dealt = plan(examples, length=100, crops=20, ranks=ranks, cost=work, packing=packing)
    assert len({len(rank) for rank in dealt}) == 1, "all ranks take equally many turns"
    sequences = [sequence for rank in dealt for sequence in rank if sequence]
    assert sorted(n for sequence in sequences for n in sequence) == list(range(len(examples)))
    for sequence in sequences:
        assert sum(examples[n].tokens for n in sequence) <= 100
        assert sum(examples[n].crops for n in sequence) <= 20
        assert packing or len(sequence) == 1


def test_work_is_dealt_evenly() -> None:
    rng = np.random.default_rng(0)
    costs = rng.lognormal(0, 0.5, 256).tolist()
    per_rank = [sum(costs[n] for n in members if n >= 0) for members in balance(costs, 8)]
    assert np.mean(per_rank) / max(per_rank) > 0.97


def packed() -> tuple[torch.Tensor, torch.Tensor]:
    documents = torch.tensor([[0] * 12 + [1] * 9 + [2] * 5 + [-1] * 6])
    segments = torch.tensor([[9] * 5 + [1] * 3 + [2] * 4 + [9] * 4 + [1] * 5 + [0] * 5 + [0] * 6])
    return documents, segments


def test_one_example_alone_sees_what_the_models_own_mask_lets_it_see() -> None:
    _, segments = packed()
    ids = segments[:, :12]
    expected = message_tree_mask(ids, None, torch.float32)
    assert torch.equal(additive(torch.zeros_like(ids), ids, torch.float32), expected)


def test_examples_and_padding_do_not_see_each_other() -> None:
    seen = visible(*packed())[0]
    assert not seen[12:21, :12].any()
    assert not seen[21:26, :21].any()
    assert torch.equal(seen[26:], torch.eye(32, dtype=torch.bool)[26:])
    assert not seen[8:12, 5:8].any(), "nor do annotations of one picture"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_all_forms_of_the_mask_attend_alike() -> None:
    documents, segments = packed()
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 32, 16, generator=generator) for _ in range(3))
    mask = additive(documents, segments, torch.float32)
    fused = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    plain = ((query @ key.mT) * 16**-0.5 + mask).softmax(-1) @ value
    blocks = create_block_mask(flex_rule(documents, segments), 1, None, 32, 32, device="cpu")
    flexible = flex_attention(query, key, value, block_mask=blocks)
    forest = Forest.of(documents[0, :26], segments[0, :26], torch.float32)
    trees, _ = forest_attention(None, query[:, :, :26], key[:, :, :26], value[:, :, :26], None, forest=forest)
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(flexible, plain)
    torch.testing.assert_close(trees.transpose(1, 2), plain[:, :, :26])
