"""Which example comes when, which share a sequence, and who sees whom in it."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from molmo_agent.model.message_tree import message_tree_mask
from molmo_agent.train.batching.pack import Size, balance, plan
from molmo_agent.train.batching.sampler import BLOCK, Sampler, mix, permute
from molmo_agent.train.batching.tree_attention import Forest, forest_attention

SAMPLER = Sampler((0.28, 0.06, 0.5, 0.16), (1000, 50, 7000, 0), 3)
STRETCH = SAMPLER.draws(0, 3 * BLOCK)


@given(st.integers(1, 1500), st.integers(0, 2**64 - 1))
def test_shuffling_meets_every_row_once(size: int, key: int) -> None:
    assert sorted(permute(i, size, key) for i in range(size)) == list(range(size))


@given(st.integers(0, 2600), st.integers(1, 400))
def test_a_stretch_of_the_stream_is_the_same_wherever_one_begins(start: int, count: int) -> None:
    assert SAMPLER.draws(start, count) == STRETCH[start : start + count]


def test_each_source_gets_its_share_and_every_row_once_an_epoch() -> None:
    draws = SAMPLER.draws(0, 40 * BLOCK)
    shares = Counter(draw.source for draw in draws)
    for source, rate in enumerate(SAMPLER.rates):
        assert abs(shares[source] - rate * 40 * BLOCK) <= 40
    for source, size in enumerate(SAMPLER.sizes[:3]):
        for epoch in range(shares[source] // size):
            rows = [draw.row for draw in draws if (draw.source, draw.epoch) == (source, epoch)]
            assert sorted(rows) == list(range(size))
    endless = [draw.row for draw in draws if draw.source == 3]
    assert sorted(endless) == list(range(len(endless)))
    assert len({draw.seed for draw in draws}) == len(draws)


def test_epochs_and_seeds_shuffle_differently() -> None:
    draws = SAMPLER.draws(0, 3000)
    first, second = ([d.row for d in draws if (d.source, d.epoch) == (1, epoch)] for epoch in (0, 1))
    assert first != second
    assert Sampler(SAMPLER.rates, SAMPLER.sizes, 4).draws(0, 50) != draws[:50]


def test_a_source_without_a_share_is_never_drawn() -> None:
    draws = Sampler((1.0, 0.0, 1.0), (10, 10, 10), 0).draws(0, 2 * BLOCK)
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
    documents = torch.tensor([0] * 12 + [1] * 9 + [2] * 5)
    segments = torch.tensor([9] * 5 + [1] * 3 + [2] * 4 + [9] * 4 + [1] * 5 + [0] * 5)
    return documents, segments


def test_a_token_attends_to_earlier_ones_of_the_image_and_of_its_own_annotation() -> None:
    _, segments = packed()
    visible = message_tree_mask(segments[None, :12], None, torch.float32)[0, 0] == 0
    assert not visible.triu(1).any(), "nothing later"
    assert visible[:, :5].equal(torch.ones(12, 5, dtype=torch.bool).tril()), "the image is seen by all"
    assert not visible[8:, 5:8].any(), "annotations do not see each other"
    assert visible[8:, 8:].equal(torch.ones(4, 4, dtype=torch.bool).tril())


def test_padding_sees_what_is_valid_and_itself() -> None:
    valid = torch.tensor([[True] * 3 + [False] * 2])
    visible = message_tree_mask(torch.zeros(1, 5, dtype=torch.long), valid, torch.float32)[0, 0] == 0
    assert visible[4].tolist() == [True, True, True, False, True]


def test_packed_examples_attend_as_each_does_alone_under_its_mask() -> None:
    documents, segments = packed()
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 26, 16, generator=generator) for _ in range(3))
    expected = []
    for start, stop in ((0, 12), (12, 21), (21, 26)):
        mask = message_tree_mask(segments[None, start:stop], None, torch.float32)
        q, k, v = (x[:, :, start:stop] for x in (query, key, value))
        expected.append(((q @ k.mT) * 16**-0.5 + mask).softmax(-1) @ v)
    forest = Forest.of(documents, segments, torch.float32)
    trees, _ = forest_attention(None, query, key, value, None, forest=forest)
    torch.testing.assert_close(trees.transpose(1, 2), torch.cat(expected, dim=2))
