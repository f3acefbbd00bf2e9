"""A million damaged replies of each dialect, and of the action text, in ten parts; MUTATION_SEED chooses which."""

import random

import pytest
from mutated_replies import WAYS, damaged, problems
from mutation_seed import SEED

from molmo_agent.errors import PointTextError
from molmo_agent.geometry import Point
from molmo_agent.policies.android_actions import read_action

COUNT = 1_000_000
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("dialect", dict(WAYS))
@pytest.mark.timeout(1800)
def test_a_million_damaged_replies_give_no_point_that_is_not_theirs(dialect, part):
    scales = [scale for name, scale in WAYS if name == dialect]
    wrong = []
    for scale in scales:
        # Rounded up: not one less than a million in all.
        wrong += problems(dialect, scale, -(-COUNT // (PARTS * len(scales))), seed=f"{SEED} {part}")
    assert wrong == [], f"MUTATION_SEED={SEED}"


ACTIONS = (
    "Click(50.0, 7.3)",
    "Long Press(5.5, 99.9)",
    "Scroll down",
    "Type hello",
    "Open App Clock",
    "Navigate Back",
    "Wait",
)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(1800)
def test_a_million_damaged_action_texts_give_an_action_on_the_screen_or_an_error(part):
    rng = random.Random(f"{SEED} {part}")
    for _ in range(COUNT // PARTS):
        text = rng.choice(("", "Action: ", "Plan: tap it Action: ")) + rng.choice(ACTIONS)
        try:
            action = read_action(damaged(rng, text)).action
        except PointTextError:
            continue
        point = getattr(action, "point", None)
        assert point is None or isinstance(point, Point)
