"""Decode a reply about an image whose keys and values are cached: token ids in, token ids out.

``decode_greedy`` decodes several questions at once. ``decode_with_draft`` returns the same reply to one question in
fewer passes, by checking drafts of the next tokens. ``decode_constrained`` returns only well-formed replies, and feeds
the tokens that the form requires in the same pass as the digits that the model selected.
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
    """Keys and values of BOS and an image; shared and never modified."""

    # Per layer: (1, H, length, K) keys and values.
    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int

    @classmethod
    def of(cls, cache: DynamicCache) -> "Prefix":
        """Copy references to the keys and values of a cache."""
        layers: Any = cache.layers
        return cls(tuple((layer.keys, layer.values) for layer in layers), cache.get_seq_length())

    def fork(self, rows: int = 1) -> DynamicCache:
        """Return a cache that begins with this prefix, once per row."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        return cache


@dataclass(slots=True)
class DecodedReply:
    """The token ids of a reply, without the closing EOS."""

    ids: list[int]
    # Number of forward passes through the decoder, including the one over the question.
    passes: int
    # Unconstrained decoding: the model's probability of each id.
    probabilities: list[float] = field(default_factory=list)
    # Constrained decoding: for each point, the probability that the target exists, times the probability of the
    # point's whole percents. Each is relative to the tokens that the form allows at that position.
    confidences: list[float] = field(default_factory=list)


IsComplete = Callable[[list[int]], bool]


def decode_greedy(
    model: Any, prefix: Prefix, rows: Sequence[list[int]], *, eos: int, max_new_tokens: int, is_complete: IsComplete
) -> list[DecodedReply]:
    """Decode one reply per row of prompt ids, as one batch.

    Args:
        model: the model.
        prefix: the image.
        rows: prompts; they are padded on the left, and the padding takes no positions.
        eos: id that ends a reply.
        max_new_tokens: longer replies are truncated.
        is_complete: returns whether a reply is complete without its EOS; decoding then stops early.
    """
    device, length = model.device, max(map(len, rows))
    cache = prefix.fork(len(rows))
    ids = torch.tensor([[eos] * (length - len(row)) + row for row in rows], device=device)
    valid = torch.ones(len(rows), prefix.length + length, dtype=torch.long, device=device)
    for i, row in enumerate(rows):
        valid[i, prefix.length : prefix.length + length - len(row)] = 0
    answers = [DecodedReply([], 0) for _ in rows]
    running = set(range(len(rows)))
    for _ in range(max_new_tokens):
        logits = model(input_ids=ids, attention_mask=valid, cache=cache, use_cache=True, logits_to_keep=1).logits
        best, token_ids = logits[:, -1].float().softmax(-1).max(-1)
        for i, (token, probability) in enumerate(zip(token_ids.tolist(), best.tolist(), strict=True)):
            if i not in running:
                continue
            answers[i].passes += 1
            if token == eos:
                running.discard(i)
                continue
            answers[i].ids.append(token)
            answers[i].probabilities.append(probability)
            if is_complete(answers[i].ids):
                running.discard(i)
        if not running:
            break
        ids = token_ids[:, None]
        valid = torch.cat([valid, valid.new_ones(len(rows), 1)], dim=1)
    return answers


class Reader:
    """Feeds one row of tokens behind an image and counts passes."""

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


def decode_with_draft(
    reader: Reader,
    row: list[int],
    *,
    eos: int,
    max_new_tokens: int,
    is_complete: IsComplete,
    draft: Callable[[list[int]], list[int]],
) -> DecodedReply:
    """Decode the reply that greedy decoding returns, in fewer passes.

    Args:
        reader: the model behind an image.
        row: the prompt.
        eos: id that ends a reply.
        max_new_tokens: longer replies are truncated.
        is_complete: returns whether a reply is complete without its EOS.
        draft: guesses the ids after the reply so far; may return none. A wrong guess only makes a pass longer.
    """
    answer = DecodedReply([], 0)
    pending = row
    while len(answer.ids) < max_new_tokens:
        guess = draft(answer.ids)
        best, ids = reader.feed([*pending, *guess], keep=len(guess) + 1).softmax(-1).max(-1)
        token_ids, probabilities = ids.tolist(), best.tolist()
        num_right = 0
        while num_right < len(guess) and guess[num_right] == token_ids[num_right]:
            num_right += 1
        reader.forget(len(guess) - num_right)
        for token, probability in zip(token_ids[: num_right + 1], probabilities, strict=False):
            if token == eos or len(answer.ids) == max_new_tokens:
                answer.passes = reader.passes
                return answer
            answer.ids.append(token)
            answer.probabilities.append(probability)
            if is_complete(answer.ids):
                answer.passes = reader.passes
                return answer
        pending = [token_ids[num_right]]
    answer.passes = reader.passes
    return answer


NUMBER = re.compile(r"(?:100\.0|\d{1,2}\.\d)")
"""A coordinate: a percentage with one decimal."""


@lru_cache(maxsize=1024)
def number_begins(text: str) -> bool:
    """Return whether a text is the beginning of a coordinate, or a complete one."""
    return re.fullmatch(r"|\d{1,2}(\.\d?)?|10(0(\.0?)?)?", text) is not None


@dataclass(frozen=True, slots=True)
class Form:
    """The pieces of a well-formed reply in the dialect ``molmo``, as ids of a tokenizer."""

    encode: Callable[[str], list[int]]
    # Ids whose text consists of digits and dots only, with that text.
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
    """Decode one coordinate, starting from (V,) logits; return its text, the ids not fed yet, and its probability."""
    text, number_probability = "", 1.0
    pending: list[int] = []
    while not NUMBER.fullmatch(text):
        options = {id_: piece for id_, piece in form.digits.items() if piece and number_begins(text + piece)}
        if len({*options.values()}) == 1:  # no choice: "." "0" must follow "10" "0"
            id_, piece = next(iter(options.items()))
        else:
            if pending:
                logits, pending = reader.feed(pending)[-1], []
            ids = torch.tensor(list(options), device=logits.device)
            probabilities = logits[ids].softmax(-1)
            best = int(probabilities.argmax())
            id_ = int(ids[best])
            piece = options[id_]
            if "." not in text:  # the decimal is finer than any target
                number_probability *= float(probabilities[best])
        text += piece
        pending.append(id_)
    return text, pending, number_probability


def decode_constrained(reader: Reader, row: list[int], form: Form, label: str, *, max_points: int = 40) -> DecodedReply:
    """Decode one well-formed reply: ``<point>``, ``<points>`` or "There are none.".

    Args:
        reader: the model behind an image.
        row: the prompt.
        form: see :class:`Form`.
        label: alt text and label of the reply; the model does not decode them.
        max_points: maximum number of points; the reply is closed after them.
    """

    def choose(logits: Tensor, options: Sequence[str]) -> tuple[int, list[int], float]:
        """Return the model's most likely option, its ids not fed yet, and the probability of the last option.

        Options may share a prefix: after each token, only the options with the most likely token remain.
        Logits: (V,). The last option shares a prefix with no other option, or all options share it.
        """
        option_ids = [form.encode(option) for option in options]
        candidates, num_fed, last = list(range(len(options))), 0, 1.0
        while len(candidates) > 1:
            prefix_length = num_fed
            while len({tuple(option_ids[i][: prefix_length + 1]) for i in candidates}) == 1:
                prefix_length += 1
            if prefix_length > num_fed:
                logits = reader.feed(option_ids[candidates[0]][num_fed:prefix_length])[-1]
                num_fed = prefix_length
            tokens = list(dict.fromkeys(option_ids[i][num_fed] for i in candidates))
            probabilities = logits[torch.tensor(tokens, device=logits.device)].softmax(-1)
            if candidates[-1] == len(options) - 1:
                last *= float(probabilities[tokens.index(option_ids[-1][num_fed])])
            best = tokens[int(probabilities.argmax())]
            candidates = [i for i in candidates if option_ids[i][num_fed] == best]
        return candidates[0], option_ids[candidates[0]][num_fed:], last

    best, opening, p_none = choose(reader.feed(row)[-1], [' <point x="', ' <points x1="', " There are none."])
    if best == 2:
        return DecodedReply(form.encode(" There are none."), reader.passes)
    text = [' <point x="', ' <points x1="'][best]
    confidences: list[float] = []
    pending = opening
    while True:
        x, rest, p_x = _number(reader, form, reader.feed(pending)[-1])
        number = len(confidences) + 1
        between = '" y="' if best == 0 else f'" y{number}="'
        y, rest, p_y = _number(reader, form, reader.feed([*rest, *form.encode(between)])[-1])
        text += x + between + y
        confidences.append((1 - p_none) * p_x * p_y)
        following = f'" x{number + 1}="'
        if best == 0 or number >= max_points:
            break
        more, pending, _ = choose(reader.feed(rest)[-1], ['" alt="', following])
        if more == 0:
            break
        text += following
    tag = "point" if best == 0 else "points"
    text += f'" alt="{label}">{label}</{tag}>'
    return DecodedReply(form.encode(text), reader.passes, confidences=confidences)
