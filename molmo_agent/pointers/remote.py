"""Pointing models behind an OpenAI-compatible endpoint, such as vLLM serving Molmo. Needs the extra ``remote``."""

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from PIL import Image as PILImage

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.interfaces import ModelTraits, Usage, report_usage
from molmo_agent.point_text.cut_off import mark_cut, mark_no_answer
from molmo_agent.point_text.parse import DIALECTS, Scale, parse_points
from molmo_agent.pointers.served.answer import Answer
from molmo_agent.pointers.served.chat import HOW_IT_ASKS, Chat, image_part
from molmo_agent.pointers.served.families import OPTIONS, Profile, profile_of, read_scale
from molmo_agent.pointers.served.network import split_address

# Seconds to ask a server how a model writes points.
_LIST_TIMEOUT_S = 5.0

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
        min_confidence: points with a lower confidence become actions only if a person confirms them; None: all do.

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
        min_confidence: float | None = None,
    ) -> None:
        self._chat = Chat(url, model, timeout_s=timeout_s, retries=retries)
        self.name, self.url, self.profile = model, url, profile
        self.concurrency, self.max_tokens = concurrency, max_tokens
        # Tags of styles before questions are what Molmo was trained with, and no other family.
        tags = profile.dialect in ("molmo", "molmo2")
        self.traits = ModelTraits(min_confidence=min_confidence, answerer=self, style_tags=tags)

    @classmethod
    def from_address(cls, address: str, **options: Any) -> "RemotePointer":
        """Read ``http://host:8000/v1#model`` or ``...#model?dialect=qwen&scale=1000``.

        Options in the address: ``dialect`` and ``scale`` (how the model writes points), ``max_tokens`` (of an answer),
        ``max_pixels`` (of the image that is sent). Where neither the name nor an option says how the model writes
        points, the server is asked: those of ``agent serve`` list it, with the threshold of its confidence.

        Raises:
            UsageError: no model in the address, an unknown option, or a model whose scale is not known.
        """
        url, model, profile, declared = _read_address(address, options.get("timeout_s", 60.0))
        options = {**declared, **options}
        return cls(url, model, profile, **options)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to.

        Raises:
            ImageError: the image is too long for the model.
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        sent = self._sent(image)
        asked = self.profile.question.format(instruction)
        answer, latency = self._ask(sent, asked, self.max_tokens, instruction)
        if answer.refused:
            return PointResult(status="refused", reply=answer.text, latency_s=latency)
        if answer.doubt:
            reply = f"[{answer.doubt}] {answer.text}"
            return PointResult(status="unparsed", reply=reply, latency_s=latency, composed=True)
        parsed = parse_points(self.profile.dialect, answer.text, image_size=sent.size, scale=self.profile.scale)
        confidence = answer.confidence if parsed.points else None
        return parsed.to_result(latency_s=latency, confidence=confidence).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, some at a time."""
        if len(images) != len(instructions):
            raise ValueError(f"expected one instruction per image, got {len(images)} and {len(instructions)}")
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self.point, images, instructions))

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, some at a time, each put as it stands.

        A reply that the limit cut off ends with a mark; one that must not be read for another reason, such as an empty
        one, begins with another mark that has the reason: see :mod:`molmo_agent.point_text.cut_off`.

        Raises:
            ModelError: see :meth:`point`.
        """

        def answer(asked: tuple[Image, str]) -> str:
            given, _ = self._ask(self._sent(asked[0]), asked[1], max_new_tokens, asked[1])
            return _in_words(given)

        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(answer, list(zip(images, questions, strict=True))))

    def answer_parts(self, parts: Sequence[Image | str], *, max_new_tokens: int) -> str:
        """Answer a question about any number of images, each at its place; see :meth:`answer_batch`.

        Raises:
            ModelError: see :meth:`point`.
        """
        began = time.perf_counter()
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else image_part(self._sent(part)) for part in parts
        ]
        answer = self._chat.complete([{"role": "user", "content": content}], max_new_tokens)
        question = "".join(part for part in parts if isinstance(part, str))
        return _in_words(self._reported(answer, began, question))

    def close(self) -> None:
        """Close the connections to the server; safe to call twice."""
        self._chat.close()

    def _ask(self, sent: PILImage.Image, asked: str, max_tokens: int, question: str) -> tuple[Answer, float]:
        """Ask the server, report the usage under ``question``, and return the answer with the seconds that it took."""
        began = time.perf_counter()
        answer = self._reported(self._chat.ask(sent, asked, max_tokens), began, question)
        return answer, time.perf_counter() - began

    def _reported(self, answer: Answer, began: float, question: str) -> Answer:
        tokens_in, tokens_out = answer.usage or (None, None)
        seconds = time.perf_counter() - began
        report_usage(Usage(question=question, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out))
        return answer

    def _sent(self, image: Image) -> PILImage.Image:
        """Return the image in the size that is sent: points refer to it."""
        whole = PILImage.fromarray(image)
        return self.profile.limits.fit(whole) if self.profile.limits else whole


def _in_words(answer: Answer) -> str:
    """Return an answer in words, with the mark of a cut one, or of one that must not be read."""
    text = answer.text.strip()
    if answer.cut:
        return mark_cut(text)
    doubt = "the model or its server declined" if answer.refused else answer.doubt
    return mark_no_answer(doubt, text) if doubt else text


def _read_address(address: str, timeout_s: float) -> tuple[str, str, Profile, dict[str, Any]]:
    """Return (url, model, profile, options) of an address; see :meth:`RemotePointer.from_address`.

    A server of this package is asked for the profile of a model whose name says too little.

    Raises:
        UsageError, ModelError: see :class:`RemotePointer`.
    """
    url, model, asked = split_address(address, OPTIONS)
    scale = read_scale(asked["scale"]) if "scale" in asked else None
    max_pixels = _positive("max_pixels", asked["max_pixels"]) if "max_pixels" in asked else None
    options: dict[str, Any] = {}
    if "max_tokens" in asked:
        options["max_tokens"] = _positive("max_tokens", asked["max_tokens"])
    dialect = asked.get("dialect")
    try:
        profile = profile_of(model, dialect, scale, max_pixels)
    except UsageError:
        if dialect is not None or scale is not None:
            raise
        described = _described(url, model, timeout_s)
        if described is None:
            raise
        dialect, scale, min_confidence = described
        profile = profile_of(model, dialect, scale, max_pixels)
        options["min_confidence"] = min_confidence
    return url, model, profile, options


def how_asked(address: str) -> dict[str, Any]:
    """Return what decides whether a served model's scores can be reproduced, ready for JSON.

    These are the order of image and text, the system prompt, the temperature, the pixels that are sent, and the
    coordinates of its points, with the wording of a question about a point.

    Raises:
        UsageError, ModelError: see :meth:`RemotePointer.from_address`.
    """
    _, _, profile, options = _read_address(address, 60.0)
    coordinates = profile.scale or DIALECTS[profile.dialect].scales[0]
    return {
        **HOW_IT_ASKS,
        "pixels": asdict(profile.limits) if profile.limits else "as they are",
        "coordinates": "pixels of the sent image" if profile.in_pixels else f"0 to {coordinates}",
        "dialect": profile.dialect,
        "question": profile.question,
        "max_tokens": options.get("max_tokens"),
        "style_tags": profile.dialect in ("molmo", "molmo2"),
    }


def _described(url: str, model: str, timeout_s: float) -> tuple[str, Scale | None, float | None] | None:
    """Return (dialect, scale, threshold of the confidence) as a server of this package lists them; None if it does not.

    Raises:
        UsageError, ModelError: see :class:`RemotePointer`.
    """
    with contextlib.closing(Chat(url, model, timeout_s=min(timeout_s, _LIST_TIMEOUT_S), retries=0)) as chat:
        row = chat.description()
    dialect, scale, threshold = row.get("dialect"), row.get("scale"), row.get("min_confidence")
    if row.get("owned_by") != "molmo_agent" or not isinstance(dialect, str) or dialect not in DIALECTS:
        return None
    if scale is not None and (isinstance(scale, bool) or scale not in DIALECTS[dialect].scales):
        return None
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        threshold = None
    return dialect, scale, threshold


def _positive(name: str, text: str) -> int:
    """Return an option of the address that is a whole number.

    Raises:
        UsageError: it is not one.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise UsageError(f"expected {name}= with a whole number, got {text!r}")
    return int(text)
