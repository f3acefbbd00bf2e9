"""Text of models to points and back: dialects and the strict parser."""

from typing import TYPE_CHECKING, Any

from molmo_agent.lazy_imports import lazy_name

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
    return lazy_name(__name__, name, dict.fromkeys(__all__, "parse"))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
