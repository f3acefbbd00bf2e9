"""Read the bodies of requests: JSON in, a question with its image out. Unknown fields are ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import DataError, UnknownNameError
from molmo_agent.parse import load_json
from molmo_agent.serve.http.images import ImageStore
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.problems import Problem
from molmo_agent.serve.http.served_model import DEFAULT_NEW_TOKENS, Kind, Question, ServedModel

# Fields of a chat that would change the answer in a way that these models do not have -> values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "functions": (None, []),
    "logprobs": (None, False),
    "stop": (None, [], ""),
    "response_format": (None, {"type": "text"}),
    "audio": (None,),
}
_KINDS: tuple[Kind, ...] = ("point", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request for a chat completion."""

    model: ServedModel
    question: Question
    stream: bool
    include_usage: bool


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        Problem: it is something else.
    """
    try:
        value = load_json(body, where="the request")
    except DataError as error:
        raise Problem(400, str(error), code="invalid_json") from error
    if not isinstance(value, dict):
        raise Problem(400, f"expected the request to be a JSON object, got {type(value).__name__}", code="invalid_json")
    return value


def choose(models: Mapping[str, ServedModel], name: Any) -> ServedModel:
    """Return the model of a request; the first one where the request names none.

    Raises:
        Problem: there is no such model; the message suggests similar names.
    """
    if name is None:
        return next(iter(models.values()))
    if not isinstance(name, str):
        raise Problem(400, f"expected 'model' to be a name, got {type(name).__name__}", param="model")
    if name not in models:
        message = str(UnknownNameError("model", name[:100], models))
        raise Problem(404, message, code="model_not_found", param="model")
    return models[name]


async def read_chat(
    body: Mapping[str, Any], models: Mapping[str, ServedModel], images: ImageStore, limits: Limits
) -> ChatRequest:
    """Read a request for a chat completion: the last message of the user, and the last image up to there.

    Raises:
        Problem: a field is wrong.
    """
    model = choose(models, body.get("model"))
    for field, harmless in _UNSUPPORTED.items():
        if body.get(field) not in harmless:
            raise Problem(400, f"{field!r} is not supported; leave it out", code="unsupported", param=field)
    text, url = _last_question(body.get("messages"))
    text = _text(text, "messages", limits)
    kind = body.get("task")
    if kind is not None and kind not in _KINDS:
        raise Problem(400, f"expected 'task' to be one of {', '.join(_KINDS)}, got {str(kind)[:40]!r}", param="task")
    kind = kind or model.kind_of(text)
    if kind == "words" and model.answerer is None:
        raise Problem(400, f"{model.name} only points; ask where something is", code="unsupported", param="task")
    stream = _flag(body, "stream")
    options = body.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    most = _max_tokens(body, limits)
    image = await images.read(url)
    question = Question(image=image, text=text, kind=kind, max_new_tokens=most)
    return ChatRequest(model=model, question=question, stream=stream, include_usage=include_usage)


async def read_point(
    body: Mapping[str, Any], models: Mapping[str, ServedModel], images: ImageStore, limits: Limits
) -> tuple[ServedModel, Question]:
    """Read a request for points: ``{"image": "data:...", "instruction": "...", "model": "..."}``.

    Raises:
        Problem: a field is wrong.
    """
    model = choose(models, body.get("model"))
    text = _text(body.get("instruction"), "instruction", limits)
    if "image" not in body:
        raise Problem(400, "expected 'image' with a data URL, got no such field", param="image")
    return model, Question(image=await images.read(body["image"]), text=text, kind="point")


def _text(value: Any, field: str, limits: Limits) -> str:
    if not isinstance(value, str) or not value.strip():
        got = "an empty text" if isinstance(value, str) else type(value).__name__
        raise Problem(400, f"expected {field!r} to hold a question, got {got}", param=field)
    if len(value) > limits.max_text_chars:
        raise Problem(
            400,
            f"expected a question of at most {limits.max_text_chars} characters, got {len(value)}",
            code="text_too_long",
            param=field,
        )
    return value


def _flag(body: Mapping[str, Any], field: str) -> bool:
    value = body.get(field)
    if value not in (None, True, False):
        raise Problem(400, f"expected {field!r} to be true or false, got {type(value).__name__}", param=field)
    return bool(value)


def _max_tokens(body: Mapping[str, Any], limits: Limits) -> int:
    """Return the limit of a reply in words; larger ones than the server's are the server's."""
    field = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    value = body.get(field)
    if value is None:
        return DEFAULT_NEW_TOKENS
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Problem(400, f"expected {field!r} to be a whole number from 1, got {str(value)[:40]}", param=field)
    return min(value, limits.max_new_tokens)


def _last_question(messages: Any) -> tuple[str, Any]:
    """Return the text of the user's last message, and the URL of the last image."""
    if not isinstance(messages, list) or not messages:
        raise Problem(400, "expected 'messages' with at least one message of the user, got none", param="messages")
    text, url = "", None
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Problem(400, "expected every message to be an object with a 'role'", param="messages")
        if message["role"] != "user":
            continue
        texts, urls = _parts(message.get("content"))
        if len(urls) > 1:
            raise Problem(400, f"expected one image per question, got {len(urls)}", code="images", param="messages")
        text, url = "\n".join(texts), (urls[0] if urls else url)
    if messages[-1]["role"] != "user":
        raise Problem(400, f"expected the last message to be the user's, got {messages[-1]['role'][:40]!r}")
    if url is None:
        raise Problem(
            400, "expected an image: a part of the type 'image_url' with a data URL", code="no_image", param="messages"
        )
    return text, url


def _parts(content: Any) -> tuple[list[str], list[Any]]:
    """Return the texts and the URLs of the images of one message."""
    if isinstance(content, str):
        return [content], []
    texts: list[str] = []
    urls: list[Any] = []
    parts: Sequence[Any] = content if isinstance(content, list) else [content]
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url":
            value = part.get("image_url")
            urls.append(value.get("url") if isinstance(value, dict) else value)
        else:
            raise Problem(
                400,
                f"expected parts of the type 'text' or 'image_url' in a message, got {str(kind)[:40]!r}",
                param="messages",
            )
    return texts, urls
