"""How a desktop looks: colours, fonts, corners and metrics, sampled from families of looks."""

import colorsys
import random
from dataclasses import dataclass

from molmo_agent.envs.drawing.canvas import Color, mix
from molmo_agent.envs.drawing.fonts import Face, face

LOOKS: tuple[str, ...] = ("flat", "soft", "classic", "dots", "material", "night", "plain")
HELD_OUT_LOOKS: tuple[str, ...] = ("glossy", "contrast", "paper")
"""Looks that no training screen has."""

_WHITE: Color = (255, 255, 255)
_BLACK: Color = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours, fonts and metrics of a desktop. Lengths are in pixels, the scale included."""

    name: str
    dark: bool
    family: str
    # Pixels per em of ordinary text.
    font_size: int
    scale: float
    # Windows: ground, text on it, fainter text, hair lines.
    ground: Color
    ink: Color
    faint: Color
    edge: Color
    # Fields and lists.
    paper: Color
    # Buttons, and what their fill fades to.
    button: Color
    button_low: Color
    accent: Color
    on_accent: Color
    # Title bars: of the front window, of the others.
    bar: Color
    bar_ink: Color
    bar_idle: Color
    bar_idle_ink: Color
    radius: int
    window_radius: int
    bevel: bool
    shadow: int
    # "flat", "dots" or "classic".
    buttons: str
    buttons_left: bool
    title_centered: bool
    taskbar_on_top: bool
    taskbar: Color
    taskbar_ink: Color
    aliased: bool
    # Multiplies paddings.
    air: float

    def u(self, length: float) -> int:
        """Return a length at scale 1 in pixels of this look."""
        return round(length * self.scale)

    @property
    def text(self) -> Face:
        """The face of ordinary text."""
        return face(self.family, self.font_size)

    @property
    def bold(self) -> Face:
        """The face of titles and headings."""
        return face(self.family, self.font_size, True)

    @property
    def small(self) -> Face:
        """The face of captions."""
        return face(self.family, max(self.font_size - self.u(1), 8))

    @property
    def row(self) -> int:
        """Height of a control with one line of text."""
        return self.text.height + 2 * self.u(3.5 * self.air)

    @property
    def pad(self) -> int:
        """Distance between neighbouring things."""
        return self.u(7 * self.air)

    @property
    def bar_height(self) -> int:
        """Height of a title bar."""
        return self.text.height + 2 * self.u(4 * self.air)

    @property
    def menu_height(self) -> int:
        """Height of a menu bar."""
        return self.text.height + 2 * self.u(3)

    @property
    def taskbar_height(self) -> int:
        """Height of the task bar."""
        return self.text.height + 2 * self.u(6 * self.air)


def hue(rng: random.Random, saturation: float, value: float) -> Color:
    """Return a colour of random hue; saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _brightness(color: Color) -> float:
    return (0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]) / 255


def ink_on(color: Color) -> Color:
    """Return near black or white, whichever is readable on a colour."""
    return (20, 20, 24) if _brightness(color) > 0.58 else (252, 252, 252)


def sample_look(rng: random.Random, name: str, family: str, font_size: int, scale: float) -> Look:
    """Sample a look of a family of looks.

    Args:
        rng: source of randomness.
        name: one of LOOKS or HELD_OUT_LOOKS.
        family: the font of the desktop.
        font_size: of ordinary text at scale 1, pixels per em.
        scale: multiplies every length.
    """
    dark = name in ("night", "contrast") or (name in ("flat", "dots", "material", "soft") and rng.random() < 0.25)
    accent = hue(rng, rng.uniform(0.55, 0.9), rng.uniform(0.55, 0.85))
    tint = hue(rng, rng.uniform(0.0, 0.12), 1.0)
    if dark:
        ground = mix((34, 36, 42), tint, rng.uniform(0.0, 0.12))
        if name == "contrast":
            ground = (0, 0, 0)
        ink, paper = (
            (236, 236, 240),
            mix(ground, _BLACK if rng.random() < 0.5 else _WHITE, 0.25 if rng.random() < 0.5 else 0.08),
        )
        accent = mix(accent, _WHITE, 0.15)
    else:
        ground = mix((246, 246, 247), tint, 0.5)
        if name in ("classic", "plain"):
            ground = mix((214, 210, 202), tint, rng.uniform(0, 0.5)) if name == "classic" else (238, 238, 238)
        if name == "paper":
            ground = mix((246, 236, 212), tint, 0.25)
        ink, paper = (24, 26, 30), mix(ground, _WHITE, 0.85)
    faint, edge = mix(ink, ground, 0.42), mix(ink, ground, 0.72 if name != "contrast" else 0.0)
    button = mix(ground, _WHITE, 0.12 if dark else 0.7)
    if name == "contrast":
        ink, edge, accent = ((255, 240, 60) if rng.random() < 0.5 else _WHITE), _WHITE, hue(rng, 0.9, 1.0)
        button, faint = _BLACK, ink
    button_low = button
    if name in ("glossy", "plain") or rng.random() < 0.1:
        button_low = mix(button, accent if name == "glossy" else _BLACK, 0.45 if name == "glossy" else 0.1)
    colored_bar = name in ("classic", "material") or (name == "flat" and rng.random() < 0.4)
    bar = accent if colored_bar else mix(ground, _WHITE if dark else _BLACK, rng.choice((0.0, 0.04, 0.08)))
    bar_idle = mix(bar, (128, 128, 128) if colored_bar else ground, 0.6)
    if name == "glossy":
        bar, bar_idle = mix(accent, _WHITE, 0.45), mix(accent, _WHITE, 0.75)
    window_radius = {"soft": 9, "dots": 8, "flat": rng.choice((0, 0, 6)), "glossy": 10, "material": 3, "night": 5}
    radius = {"soft": 5, "dots": 4, "flat": rng.choice((0, 2, 3)), "glossy": 9, "material": 2, "night": 3, "paper": 1}
    taskbar = rng.choice(
        (mix(ground, accent, 0.08), mix((28, 30, 36), accent, 0.15), mix(accent, _BLACK, 0.45), ground)
    )
    return Look(
        name=name,
        dark=dark,
        family=family,
        font_size=round(font_size * scale),
        scale=scale,
        ground=ground,
        ink=ink,
        faint=faint,
        edge=edge,
        paper=paper,
        button=button,
        button_low=button_low,
        accent=accent,
        on_accent=ink_on(accent),
        bar=bar,
        bar_ink=ink_on(bar),
        bar_idle=bar_idle,
        bar_idle_ink=mix(ink_on(bar_idle), bar_idle, 0.35),
        radius=round(radius.get(name, 0) * scale),
        window_radius=round(window_radius.get(name, 0) * scale),
        bevel=name == "classic",
        shadow=round({"classic": 0, "contrast": 0, "plain": 3, "paper": 2}.get(name, 9) * scale),
        buttons="dots" if name in ("dots", "glossy") else "classic" if name in ("classic", "plain") else "flat",
        buttons_left=name == "dots" or (name == "glossy" and rng.random() < 0.5),
        title_centered=name in ("dots", "soft") or rng.random() < 0.15,
        taskbar_on_top=rng.random() < 0.15,
        taskbar=taskbar,
        taskbar_ink=ink_on(taskbar),
        aliased=name == "classic" and rng.random() < 0.4,
        air=rng.choice((0.8, 1.0, 1.0, 1.2)),
    )
