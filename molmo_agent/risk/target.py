"""What is at a point, as far as it was read."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["button", "field", "check box", "menu", "tab", "text", "icon"]
"""``text``: an entry of a list or menu, a link, a heading. ``icon``: nothing is written under the point."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is at a point."""

    kind: Kind
    # The words under the point, or empty.
    text: str = ""
    # For a point without words: those right below it, as of icons on a desktop.
    caption: str = ""
    # For a point without words: the nearest ones in its row, if none are below.
    beside: str = ""
    # The words that name the row or the card of a point without words of its own.
    near: tuple[str, ...] = ()
    # What the icon at a point without words is, as far as it is known; a meaning of molmo_agent.risk.icons.
    icon: str = ""
    # What the icon looks like most, whether that is known to be harmless or not.
    likeliest: str = ""
    # The other texts of the dialog or panel around the point, top to bottom; empty if there is none.
    dialog: tuple[str, ...] = ()
    # Whether a button such as Cancel stands in the same row, as in dialogs.
    beside_cancel: bool = False
    # Whether a button has something like the arrow of a drop-down list at its right end.
    opens_list: bool = False
    # Whether its program says that it is a tab, the title of a menu, a list, a check box or a field.
    opens: bool = False
