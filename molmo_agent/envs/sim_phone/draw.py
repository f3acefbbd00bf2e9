"""Draw a phone: the page in front or the home screen, the bars, the keyboard, menus and dialogs."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.sim_phone.draw_items import DRAW, Pen, Touch, action
from molmo_agent.envs.sim_phone.keyboard import draw_keyboard
from molmo_agent.envs.sim_phone.layout import Layout, lay_out
from molmo_agent.envs.sim_phone.other_words import OtherCanvas, OtherWords
from molmo_agent.envs.sim_phone.pages import Item
from molmo_agent.envs.sim_phone.state import DOCK_SIZE, App, Overlay, Phone

_WHITE: Color = (255, 255, 255)
_BLACK: Color = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A drawing of a phone, with the regions that react to touches."""

    screen: Screen
    canvas: Canvas
    layout: Layout | None

    def hit(self, x: float, y: float) -> Any:
        """Return the target at a position in pixels: a Touch, a ("key", name), or () for nothing."""
        for spot in reversed(self.canvas.spots):
            left, top, right, bottom = spot.box
            if left <= x < right and top <= y < bottom and not self.canvas.is_covered(x, y, spot.layer):
                return spot.target
        return ()


@lru_cache(maxsize=16)
def _wallpaper(width: int, height: int, colors: tuple[Color, Color, Color, Color]) -> Image.Image:
    """Return a gradient with two soft lights."""
    sky, ground, first, second = (np.asarray(color, np.float32) for color in colors)
    x, y = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 48))
    image = sky + (ground - sky) * (0.35 * x + 0.65 * y)[..., None]
    for color, cx, cy, reach in ((first, 0.15, 0.75, 0.35), (second, 0.9, 0.2, 0.3)):
        light = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach * reach))[..., None] * 0.55
        image = image + (color - image) * light
    small = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def draw(phone: Phone, words: OtherWords | None = None) -> Drawing:
    """Draw a phone and record its elements and texts; ``words`` replaces its texts."""
    look, (width, height) = phone.look, phone.size
    if phone.asleep:
        canvas = Canvas(width, height, Image.new("RGB", (width, height)))
        return Drawing(canvas.finish(), canvas, None)
    if phone.top is None or phone.locked:
        ground = _wallpaper(width, height, look.wallpaper).copy()
    else:
        ground = Image.new("RGB", (width, height), look.ground)
    canvas = Canvas(width, height, ground) if words is None else OtherCanvas(width, height, ground, words=words)
    pen = Pen(phone, canvas)
    layout = None
    if phone.locked:
        _lock_screen(pen)
    elif phone.top is None:
        _home_screen(pen)
    else:
        layout = lay_out(phone)
        assert layout is not None
        _page(pen, layout)
    over_wallpaper = phone.top is None or phone.locked
    _status_bar(pen, _WHITE if over_wallpaper else look.ink)
    if phone.focus is not None and not phone.locked:
        draw_keyboard(phone, canvas)
    if phone.overlay is not None and not phone.locked:
        _overlay(pen, phone.overlay)
    if not phone.locked:
        _navigation(pen, _WHITE if over_wallpaper and phone.overlay is None else look.ink)
    return Drawing(canvas.finish(), canvas, layout)


def _status_bar(pen: Pen, ink: Color) -> None:
    look, (width, _), middle = pen.look, pen.phone.size, pen.look.status_height / 2
    pen.write(look.u(16), middle, pen.phone.clock, look.text(12.5, True), ink)
    x = width - look.u(16)
    charge = f"{pen.phone.charge}%"
    pen.write(x, middle, charge, look.text(11), ink, align="right")
    x -= look.text(11).width(charge) + look.u(9)
    names = ["battery", "signal", "wifi"] if not pen.phone.switches["Airplane mode"] else ["battery", "plane"]
    for name in names:
        if name != "wifi" or pen.phone.switches["Wi-Fi"]:
            pen.icon(name, x, middle, 13, ink)
            x -= look.u(17)


def _page(pen: Pen, layout: Layout) -> None:
    look, canvas, (width, _) = pen.look, pen.canvas, pen.phone.size
    page, view = layout.page, layout.view
    for item, box in layout.items:
        if box[3] > view[1] and box[1] < view[3]:
            DRAW[item.kind](pen, item, box)
    bar = (0, 0, width, view[1])
    canvas.cover(bar)
    canvas.rect(bar, look.ground)
    canvas.react(bar, ())
    screenful = pen.phone.top
    if screenful is not None and screenful.offset > 0:
        canvas.rect((0, view[1] - 1, width, view[1]), look.edge)
    middle, side = look.status_height + look.bar_height // 2, look.u(40)
    left = look.u(18)
    if len(pen.phone.stack) > 1:
        box = (look.u(6), middle - side // 2, look.u(6) + side, middle + side // 2)
        pen.icon("back", (box[0] + box[2]) / 2, middle, 20, look.ink)
        pen.mark("button", Item(kind="action", label="Navigate up", press=("back",)), box, shape="back")
        left = box[2] + look.u(6)
    right = width - look.u(10)
    for item in page.actions:
        wide = look.text(13.5, True).width(item.label) + look.u(28) if not item.icon else side
        action(pen, item, (right - wide, middle - side // 2, right, middle + side // 2))
        right -= wide + look.u(4)
    if page.title:
        run = pen.write(left, middle, page.title, look.text(20, True), look.ink, right - left)
        canvas.mark("title", page.title, (left, middle - side // 2, right, middle + side // 2), run)
    if page.floating is not None:
        _floating(pen, page.floating, view)
    if layout.footer:
        canvas.cover((0, view[3], width, pen.phone.size[1]))
        canvas.rect((0, view[3], width, pen.phone.size[1]), look.ground)
        for item, box in layout.footer:
            DRAW[item.kind](pen, item, box)
    elif pen.phone.focus is None:
        bottom = (0, pen.phone.size[1] - look.navigation_height, width, pen.phone.size[1])
        canvas.cover(bottom)
        canvas.rect(bottom, look.ground)


def _floating(pen: Pen, item: Item, view: IntBox) -> None:
    look, side = pen.look, pen.look.u(54)
    right, bottom = view[2] - look.u(16), view[3] - look.u(12)
    box = (right - side, bottom - side, right, bottom)
    pen.canvas.cover(box)
    _raise_surface(pen, box, look.u(17), look.accent, look.u(12))
    pen.icon(item.icon, right - side / 2, bottom - side / 2, 22, look.on_accent)
    pen.mark("button", item, box, shape=item.icon)


def _raise_surface(pen: Pen, box: IntBox, radius: int, fill: Color, reach: int) -> None:
    """Draw a rounded surface with a soft shadow around it."""
    # A shadow spares its box; the largest one that round corners cover is smaller by this.
    inset = round(radius * (1 - math.sqrt(0.5)))
    inner = (box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset)
    pen.canvas.shadow(inner, reach, 130)
    pen.canvas.plate(box, radius, fill)


def _home_screen(pen: Pen) -> None:
    phone, look, (width, height) = pen.phone, pen.look, pen.phone.size
    upright = height > width
    dock_height = look.u(84 if upright else 74)
    bottom = height - look.navigation_height - look.u(6)
    icon = look.u(54 if upright else 46)
    apps, dock = phone.apps[:-DOCK_SIZE], phone.apps[-DOCK_SIZE:]
    top = look.status_height
    if upright:
        top += look.u(18)
        pen.write(width / 2, top + look.u(26), phone.clock, look.text(46), _WHITE, align="center")
        pen.write(width / 2, top + look.u(62), phone.date, look.text(14), _WHITE, align="center")
        top += look.u(90)
    columns = 4 if upright else 7
    rows = -(-len(apps) // columns)
    room = bottom - dock_height - look.u(8) - top
    pitch = min(look.u(98), room // max(rows, 1))
    for number, app in enumerate(apps):
        x = round(width * (number % columns + 0.5) / columns + (0.5 - (number % columns + 0.5) / columns) * look.u(20))
        y = top + (number // columns) * pitch + icon // 2 + look.u(2)
        _app_icon(pen, app, x, y, min(icon, pitch - look.u(26)), has_label=True)
    shelf = (look.u(10), bottom - dock_height + look.u(8), width - look.u(10), bottom)
    veil = pen.canvas.image.crop(shelf)
    mask = Canvas(veil.width, veil.height, Image.new("RGB", veil.size))
    mask.plate((0, 0, veil.width, veil.height), look.u(26), _WHITE)
    shelf_image = Image.blend(veil, Image.new("RGB", veil.size, _WHITE), 0.22)
    pen.canvas.image.paste(shelf_image, shelf[:2], mask.image.convert("L"))
    for number, app in enumerate(dock):
        x = round(shelf[0] + (shelf[2] - shelf[0]) * (number + 0.5) / len(dock))
        _app_icon(pen, app, x, (shelf[1] + shelf[3]) // 2, icon, has_label=False)


def _app_icon(pen: Pen, app: App, x: int, y: int, side: int, *, has_label: bool) -> None:
    look, canvas = pen.look, pen.canvas
    box = (x - side // 2, y - side // 2, x - side // 2 + side, y - side // 2 + side)
    canvas.plate(box, round(side * look.icon_round), mix(app.color, _WHITE, 0.14), None, mix(app.color, _BLACK, 0.12))
    pen.icon(app.icon, x, y, side / look.scale * 0.54, _WHITE)
    run = -1
    if has_label:
        letters = look.text(11.5)
        canvas.text(x + 1, box[3] + look.u(5) + 1, app.label, letters, _BLACK, align="center", recorded=False)
        run = canvas.text(x, box[3] + look.u(5), app.label, letters, _WHITE, align="center")
    touch = Touch(("launch", app.label), ("menu", "app", app.label))
    canvas.mark("app", app.label, box, run, touch, shape=app.icon)
    canvas.react((box[0], box[1], box[2], box[3] + look.u(20 if has_label else 0)), touch)


def _lock_screen(pen: Pen) -> None:
    look, (width, height) = pen.look, pen.phone.size
    pen.icon("lock", width / 2, height * 0.16, 22, _WHITE)
    pen.write(width / 2, height * 0.32, pen.phone.clock, look.text(60), _WHITE, align="center")
    pen.write(width / 2, height * 0.32 + look.u(50), pen.phone.date, look.text(15), _WHITE, align="center")
    pen.write(width / 2, height * 0.9, "Swipe up to unlock", look.text(13), _WHITE, align="center")


def _navigation(pen: Pen, ink: Color) -> None:
    look, canvas, (width, height) = pen.look, pen.canvas, pen.phone.size
    middle = height - look.navigation_height // 2
    if not look.buttons:
        half, thick = look.u(56), max(look.u(2), 1)
        canvas.plate((width // 2 - half, middle - thick, width // 2 + half, middle + thick), thick, ink)
        return
    for share, name, command in ((0.22, "Back", ("back",)), (0.5, "Home", ("home",)), (0.78, "Recents", ())):
        x = round(width * share)
        if name == "Home":
            r = look.u(7)
            canvas.plate((x - r, middle - r, x + r, middle + r), r, ink)
        elif name == "Back":
            pen.icon("triangle", x, middle, 14, ink)
        else:
            pen.icon("maximize", x, middle, 14, ink)
        box = (x - look.u(32), height - look.navigation_height + 1, x + look.u(32), height)
        canvas.mark("navigation", name, box, -1, Touch(command))


def _overlay(pen: Pen, overlay: Overlay) -> None:
    look, canvas, (width, height) = pen.look, pen.canvas, pen.phone.size
    screen = (0, 0, width, height)
    canvas.cover(screen)
    canvas.react(screen, Touch(("dismiss",)))
    if overlay.at is None:
        canvas.image.paste(Image.blend(canvas.image, Image.new("RGB", canvas.image.size), 0.5))
        _question(pen, overlay)
        return
    letters, row = look.text(14), look.u(46)
    wide = max([letters.width(label) for label, _ in overlay.choices]) + look.u(64)
    tall = row * len(overlay.choices) + look.u(12)
    left = min(max(overlay.at[0] - wide // 2, look.u(8)), width - wide - look.u(8))
    top = min(max(overlay.at[1] + look.u(14), look.status_height), height - look.navigation_height - tall)
    box = (left, top, left + wide, top + tall)
    _raise_surface(pen, box, look.u(16), look.card, look.u(16))
    canvas.react(box, ())
    for number, (label, command) in enumerate(overlay.choices):
        spot = (left, top + look.u(6) + number * row, left + wide, top + look.u(6) + (number + 1) * row)
        run = pen.write(left + look.u(20), (spot[1] + spot[3]) / 2, label, letters, look.ink)
        pen.mark("menu_item", Item(kind="choice", label=label, press=command), spot, run)


def _question(pen: Pen, overlay: Overlay) -> None:
    look, canvas, (width, height) = pen.look, pen.canvas, pen.phone.size
    wide, tall = min(width - look.u(56), look.u(320)), look.u(150)
    left, top = (width - wide) // 2, (height - tall) // 2
    box = (left, top, left + wide, top + tall)
    canvas.plate(box, look.u(24), look.card)
    canvas.react(box, ())
    pen.write(left + look.u(22), top + look.u(36), overlay.title, look.text(18, True), look.ink, wide - look.u(44))
    pen.write(left + look.u(22), top + look.u(70), overlay.text, look.text(13.5), look.faint, wide - look.u(44))
    right = left + wide - look.u(12)
    for label, command in reversed(overlay.choices):
        letters = look.text(14, True)
        share = letters.width(label) + look.u(28)
        spot = (right - share, top + tall - look.u(52), right, top + tall - look.u(12))
        ink = mix(look.accent, look.ink, 0.2)
        run = pen.write((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2, label, letters, ink, align="center")
        pen.mark("button", Item(kind="choice", label=label, press=command), spot, run)
        right -= share + look.u(4)
