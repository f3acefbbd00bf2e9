"""Draw scattered items on small web pages: coloured shapes, letters, digits and small images."""

from molmo_agent.envs.drawing import icons, words
from molmo_agent.envs.drawing.canvas import Color, IntBox, mix
from molmo_agent.envs.sim_desktop.contents import TOOL_ICONS
from molmo_agent.envs.sim_desktop.looks import hue
from molmo_agent.synthetic.pages.widgets import Sheet

# Colours by their CSS names.
_PURE: dict[str, Color] = {
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
    "brown": (139, 69, 19),
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
    "cyan": (0, 255, 255),
}


def free_box(sheet: Sheet, wide: int, tall: int, high: int, occupied_boxes: list[IntBox]) -> IntBox | None:
    """Return a random free box in the next ``high`` pixels and add it to the occupied ones; None if there is none."""
    if wide > sheet.width or tall > high:
        return None
    for _ in range(6):
        x, y = sheet.rng.randint(sheet.left, sheet.right - wide), sheet.rng.randint(sheet.top, sheet.top + high - tall)
        box = (x, y, x + wide, y + tall)
        if not any(
            b[0] < box[2] + 2 and box[0] < b[2] + 2 and b[1] < box[3] + 2 and box[1] < b[3] + 2 for b in occupied_boxes
        ):
            occupied_boxes.append(box)
            return box
    return None


def shapes(sheet: Sheet) -> None:
    """Draw small and large coloured shapes, letters and digits on an area."""
    rng = sheet.rng
    high = min(sheet.bottom - sheet.top, sheet.u(rng.choice((80, 120, 150))))
    if high < sheet.u(40):
        return
    with_letters = rng.random() < 0.6
    forms = (
        rng.sample(tuple(icons.SHAPES), rng.randint(3, 6)) if rng.random() < 0.5 else ["circle", "square", "triangle"]
    )
    visible = [name for name, color in _PURE.items() if _is_visible(color, sheet.look.ground)]
    colors = rng.sample(visible, min(rng.randint(3, 7), len(visible)))
    occupied_boxes: list[IntBox] = []
    items = []
    for _ in range(round(rng.randint(4, 20) * sheet.width / sheet.u(160))):
        size = rng.choice(("small", "large"))
        side = sheet.u(rng.choice((8, 10)) if size == "small" else rng.choice((18, 20, 24)))
        box = free_box(sheet, side, side, high, occupied_boxes)
        if box:
            items.append((box, size, rng.choice(colors), with_letters and rng.random() < 0.5))
    both = len({size for _, size, _, _ in items}) == 2
    for box, size, color, is_letter in items:
        size_word = size if both else None
        fill = mix(_PURE[color], hue(rng, 1.0, 1.0), rng.choice((0.0, 0.0, 0.06)))
        if is_letter:
            _letter(sheet, box, color, fill, size_word)
        else:
            shape = rng.choice(forms)
            sheet.canvas.tint(icons.shape(shape, box[2] - box[0]), box[0], box[1], fill)
            sheet.canvas.mark("shape", f"{color} {shape}", box, color=color, shape=shape, size=size_word)
    sheet.top += high


def _is_visible(color: Color, ground: Color) -> bool:
    """Return whether a colour has enough contrast to a background."""
    return sum(abs(a - b) for a, b in zip(color, ground, strict=True)) > 120


def _letter(sheet: Sheet, box: IntBox, color: str, fill: Color, size: str | None) -> None:
    """Draw a letter or digit that fills a box; its element's box is as high as the line."""
    rng = sheet.rng
    letters = sheet.font((box[3] - box[1]) / sheet.scale)
    text = rng.choice("ABCDEFGHJKLMNPQRTUVWXYZabdefghkmnqrtuwy23456789")
    if sheet.split != "all" and words.is_held_out(text) != (sheet.split == "held_out"):
        return
    y = (box[1] + box[3] - letters.height) // 2
    run = sheet.canvas.text((box[0] + box[2]) / 2, y, text, letters, fill, align="center")
    half = letters.width(text) / 2
    middle = (box[0] + box[2]) / 2
    spot = (int(middle - half), box[1], max(int(middle + half), int(middle - half) + 2), box[3])
    sheet.canvas.mark("letter", text, spot, run, color=color, size=size)


def images(sheet: Sheet) -> None:
    """Draw a row of small images to click."""
    rng = sheet.rng
    side, gap = sheet.u(rng.choice((12, 14, 16, 22))), sheet.u(rng.choice((6, 12, 20)))
    if sheet.top + side > sheet.bottom:
        return
    ink = rng.choice(((120, 120, 120), sheet.look.ink, hue(rng, 0.7, 0.7)))
    for i, name in enumerate(rng.sample(TOOL_ICONS, rng.randint(2, 5))):
        x = sheet.left + i * (side + gap)
        if x + side > sheet.right:
            break
        sheet.canvas.tint(icons.icon(name, side), x, sheet.top, ink)
        sheet.canvas.mark("icon", name, (x, sheet.top, x + side, sheet.top + side), shape=name)
    sheet.top += side + sheet.u(2)
