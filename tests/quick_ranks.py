"""Ranks of a training run that start in a moment. Load it as a pytest plugin, and use its fixture in a whole module.

Users' ranks are processes that import torch and transformers, for seconds each; here they are copies of one process
that has. tests/test_train_cli.py starts them as users do.
"""

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from molmo_agent.nano import curriculum_module
from molmo_agent.train import launch

IMPORTED = ["molmo_agent.train.launch", "molmo_agent.train.export", "molmo_agent.nano.curriculum_module"]


@pytest.fixture(scope="module")
def quick_ranks() -> Iterator[None]:
    """Let all ranks of a module's tests, and what draws the screens of a curriculum, start from one process."""
    if os.name == "nt":
        yield
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        for module in (launch, curriculum_module):
            patch.setattr(module, "multiprocessing", SimpleNamespace(get_context=lambda kind: context))
        yield
    # It would stay until the tests end, and be a child that other tests do not expect.
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
