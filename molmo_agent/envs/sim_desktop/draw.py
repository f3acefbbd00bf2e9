"""Draw a desktop: wallpaper, icons, windows from the bottom up, the task bar, an open menu."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from molmo_agent.envs.drawing import icons
from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.sim_desktop.draw_widgets import DRAW, Place, Target, desktop_icon, middle, surface
from molmo_agent.envs.sim_desktop.looks import Look, ink_on
from molmo_agent.envs.sim_desktop.state import Desktop, Menu, OpenMenu, Window

NUM_WALLPAPERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A drawing of a desktop, with the regions that react."""

    screen: Screen
    canvas: Canvas
    # The target of each element of the screen.
    owners: tuple[Target | None, ...]

    def hit(self, x: float, y: float) -> Target | None:
        """Return the target at a position in pixels: the last region drawn there that no later layer covers."""
        for spot in reversed(self.canvas.spots):
            left, top, right, bottom = spot.box
            if left <= x < right and top <= y < bottom and not self.canvas.is_covered(x, y, spot.layer):
                target: Target = spot.target
                return target
        return None


@lru_cache(maxsize=24)
def _wallpaper(number: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([7, number])
    base = rng.integers(20, 200, 3)
    if number % 4 == 0:  # soft colour fields
        cells = np.clip(base + rng.integers(-70, 70, (3, 4, 3)), 0, 255).astype(np.uint8)
        return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
    top, low = np.clip(base + 50, 0, 255), np.clip(base - 40, 0, 255)
    ramp = np.linspace(0, 1, 64)[:, None, None]
    sky = np.repeat((top + (low - top) * ramp).astype(np.uint8), 2, axis=1)
    image = Image.fromarray(np.ascontiguousarray(sky)).resize((width, height), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    if number % 4 in (1, 2):  # hills or waves, one behind the other
        for layer in range(5):
            share = layer / 5
            color = tuple(int(v) for v in np.clip(low * (0.95 - 0.15 * layer) + rng.integers(-8, 18, 3), 0, 255))
            phase, pace = rng.uniform(0, 6, 3), rng.uniform(1.5, 5, 3)
            line = []
            for x in range(0, width + 9, 8):
                t = x / width
                swing: float = sum(
                    math.sin(t * k * math.pi + p) / (i + 1) for i, (k, p) in enumerate(zip(pace, phase, strict=True))
                )
                line.append((x, height * (0.45 + 0.13 * layer + 0.06 * swing * (1 - share / 2))))
            pen.polygon([*line, (width, height), (0, height)], fill=color)
        return image.filter(ImageFilter.GaussianBlur(0.7))
    for _ in range(26):  # discs of light
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), max(rng.uniform(0.02, 0.14) * width, 2)
        disc = Image.new("L", (int(2 * r), int(2 * r)))
        ImageDraw.Draw(disc).ellipse((1, 1, 2 * r - 2, 2 * r - 2), fill=int(rng.integers(14, 50)))
        image.paste((255, 255, 255), (int(cx - r), int(cy - r)), disc)
    return image.filter(ImageFilter.GaussianBlur(1.2))


def draw(desktop: Desktop) -> Drawing:
    """Draw a desktop and record its elements and texts."""
    if desktop.wallpaper is None:
        image = Image.new("RGB", (desktop.width, desktop.height), desktop.plain)
    else:
        image = _wallpaper(desktop.wallpaper, desktop.width, desktop.height).copy()
    canvas = Canvas(desktop.width, desktop.height, image, aliased=desktop.look.aliased)
    place = Place(canvas, desktop.look, None, 0, 0, desktop.plain)
    for widget in desktop.icons:
        desktop_icon(place, widget)
    front = desktop.front()
    for window in desktop.windows:
        if not window.minimized:
            _window(desktop, canvas, window, window is front)
    if desktop.taskbar:
        _taskbar(desktop, canvas)
    if desktop.menu:
        _open_menu(desktop, canvas, desktop.menu)
    return Drawing(canvas.finish(), canvas, tuple(canvas.owners))


def content_origin(window: Window, look: Look) -> tuple[int, int]:
    """Return (x, y) of a window's content, pixels of the desktop."""
    left, top = window.box[:2]
    if not window.has_frame:
        return left, top
    return left + 1, top + 1 + look.bar_height + (look.menu_height if window.menus else 0)


def _window(desktop: Desktop, canvas: Canvas, window: Window, front: bool) -> None:
    look, box = desktop.look, window.box
    ground = window.fill or look.ground
    maximized = window.restore_box is not None
    if look.shadow and not maximized and (window.has_frame or window.modal):
        canvas.shadow(box, look.shadow + (look.u(3) if front else 0), 120 if front else 70)
    canvas.cover(box)
    canvas.react(box, Target("window", window))
    if window.has_frame:
        radius = 0 if maximized else look.window_radius
        if look.bevel:
            canvas.bevel(box, ground, mix(ground, (255, 255, 255), 0.8), mix(ground, (0, 0, 0), 0.6))
        else:
            canvas.plate(box, radius, ground, mix(look.edge, (0, 0, 0), 0.25 if not look.dark else 0.0))
        _title_bar(desktop, canvas, window, front, radius)
    elif box == (desktop.main or (0, 0, desktop.width, desktop.height)):
        canvas.rect(box, ground)
    else:
        canvas.plate(box, look.window_radius, ground, look.edge)
    x, y = content_origin(window, look)
    if window.menus:
        _menu_bar(desktop, canvas, window, ground)
    plain = Place(canvas, look, window, x, y, ground)
    focused = Place(canvas, look, window, x, y, ground, focused=True)
    for widget in window.visible_widgets():
        DRAW[widget.kind](focused if widget is desktop.focus else plain, widget)
        if widget is desktop.focus and widget.kind != "field":
            left, top, right, bottom = plain.box(widget)
            canvas.rect((left - 2, top - 2, right + 2, bottom + 2), None, look.accent)


def _title_bar(desktop: Desktop, canvas: Canvas, window: Window, front: bool, radius: int) -> None:
    look = desktop.look
    left, top, right, _ = window.box
    fill, ink = (look.bar, look.bar_ink) if front else (look.bar_idle, look.bar_idle_ink)
    bar = (left + 1, top + 1, right - 1, top + 1 + look.bar_height)
    if radius > 1:
        canvas.plate((bar[0], bar[1], bar[2], bar[3] + radius), radius - 1, fill)
        ground = window.fill or look.ground
        canvas.rect((bar[0], bar[3], bar[2], bar[3] + radius), ground)
    else:
        canvas.rect(bar, fill)
    if fill != look.ground and not look.bevel:
        canvas.rect((bar[0], bar[3] - 1, bar[2], bar[3]), mix(fill, (0, 0, 0), 0.15))
    start, end = _title_buttons(desktop, canvas, window, bar, fill, ink)
    area = (start, bar[1], end, bar[3])
    canvas.react(bar_without(bar, start, end), Target("title", window, label=window.title))
    letters = look.bold
    text_left = start + look.u(7)
    if window.icon and not look.title_centered:
        side = letters.size
        canvas.tint(icons.icon(window.icon, side), text_left, (bar[1] + bar[3] - side) // 2, mix(ink, look.accent, 0.2))
        text_left += side + look.u(5)
    y = middle(bar, letters)
    room = end - text_left - look.u(4)
    if look.title_centered and letters.width(window.title) < room:
        run = canvas.text((left + right) / 2, y, window.title, letters, ink, align="center")
        if (left + right + letters.width(window.title)) / 2 > end:
            run = -1
    else:
        run = canvas.text(text_left, y, window.title, letters, ink, room)
    canvas.mark("window_title", window.title, area, run, Target("title", window, label=window.title))


def bar_without(bar: IntBox, start: int, end: int) -> IntBox:
    """Return the part of a title bar between the positions where its buttons end and begin."""
    return start, bar[1], end, bar[3]


def _title_buttons(
    desktop: Desktop, canvas: Canvas, window: Window, bar: IntBox, fill: Color, ink: Color
) -> tuple[int, int]:
    """Draw the buttons and return where the free part of the title bar starts and ends."""
    look = desktop.look
    height = bar[3] - bar[1]
    names = [name for name in ("minimize", "maximize", "close") if name in window.buttons]
    if look.buttons_left:
        names = names[::-1]
    side = round(height * 0.62) if look.buttons != "flat" else height
    gap = look.u(4) if look.buttons == "dots" else look.u(2) if look.buttons == "classic" else 0
    margin = 0 if look.buttons == "flat" else look.u(5)
    if look.buttons == "dots":
        side = max(round(height * 0.5), 8)
    total = len(names) * side + max(len(names) - 1, 0) * gap
    x = bar[0] + margin if look.buttons_left else bar[2] - margin - total
    free = (x + total + margin, bar[2]) if look.buttons_left else (bar[0], x - margin)
    top = bar[1] + (height - side) // 2
    for name in names:
        box = (x, top, x + side, top + side)
        small = max(round(side * (0.55 if look.buttons == "classic" else 0.36)), 6)
        tone = ink
        if look.buttons == "dots":
            dots = {"close": (237, 106, 94), "minimize": (245, 191, 79), "maximize": (98, 197, 84)}
            canvas.tint(icons.shape("circle", side), x, top, dots[name])
            small, tone = max(round(side * 0.55), 5), mix(dots[name], (0, 0, 0), 0.6)
        elif look.buttons == "classic":
            surface(Place(canvas, look, window, 0, 0, fill), box, fill=look.button)
            tone = ink_on(look.button)
        elif name == "close" and look.name == "flat" and not look.dark:
            canvas.plate(box, 0, mix(fill, (220, 50, 40), 0.85))
            tone = (255, 255, 255)
        glyph = {"minimize": "minus", "maximize": "maximize", "close": "close"}[name]
        canvas.tint(icons.icon(glyph, small), x + (side - small) // 2, top + (side - small) // 2, tone)
        canvas.mark(f"window_{name}", window.title, box, -1, Target(name, window, label=window.title))
        x += side + gap
    return free


def _menu_bar(desktop: Desktop, canvas: Canvas, window: Window, ground: Color) -> None:
    look = desktop.look
    letters = look.text
    x, y = window.box[0] + 1 + look.u(3), window.box[1] + 1 + look.bar_height
    for menu in window.menus:
        width = letters.width(menu.label) + 2 * look.u(6)
        box = (x, y, x + width, y + look.menu_height)
        if box[2] > window.box[2] - 2:
            break
        is_open = desktop.menu is not None and desktop.menu.owner is menu
        if is_open:
            canvas.rect(box, look.accent)
        ink = look.on_accent if is_open else look.ink if ground == look.ground else ink_on(ground)
        run = canvas.text(x + look.u(6), middle(box, letters), menu.label, letters, ink)
        canvas.mark("menu", menu.label, box, run, Target("menu", window, label=menu.label))
        x += width


def menu_box(menu: OpenMenu, desktop: Desktop) -> IntBox:
    """Return the rectangle of an open menu, pushed inside the desktop."""
    look = desktop.look
    height = sum(_item_height(item, look) for item in menu.items) + 2 * look.u(3)
    widest = max(look.text.width(item) for item in menu.items)
    width = max(widest + 2 * look.u(14), menu.width)
    left = max(min(menu.at[0], desktop.width - width), 0)
    top = max(min(menu.at[1], desktop.height - height), 0)
    return left, top, left + width, top + height


def _item_height(item: str, look: Look) -> int:
    return look.u(7) if item == "-" else look.text.height + 2 * look.u(3)


def _open_menu(desktop: Desktop, canvas: Canvas, menu: OpenMenu) -> None:
    look, letters = desktop.look, desktop.look.text
    box = menu_box(menu, desktop)
    if look.shadow:
        canvas.shadow(box, look.shadow, 90)
    canvas.cover(box)
    canvas.react(box, Target("open_menu"))
    if look.bevel:
        canvas.bevel(box, look.ground, mix(look.ground, (255, 255, 255), 0.8), mix(look.ground, (0, 0, 0), 0.6))
    else:
        canvas.plate(box, min(look.radius, look.u(5)), look.ground, look.edge)
    y = box[1] + look.u(3)
    current = menu.owner.value if not isinstance(menu.owner, Menu) else None
    for item in menu.items:
        height = _item_height(item, look)
        row = (box[0] + 1, y, box[2] - 1, y + height)
        if item == "-":
            canvas.rect((row[0] + 3, y + height // 2, row[2] - 3, y + height // 2 + 1), look.edge)
        else:
            if item == current:
                canvas.rect(row, mix(look.ground, look.accent, 0.3))
            run = canvas.text(row[0] + look.u(13), middle(row, letters), item, letters, look.ink)
            canvas.mark("menu_item", item, row, run, Target("menu_item", menu.window, label=item))
        y += height


def _taskbar(desktop: Desktop, canvas: Canvas) -> None:
    look, letters = desktop.look, desktop.look.text
    left, top, right, bottom = desktop.main or (0, 0, desktop.width, desktop.height)
    height = look.taskbar_height
    bar = (left, top, right, top + height) if look.taskbar_on_top else (left, bottom - height, right, bottom)
    canvas.cover(bar)
    canvas.react(bar, Target("taskbar"))
    if look.bevel:
        fill = look.ground
        canvas.bevel(bar, fill, mix(fill, (255, 255, 255), 0.8), mix(fill, (0, 0, 0), 0.5))
    else:
        fill = look.taskbar
        canvas.rect(bar, fill)
    ink = ink_on(fill)
    side = round(height * 0.55)
    y = bar[1] + (height - side) // 2
    x = bar[0] + look.u(8)
    canvas.tint(icons.icon("menu", side), x, y, ink)
    start = (bar[0], bar[1], x + side + look.u(6), bar[3])
    canvas.mark("icon", "menu", start, -1, Target("start", label="menu"), shape="menu")
    x = start[2] + look.u(4)
    end = bar[2] - look.u(8)
    clock_width = letters.width(desktop.clock)
    if end - clock_width > x:
        run = canvas.text(end - clock_width, middle(bar, letters), desktop.clock, letters, ink)
        canvas.mark("text", desktop.clock, (end - clock_width, bar[1] + 1, end, bar[3] - 1), run)
        end -= clock_width + look.u(8)
    for name in desktop.tray:
        small = round(height * 0.45)
        if end - small < x + look.u(60):
            break
        canvas.tint(icons.icon(name, small), end - small, bar[1] + (height - small) // 2, ink)
        box = (end - small - look.u(2), bar[1] + 2, end + look.u(2), bar[3] - 2)
        canvas.mark("icon", name, box, -1, Target("tray", label=name), shape=name)
        end -= small + look.u(7)
    task_windows = [w for w in desktop.windows if w.in_taskbar and w.has_frame]
    task_windows.sort(key=lambda w: w.title)  # an order that does not change when windows come forward
    if not task_windows:
        return
    width = min(look.u(120), (end - look.u(6) - x) // len(task_windows) - look.u(3))
    if width < look.u(24):
        return
    front = desktop.front()
    for window in task_windows:
        box = (x, bar[1] + look.u(2), x + width, bar[3] - look.u(2))
        current = window is front
        if look.bevel:
            surface(
                Place(canvas, look, None, 0, 0, fill),
                box,
                fill=mix(fill, (255, 255, 255), 0.3 * current),
                is_down=current,
            )
        else:
            canvas.plate(box, look.radius, mix(fill, ink, 0.22 if current else 0.08))
        run = canvas.text(x + look.u(6), middle(box, letters), window.title, letters, ink, width - look.u(10))
        state = "selected" if current else "minimized" if window.minimized else None
        canvas.mark("taskbar_item", window.title, box, run, Target("task", window, label=window.title), state=state)
        x += width + look.u(3)
