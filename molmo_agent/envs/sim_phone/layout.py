"""Where a page's items are on the screen, in pixels."""

from dataclasses import dataclass

from molmo_agent.envs.drawing.canvas import IntBox
from molmo_agent.envs.sim_phone.keyboard import keyboard_height
from molmo_agent.envs.sim_phone.looks import PhoneLook
from molmo_agent.envs.sim_phone.pages import Item, Page, page_of
from molmo_agent.envs.sim_phone.state import Phone

# Units of height of an item; rows with a second line are higher.
_HEIGHTS = {
    "switch": 58,
    "row": 58,
    "person": 56,
    "heading": 34,
    "alarm": 88,
    "slider": 68,
    "text": 44,
    "button": 54,
    "card": 104,
    "goods": 150,
    "hero": 84,
    "face": 138,
    "trio": 80,
    "picture": 156,
    "bubble": 42,
    "action": 52,
}
_CHIP, _GAP = 38, 6
_TWO_LINES = 10


@dataclass(frozen=True, slots=True)
class Layout:
    """A page on the screen."""

    page: Page
    # Every item with its box, the scrolled-away ones included.
    items: list[tuple[Item, IntBox]]
    footer: list[tuple[Item, IntBox]]
    # The part of the screen that shows the items.
    view: IntBox
    # How far they can be scrolled, pixels.
    reach: int


def view_of(phone: Phone, footer: bool = False) -> IntBox:
    """Return the part of the screen that shows a page's items."""
    look, (width, height) = phone.look, phone.size
    top = look.status_height + look.bar_height
    bottom = height - (keyboard_height(phone) if phone.focus is not None else look.navigation_height)
    bottom -= look.u(62) if footer else 0
    return 0, top, width, max(bottom, top + 1)


def lay_out(phone: Phone) -> Layout | None:
    """Place the items of the page in front and limit its scroll offset to its content; None for the home screen."""
    screenful = phone.top
    if screenful is None:
        return None
    page, look = page_of(phone, screenful), phone.look
    view = view_of(phone, bool(page.footer))
    items, height = _flow(page, look, view)
    reach = max(height - (view[3] - view[1]), 0)
    screenful.offset = min(max(screenful.offset, 0), reach)
    dy = view[1] - screenful.offset
    boxes = [(item, (left, top + dy, right, bottom + dy)) for item, (left, top, right, bottom) in items]
    return Layout(page, boxes, _footer(page, look, view), view, reach)


def _flow(page: Page, look: PhoneLook, view: IntBox) -> tuple[list[tuple[Item, IntBox]], int]:
    """Place items from the top down, y counted from the beginning of the content; return its height too."""
    width, pad, gap = view[2] - view[0], look.u(16), look.u(8)
    columns = page.columns * (2 if page.columns > 1 and width > look.u(520) else 1)
    column, y, boxes = 0, look.u(6), []
    share = (width - 2 * pad - (columns - 1) * gap) // columns
    for item in page.items:
        height = look.u(_units(item, look, width))
        if columns > 1:
            left = pad + column * (share + gap)
            boxes.append((item, (left, y, left + share, y + height)))
            column = (column + 1) % columns
            y += (height + gap) if column == 0 else 0
            continue
        boxes.append((item, (pad, y, width - pad, y + height)))
        y += height + (gap if item.kind in ("alarm", "field", "bubble") else 0)
    if column:
        y += look.u(_units(page.items[-1], look, width)) + gap
    # Room for the floating button below the last item.
    return boxes, y + look.u(80 if page.floating else 10)


def _units(item: Item, look: PhoneLook, width: int) -> int:
    if item.kind == "field":
        return 52 + 20 * (item.lines - 1)
    if item.kind == "chips":
        rows = -(-len(item.parts) // chips_across(look, width))
        return rows * (_CHIP + _GAP) + _GAP
    return _HEIGHTS[item.kind] + (_TWO_LINES if item.kind == "person" and item.detail else 0)


def chips_across(look: PhoneLook, width: int) -> int:
    """Return how many chips stand side by side on a screen of so many pixels."""
    return 12 if width > look.u(520) else 6


def chip_boxes(item: Item, box: IntBox, look: PhoneLook) -> list[IntBox]:
    """Return where the chips of a block are."""
    across, gap = chips_across(look, box[2] + look.u(16)), look.u(_GAP)
    share, height = (box[2] - box[0] - (across - 1) * gap) / across, look.u(_CHIP)
    boxes = []
    for number in range(len(item.parts)):
        left = box[0] + round((number % across) * (share + gap))
        top = box[1] + (number // across) * (height + gap)
        boxes.append((left, top, left + round(share), top + height))
    return boxes


def _footer(page: Page, look: PhoneLook, view: IntBox) -> list[tuple[Item, IntBox]]:
    if not page.footer:
        return []
    field, button = page.footer
    top, pad, side = view[3] + look.u(7), look.u(12), look.u(48)
    right = view[2] - pad
    return [
        (field, (pad, top, right - side - look.u(8), top + side)),
        (button, (right - side, top, right, top + side)),
    ]
