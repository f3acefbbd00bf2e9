"""One step of a recorded episode: the screen's size, the action, and what a benchmark accepts as the same.

Places and boxes are fractions of the image unless :attr:`Step.frame` says pixels. A direction is that of the view:
"down" shows what is below, and the finger moves up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from molmo_agent.data.readers.grounding.targets import Edges, Frame

# fmt: off
Kind = Literal[
    "click", "long press", "scroll", "type", "select", "open app", "home", "back", "enter", "recent", "wait",
    "complete", "impossible",
]
# fmt: on
Place = tuple[float, float]
"""x, y as fractions of width and height."""

TAP_DISTANCE = 0.04
"""A recorded gesture up to this length, in fractions of the sides, is a tap."""

_WORDS: Mapping[str, str] = {
    "home": "Navigate Home",
    "back": "Navigate Back",
    "enter": "Press Enter",
    "recent": "Press Recent",
    "wait": "Wait",
    "complete": "Task Complete",
    "impossible": "Task Impossible",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One action, recorded or replied.

    Raises:
        ValueError: the text is none.
    """

    kind: Kind
    place: Place | None = None
    # An answer may name an area; its centre is then the place.
    box: Edges | None = None
    # The typed text, the option that is selected, or the name of the app.
    text: str = ""
    # Of the view, if the action scrolls.
    direction: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueError(f"expected a text to type or to select, got {self.text!r:.80}")

    def words(self) -> str:
        """Return the action as a model should write it, places in percent with one decimal."""
        percents = f"({self.place[0] * 100:.1f}, {self.place[1] * 100:.1f})" if self.place else ""
        match self.kind:
            case "click":
                return f"Click{percents}"
            case "long press":
                return f"Long Press{percents}"
            case "scroll":
                return f"Scroll {self.direction}"
            case "type":
                return f"Type{percents} {self.text}"
            case "select":
                return f"Select{percents} {self.text}"
            case "open app":
                return f"Open App {self.text}"
            case _:
                return _WORDS[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One recorded step.

    Raises:
        ValueError: the number or the length is no whole number.
    """

    act: Act
    # Unique in the data set, and the number of the step in the episode, from 0.
    episode: str
    number: int
    # Number of the episode's steps.
    length: int
    # The unit of the boxes.
    frame: Frame = "fractions"
    # Elements on the screen, and their texts: as many, or none if the data has none.
    boxes: tuple[Edges, ...] = ()
    labels: tuple[str, ...] = ()
    # The boxes of the right element, where the data names it.
    targets: tuple[Edges, ...] = ()
    # Name of a group -> the step's values; scores are also reported for each of them.
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.number) is not int or type(self.length) is not int or self.number < 0:
            raise ValueError(
                f"expected the step and the length of its episode as whole numbers, got {self.number!r:.40} and "
                f"{self.length!r:.40}"
            )

    def in_fractions(self, size: tuple[int, int]) -> "Step":
        """Return the step with all boxes as fractions of an image of (width, height)."""
        if self.frame == "fractions":
            return self
        return replace(
            self,
            frame="fractions",
            boxes=tuple(_divided(box, size) for box in self.boxes),
            targets=tuple(_divided(box, size) for box in self.targets),
        )


def _divided(box: Edges, size: tuple[int, int]) -> Edges:
    width, height = size
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def gesture(touch: Place, lift: Place) -> Act:
    """Return the tap or scroll of a finger that touches and lifts."""
    # Allow for rounding: from 0.5 to 0.54 is no further than 0.04.
    if math.dist(touch, lift) <= TAP_DISTANCE + 1e-9:
        return Act(kind="click", place=touch)
    return Act(kind="scroll", direction=view_direction(touch, lift))


def view_direction(touch: Place, lift: Place, *, vertical_share: float = 1.0) -> str:
    """Return where the view moves when a finger moves: the opposite way.

    Args:
        touch: where the finger begins.
        lift: where it ends.
        vertical_share: the movement is vertical if its height is at least this share of its width.
    """
    right, down = lift[0] - touch[0], lift[1] - touch[1]
    if abs(down) >= vertical_share * abs(right):
        return "up" if down > 0 else "down"
    return "left" if right > 0 else "right"
