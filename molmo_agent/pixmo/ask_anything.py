"""Answers to questions about an image by who cannot see it: from its caption, its text, and named points."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from molmo_agent.errors import ModelError
from molmo_agent.geometry import Point
from molmo_agent.pixmo.language_model.prompts import prompt
from molmo_agent.pixmo.language_model.writer import Writer
from molmo_agent.pixmo.points import label_key, to_percent
from molmo_agent.pixmo.words import content_words, sentences
from molmo_agent.point_text.parse import PLACEHOLDER

Places = Mapping[str, Sequence[Point]]
"""Names with the points that a person set."""

_REFERENCE = re.compile(r"\[\[([^\[\]]+)\]\]")


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about an image without seeing it."""

    caption: str
    # Lines of text on the image.
    lines: tuple[str, ...]
    # Name -> points that a person set.
    places: Places = field(default_factory=dict)


def answer(question: str, context: Context, rejected: Sequence[tuple[str, str]], writer: Writer | None) -> str:
    """Return an answer, which may refer to places as ``[[name]]``.

    Args:
        question: of a person who sees the image.
        context: what is known.
        rejected: earlier answers, and what was wrong with each.
        writer: a language model; without one, the sentence that fits best and was not yet rejected.

    Raises:
        ModelError: there is no (other) answer.
    """
    if writer is None:
        return _best_sentence(question, context, rejected)
    history = "\n".join(
        f"An earlier answer was rejected.\nAnswer: {text}\nWhat is wrong: {issue}\n" for text, issue in rejected
    )
    text = writer.write(
        "answerer",
        prompt(
            "answer_v1",
            caption=context.caption or "(none)",
            text="\n".join(context.lines) or "(none)",
            places="\n".join(f"- {name} ({len(points)})" for name, points in context.places.items()) or "(none)",
            question=question,
            history=history,
        ),
    ).strip()
    if not text:
        raise ModelError("expected an answer of the language model, got an empty reply; ask again")
    return text


def _best_sentence(question: str, context: Context, rejected: Sequence[tuple[str, str]]) -> str:
    wanted = content_words(" ".join([question, *(issue for _, issue in rejected)]))
    candidates = [*sentences(context.caption), *(f"The text reads \u201c{line}\u201d." for line in context.lines)]
    if context.places:
        named = [name for name in context.places if content_words(name) & wanted] or list(context.places)
        candidates = [_with_places(text, context.places) for text in candidates]
        candidates.append("Look at " + " and ".join(f"[[{name}]]" for name in named) + ".")
    old = {text for text, _ in rejected}
    fresh = [text for text in candidates if text not in old]
    if not fresh:
        raise ModelError(
            "there is no other answer in what is known about the image: describe it first, or add a writer"
        )
    return max(fresh, key=lambda text: len(content_words(text) & wanted))


def _with_places(text: str, places: Places) -> str:
    # The longest names first: "red mug" before "mug".
    names = sorted(places, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(" + "|".join(map(re.escape, names)) + r")(?!\w)", re.IGNORECASE)
    return pattern.sub(lambda found: f"[[{found[0]}]]", text)


def readable(text: str) -> str:
    """Return an answer without the marks of its places."""
    return _REFERENCE.sub(r"\1", text)


def explanation(text: str, places: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the columns of PixMo-Point-Explanations for an answer; None if it refers to no place."""
    known = {label_key(name): points for name, points in places.items()}
    inline, alt, points = [], [], []

    def place(found: re.Match[str]) -> str:
        name = found[1].strip()
        if label_key(name) not in known:
            return name
        inline.append(name)
        alt.append(name)
        points.append([dict(zip("xy", to_percent(point), strict=True)) for point in known[label_key(name)]])
        return PLACEHOLDER

    parsed = _REFERENCE.sub(place, text)
    if not points:
        return None
    return {
        "response": readable(text),
        "parsed_response": parsed,
        "alt_text": alt,
        "inline_text": inline,
        "points": points,
    }
