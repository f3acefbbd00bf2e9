"""Text of models to points and back: dialects and the strict parser."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molmo_agent.point_text.parse import (
        DIALECTS,
        InlinePoints,
        ParsedReply,
        format_inline_points,
        format_points,
        parse_points,
        parse_reference,
    )

__all__ = [
    "DIALECTS",
    "InlinePoints",
    "ParsedReply",
    "format_inline_points",
    "format_points",
    "parse_points",
    "parse_reference",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.parse"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
