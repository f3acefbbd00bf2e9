"""Draws images with coloured shapes and a sign, and knows what is on them."""

import math
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from molmo_agent.episode import Image
from molmo_agent.geometry import Point

SIZE = (480, 360)
"""(width, height) of a scene in pixels."""

COLOURS = {
    "red": (205, 45, 45),
    "orange": (238, 130, 25),
    "yellow": (240, 212, 40),
    "green": (45, 160, 75),
    "blue": (45, 95, 205),
    "purple": (130, 60, 175),
}
FORMS = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "cross")
GROUNDS = {
    "white": (248, 248, 246),
    "cream": (243, 236, 218),
    "pale blue": (222, 234, 243),
    "pale grey": (226, 227, 230),
}
WORDS = (
    *("OPEN", "SALE", "EXIT", "MENU", "ROOM 4", "FRESH COFFEE", "PLATFORM 2", "NO ENTRY", "LOST AND FOUND", "QUIET"),
    *("TICKETS", "BAKERY", "LIBRARY", "TODAY 9-17", "PLEASE WAIT", "GATE B7"),
)
# Cells of the grid on which shapes stand; the sign takes the first or the last row.
_COLUMNS, _ROWS, _CELL = 6, 4, 76
# Letters differ from every ground: the inside of an O would be a shape of its own.
_INK, _SIGN, _PAPER = (40, 38, 36), (34, 35, 40), (246, 214, 120)


@dataclass(frozen=True, slots=True)
class Group:
    """All shapes of one colour and form."""

    colour: str
    form: str
    # The middle of each, as fractions of the image.
    points: tuple[Point, ...]
    # Half its width, in pixels.
    radius: int

    @property
    def name(self) -> str:
        """What it is called, in the plural if there are several."""
        return f"{self.colour} {self.form}" if len(self.points) == 1 else f"{self.colour} {plural(self.form)}"

    @property
    def one(self) -> str:
        """What one of them is called, with its article."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.form}"


@dataclass(frozen=True, slots=True)
class Scene:
    """An image and what is on it."""

    seed: int
    ground: str
    # The largest one first, all of different colours.
    groups: tuple[Group, ...]
    # The words of the sign and where it stands; no words: there is none.
    sign: str
    sign_top: bool

    def points_of(self, colour: str) -> tuple[Point, ...]:
        """Return the middle of everything of a colour; the sign is black."""
        points = [point for group in self.groups if group.colour == colour for point in group.points]
        return (*points, self.sign_point) if self.sign and colour == "black" else tuple(points)

    @property
    def sign_point(self) -> Point:
        """The middle of the sign."""
        return Point(0.5, 0.12 if self.sign_top else 0.88)


def plural(form: str) -> str:
    """Return the plural of a form."""
    return f"{form}es" if form.endswith("s") else f"{form}s"


def sample_scene(seed: int) -> Scene:
    """Return the scene of a seed: 0 to 10 shapes of one kind, fewer of others, and mostly a sign."""
    rng = np.random.default_rng([0x5CE, seed])
    ground = str(rng.choice([*GROUNDS]))
    most = seed % 11
    if most == 0:
        return Scene(seed, ground, (), "", True)
    counts = [most, *(int(rng.integers(1, most)) for _ in range(int(rng.integers(0, 3))) if most > 1)]
    sign_top, sign = bool(rng.random() < 0.5), str(rng.choice(WORDS)) if rng.random() < 0.7 else ""
    rows = [row for row in range(_ROWS) if not sign or row != (0 if sign_top else _ROWS - 1)]
    cells = [(column, row) for row in rows for column in range(_COLUMNS)]
    places = iter(rng.permutation(len(cells)))
    groups = []
    free = len(cells)
    for number, colour in zip(counts, rng.permutation([*COLOURS]), strict=False):
        number = min(number, free)
        free -= number
        if number:
            radius = int(rng.integers(17, 27))
            points = tuple(_place(cells[int(next(places))], radius, rng) for _ in range(number))
            groups.append(Group(str(colour), str(rng.choice(FORMS)), points, radius))
    return Scene(seed, ground, tuple(groups), sign, sign_top)


def _place(cell: tuple[int, int], radius: int, rng: np.random.Generator) -> Point:
    room = (_CELL - 8) // 2 - radius
    dx, dy = (int(v) for v in rng.integers(-room, room + 1, 2))
    left, top = (SIZE[0] - _COLUMNS * _CELL) / 2, (SIZE[1] - _ROWS * _CELL) / 2
    x, y = left + (cell[0] + 0.5) * _CELL + dx, top + (cell[1] + 0.5) * _CELL + dy
    return Point(x / SIZE[0], y / SIZE[1])


def draw_scene(scene: Scene) -> Image:
    """Draw a scene as RGB uint8 of shape (360, 480, 3)."""
    scale = 2
    # A little lighter or darker: two empty scenes must not be the same file.
    rng = np.random.default_rng([0x71E, scene.seed])
    shift = rng.integers(-6, 7) + rng.integers(-1, 2, 3)
    red, green, blue = (int(np.clip(v + d, 0, 255)) for v, d in zip(GROUNDS[scene.ground], shift, strict=True))
    image = PIL.Image.new("RGB", (SIZE[0] * scale, SIZE[1] * scale), (red, green, blue))
    pen = PIL.ImageDraw.Draw(image)
    for group in scene.groups:
        for point in group.points:
            x, y = point.x * SIZE[0] * scale, point.y * SIZE[1] * scale
            corners = [
                (x + dx * group.radius * scale, y + dy * group.radius * scale) for dx, dy in _outline(group.form)
            ]
            pen.polygon(corners, fill=COLOURS[group.colour])
            pen.line([*corners, corners[0], corners[1]], fill=_INK, width=2 * scale, joint="curve")
    if scene.sign:
        x, y = scene.sign_point.x * SIZE[0] * scale, scene.sign_point.y * SIZE[1] * scale
        half = 16 + 8 * len(scene.sign)
        box = (x - half * scale, y - 18 * scale, x + half * scale, y + 18 * scale)
        pen.rounded_rectangle(box, radius=6 * scale, fill=_SIGN)
        pen.text((x, y), scene.sign, fill=_PAPER, font=PIL.ImageFont.load_default(20 * scale), anchor="mm")
    return np.asarray(image.resize(SIZE, PIL.Image.Resampling.LANCZOS))


def _outline(form: str) -> list[tuple[float, float]]:
    """Return the corners of a form around (0, 0) within [-1, 1], clockwise from the top."""
    corners = {"square": 4, "triangle": 3, "diamond": 4, "hexagon": 6, "circle": 40}
    if form == "cross":
        arm = 0.36
        quarter = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
        return [_turned(corner, 90 * number) for number in range(4) for corner in quarter]
    if form == "heart":
        angles = [2 * math.pi * number / 40 for number in range(40)]
        return [
            (
                math.sin(t) ** 3,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16.5,
            )
            for t in angles
        ]
    if form == "star":
        return [_turned((0.0, -1.0 if number % 2 == 0 else -0.58), 36 * number) for number in range(10)]
    start = 45 if form == "square" else 0
    return [_turned((0.0, -1.0), start + 360 / corners[form] * number) for number in range(corners[form])]


def _turned(corner: tuple[float, float], degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    x, y = corner
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
