"""Seeded mutations of data files and images, each read as training reads it."""

import gzip
import io
import json
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from made_data import png

import molmo_agent
from molmo_agent.data.android_control.episodes import AndroidControl
from molmo_agent.data.android_control.index import AndroidIndex
from molmo_agent.data.catalog import open_source
from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.images.checked import NOTES, FolderImages, check
from molmo_agent.data.images.url_list import read_lists
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problems
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images import read_image, read_size

GOLDEN = Path(__file__).parent / "golden" / "android_control"

_READ_MUTATED = textwrap.dedent(
    """
    import random, sys
    from pathlib import Path
    from molmo_agent.data.formats.parquet import Table
    from molmo_agent.data.unusable_rows import Problems
    from molmo_agent.errors import UsageError

    path, start, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    good, copy = path.read_bytes(), path.with_name("mutated" + path.suffix)
    for seed in range(start, stop):
        random.seed(seed)
        data = bytearray(good)
        for _ in range(random.choice((1, 2, 8, 30))):
            place = random.randrange(len(data))
            size = random.choice((1, 1, 4, 8))
            data[place : place + size] = random.choice((bytes(size), b"\\xff" * size, random.randbytes(size)))
        if random.random() < 0.1:
            del data[random.randrange(len(data)) :]
        copy.unlink(missing_ok=True)
        copy.write_bytes(data)
        print(seed, flush=True)
        problems = Problems()
        try:
            table = Table(copy, "train", [], problems)
            num_rows = sum(1 for _ in table.scan(table.columns))
            for number in range(0, min(len(table), 200), 37):
                try:
                    table.row(number, table.columns)
                except ValueError:
                    pass
        except UsageError:
            pass
    print("finished")
    """
)


def mutate_tables(folder: Path, kind: str, count: int, seed: int) -> None:
    """Read mutated files in a child process, which a crash of the library would end."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow reads the tables")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads the tables")
    table = pyarrow.table(
        {
            "url": [f"http://host/{n}.png" for n in range(120)],
            "points": [[{"x": 1.0 * n, "y": 2.0}] * (n % 4) for n in range(120)],
            "image": [{"bytes": bytes([n]) * 40, "path": None if n % 3 else "a"} for n in range(120)],
            "kind": pyarrow.array(["a", "b", None] * 40).dictionary_encode(),
            "day": pyarrow.array([n * 86_400_000 for n in range(120)], pyarrow.timestamp("ms")),
            "flag": [True, None] * 60,
        }
    )
    path = folder / f"good.{kind}"
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=50)
    else:
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=50)
    command = [sys.executable, "-c", _READ_MUTATED, str(path), str(seed), str(seed + count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(molmo_agent.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment, check=False)
    last = done.stdout.split()[-1:]
    assert (done.returncode, last) == (0, ["finished"]), f"seed {last}: {done.stderr[-2000:]}"


def _mutated(good: bytes, rng: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 8, 30))):
        place, size = rng.randrange(len(data)), rng.choice((1, 1, 4, 8))
        data[place : place + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
        if rng.random() < 0.2:
            piece = rng.choice((b"null", b"[" * 2000, b"1e999", b"\xe2\x80\xa8", b"\n", b"{}", b"-1", b'"'))
            data[place:place] = piece
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def _rows(kind: str, path: Path) -> None:
    data = open_source(Source(kind=kind, path=str(path)))
    for number in range(min(len(data), 8)):
        try:
            row = data.row(number, 0)
            if row.image is not None:
                row.image()
        except ROW_ERRORS:  # as in training
            continue


def _android(path: Path) -> None:
    index = AndroidIndex(AndroidControl(path.parent, "train"))
    for number in range(min(len(index), 3)):
        index.step(number).target_action()


def _files(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """Return contents by file name, each with what reads it."""
    points = {"image": "1.png", "label": "a key", "points": [[0.5, 0.25]], "boxes": [[0.1, 0.2, 0.6, 0.7]]}
    questions = {"image": "1.png", "question": "What?", "answers": ["a"], "points": [[0.5, 0.5]]}

    def lines(*values: Any) -> bytes:
        return b"".join(json.dumps(value).encode() + b"\n" for value in values)

    shard = gzip.decompress((GOLDEN / "android_control-00000-of-00002").read_bytes())
    return {
        "points.jsonl": (lines(*[points] * 3), lambda path: _rows("points", path)),
        "chat.jsonl": (lines(*[{"messages": ["a", "b"]}] * 3), lambda path: _rows("chat", path)),
        "q.jsonl": (
            lines(*[questions] * 3),
            lambda path: [q.image() for q in QuestionsFile(Source(kind="q", path=str(path))).questions() if q.image],
        ),
        "urls.jsonl": (lines({"image_url": "http://a/1", "image_sha256": "ab"}), lambda path: read_lists([path])),
        NOTES: (
            lines(["1.png", "5 7", [3, 4]], ["2.png", "1 2", "bad"]),
            lambda path: check(FolderImages(path.parent), {"1.png": "0" * 64, "2.png": None}, Problems()),
        ),
        "array.json": (lines({"items": [{"a": 1}] * 9})[:-1], lambda path: list(JsonArray(path, "items").scan())),
        "android_control-00000-of-00001": (shard[:300_000], _android),
        "splits.json": ((GOLDEN / "splits.json").read_bytes(), _android),
    }


def mutate_files(folder: Path, count: int, seed: int) -> list[str]:
    """Return what raised anything but a clear error, of so many mutations of each kind of file."""
    (folder / "1.png").write_bytes(png(1))
    faults = []
    for name, (good, read) in _files(folder).items():
        (folder / "splits.json").write_bytes((GOLDEN / "splits.json").read_bytes())
        rng = random.Random(f"{seed} {name}")
        for number in range(count):
            (folder / name).write_bytes(_mutated(good, rng))
            try:
                read(folder / name)
            except UsageError:
                continue
            except Exception as error:
                faults.append(f"{name} {number}: {error!r}")
    return faults


def mutate_images(count: int, seed: int) -> list[str]:
    """Return what raised anything but an ImageError, of so many mutations of each image format."""
    noise = PIL.Image.fromarray(np.random.default_rng(2).integers(0, 255, (40, 30, 3), np.uint8))
    faults = []
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"):
        if form not in PIL.Image.SAVE and not PIL.Image.init():
            continue
        file = io.BytesIO()
        try:
            noise.save(file, form)
        except (KeyError, OSError):  # Pillow was built without it
            continue
        rng = random.Random(f"{seed} {form}")
        for number in range(count):
            data = _mutated(file.getvalue(), rng)
            for read in (read_image, read_size):
                try:
                    read(data)
                except ImageError:
                    continue
                except Exception as error:
                    faults.append(f"{form} {number}: {error!r}")
    return faults
