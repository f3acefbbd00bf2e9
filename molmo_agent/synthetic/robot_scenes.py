"""Waypoint scenes as training images with ground truth: a robot's view of a room, a map from above, a table."""

from functools import lru_cache
from random import Random

from molmo_agent.envs.drawing.annotated_screen import Element, Screen
from molmo_agent.envs.gymnasium_api.base import Mask, PointingEnv, box_inside
from molmo_agent.envs.worlds.floor.env import FloorNav
from molmo_agent.envs.worlds.grid_nav import GridNav
from molmo_agent.envs.worlds.table.env import TablePick
from molmo_agent.synthetic.pages.page import on_ground

SCENES = ("room", "map", "table")
"""Styles of this module; "table" needs MuJoCo."""

# Smaller objects are not visible enough to be targets.
_MIN_PIXELS = 40
# Sides of a map's cells, in pixels.
_CELLS = (20, 24, 28, 32, 40)
_MIN_CELLS = 6


def draw_scene(seed: int, style: str, *, width: int, height: int) -> Screen:
    """Draw a scene with ground truth, of exactly this size. Its objects are elements of the kind "shape".

    Args:
        seed: the same seed draws the same scene.
        style: one of SCENES.
        width: pixels.
        height: pixels.

    Raises:
        MissingExtraError: the style is "table", and MuJoCo is not installed.
        EnvError: the style is "table", and this machine cannot render.
        UsageError: the image is too small for the style.
    """
    rng = Random(f"scene {seed}")
    env = _map(width, height, rng) if style == "map" else _env(style, width, height)
    image, _ = env.reset(seed=seed)
    elements = [
        element
        for number, ((colour, kind), mask) in enumerate(sorted(env.things().items()))
        if (element := _element(number, colour, kind, mask))
    ]
    screen = Screen(image, tuple(elements), ())
    return screen if env.size == (width, height) else on_ground(screen, width, height, rng)


def _map(width: int, height: int, rng: Random) -> GridNav:
    largest = max(min(width, height) // _MIN_CELLS, min(_CELLS))
    cell = rng.choice([cell for cell in _CELLS if cell <= largest])
    return GridNav(columns=width // cell, rows=height // cell, cell_px=cell)


@lru_cache(maxsize=8)
def _env(style: str, width: int, height: int) -> PointingEnv:
    """Make an env once, since the renderer of a table starts slowly."""
    return FloorNav(width=width, height=height) if style == "room" else TablePick(width=width, height=height)


def _element(number: int, colour: str, kind: str, mask: Mask) -> Element | None:
    boxes = box_inside(mask)
    if not boxes:
        return None
    rows, columns = mask.shape
    box, name = boxes[0], f"{colour} {kind}".strip()
    edges = (box.left * columns, box.top * rows, box.right * columns, box.bottom * rows)
    is_visible = int(mask.sum()) >= _MIN_PIXELS
    return Element(number, "shape", name, edges, visible=is_visible, color=colour or None, shape=kind)
