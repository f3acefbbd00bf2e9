"""Find the option of a multiple-choice question that a reply chooses."""

from collections.abc import Callable, Sequence
from typing import Literal

from molmo_agent.evaluation.metrics.reference import Generation, ReferenceFailure
from molmo_agent.evaluation.metrics.text import edit_distance, stands_alone
from molmo_agent.evaluation.metrics.vqa import clean_vqa


def select_option(
    reply: str, options: Sequence[str], *, reference_quirks: bool = False, generation: Generation = "molmo"
) -> int | None:
    """Return the index of the option that the (cleaned) reply chooses; None if it chooses none or several.

    By default the first of these that finds something decides: the reply is the option; it names the option in a
    sentence; it is part of one option only; the smallest edit distance, unless nothing is shared. Upper and lower case
    are told apart first, so that the letter A is not the article.

    The reference always chooses: it knows no sentences, and takes the first of the nearest options for an empty or
    impossible reply. The successor ("molmo2") looks for one option at the start of the reply, and the other way round,
    before it looks for the reply in the options.

    Raises:
        ReferenceFailure: with ``reference_quirks``, two options are equal in lower case.
        ValueError: no options.
    """
    text, names = reply.strip(), [option.strip() for option in options]
    lowered, lowered_names = text.lower(), [name.lower() for name in names]
    if reference_quirks:
        return _reference_option(lowered, lowered_names, generation)
    for rule in (_same, _mentioned):
        for matches in (rule(text, names), rule(lowered, lowered_names)):
            if matches:
                return matches[0] if len(matches) == 1 else None
    containing = [i for i, name in enumerate(lowered_names) if lowered in name]
    if lowered and len(containing) == 1:
        return containing[0]
    nearest = nearest_option(lowered, lowered_names)
    name = lowered_names[nearest]
    return nearest if edit_distance(name, lowered) < max(len(name), len(lowered)) else None


def _same(text: str, names: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(names) if name == text]


def _mentioned(text: str, names: Sequence[str]) -> list[int]:
    matches = [i for i, name in enumerate(names) if name and stands_alone(name, text)]
    # "a black cat" also contains the option "cat"; the longer option counts.
    return [i for i in matches if not any(names[i] != names[j] and names[i] in names[j] for j in matches)]


def nearest_option(text: str, names: Sequence[str]) -> int:
    """Return the index of the first of the options with the smallest edit distance to the text."""
    distances = [edit_distance(name, text) for name in names]
    return distances.index(min(distances))


def _reference_option(text: str, names: list[str], generation: Generation) -> int:
    if len(set(names)) < len(names):
        raise ReferenceFailure("AssertionError", "two options are equal in lower case")
    if text in names:
        return names.index(text)
    rules: list[Callable[[str], bool]] = [text.startswith, lambda name: name.startswith(text)]
    for rule in [*(rules if generation == "molmo2" else ()), lambda name: text in name]:
        matches = [i for i, name in enumerate(names) if rule(name)]
        if len(matches) == 1:
            return matches[0]
    return nearest_option(text, names)


def real_world_qa(
    reply: str,
    answer: str,
    question_type: Literal["multiple_choice", "short_answer"],
    *,
    reference_quirks: bool = False,
) -> bool:
    """Return whether a (cleaned) RealWorldQA reply is right: a letter of A to D, or the answer after VQA clean-up."""
    if question_type == "multiple_choice":
        return select_option(reply, "ABCD", reference_quirks=reference_quirks) == "ABCD".index(answer)
    prediction, target = (clean_vqa(text, reference_quirks=reference_quirks) for text in (reply, answer))
    return prediction == target
