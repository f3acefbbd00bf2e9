"""A hundred mutations of each kind of file: a result or one error of this package, never a traceback."""

import pytest
from mutated_files import mutate_checkpoints, mutate_profiles, mutate_recipes, mutate_runs, mutate_trajectories
from tiny_training import write_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def test_a_mutated_trajectory_is_shown_or_refused_in_words(tmp_path):
    pytest.importorskip("pyarrow", reason="the LeRobot export needs pyarrow")
    assert mutate_trajectories(tmp_path, 60, seed=1) == []


def test_a_mutated_profile_is_read_or_refused_in_words(tmp_path):
    assert mutate_profiles(tmp_path, 400, seed=2) == []


def test_a_mutated_checkpoint_passes_or_is_refused_in_words(tmp_path):
    assert mutate_checkpoints(write_model(tmp_path / "model"), tmp_path, 100, seed=3) == []


def test_a_mutated_recipe_is_read_or_refused_in_words(tmp_path):
    assert mutate_recipes(tmp_path, 60, seed=4) == []


def test_a_mutated_run_is_resumed_or_refused_in_words(tmp_path):
    assert mutate_runs(tmp_path, 100, seed=5) == []
