"""One model of a server: its name, how it is asked, and its answer as a text that says no more than its points."""

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from molmo_agent.episode import Image, PointResult
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.point_text.cut_off import is_cut, without_mark
from molmo_agent.point_text.parse import DIALECTS, Scale, format_points, parse_points
from molmo_agent.pointers.windowed import WindowedPointer
from molmo_agent.pointers.wrapped import innermost
from molmo_agent.registry import load_model, names

Kind = Literal["point", "words"]

DEFAULT_NEW_TOKENS = 256
"""Of a reply in words, where a request names no limit."""
# Points of a text and of an answer that are this near to each other, in fractions of the image, are the same.
_SAME = 0.0011
_POINT_TO = re.compile(r"\s*point (?:to|at)\s+(?=\S)", re.IGNORECASE)
_ASKS_FOR_A_POINT = re.compile(
    r"\s*(?:point|click|double-click|tap|press|select|locate|where (?:is|are))\b", re.IGNORECASE
)


@runtime_checkable
class Streamer(Protocol):
    """Answers a question about images in words, piece by piece."""

    def stream_answer(self, images: Sequence[Image], question: str, *, max_new_tokens: int) -> Iterator[str]:
        """Yield the reply in pieces."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about one image."""

    image: Image
    text: str
    kind: Kind
    # Of a reply in words.
    max_new_tokens: int = DEFAULT_NEW_TOKENS

    @property
    def key(self) -> Hashable:
        """Questions with the same key can be answered in one batch, which looks at the image once."""
        return id(self.image), self.kind, self.max_new_tokens if self.kind == "words" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: its text, and for a question of the kind "point" what is known of the points."""

    text: str
    result: PointResult | None = None
    # Whether the limit of tokens cut off a reply in words.
    is_cut: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ServedModel:
    """A pointing model with what its clients have to know.

    Args:
        model: any pointing model.
        name: what clients call it; None: the model's own name.
    """

    def __init__(self, model: PointingModel, name: str | None = None) -> None:
        self.model, self.name = model, name or model.name
        traits, inner = model_traits(model), innermost(model)
        self.answerer = traits.answerer
        profile = getattr(inner, "profile", None)
        self.dialect: str = getattr(profile, "dialect", "molmo")
        self.scale: Scale | None = getattr(profile, "scale", None)
        self.min_confidence, self.remark = traits.min_confidence, traits.remark
        # Models around others may ask them several times: then nobody counts tokens.
        counts = inner is model or isinstance(model, WindowedPointer)
        self._processor: Any = getattr(inner, "processor", None) if counts else None

    def about(self) -> dict[str, Any]:
        """Return how the model's points are to be read, for clients."""
        return {
            "dialect": self.dialect,
            "scale": self.scale if self.scale is not None else DIALECTS[self.dialect].scales[0],
            "min_confidence": self.min_confidence,
            "answers_in_words": self.answerer is not None,
            "remark": self.remark,
        }

    def kind_of(self, text: str) -> Kind:
        """Return what a message asks for: a place if it begins like one, or if the model only points."""
        return "point" if self.answerer is None or _ASKS_FOR_A_POINT.match(text) else "words"

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """Answer questions of one key. Runs in the model's thread.

        Raises:
            MolmoAgentError: the model failed.
        """
        images, texts = [one.image for one in questions], [one.text for one in questions]
        if questions[0].kind == "words":
            assert self.answerer is not None
            limit = questions[0].max_new_tokens
            replies = self.answerer.answer_batch(images, texts, max_new_tokens=limit)
            return [self._in_words(one, reply) for one, reply in zip(questions, replies, strict=True)]
        # How clients ask for a place; the model's own question is put around what remains.
        instructions = [_POINT_TO.sub("", text, count=1) for text in texts]
        results = self.model.point_batch(images, instructions)
        return [self._with_points(one, result) for one, result in zip(questions, results, strict=True)]

    def stream(self, question: Question) -> Iterator[str | Reply]:
        """Yield the pieces of a reply, then the whole one. Runs in the model's thread.

        Raises:
            MolmoAgentError: the model failed.
        """
        if question.kind == "words" and isinstance(self.answerer, Streamer):
            pieces: list[str] = []
            for piece in self.answerer.stream_answer(
                [question.image], question.text, max_new_tokens=question.max_new_tokens
            ):
                piece = piece if pieces else piece.lstrip()
                pieces.append(piece)
                yield without_mark(piece)
            yield self._in_words(question, "".join(pieces))
            return
        (reply,) = self.answer([question])
        yield reply.text
        yield reply

    def _in_words(self, question: Question, reply: str) -> Reply:
        text = without_mark(reply)
        return Reply(text=text, is_cut=is_cut(reply), **self._usage(question, text))

    def _with_points(self, question: Question, result: PointResult) -> Reply:
        height, width = question.image.shape[:2]
        text = point_text(result, self.dialect, (width, height), self.scale)
        return Reply(text=text, result=result, **self._usage(question, text))

    def _usage(self, question: Question, text: str) -> dict[str, Any]:
        """Return the tokens of a question with its image, and of its reply; none for models that read no tokens."""
        processor, tokenizer = self._processor, getattr(self._processor, "tokenizer", None)
        if tokenizer is None or not hasattr(processor, "image_block"):
            return {}
        views = [question.image.shape[:2]]
        if isinstance(self.model, WindowedPointer) and question.kind == "point":
            views = [(view.height, view.width) for view in self.model.views(question.image)]
        texts = (question.text, text)
        asked, answered = (len(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in texts)
        blocks = [len(processor.image_block(processor.image_processor.grid_of(*view)[1])) for view in views]
        return {"prompt_tokens": sum(1 + block + asked for block in blocks), "completion_tokens": answered}


def point_text(result: PointResult, dialect: str, size: tuple[int, int], scale: Scale | None = None) -> str:
    """Return an answer as text of a dialect.

    It is the model's own reply where that reads as the same points. Otherwise, such as for a reply about a part of the
    image, it is written from the points: a client that reads the text must never get a point that the answer lacks.

    Args:
        result: the answer.
        dialect: see :mod:`molmo_agent.point_text.parse`.
        size: (width, height) of the image.
        scale: of the dialect.
    """
    parsed = parse_points(dialect, result.reply, image_size=size, scale=scale)
    mine, theirs = ([one.point for one in points] for points in (result.points, parsed.points))
    if not result.composed and parsed.status == result.status and _same(mine, theirs):
        return result.reply
    if result.status == "none":
        return DIALECTS[dialect].none
    if result.status != "ok":
        return f"No answer: {result.status}."
    if DIALECTS[dialect].single and len(mine) > 1:
        return f"No answer: {len(mine)} places fit."
    label = result.points[0].label or ""
    written = format_points(dialect, mine, label, image_size=size, scale=scale)
    # A label may hold what its dialect cannot.
    if parse_points(dialect, written, image_size=size, scale=scale).status != "ok":
        written = format_points(dialect, mine, "target", image_size=size, scale=scale)
    return written


def _same(mine: Sequence[Point], theirs: Sequence[Point]) -> bool:
    if len(mine) != len(theirs):
        return False
    pairs = [np.array(sorted((point.x, point.y) for point in points)).reshape(-1, 2) for points in (mine, theirs)]
    return bool((np.abs(pairs[0] - pairs[1]) <= _SAME).all())


def load_served(name: str) -> ServedModel:
    """Load a model by its name, see :func:`molmo_agent.registry.load_model`.

    Raises:
        UnknownNameError, UsageError, ModelError: it cannot be loaded.
    """
    model = load_model(name)
    return ServedModel(model, name if name in names("model") else model.name)
