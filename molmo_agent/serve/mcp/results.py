"""What the tools return, as structured content with a schema."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line
from molmo_agent.serve.outcome import Candidate, Outcome


class Size(BaseModel):
    """The screen in pixels."""

    width: int
    height: int


class Place(BaseModel):
    """A point on the screen."""

    x: float = Field(description="From the left, as a fraction of the width in [0, 1].")
    y: float = Field(description="From the top, as a fraction of the height in [0, 1].")
    x_px: int = Field(description="The same in pixels of the screen.")
    y_px: int = Field(description="The same in pixels of the screen.")
    probability: float | None = Field(None, description="How likely it is meant, in [0, 1]; null: not known.")
    label: str | None = None


class ActionResult(BaseModel):
    """What came of an action."""

    outcome: Literal["verified", "no_visible_change", "refused", "not_found", "ambiguous"] = Field(
        description="verified: done, and its effect was seen. no_visible_change: sent, and no effect was seen. "
        "refused: not allowed, or not confirmed. not_found: not on the screen. ambiguous: several places fit; name one."
    )
    message: str = Field(description="The effect or the reason, and what to do next.")
    actions: list[str] = Field(description="The inputs that were sent, in order; empty: none was.")
    candidates: list[Place] = Field(description="Where was acted, or the places that may be meant.")
    size: Size | None = None


class PointAnswer(BaseModel):
    """Where something is."""

    status: Literal["ok", "none", "unparsed", "out_of_range", "refused"] = Field(
        description="ok: points to act on. none: it is not on the screen. Otherwise the model gave no usable answer."
    )
    points: list[Place]
    none: bool = Field(description="Whether the model says that there is no such thing on the screen.")
    size: Size


class TextLine(BaseModel):
    """A line of text on the screen; its box in pixels."""

    text: str
    left: int
    top: int
    right: int
    bottom: int


class TextAnswer(BaseModel):
    """What is written on the screen."""

    lines: list[TextLine]
    size: Size


class ScreenshotAnswer(BaseModel):
    """About the image in the same result."""

    screen: Size = Field(description="The whole screen.")
    image: Size = Field(description="The image, which may be scaled down.")


def places(candidates: Sequence[Candidate], size: tuple[int, int]) -> list[Place]:
    """Return candidates on a screen of (width, height) pixels."""
    found = []
    for candidate in candidates:
        x_px, y_px = candidate.point.to_pixels(*size)
        found.append(
            Place(
                x=round(candidate.point.x, 6),
                y=round(candidate.point.y, 6),
                x_px=x_px,
                y_px=y_px,
                probability=None if candidate.probability is None else round(candidate.probability, 4),
                label=candidate.label,
            )
        )
    return found


def action_result(outcome: Outcome) -> ActionResult:
    """Return an outcome as structured content."""
    return ActionResult(
        outcome=outcome.result,
        message=outcome.message,
        actions=list(outcome.actions),
        candidates=[] if outcome.size is None else places(outcome.candidates, outcome.size),
        size=None if outcome.size is None else Size(width=outcome.size[0], height=outcome.size[1]),
    )


def text_line(line: Line, size: tuple[int, int]) -> TextLine:
    """Return a line of text with its box in pixels."""
    left, top, right, bottom = _pixels(line.box, size)
    return TextLine(text=line.text, left=left, top=top, right=right, bottom=bottom)


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    return round(box.left * width), round(box.top * height), round(box.right * width), round(box.bottom * height)
