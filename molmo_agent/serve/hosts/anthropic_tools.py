"""Anthropic's computer tools on our screens: the toolset of 2026-08-01 and the tool versions of 2025.

The screenshots that are sent fit the API's image limits, and coordinates are pixels of the last one. Every action goes
through the guards of the session: a refusal is an error that the model reads, and an action without a visible effect is
reported as such.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from molmo_agent.errors import ActionRefused, MolmoAgentError, UsageError
from molmo_agent.serve.hosts.screen import HostScreen
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.picture import Picture, PictureLimits
from molmo_agent.serve.session import Session

try:
    from anthropic.lib.tools import ToolError
    from anthropic.tools.computer import (
        BetaAbstractComputerToolset20260801,
        BetaComputerCursorPositionResult,
        BetaScreenshotResult,
    )
except ImportError as error:
    raise UsageError("this needs the package anthropic: pip install anthropic") from error

Version = Literal["computer_20250124", "computer_20251124"]
_CLICKS: Mapping[str, tuple[Any, int]] = {
    "left_click": ("left", 1),
    "double_click": ("left", 2),
    "triple_click": ("left", 3),
    "right_click": ("right", 1),
    "middle_click": ("middle", 1),
}
# Actions of the tools that no env of ours executes: nothing here holds a button or a key from one call to the next.
NOT_POSSIBLE = ("left_mouse_down", "left_mouse_up", "hold_key")
_DONE = {"verified": "", "no_visible_change": "sent, but nothing on the screen changed"}


def run_member(screen: HostScreen, name: str, given: Mapping[str, Any]) -> Picture | tuple[int, int] | str:
    """Carry out one member of the tool: a screenshot, the place of the cursor, or a remark on an action.

    Args:
        screen: where.
        name: of the member, such as ``left_click``.
        given: its input without ``action``.

    Raises:
        ActionRefused: it was not sent, or the tool has no such member.
    """
    held = [given["text"]] if given.get("text") else []
    match name:
        case "screenshot":
            return screen.screenshot()
        case "zoom":
            return screen.zoom(_field(name, given, "region"))
        case "cursor_position":
            return screen.cursor()
        case "left_click_drag":
            path = [_field(name, given, "start_coordinate"), _field(name, given, "coordinate")]
            return _remark(screen.drag(path, held))
        case "mouse_move":
            return _remark(screen.move(_field(name, given, "coordinate")))
        case "scroll":
            direction, amount = _field(name, given, "scroll_direction"), _field(name, given, "scroll_amount")
            return _remark(screen.scroll(given.get("coordinate"), direction, amount, held))
        case "type":
            return _remark(screen.type(_field(name, given, "text")))
        case "key":
            return _remark(screen.keys(_field(name, given, "text"), given.get("repeat") or 1))
        case "wait":
            return _remark(screen.wait(_field(name, given, "duration")))
        case _ if name in _CLICKS:
            button, count = _CLICKS[name]
            return _remark(screen.click(given.get("coordinate"), button, count, held))
        case _ if name in NOT_POSSIBLE:
            raise ActionRefused(f"{name} is not possible here: no button or key is held from one call to the next")
        case _:
            raise ActionRefused(f"the computer tool has no action {name!r}")


def _field(name: str, given: Mapping[str, Any], field: str) -> Any:
    if given.get(field) is None:
        raise ActionRefused(f"{name} needs {field}")
    return given[field]


def _remark(outcome: Outcome) -> str:
    if outcome.result in _DONE:
        return _DONE[outcome.result]
    raise ActionRefused(outcome.message)


class ComputerToolset(BetaAbstractComputerToolset20260801):
    """``computer_toolset_20260801`` on one of our screens: hand it to the SDK's tool runner.

    Args:
        session: acts, with its guards.
        confirm: asks before each call, as the SDK wants it while keys may be pressed. None: the session's guards ask,
            with the target on the screen; then they must do so.
        limits: of the screenshots.
        options: those of the SDK's class, such as ``configs``.

    Raises:
        anthropic.tools.ToolsetConfigError: neither ``confirm`` nor the guards ask.
    """

    def __init__(
        self,
        session: Session,
        *,
        confirm: Callable[[Any], bool] | None = None,
        limits: PictureLimits | None = None,
        **options: Any,
    ) -> None:
        if confirm is None and session.guards.confirm != "never":
            confirm = _guards_ask
        super().__init__(confirm=confirm, **options)
        self._screen = HostScreen(session, limits)

    def _run(self, name: str, given: Any) -> Any:
        try:
            return run_member(self._screen, name, given.model_dump())
        except MolmoAgentError as error:
            raise ToolError(str(error)) from error

    def _image(self, name: str, given: Any) -> BetaScreenshotResult:
        return BetaScreenshotResult(data=self._run(name, given).base64_png(), media_type="image/png")

    def key(self, context: Any, input: Any) -> str | None:
        """Press a chord."""
        return self._run("key", input) or None

    def type(self, context: Any, input: Any) -> str | None:
        """Type a text."""
        return self._run("type", input) or None

    def cursor_position(self, context: Any, input: Any) -> BetaComputerCursorPositionResult:
        """Return where the cursor is, in pixels of the last screenshot."""
        x, y = self._run("cursor_position", input)
        return BetaComputerCursorPositionResult(x=x, y=y)

    def mouse_move(self, context: Any, input: Any) -> str | None:
        """Move the pointer."""
        return self._run("mouse_move", input) or None

    def left_click(self, context: Any, input: Any) -> str | None:
        """Click with the left button."""
        return self._run("left_click", input) or None

    def left_click_drag(self, context: Any, input: Any) -> str | None:
        """Drag in a straight line."""
        return self._run("left_click_drag", input) or None

    def right_click(self, context: Any, input: Any) -> str | None:
        """Click with the right button."""
        return self._run("right_click", input) or None

    def middle_click(self, context: Any, input: Any) -> str | None:
        """Click with the middle button."""
        return self._run("middle_click", input) or None

    def double_click(self, context: Any, input: Any) -> str | None:
        """Click twice."""
        return self._run("double_click", input) or None

    def triple_click(self, context: Any, input: Any) -> str | None:
        """Click three times."""
        return self._run("triple_click", input) or None

    def scroll(self, context: Any, input: Any) -> str | None:
        """Scroll by steps of a wheel."""
        return self._run("scroll", input) or None

    def wait(self, context: Any, input: Any) -> str | None:
        """Wait."""
        return self._run("wait", input) or None

    def screenshot(self, context: Any, input: Any) -> BetaScreenshotResult:
        """Return the screen within the image limits."""
        return self._image("screenshot", input)

    def zoom(self, context: Any, input: Any) -> BetaScreenshotResult:
        """Return a part of the screen, enlarged."""
        return self._image("zoom", input)


def _guards_ask(context: Any) -> bool:
    """Leave the question to the guards, which ask just before an input is sent and show where."""
    return True


class ComputerTool:
    """The tool ``computer`` of 2025, for loops that read ``tool_use`` blocks themselves.

    Args:
        session: acts, with its guards.
        version: of the tool.
        limits: of the screenshots.
    """

    def __init__(
        self, session: Session, version: Version = "computer_20251124", limits: PictureLimits | None = None
    ) -> None:
        self._screen, self._version = HostScreen(session, limits), version

    def definition(self) -> dict[str, Any]:
        """Return the entry of ``tools``; the display has the size of the screenshots that are sent."""
        width, height = self._screen.picture().size
        tool = {"type": self._version, "name": "computer", "display_width_px": width, "display_height_px": height}
        return {**tool, "enable_zoom": True} if self._version == "computer_20251124" else tool

    def run(self, tool_use: Any) -> dict[str, Any]:
        """Answer a ``tool_use`` block with its ``tool_result`` block."""
        given = dict(tool_use.input)
        name = str(given.pop("action", ""))
        content: list[dict[str, Any]]
        try:
            if name == "zoom" and self._version == "computer_20250124":
                raise ActionRefused("this version of the tool has no zoom")
            content, failed = [_block(run_member(self._screen, name, given))], False
        except MolmoAgentError as error:
            content, failed = [{"type": "text", "text": str(error)}], True
        return {"type": "tool_result", "tool_use_id": tool_use.id, "content": content, "is_error": failed}


def _block(result: Picture | tuple[int, int] | str) -> dict[str, Any]:
    if isinstance(result, Picture):
        source = {"type": "base64", "media_type": "image/png", "data": result.base64_png()}
        return {"type": "image", "source": source}
    text = result if isinstance(result, str) else f"X={result[0]},Y={result[1]}"
    return {"type": "text", "text": text or "done"}
