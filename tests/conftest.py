"""Settings shared by all tests."""

from pathlib import Path

from hypothesis import settings

# Tests share the machine with others: how long one example takes says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_addoption(parser):
    default = Path(__file__).parent / "golden"
    parser.addoption("--golden", type=Path, default=default, help="folder of golden files for test_parity.py")
