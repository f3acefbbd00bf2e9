"""The reader of a user's own data: points on images, as a JSONL file."""

from typing import Any

import numpy as np

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.row import Conversation, Row, Target
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import NothingUsableError, Problem, Problems
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Box, Point
from molmo_agent.images import read_image, read_size
from molmo_agent.model.prompts import wording
from molmo_agent.point_text.parse import format_points


class PointsFile:
    """A user's own points: a JSONL file with ``image``, ``label`` and ``points`` per line, images beside it.

    ``points`` are [x, y] pairs, fractions of width and height in [0, 1]; an empty list means that the target is absent.
    ``question`` is the prompt in the user's words. ``boxes``, [left, top, right, bottom] as fractions, are the regions
    in which each point is correct when a model is scored. Lines about the same image become annotations of one row.

    Options: ``wording``: "many" words the prompt in many ways, "none" uses the label alone, as nano does.
    """

    def __init__(self, source: Source) -> None:
        options = options_of(source, {"wording": "many"}, {"wording": ("many", "none")})
        self._many = options["wording"] == "many"
        path = required_path(source)
        self.problems = Problems()
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._folder = path.parent
        for number, entry in json_rows(path, "points", self.problems):
            try:
                self._check(entry)
            except (ValueError, ImageError) as error:
                self.problems.add(Problem(file=path.name, reason=str(error), record=number))
                continue
            self._rows.setdefault(entry["image"], []).append(entry)
        self._images = list(self._rows)
        if not self._rows:
            raise NothingUsableError(f"no line of {path}", self.problems)

    def _check(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise ValueError("expected an object with 'image', 'label' and 'points'")
        if not isinstance(entry.get("question") or "", str):
            raise ValueError(f"expected a text as 'question', got {entry['question']!r:.80}")
        if not isinstance(entry.get("label"), str) or not entry["label"].strip():
            raise ValueError("expected a 'label' that names the target")
        points = entry.get("points")
        if not isinstance(points, list):
            raise ValueError("expected 'points' to be a list of [x, y] in 0..1")
        for point in points:
            if (
                not isinstance(point, list)
                or len(point) != 2
                or not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in point)
            ):
                raise ValueError(f"the point {point!r} lies outside the image; expected [x, y] in 0..1")
        boxes = entry.get("boxes", [])
        if not isinstance(boxes, list) or ("boxes" in entry and len(boxes) != len(points)):
            raise ValueError(f"expected 'boxes' to be as many as the {len(points)} points, got {boxes!r}")
        for box in boxes:
            if not isinstance(box, list) or len(box) != 4 or not all(type(v) in (int, float) for v in box):
                raise ValueError(f"expected a box as [left, top, right, bottom] in 0..1, got {box!r}")
            Box(*box)
        read_size(self._folder / entry["image"])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def row(self, number: int, seed: int) -> Row:
        """Return an image with all its targets."""
        name = self._images[number]
        path = self._folder / name
        rng = np.random.RandomState(seed & 0xFFFFFFFF)
        conversations = []
        for entry in self._rows[name]:
            label, points = entry["label"], tuple(Point(x, y) for x, y in entry["points"])
            question = entry.get("question") or (wording("pointing", label, rng) if self._many else label)
            boxes = tuple(Box(*box) for box in entry.get("boxes", ()))
            target = Target(instruction=entry.get("question") or label, points=points, boxes=boxes)
            answer = format_points("molmo", points, label.lower())
            conversations.append(Conversation(turns=(question, answer), style="pointing", target=target))
        return Row(
            conversations=tuple(conversations), size=read_size(path), image=lambda: read_image(path), name=str(path)
        )
