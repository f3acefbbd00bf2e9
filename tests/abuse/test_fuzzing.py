"""Seconds of fuzzing for each reader of outside text and files; MUTATION_SEED chooses the inputs."""

import sys
from pathlib import Path

import pytest
from mutation_seed import SEED

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

import run as fuzz  # noqa: E402
from targets import TARGETS  # noqa: E402

# Other test modules may be called "run" or "targets", too.
sys.path.remove(str(FUZZ))

SECONDS = 3


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_nothing(name):
    found = fuzz.guided_loop(TARGETS[name], fuzz.corpus_of(name), SECONDS, seed=SEED)
    assert found is None, f"MUTATION_SEED={SEED}: {found}"
