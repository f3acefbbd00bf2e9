"""Conversations as transformers' chat templates have them: which roles and parts there are, and where pictures are.

A part that Molmo cannot take is refused, because a model that answers without it looks as if it had seen it.
"""

import base64
import binascii
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from molmo_agent.errors import ImageError

_FETCH_TIMEOUT_S = 30.0
_MOST_BYTES = 64 * 2**20
# Where transformers looks for the picture of a part.
_SOURCES = ("image", "url", "path", "base64")

# The "role" format of training: " User: question Assistant:", then " answer" + EOS, turn by turn. The model knows no
# system role: such text precedes the first question, as style prefixes did (docs/reference/prompts.md).
CHAT_TEMPLATE = """\
{%- if tools or documents -%}
  {{- raise_exception('Molmo knows no tools and no documents: put what the model should know into the question') -}}
{%- endif -%}
{%- set state = namespace(system='', turn='user') -%}
{%- for message in messages -%}
  {%- set role = message['role'] -%}
  {%- if message['tool_calls'] is defined and message['tool_calls'] -%}
    {{- raise_exception('Molmo knows no tools: remove tool_calls from the conversation') -}}
  {%- endif -%}
  {%- if message['content'] is not defined or message['content'] is none -%}
    {{- raise_exception('expected content in each message, got none in message ' ~ loop.index) -}}
  {%- endif -%}
  {%- set words = namespace(text='', first=true) -%}
  {%- if message['content'] is string -%}
    {%- set words.text = message['content'] -%}
  {%- else -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] == 'text' -%}
        {%- set words.text = words.text + ('' if words.first else ' ') + part['text'] -%}
        {%- set words.first = false -%}
      {%- elif part['type'] not in ['image', 'image_url'] -%}
        {{- raise_exception('Molmo takes text and images, got a part of type ' ~ part['type']) -}}
      {%- elif role != 'user' -%}
        {{- raise_exception('expected images in messages of the user, got one of the role ' ~ role) -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if role in ['system', 'developer'] and loop.first -%}
    {%- set state.system = words.text + ' ' if words.text else '' -%}
  {%- elif role == 'user' and state.turn == 'user' -%}
    {{- ' User: ' + state.system + words.text -}}
    {%- if not loop.last or add_generation_prompt -%}{{- ' Assistant:' -}}{%- endif -%}
    {%- set state.system = '' -%}
    {%- set state.turn = 'assistant' -%}
  {%- elif role == 'assistant' and state.turn == 'assistant' -%}
    {%- generation -%}{{- ' ' + words.text + eos_token -}}{%- endgeneration -%}
    {%- set state.turn = 'user' -%}
  {%- else -%}
    {{- raise_exception('expected roles in the order user, assistant, user, ... (one system message may precede), but '
      'message ' ~ loop.index ~ ' is of the role ' ~ role ~ '; join messages of one role into one') -}}
  {%- endif -%}
{%- endfor -%}
{%- if state.system -%}
  {{- raise_exception('expected a message of the role user after the system message, got none') -}}
{%- endif -%}
{%- if add_generation_prompt and state.turn == 'user' -%}
  {{- raise_exception('expected a question to answer, but the conversation ends with an answer: '
    'set continue_final_message=True to go on with it, or add a message of the role user') -}}
{%- endif -%}
"""


def with_read_pictures(conversation: Any) -> Any:
    """Return a conversation, or a list of them, whose pictures are what :func:`molmo_agent.images.read_image` reads.

    Addresses are fetched; data URIs and base64 are decoded; ``file://`` becomes a path.

    Raises:
        ValueError: a picture's part holds no picture, or several.
        ImageError: one cannot be fetched or decoded.
    """
    if isinstance(conversation, Mapping):
        content = conversation.get("content")
        if isinstance(content, str) or content is None:
            return conversation
        return {**conversation, "content": [_with_picture(part) for part in content]}
    if isinstance(conversation, Sequence) and not isinstance(conversation, str):
        return [with_read_pictures(message) for message in conversation]
    if hasattr(conversation, "messages"):
        return with_read_pictures(conversation.messages)
    return conversation


def picture_parts(conversation: Any) -> Iterator[Any]:
    """Yield the parts of a conversation, or of several, that are pictures."""
    if isinstance(conversation, Mapping):
        content = conversation.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            if isinstance(part, Mapping) and part.get("type") in ("image", "image_url"):
                yield part
    elif isinstance(conversation, Sequence) and not isinstance(conversation, str):
        for message in conversation:
            yield from picture_parts(message)
    elif hasattr(conversation, "messages"):
        yield from picture_parts(conversation.messages)


def is_placeholder(part: Mapping[str, Any]) -> bool:
    """Return whether a picture's part only says where a picture is that is passed separately."""
    return not sources_of(part)


def sources_of(part: Mapping[str, Any]) -> list[Any]:
    """Return what a picture's part names as its picture: one source where all is well."""
    if part.get("image_url") is not None:
        address = part["image_url"]
        return [address.get("url", "") if isinstance(address, Mapping) else address]
    return [part[key] for key in _SOURCES if part.get(key) is not None]


def _with_picture(part: Any) -> Any:
    if not isinstance(part, Mapping) or part.get("type") not in ("image", "image_url"):
        return part
    sources = sources_of(part)
    if len(sources) != 1:
        found = ", ".join(key for key in part if key != "type") or "nothing"
        raise ValueError(
            f"expected the picture of an image part under one of {', '.join(_SOURCES)}, got {found}: the picture would "
            "not be looked at"
        )
    return {"type": "image", "image": readable(sources[0], is_base64=part.get("base64") is not None)}


def readable(source: Any, *, is_base64: bool = False) -> Any:
    """Return what :func:`molmo_agent.images.read_image` takes for a picture of a chat.

    Args:
        source: an address (http, https, file, data), base64, or what ``read_image`` takes.
        is_base64: whether a text without a scheme is base64, not a path.

    Raises:
        ImageError: it cannot be fetched or decoded.
    """
    if not isinstance(source, str):
        return source
    scheme = urlsplit(source[:16]).scheme.lower() if ":" in source[:16] else ""
    if scheme in ("http", "https"):
        return _fetched(source)
    if scheme == "file":
        return urllib.request.url2pathname(urlsplit(source).path)
    if scheme == "data":
        head, _, data = source.partition(",")
        return _decoded(data) if head.endswith(";base64") else unquote(data).encode("latin-1")
    return _decoded(source) if is_base64 else source


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"expected a picture in base64, but it cannot be decoded: {error}") from error


def _fetched(address: str) -> bytes:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "molmo_agent"})
        with urllib.request.urlopen(request, timeout=_FETCH_TIMEOUT_S) as answer:
            data: bytes = answer.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
        raise ImageError(f"cannot fetch the picture {address}: {error}; download it and give its path") from error
    if len(data) > _MOST_BYTES:
        raise ImageError(f"expected a picture of at most {_MOST_BYTES // 2**20} MiB at {address}, got more")
    return data
