"""Ways to decode an answer about a picture that is in the cache already; ids in, ids out. Knows no images.

``greedy`` decodes several questions at once. ``drafted`` gives the same answer to one question in fewer passes, by
checking guesses of what comes next. ``constrained`` can only give a well-formed answer, and feeds whatever the form
dictates in the same pass as the digits that the model chose.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of BOS and a picture; shared, never changed."""

    # Per layer: (1, H, length, K) keys and values.
    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int

    @classmethod
    def of(cls, cache: DynamicCache) -> "Prefix":
        """Take what a cache holds."""
        layers: Any = cache.layers
        return cls(tuple((layer.keys, layer.values) for layer in layers), cache.get_seq_length())

    def fork(self, rows: int = 1) -> DynamicCache:
        """Return a cache that begins with this prefix, once per row."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        return cache


@dataclass(slots=True)
class Decoded:
    """An answer's ids without the closing EOS."""

    ids: list[int]
    # Forward passes through the decoder, the one over the question included.
    passes: int
    # Free decoding: the model's probability of each id.
    chances: list[float] = field(default_factory=list)
    # Constrained decoding: of each point, the probability that there is something to point at, times that of its whole
    # percents; each among what could have stood there.
    confidences: list[float] = field(default_factory=list)


Finished = Callable[[list[int]], bool]


def greedy(
    model: Any, prefix: Prefix, rows: Sequence[list[int]], *, eos: int, max_new_tokens: int, finished: Finished
) -> list[Decoded]:
    """Decode one answer per row of prompt ids, all at once.

    Args:
        model: the model.
        prefix: the picture.
        rows: prompts; padded on the left here, and the pads take no positions.
        eos: id that ends an answer.
        max_new_tokens: longer answers are cut off.
        finished: tells whether an answer is complete before its EOS, which is then not waited for.
    """
    device, length = model.device, max(map(len, rows))
    cache = prefix.fork(len(rows))
    ids = torch.tensor([[eos] * (length - len(row)) + row for row in rows], device=device)
    valid = torch.ones(len(rows), prefix.length + length, dtype=torch.long, device=device)
    for i, row in enumerate(rows):
        valid[i, prefix.length : prefix.length + length - len(row)] = 0
    answers = [Decoded([], 0) for _ in rows]
    running = set(range(len(rows)))
    for _ in range(max_new_tokens):
        logits = model(input_ids=ids, attention_mask=valid, cache=cache, use_cache=True, logits_to_keep=1).logits
        best, chosen = logits[:, -1].float().softmax(-1).max(-1)
        for i, (token, chance) in enumerate(zip(chosen.tolist(), best.tolist(), strict=True)):
            if i not in running:
                continue
            answers[i].passes += 1
            if token == eos:
                running.discard(i)
                continue
            answers[i].ids.append(token)
            answers[i].chances.append(chance)
            if finished(answers[i].ids):
                running.discard(i)
        if not running:
            break
        ids = chosen[:, None]
        valid = torch.cat([valid, valid.new_ones(len(rows), 1)], dim=1)
    return answers


class Reader:
    """Feeds one row behind a picture and counts passes."""

    def __init__(self, model: Any, prefix: Prefix) -> None:
        self.model, self.cache, self.passes = model, prefix.fork(), 0

    def feed(self, ids: Sequence[int], keep: int = 1) -> Tensor:
        """Return (keep, V) logits of the last ``keep`` positions after feeding ids."""
        self.passes += 1
        row = torch.tensor([list(ids)], device=self.model.device)
        logits: Tensor = self._run(row, keep).logits[0].float()
        return logits

    def forget(self, count: int) -> None:
        """Drop the last ``count`` positions."""
        if count:
            self.cache.crop(-count)

    def _run(self, row: Tensor, keep: int) -> Any:
        return self.model(input_ids=row, cache=self.cache, use_cache=True, logits_to_keep=keep)


def drafted(
    reader: Reader,
    row: list[int],
    *,
    eos: int,
    max_new_tokens: int,
    finished: Finished,
    draft: Callable[[list[int]], list[int]],
) -> Decoded:
    """Decode one answer, the one that greedy decoding gives, with fewer passes.

    Args:
        reader: the model behind a picture.
        row: the prompt.
        eos: id that ends an answer.
        max_new_tokens: longer answers are cut off.
        finished: tells whether an answer is complete before its EOS.
        draft: guesses what follows an answer so far, which may be empty; guesses are checked, a wrong one costs width.
    """
    answer = Decoded([], 0)
    pending = row
    while len(answer.ids) < max_new_tokens:
        guess = draft(answer.ids)
        best, ids = reader.feed([*pending, *guess], keep=len(guess) + 1).softmax(-1).max(-1)
        chosen, chances = ids.tolist(), best.tolist()
        right = 0
        while right < len(guess) and guess[right] == chosen[right]:
            right += 1
        reader.forget(len(guess) - right)
        for token, chance in zip(chosen[: right + 1], chances, strict=False):
            if token == eos or len(answer.ids) == max_new_tokens:
                answer.passes = reader.passes
                return answer
            answer.ids.append(token)
            answer.chances.append(chance)
            if finished(answer.ids):
                answer.passes = reader.passes
                return answer
        pending = [chosen[right]]
    answer.passes = reader.passes
    return answer


NUMBER = re.compile(r"(?:100\.0|\d{1,2}\.\d)")
"""A coordinate: a percentage with one decimal."""


@lru_cache(maxsize=1024)
def number_begins(text: str) -> bool:
    """Tell whether a text is the beginning of a coordinate, or a whole one."""
    return re.fullmatch(r"|\d{1,2}(\.\d?)?|10(0(\.0?)?)?", text) is not None


@dataclass(frozen=True, slots=True)
class Form:
    """The pieces of a well-formed answer in the dialect ``molmo``, as ids of a tokenizer."""

    encode: Callable[[str], list[int]]
    # Ids that spell nothing but digits and dots, with what they spell.
    digits: dict[int, str]

    @classmethod
    def of(cls, tokenizer: Any) -> "Form":
        """Find the digits of a tokenizer."""
        digits = {}
        for id_ in range(len(tokenizer)):
            text = tokenizer.decode([id_])
            if text and number_begins(text):
                digits[id_] = text
        for id_ in tokenizer.convert_tokens_to_ids(["."]):
            digits[id_] = "."
        return cls(lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]), digits)


def _number(reader: Reader, form: Form, logits: Tensor) -> tuple[str, list[int], float]:
    """Choose one coordinate from (V,) logits on; return its text, the ids not fed yet, and its probability."""
    text, sure = "", 1.0
    pending: list[int] = []
    while not NUMBER.fullmatch(text):
        able = {id_: piece for id_, piece in form.digits.items() if piece and number_begins(text + piece)}
        if len({*able.values()}) == 1:  # nothing to choose: "10" "0" must go on with "." "0"
            id_, piece = next(iter(able.items()))
        else:
            if pending:
                logits, pending = reader.feed(pending)[-1], []
            ids = torch.tensor(list(able), device=logits.device)
            chances = logits[ids].softmax(-1)
            best = int(chances.argmax())
            id_ = int(ids[best])
            piece = able[id_]
            if "." not in text:  # the decimal is finer than any target
                sure *= float(chances[best])
        text += piece
        pending.append(id_)
    return text, pending, sure


def constrained(reader: Reader, row: list[int], form: Form, label: str, *, max_points: int = 40) -> Decoded:
    """Decode one answer: a well-formed ``<point>``, ``<points>``, or that there are none.

    Args:
        reader: the model behind a picture.
        row: the prompt.
        form: see :class:`Form`.
        label: what alt text and label say; the model is not asked.
        max_points: an answer is closed after this many.
    """

    def choose(logits: Tensor, options: Sequence[str]) -> tuple[int, list[int], float]:
        """Return the option that the model writes most likely, its ids not fed yet, and the last one's chance.

        Options may begin alike: token by token, those that go on as the model would most likely are left.
        Logits: (V,). The last option shares its beginning with no other, or all share it.
        """
        spelled = [form.encode(option) for option in options]
        left, fed, last = list(range(len(options))), 0, 1.0
        while len(left) > 1:
            alike = fed
            while len({tuple(spelled[i][: alike + 1]) for i in left}) == 1:
                alike += 1
            if alike > fed:
                logits, fed = reader.feed(spelled[left[0]][fed:alike])[-1], alike
            firsts = list(dict.fromkeys(spelled[i][fed] for i in left))
            chances = logits[torch.tensor(firsts, device=logits.device)].softmax(-1)
            if left[-1] == len(options) - 1:
                last *= float(chances[firsts.index(spelled[-1][fed])])
            best = firsts[int(chances.argmax())]
            left = [i for i in left if spelled[i][fed] == best]
        return left[0], spelled[left[0]][fed:], last

    best, opening, nothing = choose(reader.feed(row)[-1], [' <point x="', ' <points x1="', " There are none."])
    if best == 2:
        return Decoded(form.encode(" There are none."), reader.passes)
    text = [' <point x="', ' <points x1="'][best]
    confidences: list[float] = []
    pending = opening
    while True:
        x, rest, sure_x = _number(reader, form, reader.feed(pending)[-1])
        number = len(confidences) + 1
        between = '" y="' if best == 0 else f'" y{number}="'
        y, rest, sure_y = _number(reader, form, reader.feed([*rest, *form.encode(between)])[-1])
        text += x + between + y
        confidences.append((1 - nothing) * sure_x * sure_y)
        following = f'" x{number + 1}="'
        if best == 0 or number >= max_points:
            break
        more, pending, _ = choose(reader.feed(rest)[-1], ['" alt="', following])
        if more == 0:
            break
        text += following
    tag = "point" if best == 0 else "points"
    text += f'" alt="{label}">{label}</{tag}>'
    return Decoded(form.encode(text), reader.passes, confidences=confidences)
