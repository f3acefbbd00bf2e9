"""Turn folders of icon sets into one file of rasters with labels.

Every folder directly in the given one is an icon set: an unpacked Debian icon theme or npm package. A file belongs to
a meaning if its name does (``icon_files.json``); a sample of the others becomes the class "other". Each raster is cut
to its visible part, so that size and place in the button are left to the training.
"""

import hashlib
import io
import json
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import track

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images import open_image

# Side of a raster in pixels. Buttons show icons at 16 to 48.
SIDE_PX = 48
OTHER = "other"
_ICON_FILES = Path(__file__).with_name("icon_files.json")
# What sets add to a name for a style or a size.
_STYLE = re.compile(
    r"(-symbolic|\.symbolic|-rtl|-ltr|-outlined?|-filled|-fill|-line|-bold|-thin|-light|-duotone|-sharp|-regular"
    r"|-solid|-\d\d|-panel|-gtk)$"
)
# Up to this many drawings of one meaning in one set: themes hold a name at many sizes.
_PER_SET = 8
_OTHERS_PER_SET = 150


@dataclass(frozen=True, slots=True)
class IconRasters:
    """Icons with their labels.

    Attributes:
        pixels: (num_icons, SIDE_PX, SIDE_PX, 4), uint8 RGBA, not premultiplied; the visible part touches two edges.
        labels: (num_icons,), index into ``meanings``.
        sets: (num_icons,), index into ``set_names``.
        meanings: ids of the vocabulary, and "other" as the last.
        set_names: folder names of the icon sets.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    sets: npt.NDArray[np.int64]
    meanings: tuple[str, ...]
    set_names: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write a compressed npz file."""
        np.savez_compressed(
            path,
            pixels=self.pixels,
            labels=self.labels,
            sets=self.sets,
            meanings=np.array(self.meanings),
            set_names=np.array(self.set_names),
        )

    @classmethod
    def load(cls, path: Path) -> "IconRasters":
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                file["pixels"],
                file["labels"],
                file["sets"],
                tuple(map(str, file["meanings"])),
                tuple(map(str, file["set_names"])),
            )


def file_names() -> dict[str, list[str]]:
    """Return the names of icon files that each meaning has, without style and size."""
    names: dict[str, list[str]] = json.loads(_ICON_FILES.read_text(encoding="utf-8"))
    return names


def bare_name(path: Path) -> str:
    """Return a file's name without extension, style and size: "save" of ``save-outline-24.svg``."""
    name = path.stem.lower().replace("_", "-").replace(" ", "-")
    while (shorter := _STYLE.sub("", name)) not in ("", name):
        name = shorter
    return name


def _pixels(path: Path) -> npt.NDArray[np.uint8] | None:
    """Render a file to RGBA, cut to what is visible and padded to a square; None for what cannot be rendered."""
    try:
        if path.suffix == ".svg":
            command = ["rsvg-convert", "-w", "96", "-h", "96", "-a", str(path)]
            done = subprocess.run(command, capture_output=True, check=True, timeout=10, env=child_environment())
            image = open_image(io.BytesIO(done.stdout)).convert("RGBA")
        else:
            with path.open("rb") as file:
                image = open_image(file).convert("RGBA")
    # Broken, empty and encrypted files occur in every large set.
    except (OSError, ValueError, SyntaxError, ImageError, subprocess.SubprocessError):
        return None
    visible = np.argwhere(np.asarray(image)[..., 3] > 40)
    if len(visible) < 8:
        return None
    (top, left), (bottom, right) = visible.min(0), visible.max(0) + 1
    side = int(max(bottom - top, right - left))
    x, y = int(left + right - side) // 2, int(top + bottom - side) // 2
    square = image.crop((x, y, x + side, y + side))
    if side != SIDE_PX:
        # Premultiplied: transparent pixels have arbitrary colours.
        square = square.convert("RGBa").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS).convert("RGBA")
    return np.asarray(square)


def _candidates(folder: Path, seed: int) -> Iterator[tuple[str, Path]]:
    """Yield (meaning, file) of one set: every meaning's files, at most ``_PER_SET`` drawings, and some others."""
    owner: dict[str, str] = {}
    for meaning, names in file_names().items():
        for name in names:
            owner.setdefault(name, meaning)
    by_meaning: dict[str, dict[Path, None]] = defaultdict(dict)
    others: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".svg", ".png"):
            continue
        name = bare_name(path)
        if name in owner:
            by_meaning[owner[name]][path.resolve()] = None
        elif not any(known in name for known in owner if len(known) > 2):
            others[name] = path
    rng = random.Random(seed)
    for meaning, paths in by_meaning.items():
        contents: dict[str, Path] = {}
        for path in rng.sample(list(paths), min(len(paths), 6 * _PER_SET)):
            if path.is_file() and path.stat().st_size < 200_000:
                contents.setdefault(hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(), path)
        yield from ((meaning, path) for path in list(contents.values())[:_PER_SET])
    for name in rng.sample(sorted(others), min(len(others), _OTHERS_PER_SET)):
        yield OTHER, others[name]


def rasterise(folder: Path, *, seed: int = 0, threads: int = 2) -> IconRasters:
    """Render all icon sets of a folder.

    Raises:
        UsageError: no ``rsvg-convert`` is on PATH, or the folder holds no icon of the vocabulary.
    """
    if shutil.which("rsvg-convert") is None:
        raise UsageError("expected rsvg-convert on PATH; install librsvg2-bin")
    meanings = (*file_names(), OTHER)
    number = {meaning: i for i, meaning in enumerate(meanings)}
    set_names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    rows = [
        (number[meaning], index, path)
        for index, name in enumerate(set_names)
        for meaning, path in _candidates(folder / name, seed)
    ]
    with ThreadPoolExecutor(threads) as pool:
        rendered = list(
            track(pool.map(lambda row: _pixels(row[2]), rows), "rendering icons", total=len(rows), transient=True)
        )
    usable = [
        (label, index, pixels) for (label, index, _), pixels in zip(rows, rendered, strict=True) if pixels is not None
    ]
    if not usable:
        raise UsageError(
            f"expected folders of icon sets with .svg or .png files in {folder}, found no icon of the vocabulary"
        )
    return IconRasters(
        np.stack([pixels for _, _, pixels in usable]),
        np.array([label for label, _, _ in usable]),
        np.array([index for _, index, _ in usable]),
        meanings,
        set_names,
    )
