"""Google's ComputerUse functions on our screens: places on a grid of 1000 by 1000, answered with a screenshot."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import ActionRefused, MolmoAgentError, UsageError
from molmo_agent.serve.hosts.screen import HostScreen
from molmo_agent.serve.outcome import Outcome
from molmo_agent.serve.picture import PictureLimits
from molmo_agent.serve.session import Session

try:
    from google.genai import types
except ImportError as error:
    raise UsageError("this needs the package google-genai: pip install google-genai") from error

# The functions for a browser's own controls; a screen has none of them apart.
EXCLUDED = ("open_web_browser", "navigate", "go_back", "go_forward", "search")
_GRID = 1000
# What `scroll_at` scrolls by where it names no distance, on the grid.
_MAGNITUDE = 800
# Pixels of the screenshot per step of a wheel, and steps where only a direction is named.
_NOTCH_PX, _PAGE_NOTCHES = 100, 5


@dataclass(frozen=True, slots=True)
class FunctionAnswer:
    """The answer to a function call."""

    # For the next request: a ``Part`` with the function response and the screenshot.
    part: Any
    # None where the call was answered without trying an action.
    outcome: Outcome | None


class ComputerTool:
    """Carries out the function calls of a model with Google's ``ComputerUse``.

    Args:
        session: acts, with its guards.
        confirm: asks a person where the API demands it, with its explanation; None: such a call is refused.
        limits: of the screenshots.
    """

    def __init__(
        self,
        session: Session,
        *,
        confirm: Callable[[str], bool] | None = None,
        limits: PictureLimits | None = None,
    ) -> None:
        self._screen, self._confirm = HostScreen(session, limits), confirm

    def definition(self) -> Any:
        """Return the entry of ``tools``, without the functions that a screen cannot execute."""
        use = types.ComputerUse(
            environment=types.Environment.ENVIRONMENT_BROWSER, excluded_predefined_functions=list(EXCLUDED)
        )
        return types.Tool(computer_use=use)

    def run(self, call: Any) -> FunctionAnswer:
        """Carry out a function call; what is not sent is an error in the answer.

        Raises:
            ActionRefused: the session is over, so no screenshot is possible.
        """
        given, response = dict(call.args or {}), {}
        outcome: Outcome
        try:
            if decision := given.pop("safety_decision", None):
                self._ask(decision)
                response["safety_acknowledgement"] = "true"
            outcome = run_function(self._screen, str(call.name), given)
        except MolmoAgentError as error:
            outcome = Outcome(result="refused", message=str(error))
        response |= {"outcome": outcome.result, "message": outcome.message}
        if outcome.result == "refused":
            response["error"] = outcome.message
        picture = self._screen.screenshot()
        blob = types.FunctionResponseBlob(mime_type="image/png", data=picture.png())
        answer = types.FunctionResponse(
            id=call.id, name=call.name, response=response, parts=[types.FunctionResponsePart(inline_data=blob)]
        )
        return FunctionAnswer(types.Part(function_response=answer), outcome)

    def _ask(self, decision: Any) -> None:
        kind = decision.get("decision") if isinstance(decision, Mapping) else None
        why = str(decision.get("explanation") or "") if isinstance(decision, Mapping) else str(decision)
        if kind == "regular":
            return
        if kind != "require_confirmation" or self._confirm is None or not self._confirm(why):
            raise ActionRefused(f"the API demands a confirmation, and it was not given: {why or decision}")


def run_function(screen: HostScreen, name: str, given: Mapping[str, Any]) -> Outcome:
    """Carry out a predefined function.

    Raises:
        ActionRefused: an argument is missing or outside the grid, or no screen executes the function.
    """
    match name:
        case "click_at":
            return screen.click(_place(screen, given))
        case "hover_at":
            return screen.move(_place(screen, given))
        case "type_text_at":
            return _type_at(screen, given)
        case "scroll_at" | "scroll_document":
            return _scroll(screen, name, given)
        case "drag_and_drop":
            return screen.drag([_place(screen, given), _place(screen, given, "destination_x", "destination_y")])
        case "key_combination":
            return screen.keys(str(_field(name, given, "keys")))
        case "wait_5_seconds":
            return screen.wait(5)
        case _ if name in EXCLUDED:
            raise ActionRefused(f"{name} is for a browser's own controls: use the controls on the screen")
        case _:
            raise ActionRefused(f"there is no function {name!r} here")


def _type_at(screen: HostScreen, given: Mapping[str, Any]) -> Outcome:
    text = str(_field("type_text_at", given, "text"))
    outcome = screen.click(_place(screen, given))
    if outcome.result == "refused":
        return outcome
    outcome = screen.type(text, replace=bool(given.get("clear_before_typing", True)))
    # Only a text that has arrived is sent.
    if outcome.result == "verified" and given.get("press_enter", True):
        outcome = screen.keys("enter")
    return outcome


def _scroll(screen: HostScreen, name: str, given: Mapping[str, Any]) -> Outcome:
    direction = _field(name, given, "direction")
    if name == "scroll_document":
        width, height = screen.picture().size
        return screen.scroll((width / 2, height / 2), direction, _PAGE_NOTCHES)
    side = screen.picture().size[direction in ("up", "down")]
    distance = _number(name, given.get("magnitude", _MAGNITUDE), "magnitude") / _GRID * side
    return screen.scroll(_place(screen, given), direction, max(1, round(distance / _NOTCH_PX)))


def _place(screen: HostScreen, given: Mapping[str, Any], x: str = "x", y: str = "y") -> tuple[float, float]:
    """Return a place of the grid in pixels of the last screenshot."""
    width, height = screen.picture().size
    return _on(given, x, width), _on(given, y, height)


def _on(given: Mapping[str, Any], field: str, side: int) -> float:
    value = _number("the function", given.get(field), field)
    if not 0 <= value <= _GRID:
        raise ActionRefused(f"expected {field} on the grid from 0 to {_GRID - 1}, got {value:g}")
    return min(math.floor(value / _GRID * side), side - 1)


def _number(name: str, value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ActionRefused(f"{name} needs the number {field}, got {value!r}")
    return value


def _field(name: str, given: Mapping[str, Any], field: str) -> Any:
    if given.get(field) is None:
        raise ActionRefused(f"{name} needs {field}")
    return given[field]
