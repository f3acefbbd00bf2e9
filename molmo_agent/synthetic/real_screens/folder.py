"""The folder of a recording: ``screens/``, ``screens.jsonl`` and the questions made from it.

A screen is written as soon as it is seen, so that an interrupted recording is resumed where it stopped::

    {"screen": "meld-dark-main", "image": "screens/meld-dark-main.png", "size": [1280, 800], "app": "meld",
     "toolkit": "gtk3", "theme": "dark", "scale": 1, "words": ["file", "edit"],
     "elements": [{"role": "push button", "kind": "button", "name": "Save", "box_px": [10, 20, 32, 32],
                   "states": ["enabled"], "has_visible_text": false}]}

Boxes are (left, top, width, height) in pixels. ``has_visible_text`` is null where it is unknown. ``words`` are those of
all names on the screen, also of what cannot be clicked.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.files import open_to_append, whole_file, write_whole
from molmo_agent.parse import json_lines
from molmo_agent.synthetic.real_screens.element import RealElement

SCREENS_FILE = "screens.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A screen as it was recorded: where, how, and what is on it."""

    screen: str
    app: str
    toolkit: str
    theme: str
    scale: int
    image: Image
    elements: Sequence[RealElement]
    words: Iterable[str]


class RecordingFolder:
    """Appends screens to a folder.

    Raises:
        UsageError: the folder cannot be written, or what it holds is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "screens").mkdir(parents=True, exist_ok=True)
            before = (path / SCREENS_FILE).read_bytes() if (path / SCREENS_FILE).exists() else b""
            # A killed recording may have left half a line.
            whole = before[: before.rfind(b"\n") + 1]
            if whole != before:
                write_whole(path / SCREENS_FILE, whole)
            self.rows: list[dict[str, Any]] = [row for _, row in json_lines(path / SCREENS_FILE)] if whole else []
            self.names = {row["screen"] for row in self.rows}
        except OSError as error:
            raise UsageError(f"cannot record into {path}: {error.strerror}; choose another folder") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path / SCREENS_FILE} is no recording ({error!r}); choose another folder") from error

    def add(self, seen: Seen) -> None:
        """Write a screen that is not there yet."""
        height, width = seen.image.shape[:2]
        row: dict[str, Any] = {
            "screen": seen.screen,
            "image": f"screens/{seen.screen}.png",
            "size": [width, height],
            "app": seen.app,
            "toolkit": seen.toolkit,
            "theme": seen.theme,
            "scale": seen.scale,
            "words": sorted({*seen.words}),
            "elements": [element.as_json() for element in seen.elements],
        }
        with whole_file(self.path / row["image"]) as part:
            PILImage.fromarray(seen.image).save(part, "PNG", compress_level=3)
        with open_to_append(self.path / SCREENS_FILE) as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rows.append(row)
        self.names.add(seen.screen)

    def write(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write a file of questions anew."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(self.path / name, text)


def element_from_json(entry: dict[str, Any]) -> RealElement:
    """Read what ``RealElement.as_json`` returns."""
    return RealElement(
        role=entry["role"],
        kind=entry["kind"],
        name=entry["name"],
        box=tuple(entry["box_px"]),
        states=tuple(entry["states"]),
        has_text=entry["has_visible_text"],
    )
