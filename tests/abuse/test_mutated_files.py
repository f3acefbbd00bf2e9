"""Thousands of mutations of each kind of file, with a seed of each day's own choice: MUTATION_SEED."""

import pytest
from mutated_files import mutate_checkpoints, mutate_profiles, mutate_recipes, mutate_runs, mutate_trajectories
from mutation_seed import SEED
from tiny_training import write_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(1800),
]


def test_mutated_trajectories(tmp_path):
    assert mutate_trajectories(tmp_path, 3000, SEED) == []


def test_mutated_profiles(tmp_path):
    assert mutate_profiles(tmp_path, 20_000, SEED) == []


def test_mutated_checkpoints(tmp_path):
    assert mutate_checkpoints(write_model(tmp_path / "model"), tmp_path, 5000, SEED) == []


def test_mutated_recipes(tmp_path):
    assert mutate_recipes(tmp_path, 10_000, SEED) == []


def test_mutated_runs(tmp_path):
    assert mutate_runs(tmp_path, 5000, SEED) == []
