"""Asks questions on an OpenAI-compatible server. Knows nothing of points."""

import base64
import importlib
import io
import json
import time
from typing import Any

from PIL import Image as PILImage

from molmo_agent.errors import MissingExtraError, ModelError
from molmo_agent.point_text.scales import ImageSize
from molmo_agent.pointers.served.answer import Answer, read_answer, shorten, words_of_error
from molmo_agent.pointers.served.network import KEY_VARIABLE, http_client, key_for, no_way

_TEMPERATURE = 0.0
HOW_IT_ASKS = {"order": "image, then text", "system_prompt": None, "temperature": _TEMPERATURE}
"""What every request of :meth:`Chat.ask` has in common, and another client may do otherwise."""
# A longer answer is no chat completion.
_MAX_BYTES = 8_000_000
# Seconds to list a server's models after an error.
_LIST_TIMEOUT_S = 5.0


def image_part(image: PILImage.Image) -> dict[str, Any]:
    """Return the part of a message that holds an image."""
    data = io.BytesIO()
    image.save(data, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


class Chat:
    """A client of one model on one server.

    Temporary failures (429, 5xx, a cut connection, a time-out) are tried again, after the pause that the server asks
    for or with growing pauses.

    Args:
        url: of the API, such as ``http://localhost:8000/v1``.
        model: the name that the server knows it by.
        timeout_s: seconds for one attempt.
        retries: attempts after the first one.

    Raises:
        UsageError: the address is not one, or a key would be sent in clear.
        ModelError: the extra is not installed, or the proxy cannot be used.
    """

    def __init__(self, url: str, model: str, *, timeout_s: float, retries: int) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("a model on a server", "remote") from error
        self.url, self.model = url, model
        self._timeout_s, self._retries = timeout_s, retries
        self._openai: Any = openai
        self._key = key_for(url)
        http = http_client(openai, url, timeout_s)
        self._transport_errors = importlib.import_module(
            openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]
        ).HTTPError
        self._client: Any = openai.OpenAI(
            base_url=url, api_key=self._key or "none", timeout=timeout_s, max_retries=retries, http_client=http
        )

    def ask(self, image: PILImage.Image, question: str, max_tokens: int) -> Answer:
        """Ask one question about one image.

        Raises:
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        content = [image_part(image), {"type": "text", "text": question}]
        return self.complete([{"role": "user", "content": content}], max_tokens, image.size)

    def complete(
        self,
        messages: list[Any],
        max_tokens: int,
        image_size: ImageSize | None = None,
        *,
        temperature: float = _TEMPERATURE,
    ) -> Answer:
        """Continue a conversation.

        Args:
            messages: in the form of the API, images with :func:`image_part`.
            max_tokens: of the answer.
            image_size: (width, height) of an image in it, for messages.
            temperature: 0 asks for the most likely answer.

        Raises:
            ModelError: as :meth:`ask`.
        """
        for attempt in range(1 + self._retries):
            try:
                body = self._send(messages, max_tokens, temperature)
                return read_answer(body, self.url, max_tokens)
            except self._openai.APITimeoutError as error:
                raise ModelError(
                    f"{self.url} did not answer in time, {1 + self._retries} times: is it overloaded?"
                ) from error
            except self._openai.APIStatusError as error:
                raise self._refused(error, image_size, len(json.dumps(messages))) from error
            except self._openai.APIConnectionError as error:
                raise no_way(self.url, error) from error
            except self._transport_errors as error:
                # The answer began, and was cut off.
                if attempt == self._retries:
                    raise no_way(self.url, error) from error
            except self._openai.OpenAIError as error:
                raise ModelError(f"{self.url} did not answer with a chat completion: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    def _send(self, messages: list[Any], max_tokens: int, temperature: float) -> str:
        """Return the body of the answer, within the limits of time and size."""
        create = self._client.chat.completions.with_streaming_response.create
        with create(model=self.model, messages=messages, max_tokens=max_tokens, temperature=temperature) as response:
            end, body = time.monotonic() + self._timeout_s, bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ModelError(f"{self.url} sent more than {_MAX_BYTES // 1_000_000} MB for one answer")
                if time.monotonic() > end:
                    raise ModelError(f"{self.url} did not finish its answer within {self._timeout_s:g} s")
        return body.decode("utf-8", errors="replace")

    def _refused(self, error: Any, size: ImageSize | None, num_bytes: int) -> ModelError:
        """Return the error for an answer with an error status: the server's words, and what to do."""
        status, response = error.status_code, error.response
        try:
            words = words_of_error(response.text)
        except RuntimeError:
            # A body that was not read.
            words = ""
        words = words or shorten(str(error.message))
        hint = ""
        if status in (401, 403):
            hint = f"; set {KEY_VARIABLE} to the key of the server" if self._key is None else "; is the key right?"
        elif 300 <= status < 400:
            hint = f"; it points to {response.headers.get('location', 'another address')}: use that, if you trust it"
        elif status == 413:
            what = "the request is " if size is None else f"the image is {size[0]} x {size[1]}, "
            hint = (
                f"; {what}{num_bytes / 1e6:.1f} MB: allow larger requests on the server, "
                "or send less, with ?max_pixels=1000000 after the model's name"
            )
        elif status in (400, 404, 405, 422):
            hint = self._models_hint()
        elif status in (429, 503) and response.headers.get("retry-after"):
            hint = f"; it asks to wait {shorten(response.headers['retry-after'], 40)} s"
        return ModelError(self._without_key(f"{self.url} refused with status {status}: {words}{hint}"))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _models_hint(self) -> str:
        """Return which models the server offers, if the one asked for is not among them, or where its API is."""
        names = self._list_models(self.url)
        if names is not None:
            known = ", ".join(names[:20]) or "none"
            return "" if self.model in names else f"; the server offers these models: {known}"
        if not self.url.rstrip("/").endswith("/v1"):
            address = f"{self.url.rstrip('/')}/v1"
            names = self._list_models(address)
            if names is not None:
                return f"; the API is at {address}#{self.model} (models: {', '.join(names[:20]) or 'none'})"
        return "; is it the address of the API? It often ends in /v1"

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._client.close()

    def description(self) -> dict[str, Any]:
        """Return what the server's list says about the model; empty if there is no list, or the model is not in it."""
        return next((row for row in self._rows(self.url) or () if row["id"] == self.model), {})

    def _list_models(self, url: str) -> list[str] | None:
        """Return the names of a server's models, or None if there is no list at this address."""
        rows = self._rows(url)
        return None if rows is None else [shorten(str(row["id"]), 80) for row in rows]

    def _rows(self, url: str) -> list[dict[str, Any]] | None:
        """Return a server's list of models, or None if there is none at this address."""
        try:
            client = self._client.with_options(base_url=url, max_retries=0, timeout=_LIST_TIMEOUT_S)
            with client.models.with_streaming_response.list() as response:
                body = b"".join(response.iter_bytes())[:_MAX_BYTES]
            return [row for row in json.loads(body)["data"] if row["id"] is not None]
        except (self._openai.OpenAIError, self._transport_errors, ValueError, TypeError, KeyError, RecursionError):
            return None
