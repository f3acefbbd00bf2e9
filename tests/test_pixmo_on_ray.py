"""Every pipeline that can be spread writes the same files on Ray, in several processes and in this one."""

import hashlib
import shutil
from pathlib import Path

import pytest
from test_pixmo_capqa import SETTINGS, SHELF, STOP, captions
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import UsageError
from molmo_agent.pixmo.rehearsal.collection import draw_scenes
from molmo_agent.pixmo.shards import batches, mapper
from molmo_agent.sandbox.bubblewrap import check_sandbox

pytest.importorskip("pyarrow", reason="needs the extra 'train'")


def files(folder: Path) -> dict[str, str]:
    """Return the hash of each file below a folder by its name, but for pages."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".html" and p.name != "checked.jsonl")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, ["pixmo", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def make_all(folder: Path, scenes: Path, texts: Path, *options: str, docs: bool) -> dict[str, str]:
    """Run every command that can be spread, and return its files."""
    run("clocks", "--to", folder / "clocks", "--count", "3", *options)
    run("count", scenes, folder / "set", "--per-count", "1", *options)
    run("capqa", texts, folder / "qa", *options)
    if docs:
        run("docs", "--to", folder / "docs", "--type", "diagrams", "--count", "2", *options)
    return files(folder)


@pytest.mark.slow
@pytest.mark.dependencies
def test_ray_and_several_processes_write_the_files_of_one_process(ray_cluster, tmp_path, monkeypatch):
    for module, name in (("cli.pixmo", "_ROWS"), ("pixmo.count", "_BATCH"), ("pixmo.capqa", "_BATCH")):
        monkeypatch.setattr(f"molmo_agent.{module}.{name}", 2)
    try:
        check_sandbox()
        docs = shutil.which("dot") is not None
    except UsageError:
        docs = False
    draw_scenes(tmp_path / "raw", 5)
    texts = captions(tmp_path / "cap", [SHELF, STOP, SETTINGS])
    ways = {"here": (), "jobs": ("--jobs", "2"), "ray": ("--ray",)}
    made = {
        way: make_all(tmp_path / way, tmp_path / "raw/images", texts, *options, docs=docs)
        for way, options in ways.items()
    }
    assert len(made["here"]) >= 10
    assert made["jobs"] == made["here"]
    assert made["ray"] == made["here"]


def test_results_come_in_order_from_any_number_of_processes():
    work = batches(range(7), 3)
    assert [list(part) for part in work] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(mapper(1)(sum, work)) == [3, 12, 6]
    assert list(mapper(2)(sum, work)) == [3, 12, 6]
    with pytest.raises(UsageError, match="expected --jobs of at least 1, got 0"):
        mapper(0)
