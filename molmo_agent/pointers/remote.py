"""Pointing models behind an OpenAI-compatible endpoint, such as vLLM serving Molmo. Needs the extra ``remote``."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from PIL import Image as PILImage

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.point_text.cut_off import mark_cut
from molmo_agent.point_text.parse import parse_points
from molmo_agent.pointers.served.chat import Chat
from molmo_agent.pointers.served.families import OPTIONS, Profile, profile_of, read_scale
from molmo_agent.pointers.served.network import check_url, shown_address

__all__ = ["Profile", "RemotePointer", "profile_of"]


class RemotePointer:
    """A pointing model on a server.

    The image and the instruction go to the server; a key goes to the server that it is for.

    An answer that is cut off or empty, or that comes beside others, has the status ``unparsed``, and its reply begins
    with the reason in square brackets.

    Args:
        url: of the API, such as ``http://localhost:8000/v1``.
        model: the name that the server knows it by.
        profile: what it is sent and asked, and how it writes points.
        timeout_s: seconds for one attempt.
        retries: attempts after the first one.
        concurrency: questions under way at the same time.
        max_tokens: longer answers are cut off by the server, and then are not read.

    Raises:
        UsageError: the address is not one, or a key would be sent in clear.
        ModelError: the extra is not installed, or the proxy cannot be used.
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
        self._chat = Chat(url, model, timeout_s=timeout_s, retries=retries)
        self.name, self.url, self.profile = model, url, profile
        self.concurrency, self.max_tokens = concurrency, max_tokens

    @classmethod
    def from_address(cls, address: str, **options: Any) -> "RemotePointer":
        """Read ``http://host:8000/v1#model`` or ``...#model?dialect=qwen&scale=1000``.

        Options in the address: ``dialect`` and ``scale`` (how the model writes points), ``max_tokens`` (of an answer),
        ``max_pixels`` (of the image that is sent).

        Raises:
            UsageError: no model in the address, an unknown option, or a model whose scale is not known.
        """
        # A password may hold a "#": whatever stands before an "@" there is refused.
        check_url(address.rpartition("#")[0] if "@" in address.rpartition("#")[0] else address.partition("#")[0])
        url, _, rest = address.partition("#")
        model, _, query = rest.partition("?")
        if not model:
            raise UsageError(
                "expected an address and a model, like http://host:8000/v1#Molmo-7B-D-0924, "
                f"got {shown_address(address)!r}"
            )
        asked = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := [name for name in asked if name not in OPTIONS]:
            raise UsageError(f"expected the options {', '.join(OPTIONS)} after the model's name, got {unknown[0]!r}")
        scale = read_scale(asked["scale"]) if "scale" in asked else None
        max_pixels = _positive("max_pixels", asked["max_pixels"]) if "max_pixels" in asked else None
        if "max_tokens" in asked:
            options = {"max_tokens": _positive("max_tokens", asked["max_tokens"]), **options}
        return cls(url, model, profile_of(model, asked.get("dialect"), scale, max_pixels), **options)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to.

        Raises:
            ImageError: the image is too long for the model.
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        sent = self._sent(image)
        began = time.perf_counter()
        answer = self._chat.ask(sent, self.profile.question.format(instruction), self.max_tokens)
        latency = time.perf_counter() - began
        if answer.refused:
            return PointResult(status="refused", reply=answer.text, latency_s=latency)
        if answer.doubt:
            reply = f"[{answer.doubt}] {answer.text}"
            return PointResult(status="unparsed", reply=reply, latency_s=latency, composed=True)
        parsed = parse_points(self.profile.dialect, answer.text, image_size=sent.size, scale=self.profile.scale)
        return parsed.to_result(latency_s=latency).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, some at a time."""
        if len(images) != len(instructions):
            raise ValueError(f"expected one instruction per image, got {len(images)} and {len(instructions)}")
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self.point, images, instructions))

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, some at a time, each put as it stands.

        A reply that the limit cut off ends with a mark, see :mod:`molmo_agent.point_text.cut_off`; one that must not be
        read for another reason begins with the reason in square brackets.

        Raises:
            ModelError: see :meth:`point`.
        """

        def answer(asked: tuple[Image, str]) -> str:
            given = self._chat.ask(self._sent(asked[0]), asked[1], max_new_tokens)
            if given.cut:
                return mark_cut(given.text.strip())
            doubt = "the model or its server declined" if given.refused else given.doubt
            return f"[{doubt}] {given.text}".strip() if doubt else given.text.strip()

        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(answer, list(zip(images, questions, strict=True))))

    def _sent(self, image: Image) -> PILImage.Image:
        """Return the image in the size that is sent: points refer to it."""
        whole = PILImage.fromarray(image)
        return self.profile.limits.fit(whole) if self.profile.limits else whole


def _positive(name: str, text: str) -> int:
    """Return an option of the address that is a whole number.

    Raises:
        UsageError: it is not one.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise UsageError(f"expected {name}= with a whole number, got {text!r}")
    return int(text)
