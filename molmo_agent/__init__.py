"""Pointing for GUI agents and robots: an instruction and a picture in, a point known to be right out.

Importing this package loads no torch, no display and no Ray; names below are loaded when first used.
"""

import importlib
import sys
from typing import Any

# pip refuses older ones; this is for those who run a checkout.
if sys.version_info < (3, 11):  # noqa: UP036
    raise ImportError("molmo_agent needs Python 3.11 or newer, this is " + sys.version.split()[0])

__version__ = "0.1.0"

# Public name -> the module that defines it.
_EXPORTS = {
    "Action": "actions",
    "Box": "geometry",
    "Click": "actions",
    "Decision": "episode",
    "Done": "actions",
    "Drag": "actions",
    "Env": "interfaces",
    "Key": "actions",
    "LabelledPoint": "episode",
    "MolmoAgentError": "errors",
    "Observation": "episode",
    "Point": "geometry",
    "PointResult": "episode",
    "PointingModel": "interfaces",
    "Policy": "interfaces",
    "Scroll": "actions",
    "Step": "episode",
    "Task": "episode",
    "Trajectory": "episode",
    "Type": "actions",
    "Wait": "actions",
    "load_env": "registry",
    "load_model": "registry",
    "load_policy": "registry",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
