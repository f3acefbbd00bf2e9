"""A table with coloured objects, plates and a vacuum gripper in MuJoCo: its bodies, its camera and the hand.

The world's frame: metres, z up, the table's top is z = 0, its middle the origin. Imports MuJoCo, which renders
without a display through EGL unless ``MUJOCO_GL`` names another way.
"""

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from molmo_agent.camera import Camera
from molmo_agent.envs.worlds.floor.textures import planks
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError, MissingExtraError

Array = npt.NDArray[np.float64]

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.84, 0.16, 0.15),
    "orange": (0.95, 0.5, 0.08),
    "yellow": (0.95, 0.8, 0.12),
    "green": (0.16, 0.6, 0.28),
    "blue": (0.12, 0.35, 0.85),
    "purple": (0.52, 0.22, 0.7),
    "white": (0.95, 0.95, 0.93),
}
# Kind -> (MuJoCo's geom type, its size, half its height), two of each.
KINDS: dict[str, tuple[str, str, float]] = {
    "cube": ("box", "0.026 0.026 0.026", 0.026),
    "brick": ("box", "0.042 0.02 0.018", 0.018),
    "can": ("cylinder", "0.022 0.036", 0.036),
}
SLOTS = tuple(kind for kind in KINDS for _ in range(2))
NUM_PLATES, PLATE_RADIUS_M = 3, 0.062
# Where the hand waits: behind the objects, in view, covering nothing.
HOME = np.array([0.0, 0.34, 0.13])
# Farther than anything on the table: the background begins here.
FAR_M = 3.0
_STEP_S, _SPEED_M_S = 0.004, 0.6
_WATCH_EVERY = 12

_XML = """
<mujoco>
  <option timestep="{step}" integrator="implicitfast"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <headlight ambient="0.42 0.42 0.42" diffuse="0.3 0.3 0.3" specular="0 0 0"/>
    <quality shadowsize="2048"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.86 0.88 0.9" rgb2="0.7 0.74 0.78" width="64" height="64"/>
    <texture name="wood" type="2d" file="wood.png"/>
    <material name="wood" texture="wood" specular="0.1" shininess="0.1"/>
    <material name="thing" specular="0.35" shininess="0.4"/>
    <material name="plate" specular="0.5" shininess="0.7"/>
  </asset>
  <default>
    <geom condim="4" friction="0.9 0.02 0.001" solref="0.008 1"/>
    <default class="hand"><geom contype="0" conaffinity="0" group="2"/></default>
  </default>
  <worldbody>
    <light directional="true" pos="-0.5 -0.4 1.2" dir="0.4 0.35 -1" diffuse="0.6 0.59 0.55" castshadow="true"/>
    <camera name="view" pos="0 -0.62 0.6" xyaxes="1 0 0 0 0.68 0.733" fovy="38"/>
    <geom name="ground" type="plane" size="6 6 0.1" pos="0 0 -0.7" rgba="0.8 0.81 0.82 1"/>
    <geom name="table" type="box" size="0.52 0.44 0.02" pos="0 0.04 -0.02" material="wood"/>
    {plates}
    {objects}
    <body name="hand" mocap="true" pos="{home}">
      <geom type="cylinder" size="0.006 0.14" pos="0 0 0.165" rgba="0.66 0.68 0.7 1" class="hand"/>
      <geom type="cylinder" size="0.012 0.008" pos="0 0 0.02" rgba="0.25 0.26 0.28 1" class="hand"/>
      <geom type="cylinder" size="0.016 0.006" pos="0 0 0.006" rgba="0.12 0.12 0.14 1" class="hand"/>
    </body>
  </worldbody>
  <equality>{welds}</equality>
</mujoco>
"""


def import_mujoco() -> Any:
    """Import MuJoCo, rendering through EGL unless the user selects another way.

    Raises:
        MissingExtraError: it is not installed.
        EnvError: it cannot render.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise MissingExtraError("the table with things to pick", "robot") from error
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise EnvError(_no_drawing(error)) from error
    return mujoco


def _no_drawing(error: BaseException) -> str:
    return (
        f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {error}; install libegl1 and "
        "libgl1-mesa-dri (apt), or try MUJOCO_GL=osmesa with libosmesa6"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableItem:
    """Something for the table: its kind, colour, place and turn (radians)."""

    kind: str
    colour: str
    x: float
    y: float
    turn: float = 0.0

    @property
    def name(self) -> str:
        """Its name: ``red cube``."""
        return f"{self.colour} {self.kind}"


# The process that rendered first: a fork of it inherits a connection to the driver that does not work.
_drawing_pid: int | None = None


class TableWorld:
    """The simulation, its one camera and its hand. The model is compiled once; things are moved and painted.

    Args:
        width: pixels of the images.
        height: pixels of the images.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        EnvError: MuJoCo cannot render on this machine.
    """

    def __init__(self, width: int, height: int) -> None:
        global _drawing_pid
        self._mujoco = import_mujoco()
        if _drawing_pid not in (None, os.getpid()):
            raise EnvError(
                "MuJoCo drew in the process that this one was forked from, and would hang here; start processes with "
                "'spawn': gymnasium.make_vec(..., vectorization_mode='async', vector_kwargs={'context': 'spawn'})"
            )
        _drawing_pid = os.getpid()
        self.model = self._mujoco.MjModel.from_xml_string(_xml(width, height), {"wood.png": _wood()})
        self.data = self._mujoco.MjData(self.model)
        try:
            self._renderer = self._mujoco.Renderer(self.model, height, width)
        except Exception as error:  # each way of rendering has its own exceptions
            raise EnvError(_no_drawing(error)) from error
        self._size = (width, height)
        self.held_body: int | None = None
        # Called repeatedly while the hand moves, to record a film.
        self.watch: Callable[[], None] | None = None

    def set_up(self, objects: list[TableItem], plates: list[TableItem]) -> dict[str, int]:
        """Put things on the table, wait until they rest, and return the body number of each name."""
        mujoco, model, data = self._mujoco, self.model, self.data
        mujoco.mj_resetData(model, data)
        self.held_body = None
        bodies: dict[str, int] = {}
        free = list(enumerate(SLOTS))
        for number, (slot, kind) in enumerate(free):  # unused bodies wait on the ground, out of sight
            self._put(slot, 4.0 + 0.2 * number, 4.0, -0.7 + KINDS[kind][2], 0.0)
        for thing in objects:
            start = next(pair for pair in free if pair[1] == thing.kind)
            free.remove(start)
            name = f"object{start[0]}"
            self._put(start[0], thing.x, thing.y, KINDS[thing.kind][2], thing.turn)
            bodies[thing.name] = self._body(name)
            model.geom(name).rgba = (*COLOURS[thing.colour], 1.0)
        for number in range(NUM_PLATES):
            is_used = number < len(plates)
            place = (plates[number].x, plates[number].y, 0.0) if is_used else (4.0, -4.0, -0.69)
            model.body(f"plate{number}").pos = place
            if is_used:
                bodies[plates[number].name] = self._body(f"plate{number}")
                model.geom(f"plate{number}").rgba = (*COLOURS[plates[number].colour], 1.0)
        data.mocap_pos[0] = HOME
        mujoco.mj_forward(model, data)
        self._run(100)
        return bodies

    def camera(self) -> Camera:
        """Return the camera of the images."""
        return Camera.from_mujoco(self.model, self.data, "view", *self._size)

    def image(self) -> Image:
        """Render the camera's image."""
        self._renderer.update_scene(self.data, "view")
        return np.array(self._renderer.render())

    def depth(self) -> npt.NDArray[np.float32]:
        """Return metres along the optical axis, (height, width)."""
        self._renderer.enable_depth_rendering()
        self._renderer.update_scene(self.data, "view")
        depth = np.array(self._renderer.render())
        self._renderer.disable_depth_rendering()
        return depth

    def bodies(self) -> npt.NDArray[np.int32]:
        """Return the number of the body at each pixel, (height, width); 0 is what never moves. Privileged."""
        self._renderer.enable_segmentation_rendering()
        self._renderer.update_scene(self.data, "view")
        ids, kinds = np.moveaxis(np.array(self._renderer.render()), 2, 0)
        self._renderer.disable_segmentation_rendering()
        is_geom = kinds == int(self._mujoco.mjtObj.mjOBJ_GEOM)
        return np.where(is_geom, self.model.geom_bodyid[np.where(is_geom, ids, 0)], 0).astype(np.int32)

    def place_of(self, body: int) -> Array:
        """Return the middle of a body, (3,) metres. Privileged."""
        return np.array(self.data.xpos[body])

    def move(self, goal: Array) -> None:
        """Move the hand's tip on a straight line."""
        while (away := float(np.linalg.norm(goal - self.data.mocap_pos[0]))) > 1e-9:
            share = min(1.0, _SPEED_M_S * _STEP_S / away)
            self.data.mocap_pos[0] += share * (goal - self.data.mocap_pos[0])
            self._run(1)

    def below(self, x: float, y: float) -> tuple[float, int]:
        """Return the height of the surface under the hand at (x, y), by its sensor, and the body of that surface."""
        geom = np.array([-1], np.int32)
        start = np.array([x, y, 0.6])
        groups = np.array([1, 1, 0, 1, 1, 1], np.uint8)
        down = np.array([0.0, 0.0, -1.0])
        # The held body does not count, nor does the hand, which is group 2.
        held_body = -1 if self.held_body is None else self.held_body
        away = self._mujoco.mj_ray(self.model, self.data, start, down, groups, 1, held_body, geom)
        return 0.6 - float(away), int(self.model.geom_bodyid[geom[0]])

    def hold(self, body: int) -> None:
        """Switch the vacuum on and hold a body at the tip, in its present orientation."""
        mujoco, weld = self._mujoco, self._weld(body)
        turn, back = np.zeros(4), np.zeros(4)
        mujoco.mju_negQuat(back, self.data.mocap_quat[0])
        mujoco.mju_mulQuat(turn, back, self.data.xquat[body])
        offset = np.zeros(3)
        mujoco.mju_rotVecQuat(offset, self.data.xpos[body] - self.data.mocap_pos[0], back)
        self.model.eq_data[weld, 0:3] = 0.0
        self.model.eq_data[weld, 3:6] = offset
        self.model.eq_data[weld, 6:10] = turn
        self.data.eq_active[weld] = 1
        self.held_body = body

    def release(self) -> None:
        """Switch the vacuum off and wait until things rest."""
        if self.held_body is not None:
            self.data.eq_active[self._weld(self.held_body)] = 0
            self.held_body = None
        self._run(60)

    def close(self) -> None:
        """Free the renderers; safe to call twice."""
        with contextlib.suppress(AttributeError):
            self._renderer.close()

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._mujoco.mj_step(self.model, self.data)
            if self.watch is not None and round(self.data.time / _STEP_S) % _WATCH_EVERY == 0:
                self.watch()

    def _body(self, name: str) -> int:
        return int(self.model.body(name).id)

    def _weld(self, body: int) -> int:
        return int(self.model.equality(f"hold_{self.model.body(body).name}").id)

    def _put(self, slot: int, x: float, y: float, z: float, turn: float) -> None:
        joint = self.data.joint(f"object{slot}")
        joint.qpos = (x, y, z, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2))
        joint.qvel = 0.0


def _wood() -> bytes:
    """Return the table's boards as a PNG file."""
    file = io.BytesIO()
    boards = planks(np.random.default_rng(4), 256, 256)
    PIL.Image.blend(boards, PIL.Image.new("RGB", boards.size, (214, 186, 148)), 0.55).save(file, "PNG")
    return file.getvalue()


def _xml(width: int, height: int) -> str:
    objects = "".join(
        f'<body name="object{slot}"><freejoint name="object{slot}"/><geom name="object{slot}" type="{KINDS[kind][0]}" '
        f'size="{KINDS[kind][1]}" mass="0.05" material="thing"/></body>'
        for slot, kind in enumerate(SLOTS)
    )
    plates = "".join(
        f'<body name="plate{number}"><geom name="plate{number}" type="cylinder" size="{PLATE_RADIUS_M} 0.004" '
        f'pos="0 0 0.004" material="plate"/></body>'
        for number in range(NUM_PLATES)
    )
    welds = "".join(
        f'<weld name="hold_object{slot}" body1="hand" body2="object{slot}" active="false" solref="0.01 1"/>'
        for slot in range(len(SLOTS))
    )
    home = " ".join(f"{value:g}" for value in HOME)
    return _XML.format(step=_STEP_S, width=width, height=height, objects=objects, plates=plates, welds=welds, home=home)
