"""Write answers: chat completions, their streams of events, and points."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from molmo_agent.serve.http.problems import Problem
from molmo_agent.serve.http.questions import ChatRequest
from molmo_agent.serve.http.served_model import Question, Reply

FRAME = "fraction"
"""What x and y count: fractions of the image's width and height, from its upper left corner."""


def points_body(question: Question, reply: Reply) -> dict[str, Any]:
    """Return the points of an answer with what they refer to; nothing for an answer in words."""
    result = reply.result
    if result is None:
        return {}
    height, width = question.image.shape[:2]
    # The model rates its first point.
    probabilities = [result.confidence] + [None] * len(result.points)
    points = [
        {"x": one.point.x, "y": one.point.y, "label": one.label, "probability": probability}
        for one, probability in zip(result.points, probabilities, strict=False)
    ]
    return {"status": result.status, "points": points, "frame": FRAME, "size": [width, height]}


def usage_body(reply: Reply) -> dict[str, int]:
    """Return the tokens of an answer; 0 for models that read none."""
    asked, answered = reply.prompt_tokens, reply.completion_tokens
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def completion(request: ChatRequest, reply: Reply) -> dict[str, Any]:
    """Return a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.result is not None and reply.result.status == "refused":
        message |= {"content": None, "refusal": reply.text}
    return {
        **_head(request, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}],
        "usage": usage_body(reply),
        **points_body(request.question, reply),
    }


async def events(request: ChatRequest, pieces: AsyncIterator[str | Reply]) -> AsyncIterator[bytes]:
    """Yield a streamed chat completion, as server-sent events. The last choice has the points beside it."""
    head = _head(request, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return _event({**head, "choices": choices, **more})

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for piece in pieces:
            if isinstance(piece, str):
                if piece:
                    yield chunk({"content": piece})
                continue
            yield chunk({}, _finish(piece), **points_body(request.question, piece))
            if request.include_usage:
                yield _event({**head, "choices": [], "usage": usage_body(piece)})
    except Problem as problem:
        yield _event(problem.body())
        return
    yield b"data: [DONE]\n\n"


def _head(request: ChatRequest, kind: str) -> dict[str, Any]:
    name = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": request.model.name}


def _finish(reply: Reply) -> str:
    return "length" if reply.is_cut else "stop"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
