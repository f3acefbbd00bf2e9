"""Draw each kind of widget and record it as an element."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from molmo_agent.envs.drawing import icons
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.drawing.fonts import Face, face
from molmo_agent.envs.sim_desktop.looks import Look, ink_on
from molmo_agent.envs.sim_desktop.state import Widget, Window


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The part of the desktop that a region of the screen belongs to."""

    # "widget", "item", "title", "close", "minimize", "maximize", "menu", "menu_item", "task", "desktop" ...
    part: str
    window: Window | None = None
    widget: Widget | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The position and the surroundings of a widget while it is drawn."""

    canvas: Canvas
    look: Look
    window: Window | None
    # Pixels of the canvas that the widget's coordinates count from.
    x: int
    y: int
    # The window's ground colour.
    ground: Color
    focused: bool = False

    def box(self, widget: Widget) -> IntBox:
        """Return the widget's box on the canvas."""
        left, top, right, bottom = widget.box
        return left + self.x, top + self.y, right + self.x, bottom + self.y

    def face(self, widget: Widget) -> Face:
        """Return the face a widget's text is set in."""
        if widget.family or widget.font_size:
            return face(widget.family or self.look.family, widget.font_size or self.look.font_size, widget.bold)
        return self.look.bold if widget.bold else self.look.text

    def ink(self, widget: Widget) -> Color:
        """Return the colour of a widget's text on the window's ground."""
        if widget.ink:
            return widget.ink
        ink = self.look.ink if self.ground == self.look.ground else ink_on(self.ground)
        return ink if widget.enabled else mix(ink, self.ground, 0.55)

    def label(self, widget: Widget) -> int:
        """Draw the label that stands beside a widget and return its run, -1 if there is none."""
        if widget.label_at is None:
            return -1
        x, y = widget.label_at
        return self.canvas.text(self.x + x, self.y + y, widget.label, self.face(widget), self.ink(widget))

    def mark(self, widget: Widget, run: int, box: IntBox | None = None, **facts: str | None) -> None:
        """Record the widget as an element that reacts."""
        target = Target("widget", self.window, widget, widget.label)
        self.canvas.mark(widget.kind, widget.label, box or self.box(widget), run, target, **facts)


def middle(box: IntBox, face: Face) -> int:
    """Return the top of a line of text that is centred in a box's height."""
    return box[1] + (box[3] - box[1] - face.height) // 2


def surface(place: Place, box: IntBox, *, fill: Color, is_down: bool = False, lower: Color | None = None) -> None:
    """Draw the body of a button in the look's manner."""
    look = place.look
    if look.bevel:
        light, dark = mix(fill, (255, 255, 255), 0.8), mix(fill, (0, 0, 0), 0.5)
        place.canvas.bevel(box, fill, *((dark, light) if is_down else (light, dark)))
    else:
        place.canvas.plate(box, look.radius, fill, look.edge, lower)


def sunken(place: Place, box: IntBox, *, focused: bool = False, radius: int | None = None) -> None:
    """Draw the body of a field or list in the look's manner."""
    look = place.look
    if look.bevel:
        place.canvas.bevel(box, look.paper, mix(look.ground, (0, 0, 0), 0.5), mix(look.ground, (255, 255, 255), 0.8))
    else:
        edge = look.accent if focused else look.edge
        place.canvas.plate(box, look.radius if radius is None else radius, look.paper, edge)


def _button(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    fill = widget.fill or (look.accent if widget.primary else look.button)
    surface(place, box, fill=fill, lower=look.button_low if fill == look.button else None)
    ink = widget.ink or (look.ink if fill == look.button and look.name == "contrast" else ink_on(fill))
    if not widget.enabled:
        ink = mix(ink, fill, 0.6)
    x = (box[0] + box[2]) / 2
    if widget.icon:
        side = letters.size
        total = side + look.u(5) + letters.width(widget.label)
        left = int(x - total / 2)
        place.canvas.tint(icons.icon(widget.icon, side), left, (box[1] + box[3] - side) // 2, ink)
        run = place.canvas.text(left + side + look.u(5), middle(box, letters), widget.label, letters, ink)
    else:
        run = place.canvas.text(x, middle(box, letters), widget.label, letters, ink, widget.width - 4, "center")
    place.mark(widget, run, state=None if widget.enabled else "disabled")


def _checkbox(place: Place, widget: Widget) -> None:
    look, box = place.look, place.box(widget)
    round_one = widget.kind == "radio"
    side = box[2] - box[0]
    if look.bevel and not round_one:
        sunken(place, box)
        inner = look.ink
    else:
        filled = widget.checked and (not look.bevel or round_one)
        fill = look.accent if filled and not look.bevel else look.paper
        radius = side // 2 if round_one else min(look.radius, side // 4)
        place.canvas.plate(box, radius, fill, look.accent if filled else mix(look.edge, look.ink, 0.3))
        inner = look.on_accent if not look.bevel else look.ink
    if widget.checked:
        size = max(side // 2, 4) if round_one else max(round(side * 0.72), 6)
        mask = icons.shape("circle", size) if round_one else icons.icon("check", size)
        place.canvas.tint(mask, box[0] + (side - size) // 2, box[1] + (side - size + 1) // 2, inner)
    run = place.label(widget)
    place.mark(widget, run, state="checked" if widget.checked else "unchecked")
    if widget.label_at:
        letters, (x, y) = place.face(widget), widget.label_at
        right = place.x + x + letters.width(widget.label)
        spot = (box[2], place.y + y, right, place.y + y + letters.height)
        place.canvas.react(spot, Target("widget", place.window, widget, widget.label))


def _field(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    sunken(place, box, focused=place.focused)
    run = place.label(widget)
    left, y = box[0] + look.u(5), middle(box, letters)
    room = box[2] - box[0] - look.u(10)
    visible = "•" * len(widget.value) if widget.secret else widget.value
    ink = ink_on(look.paper) if look.name != "contrast" else look.ink
    if visible:
        caret = widget.caret if place.focused else 0
        # A long text scrolls so that the caret is visible.
        start = caret - letters.count_fitting(reversed(visible[:caret]), room - 2)
        part = visible[start : start + letters.count_fitting(visible[start:], room)]
        if place.focused and widget.all_selected:
            place.canvas.rect((left, y, left + letters.width(part), y + letters.height), look.accent)
            ink = look.on_accent
        place.canvas.text(left, y, part, letters, ink)
        pen = left + letters.width(visible[start:caret])
    else:
        pen = left
        if widget.label and widget.label_at is None:
            run = place.canvas.text(left, y, widget.label, letters, mix(ink, look.paper, 0.45), room)
    if place.focused and not widget.all_selected:
        place.canvas.rect((pen, y + 1, pen + max(look.u(1), 1), y + letters.height - 1), ink)
    state = None if not widget.enabled else widget.value if not widget.secret else ""
    place.mark(widget, run, state="focused" if place.focused else state or None)


def _dropdown(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    surface(place, box, fill=look.button, lower=look.button_low)
    run = place.label(widget)
    side = max(round(letters.size * 0.7), 6)
    ink = look.ink if look.name == "contrast" else ink_on(look.button)
    place.canvas.tint(icons.icon("chevron", side), box[2] - side - look.u(6), (box[1] + box[3] - side) // 2, ink)
    room = box[2] - box[0] - side - look.u(16)
    place.canvas.text(box[0] + look.u(6), middle(box, letters), widget.value, letters, ink, room)
    place.mark(widget, run, state=widget.value)


def _link(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    ink = widget.ink or mix(look.accent, ink_on(place.ground), 0.25)
    run = place.canvas.text(box[0], box[1], widget.label, letters, ink)
    if not widget.bold:
        y = box[1] + letters.ascent + 1
        place.canvas.rect((box[0], y, box[2], y + 1), mix(ink, place.ground, 0.3))
    place.mark(widget, run)


def _tab(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    canvas = place.canvas
    if look.bevel or look.name in ("plain", "glossy", "paper", "dots"):
        fill = look.ground if widget.checked else mix(look.ground, look.ink, 0.12)
        top = box[1] if widget.checked else box[1] + look.u(2)
        canvas.rect((box[0], top, box[2], box[3]), fill, look.edge)
        if widget.checked:
            canvas.rect((box[0] + 1, box[3] - 1, box[2] - 1, box[3]), fill)
        ink = look.ink if look.name == "contrast" else ink_on(fill)
    else:
        ink = place.ink(widget) if widget.checked else mix(place.ink(widget), place.ground, 0.35)
        line = look.u(2) if widget.checked else 1
        canvas.rect((box[0], box[3] - line, box[2], box[3]), look.accent if widget.checked else look.edge)
    run = canvas.text(
        (box[0] + box[2]) / 2, middle(box, letters), widget.label, letters, ink, widget.width - 4, "center"
    )
    place.mark(widget, run, state="selected" if widget.checked else None)


def _slider(place: Place, widget: Widget) -> None:
    look, box = place.look, place.box(widget)
    run = place.label(widget)
    knob = box[3] - box[1]
    y, thick = (box[1] + box[3]) // 2, max(look.u(4), 3)
    x = box[0] + round((box[2] - box[0] - knob) * widget.level)
    groove = (box[0], y - thick // 2, box[2], y + thick - thick // 2)
    if look.bevel:
        place.canvas.bevel(groove, look.paper, mix(look.ground, (0, 0, 0), 0.5), mix(look.ground, (255, 255, 255), 0.8))
        surface(place, (x + knob // 4, box[1], x + knob - knob // 4, box[3]), fill=look.button)
    else:
        place.canvas.plate(groove, thick // 2, mix(look.edge, look.ground, 0.2))
        place.canvas.plate((box[0], groove[1], x + knob // 2, groove[3]), thick // 2, look.accent)
        knob_fill = look.accent if look.name in ("material", "flat") else look.button
        place.canvas.plate((x, box[1], x + knob, box[3]), knob // 2, knob_fill, look.edge)
    place.mark(widget, run, state=f"{round(100 * widget.level)}%")


def _progress(place: Place, widget: Widget) -> None:
    look, box = place.look, place.box(widget)
    place.label(widget)
    place.canvas.plate(box, min(look.radius, 4), look.paper, look.edge)
    right = box[0] + round((box[2] - box[0]) * widget.level)
    place.canvas.plate(
        (box[0] + 1, box[1] + 1, max(right - 1, box[0] + 2), box[3] - 1), min(look.radius, 4), look.accent
    )


def _list(place: Place, widget: Widget) -> None:
    look, box, letters = place.look, place.box(widget), place.face(widget)
    canvas = place.canvas
    sunken(place, box, radius=min(look.radius, 3))
    canvas.react(box, Target("widget", place.window, widget, widget.label))
    rows, total = widget.rows, len(widget.items)
    bar = look.u(10) if total > rows else 0
    ink = look.ink if look.name == "contrast" else ink_on(look.paper)
    pad = look.u(5)
    side = letters.size if widget.icon else 0
    inner_right = box[2] - 1 - bar
    columns = 1 + len(widget.columns)
    share = (inner_right - box[0]) / (columns + 0.6 if columns > 1 else 1)
    first = share * 1.6 if columns > 1 else share
    for i in range(widget.offset, min(widget.offset + rows, total)):
        label = widget.items[i]
        top = box[1] + 1 + (i - widget.offset) * widget.row_height
        row = (box[0] + 1, top, inner_right, top + widget.row_height)
        is_selected = label == widget.selected
        if is_selected:
            canvas.rect(row, look.accent)
        elif i % 2 and columns > 1:
            canvas.rect(row, mix(look.paper, look.ground, 0.6))
        color = look.on_accent if is_selected else ink
        x, y = row[0] + pad, middle(row, letters)
        if widget.icon:
            tone = color if is_selected else mix(look.accent, ink, 0.2)
            canvas.tint(icons.icon(widget.icon, side), x, top + (widget.row_height - side) // 2, tone)
            x += side + pad
        run = canvas.text(x, y, label, letters, color, box[0] + first - x - 2 if columns > 1 else inner_right - x - 2)
        for c, cells in enumerate(widget.columns):
            left = box[0] + first + c * share
            canvas.text(left, y, cells[i], letters, mix(color, look.paper, 0.0 if is_selected else 0.3), share - pad)
        target = Target("item", place.window, widget, label)
        canvas.mark("list_item", label, row, run, target, state="selected" if is_selected else None)
    if bar:
        track = (box[2] - 1 - bar, box[1] + 1, box[2] - 1, box[3] - 1)
        canvas.rect(track, mix(look.paper, look.ground, 0.7))
        length = track[3] - track[1]
        top = track[1] + round(length * widget.offset / total)
        thumb = (track[0] + 1, top, track[2] - 1, min(top + max(round(length * rows / total), look.u(8)), track[3]))
        surface(place, thumb, fill=look.button if look.bevel else mix(look.edge, look.ink, 0.15))
        canvas.react(track, Target("scrollbar", place.window, widget, widget.label))


def _icon(place: Place, widget: Widget) -> None:
    look, box = place.look, place.box(widget)
    canvas = place.canvas
    if widget.fill:
        canvas.plate(box, look.radius, widget.fill)
    elif widget.checked:
        canvas.plate(box, look.radius, mix(place.ground, look.accent, 0.3))
    elif widget.primary:  # with the frame of a button
        surface(place, box, fill=look.button, lower=look.button_low)
    side = widget.font_size or round(min(widget.width, widget.height) * 0.64)
    ink = widget.ink or (ink_on(widget.fill) if widget.fill else place.ink(widget))
    left, top = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    assert widget.icon is not None
    canvas.tint(icons.icon(widget.icon, side), left, top, ink)
    run = -1
    if widget.label_at:
        x, y = widget.label_at
        tone = look.ink if place.ground == look.ground else ink_on(place.ground)
        run = canvas.text(place.x + x, place.y + y, widget.label, look.small, tone, align=widget.align)
    place.mark(widget, run, shape=widget.icon, color=widget.color)


def desktop_icon(place: Place, widget: Widget) -> None:
    """Draw an icon of the desktop: an image with its name below, readable on any wallpaper."""
    look, box = place.look, place.box(widget)
    canvas = place.canvas
    letters = look.small
    room = widget.width + 2 * look.u(14)
    text = letters.fit(widget.label, room)
    x, y = (box[0] + box[2]) / 2, box[3] + look.u(3)
    half = letters.width(text) / 2
    plate = (int(x - half) - look.u(3), y - 1, int(x + half) + look.u(3), y + letters.height + 1)
    if widget.checked:
        canvas.plate(plate, look.u(2), look.accent)
    else:
        canvas.text(x + 1, y + 1, text, letters, mix(place.ground, (0, 0, 0), 0.75), align="center", recorded=False)
    assert widget.icon is not None
    assert widget.ink is not None
    mask = icons.icon(widget.icon, widget.width)
    canvas.tint(mask, box[0] + 1, box[1] + 2, mix(widget.ink, (0, 0, 0), 0.7))
    canvas.tint(mask, box[0], box[1], widget.ink)
    run = canvas.text(x, y, text, letters, (255, 255, 255), align="center")
    run = run if text == widget.label else -1
    target = Target("desktop", None, widget, widget.label)
    canvas.mark("icon", widget.label, box, run, target, shape=widget.icon, state="selected" if widget.checked else None)
    canvas.react(plate, target)


def _shape(place: Place, widget: Widget) -> None:
    box = place.box(widget)
    assert widget.shape is not None
    assert widget.color is not None
    fill = widget.fill or icons.COLORS[widget.color]
    place.canvas.tint(icons.shape(widget.shape, widget.width), box[0], box[1], fill)
    place.mark(widget, -1, color=widget.color, shape=widget.shape, size=widget.size)


def _text(place: Place, widget: Widget) -> None:
    box, letters = place.box(widget), place.face(widget)
    x = {"left": box[0], "center": (box[0] + box[2]) / 2, "right": box[2]}[widget.align]
    run = place.canvas.text(x, box[1], widget.label, letters, place.ink(widget), widget.width + 1, widget.align)
    if run >= 0:
        place.canvas.mark("text", widget.label, box, run)


@lru_cache(maxsize=24)
def _photo(number: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(40, 235, (3, 4, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _image(place: Place, widget: Widget) -> None:
    box = place.box(widget)
    number = int(widget.value or 0)
    base = _photo(number % 12, 160, 160)
    place.canvas.stamp(base.resize((widget.width, widget.height), Image.Resampling.NEAREST), box[0], box[1])
    side = min(widget.width, widget.height) // 3
    if widget.icon and side >= 8:
        mask = icons.icon(widget.icon, side)
        place.canvas.tint(mask, (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2, (255, 255, 255))


def _panel(place: Place, widget: Widget) -> None:
    box = place.box(widget)
    if widget.primary:  # a group box with its title on the frame
        place.canvas.plate(box, place.look.radius, place.ground, place.look.edge)
        letters = place.look.small
        x, y = box[0] + place.look.u(8), box[1] - letters.height // 2
        place.canvas.rect((x - 2, box[1], x + letters.width(widget.label) + 2, box[1] + 1), place.ground)
        run = place.canvas.text(x, y, widget.label, letters, place.ink(widget))
        place.canvas.mark("text", widget.label, (x, y, x + letters.width(widget.label), y + letters.height), run)
    elif widget.shape == "sunken":
        sunken(place, box, radius=min(place.look.radius, 3))
    else:
        place.canvas.plate(box, place.look.radius if widget.checked else 0, widget.fill or place.look.paper, widget.ink)


def _rule(place: Place, widget: Widget) -> None:
    place.canvas.rect(place.box(widget), widget.fill or mix(place.look.edge, place.ground, 0.4))


DRAW: dict[str, Callable[[Place, Widget], None]] = {
    "button": _button,
    "checkbox": _checkbox,
    "radio": _checkbox,
    "field": _field,
    "dropdown": _dropdown,
    "link": _link,
    "tab": _tab,
    "slider": _slider,
    "progress": _progress,
    "list": _list,
    "icon": _icon,
    "shape": _shape,
    "text": _text,
    "picture": _image,
    "panel": _panel,
    "rule": _rule,
}
