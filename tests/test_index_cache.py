"""The index of large files: written once, shared by ranks and splits, and checked whenever it is read."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_unusable_rows import click, screenshot, write_shard

from molmo_agent.data import index_cache
from molmo_agent.data.android_control import index as android_index
from molmo_agent.data.android_control.episodes import AndroidControl
from molmo_agent.data.android_control.index import AndroidIndex
from molmo_agent.data.formats import tfrecord
from molmo_agent.data.index_cache import remembered
from molmo_agent.data.readers import texts

GOLDEN = Path(__file__).parent / "golden" / "android_control"


@pytest.fixture(autouse=True)
def _remember_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(android_index, "_SLOW_S", 0.0)
    monkeypatch.setattr(index_cache, "SLOW_S", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Scan:
    """Counts how often some files are read whole."""

    def __init__(self, *files: Path) -> None:
        self.files, self.times = files, 0

    def __call__(self) -> list[str]:
        self.times += 1
        return [path.read_text() for path in self.files]

    def remembered(self, version: Any = 1, slow_s: float = 0.0) -> list[str]:
        return remembered(self.files, name="data", version=version, scan=self, read=self.read, slow_s=slow_s)

    @staticmethod
    def read(found: Any) -> list[str]:
        if not all(isinstance(text, str) for text in found):
            raise TypeError("expected texts")
        return list(found)


def write_files(folder: Path, *texts: str) -> Scan:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    return Scan(*(folder / f"{number}.txt" for number in range(len(texts))))


def index_of(folder: Path) -> Path:
    (path,) = folder.glob(".*.index.json")
    return path


def copy_golden(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for path in GOLDEN.glob("*"):
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_files_are_scanned_once(tmp_path: Path) -> None:
    scan = write_files(tmp_path, "a", "b")
    assert [scan.remembered() for _ in range(3)] == [["a", "b"]] * 3
    assert scan.times == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == [index_of(tmp_path).name]


def test_changed_added_and_removed_files_and_other_versions_are_scanned_again(tmp_path: Path) -> None:
    scan = write_files(tmp_path, "a", "b")
    scan.remembered()
    (tmp_path / "0.txt").write_text("larger")
    assert scan.remembered() == ["larger", "b"]
    os.utime(tmp_path / "1.txt", ns=(1, 1))
    scan.remembered()
    (tmp_path / "1.txt").replace(tmp_path / "2.txt")
    (tmp_path / "1.txt").write_text("c")
    scan.remembered()
    assert scan.remembered(version=["options", {"split": "test"}]) == ["larger", "c"]
    assert scan.times == 5
    more = Scan(*scan.files, tmp_path / "2.txt")
    assert more.remembered() == ["larger", "c", "b"]
    # Different selections of files have indexes of their own.
    assert len(list(tmp_path.glob(".*.index.json"))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 10_000,
        lambda text: text.replace('"a"', "7"),
        lambda text: json.dumps({**json.loads(text), "found": None}),
        lambda text: json.dumps({"of": json.loads(text)["of"]}),
        lambda text: json.dumps([1, 2]),
    ],
)
def test_a_damaged_index_is_made_again(damage: Any, tmp_path: Path) -> None:
    scan = write_files(tmp_path, "a", "b")
    scan.remembered()
    index = index_of(tmp_path)
    whole = index.read_text()
    index.write_text(damage(whole))
    assert scan.remembered() == ["a", "b"]
    assert scan.times == 2
    assert index.read_text() == whole


def test_an_index_is_never_written_through_a_link(tmp_path: Path) -> None:
    scan = write_files(tmp_path / "data", "a")
    scan.remembered()
    index, other = index_of(tmp_path / "data"), tmp_path / "mine.txt"
    other.write_text("mine")
    index.unlink()
    index.symlink_to(other)
    assert scan.remembered() == ["a"]
    assert other.read_text() == "mine"
    assert not index.is_symlink()


def test_a_folder_that_cannot_be_written_to_has_its_index_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_files(tmp_path / "data", "a", "b")
    # Root may write anywhere: the operating system's refusal is played.
    plain = os.open

    def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if Path(path).parent == tmp_path / "data" and flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return plain(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert [scan.remembered() for _ in range(3)] == [["a", "b"]] * 3
    assert scan.times == 1
    (index,) = (tmp_path / "cache" / "molmo_agent" / "indexes").iterdir()
    told = capsys.readouterr().err.replace("\n", "")
    assert told.count("the folder of the data cannot be written to; the index of its files is") == 1
    assert index.name in told
    # Another folder with files of the same names has another index.
    twin = write_files(tmp_path / "twin", "x", "y")
    assert twin.remembered() == ["x", "y"]


def test_without_any_place_for_an_index_the_files_are_scanned_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = write_files(tmp_path / "data", "a")
    monkeypatch.setattr(os, "open", lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError(13, "no")))
    with monkeypatch.context() as patch:
        patch.setattr(Scan, "__call__", lambda self: ["a"])
        assert [scan.remembered(), scan.remembered()] == [["a"], ["a"]]
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").rglob("*.json"))


def test_a_quick_scan_leaves_no_file(tmp_path: Path) -> None:
    scan = write_files(tmp_path, "a")
    assert [scan.remembered(slow_s=60), scan.remembered(slow_s=60)] == [["a"], ["a"]]
    assert scan.times == 2
    assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]


def test_files_that_change_during_the_scan_are_not_remembered(tmp_path: Path) -> None:
    scan = write_files(tmp_path, "a")

    def slow() -> list[str]:
        found = scan()
        (tmp_path / "0.txt").write_text("changed meanwhile")
        return found

    assert remembered(scan.files, name="data", version=1, scan=slow, read=Scan.read, slow_s=0) == ["a"]
    assert scan.remembered() == ["changed meanwhile"]


WORKER = """
import sys, time
from pathlib import Path
from molmo_agent.data.index_cache import remembered

folder, rank = Path(sys.argv[1]), sys.argv[2]

def scan():
    with (folder.parent / "scans").open("a") as file:
        file.write(rank + chr(10))
    if rank == "killed":
        print("scanning", flush=True)
        time.sleep(600)
    time.sleep(0.5)
    return [(folder / "0.txt").read_text()]

print(remembered([folder / "0.txt"], name="data", version=1, scan=scan, read=list, slow_s=0), flush=True)
"""


def start(folder: Path, rank: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(folder), rank]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_of_several_ranks_one_scans_and_the_death_of_one_stops_no_other(tmp_path: Path) -> None:
    write_files(tmp_path / "data", "a")
    killed = start(tmp_path / "data", "killed")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "scanning\n"
    ranks = [start(tmp_path / "data", str(rank)) for rank in range(3)]
    killed.kill()
    killed.communicate()
    assert [rank.communicate(timeout=300)[0] for rank in ranks] == ["['a']\n"] * 3
    first, *others = (tmp_path / "scans").read_text().split()
    assert first == "killed"
    assert len(others) == 1


def test_androidcontrol_is_parsed_once_for_all_splits_and_read_the_same_from_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small resume points, so that the golden shards have many.
    monkeypatch.setattr(tfrecord, "_SPAN", 10_000)
    monkeypatch.setattr(tfrecord, "_CHUNK", 500)
    folder = copy_golden(tmp_path / "data")
    AndroidIndex(AndroidControl(folder, "train"))
    monkeypatch.setattr(android_index, "located_episodes", None)  # a second pass would fail
    for split in ("train", "validation", "test"):
        steps, index = list(AndroidControl(folder, split)), AndroidIndex(AndroidControl(folder, split))  # type: ignore[arg-type]
        assert len(index) == len(steps) > 0
        for number in np.random.default_rng(0).permutation(len(steps)):
            assert index.step(int(number)) == steps[number]
        for marks in index._marks:
            assert [mark.offset for mark in marks] == sorted(mark.offset for mark in marks)
    # Read in any order, a shard is decompressed at most once to its end.
    assert max(len(marks) for marks in index._marks) > 3


def test_uncompressed_shards_are_read_from_the_index_too(tmp_path: Path) -> None:
    folder = copy_golden(tmp_path / "data")
    for shard in folder.glob("android_control-*"):
        shard.write_bytes(gzip.decompress(shard.read_bytes()))
    steps = list(AndroidControl(folder, "train"))
    for _ in range(2):
        index = AndroidIndex(AndroidControl(folder, "train"))
        assert [index.step(number) for number in reversed(range(len(steps)))] == steps[::-1]


def test_the_index_keeps_the_reasons_of_what_was_left_out(tmp_path: Path) -> None:
    episodes = {
        7: [(click(0, 0), screenshot()), (click(-1, 5), screenshot())],
        8: [(b"no json", screenshot())],
        9: [(click(500, 5), screenshot())],
    }
    folder = write_shard(tmp_path / "data", episodes)
    (folder / "splits.json").write_text(json.dumps({"train": [7, 8], "test": [9]}))
    told = [AndroidIndex(AndroidControl(folder, "train")).problems.summary() for _ in range(2)]
    assert told[0] == told[1]
    assert "(episode 7, step 1)" in told[0]
    assert "(episode 8)" in told[0]
    assert "episode 9" not in told[0]
    assert "episode 9" in AndroidIndex(AndroidControl(folder, "test")).problems.summary()


@pytest.mark.parametrize(
    "entry",
    [[5, 0, 7, [0]], [0, -3, 7, [0]], [0, 0, 7, [-1]], [0, 0, "7", [0]], [0, 0, 7], [0, 0, 7, []], [0, 0.5, 7, [0]]],
)
def test_an_index_of_somebody_else_cannot_point_outside_of_the_shards(entry: Any, tmp_path: Path) -> None:
    folder = write_shard(tmp_path / "data", {7: [(click(0, 0), screenshot())]})
    AndroidIndex(AndroidControl(folder))
    index = index_of(folder)
    content = json.loads(index.read_text())
    content["found"]["episodes"] = [entry]
    index.write_text(json.dumps(content))
    assert [AndroidIndex(AndroidControl(folder)).step(0).number] == [0]


@pytest.mark.parametrize("entry", [[0, 1, 7, [0]], [0, 0, 7, [40]], [0, 10**9, 7, [0]]])
def test_a_wrong_position_in_an_index_is_a_row_that_cannot_be_used(entry: Any, tmp_path: Path) -> None:
    folder = write_shard(tmp_path / "data", {7: [(click(0, 0), screenshot())]})
    AndroidIndex(AndroidControl(folder))
    content = json.loads(index_of(folder).read_text())
    content["found"]["episodes"] = [entry]
    index_of(folder).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has changed"):
        AndroidIndex(AndroidControl(folder)).step(0)


def test_texts_are_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from made_data import opened

    path = tmp_path / "tulu.jsonl"
    path.write_text("".join(json.dumps({"messages": [f"{n}?", f"{n}!"]}) + "\n" for n in range(5)) + "broken\n")
    first = opened("chat", path)
    monkeypatch.setattr(texts, "_scan", None)  # a second pass would fail
    second = opened("chat", path)
    assert len(second) == len(first) == 5
    assert second.problems.summary() == first.problems.summary()
    assert "record 6" in second.problems.summary()
