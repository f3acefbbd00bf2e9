"""Conversations from captions: questions and answers by rules or by a language model, checked against the caption."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import DataError, UsageError
from molmo_agent.files import write_whole
from molmo_agent.parse import load_json, read_bounded
from molmo_agent.pixmo.language_model.prompts import prompt
from molmo_agent.pixmo.language_model.writer import UnusableReplyError, Writer
from molmo_agent.pixmo.shards import Mapper, batches
from molmo_agent.pixmo.tables import new_folder, write_split
from molmo_agent.pixmo.words import NUMBERS, content_words, sentences

STYLES = ("short answers", "whole sentences", "multiple choice", "a curious friend", "a careful teacher")
_MAX_TURNS = 4
# Captions in one task, and prompts under way at the same time.
_BATCH, _CONCURRENCY = 200, 8
_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "gray")
_COLOUR = "|".join(_COLOURS)
_END = r"(?=[,.;:]| (?:is|are|was|were|with|on|in|at|and|of|to|that|which|beside|behind|under|near|next|from|for)\b)"
_COUNT = re.compile(
    rf"\b({'|'.join(NUMBERS[2:])}|[2-9]|1[0-2]) ((?:[a-z-]+ )?(?:[a-z-]+s|people|men|women|children)){_END}"
)
_COLOURED = re.compile(
    rf"\b((?:{_COLOUR})(?:(?:, | and )(?:{_COLOUR}))*) ([a-z]+(?: [a-z]+(?<!s)(?<!ed)(?<!ing))?){_END}"
)
_PLACE = re.compile(
    r"^(In|On|At) the (background|foreground|middle|cent(?:er|re)|top|bottom|(?:left|right)(?: side)?|"
    r"(?:upper|lower|top|bottom) (?:left|right)(?: corner)?)\b",
)
_THERE = re.compile(rf"\bthere(?: is|'s) (an? (?:[a-z-]+ )?[a-z]+){_END}", re.IGNORECASE)
_QUOTED = re.compile(r"[\"\u201c]([^\"\u201c\u201d]{1,120})[\"\u201d]")
# An answer that speaks of the text it was written from.
_OF_TEXT = re.compile(
    r"\b(?:caption|description|transcript|not (?:mention|stat|specif|describ|provid)\w*)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str


def is_answerable(caption: str, turn: Turn) -> bool:
    """Return whether a caption supports an answer: every word of it that carries meaning is there or in the question.

    A letter of a multiple choice stands for its option, which has to be in the caption itself.
    """
    options = dict(re.findall(r"^([A-H])[.)] (.+)$", turn.question, re.MULTILINE))
    answer = turn.answer.strip()
    known = content_words(caption)
    if options:
        chosen = options.get(answer.rstrip(".)"))
        others = [text for text in options.values() if text != chosen]
        supported = chosen is not None and content_words(chosen) <= known and chosen not in others
        return supported and _is_about(
            caption, content_words(chosen or ""), content_words(turn.question.split("\n")[0])
        )
    if not answer or not turn.question.strip() or _OF_TEXT.search(answer):
        return False
    words, asked = content_words(answer), content_words(turn.question)
    if words <= asked:
        # Yes, or the question said again: only if the caption says it.
        return bool(asked) and asked <= known
    return words <= known | asked and bool(words & known) and _is_about(caption, words - asked, asked)


def _is_about(caption: str, words: set[str], asked: set[str]) -> bool:
    """Return whether each number and colour is said in a sentence about what is asked, and not of something else."""
    said = [content_words(sentence) for sentence in sentences(caption)]
    exact = {word for word in words if word.isdigit() or word in _COLOURS}
    about = (asked | words) - exact - {"many", "count", "colour", "color"}
    return all(any(word in sentence and (about & sentence or not about) for sentence in said) for word in exact)


def turns_by_rules(caption: str, chance: random.Random) -> list[Turn]:
    """Return what can be asked about a caption, in random words and order, each question once."""
    found = [turn for rule in (_counts, _colours, _texts, _places, _things, _whole) for turn in rule(caption, chance)]
    chance.shuffle(found)
    unique = {turn.question: turn for turn in found}
    return list(unique.values())


def _choice(question: str, right: str, wrong: Sequence[str], chance: random.Random) -> Turn:
    options = [right, *chance.sample(list(wrong), min(3, len(wrong)))]
    chance.shuffle(options)
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False)]
    return Turn("\n".join([question, *lines]), "ABCD"[options.index(right)])


def _counts(caption: str, chance: random.Random) -> Iterator[Turn]:
    numbers: dict[str, set[str]] = {}
    for number, things in _COUNT.findall(caption):
        numbers.setdefault(things, set()).add(number)
    for things, told in numbers.items():
        if len(told) > 1:
            continue
        (number,) = told
        question = chance.choice([f"How many {things} are there?", f"How many {things} can you count?"])
        wrong = [other for other in NUMBERS[2:] if content_words(other) != content_words(number)]
        yield chance.choice(
            [
                Turn(question, number.capitalize() + "."),
                Turn(question, f"There are {number} {things}."),
                _choice(question, number, wrong, chance),
            ]
        )


def _colours(caption: str, chance: random.Random) -> Iterator[Turn]:
    colours: dict[str, set[str]] = {}
    for colour, thing in _COLOURED.findall(caption):
        colours.setdefault(thing, set()).add(colour)
    for thing, told in colours.items():
        if len(told) > 1 or not content_words(thing) or set(thing.split()) & set(_COLOURS):
            continue
        (colour,) = told
        verb = "are" if thing.endswith("s") and not thing.endswith("ss") else "is"
        question = chance.choice([f"What colour {verb} the {thing}?", f"Which colour {verb} the {thing}?"])
        wrong = [other for other in _COLOURS[:-1] if other not in caption]
        yield chance.choice(
            [
                Turn(question, colour.capitalize() + "."),
                Turn(question, f"The {thing} {verb} {colour}."),
                _choice(question, colour, wrong, chance),
            ]
        )


def _texts(caption: str, chance: random.Random) -> Iterator[Turn]:
    quotes = list(dict.fromkeys(quote.strip(" .,") for quote in _QUOTED.findall(caption)))
    if quotes:
        question = chance.choice(["What text can be read?", "Which words are written here?", "Read the text to me."])
        yield Turn(question, "\n".join(f'"{quote}"' for quote in quotes))


def _places(caption: str, chance: random.Random) -> Iterator[Turn]:
    for sentence in sentences(caption):
        found = _PLACE.match(sentence)
        if found:
            where = f"{found[1].lower()} the {found[2]}"
            yield Turn(chance.choice([f"What is {where}?", f"Describe what is {where}."]), sentence)


def _things(caption: str, chance: random.Random) -> Iterator[Turn]:
    for thing in _THERE.findall(caption):
        lower = thing[0].lower() + thing[1:]
        yield Turn(chance.choice([f"Is there {lower}?", f"Can you see {lower}?"]), f"Yes, there is {lower}.")


def _whole(caption: str, chance: random.Random) -> Iterator[Turn]:
    parts = sentences(caption)
    if parts and 4 <= len(parts[0].split()) <= 40:
        asked = ["What is this?", "Sum it up in one sentence.", "What does the image show, in short?"]
        yield Turn(chance.choice(asked), parts[0])
    if len(parts) > 2:
        asked = ["What else is there to see?", "Tell me more details.", "What else did you notice?"]
        yield Turn(chance.choice(asked), " ".join(parts[1:3]))


def turns_by_model(caption: str, chance: random.Random, writer: Writer) -> list[Turn]:
    """Return a conversation that a language model writes from a caption alone.

    Raises:
        ModelError: it gave no reply.
        DataError: its reply is not the JSON that was asked for.
    """
    count, style = str(chance.randint(1, _MAX_TURNS)), chance.choice(STYLES)
    reply = writer.write("question-writer", prompt("capqa_v1", caption=caption, turns=count, style=style))
    start, end = reply.find("["), reply.rfind("]")
    turns = load_json(reply[start : end + 1], where="the reply of the question writer")
    try:
        return [Turn(str(turn["question"]).strip(), str(turn["answer"]).strip()) for turn in turns]
    except (TypeError, KeyError) as error:
        raise DataError(f"expected questions and answers from the question writer, got {reply[:80]!r}") from error


def conversation(caption: str, chance: random.Random, writer: Writer | None = None) -> tuple[list[Turn], int]:
    """Return a conversation about a caption, possibly empty, and the number of turns that it does not support."""
    turns = turns_by_model(caption, chance, writer) if writer else turns_by_rules(caption, chance)
    good = [turn for turn in turns if is_answerable(caption, turn)]
    return good[: chance.randint(1, _MAX_TURNS)], len(turns) - len(good)


_Caption = tuple[int, str]
_Conversation = tuple[list[Turn], int] | str


def _conversations(captions: Sequence[_Caption], *, seed: int, writer: Writer | None) -> list[_Conversation]:
    """Return what :func:`conversation` returns for each caption, or why its reply was unusable."""

    def one(numbered: _Caption) -> _Conversation:
        number, caption = numbered
        try:
            return conversation(caption, random.Random(f"{seed}/{number}"), writer)
        except (DataError, UnusableReplyError) as error:
            return f"caption {number}: {error}"

    if writer is None:
        return list(map(one, captions))
    # A server answers several prompts at a time.
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        return list(pool.map(one, captions))


def make_capqa(
    captions: Path,
    out: Path,
    *,
    seed: int,
    writer: Writer | None = None,
    spread: Mapper = map,
    report: Callable[[str], object] = lambda line: None,
) -> tuple[int, int, int]:
    """Write PixMo-CapQA from captions, one conversation each, with the images that are there.

    Args:
        captions: folder of PixMo-Cap.
        out: new folder.
        seed: of the styles and the order; each caption has a generator of its own.
        writer: a language model; without one, rules write.
        spread: where; the files are the same anywhere.
        report: called with one line on each caption whose reply was unusable.

    Returns:
        The number of conversations, of their questions, and of rejected questions.

    Raises:
        UsageError: there are no captions, or none gave a conversation.
        ModelError: the language model's server failed, or its budget is used up.
    """
    problems, rows, num_turns, num_rejected = Problems(), [], 0, 0
    table, folder = Table(captions, "train", ("image_url", "caption"), problems), new_folder(out, "pixmo-cap-qa")
    source, target = ImageStore(captions / "images"), ImageStore(folder / "images")
    scanned = table.scan(("image_url", "caption"))
    known = [(n, row["image_url"], row["caption"]) for n, row in scanned if row["image_url"] and row["caption"]]
    work = batches([(number, caption) for number, _, caption in known], _BATCH)
    outcomes = chain.from_iterable(spread(partial(_conversations, seed=seed, writer=writer), work))
    for (_, url, _), outcome in zip(known, outcomes, strict=True):
        if isinstance(outcome, str):
            report(outcome)
            continue
        turns, rejected = outcome
        num_rejected += rejected
        if not turns:
            continue
        num_turns += len(turns)
        rows.append(_row(url, turns))
        image = source.path(url)
        if image.is_file() and not target.path(url).is_file():
            target.path(url).parent.mkdir(parents=True, exist_ok=True)
            write_whole(target.path(url), read_bounded(image))
    if not rows:
        raise UsageError(f"no caption in {captions} gave a question that it answers; are they in English, and long?")
    write_split(folder, "pixmo-cap-qa", rows)
    return len(rows), num_turns, num_rejected


def _row(url: str, turns: Sequence[Turn]) -> dict[str, object]:
    *before, last = turns
    # One question alone has no marks of the speakers.
    marked = "".join(f"[USER] {turn.question} [ASSISTANT] {turn.answer} " for turn in before)
    question = f"{marked}[USER] {last.question} [ASSISTANT]" if before else last.question
    messages = [text for turn in turns for text in (turn.question, turn.answer)]
    return {"image_url": url, "question": question, "answer": last.answer, "messages": messages}
