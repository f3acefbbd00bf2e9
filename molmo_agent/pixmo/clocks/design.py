"""What a clock looks like: its body, its face and the photo of it. Sampled here, drawn in ``draw.py``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np

from molmo_agent.errors import UsageError

Color = tuple[int, int, int]
_T = TypeVar("_T")

SILHOUETTES = (
    *("round-watch", "square-watch", "tonneau-watch", "cushion-watch", "octagon-watch", "diver-watch", "field-watch"),
    *("dress-watch", "smart-watch", "pocket-watch", "round-wall", "square-wall", "octagon-wall", "sunburst-wall"),
    *("ship-wheel", "station", "alarm", "mantel", "cuckoo", "tower"),
)
FINISHES: dict[str, tuple[Color, Color]] = {
    "steel": ((186, 192, 198), (92, 98, 106)),
    "gold": ((214, 176, 88), (134, 98, 34)),
    "black": ((48, 50, 54), (16, 17, 20)),
    "wood": ((142, 92, 52), (84, 50, 26)),
    "colour": ((70, 120, 170), (34, 66, 104)),
}
_OF_WATCHES = ("steel", "gold", "black")
_OF_CLOCKS = ("wood", "black", "colour")


@dataclass(frozen=True, slots=True)
class Body:
    """A body: its outline and what it is made of."""

    silhouette: str
    finish: str

    @property
    def name(self) -> str:
        """Its outline and finish in one word."""
        return f"{self.silhouette}-{self.finish}"

    @property
    def worn(self) -> bool:
        """Whether it has a strap."""
        return self.silhouette.endswith("watch") and self.silhouette != "pocket-watch"

    @property
    def angular(self) -> bool:
        """Whether the face is a rounded square."""
        return self.silhouette in ("square-watch", "smart-watch", "square-wall")


BODIES = tuple(
    Body(silhouette, finish)
    for silhouette in SILHOUETTES
    for finish in (_OF_WATCHES if silhouette.endswith("watch") else _OF_CLOCKS)
)

NUMERALS = ("all", "quarters", "roman", "roman-quarters", "none", "twelve", "24h-ring", "minutes-ring")
INDICES = ("bars", "dots", "railway", "triangles", "long-bars", "none")
HANDS = ("baton", "sword", "leaf", "arrow", "pencil", "skeleton", "breguet")


@dataclass(frozen=True, slots=True)
class Face:
    """A dial and its hands. Lengths are fractions of the dial's radius."""

    numerals: str
    indices: str
    hands: str
    font: int
    # Dial, its edge, marks, hour and minute hand, second hand.
    dial: Color
    edge: Color
    ink: Color
    hand: Color
    accent: Color
    # Where the seconds are: "none", "centre" or "sub" (a dial of their own).
    seconds: str
    # Angles of decorative sub-dials, in degrees clockwise from 12; their hands show no time of day.
    sub_dials: tuple[float, ...]
    date: bool
    brand: str
    guilloche: int
    upright_roman: bool
    hour_length: float
    minute_length: float
    hand_width: float


@dataclass(frozen=True, slots=True)
class Photo:
    """How the clock is seen: background, position, tilt, light."""

    background: str
    ground: Color
    second_ground: Color
    # Of the picture's width.
    radius: float
    dx: float
    dy: float
    turn_degrees: float
    tilt: tuple[float, float]
    reflection: float
    blur: float
    light: float
    noise: float
    # Strap, tie or stand.
    strap: Color


@dataclass(frozen=True, slots=True)
class Time:
    """A time on a dial: hour 1 to 12."""

    hour: int
    minute: int
    second: int


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock, completely: drawing it again gives the same picture."""

    body: Body
    face: Face
    photo: Photo
    time: Time
    seed: int

    @property
    def text(self) -> str:
        """The time as the readers of the data expect it; with seconds if a hand shows them."""
        time = f"{self.time.hour}:{self.time.minute:02d}"
        return time if self.face.seconds == "none" else f"{time}:{self.time.second:02d}"


def plain(clock: Clock) -> Clock:
    """Return a clock without what makes it hard to read: upright, sharp, with two thick dark hands on a light dial.

    A model that starts from nothing learns what hands mean from such clocks first.
    """
    light, gray, dark = ((level, level, level) for level in (240, 120, 10))
    face = replace(
        clock.face, numerals="none", indices="bars", hands="baton", seconds="none", sub_dials=(), date=False, brand="",
        guilloche=0, dial=light, edge=light, ink=gray, hand=dark, hand_width=0.09,
    )  # fmt: skip
    photo = replace(
        clock.photo, dx=0.0, dy=0.0, turn_degrees=0.0, tilt=(0.0, 0.0), reflection=0.0, blur=0.0, light=1.0, noise=0.0
    )
    return replace(clock, face=face, photo=photo)


_BRANDS = ("", "", "Lumen", "ORBIS", "Tessera", "Nordhaven", "Calder & Co.", "VELA", "Marisol", "Quartz", "Automatic")
_STRAPS = ((62, 40, 26), (24, 24, 28), (120, 76, 44), (40, 58, 90), (92, 98, 104), (140, 40, 40), (70, 82, 58))
_ACCENTS = ((200, 30, 40), (230, 120, 20), (30, 110, 190), (20, 20, 20), (190, 160, 70), (60, 160, 90))


def bodies_like(patterns: Sequence[str], without: Sequence[str] = ()) -> tuple[Body, ...]:
    """Return the bodies whose names match a pattern, such as ``*-watch-gold``, and none of the others.

    Args:
        patterns: of the shell; none for all bodies.
        without: patterns of bodies to leave out.

    Raises:
        UsageError: a pattern matches no body, or none is left.
    """
    for pattern in (*patterns, *without):
        if not any(fnmatchcase(body.name, pattern) for body in BODIES):
            raise UsageError(
                f"expected a pattern that matches a body, such as 'tower-*' or '*-watch-gold', got {pattern!r}; bodies "
                f"are {', '.join(SILHOUETTES)}, each with a finish, such as {BODIES[0].name}"
            )
    bodies = tuple(
        body
        for body in BODIES
        if any(fnmatchcase(body.name, pattern) for pattern in patterns or ("*",))
        and not any(fnmatchcase(body.name, pattern) for pattern in without)
    )
    if not bodies:
        raise UsageError(f"expected at least one body, but {', '.join(without)} leaves out all of them")
    return bodies


def sample_clock(seed: int, bodies: Sequence[Body] = BODIES) -> Clock:
    """Return a clock of a seed: any of the bodies, any face, photo and time."""
    rng = np.random.default_rng([0xC10C, seed])
    body = bodies[int(rng.integers(len(bodies)))]
    time = Time(int(rng.integers(1, 13)), int(rng.integers(60)), int(rng.integers(60)))
    return Clock(body, _face(rng), _photo(rng, body), time, seed)


def _pick(rng: np.random.Generator, options: tuple[_T, ...], weights: tuple[float, ...] | None = None) -> _T:
    shares = None if weights is None else np.array(weights) / sum(weights)
    return options[int(rng.choice(len(options), p=shares))]


def _tone(rng: np.random.Generator, low: int, high: int, spread: int = 30) -> Color:
    base = int(rng.integers(low, high))
    red, green, blue = (int(np.clip(base + rng.integers(-spread, spread + 1), 0, 255)) for _ in range(3))
    return red, green, blue


def _face(rng: np.random.Generator) -> Face:
    dark = rng.random() < 0.4
    dial = _tone(rng, 10, 75) if dark else _tone(rng, 205, 250, 14)
    ink = _tone(rng, 205, 250, 14) if dark else _tone(rng, 10, 60, 12)
    accent = _pick(rng, _ACCENTS)
    if abs(sum(accent) - sum(dial)) < 150:
        accent = (235, 90, 50) if dark else (200, 30, 40)
    numerals = _pick(rng, NUMERALS, (4, 2, 3, 1, 3, 2, 0.7, 1))
    indices = _pick(rng, INDICES, (4, 2, 3, 1, 2, 1))
    if indices == "none" and numerals == "none":
        # Some faces have no marks at all; most designers leave one.
        indices = "bars" if rng.random() < 0.8 else "none"
    seconds = _pick(rng, ("none", "centre", "sub"), (4, 5, 1.5))
    chronograph = rng.random() < 0.15
    angles: tuple[float, ...] = ((90.0, 270.0), (90.0, 180.0, 270.0), (270.0,))[int(rng.integers(3))]
    if seconds == "sub":
        angles = tuple(angle for angle in angles if angle != 180.0)
    hour_length = float(rng.uniform(0.45, 0.58))
    return Face(
        numerals=numerals,
        indices=indices,
        hands=_pick(rng, HANDS),
        font=int(rng.integers(1 << 16)),
        dial=dial,
        edge=_tone(rng, 10, 75) if dark else _tone(rng, 190, 240, 14),
        ink=ink,
        hand=ink
        if rng.random() < 0.75
        else _pick(rng, ((20, 40, 110), (110, 30, 30)) if not dark else ((235, 200, 110),)),
        accent=accent,
        seconds=seconds,
        sub_dials=angles if chronograph else (),
        date=bool(rng.random() < 0.2 and 90.0 not in (angles if chronograph else ())),
        brand=_pick(rng, _BRANDS),
        guilloche=_pick(rng, (0, 0, 0, 1, 2)),
        upright_roman=bool(rng.random() < 0.5),
        hour_length=hour_length,
        minute_length=float(rng.uniform(max(0.74, hour_length + 0.2), 0.9)),
        hand_width=float(rng.uniform(0.035, 0.075)),
    )


def _photo(rng: np.random.Generator, body: Body) -> Photo:
    tilted = rng.random() < 0.5
    return Photo(
        background=_pick(rng, ("plain", "gradient", "wood", "tiles", "bokeh", "cloth", "wall")),
        ground=_tone(rng, 30, 235),
        second_ground=_tone(rng, 30, 235),
        radius=float(rng.uniform(0.2, 0.29) if body.worn else rng.uniform(0.2, 0.31)),
        dx=float(rng.uniform(-0.06, 0.06)),
        dy=float(rng.uniform(-0.05, 0.05)),
        # Far enough from 30 degrees, beyond which a face without numerals can be read as another time.
        turn_degrees=float(np.clip(rng.normal(0, 5), -12, 12)),
        tilt=(float(rng.uniform(-0.13, 0.13)), float(rng.uniform(-0.13, 0.13))) if tilted else (0.0, 0.0),
        reflection=float(rng.uniform(0.1, 0.4)) if rng.random() < 0.45 else 0.0,
        blur=float(rng.uniform(0.3, 1.1)) if rng.random() < 0.3 else 0.0,
        light=float(rng.uniform(0.75, 1.12)),
        noise=float(rng.uniform(1, 7)) if rng.random() < 0.5 else 0.0,
        strap=_pick(rng, _STRAPS),
    )
