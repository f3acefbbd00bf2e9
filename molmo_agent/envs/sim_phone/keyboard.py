"""The keyboard on the screen: where its keys are, how they look."""

from molmo_agent.envs.drawing.canvas import Canvas, IntBox, mix
from molmo_agent.envs.sim_phone.glyphs import glyph
from molmo_agent.envs.sim_phone.state import Phone

# Keys other than letters are written by name; a number after a colon is the width in letter widths.
_ROWS = (
    "1 2 3 4 5 6 7 8 9 0",
    "q w e r t y u i o p",
    "a s d f g h j k l",
    "shift:1.5 z x c v b n m backspace:1.5",
    "?:1.5 , space:5 . enter:1.5",
)
_ICONS = {"shift": "shift", "backspace": "erase", "enter": "enter"}


def keyboard_height(phone: Phone) -> int:
    """Return the height of the keyboard in pixels, the navigation bar below it included."""
    look, (_, height) = phone.look, phone.size
    return min(look.u(236), round(height * 0.52)) + look.navigation_height


def key_boxes(phone: Phone) -> list[tuple[str, IntBox]]:
    """Return the keys and where they are, gaps included, so that every spot of the keyboard belongs to a key."""
    look, (width, height) = phone.look, phone.size
    bottom = height - look.navigation_height
    top = height - keyboard_height(phone) + look.u(4)
    left, right = (look.u(3), width - look.u(3)) if width < look.u(520) else (width // 8, width - width // 8)
    row_height = (bottom - top) / len(_ROWS)
    boxes: list[tuple[str, IntBox]] = []
    for number, row in enumerate(_ROWS):
        keys = [(name, float(share or 1)) for name, _, share in (key.partition(":") for key in row.split())]
        unit = (right - left) / 10
        x = left + (right - left - unit * sum(share for _, share in keys)) / 2
        y = top + number * row_height
        for name, share in keys:
            boxes.append((name, (round(x), round(y), round(x + unit * share), round(y + row_height))))
            x += unit * share
    return boxes


def draw_keyboard(phone: Phone, canvas: Canvas) -> None:
    """Draw the keyboard over the lower part of the screen; every key is an element that reacts."""
    look, (width, height) = phone.look, phone.size
    box = (0, height - keyboard_height(phone), width, height)
    canvas.cover(box)
    fill = mix(look.ground, look.ink, 0.09)
    canvas.rect(box, fill)
    canvas.react(box, ())
    gap = max(look.u(2.5), 1)
    for name, (left, top, right, bottom) in key_boxes(phone):
        plain = len(name) == 1
        key = (left + gap, top + gap, right - gap, bottom - gap)
        cap = look.accent if name == "enter" else look.card if plain or name == "space" else mix(fill, look.ink, 0.12)
        ink = look.on_accent if name == "enter" else look.ink
        canvas.plate(key, look.u(6), cap)
        run = -1
        if name in _ICONS:
            side = min(look.u(18), key[3] - key[1])
            tone = look.accent if name == "shift" and phone.capitals else ink
            canvas.tint(glyph(_ICONS[name], side), (left + right - side) // 2, (top + bottom - side) // 2, tone)
        elif plain:
            letters = look.text(min(17, (bottom - top) / look.scale * 0.52))
            visible = name.upper() if phone.capitals else name
            y = (top + bottom - letters.height) // 2
            run = canvas.text((left + right) / 2, y, visible, letters, ink, align="center")
        canvas.mark("key", name, key, run)
        canvas.react((left, top, right, bottom), ("key", name))
