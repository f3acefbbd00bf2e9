"""A perfect pointer for programs, which asks their accessibility tree, and an audit of another model's points."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.episode import Image, LabelledPoint, PointResult
from molmo_agent.evaluation.real_tasks.session import Session
from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.wrapped import WrappedPointer

# Words for kinds of elements -> their roles.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "button": ("push button", "toggle button", "button"),
    "tab": ("page tab",),
    "checkbox": ("check box",),
    "field": ("text", "entry", "password text", "combo box", "spin button"),
    "menu": ("menu",),
}
_FIELDS = _KINDS["field"]
# Layouts that may have a name but are nothing to click, and texts beside what is meant.
_LAYOUT = ("application", "frame", "dialog", "window", "panel", "filler", "document web", "form", "paragraph", "alert")
_TEXTS = ("label", "static", "heading", "section")
_ASKING = re.compile(r"^(?:where is|click)\s+", re.IGNORECASE)
_KIND = re.compile(rf"\s+({'|'.join(_KINDS)})$", re.IGNORECASE)


class AtspiPointer:
    """Points at the middle of the element that a program names so: the oracle of real tasks.

    Args:
        session: where the program runs.
        aliases: what people call an element -> its name for assistive software.
    """

    name = "oracle"

    def __init__(self, session: Session, aliases: Mapping[str, str] | None = None) -> None:
        self._session, self._aliases = session, aliases or {}

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at the element, or answer that there is none.

        Raises:
            EnvError: the accessibility tree cannot be read.
        """
        box = self.locate(instruction)
        if box is None:
            return PointResult(status="none", reply=f"no element is called {instruction!r}")
        return PointResult(status="ok", reply=f"{instruction!r}", points=(LabelledPoint(box.center),), confidence=1.0)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer one by one."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]

    def locate(self, instruction: str) -> Box | None:
        """Return the normalized box of the element that is meant; None if there is none."""
        return find_element(self._session.tree(), instruction, self._session.size, self._aliases)


def find_element(
    nodes: Sequence[Mapping[str, Any]], instruction: str, size: tuple[int, int], aliases: Mapping[str, str]
) -> Box | None:
    """Return the normalized box of the element that an instruction names; None if there is none.

    Of several an item of an open menu counts first, then one in the active window, and of these the last: dialogs come
    after what they cover.

    Args:
        nodes: of ``tree_reader.py``.
        instruction: a name, with or without quotes and a word for the kind, such as ``the "Save" button``.
        size: (width, height) of the screen in pixels.
        aliases: what people call an element -> its name for assistive software.
    """
    text = _ASKING.sub("", instruction.strip())
    text = aliases.get(text, text)
    kind = _KIND.search(text)
    roles = _KINDS[kind[1].lower()] if kind else None
    name = _plain(re.sub(r"^the\s+", "", text[: kind.start()] if kind else text, flags=re.IGNORECASE))
    candidates: list[tuple[tuple[bool, ...], int, Box]] = []
    active = False
    for number, node in enumerate(nodes):
        states, role = node["states"], node["role"]
        if role in ("frame", "dialog", "window", "alert", "file chooser"):
            active = "active" in states
        box = _box(node, size)
        if box is None or role in _LAYOUT or "sensitive" not in states or not _named(node, name):
            continue
        rank = (roles is None or role in roles, role not in _TEXTS, role.endswith("menu item"), active)
        if roles is None or rank[0]:
            candidates.append((rank, number, box))
    return max(candidates, key=lambda one: one[:2])[2] if candidates else None


def _named(node: Mapping[str, Any], name: str) -> bool:
    names = [node["name"], node["label"] if node["role"] in _FIELDS else ""]
    return any(_plain(one) == name for one in names if one)


def _plain(name: str) -> str:
    return name.strip().strip("\"'“”").rstrip(".…:").replace("_", " ").strip().casefold()


def _box(node: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    if "box" not in node:
        return None
    x, y, width, height = node["box"]
    if width <= 1 or height <= 1 or x < 0 or y < 0 or x + width / 2 >= size[0] or y + height / 2 >= size[1]:
        return None
    return Box.from_pixels(x, y, x + width, y + height, *size)


class PointAudit(WrappedPointer):
    """Passes on another model's answers, and notes where they miss the element that the accessibility tree names.

    Args:
        inner: the model that is asked.
        oracle: looks up the element, after the answer.
    """

    def __init__(self, inner: PointingModel, oracle: AtspiPointer) -> None:
        super().__init__(inner)
        self._oracle = oracle
        # One line per answer that misses, or refuses, something that is there.
        self.misses: list[str] = []

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions; the answers are the model's own."""
        results = self.inner.point_batch(images, instructions)
        for text, result in zip(instructions, results, strict=True):
            box = self._oracle.locate(text)
            if box is None:
                continue
            if result.status != "ok":
                self.misses.append(f"{text!r}: answered {result.status}, and it is there")
            elif not box.contains(result.points[0].point):
                point = result.points[0].point
                self.misses.append(
                    f"{text!r}: pointed at ({point.x:.2f}, {point.y:.2f}), and it is at "
                    f"({box.center.x:.2f}, {box.center.y:.2f})"
                )
        return results
