"""A trajectory folder as one self-contained HTML file: no network, no script, light and dark.

Also a GIF and a filmstrip of the run. Incomplete folders are rendered too: the page names what is missing.
"""

import base64
import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from molmo_agent.actions import action_from_dict, describe, points_of
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.html import render_page
from molmo_agent.images import draw_points, filmstrip, with_caption, write_gif
from molmo_agent.rollout.trajectory import TrajectoryFolder, read_folder

HTML_NAME, GIF_NAME, STRIP_NAME = "trajectory.html", "trajectory.gif", "filmstrip.png"
# Larger PNGs are embedded as WebP: a page of thirty photographs would have a hundred megabytes.
_MAX_PNG_BYTES = 300_000
# The largest side that WebP can hold.
_MAX_WEBP_PX = 16_383
# The errors that reading an image of a damaged folder may raise.
_UNREADABLE = (KeyError, TypeError, ValueError, OSError, SyntaxError, UsageError, PIL.Image.DecompressionBombError)
# The crop around a point shows this share of the image's width, and at least so many pixels.
_CROP_SHARE, _CROP_MIN_PX = 0.16, 96


@dataclass(frozen=True, slots=True)
class Shot:
    """An image of the page, embedded once and referred to by its id."""

    id: str
    uri: str
    width: int
    height: int
    # Share of the image that is covered because a secret was typed.
    covered_share: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in pixels of its shot, and the part of the shot to show enlarged: left, top, width, height."""

    x: float
    y: float
    radius: float
    crop: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One step on the page."""

    line: dict[str, Any]
    shot: Shot | None
    marks: tuple[Mark, ...]
    action: str

    @property
    def times(self) -> list[tuple[str, float]]:
        """Milliseconds by part."""
        return [(part, seconds * 1000) for part, seconds in self.line.get("times_s", {}).items()]

    @property
    def outcome(self) -> str:
        """One word for the colour of the step."""
        if self.line.get("refused"):
            return "refused"
        return "dry run" if self.line.get("dry_run") else str(self.line.get("effect", "unknown"))


def _action_of(line: dict[str, Any]) -> tuple[str, tuple[Point, ...]]:
    try:
        action = action_from_dict(line["action"])
    except (KeyError, TypeError, ValueError) as error:
        return f"(damaged: {error})", ()
    return describe(action), points_of(action)


def _mark(point: Point, shot: Shot) -> Mark:
    x, y = (edge + 0.5 for edge in point.to_pixels(shot.width, shot.height))
    width = min(max(shot.width * _CROP_SHARE, _CROP_MIN_PX), shot.width)
    height = min(width * 0.75, shot.height)
    left = min(max(x - width / 2, 0.0), shot.width - width)
    top = min(max(y - height / 2, 0.0), shot.height - height)
    return Mark(x, y, max(5.0, min(shot.width, shot.height) / 60), (left, top, width, height))


class _Album:
    """Reads the images of a folder, each once."""

    def __init__(self, folder: TrajectoryFolder) -> None:
        self.shots: dict[str, Shot] = {}
        self.notes = list(folder.notes)
        self._folder = folder

    def shot(self, record: dict[str, Any] | None) -> Shot | None:
        if not record:
            return None
        name = str(record.get("file"))
        if name not in self.shots:
            try:
                data = self._folder.png(record)
                image = PIL.Image.open(io.BytesIO(data))
                uri = self._uri(data, image)
                shot = Shot(f"shot-{len(self.shots)}", uri, image.width, image.height, float(record.get("covered", 0)))
            except _UNREADABLE as error:
                note = str(error)
                if note not in self.notes:
                    self.notes.append(note)
                return None
            self.shots[name] = shot
        return self.shots[name]

    def _uri(self, png: bytes, image: PIL.Image.Image) -> str:
        kind, data = "png", png
        if len(png) > _MAX_PNG_BYTES and max(image.size) <= _MAX_WEBP_PX:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=88, method=2)
            kind, data = "webp", buffer.getvalue()
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def render_html(path: str | Path) -> str:
    """Return the page for a trajectory folder.

    Raises:
        UsageError: this is not a trajectory folder.
    """
    folder = read_folder(path)
    album = _Album(folder)
    panels = []
    for line in folder.lines:
        shot = album.shot(line.get("observation"))
        action, points = _action_of(line)
        marks = tuple(_mark(point, shot) for point in points) if shot else ()
        panels.append(Panel(line, shot, marks, action))
    result = folder.result or {}
    final = album.shot(result.get("final"))
    return render_page(
        "rollout/viewer.html.jinja",
        meta=folder.meta,
        result=result,
        panels=panels,
        final=final,
        shots=list(album.shots.values()),
        notes=album.notes,
        seconds=sum(sum(line.get("times_s", {}).values()) for line in folder.lines),
    )


def render_frames(path: str | Path, width: int = 640) -> list[PIL.Image.Image]:
    """Return one captioned image per step, with its points, and the last screen; damaged images are left out.

    Raises:
        UsageError: this is not a trajectory folder, or none of its images can be read.
    """
    folder = read_folder(path)
    frames: list[PIL.Image.Image] = []

    def add(record: dict[str, Any], points: tuple[Point, ...], caption: str) -> None:
        try:
            with PIL.Image.open(io.BytesIO(folder.png(record))) as image_file:
                image = np.asarray(image_file.convert("RGB"))
        except _UNREADABLE:
            return
        frame = with_caption(draw_points(image, points), caption, width)
        # All frames of a GIF have one size; those of a resized window get borders.
        if frames and frame.size != frames[0].size:
            frame = PIL.ImageOps.pad(frame, frames[0].size, color="black")
        frames.append(frame)

    for line in folder.lines:
        action, points = _action_of(line)
        mark = " [refused]" if line.get("refused") else ""
        add(
            line.get("observation", {}),
            points,
            f"{line.get('index', 0) + 1}  {action}{mark}  {line.get('instruction', '')}",
        )
    result = folder.result or {}
    add(result.get("final") or {}, (), result.get("ended", ""))
    if not frames:
        raise UsageError(f"no image of {folder.path} can be read")
    return frames


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and rename it to ``path`` at the end: a full disk leaves no partial file."""
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_viewer(path: str | Path, *, film: bool = True, report: Callable[[str], object] = warnings.warn) -> Path:
    """Write ``trajectory.html`` into a trajectory folder, with a GIF and a filmstrip beside it, and return its path.

    Args:
        path: the folder.
        film: whether to make the GIF and the filmstrip.
        report: called with a line about each of these that fails; the page is written anyway.

    Raises:
        UsageError: this is not a trajectory folder, or it cannot be written to.
    """
    folder = Path(path)
    page = render_html(folder)
    try:
        with whole_file(folder / HTML_NAME) as part:
            part.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror}") from error
    if not film or not any(folder.glob("*.png")):
        return folder / HTML_NAME
    with _reporting(f"{GIF_NAME} and {STRIP_NAME} of {folder}", report):
        frames = render_frames(folder)
        with _reporting(f"{GIF_NAME} of {folder}", report), whole_file(folder / GIF_NAME) as part:
            write_gif(frames, part)
        with _reporting(f"{STRIP_NAME} of {folder}", report), whole_file(folder / STRIP_NAME) as part:
            filmstrip(frames).save(part, "PNG")
    return folder / HTML_NAME


@contextlib.contextmanager
def _reporting(what: str, report: Callable[[str], object]) -> Iterator[None]:
    try:
        yield
    # Every exception: fonts and codecs raise errors of their libraries, and the page does not need the GIF.
    except Exception as error:
        report(f"could not make {what}: {error}")
