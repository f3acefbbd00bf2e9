"""Small files in the layouts of published data sets, with drawn pictures, for tests of their readers."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from molmo_agent.data.catalog import open_source
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.source import Source
from molmo_agent.model import MolmoProcessor
from molmo_agent.nano.architecture import nano_processor
from molmo_agent.train.batching.encode import EncodedExample, collate, encode
from molmo_agent.train.recipe import from_dict

PROCESSOR: MolmoProcessor = nano_processor()


def png(number: int = 0, size: tuple[int, int] = (60, 80)) -> bytes:
    """A picture of (height, width), another for each number."""
    image = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def write(path: Path, data: bytes | Any) -> Path:
    """A file of bytes, or of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def url(number: int) -> str:
    return f"https://pictures.example/{number}.png"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keep(folder: Path, *numbers: int) -> None:
    """Pictures in a data set's store, as if they had been fetched."""
    for number in numbers:
        write(ImageStore(folder / "images").path(url(number)), png(number))


def parquet(path: Path, rows: list[dict[str, Any]], rows_per_group: int = 2) -> Path:
    """A table in row groups of few rows."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=rows_per_group)
    return path


def cap(folder: Path, count: int = 3) -> Path:
    """PixMo-Cap in two shards."""
    rows = [
        {"image_url": url(n), "caption": f"Caption {n}.", "transcripts": [f"so here is {n}", f"uh {n}"]}
        for n in range(count)
    ]
    parquet(folder / "data" / "train-00000-of-00002.parquet", rows[:2])
    parquet(folder / "data" / "train-00001-of-00002.parquet", rows[2:])
    keep(folder, *range(count))
    return folder


def points_row(number: int, label: str, points: list[tuple[float, float]] | None, method: str = "pointing") -> Any:
    """A row of PixMo-Points."""
    return {
        "image_url": url(number),
        "image_sha256": sha(png(number)),
        "label": label,
        "points": None if points is None else [{"x": x, "y": y} for x, y in points],
        "count": len(points or ()),
        "collection_method": method,
    }


def opened(kind: str, path: Path, **options: Any) -> Any:
    """A data set as a recipe opens it."""
    return open_source(Source(kind=kind, path=str(path), options=options))


def laid_out(data: Any, number: int = 0, seed: int = 0, **config: Any) -> tuple[EncodedExample, str]:
    """A row as a training sequence, and its text; the picture goes through the processor as well."""
    chosen: Any = from_dict({"mixture": [{"kind": "chat", "path": "x"}], "length": 4000, "max_crops": 2, **config})
    encoded = encode(data.row(number, seed), PROCESSOR, chosen, seed)
    batch = collate([encoded], PROCESSOR, chosen)
    assert encoded.num_truncated == 0
    assert (batch["image_input_idx"] >= 0).any() == (encoded.row.image is not None)
    tokenizer: Any = PROCESSOR.tokenizer
    ids = [i for i in encoded.example.input_ids if i not in set(PROCESSOR.image_block((1, 1), 2)[1:])]
    return encoded, tokenizer.decode(ids)


def turns(data: Any, number: int = 0, seed: int = 0) -> list[tuple[str, ...]]:
    """Questions and answers of a row."""
    return [conversation.turns for conversation in data.row(number, seed).conversations]
