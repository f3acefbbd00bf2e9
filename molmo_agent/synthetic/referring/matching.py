"""What a description fits on a screen: by kind and name, by place, in order, beside something; None where in doubt.

Geometry and facts only: how it is said is the business of :mod:`molmo_agent.synthetic.referring.questions`.
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
    """A word for things."""

    word: str
    # Kinds of elements that it surely means, and kinds that somebody might mean by it.
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
    """Return the noun for a kind of shape; icons of the same form are doubtful."""
    return _noun(shape, "shape", "icon app button", f"{shape}es" if shape.endswith("s") else f"{shape}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a description says; None where it says nothing."""

    noun: Noun | None = None
    # The name as a whole (see ``phrases.describe``), its case left aside.
    name: str | None = None
    color: str | None = None
    shape: str | None = None
    size: str | None = None
    state: str | None = None

    def fits(self, element: Element) -> bool:
        """Tell whether colour, form, size, state and name are right; the kind is not looked at."""
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
    """A screen's elements, by what they are called and what they are."""

    def __init__(self, screen: Screen) -> None:
        height, width = screen.image.shape[:2]
        self.size = (width, height)
        self.elements = [
            e for e in screen.elements if e.box[0] < width and e.box[1] < height and e.box[2] > 0 and e.box[3] > 0
        ]
        self.runs = Counter(run.text.casefold() for run in screen.texts)
        self.titles = {e.label for e in screen.elements if e.kind == "window_title" and e.text}
        self._known: dict[Description, list[Element] | None] = {}
        self._by_kind: dict[str, list[Element]] = defaultdict(list)
        self._by_name: dict[str, list[Element]] = defaultdict(list)
        for element in self.elements:
            self._by_kind[element.kind].append(element)
            self._by_name[describe(element).casefold()].append(element)
        # Short texts that are read once on the screen, and where: what a place can be told by.
        self.anchors: list[tuple[str, PixelBox]] = []
        for run in screen.texts:
            name = run.text.casefold()
            if 2 <= len(name) <= 24 and self.runs[name] == 1 and len(self._by_name.get(name, ())) == 1:
                self.anchors.append((run.text, run.box))

    def fitting(self, description: Description) -> list[Element] | None:
        """Return what a description fits; None where it might also mean something else, or something half hidden."""
        if description not in self._known:
            self._known[description] = self._look_up(description)
        return self._known[description]

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
            sure = description.noun is None or element.kind in description.noun.kinds
            if not sure and (description.noun is None or element.kind not in description.noun.doubtful):
                continue
            if (
                not sure
                and description.shape is None
                and description.name is None
                and (description.color or description.size)
            ):
                continue  # a coloured button is no coloured shape
            if not description.fits(element):
                continue
            if not sure or not element.visible:
                return None
            matches.append(element)
        return matches

    def shows(self, text: str) -> bool:
        """Tell whether a text, or something called so, is anywhere on the screen, case left aside."""
        text = text.casefold()
        return text in self._by_name or any(text in run for run in self.runs)


# Which way a word points: steps to the right and down.
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
    """Return how far a box reaches each way: (edge, middle) across and down; larger is farther."""
    left, top, right, bottom = box
    across = ((right if step[0] > 0 else left) * step[0], (left + right) / 2 * step[0])
    down = ((bottom if step[1] > 0 else top) * step[1], (top + bottom) / 2 * step[1])
    return across, down


def is_extreme(element: Element, like: Sequence[Element], step: tuple[int, int]) -> bool:
    """Tell whether one of several lies farthest in a direction by a clear margin; in a corner it leads both ways."""
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
    """Return ("row", from the left) or ("column", from the top) where elements stand in one line, else None."""
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
    """Return how many pixels lie between two boxes across and down, 0 where they touch or overlap."""
    return max(a[0] - b[2], b[0] - a[2], 0), max(a[1] - b[3], b[1] - a[3], 0)


# Which way from the anchor; "next to" is either side.
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
    """Return the one of several that is close to an anchor on a side of it, with no rival anywhere near."""
    axis = 1 if step[1] else 0
    cross = 1 - axis
    side = step[axis]
    thick = anchor[cross + 2] - anchor[cross]
    ranked = []
    for element in elements:
        box = element.box
        if box[0] <= anchor[0] and box[1] <= anchor[1] and box[2] >= anchor[2] and box[3] >= anchor[3]:
            continue  # the anchor is what is written on it
        middle, own = (box[axis] + box[axis + 2]) / 2, (anchor[axis] + anchor[axis + 2]) / 2
        if side and (middle - own) * side <= 0:
            continue
        shared = min(box[cross + 2], anchor[cross + 2]) - max(box[cross], anchor[cross])
        level = shared >= 0.5 * min(thick, box[cross + 2] - box[cross])
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
    # A rival on another line does not count where "next to" can only mean the same line.
    for other, aligned, _ in ranked[1:]:
        if (aligned or side) and other < 2 * gap + height:
            return None
        if not aligned and other <= gap:
            return None
    return nearest
