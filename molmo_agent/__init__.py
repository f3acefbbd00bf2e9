"""Pointing for GUI agents and robots: an instruction and an image in, points with a status out.

Importing this package loads no torch, no display and no Ray; names below are loaded when first used.
"""

import sys
from typing import TYPE_CHECKING, Any

# pip refuses older ones; this is for those who run a checkout.
if sys.version_info < (3, 11):  # noqa: UP036
    raise ImportError("molmo_agent needs Python 3.11 or newer, this is " + sys.version.split()[0])

from molmo_agent.lazy_imports import lazy_name, when_gymnasium_is_imported

if TYPE_CHECKING:
    from molmo_agent.actions import Action, Click, Done, Drag, Key, PointAt, Scroll, Type, Wait
    from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Refusal, Step, Task, Trajectory
    from molmo_agent.errors import MolmoAgentError
    from molmo_agent.geometry import Box, Point
    from molmo_agent.images import read_image
    from molmo_agent.interfaces import Env, EnvTraits, ModelTraits, PointingModel, Policy, PolicyTraits
    from molmo_agent.registry import load_env, load_model, load_policy
    from molmo_agent.rollout.guards import Guards
    from molmo_agent.rollout.loop import rollout
    from molmo_agent.rollout.recorder import Recorder

__version__ = "0.1.0"

# Public name -> the module that defines it. `rollout` is the package of that name, which can be called.
_EXPORTS = {
    "Action": "actions",
    "Box": "geometry",
    "Click": "actions",
    "Decision": "episode",
    "Done": "actions",
    "Drag": "actions",
    "Env": "interfaces",
    "EnvTraits": "interfaces",
    "Guards": "rollout.guards",
    "Key": "actions",
    "LabelledPoint": "episode",
    "ModelTraits": "interfaces",
    "MolmoAgentError": "errors",
    "Observation": "episode",
    "Point": "geometry",
    "PointAt": "actions",
    "PointResult": "episode",
    "PointingModel": "interfaces",
    "Policy": "interfaces",
    "PolicyTraits": "interfaces",
    "Recorder": "rollout.recorder",
    "Refusal": "episode",
    "Scroll": "actions",
    "Step": "episode",
    "Task": "episode",
    "Trajectory": "episode",
    "Type": "actions",
    "Wait": "actions",
    "load_env": "registry",
    "load_model": "registry",
    "load_policy": "registry",
    "read_image": "images",
}

__all__ = [
    "Action",
    "Box",
    "Click",
    "Decision",
    "Done",
    "Drag",
    "Env",
    "EnvTraits",
    "Guards",
    "Key",
    "LabelledPoint",
    "ModelTraits",
    "MolmoAgentError",
    "Observation",
    "Point",
    "PointAt",
    "PointResult",
    "PointingModel",
    "Policy",
    "PolicyTraits",
    "Recorder",
    "Refusal",
    "Scroll",
    "Step",
    "Task",
    "Trajectory",
    "Type",
    "Wait",
    "load_env",
    "load_model",
    "load_policy",
    "read_image",
    "rollout",
]


def __getattr__(name: str) -> Any:
    return lazy_name(__name__, name, {**_EXPORTS, "rollout": ""})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


when_gymnasium_is_imported("molmo_agent.registry:register_gymnasium_envs")
