"""A room from above, for people: the robot, its way and the pointed places."""

import math
from collections.abc import Callable

import PIL.Image
import PIL.ImageDraw

from molmo_agent.envs.worlds.floor.robot import RADIUS_M, Robot
from molmo_agent.envs.worlds.floor.room import COLOURS, Room, Solid
from molmo_agent.envs.worlds.floor.textures import Paint
from molmo_agent.images import MARK

_SMOOTH = 2
_ROBOT = (38, 44, 58)
_PLAIN = {"crate": (186, 142, 92), "bench": (150, 106, 70), "screen": (120, 140, 146)}


# Metres to pixels of the map.
_Place = Callable[[float, float], tuple[float, float]]


def draw_map(
    room: Room,
    paint: Paint,
    robot: Robot,
    trail: list[tuple[float, float]],
    goals: list[tuple[float, float]],
    *,
    height: int,
) -> PIL.Image.Image:
    """Return the map, ``height`` pixels high, y up.

    Args:
        room: walls and things; the target has a ring.
        paint: the floor.
        robot: where it is now.
        trail: its path, metres.
        goals: the pointed places, metres; the last one has the strongest mark.
        height: pixels of the map.
    """
    inner = (height - 8) * _SMOOTH
    scale = inner / room.depth
    width = round(room.width * scale)
    border = 4 * _SMOOTH
    plan = PIL.Image.new("RGB", (width + 2 * border, inner + 2 * border), (250, 250, 248))
    floor = PIL.Image.fromarray(paint.floor_image()).resize((width, inner), PIL.Image.Resampling.BILINEAR)
    plan.paste(PIL.Image.blend(floor, PIL.Image.new("RGB", floor.size, "white"), 0.35), (border, border))

    def at(x: float, y: float) -> tuple[float, float]:
        return border + x * scale, border + (room.depth - y) * scale

    view = PIL.Image.new("L", plan.size, 0)
    reach = 1.4
    fan = [at(robot.x, robot.y)] + [
        at(robot.x + reach * math.cos(robot.heading + a), robot.y + reach * math.sin(robot.heading + a))
        for a in (-0.7, -0.35, 0.0, 0.35, 0.7)
    ]
    PIL.ImageDraw.Draw(view).polygon(fan, fill=90)
    plan.paste((255, 255, 255), (0, 0), view)
    pen = PIL.ImageDraw.Draw(plan)
    for number, solid in enumerate(room.solids):
        _draw_solid(pen, solid, at, scale, is_target=number == room.target)
    if len(trail) > 1:
        pen.line([at(*place) for place in trail], fill=_ROBOT, width=3 * _SMOOTH // 2, joint="curve")
    for goal in goals:
        x, y = at(*goal)
        size = 3.5 * _SMOOTH if goal is goals[-1] else 1.8 * _SMOOTH
        pen.ellipse([x - size, y - size, x + size, y + size], fill=MARK, outline="white", width=_SMOOTH // 2 + 1)
    x, y = at(robot.x, robot.y)
    r = RADIUS_M * scale
    pen.ellipse([x - r, y - r, x + r, y + r], fill=_ROBOT, outline="white", width=_SMOOTH)
    c, s = math.cos(robot.heading), -math.sin(robot.heading)
    nose = [(x + 0.8 * r * c, y + 0.8 * r * s)]
    nose += [(x + 0.5 * r * (-c * 0.6 + k * s), y + 0.5 * r * (-s * 0.6 - k * c)) for k in (1.1, -1.1)]
    pen.polygon(nose, fill="white")
    return plan.reduce(_SMOOTH)


def _draw_solid(pen: PIL.ImageDraw.ImageDraw, solid: Solid, at: _Place, scale: float, *, is_target: bool) -> None:
    colour = COLOURS.get(solid.colour) or _PLAIN[solid.kind]
    edge = tuple(value * 2 // 3 for value in colour)
    if solid.radius:
        (x, y), r = at(solid.x, solid.y), solid.radius * scale
        pen.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline=edge, width=_SMOOTH)
        if is_target:
            r += 4 * _SMOOTH
            pen.ellipse([x - r, y - r, x + r, y + r], outline=MARK, width=_SMOOTH)
        return
    c, s = math.cos(solid.turn), math.sin(solid.turn)
    corners = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
    half = solid.half
    pen.polygon(
        [
            at(solid.x + c * a * half[0] - s * b * half[1], solid.y + s * a * half[0] + c * b * half[1])
            for a, b in corners
        ],
        fill=colour,
        outline=edge,
        width=_SMOOTH,
    )
