"""Docstrings without Sphinx's roles: ``:class:`~molmo_agent.geometry.Point``` becomes ``Point`` in code type."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|data|meth|attr|mod):`(~?)([^`]+)`")


def _plain(role: re.Match[str]) -> str:
    name = role[2].rpartition(".")[2] if role[1] else role[2]
    return f"`{name}`"


class PlainRoles(griffe.Extension):
    """Replaces roles when an object is loaded, before its docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(_plain, obj.docstring.value)
