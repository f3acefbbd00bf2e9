"""An endless, seeded source of varied static screens with ground truth."""

import random
from dataclasses import dataclass
from typing import Literal

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.canvas import IntBox, mix
from molmo_agent.envs.drawing.fonts import FAMILIES, face
from molmo_agent.envs.sim_desktop.contents import TOOL_ICONS, Writer, shape_canvas, window_content
from molmo_agent.envs.sim_desktop.draw import NUM_WALLPAPERS, draw
from molmo_agent.envs.sim_desktop.layout import Flow
from molmo_agent.envs.sim_desktop.looks import HELD_OUT_LOOKS, LOOKS, Look, hue, ink_on, sample_look
from molmo_agent.envs.sim_desktop.state import Desktop, OpenMenu, Widget, Window
from molmo_agent.envs.sim_desktop.web_page import web_page
from molmo_agent.errors import UnknownNameError

Split = Literal["train", "held_out_fonts", "held_out_words", "held_out_looks"]
SPLITS: tuple[str, ...] = ("train", "held_out_fonts", "held_out_words", "held_out_looks")
STYLES: dict[str, float] = {"desktop": 4.0, "dialog": 1.5, "form": 1.0, "web": 1.5, "words": 1.2, "shapes": 0.8}
"""Styles of screens, with their weights when the seed decides."""


def sample_screen(
    seed: int,
    *,
    width: int = 640,
    height: int = 480,
    split: Split = "train",
    density: float | None = None,
    style: str | None = None,
) -> Screen:
    """Draw a random screen.

    Args:
        seed: the same seed draws the same screen, byte by byte.
        width: pixels, at least 64.
        height: pixels, at least 64.
        split: "train", or one with fonts, words or looks that training never shows.
        density: 0 (sparse) to 1 (crowded); None: by seed.
        style: one of STYLES; None: by seed.

    Raises:
        UnknownNameError: no such split or style.
        ValueError: the size is below 64 x 64 pixels.
    """
    spec = DesktopSpec(width=width, height=height, split=split, density=density, style=style)
    return draw(sample_desktop(seed, spec)).screen


@dataclass(frozen=True, slots=True, kw_only=True)
class DesktopSpec:
    """What a sampled desktop is like; the seed decides every field that is None.

    Raises:
        UnknownNameError: no such split, style or theme.
        ValueError: the size is below 64 x 64 pixels.
    """

    # Pixels.
    width: int
    height: int
    split: Split
    # 0 (sparse) to 1 (crowded).
    density: float | None = None
    # One of STYLES.
    style: str | None = None
    # A family of looks: one of LOOKS or HELD_OUT_LOOKS.
    theme: str | None = None
    # Pixels per unit of length.
    scale: float | None = None
    # A complete look; overrides theme and scale.
    look: Look | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UnknownNameError("split", self.split, SPLITS)
        if self.style is not None and self.style not in STYLES:
            raise UnknownNameError("style", self.style, STYLES)
        if self.theme is not None and self.theme not in (*LOOKS, *HELD_OUT_LOOKS):
            raise UnknownNameError("theme", self.theme, (*LOOKS, *HELD_OUT_LOOKS))
        if self.width < 64 or self.height < 64:
            raise ValueError(f"a screen is at least 64 x 64 pixels, got {self.width} x {self.height}")


def sample_desktop(seed: int, spec: DesktopSpec) -> Desktop:
    """Build the state that :func:`sample_screen` draws; the same seed and spec give the same desktop."""
    width, height, split = spec.width, spec.height, spec.split
    rng = random.Random(seed)
    style = spec.style if spec.style is not None else rng.choices(tuple(STYLES), tuple(STYLES.values()))[0]
    density = spec.density if spec.density is not None else rng.uniform(0.2, 0.9)
    word_split: words.WordSplit = "held_out" if split == "held_out_words" else "train"
    writer = Writer(rng, word_split)
    # Sampled in any case: the draws that follow must not depend on whether the spec fixes the look.
    sample = _look(rng, spec)
    look = spec.look or sample
    desktop = Desktop(width, height, look, plain=hue(rng, rng.uniform(0.1, 0.7), rng.uniform(0.25, 0.8)))
    if rng.random() < 0.6:
        desktop.wallpaper = rng.randrange(NUM_WALLPAPERS)
    desktop.taskbar = height >= look.u(200) and rng.random() < 0.75
    desktop.clock = _clock(rng, word_split)
    desktop.tray = rng.sample(("bell", "user", "lock", "mail", "music", "refresh"), rng.randint(0, 3))
    compose = {
        "desktop": _windows,
        "dialog": _dialog,
        "form": _full_form,
        "web": _browser,
        "words": _words,
        "shapes": _shapes,
    }[style]
    compose(desktop, writer, rng, density, split)
    return desktop


def families(split: Split) -> list[str]:
    """Return the names of the fonts that a split may show."""
    return [family.name for family in FAMILIES.values() if family.held_out == (split == "held_out_fonts")]


# The fonts of most desktops today.
USUAL_FAMILIES = ("noto_sans", "dejavu_sans", "open_sans", "roboto", "inter", "cantarell", "arimo")


def pick_family(rng: random.Random, split: Split, usual: float) -> str:
    """Choose a font that a split may show: one of the usual interface fonts with probability ``usual``, else any."""
    choices = families(split)
    if rng.random() < usual:
        choices = [name for name in choices if name in USUAL_FAMILIES] or choices
    return rng.choice(choices)


def _look(rng: random.Random, spec: DesktopSpec) -> Look:
    names = HELD_OUT_LOOKS if spec.split == "held_out_looks" else LOOKS
    size = rng.choice((10, 11, 12, 12, 13, 13, 13, 14, 14, 15, 16))
    scale = 1.0
    if min(spec.width, spec.height) < 300:
        size = min(size, 12)
    elif spec.width >= 1000 and rng.random() < 0.4:
        scale = rng.choice((1.25, 1.5, 2.0))
    elif rng.random() < 0.1:
        scale = rng.choice((1.25, 1.5))
    family = pick_family(rng, spec.split, 0.8)
    name = rng.choice(names)
    return sample_look(rng, spec.theme or name, family, size, spec.scale or scale)


def _clock(rng: random.Random, split: words.WordSplit) -> str:
    while True:
        clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
        if words.is_held_out(clock) == (split == "held_out"):
            return clock


def _icon_columns(desktop: Desktop, writer: Writer, rng: random.Random, count: int) -> None:
    look = desktop.look
    side = look.u(rng.choice((28, 32, 38)))
    pitch_x, pitch_y = side + look.u(46), side + look.small.height + look.u(18)
    left, top, right, bottom = desktop.area
    from_right = rng.random() < 0.2
    x, y = left + look.u(26), top + look.u(14)
    white = rng.random() < 0.4
    for _ in range(count):
        if y + pitch_y > bottom:
            x, y = x + pitch_x, top + look.u(14)
        if x + pitch_x > right:
            break
        at = right - (x - left) - side if from_right else x
        ink = (250, 250, 250) if white else mix(hue(rng, 0.6, 0.95), (255, 255, 255), 0.25)
        icon = rng.choice(TOOL_ICONS)
        label = look.small.fit(writer.item(), pitch_x - 4)
        desktop.icons.append(Widget("icon", label, (at, y, at + side, y + side), icon=icon, ink=ink))
        y += pitch_y


def _window_box(desktop: Desktop, rng: random.Random, low: float, high: float) -> IntBox:
    left, top, right, bottom = desktop.area
    width, height = right - left, bottom - top
    w = min(max(round(width * rng.uniform(low, high)), min(desktop.look.u(150), width)), width)
    h = min(max(round(height * rng.uniform(low, high)), min(desktop.look.u(120), height)), height)
    x, y = left + rng.randint(0, width - w), top + rng.randint(0, height - h)
    return x, y, x + w, y + h


def _add_window(desktop: Desktop, writer: Writer, rng: random.Random, density: float, box: IntBox) -> Window:
    window = Window(writer.title(), box, icon=rng.choice(TOOL_ICONS) if rng.random() < 0.6 else None)
    roll = rng.random()
    if roll < 0.15:
        window.buttons = ("close",)
    elif roll < 0.25:
        window.buttons = ("minimize", "close")
    window_content(window, desktop.look, writer, rng, density)
    desktop.windows.append(window)
    return window


def _windows(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    small = min(desktop.width, desktop.height) < 300
    if not small or rng.random() < 0.3:
        _icon_columns(desktop, writer, rng, rng.randint(0, round(4 + 14 * density)))
    area = desktop.width * desktop.height
    most = 1 if small else 2 if area < 200000 else 3 if area < 700000 else 5
    count = rng.randint(1, most)
    for i in range(count):
        last = i == count - 1
        if last and count == 1 and rng.random() < 0.35:
            box = desktop.area
            window = _add_window(desktop, writer, rng, density, box)
            window.restore_box = box
        else:
            low, high = (0.7, 1.0) if small else (0.4, 0.85)
            _add_window(desktop, writer, rng, density, _window_box(desktop, rng, low, high))
    _perhaps_menu(desktop, writer, rng)


def _perhaps_menu(desktop: Desktop, writer: Writer, rng: random.Random) -> None:
    window = desktop.front()
    if window is None or rng.random() > 0.22:
        return
    look = desktop.look
    if window.menus:
        index = rng.randrange(min(len(window.menus), 3))
        menu = window.menus[index]
        x = window.box[0] + look.u(4) + sum(look.text.width(m.label) + 2 * look.u(6) for m in window.menus[:index])
        at = (x, window.box[1] + 1 + look.bar_height + look.menu_height)
        desktop.menu = OpenMenu(menu.items, at, menu, window)
    else:
        items = writer.labels(rng.randint(3, 7))
        left, top, right, bottom = window.box
        at = (rng.randint(left, right), rng.randint(top, bottom))
        owner = Widget("dropdown", "", (0, 0, 0, 0))
        desktop.menu = OpenMenu(items, at, owner, None)


def _dialog(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    if rng.random() < 0.6:
        _icon_columns(desktop, writer, rng, rng.randint(0, 8))
    if rng.random() < 0.5 and min(desktop.width, desktop.height) >= 300:
        _add_window(desktop, writer, rng, density, _window_box(desktop, rng, 0.6, 0.95))
    look = desktop.look
    left, top, right, bottom = desktop.area
    width = min(look.u(rng.randint(200, 400)), right - left - 8)
    height = min(look.u(rng.randint(95, 230)), bottom - top - 8)
    x, y = left + rng.randint(0, right - left - width), top + rng.randint(0, bottom - top - height)
    window = Window(writer.title(), (x, y, x + width, y + height), buttons=("close",), modal=True)
    content = Flow(look, look.pad, look.pad, width - look.pad, height - look.bar_height - look.pad, window.widgets)
    foot = Flow(
        look,
        content.left,
        content.bottom - look.row - look.u(2),
        content.right,
        content.bottom + look.pad,
        window.widgets,
    )
    foot.buttons(writer.labels(rng.randint(1, 3)), align=rng.choice(("left", "right")), primary=rng.choice((-1, 0)))
    content.bottom = foot.bottom - 2 * look.pad - look.row
    if rng.random() < 0.6:
        side = look.u(30)
        icon = rng.choice(("bell", "lock", "trash", "mail", "download", "user", "gear", "search"))
        box = (content.left, content.top, content.left + side, content.top + side)
        window.widgets.append(Widget("icon", icon, box, icon=icon, ink=look.accent, font_size=side))
        content.left += side + look.pad
    for _ in range(rng.randint(1, 3)):
        content.text(writer.sentence(rng.randint(3, 7)), gap=look.u(3))
    content.top += look.pad
    if rng.random() < 0.5:
        content.field(writer.label(), side=rng.choice(("left", "above")))
    if rng.random() < 0.4:
        content.box("checkbox", writer.label(), checked=rng.random() < 0.5)
    desktop.windows.append(window)


def _full_form(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    """A page with nothing but a form, like kiosks and web forms."""
    look = desktop.look
    desktop.taskbar = False
    window = Window("", (0, 0, desktop.width, desktop.height), has_frame=False)
    window.fill = look.ground if rng.random() < 0.6 else mix(look.ground, hue(rng, 0.5, 0.9), 0.2)
    window_content(window, look, writer, rng, min(density + 0.3, 1.0))
    desktop.windows.append(window)


def _browser(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    look = desktop.look
    full = rng.random() < 0.7
    box = desktop.area if full else _window_box(desktop, rng, 0.7, 0.95)
    has_frame = rng.random() < 0.6
    if not has_frame:
        desktop.taskbar = False
        box = (0, 0, desktop.width, desktop.height)
    window = Window(writer.title(), box, has_frame=has_frame, icon="home")
    if has_frame and full:
        window.restore_box = box
    elif not full:
        _icon_columns(desktop, writer, rng, rng.randint(0, 8))
    web_page(window, look, writer, rng, density, [f for f in families(split)])
    desktop.windows.append(window)


def _words(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    """A dense sheet of short words in many fonts, sizes and colours, to learn reading from."""
    desktop.taskbar = False
    ground = rng.choice(((255, 255, 255), (244, 244, 240), (30, 32, 38), desktop.look.ground, desktop.plain))
    window = Window("", (0, 0, desktop.width, desktop.height), has_frame=False, fill=ground)
    usual = pick_family(rng, split, 0.6)
    mixed_fonts, mixed_sizes = rng.random() < 0.6, rng.random() < 0.7
    base_size = rng.randint(9, 18)
    spread = rng.choice((10, 40, 80, 120)) + round(80 * (1 - density))
    ink = ink_on(ground)
    y = rng.randint(2, 12)
    while y < desktop.height - 14:
        x, tallest = rng.randint(2, 24), 0
        while True:
            size = rng.randint(9, 18) if mixed_sizes else base_size
            family = pick_family(rng, split, 0.6) if mixed_fonts else usual
            bold = rng.random() < 0.15
            text = words.short_text(rng, writer.split)
            letters = face(family, size, bold)
            width = letters.width(text)
            if x + width + 2 > desktop.width or y + letters.height > desktop.height:
                break
            color = mix(ink, hue(rng, 1.0, 0.9), rng.choice((0.0, 0.0, 0.2, 0.4)))
            box = (x, y, x + width, y + letters.height)
            if rng.random() < 0.12:  # a chip behind the word
                pad = 3
                if x + width + 2 * pad < desktop.width:
                    fill = hue(rng, rng.uniform(0.1, 0.8), rng.uniform(0.3, 1.0))
                    chip = (x, y, x + width + 2 * pad, y + letters.height)
                    window.widgets.append(Widget("panel", "", chip, fill=fill, checked=rng.random() < 0.5))
                    box, color = (x + pad, y, x + pad + width, y + letters.height), ink_on(fill)
            window.widgets.append(Widget("text", text, box, family=family, font_size=size, bold=bold, ink=color))
            x = box[2] + rng.randint(6, 8 + spread)
            tallest = max(tallest, letters.height)
        y += max(tallest, base_size) + rng.randint(2, 6 + spread // 4)
    desktop.windows.append(window)


def _shapes(desktop: Desktop, writer: Writer, rng: random.Random, density: float, split: Split) -> None:
    """Scattered shapes, icons and check boxes."""
    desktop.taskbar = False
    look = desktop.look
    window = Window("", (0, 0, desktop.width, desktop.height), has_frame=False, fill=look.paper)
    for _ in range(3):
        flow = Flow(look, 2, 2, desktop.width - 2, desktop.height - 2, window.widgets)
        flow.top = rng.randint(2, max(desktop.height - 60, 3))
        num_before = len(window.widgets)
        shape_canvas(flow, writer, rng, ground=False, share=0.4 + density)
        window.widgets[num_before:] = _apart(window.widgets[:num_before], window.widgets[num_before:])
    extra: list[Widget] = []
    for _ in range(round(rng.randint(2, 14) * (0.5 + density))):
        side = look.u(rng.randint(14, 34))
        if min(desktop.width, desktop.height) < side + 8:
            continue
        x, y = rng.randint(2, desktop.width - side - 2), rng.randint(2, desktop.height - side - 2)
        kind = rng.choice(("icon", "icon", "checkbox"))
        if kind == "icon":
            name = rng.choice(TOOL_ICONS)
            fill = hue(rng, 0.6, 0.7) if rng.random() < 0.3 else None
            extra.append(Widget("icon", name, (x, y, x + side, y + side), icon=name, fill=fill))
        else:
            side = max(round(look.text.size * 1.05), 9)
            label = writer.label()
            at = (x + side + look.u(6), y + (side - look.text.height) // 2)
            if at[0] + look.text.width(label) < desktop.width - 2 and at[1] > 0:
                checked = rng.random() < 0.4
                extra.append(Widget("checkbox", label, (x, y, x + side, y + side), at, checked=checked))
    window.widgets += _apart(window.widgets, extra, look)
    desktop.windows.append(window)


def _extent(widget: Widget, look: Look | None) -> IntBox:
    left, top, right, bottom = widget.box
    if widget.label_at and look:
        x, y = widget.label_at
        return left, min(top, y), x + look.text.width(widget.label), max(bottom, y + look.text.height)
    return left, top, right, bottom


def _apart(old: list[Widget], new: list[Widget], look: Look | None = None) -> list[Widget]:
    """Return those new widgets that touch neither an old one nor one another."""
    boxes = [_extent(w, look) for w in old]
    separate = []
    for widget in new:
        a = _extent(widget, look)
        if not any(a[0] < b[2] + 3 and b[0] < a[2] + 3 and a[1] < b[3] + 3 and b[1] < a[3] + 3 for b in boxes):
            separate.append(widget)
            boxes.append(a)
    return separate
