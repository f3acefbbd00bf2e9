"""A trajectory folder as one self-contained HTML file: no network, no script, light and dark.

Also a GIF and a filmstrip of the run. Incomplete folders are rendered too: the page names what is missing.
"""

import base64
import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageOps

from molmo_agent.actions import action_from_dict, describe, points_of
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.files import whole_file, write_whole
from molmo_agent.geometry import Point
from molmo_agent.html import render_page
from molmo_agent.images import draw_points, filmstrip, read_image, with_caption, write_gif
from molmo_agent.rollout.trajectory import TrajectoryFolder, read_folder

HTML_NAME, GIF_NAME, STRIP_NAME = "trajectory.html", "trajectory.gif", "filmstrip.png"
# Larger PNGs are embedded as WebP: a page of thirty photographs would have a hundred megabytes.
_MAX_PNG_BYTES = 300_000
# The largest side that WebP can hold.
_MAX_WEBP_PX = 16_383
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One step on the page; what a damaged line lacks is empty."""

    shot: Shot | None
    marks: tuple[Mark, ...]
    action: str
    instruction: str
    # Why the action was not sent, and why the env failed.
    refused: str
    error: str
    # One word for the colour of the step.
    outcome: str
    # The model's answer: None without one.
    status: str | None
    confidence: float | None
    reply: str
    # Milliseconds by part.
    times: tuple[tuple[str, float], ...]


def _panel(line: Mapping[str, Any], shot: Shot | None) -> Panel:
    action, points = _action_of(line)
    answer, refused = line.get("result"), _text(line.get("refused"))
    outcome = "dry run" if line.get("dry_run") else _text(line.get("effect")) or "unknown"
    return Panel(
        shot=shot,
        marks=tuple(_mark(point, shot) for point in points) if shot else (),
        action=action,
        instruction=_text(line.get("instruction")),
        refused=refused,
        error=_text(_fields(line.get("info")).get("error")),
        outcome="refused" if refused else outcome,
        status=_text(answer.get("status")) if isinstance(answer, Mapping) else None,
        confidence=_number(_fields(answer).get("confidence")),
        reply=_text(_fields(answer).get("reply")),
        times=tuple((part, 1000 * (_number(took) or 0.0)) for part, took in _fields(line.get("times_s")).items()),
    )


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return "" if value is None or value is False else str(value)


def _number(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Not float(): an integer of JSON may be longer than any float.
    return float(value) if abs(value) < 1e300 else None


def _action_of(line: Mapping[str, Any]) -> tuple[str, tuple[Point, ...]]:
    try:
        action = action_from_dict(line["action"])
        points = points_of(action)
        if not all(isinstance(point, Point) for point in points):
            raise ValueError(f"expected points, got {points!r:.80}")
        return describe(action), points
    # Every exception: a damaged action may hold anything.
    except Exception as error:
        return f"(damaged: {error})", ()


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

    def shot(self, record: Any) -> Shot | None:
        if not isinstance(record, dict) or not record:
            return None
        name = str(record.get("file"))
        if name not in self.shots:
            try:
                data = self._folder.png(record)
                image = read_image(data)
                height, width = image.shape[:2]
                covered = min(max(_number(record.get("covered")) or 0.0, 0.0), 1.0)
                shot = Shot(f"shot-{len(self.shots)}", self._uri(data, image), width, height, covered)
            # Every exception: the page shows the rest of a damaged folder.
            except Exception as error:
                note = str(error)
                if note not in self.notes:
                    self.notes.append(note)
                return None
            self.shots[name] = shot
        return self.shots[name]

    def _uri(self, png: bytes, image: Image) -> str:
        kind, data = "png", png
        if len(png) > _MAX_PNG_BYTES and max(image.shape) <= _MAX_WEBP_PX:
            buffer = io.BytesIO()
            PIL.Image.fromarray(image).save(buffer, "WEBP", quality=88, method=2)
            kind, data = "webp", buffer.getvalue()
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def render_html(path: str | Path) -> str:
    """Return the page for a trajectory folder.

    Raises:
        UsageError: this is not a trajectory folder.
    """
    folder = read_folder(path)
    album = _Album(folder)
    panels = [_panel(line, album.shot(line.get("observation"))) for line in folder.lines]
    result = folder.result or {}
    final = album.shot(result.get("final"))
    return render_page(
        "rollout/viewer.html.jinja",
        meta=folder.meta,
        versions=_fields(folder.meta.get("versions")),
        result=result,
        panels=panels,
        final=final,
        shots=list(album.shots.values()),
        notes=album.notes,
        seconds=sum(took for panel in panels for _, took in panel.times) / 1000,
    )


def render_frames(path: str | Path, width: int = 640) -> list[PIL.Image.Image]:
    """Return one captioned image per step, with its points, and the last screen; damaged images are left out.

    Raises:
        UsageError: this is not a trajectory folder, or none of its images can be read.
    """
    folder = read_folder(path)
    frames: list[PIL.Image.Image] = []

    def add(record: Any, points: tuple[Point, ...], caption: str) -> None:
        try:
            frame = draw_points(read_image(folder.png(_fields(record))), points)
        # Every exception: the other images of a damaged folder are shown.
        except Exception:
            return
        try:
            frame = with_caption(frame, caption, width)
        # Every exception: text is drawn by libraries that fail on some of it, and the image matters more.
        except Exception:
            frame = with_caption(frame, "", width)
        # All frames of a GIF have one size; those of a resized window get borders.
        if frames and frame.size != frames[0].size:
            frame = PIL.ImageOps.pad(frame, frames[0].size, color="black")
        frames.append(frame)

    for number, line in enumerate(folder.lines, 1):
        action, points = _action_of(line)
        mark = " [refused]" if line.get("refused") else ""
        add(line.get("observation"), points, f"{number}  {action}{mark}  {_text(line.get('instruction'))}")
    result = folder.result or {}
    add(result.get("final"), (), _text(result.get("ended")))
    if not frames:
        raise UsageError(f"no image of {folder.path} can be read")
    return frames


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
        write_whole(folder / HTML_NAME, page)
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
