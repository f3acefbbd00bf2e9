"""Find the elements of a screen that a description matches: by kind and name, position, order or neighbour.

Ambiguous descriptions give None. The wording is in :mod:`molmo_agent.synthetic.referring.questions`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.synthetic.referring.names import describe


@dataclass(frozen=True, slots=True)
class Noun:
    """A word for a kind of element."""

    word: str
    # Kinds of elements that it means, and kinds that some people might mean by it.
    kinds: frozenset[str]
    doubtful: frozenset[str]
    plural: str


def _noun(word: str, kinds: str, doubtful: str = "", plural: str = "") -> Noun:
    return Noun(word, frozenset(kinds.split()), frozenset(doubtful.split()), plural or f"{word}s")


_BUTTON_LIKE = (
    "icon app dropdown tab taskbar_item chip key section menu navigation radio switch row card menu_item "
    "window_close window_minimize window_maximize"
)
_CHOICES = "list_item menu_item chip checkbox dropdown tab row"

NOUNS: tuple[Noun, ...] = (
    _noun("button", "button", _BUTTON_LIKE),
    _noun("checkbox", "checkbox", "switch", "checkboxes"),
    _noun("check box", "checkbox", "switch", "check boxes"),
    _noun("radio button", "radio"),
    _noun("option", "radio", _CHOICES),
    _noun("option", "chip", "radio " + _CHOICES.replace("chip ", "")),
    _noun("field", "field", "dropdown"),
    _noun("text field", "field"),
    _noun("input", "field", "dropdown checkbox radio slider"),
    _noun("text box", "field", plural="text boxes"),
    _noun("textbox", "field", plural="textboxes"),
    _noun("drop-down", "dropdown"),
    _noun("drop-down list", "dropdown"),
    _noun("select box", "dropdown", plural="select boxes"),
    _noun("link", "link"),
    _noun("tab", "tab"),
    _noun("menu", "menu", "dropdown"),
    _noun("menu item", "menu_item", "menu"),
    _noun("list item", "list_item", "menu_item row"),
    _noun("slider", "slider"),
    _noun("icon", "icon", _BUTTON_LIKE.replace("icon ", "") + " button"),
    _noun("task bar item", "taskbar_item"),
    _noun("section", "section"),
    _noun("switch", "switch", "checkbox", "switches"),
    _noun("toggle", "switch", "checkbox"),
    _noun("app", "app", "icon"),
    _noun("contact", "person", "row"),
    _noun("card", "card"),
    _noun("message", "message", "person"),
    _noun("key", "key"),
    _noun("row", "row", "list_item person switch"),
    _noun("shape", "shape", "letter icon"),
)
LETTER = _noun("letter", "letter")
DIGIT = _noun("digit", "letter")
ITEM = _noun("item", "shape letter", "list_item menu_item icon")


@lru_cache(maxsize=64)
def shape_noun(shape: str) -> Noun:
    """Return the noun for a shape; icons of the same shape are doubtful."""
    return _noun(shape, "shape", "icon app button", f"{shape}es" if shape.endswith("s") else f"{shape}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The attributes of a description; None for those that it does not mention."""

    noun: Noun | None = None
    # The whole name, casefolded (see :func:`molmo_agent.synthetic.referring.names.describe`).
    name: str | None = None
    color: str | None = None
    shape: str | None = None
    size: str | None = None
    state: str | None = None

    def fits(self, element: Element) -> bool:
        """Return whether colour, shape, size, state and name match; the kind is not compared."""
        if self.color is not None and self.color != element.color:
            return False
        if self.size is not None and self.size != element.size:
            return False
        if self.shape is not None and self.shape != element.shape:
            return False
        if self.state is not None and self.state != element.state:
            return False
        if self.noun is DIGIT and not element.label.isdigit():
            return False
        if self.noun is LETTER and not element.label.isalpha():
            return False
        return self.name is None or describe(element).casefold() == self.name


class Scene:
    """A screen's elements, indexed by name and by kind."""

    def __init__(self, screen: Screen) -> None:
        height, width = screen.image.shape[:2]
        self.size = (width, height)
        self.elements = [
            e for e in screen.elements if e.box[0] < width and e.box[1] < height and e.box[2] > 0 and e.box[3] > 0
        ]
        self.runs = Counter(run.text.casefold() for run in screen.texts)
        self.titles = {e.label for e in screen.elements if e.kind == "window_title" and e.text}
        self._match_cache: dict[Description, list[Element] | None] = {}
        self._by_kind: dict[str, list[Element]] = defaultdict(list)
        self._by_name: dict[str, list[Element]] = defaultdict(list)
        for element in self.elements:
            self._by_kind[element.kind].append(element)
            self._by_name[describe(element).casefold()].append(element)
        # Short texts that occur once on the screen, with their boxes: neighbours that can identify a target.
        self.anchors: list[tuple[str, PixelBox]] = []
        for run in screen.texts:
            name = run.text.casefold()
            if 2 <= len(name) <= 24 and self.runs[name] == 1 and len(self._by_name.get(name, ())) == 1:
                self.anchors.append((run.text, run.box))

    def matches(self, description: Description) -> list[Element] | None:
        """Return the elements that a description matches; None if it is ambiguous or matches a hidden element."""
        if description not in self._match_cache:
            self._match_cache[description] = self._look_up(description)
        return self._match_cache[description]

    def _look_up(self, description: Description) -> list[Element] | None:
        if description.name is not None:
            candidates: Sequence[Element] = self._by_name.get(description.name, ())
            if description.noun is None and self.runs[description.name] > 1:
                return None
        elif description.noun is not None:
            kinds = (*sorted(description.noun.kinds), *sorted(description.noun.doubtful))
            candidates = [element for kind in kinds for element in self._by_kind.get(kind, ())]
        else:
            candidates = self.elements
        matches = []
        for element in candidates:
            is_sure = description.noun is None or element.kind in description.noun.kinds
            if not is_sure and (description.noun is None or element.kind not in description.noun.doubtful):
                continue
            if (
                not is_sure
                and description.shape is None
                and description.name is None
                and (description.color or description.size)
            ):
                continue  # a coloured button is not a coloured shape
            if not description.fits(element):
                continue
            if not is_sure or not element.visible:
                return None
            matches.append(element)
        return matches

    def shows(self, text: str) -> bool:
        """Return whether a text or an element with this name is anywhere on the screen, ignoring case."""
        text = text.casefold()
        return text in self._by_name or any(text in run for run in self.runs)


# The direction of a word, as steps to the right and down.
PLACES: dict[str, tuple[int, int]] = {
    "leftmost": (-1, 0),
    "rightmost": (1, 0),
    "topmost": (0, -1),
    "top": (0, -1),
    "highest": (0, -1),
    "bottom": (0, 1),
    "lowest": (0, 1),
    "top left": (-1, -1),
    "upper left": (-1, -1),
    "top right": (1, -1),
    "upper right": (1, -1),
    "bottom left": (-1, 1),
    "lower left": (-1, 1),
    "bottom right": (1, 1),
    "lower right": (1, 1),
}


def _reach(box: PixelBox, step: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return how far a box extends in a direction: (edge, middle) across and down; larger is farther."""
    left, top, right, bottom = box
    across = ((right if step[0] > 0 else left) * step[0], (left + right) / 2 * step[0])
    down = ((bottom if step[1] > 0 else top) * step[1], (top + bottom) / 2 * step[1])
    return across, down


def is_extreme(element: Element, like: Sequence[Element], step: tuple[int, int]) -> bool:
    """Return whether an element is the farthest in a direction, by a clear margin; for a corner, in both axes."""
    if len(like) < 2:
        return False
    mine = _reach(element.box, step)
    margin = max(6.0, 0.5 * min(element.box[2] - element.box[0], element.box[3] - element.box[1]))
    for other in like:
        if other is element:
            continue
        leads = []
        for axis, (edge, middle) in enumerate(_reach(other.box, step)):
            if step[axis]:
                leads.append(min(mine[axis][0] - edge, mine[axis][1] - middle))
        if min(leads) < -1 or max(leads) < margin:
            return False
    return True


def in_line(elements: Sequence[Element]) -> tuple[str, list[Element]] | None:
    """Return ("row", elements from the left) or ("column", elements from the top); None if they form neither."""
    for name, near, far, cross in (("row", 0, 2, 1), ("column", 1, 3, 0)):
        ordered = sorted(elements, key=lambda e: e.box[near])
        apart = all(a.box[far] <= b.box[near] + 1 for a, b in pairwise(ordered))
        low = max(e.box[cross] for e in elements)
        high = min(e.box[cross + 2] for e in elements)
        thick = min(e.box[cross + 2] - e.box[cross] for e in elements)
        if apart and high - low >= 0.6 * thick:
            return name, ordered
    return None


def gaps(a: PixelBox, b: PixelBox) -> tuple[float, float]:
    """Return the distance of two boxes in pixels, across and down; 0 if they touch or overlap."""
    return max(a[0] - b[2], b[0] - a[2], 0), max(a[1] - b[3], b[1] - a[3], 0)


# The direction from the anchor; "next to" is either side.
BESIDE: dict[str, tuple[int, int]] = {
    "below": (0, 1),
    "under": (0, 1),
    "above": (0, -1),
    "to the left of": (-1, 0),
    "to the right of": (1, 0),
    "next to": (0, 0),
    "beside": (0, 0),
}


def beside(anchor: PixelBox, elements: Sequence[Element], step: tuple[int, int]) -> Element | None:
    """Return the element next to an anchor in a direction; None if there is none, or another one is nearly as close."""
    axis = 1 if step[1] else 0
    cross = 1 - axis
    side = step[axis]
    thick = anchor[cross + 2] - anchor[cross]
    ranked = []
    for element in elements:
        box = element.box
        if box[0] <= anchor[0] and box[1] <= anchor[1] and box[2] >= anchor[2] and box[3] >= anchor[3]:
            continue  # the anchor is the element's own label
        middle, own = (box[axis] + box[axis + 2]) / 2, (anchor[axis] + anchor[axis + 2]) / 2
        if side and (middle - own) * side <= 0:
            continue
        overlap = min(box[cross + 2], anchor[cross + 2]) - max(box[cross], anchor[cross])
        level = overlap >= 0.5 * min(thick, box[cross + 2] - box[cross])
        beyond = (box[axis] >= anchor[axis + 2] - 2) if side >= 0 else False
        beyond = beyond or ((box[axis + 2] <= anchor[axis] + 2) if side <= 0 else False)
        ranked.append((math.hypot(*gaps(box, anchor)), level and beyond, element))
    if not ranked:
        return None
    ranked.sort(key=lambda item: item[0])
    gap, straight, nearest = ranked[0]
    height = anchor[3] - anchor[1]
    if not straight or gap > 3 * height:
        return None
    # For "next to", an element on another line is no alternative unless it is as close.
    for other, aligned, _ in ranked[1:]:
        if (aligned or side) and other < 2 * gap + height:
            return None
        if not aligned and other <= gap:
            return None
    return nearest
