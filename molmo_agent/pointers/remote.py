"""Pointing models behind an OpenAI-compatible endpoint, such as vLLM serving Molmo. Needs the extra ``remote``."""

import base64
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image as PILImage

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.point_text.parse import DIALECTS, parse_points

KEY_VARIABLES = ("MOLMO_API_KEY", "OPENAI_API_KEY")
"""Environment variables that a key is taken from, the first that is set; a local server needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to talk to a model: what it was trained to be asked, and how it writes points."""

    # See molmo_agent.point_text.parse.
    dialect: str
    question: str = "Point to {}"
    # Pictures are made smaller than this before they are sent; None sends them as they are.
    max_side: int | None = None


PROFILES = {
    "molmo2": Profile(dialect="molmo2"),
    "molmo": Profile(dialect="molmo"),
    "gemini": Profile(
        dialect="gemini",
        question='Point to {}. Answer with JSON: [{{"point": [y, x], "label": "..."}}], values from 0 to 1000.',
    ),
    "qwen": Profile(
        dialect="qwen",
        question='Point to {}. Answer with JSON: [{{"point_2d": [x, y], "label": "..."}}], in pixels of the picture.',
        max_side=1280,
    ),
}
"""Known families, found by their name in the model's; more specific ones first."""


def profile_of(model: str, dialect: str | None = None) -> Profile:
    """Return the profile of a model by its name; how a model writes points is never guessed from its answers.

    Raises:
        UsageError: a name of no known family and no dialect given, or a dialect that does not exist.
    """
    if dialect is not None:
        if dialect not in DIALECTS:
            raise UsageError(f"expected one of the dialects {', '.join(DIALECTS)}, got {dialect!r}")
        return next((p for p in PROFILES.values() if p.dialect == dialect), Profile(dialect=dialect))
    plain = model.lower().replace("-", "").replace("_", "")
    for family, profile in PROFILES.items():
        if family in plain:
            return profile
    raise UsageError(
        f"{model!r} is of no family whose points are known ({', '.join(PROFILES)}); "
        f"say how it writes them: http://host:8000/v1#{model}?dialect=molmo (one of {', '.join(DIALECTS)})"
    )


class RemotePointer:
    """A pointing model on a server.

    Temporary failures (429, 5xx, a cut connection, a time-out) are tried again with growing pauses; the picture and
    the instruction go to the server, the key to nobody else.
    """

    def __init__(
        self,
        url: str,
        model: str,
        profile: Profile,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        concurrency: int = 8,
        max_tokens: int = 192,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: of the API, such as ``http://localhost:8000/v1``.
            model: the name that the server knows it by.
            profile: how to ask and how to read.
            timeout_s: seconds for one attempt.
            retries: attempts after the first one.
            concurrency: questions under way at the same time.
            max_tokens: longer answers are cut off by the server, and then do not parse.

        Raises:
            ModelError: the extra is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise ModelError("models on a server need the extra: pip install 'molmo_agent[remote]'") from error
        self._errors: Any = openai
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "none")
        self._client = openai.OpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=retries)
        self._key = key
        self.name, self.url, self.profile = model, url, profile
        self.retries, self.concurrency, self.max_tokens = retries, concurrency, max_tokens

    @classmethod
    def from_address(cls, address: str, **options: Any) -> "RemotePointer":
        """Read ``http://host:8000/v1#model`` or ``...#model?dialect=qwen``.

        Raises:
            UsageError: no model in the address, or one of an unknown family without a dialect.
        """
        url, _, rest = address.partition("#")
        model, _, query = rest.partition("?")
        if not model or not urlsplit(url).netloc:
            raise UsageError(
                f"expected an address and a model, like http://host:8000/v1#Molmo-7B-D-0924, got {address!r}"
            )
        asked = parse_qs(query)
        return cls(url, model, profile_of(model, asked.get("dialect", [None])[0]), **options)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to.

        Raises:
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        picture = self._picture(image)
        began = time.perf_counter()
        reply = self._ask(picture, self.profile.question.format(instruction), self.max_tokens)
        latency = time.perf_counter() - began
        parsed = parse_points(self.profile.dialect, reply, image_size=picture.size)
        result = PointResult(status=parsed.status, reply=reply, points=parsed.points, latency_s=latency)
        return result.at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, some at a time."""
        if len(images) != len(instructions):
            raise ValueError(f"expected one instruction per image, got {len(images)} and {len(instructions)}")
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self.point, images, instructions))

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, some at a time, each put as it stands.

        Raises:
            ModelError: see :meth:`point`.
        """

        def answer(asked: tuple[Image, str]) -> str:
            return self._ask(self._picture(asked[0]), asked[1], max_new_tokens).strip()

        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(answer, list(zip(images, questions, strict=True))))

    def _picture(self, image: Image) -> PILImage.Image:
        picture = PILImage.fromarray(image)
        if self.profile.max_side is not None:
            picture.thumbnail((self.profile.max_side, self.profile.max_side))
        return picture

    def _ask(self, picture: PILImage.Image, question: str, max_tokens: int) -> str:
        data = io.BytesIO()
        picture.save(data, "PNG")
        data_url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
        content: list[Any] = [
            {"type": "image_url", "image_url": {"url": data_url}},
            {"type": "text", "text": question},
        ]
        message: Any = {"role": "user", "content": content}
        try:
            answer = self._client.chat.completions.create(
                model=self.name, messages=[message], max_tokens=max_tokens, temperature=0.0
            )
        except self._errors.APITimeoutError as error:
            raise ModelError(
                f"{self.url} did not answer in time, {1 + self.retries} times: is it overloaded?"
            ) from error
        except self._errors.APIStatusError as error:
            problem = str(error.message).replace(self._key, "***") if self._key != "none" else str(error.message)
            hint = f"; set {KEY_VARIABLES[0]}" if error.status_code in (401, 403) else ""
            raise ModelError(f"{self.url} refused with status {error.status_code}: {problem[:300]}{hint}") from error
        except self._errors.APIConnectionError as error:
            raise ModelError(f"cannot reach {self.url}: {error.__cause__ or error}. Is the server running?") from error
        except (self._errors.OpenAIError, ValueError) as error:
            raise ModelError(f"{self.url} did not answer with a chat completion: {error}") from error
        try:
            text = answer.choices[0].message.content
        except (AttributeError, IndexError, TypeError) as error:
            raise ModelError(
                f"expected a chat completion from {self.url}, got {str(answer)[:120]!r}: is it the address of the API?"
            ) from error
        return text or ""
