"""Rolling out a policy in an env: the loop, guards, records, and views of them.

The package is callable: ``from molmo_agent import rollout`` gives what can be called as
:func:`molmo_agent.rollout.loop.rollout`, whichever of the two was imported first.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from molmo_agent.lazy_imports import lazy_name

if TYPE_CHECKING:
    from molmo_agent.rollout.guards import Guards
    from molmo_agent.rollout.loop import Rollout, rollout
    from molmo_agent.rollout.recorder import Recorder
    from molmo_agent.rollout.screen_changes import AT_ONCE, Settle

# Public name -> the module that defines it.
_EXPORTS = {
    "AT_ONCE": "screen_changes",
    "Guards": "guards",
    "Recorder": "recorder",
    "Rollout": "loop",
    "Settle": "screen_changes",
    "rollout": "loop",
}

__all__ = ["AT_ONCE", "Guards", "Recorder", "Rollout", "Settle", "rollout"]


def __getattr__(name: str) -> Any:
    return lazy_name(__name__, name, _EXPORTS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableModule(ModuleType):
    """A package that runs its function when it is called; importing it sets it as an attribute of molmo_agent."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("molmo_agent.rollout.loop").rollout(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
