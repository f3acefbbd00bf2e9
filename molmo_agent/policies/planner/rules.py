"""A planner without a model: fixed rules for tasks that name their steps, forms of web pages, and settings of a phone.

It shows the loop without a key. It reads the task and the words on the screen, and nothing else of the env.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.instructions.substep import SubStep
from molmo_agent.policies.planner.briefing import Briefing, Budget, PlannerReply
from molmo_agent.policies.planner.claims import compact
from molmo_agent.risk.commit_words import risky_word
from molmo_agent.screen_text import Line

Call = dict[str, Any]
_CLICKS: Mapping[str, Call] = {
    "click": {},
    "double_click": {"count": 2},
    "triple_click": {"count": 3},
    "right_click": {"button": "right"},
    "middle_click": {"button": "middle"},
}


class RulesPlanner:
    """Plans by fixed rules; it gives up on tasks that no rule knows, and after a step that failed."""

    name = "rules"
    reads_words = True
    budget = Budget()

    def propose(self, briefing: Briefing) -> PlannerReply:
        """Return the next step of the first rule that knows the task."""
        return PlannerReply(text=json.dumps(_next(briefing), ensure_ascii=False))


def _next(briefing: Briefing) -> Call:
    calls = _steps_of_form(briefing.task)
    if calls is None:
        if (goal := _read_goal(briefing.task)) is not None:
            return _explore(goal, briefing)
        calls = steps_of_list(briefing.task)
    if calls is None:
        return _call("give_up", reason="no rule knows this task; name its steps, or use a model: --planner http://...")
    if briefing.failed and not briefing.idle:
        return _call("give_up", reason=briefing.report)
    # A step that changed nothing may have found what it wanted, such as the hour that was chosen already.
    return calls[briefing.num_sent] if briefing.num_sent < len(calls) else _done(briefing, calls)


def _done(briefing: Briefing, calls: Sequence[Call]) -> Call:
    """Say done; the words of the last target that the screen shows are the evidence."""
    shown = compact(" ".join(line.text for line in briefing.lines))
    for call in reversed(calls):
        for value in (call["arguments"].get(name) for name in ("text", "target", "into")):
            for label in [*re.findall(r"\"([^\"]+)\"", value or ""), value or ""]:
                if compact(label) and compact(label) in shown:
                    return _call("done", evidence=label)
    return _call("done")


def _call(name: str, **arguments: Any) -> Call:
    return {"name": name, "arguments": {key: value for key, value in arguments.items() if value not in ("", None)}}


# --- Tasks that are lists of steps ------------------------------------------------------------------------------------


def steps_of_list(task: str) -> list[Call] | None:
    """Return the tool calls of a task in the grammar of instructions; None if it is no such task."""
    try:
        steps = split_instruction(task)
    except UsageError:
        return None
    return list(_calls(steps))


def _calls(steps: Sequence[SubStep]) -> Iterator[Call]:
    number = 0
    while number < len(steps):
        step, following = steps[number], steps[number + 1] if number + 1 < len(steps) else None
        number += 1
        if step.gesture == "click" and following and following.gesture == "type" and following.text == step.text:
            replace = following.replace or None
            yield _call("type", text=following.value, into=step.targets[0], replace=replace)
            number += 1
        else:
            yield _call_of(step)


def _call_of(step: SubStep) -> Call:
    match step.gesture:
        case "long_press":
            return _call("long_press", target=step.targets[0])
        case "move":
            return _call("hover", target=step.targets[0])
        case "drag":
            return _call("drag", **{"from": step.targets[0], "to": step.targets[1]})
        case "scroll":
            place = {"in": step.targets[0]} if step.targets else {}
            return _call("scroll", direction=step.direction, amount=int(step.amount), **place)
        case "type":
            return _call("type", text=step.value, replace=step.replace or None)
        case "key":
            return _call("press", keys=step.value.replace(" ", "+"))
        case "wait":
            return _call("wait", seconds=step.amount)
        case "open_app":
            return _call("launch", app=step.value)
        case "back" | "home":
            return _call(step.gesture)
        case "point":
            return _call("hover", target=step.targets[0])
        case _:
            return _call("click", target=step.targets[0], held=list(step.held) or None, **_CLICKS[step.gesture])


# --- Forms of web pages -----------------------------------------------------------------------------------------------


def _click(label: str, kind: str = "") -> Call:
    label = label.strip().strip('"')
    return _call("click", target=f'the "{label}" {kind}'.strip())


def _choices(match: re.Match[str]) -> list[Call]:
    names = re.split(r"\s*,\s*(?:and\s+)?", match["names"])
    if names == ["nothing"]:
        names = []
    return [*(_call("click", target=name) for name in names), _call("click", target="Submit")]


def _cased(match: re.Match[str]) -> list[Call]:
    text = match["text"].upper() if match["case"].lower() == "upper" else match["text"].lower()
    return [_call("type", text=text, into="the text field"), _call("click", target="Submit")]


def _login(match: re.Match[str]) -> list[Call]:
    return [
        _call("type", text=match["user"], into="the Username field"),
        _call("type", text=match["password"], into="the Password field"),
        _click("Login"),
    ]


def _password_twice(match: re.Match[str]) -> list[Call]:
    fields = ("the Password field", "the Verify password field")
    return [*(_call("type", text=match["password"], into=field) for field in fields), _call("click", target="Submit")]


_FORMS: tuple[tuple[str, Callable[[re.Match[str]], list[Call]]], ...] = (
    (r"Select (?P<names>(?!.* (?:from|with) the ).+) and click Submit\.?", _choices),
    (
        r'(?:Type|Enter) "(?P<text>[^"]*)" in all (?P<case>upper|lower) case letters in the text input and press '
        r"Submit\.?",
        _cased,
    ),
    (
        r'Enter the username "(?P<user>[^"]*)" and the password "(?P<password>[^"]*)" into the text fields and press '
        r"login\.?",
        _login,
    ),
    (r'Enter the password "(?P<password>[^"]*)" into both text fields and press submit\.?', _password_twice),
    (r'(?:Close|Dismiss) the dialog box by clicking the "(?P<label>[^"]*)"\.?', lambda m: [_click(m["label"])]),
    (r'Click the button in the dialog box labeled "(?P<label>[^"]*)"\.?', lambda m: [_click(m["label"], "button")]),
    (r"Focus into the (?P<field>.*?textbox)\.?", lambda m: [_call("click", target=f"the {m['field']}")]),
)


def _steps_of_form(task: str) -> list[Call] | None:
    """Return the steps of a form that a task describes in one sentence."""
    for pattern, steps in _FORMS:
        if match := re.fullmatch(pattern, task.strip(), re.IGNORECASE):
            return steps(match)
    return None


# --- Settings of a phone, and what a screen says ----------------------------------------------------------------------

_SWITCH = re.compile(
    r"(?:turn|switch) (?P<way>on|off) (?:the )?(?P<switch>[^,;.\"]+?)(?: (?:in|under) (?:the )?settings)?"
    r"(?:[,;.]? (?:and |then )*(?:tell me|what is|report) (?:the )?(?P<fact>[^,;.?]+))?[.?]?",
    re.IGNORECASE,
)
_TELL = re.compile(r"(?:tell me|what is|report|find out) (?:the )?(?P<fact>[^,;.?]+)[.?]?", re.IGNORECASE)
# Words for one setting, and pages that hold many.
_SYNONYMS = {"dark mode": "dark theme", "flight mode": "airplane mode", "night mode": "dark theme"}
_PAGES = ("about phone", "about", "display", "sound", "system", "general")
_MAX_LOOKS, _MAX_SCROLLS = 40, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """A switch to set, a fact to tell, or both."""

    switch: str = ""
    fact: str = ""


def _read_goal(task: str) -> _Goal | None:
    if match := _SWITCH.fullmatch(task.strip()):
        name = match["switch"].strip().lower()
        return _Goal(switch=_SYNONYMS.get(name, name), fact=(match["fact"] or "").strip())
    if match := _TELL.fullmatch(task.strip()):
        return _Goal(fact=match["fact"].strip())
    return None


def _explore(goal: _Goal, briefing: Briefing) -> Call:
    """Open the settings, then one page after the other, until the screen shows what is looked for."""
    earlier = [json.loads(talk.exchange.reply) for talk in briefing.talks]
    offered = {tool.name for tool in briefing.tools}
    failures = [*(talk.exchange.failed for talk in briefing.talks[1:]), briefing.failed]
    tried: list[str] = []
    for number, (call, failed) in enumerate(zip(earlier, failures, strict=False)):
        # What could not be pressed at the edge of the screen may be pressed once the view has moved.
        if call["name"] == "click" and not (failed and any(later["name"] == "scroll" for later in earlier[number:])):
            tried.append(compact(call["arguments"]["target"]))
    set_already = not goal.switch or compact(goal.switch) in tried
    wanted = goal.fact if set_already else goal.switch
    if briefing.failed and tried and tried[-1] == compact(goal.switch):
        return _call("give_up", reason=briefing.report)
    if set_already and not goal.fact:
        return _call("done", evidence=goal.switch)
    if line := _line_of(wanted, briefing.lines):
        if not set_already:
            return _call("click", target=goal.switch)
        if value := _value_of(wanted, line, briefing.lines):
            return _call("done", answer=f"{wanted} {value}", evidence=line.text)
    if len(earlier) >= _MAX_LOOKS:
        return _call("give_up", reason=f"{wanted!r} was not found in {_MAX_LOOKS} steps")
    if "launch" in offered and not any(call["name"] == "launch" for call in earlier):
        return _call("launch", app="Settings")
    # A click that failed entered no page.
    entered = bool(earlier) and earlier[-1]["name"] == "click" and not briefing.failed
    if entered and "back" in offered:
        return _call("back")
    names = [line.text for line in briefing.lines if 3 <= len(line.text) <= 30 and not risky_word(line.text)]
    pages = [name for page in _PAGES for name in names if compact(name) == compact(page) and compact(name) not in tried]
    if pages:
        return _call("click", target=pages[0])
    if "scroll" in offered and not all(call["name"] == "scroll" for call in earlier[-_MAX_SCROLLS:]):
        return _call("scroll", direction="down", amount=4)
    return _call("give_up", reason=f"{wanted!r} was not found on any page")


def _line_of(words: str, lines: Sequence[Line]) -> Line | None:
    """Return the line with a label: the label alone, or with its value behind it; a list of labels is none."""
    label = re.compile(rf"{re.escape(words)}(?:\s*[:=]\s*\S.*|\s+\S.*)?", re.IGNORECASE)
    return next((line for line in lines if label.fullmatch(line.text.strip())), None)


def _value_of(words: str, label: Line, lines: Sequence[Line]) -> str:
    """Return what stands on the line of a label behind it, else beside it, else below it."""
    if compact(label.text) != compact(words):
        return label.text[len(words) :].strip(" :")
    height = label.box.bottom - label.box.top
    beside = [
        line
        for line in lines
        if line is not label
        and line.box.left >= label.box.right
        and abs((line.box.top + line.box.bottom) / 2 - (label.box.top + label.box.bottom) / 2) < height
    ]
    below = [
        line
        for line in lines
        if label.box.bottom - height / 2 <= line.box.top <= label.box.bottom + 0.8 * height
        and abs(line.box.left - label.box.left) < 2 * height
        and line is not label
    ]
    for group in (sorted(beside, key=lambda line: line.box.left), sorted(below, key=lambda line: line.box.top)):
        if group:
            return group[0].text
    return ""
