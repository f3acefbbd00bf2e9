"""Settings shared by all tests."""

import gc
import logging
import os
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from ray_cluster import running_cluster

# Tests share the machine with others: how long one example takes says nothing about the code. And a run that was green
# stays green: what is new is looked for by tests/fuzz.
settings.register_profile("shared", deadline=None, derandomize=True, database=None)
settings.load_profile("shared")
# What a process takes in the end, with torch, models and what it starts, in bytes.
MEMORY = 3 * 2**30


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return one process more than cores where there is memory: what drives devices and programs mostly waits."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return max(1, min(1 + (os.cpu_count() or 1), psutil.virtual_memory().total // MEMORY))


def pytest_collection_modifyitems(items):
    """Begin with the files that take long and end with those of the quickest tests, so that no process works alone.

    The more tests there are in a file, the quicker is each, but for files with tests that are marked as slow.
    """
    num_tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: -num_tests[item.path] if item.path in slow else num_tests[item.path])


def pytest_collection_finish():
    """Leave out what is imported by now when garbage is collected, as tests of devices do: it is nearly all."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each file to whichever process is free: what a module's fixtures start is started once.

    Tests that start Ray have it in their name and run one after another: each takes the whole machine.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            return "ray" if "ray" in test.partition("[")[0].split("_") else file

    # The order of the files is that of pytest_collection_modifyitems.
    config.option.loadscopereorder = False
    return Together(config, log)
