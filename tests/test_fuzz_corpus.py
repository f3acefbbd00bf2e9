"""Every input of the fuzz corpora keeps the promises of its parser, and the loop that finds new ones finds faults."""

import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))

import run as fuzz  # noqa: E402
from targets import SEEDS, TARGETS  # noqa: E402

# Other test modules may be called "run" or "targets", too.
sys.path.remove(str(FUZZ))


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_a_corpus_keeps_the_promises(name):
    inputs = fuzz.corpus_of(name)
    assert inputs, "write them with: python tests/fuzz/make_files.py"
    assert set(SEEDS[name]) <= set(inputs), "write them with: python tests/fuzz/run.py --seed"
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_moment_of_fuzzing_finds_nothing(name):
    assert fuzz.guided_loop(TARGETS[name], fuzz.corpus_of(name), 0.1, seed=1) is None


def test_every_corpus_belongs_to_a_target():
    assert {folder.name for folder in fuzz.CORPUS.iterdir()} == set(TARGETS)
    assert all(path.stat().st_size <= fuzz.MAX_BYTES for path in fuzz.CORPUS.rglob("*") if path.is_file())


def test_the_loop_finds_a_fault_behind_several_steps(tmp_path):
    module = tmp_path / "planted_fault.py"
    module.write_text(
        "def read(data):\n"
        "    if data[:1] == b'<':\n"
        "        if data[1:2] == b'[':\n"
        "            if data[2:3] == b'9':\n"
        "                raise ValueError('the planted one')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from planted_fault import read
    finally:
        sys.path.remove(str(tmp_path))
    data, error = fuzz.guided_loop(read, [b"a"], 120, seed=3, package="planted_fault")
    assert data.startswith(b"<[9")
    assert str(error) == "the planted one"


def test_the_command_lists_its_targets(monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["run.py", "--list"])
    fuzz.main()
    assert capsys.readouterr().out.split() == list(TARGETS)
