"""How a phone looks: colours, font, corners, sampled by seed. One unit is a 360th of the shorter side of the screen."""

import random
from dataclasses import dataclass, replace

from molmo_agent.envs.drawing.canvas import Color, mix
from molmo_agent.envs.drawing.fonts import Face, face
from molmo_agent.envs.sim_desktop.looks import hue, ink_on

THEMES = ("light", "dark")
FAMILIES = ("roboto", "inter", "open_sans", "noto_sans", "manrope", "cantarell", "go", "arimo")
HELD_OUT_FAMILIES = ("karla", "comic_neue", "jura")
"""Fonts that no training screen shows."""

_WHITE: Color = (255, 255, 255)
_BLACK: Color = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneLook:
    """Colours, font and metrics of a phone."""

    dark: bool
    family: str
    # Pixels per unit.
    scale: float
    # Multiplies the size of texts.
    text_scale: float
    # Pages, cards on them, text, fainter text, hair lines.
    ground: Color
    card: Color
    ink: Color
    faint: Color
    edge: Color
    accent: Color
    on_accent: Color
    # A pale accent, for large surfaces.
    tint: Color
    # Corners of cards and of app icons; icons as a share of their side.
    radius: int
    icon_round: float
    # Three buttons at the bottom; otherwise a bar for gestures.
    buttons: bool
    # Of the home screen: from, to, and two soft lights.
    wallpaper: tuple[Color, Color, Color, Color]

    def u(self, units: float) -> int:
        """Return a length in pixels."""
        return round(units * self.scale)

    def text(self, units: float = 14, bold: bool = False) -> Face:
        """Return the phone's font at a size in units per em."""
        return face(self.family, max(round(units * self.scale * self.text_scale), 6), bold)

    @property
    def status_height(self) -> int:
        """Pixels of the status bar."""
        return self.u(26)

    @property
    def bar_height(self) -> int:
        """Pixels of an app's title bar."""
        return self.u(52)

    @property
    def navigation_height(self) -> int:
        """Pixels of the navigation bar at the bottom."""
        return self.u(40 if self.buttons else 20)


def sample_look(rng: random.Random, short_side: int, *, dark: bool) -> PhoneLook:
    """Sample a look for a screen whose shorter side has so many pixels."""
    accent = hue(rng, rng.uniform(0.55, 0.85), rng.uniform(0.5, 0.72))
    if dark:
        accent = mix(accent, _WHITE, 0.35)
        ground = mix((18, 19, 22), accent, 0.05)
        ink, card = (232, 233, 237), mix(ground, _WHITE, 0.07)
    else:
        ground = mix((246, 246, 249), accent, 0.04)
        ink, card = (27, 28, 32), mix(_WHITE, ground, rng.choice((0.0, 0.3)))
    sky = hue(rng, rng.uniform(0.35, 0.7), rng.uniform(0.35, 0.75))
    return PhoneLook(
        dark=dark,
        family=rng.choice(FAMILIES),
        scale=short_side / 360,
        text_scale=rng.choice((0.95, 1.0, 1.0, 1.0, 1.1)),
        ground=ground,
        card=card,
        ink=ink,
        faint=mix(ink, ground, 0.4),
        edge=mix(ink, ground, 0.85),
        accent=accent,
        on_accent=ink_on(accent),
        tint=mix(ground, accent, 0.22 if dark else 0.16),
        radius=round(rng.choice((10, 16, 20)) * short_side / 360),
        icon_round=rng.choice((0.26, 0.3, 0.5)),
        buttons=rng.random() < 0.5,
        wallpaper=(
            mix(sky, _WHITE, 0.25),
            mix(sky, _BLACK, 0.5),
            hue(rng, rng.uniform(0.3, 0.7), 0.9),
            hue(rng, rng.uniform(0.3, 0.7), 0.8),
        ),
    )


def held_out_look(look: PhoneLook, rng: random.Random) -> PhoneLook:
    """Return a look that no training screen has: square corners, black or white, one bright colour."""
    accent = hue(rng, 1.0, 1.0)
    ground, ink = (_BLACK, _WHITE) if look.dark else (_WHITE, _BLACK)
    return replace(
        look,
        ground=ground,
        card=ground,
        ink=ink,
        faint=mix(ink, ground, 0.25),
        edge=ink,
        accent=accent,
        on_accent=ink_on(accent),
        tint=mix(ground, accent, 0.45),
        radius=0,
        icon_round=0.06,
        buttons=True,
    )
