"""Thousands of mutations of data files and images; MUTATION_SEED chooses which."""

from pathlib import Path

import pytest
from mutated_data import mutate_files, mutate_images, mutate_tables
from mutation_seed import SEED

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_mutated_tables(kind: str, tmp_path: Path) -> None:
    mutate_tables(tmp_path, kind, 20_000, SEED)


def test_mutated_files(tmp_path: Path) -> None:
    assert mutate_files(tmp_path, 3000, SEED) == []


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_mutated_images() -> None:
    assert mutate_images(5000, SEED) == []
