"""Settings shared by all tests."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings
from ray_cluster import running_cluster

# Tests share the machine with others: how long one example takes says nothing about the code. And a run that was green
# stays green: what is new is looked for by tests/fuzz.
settings.register_profile("shared", deadline=None, derandomize=True, database=None)
settings.load_profile("shared")


def pytest_addoption(parser):
    default = Path(__file__).parent / "golden"
    parser.addoption("--golden", type=Path, default=default, help="folder of golden files for test_parity.py")


class LoggedDeprecations(logging.Handler):
    """Collects deprecations that a library logs instead of warning of them, which `filterwarnings` cannot see."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        if "deprecated" in record.getMessage():
            self.messages.append(record.getMessage())


LOGGED = LoggedDeprecations()
logging.getLogger("transformers").addHandler(LOGGED)


@pytest.fixture(autouse=True)
def no_deprecation_is_logged():
    LOGGED.messages.clear()
    yield
    assert LOGGED.messages == []


@pytest.fixture
def ray_cluster():
    """A Ray cluster, with this process connected to it. Each test has its own: Ray gives up actors of a process that
    connects to the same cluster once more."""
    pytest.importorskip("ray", reason="needs the extra 'train'")
    with running_cluster() as cluster:
        cluster.connect()
        yield cluster


def pytest_configure(config):
    """Share the cores among the processes of pytest-xdist: torch would start a thread per core in each of them."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no process works alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each test to whichever process is free, but for those that belong together.

    The commands of the documentation share a folder that takes seconds to make. Tests that start Ray have it in their
    name and run one after another: each takes the whole machine.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if "ray" in test.partition("[")[0].split("_"):
                return "ray"
            return file if file.endswith("test_docs_commands.py") else nodeid

    return Together(config, log)
