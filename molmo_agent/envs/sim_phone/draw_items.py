"""Draw each kind of item on a page and record it as an element."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from molmo_agent.envs.drawing import icons
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.drawing.fonts import Face
from molmo_agent.envs.sim_desktop.looks import ink_on
from molmo_agent.envs.sim_phone.glyphs import glyph
from molmo_agent.envs.sim_phone.layout import chip_boxes
from molmo_agent.envs.sim_phone.looks import PhoneLook
from molmo_agent.envs.sim_phone.pages import Command, Item
from molmo_agent.envs.sim_phone.state import Phone

# Backgrounds of letters that stand for people.
_FACES: tuple[Color, ...] = (
    (66, 120, 208),
    (200, 84, 92),
    (70, 150, 98),
    (150, 96, 186),
    (206, 132, 48),
    (60, 148, 160),
)


@dataclass(frozen=True, slots=True)
class Touch:
    """The effect of touching a region of the screen."""

    press: Command = ()
    hold: Command = ()
    # The field that gets the keyboard; the slider that follows the finger, with its track.
    field: str = ""
    slider: str = ""
    track: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class Pen:
    """The canvas and the phone that items are drawn with."""

    phone: Phone
    canvas: Canvas

    @property
    def look(self) -> PhoneLook:
        """The phone's look."""
        return self.phone.look

    def write(
        self, x: float, y: float, text: str, letters: Face, ink: Color, room: float = 1e9, align: str = "left"
    ) -> int:
        """Write a line that is centred around a height; return its run."""
        return self.canvas.text(x, y - letters.height / 2, text, letters, ink, room, align)

    def icon(self, name: str, x: float, y: float, units: float, ink: Color) -> None:
        """Draw an icon around a position."""
        side = self.look.u(units)
        self.canvas.tint(glyph(name, side), round(x - side / 2), round(y - side / 2), ink)

    def mark(
        self, kind: str, item: Item, box: IntBox, run: int = -1, state: str | None = None, shape: str | None = None
    ) -> None:
        """Record an item as an element whose touch region is its box; ``shape`` names the image that it shows."""
        self.canvas.mark(kind, item.label, box, run, Touch(item.press, item.hold), state=state, shape=shape)

    def touch(self, item: Item, box: IntBox) -> None:
        """Record a region that reacts like an item."""
        self.canvas.react(box, Touch(item.press, item.hold))


def _two_lines(pen: Pen, item: Item, left: int, right: int, box: IntBox, bold: bool = False) -> int:
    """Write an item's label, and its detail below it in a paler ink; return the label's run."""
    look, middle = pen.look, (box[1] + box[3]) / 2
    shift = look.u(9) if item.detail else 0
    run = pen.write(left, middle - shift, item.label, look.text(14.5, bold), look.ink, right - left)
    if item.detail:
        pen.write(left, middle + look.u(10), item.detail, look.text(12), look.faint, right - left)
    return run


def _badge(pen: Pen, item: Item, box: IntBox) -> int:
    """Draw an item's icon on a pale disc at the left end of its row; return where its text begins."""
    look, middle = pen.look, (box[1] + box[3]) // 2
    if not item.icon:
        return box[0] + look.u(4)
    radius = look.u(18)
    disc = (box[0], middle - radius, box[0] + 2 * radius, middle + radius)
    pen.canvas.plate(disc, radius, look.tint)
    pen.icon(item.icon, box[0] + radius, middle, 18, mix(look.accent, look.ink, 0.3))
    return box[0] + 2 * radius + look.u(14)


def _toggle(pen: Pen, right: int, middle: int, on: bool) -> IntBox:
    """Draw a switch that ends at ``right``; return its box."""
    look = pen.look
    width, height = look.u(44), look.u(25)
    box = (right - width, middle - height // 2, right, middle - height // 2 + height)
    pen.canvas.plate(box, height // 2, look.accent if on else mix(look.edge, look.faint, 0.35))
    knob = height - 2 * look.u(4)
    left = box[2] - look.u(4) - knob if on else box[0] + look.u(4)
    top = box[1] + (height - knob) // 2
    pen.canvas.plate((left, top, left + knob, top + knob), knob // 2, (255, 255, 255) if not look.dark else look.ground)
    return box


def _switch(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    pen.touch(item, box)
    left = _badge(pen, item, box)
    spot = _toggle(pen, box[2], (box[1] + box[3]) // 2, item.checked)
    run = _two_lines(pen, item, left, spot[0] - look.u(8), box)
    pen.mark("switch", item, spot, run, "on" if item.checked else "off")


def _row(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    left = _badge(pen, item, box)
    right = box[2] - (look.u(24) if item.note else 0)
    run = _two_lines(pen, item, left, right, box)
    if item.note:
        pen.icon("go", box[2] - look.u(8), (box[1] + box[3]) / 2, 14, look.faint)
    pen.mark("row", item, box, run)


def _person(pen: Pen, item: Item, box: IntBox) -> None:
    look, middle = pen.look, (box[1] + box[3]) // 2
    left = box[0] + 2 * look.u(19) + look.u(14)
    face(pen, item.label, box[0] + look.u(19), middle, look.u(19))
    right = box[2]
    if item.note:
        small = look.text(11.5)
        pen.write(box[2], middle - look.u(9), item.note, small, look.faint, align="right")
        right -= small.width(item.note) + look.u(8)
    run = _two_lines(pen, item, left, right, box)
    pen.mark("person", item, box, run)


def face(pen: Pen, name: str, x: int, y: int, radius: int) -> None:
    """Draw the disc with an initial that stands for a person."""
    fill = _FACES[zlib.crc32(name.encode()) % len(_FACES)]
    pen.canvas.plate((x - radius, y - radius, x + radius, y + radius), radius, fill)
    letters = pen.look.text(radius / pen.look.scale * 0.85, True)
    pen.canvas.text(x, y - letters.height / 2, name[0], letters, (255, 255, 255), align="center", recorded=False)


def _face(pen: Pen, item: Item, box: IntBox) -> None:
    look, x = pen.look, (box[0] + box[2]) // 2
    face(pen, item.label, x, box[1] + look.u(48), look.u(42))
    run = pen.write(x, box[1] + look.u(114), item.label, look.text(21, True), look.ink, box[2] - box[0], "center")
    pen.canvas.mark("text", item.label, (box[0], box[1] + look.u(98), box[2], box[3]), run)


def _trio(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    share = (box[2] - box[0]) / len(item.parts)
    for number, part in enumerate(item.parts):
        x, y = round(box[0] + share * (number + 0.5)), box[1] + look.u(28)
        r = look.u(22)
        pen.canvas.plate((x - r, y - r, x + r, y + r), r, look.tint)
        pen.icon(part.icon, x, y, 20, mix(look.accent, look.ink, 0.2))
        run = pen.write(x, box[1] + look.u(64), part.label, look.text(12), look.faint, align="center")
        pen.mark("button", part, (x - look.u(34), box[1] + look.u(4), x + look.u(34), box[3] - look.u(4)), run)


def _heading(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    ink = mix(look.accent, look.ink, 0.25)
    pen.write(box[0] + look.u(2), box[1] + look.u(20), item.label, look.text(12.5, True), ink)


def _text(pen: Pen, item: Item, box: IntBox) -> None:
    pen.write(box[0], (box[1] + box[3]) / 2, item.label, pen.look.text(14), pen.look.faint, box[2] - box[0])


def _alarm(pen: Pen, item: Item, box: IntBox) -> None:
    look, middle = pen.look, (box[1] + box[3]) // 2
    pen.canvas.plate(box, look.radius, look.tint if item.checked else look.card)
    pen.touch(item, box)
    ink = look.ink if item.checked else look.faint
    run = pen.write(box[0] + look.u(16), middle - look.u(10), item.label, look.text(30), ink)
    pen.write(box[0] + look.u(16), middle + look.u(22), item.detail, look.text(12), look.faint)
    spot = _toggle(pen, box[2] - look.u(16), middle, item.checked)
    pen.mark("switch", item, spot, run, "on" if item.checked else "off")


def _slider(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    run = pen.write(box[0] + look.u(4), box[1] + look.u(18), item.label, look.text(14.5), look.ink)
    pen.icon(item.icon, box[0] + look.u(12), box[1] + look.u(46), 18, look.faint)
    left, right, y, knob = box[0] + look.u(36), box[2] - look.u(6), box[1] + look.u(46), look.u(10)
    x = left + knob + round((right - left - 2 * knob) * item.level)
    thick = look.u(3)
    pen.canvas.plate((left, y - thick, right, y + thick), thick, mix(look.edge, look.faint, 0.2))
    pen.canvas.plate((left, y - thick, x, y + thick), thick, look.accent)
    pen.canvas.plate((x - knob, y - knob, x + knob, y + knob), knob, look.accent)
    touch = Touch(slider=item.label, track=(left + knob, right - knob))
    pen.canvas.mark(
        "slider", item.label, (left, y - knob, right, y + knob), run, touch, state=f"{round(100 * item.level)}%"
    )


def _field(pen: Pen, item: Item, box: IntBox) -> None:
    look, focused = pen.look, pen.phone.focus == item.label
    inner = (box[0], box[1] + look.u(3), box[2], box[3] - look.u(3))
    radius = look.radius if item.lines > 1 else min(look.radius, look.u(22))
    pen.canvas.plate(inner, radius, look.card, look.accent if focused else mix(look.edge, look.faint, 0.3))
    letters, left = look.text(14.5), box[0] + look.u(14)
    if item.icon:
        pen.icon(item.icon, left + look.u(8), (box[1] + box[3]) / 2, 16, look.faint)
        left += look.u(26)
    value, y = pen.phone.fields.get(item.label, ""), box[1] + look.u(26)
    lines = _wrap(value, letters, inner[2] - left - look.u(12))
    # The end of the text, where the caret is.
    for number, line in enumerate(lines[-item.lines :]):
        pen.write(left, y + number * look.u(20), line, letters, look.ink)
    run = -1
    if not value:
        run = pen.write(left, y, item.label, letters, look.faint, inner[2] - left)
    if focused:
        x = left + letters.width(lines[-1])
        y += look.u(20) * (min(len(lines), item.lines) - 1)
        half = letters.height // 2
        pen.canvas.rect((x + 1, y - half, x + 1 + max(look.u(1.5), 1), y + half), look.accent)
    state = "focused" if focused else value or None
    pen.canvas.mark("field", item.label, inner, run, Touch(field=item.label), state=state)


def _wrap(text: str, letters: Face, room: float) -> list[str]:
    """Break a text into lines that fit, at blanks where there are some."""
    lines = []
    for line in text.split("\n"):
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}" if current else word
            if current and letters.width(longer) > room:
                lines.append(current)
                longer = word
            while (length := max(1, letters.count_fitting(longer, room))) < len(longer):
                lines.append(longer[:length])
                longer = longer[length:]
            current = longer
        lines.append(current)
    return lines


def _button(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    inner = (box[0], box[1] + look.u(4), box[2], box[3] - look.u(4))
    fill = look.accent if item.checked else look.tint
    pen.canvas.plate(inner, (inner[3] - inner[1]) // 2, fill)
    ink = look.on_accent if item.checked else look.ink
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    pen.mark("button", item, inner, pen.write(x, y, item.label, look.text(14.5, True), ink, align="center"))


def _card(pen: Pen, item: Item, box: IntBox) -> None:
    look, pad = pen.look, pen.look.u(13)
    pen.canvas.plate(box, look.radius, look.card, look.edge)
    room = box[2] - box[0] - 2 * pad
    run = pen.write(box[0] + pad, box[1] + look.u(22), item.label, look.text(14.5, True), look.ink, room)
    for number, line in enumerate(_wrap(item.detail, look.text(12.5), room)[:3]):
        pen.write(box[0] + pad, box[1] + look.u(45 + 18 * number), line, look.text(12.5), look.faint, room)
    if item.icon:
        pen.icon(item.icon, box[2] - pad, box[1] + pad, 12, look.accent)
    pen.mark("card", item, box, run)


def _goods(pen: Pen, item: Item, box: IntBox) -> None:
    look, pad = pen.look, pen.look.u(11)
    pen.canvas.plate(box, look.radius, look.card, look.edge)
    assert item.color is not None
    image_box = (box[0] + look.u(7), box[1] + look.u(7), box[2] - look.u(7), box[1] + look.u(96))
    image(pen, item.icon, item.color, image_box, 58)
    room = box[2] - box[0] - 2 * pad
    run = pen.write(box[0] + pad, box[1] + look.u(113), item.label, look.text(13.5), look.ink, room)
    pen.write(box[0] + pad, box[1] + look.u(133), item.detail, look.text(13, True), look.accent, room)
    pen.mark("card", item, box, run)


def image(pen: Pen, shape: str, color: Color, box: IntBox, units: float) -> None:
    """Draw the image of a product."""
    look, side = pen.look, pen.look.u(units)
    pen.canvas.plate(box, max(look.radius - look.u(4), 2), mix(look.ground, color, 0.18))
    x, y = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    pen.canvas.tint(icons.shape(shape, side), x, y, color)


def _image(pen: Pen, item: Item, box: IntBox) -> None:
    assert item.color is not None
    image(pen, item.icon, item.color, (box[0], box[1], box[2], box[3] - pen.look.u(6)), 96)


def _hero(pen: Pen, item: Item, box: IntBox) -> None:
    look, x = pen.look, (box[0] + box[2]) / 2
    y = box[1] + look.u(40 if not item.detail else 28)
    pen.write(x, y, item.label, look.text(36 if not item.detail else 26, not item.detail), look.ink, align="center")
    if item.detail:
        pen.write(x, box[1] + look.u(60), item.detail, look.text(15), look.faint, align="center")


def _bubble(pen: Pen, item: Item, box: IntBox) -> None:
    look, letters = pen.look, pen.look.text(14)
    room = round((box[2] - box[0]) * 0.8)
    visible = letters.fit(item.label, room - look.u(28))
    width = letters.width(visible) + look.u(28)
    spot = (box[2] - width, box[1], box[2], box[3]) if item.own else (box[0], box[1], box[0] + width, box[3])
    fill = look.accent if item.own else look.card
    pen.canvas.plate(spot, look.u(18), fill, None if item.own else look.edge)
    ink = look.on_accent if item.own else look.ink
    run = pen.write(spot[0] + look.u(14), (box[1] + box[3]) / 2, visible, letters, ink)
    pen.canvas.mark("message", item.label, spot, run if visible == item.label else -1)


def _chips(pen: Pen, item: Item, box: IntBox) -> None:
    look = pen.look
    for part, spot in zip(item.parts, chip_boxes(item, box, look), strict=True):
        pen.canvas.plate(
            spot, look.u(10), look.accent if part.checked else look.card, None if part.checked else look.edge
        )
        ink = look.on_accent if part.checked else look.ink
        x, y = (spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2
        run = pen.write(x, y, part.label, look.text(13.5), ink, align="center")
        pen.mark("chip", part, spot, run, "selected" if part.checked else None)


def action(pen: Pen, item: Item, box: IntBox) -> None:
    """Draw a control of a title bar or footer: an icon, or its label where it has none."""
    look, x, y = pen.look, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    run = -1
    if item.kind == "action" and not item.icon:
        inner = (box[0], round(y - look.u(16)), box[2], round(y + look.u(16)))
        pen.canvas.plate(inner, look.u(16), look.accent)
        run = pen.write(x, y, item.label, look.text(13.5, True), look.on_accent, align="center")
        pen.mark("button", item, inner, run)
        return
    if item.press[:1] == ("send",):
        pen.canvas.plate(box, (box[3] - box[1]) // 2, look.accent)
        pen.icon(item.icon, x + look.u(1), y, 22, look.on_accent)
    else:
        pen.icon(item.icon, x, y, 20, look.ink)
    if item.note:
        r = look.u(8)
        spot = (box[2] - 2 * r - look.u(2), box[1] + look.u(2), box[2] - look.u(2), box[1] + look.u(2) + 2 * r)
        pen.canvas.plate(spot, r, (206, 48, 56))
        pen.write(
            (spot[0] + spot[2]) / 2,
            (spot[1] + spot[3]) / 2,
            item.note,
            look.text(10, True),
            ink_on((206, 48, 56)),
            align="center",
        )
    pen.mark("button", item, box, run, shape=item.icon)


DRAW: dict[str, Callable[[Pen, Item, IntBox], None]] = {
    "switch": _switch,
    "row": _row,
    "person": _person,
    "face": _face,
    "trio": _trio,
    "heading": _heading,
    "text": _text,
    "alarm": _alarm,
    "slider": _slider,
    "field": _field,
    "button": _button,
    "card": _card,
    "goods": _goods,
    "picture": _image,
    "hero": _hero,
    "bubble": _bubble,
    "chips": _chips,
    "action": action,
}
"""The function that draws an item, by kind."""
