"""Rows that cannot be used: training and the scores of held-out clicks go on without them and name them."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import small_run, write_points

from molmo_agent.data.android_control.episodes import AndroidControl
from molmo_agent.data.android_control.index import AndroidIndex
from molmo_agent.data.catalog import open_source
from molmo_agent.data.formats.tfrecord import crc32c, mask_crc
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.before_and_after import compare
from molmo_agent.pointers.baselines import RandomPointer
from molmo_agent.train.trainer import Trainer

# torch warns of processes that are not there, and of names of its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

WIDTH, HEIGHT = 40, 90


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values: list[Any]) -> bytes:
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    return field(3, field(1, b"".join(map(varint, values))))


def screenshot(rows: int = HEIGHT) -> bytes:
    """Return a PNG file whose header, checksums and compression are right, and which may lack its last rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = np.random.default_rng(rows).integers(0, 255, (rows, 3 * WIDTH), np.uint8)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def write_shard(folder: Path, episodes: dict[int, list[tuple[Any, bytes]]]) -> Path:
    """Write AndroidControl episodes: for each step its action and its screenshot."""
    folder.mkdir(parents=True, exist_ok=True)
    data = b""
    for number, steps in episodes.items():
        features = {
            "episode_id": [number],
            "goal": [b"Open the list"],
            "screenshots": [*(png for _, png in steps), screenshot()],
            "accessibility_trees": [field(1, b"")] * (len(steps) + 1),
            "actions": [action if isinstance(action, bytes) else json.dumps(action).encode() for action, _ in steps],
            "step_instructions": [b"Tap the list"] * len(steps),
        }
        entries = b"".join(field(1, field(1, name.encode()) + field(2, feature(v))) for name, v in features.items())
        payload = field(1, entries)
        head = struct.pack("<Q", len(payload))
        data += head + struct.pack("<I", mask_crc(crc32c(head))) + payload
        data += struct.pack("<I", mask_crc(crc32c(payload)))
    (folder / "android_control-00000-of-00001").write_bytes(data)
    (folder / "splits.json").write_text(json.dumps({"train": list(episodes)}))
    return folder


def click(x: float, y: float, kind: str = "click") -> dict[str, Any]:
    return {"action_type": kind, "x": x, "y": y}


@pytest.mark.parametrize("action", [click(-1, 5), click(40, 5), click(3, 90), click(5000, 1e9, "long_press")])
def test_a_click_off_the_screen_is_no_target(action: dict[str, Any], tmp_path: Path) -> None:
    steps = [(click(0, 0), screenshot()), (action, screenshot()), (click(39, 89.5), screenshot())]
    index = AndroidIndex(AndroidControl(write_shard(tmp_path, {7: steps})))
    assert [index.step(number).number for number in range(len(index))] == [0, 2]
    (problem,) = index.problems.entries
    assert problem.row == "episode 7, step 1"
    assert "lies outside the screenshot of 40 x 90 pixels" in problem.reason


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (b'{"action_type": "click", "x": NaN, "y": 3}', "NaN is not a number"),
        (b"[" * 100_000, "nested at most 64 levels"),
        (b'{"action_type": "click", "x": null, "y": 3}', "needs x, got None"),
        (b'{"action_type": ["click"]}', "expected an action_type of"),
        (b'{"action_type": "input_text", "text": 5}', "needs text, got 5"),
        (b"\xff\xfe", "UTF"),
    ],
)
def test_an_episode_with_an_unusable_action_is_skipped(action: bytes, reason: str, tmp_path: Path) -> None:
    folder = write_shard(tmp_path, {1: [(action, screenshot())], 2: [(click(1, 1), screenshot())]})
    data = open_source(Source(kind="android-control", path=str(folder)))
    assert len(data) == 1
    assert reason in str(data.problems.entries[0])


def run_of(folder: Path, path: Path, kind: str = "android-control", **changes: Any) -> Any:
    return small_run(folder, mixture=[{"kind": kind, "path": str(path)}], steps=3, **changes)


@pytest.mark.parametrize("rows", [1, 45, 89])
def test_a_screenshot_whose_pixels_end_early_is_skipped_by_its_name(rows: int, tmp_path: Path) -> None:
    steps = {2: [(click(1, 1), screenshot(rows)), (click(2, 2), screenshot())], 3: [(click(3, 3), screenshot())]}
    records: list[dict[str, Any]] = []
    config = run_of(tmp_path, write_shard(tmp_path / "shards", steps), length=300)
    assert Trainer(config, tmp_path / "run", on_step=records.append).fit() == 3
    reasons = {reason for record in records for reason in record["skipped"]}
    assert len(reasons) == 1
    assert min(reasons).startswith("episode 2, step 0: ")
    assert "is damaged" in min(reasons)
    assert all(np.isfinite(record["loss"]) for record in records)


def test_training_without_any_usable_example_is_an_error(tmp_path: Path) -> None:
    steps = {number: [(click(1, 1), screenshot(30))] for number in range(5)}
    config = run_of(tmp_path, write_shard(tmp_path / "shards", steps), length=300)
    with pytest.raises(UsageError, match=r"none of 256 examples can be used for training, the first: .*is damaged"):
        Trainer(config, tmp_path / "run").fit()


@pytest.mark.parametrize("damage", ["gone", "cut", "replaced"])
def test_images_that_change_during_a_run_do_not_end_it(damage: str, tmp_path: Path) -> None:
    config = run_of(tmp_path, write_points(tmp_path), "points")
    trainer = Trainer(config, tmp_path / "run", stop=lambda: True)
    assert trainer.fit() == 1
    for number in (1, 2):
        path = tmp_path / f"{number}.png"
        if damage == "gone":
            # The header is there while the lines are checked, the pixels are not.
            path.write_bytes(path.read_bytes()[:60])
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-30])
        else:
            path.write_bytes(b"no image")
    assert Trainer(config, tmp_path / "run").fit() == 3


def test_held_out_clicks_without_an_image_are_named(tmp_path: Path) -> None:
    path = write_points(tmp_path)
    config = small_run(tmp_path, mixture=[{"kind": "points", "path": str(path), "hold_out": 2}])
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[:-40])
    pointer = RandomPointer(seed=0)
    names = [Path(one.image).name for one in compare(pointer, pointer, config)]
    assert names == ["3.png", "5.png"]
