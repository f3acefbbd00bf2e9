"""The desktop of a Wayland session: through the desktop portals, or through the protocols of wlroots compositors."""

from molmo_agent.envs.desktop.wayland.session import connect, describe, is_wayland

__all__ = ["connect", "describe", "is_wayland"]
