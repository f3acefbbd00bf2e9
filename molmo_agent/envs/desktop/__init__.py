"""Real desktops as an env: capture, input, monitors, virtual displays."""

from typing import TYPE_CHECKING, Any

from molmo_agent.lazy_imports import lazy_name

if TYPE_CHECKING:
    from molmo_agent.envs.desktop.env import Desktop
    from molmo_agent.envs.desktop.gestures import Pace
    from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

# Public name -> the module that defines it.
_EXPORTS = {"Desktop": "env", "Pace": "gestures", "VirtualDisplay": "virtual_display"}

__all__ = ["Desktop", "Pace", "VirtualDisplay"]


def __getattr__(name: str) -> Any:
    return lazy_name(__name__, name, _EXPORTS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
