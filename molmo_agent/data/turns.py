"""Turns of a conversation, in the forms in which data sets write them: plain texts, roles and contents, LLaVA's."""

from typing import Any

IMAGE_MARK = "<image>"
"""Stands for an image in a text, as in LLaVA's files."""

_USER, _MODEL, _SYSTEM = ("user", "human"), ("assistant", "gpt", "model"), ("system",)


def turns_of(messages: Any, num_images: int | None) -> tuple[str, ...]:
    """Return questions and answers in turn; instructions of a system stand before the first question.

    Args:
        messages: texts in turn, or objects with role and content, or with from and value.
        num_images: of the record. Placeholders ``<image>`` are removed where they stand before the text or, for a
            single image, anywhere in the first question: the model reads all images before the text. None: text alone,
            in which such a placeholder is a text like any other.

    Raises:
        ValueError: the turns are not questions and answers in turn, one is empty, or an image belongs elsewhere.
    """
    if not isinstance(messages, list) or not messages:
        raise ValueError(f"expected 'messages' to be questions and answers in turn, got {messages!r:.80}")
    system = ""
    turns: list[str] = []
    for number, message in enumerate(messages):
        role, text = _message(message, number, text_alone=num_images is None)
        if role == "system" and number == 0:
            system = text
            continue
        expected = "user" if len(turns) % 2 == 0 else "assistant"
        if role != expected:
            raise ValueError(f"expected message {number + 1} to be of the {expected}, got one of the {role}")
        turns.append(text)
    if len(turns) < 2 or len(turns) % 2:
        raise ValueError(f"expected as many answers as questions, got {len(turns)} messages that end with a question")
    if num_images is not None:
        turns = without_marks(turns, num_images)
    for number, turn in enumerate(turns, 1):
        if not turn.strip():
            raise ValueError(f"{'question' if number % 2 else 'answer'} {(number + 1) // 2} is empty")
    return (f"{system}\n\n{turns[0]}" if system.strip() else turns[0], *turns[1:])


def _message(message: Any, number: int, *, text_alone: bool) -> tuple[str, str]:
    """Return the role, "user", "assistant" or "system", and the text of a message."""
    if isinstance(message, str):
        return ("user", "assistant")[number % 2], message
    if not isinstance(message, dict):
        raise ValueError(f"expected message {number + 1} to be a text or an object, got {message!r:.80}")
    speaker, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    role = next((one[0] for one in (_USER, _MODEL, _SYSTEM) if speaker in one), None)
    if role is None:
        raise ValueError(
            f"expected message {number + 1} to be of {', '.join((*_USER, *_MODEL, *_SYSTEM))}, got {speaker!r:.40}"
        )
    if isinstance(content, list):
        parts = [_part(part, number, text_alone=text_alone) for part in content]
        # A mark and a text are apart, as if they were written so.
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise ValueError(f"expected a text in message {number + 1}, got {content!r:.80}")
    return role, content


def _part(part: Any, number: int, *, text_alone: bool) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("image", "image_url") and not text_alone:
        return IMAGE_MARK
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    expected = "text" if text_alone else "text or images"
    raise ValueError(f"expected the parts of message {number + 1} to be {expected}, got {part!r:.80}")


def without_marks(turns: list[str], num_images: int) -> list[str]:
    """Return the turns without placeholders of images, which stand before the text anyway.

    Raises:
        ValueError: there is not one for each image, or one stands after a text.
    """
    marks = [turn.count(IMAGE_MARK) for turn in turns]
    if not sum(marks):
        return turns
    if sum(marks) != num_images:
        raise ValueError(f"expected {IMAGE_MARK} once for each of {num_images} images, got it {sum(marks)} times")
    if marks[0] != sum(marks):
        raise ValueError(
            f"expected {IMAGE_MARK} in the first question only, got it in a later message: the model reads all images "
            "before the text"
        )
    between = turns[0].split(IMAGE_MARK)[1:-1]
    if any(text.strip() for text in between):
        raise ValueError(
            f"a text stands between two images ({between[0].strip()!r:.60}); the model reads all images before the "
            "text: name them by their numbers instead"
        )
    first = " ".join(part.strip() for part in turns[0].split(IMAGE_MARK) if part.strip())
    return [first, *turns[1:]]
