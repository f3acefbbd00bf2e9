"""Damaged replies: no exception, no point out of the image, and no point at all if a part of an answer is lost."""

import pytest
from mutated_replies import WAYS, problems


@pytest.mark.parametrize(("dialect", "scale"), WAYS)
def test_damaged_replies_give_no_point_that_is_not_theirs(dialect, scale):
    assert problems(dialect, scale, 1500, seed=1) == []
