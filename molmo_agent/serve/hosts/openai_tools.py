"""OpenAI's computer tool on our screens: calls with one action or with several, answered with a screenshot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.actions import Button
from molmo_agent.errors import ActionRefused
from molmo_agent.serve.hosts.screen import HostScreen
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.picture import PictureLimits
from molmo_agent.serve.session import Session

_BUTTONS: dict[str, Button] = {"left": "left", "right": "right", "wheel": "middle"}
# How long `wait` waits, in seconds: it names no time.
WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """The answer to a ``computer_call``."""

    # The item ``computer_call_output`` for the next request.
    output: dict[str, Any]
    # Those of its actions that were tried, in order; the first one that was not sent is the last.
    outcomes: tuple[Outcome, ...]

    @property
    def remarks(self) -> list[dict[str, Any]]:
        """Messages for the next request: what the screenshot does not tell, such as the reason of a refusal."""
        texts = [f"{outcome.result}: {outcome.message}" for outcome in self.outcomes if outcome.result != "verified"]
        return [{"role": "user", "content": f"The computer tool reports: {'; '.join(texts)}"}] if texts else []


class ComputerTool:
    """Carries out ``computer_call`` items.

    Args:
        session: acts, with its guards.
        acknowledge: asks a person about a pending safety check of the API; None: such a call is refused.
        limits: of the screenshots.
    """

    def __init__(
        self,
        session: Session,
        *,
        acknowledge: Callable[[Any], bool] | None = None,
        limits: PictureLimits | None = None,
    ) -> None:
        self._screen, self._acknowledge = HostScreen(session, limits), acknowledge

    def definition(self) -> dict[str, Any]:
        """Return the entry of ``tools``."""
        return {"type": "computer"}

    def run(self, call: Any) -> CallAnswer:
        """Carry out a call, and answer it with a screenshot.

        The actions of a call are carried out in order, each checked against the screen after the one before. The first
        one that is not sent ends the call.

        Raises:
            ActionRefused: a pending safety check was not acknowledged, so nothing was sent; or there is no screenshot.
        """
        checks = list(call.pending_safety_checks or ())
        for check in checks:
            if self._acknowledge is None or not self._acknowledge(check):
                raise ActionRefused(f"a safety check of the API was not acknowledged: {check.message or check.code}")
        actions = list(call.actions or ()) or ([call.action] if call.action is not None else [])
        outcomes: list[Outcome] = []
        for action in actions:
            done = run_action(self._screen, action)
            outcomes += done
            if any(outcome.result == "refused" for outcome in done):
                break
        picture = self._screen.screenshot()
        image = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{picture.base64_png()}"}
        output: dict[str, Any] = {"type": "computer_call_output", "call_id": call.call_id, "output": image}
        if checks:
            output["acknowledged_safety_checks"] = [
                {"id": check.id, "code": check.code, "message": check.message} for check in checks
            ]
        return CallAnswer(output, tuple(outcomes))


def run_action(screen: HostScreen, action: Any) -> Sequence[Outcome]:
    """Carry out one action of a call; none for a screenshot, two for a scroll in two directions."""
    held = list(getattr(action, "keys", None) or ())
    match action.type:
        case "click":
            return [click(screen, action.x, action.y, action.button, held)]
        case "double_click":
            return [screen.click((action.x, action.y), count=2, held=held)]
        case "drag":
            return [screen.drag([(place.x, place.y) for place in action.path], held)]
        case "keypress":
            return [screen.keys(action.keys)]
        case "move":
            return [screen.move((action.x, action.y))]
        case "scroll":
            return screen.scroll_by((action.x, action.y), action.scroll_x, action.scroll_y)
        case "type":
            return [screen.type(action.text)]
        case "wait":
            return [screen.wait(WAIT_S)]
        case "screenshot":
            return []
        case other:
            return [Outcome(result="refused", message=f"the computer tool has no action {other!r}")]


def click(screen: HostScreen, x: float, y: float, button: str, held: Sequence[str] = ()) -> Outcome:
    """Click with a button as the API names it."""
    if button not in _BUTTONS:
        return Outcome(result="refused", message=f"a click with the button {button!r} is not possible here")
    return screen.click((x, y), _BUTTONS[button], 1, held)
