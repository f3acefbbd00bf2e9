"""What a server answered: the text of a chat completion in the forms that servers give it, or the server's error."""

import html
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from molmo_agent.errors import ModelError
from molmo_agent.point_text.sentences import is_thinking

_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]{0,2000}>", re.DOTALL | re.IGNORECASE)
# How servers say why an answer ended, in lower case without signs. Whatever is not listed is doubtful.
_ENDINGS = ("finish_reason", "native_finish_reason", "finishReason", "done_reason")
_WHOLE = frozenset(
    (
        "",
        "stop",
        "eos",
        "eostoken",
        "endturn",
        "endofturn",
        "endoftext",
        "stopsequence",
        "complete",
        "completed",
        "finished",
    )
)
_CALLED = frozenset(("toolcalls", "toolcall", "functioncall", "tooluse"))
_CUT = frozenset(
    ("length", "maxtokens", "maxnewtokens", "maxlength", "modellength", "limit", "tokenlimit", "incomplete")
)
_CUT |= {"maxoutputtokens", "modelcontextwindowexceeded", "contextlength", "contextlengthexceeded"}
_FILTERED = frozenset(
    (
        "contentfilter",
        "contentfiltered",
        "safety",
        "recitation",
        "blocklist",
        "prohibitedcontent",
        "spii",
        "imagesafety",
    )
)
_FILTERED |= {"guardrailintervened", "errortoxic", "sensitive", "moderation", "blocked", "filtered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a model."""

    # The model's own words.
    text: str
    # Whether it declined, or the server's filter did.
    refused: bool = False
    # Why its text must not be read as an answer, for people; "" if it may be.
    doubt: str = ""
    # Whether the doubt is that it was cut off at its limit of tokens.
    cut: bool = False
    # Tokens that the server counted: of the question and of the answer; None where it does not say.
    usage: tuple[int, int] | None = None
    # Probability of the first point, from servers that send it beside the text, such as `agent serve`.
    confidence: float | None = None


def shorten(text: str, limit: int = 300) -> str:
    """Return the start of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def words_of_error(body: str) -> str:
    """Return a server's own words for an error: the message in its JSON, or the text of its page."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return shorten(html.unescape(_TAGS.sub(" ", body)))
    for _ in range(4):
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            break
        value = next((value[key] for key in ("error", "message", "detail", "msg") if value.get(key)), None)
    return shorten(value if isinstance(value, str) else body)


def read_answer(body: str, url: str, max_tokens: int) -> Answer:
    """Read the body of a successful answer, and the tokens that it cost.

    Args:
        body: JSON, or a stream of events that was not asked for.
        url: of the server, for messages.
        max_tokens: the limit that was sent, for messages.

    Raises:
        ModelError: the body is an error, or no chat completion.
    """
    whole = _completion(body, url)
    return replace(_answer(whole, body, url, max_tokens), usage=_usage(whole.get("usage")))


def _usage(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, dict):
        return None
    counts = [value.get(key) for key in ("prompt_tokens", "completion_tokens")]
    valid = all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 10**9 for count in counts)
    return (int(counts[0] or 0), int(counts[1] or 0)) if valid else None


def _answer(whole: dict[str, Any], body: str, url: str, max_tokens: int) -> Answer:
    error = whole.get("error")
    if error:
        raise ModelError(f"{url} answered with an error: {words_of_error(json.dumps({'error': error}))}")
    choices = whole.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ModelError(f"expected a chat completion from {url}, got no choices: {shorten(body, 160)!r}")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    if choice.get("error"):
        raise ModelError(f"{url} answered with an error: {words_of_error(json.dumps(choice))}")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ModelError(
            f"expected a chat completion from {url}, got a choice without a message: {shorten(body, 160)!r}"
        )
    text, refusal = _content(message.get("content"), url)
    refusal = refusal or (message["refusal"] if isinstance(message.get("refusal"), str) else "")
    thoughts = next((message[k] for k in ("reasoning_content", "reasoning") if isinstance(message.get(k), str)), "")
    calls = message.get("tool_calls")
    if message.get("function_call") and not calls:
        calls = [{"function": message["function_call"]}]
    finish, said = _finish(whole, choice)
    if refusal or finish == "refusal" or (finish in _FILTERED and not text.strip()):
        return Answer(text=refusal or text or "the server's filter stopped the answer", refused=True)
    doubt = _doubt(finish, said, bool(calls), is_thinking(text) or (bool(thoughts) and not text), max_tokens)
    if len(choices) > 1:
        doubt = f"the server sent {len(choices)} answers to one question"
    if doubt:
        return Answer(text=text or thoughts, doubt=doubt, cut=finish in _CUT)
    if calls:
        return _tool_call(text, calls)
    if not text.strip():
        what = "only thoughts and no answer" if thoughts else "an empty answer"
        return Answer(text=thoughts, doubt=f"the server sent {what}")
    return Answer(text=text, confidence=_confidence(whole))


def _confidence(whole: dict[str, Any]) -> float | None:
    """Return the probability of the first point; None if the server sends none, or something else by that name."""
    points = whole.get("points")
    first = points[0] if isinstance(points, list) and points else None
    value = first.get("probability") if isinstance(first, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _finish(whole: dict[str, Any], choice: dict[str, Any]) -> tuple[str, str]:
    """Return why an answer ended, as a plain word and in the server's own words.

    Gateways pass on the reason of the vendor behind them in a field of its own, and filters say what they took out.
    """
    reasons = [choice.get(key) for key in _ENDINGS]
    if whole.get("status") == "incomplete" or choice.get("status") == "incomplete":
        reasons.append("incomplete")
    filters = choice.get("content_filter_results")
    if isinstance(filters, dict) and any(
        isinstance(row, dict) and row.get("filtered") is True for row in filters.values()
    ):
        reasons.append("content_filter")
    ends = []
    for reason in reasons:
        # Some servers send {"type": "length", "length": 64}.
        said = reason.get("type") if isinstance(reason, dict) else reason
        if said is not None:
            ends.append((re.sub(r"[\W_]", "", str(said).lower()), shorten(str(said), 40)))
    return next((end for end in ends if end[0] not in _WHOLE), ends[0] if ends else ("", ""))


def _doubt(finish: str, said: str, has_calls: bool, thinking: bool, max_tokens: int) -> str:
    """Return why an answer that ended like this must not be read; "" if it may be."""
    if finish in _CUT:
        return _cut(thinking, max_tokens)
    if finish in _FILTERED:
        return f"the server's filter stopped the answer ({said})"
    if finish in _CALLED:
        return "" if has_calls else f"the answer ends with a call ({said}) that is not in it"
    return "" if finish in _WHOLE else f"the server broke the answer off ({said})"


def _cut(thinking: bool, max_tokens: int) -> str:
    where = "in the middle of its thoughts, before any answer" if thinking else "in the middle of its answer"
    return (
        f"the model was stopped after {max_tokens} tokens, {where}; "
        f"allow more after its name in the address: ?max_tokens={max(2048, 4 * max_tokens)}"
    )


def _completion(body: str, url: str) -> dict[str, Any]:
    """Return the completion as one object."""
    start = body.lstrip("\ufeff \t\r\n")
    if start.startswith(("data:", "event:", ":")):
        return _joined(start, url)
    try:
        value = json.loads(start)
    except (ValueError, RecursionError) as error:
        what = "a web page" if start.startswith("<") else "other text"
        raise ModelError(
            f"expected a chat completion from {url}, got {what}: {words_of_error(start)!r}; "
            "is it the address of the API? It often ends in /v1"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"expected a chat completion from {url}, got {shorten(body, 160)!r}")
    return value


def _joined(events: str, url: str) -> dict[str, Any]:
    """Return a streamed completion as a whole one."""
    message: dict[str, Any] = {"content": ""}
    ending: dict[str, Any] = {}
    ended = False
    # JSON may hold other line ends as they are, such as U+2028: they end no line of a stream.
    for line in re.split(r"\r\n|\n|\r", events):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            ended = True
            break
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"expected a chat completion from {url}, got a broken event: {shorten(data)!r}") from error
        if not isinstance(event, dict) or event.get("error"):
            return event if isinstance(event, dict) else {}
        choices = event.get("choices")
        for choice in choices[:1] if isinstance(choices, list) else []:
            delta = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                raise ModelError(f"expected a chat completion from {url}, got a broken event: {shorten(data)!r}")
            for key in ("content", "reasoning_content", "reasoning", "refusal"):
                if isinstance(delta.get(key), str):
                    message[key] = message.get(key, "") + delta[key]
            ending |= {key: choice[key] for key in _ENDINGS if choice.get(key)}
    if not ending and not ended:
        raise ModelError(f"the answer of {url} ended early: {shorten(message['content'])!r}; try again")
    return {"choices": [{"message": message, **ending}]}


def _content(content: Any, url: str) -> tuple[str, str]:
    """Return (text, refusal) of a message's content: text, a list of parts, or nothing."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    texts, refusals = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("refusal"), str):
            refusals.append(part["refusal"])
        elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            continue
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise ModelError(f"expected text in the answer of {url}, got {shorten(json.dumps(part), 120)}")
    return "".join(texts), " ".join(refusals)


def _tool_call(text: str, calls: Any) -> Answer:
    """Return the one call of an answer as text, in the form that models write calls themselves."""
    try:
        (call,) = calls
        arguments = call["function"]["arguments"]
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
        written = json.dumps({"name": call["function"]["name"], "arguments": values})
    except (ValueError, TypeError, KeyError, RecursionError):
        return Answer(text=f"{text}{json.dumps(calls)}", doubt="the server sent calls of tools that cannot be read")
    return Answer(text=f"{text}\n<tool_call>{written}</tool_call>".lstrip())
