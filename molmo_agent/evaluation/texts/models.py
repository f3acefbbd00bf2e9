"""Models that are asked without an image: a local Molmo, or any model on an OpenAI-compatible server.

``continue`` lets a local model continue a text as it stands, as a base model; ``chat`` puts it as a question.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.run import open_model
from molmo_agent.interfaces import Usage, report_usage
from molmo_agent.model.prompts import TEXT_STYLE, asked
from molmo_agent.point_text.cut_off import without_mark
from molmo_agent.pointers.served.chat import Chat
from molmo_agent.pointers.served.network import split_address
from molmo_agent.pointers.wrapped import innermost
from molmo_agent.registry import is_address

Form = Literal["continue", "chat"]
TOP_P = 0.95
"""Sampled tokens are among the most likely ones that have this probability together."""

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How a text is written."""

    max_new_tokens: int
    # Whatever stands behind the first of these is cut off; where texts are continued.
    stops: tuple[str, ...] = ()
    # 0: the most likely token.
    temperature: float = 0.0
    # Of the samples of this text; local models give the same ones again.
    seed: int = 0


class TextModel(Protocol):
    """Writes texts, and compares continuations if it can."""

    name: str

    def write(self, prompts: Sequence[str], ask: Sequence[Ask]) -> list[str]:
        """Return what the model writes behind, or to, each prompt.

        Raises:
            ModelError: the model fails.
        """
        ...

    def likelihoods(self, context: str, rests: Sequence[str]) -> list[float]:
        """Return the log likelihood of each text behind the context, in nats.

        Raises:
            UsageError: this model does not report it.
        """
        ...

    def is_long(self, prompt: str, room: int) -> bool:
        """Return whether the beginning of a prompt has to be cut off, so that ``room`` tokens are left."""
        ...


def open_text_model(name: str, form: Form) -> TextModel:
    """Load a model by name.

    Args:
        name: see :func:`molmo_agent.registry.load_model`.
        form: how it is asked.

    Raises:
        UsageError: the model writes no texts, or a served one is to continue a text.
        ModelError: it cannot be loaded.
    """
    if is_address(name):
        return ServedText(name)
    return LocalText(open_model(name), form)


class LocalText:
    """A local Molmo.

    Args:
        pointer: the loaded model.
        form: how it is asked.

    Raises:
        UsageError: it is another kind of model.
    """

    def __init__(self, pointer: Any, form: Form = "continue") -> None:
        local: Any = innermost(pointer)
        if not hasattr(local, "complete") or not hasattr(local, "model"):
            raise UsageError(
                "text benchmarks need a local Molmo checkpoint, nano, or a server's address "
                f"(http://host:8000/v1#model), got {pointer.name!r}"
            )
        self.name, self.form, self._local = str(pointer.name), form, local
        self.tokenizer: Any = local.processor.tokenizer
        self.bos = int(local.processor.bos_id)
        self.context_length = int(local.model.config.text_config.max_position_embeddings)

    def write(self, prompts: Sequence[str], ask: Sequence[Ask]) -> list[str]:
        """Continue each prompt, or answer it, one after another.

        Raises:
            ModelError: a question leaves no room for its answer.
        """
        return [self._write(prompt, one) for prompt, one in zip(prompts, ask, strict=True)]

    def _write(self, prompt: str, ask: Ask) -> str:
        began, text, pieces = time.perf_counter(), "", 0
        for piece in self._local.complete(
            [], self._fitted(prompt, ask.max_new_tokens), max_new_tokens=ask.max_new_tokens, pick=_picker(ask)
        ):
            text, pieces = text + piece, pieces + 1
            if any(stop in text for stop in ask.stops):
                break
        tokens_in, tokens_out = (len(self.encode(part)) for part in (prompt, text))
        seconds = time.perf_counter() - began
        report_usage(Usage(question=prompt, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out, passes=pieces))
        return cut_at(without_mark(text), ask.stops)

    def _fitted(self, prompt: str, room: int) -> str:
        """Return the prompt as the model reads it; the beginning of a continued text is cut off if it is too long."""
        profile = self._local.profile
        if self.form == "chat":
            return asked(prompt, TEXT_STYLE, profile.message_format, profile.prefix)
        tokens = self.encode(prompt)
        if len(tokens) + room + 1 <= self.context_length:
            return prompt
        return str(self.tokenizer.decode(tokens[-max(1, self.context_length - room - 1) :]))

    def is_long(self, prompt: str, room: int) -> bool:
        """Return whether the beginning of a prompt has to be cut off."""
        return len(self.encode(prompt)) + room + 1 > self.context_length

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, without one for its beginning."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def likelihoods(self, context: str, rests: Sequence[str]) -> list[float]:
        """Return the log likelihood of each text behind the context, in nats."""
        began = time.perf_counter()
        ids = self.encode(context)
        pairs = []
        for rest in rests:
            whole = self.encode(context + rest)
            pairs.append(([self.bos, *whole[: len(ids)]], whole[len(ids) :]))
        model = self._local.model
        if all(len(rest) == 1 and context == pairs[0][0] for context, rest in pairs):
            # One pass over the context instead of one for each option.
            values = next_token_scores(model, pairs[0][0], [rest[0] for _, rest in pairs], self.context_length)
        else:
            values = [likelihood for likelihood, _ in continuations(model, pairs, self.context_length)]
        seconds, tokens = time.perf_counter() - began, len(ids) + 1
        report_usage(Usage(question=context, seconds=seconds, tokens_in=tokens, tokens_out=0, passes=1))
        return values


def _picker(ask: Ask) -> Callable[[torch.Tensor], int] | None:
    """Return what draws a token from logits, (V,); None for the most likely one."""
    if ask.temperature <= 0:
        return None
    generator = torch.Generator().manual_seed(ask.seed)

    def pick(logits: torch.Tensor) -> int:
        shares, order = torch.softmax(logits.float().cpu() / ask.temperature, dim=-1).sort(descending=True)
        # The first one is always kept.
        kept = shares.cumsum(0) - shares < TOP_P
        return int(order[torch.multinomial(shares * kept, 1, generator=generator)])

    return pick


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Return a text up to the first of the texts that end it."""
    return min((text.split(stop)[0] for stop in stops), key=len, default=text)


@torch.inference_mode()
def next_token_scores(model: Any, context: Sequence[int], tokens: Sequence[int], context_length: int) -> list[float]:
    """Return the log likelihood of each token behind a context, in nats; the start of a long context is cut off."""
    ids = torch.tensor([context[-context_length:]], device=model.device)
    logs = model(input_ids=ids).logits[0, -1].float().log_softmax(dim=-1)
    return [float(logs[token]) for token in tokens]


@torch.inference_mode()
def continuations(
    model: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], context_length: int
) -> list[tuple[float, bool]]:
    """Return for each continuation its log likelihood in nats, and whether greedy decoding produces it.

    Args:
        model: a causal model of token ids; padding stands on the right, where no earlier position attends to it.
        pairs: (context, continuation) as token ids; the context is not empty. The start of a long context is cut off.
        context_length: maximum number of tokens of a sequence.
    """
    rows = [[*context, *continuation][-context_length - 1 :] for context, continuation in pairs]
    longest = max(len(row) for row in rows) - 1
    ids = torch.zeros((len(rows), longest), dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row) - 1] = torch.tensor(row[:-1])
        mask[number, : len(row) - 1] = 1
    logits = model(input_ids=ids, attention_mask=mask).logits.float()
    results = []
    for number, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
        count = min(len(continuation), len(row) - 1)
        if count == 0:
            results.append((0.0, True))
            continue
        own = torch.log_softmax(logits[number, len(row) - 1 - count : len(row) - 1], dim=-1)
        target = torch.tensor(row[-count:], device=own.device)
        likelihood = own.gather(1, target[:, None]).sum()
        results.append((float(likelihood), bool((own.argmax(dim=-1) == target).all())))
    return results


class ServedText:
    """A model on a server: each prompt is one message, answered at the temperature of :class:`Ask`.

    Args:
        address: like ``http://host:8000/v1#model``.

    Raises:
        UsageError: the address has no model, or a key would be sent in clear.
        MissingExtraError: the extra ``remote`` is not installed.
    """

    def __init__(self, address: str) -> None:
        url, model, _ = split_address(address)
        self.name, self._chat = model, Chat(url, model, timeout_s=300.0, retries=3)

    def write(self, prompts: Sequence[str], ask: Sequence[Ask]) -> list[str]:
        """Put each prompt as a question, some at a time; a reply that the server declines is empty."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._write, prompts, ask))

    def _write(self, prompt: str, ask: Ask) -> str:
        began = time.perf_counter()
        messages = [{"role": "user", "content": prompt}]
        answer = self._chat.complete(messages, ask.max_new_tokens, temperature=ask.temperature)
        tokens_in, tokens_out = answer.usage or (None, None)
        seconds = time.perf_counter() - began
        report_usage(Usage(question=prompt, seconds=seconds, tokens_in=tokens_in, tokens_out=tokens_out))
        return answer.text if answer.cut or not (answer.refused or answer.doubt) else ""

    def is_long(self, prompt: str, room: int) -> bool:
        """Return False: the server refuses what is too long."""
        return False

    def likelihoods(self, context: str, rests: Sequence[str]) -> list[float]:
        """Raise: servers do not report likelihoods of texts that are not their own."""
        raise UsageError(f"{self.name} is on a server, which reports no likelihoods of options; use --form chat")
