"""Asks language models for text: one model per role, replies cached on disk, within a budget of tokens."""

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.pixmo.language_model.writer import UnusableReplyError
from molmo_agent.pointers.served.answer import Answer
from molmo_agent.pointers.served.chat import Chat
from molmo_agent.pointers.served.network import split_address
from molmo_agent.pointers.served.replies import Replies

# A token of English is about four characters; the estimate is on the high side, so that a budget holds.
_CHARACTERS_PER_TOKEN = 3


class Endpoint(Protocol):
    """One model on a server."""

    url: str
    model: str

    def complete(self, messages: list[Any], max_tokens: int) -> Answer:
        """Continue a conversation in the form of the API."""
        ...


class Budget:
    """Tokens that may be used, and their price. Safe for threads.

    Args:
        max_tokens: prompts and replies together, estimated from their lengths.
        price: of a million tokens, in any currency; 0: unknown.
        max_cost: in the same currency; None: no limit.
    """

    def __init__(self, max_tokens: int, price: float = 0.0, max_cost: float | None = None) -> None:
        if max_tokens < 1 or price < 0 or (max_cost is not None and (max_cost <= 0 or price == 0)):
            raise UsageError(
                "expected at least 1 token, and a price with a limit of costs, "
                f"got {max_tokens}, {price} and {max_cost}"
            )
        by_cost = max_tokens if max_cost is None else int(max_cost / price * 1e6)
        self.max_tokens, self.price, self.used = min(max_tokens, by_cost), price, 0
        self._lock = threading.Lock()

    def take(self, tokens: int) -> None:
        """Count tokens before they are used.

        Raises:
            ModelError: the budget does not have them.
        """
        with self._lock:
            if self.used + tokens > self.max_tokens:
                raise ModelError(
                    f"the budget of {self.max_tokens:,} tokens is used up ({self.used:,} used, {tokens:,} needed): "
                    "raise it; replies so far are in the cache and cost nothing the next time"
                )
            self.used += tokens

    def give_back(self, tokens: int) -> None:
        """Return tokens that were counted, but not used."""
        with self._lock:
            self.used -= tokens

    @property
    def cost(self) -> float:
        """What the tokens used so far cost; 0 if the price is not known."""
        return self.used * self.price / 1e6


class LanguageModel:
    """Writes text with the model of a role.

    Args:
        endpoints: a model by role; the role "" has all others.
        cache: folder of replies, by prompt, role and model; a reply is paid for once.
        budget: of tokens.
        concurrency: prompts under way at the same time.
        max_tokens: of one reply.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        cache: Path,
        budget: Budget,
        *,
        concurrency: int = 8,
        max_tokens: int = 4000,
    ) -> None:
        self._endpoints, self._replies, self.budget = dict(endpoints), Replies(cache), budget
        self.concurrency, self.max_tokens = concurrency, max_tokens

    @classmethod
    def at(cls, address: str, cache: Path, budget: Budget) -> "LanguageModel":
        """Return a client for addresses like ``http://host:8000/v1#model``, or ``role=address,role=address``.

        Raises:
            UsageError: an address without a model, or one that a key would be sent to in clear.
        """
        endpoints: dict[str, Endpoint] = {}
        for part in address.split(","):
            role, _, place = (
                part.strip().partition("=") if not part.strip().startswith("http") else ("", "", part.strip())
            )
            url, model, _ = split_address(place)
            endpoints[role] = Chat(url, model, timeout_s=300.0, retries=4)
        return cls(endpoints, cache, budget)

    def write(self, role: str, prompt: str) -> str:
        """Return the reply to a prompt.

        Raises:
            UnusableReplyError: the model declined, or was cut off.
            ModelError: the server failed, or the budget is used up.
            UsageError: no model has this role.
        """
        endpoint = self._endpoints.get(role) or self._endpoints.get("")
        if endpoint is None:
            raise UsageError(
                f"expected a model for the role {role!r}; there are models for {', '.join(self._endpoints)}"
            )
        key = json.dumps([endpoint.url, endpoint.model, role, self.max_tokens, prompt])
        if (reply := self._replies.read(key)) is not None:
            return reply
        most = len(prompt) // _CHARACTERS_PER_TOKEN + self.max_tokens
        self.budget.take(most)
        used = 0
        try:
            answer = endpoint.complete([{"role": "user", "content": prompt}], self.max_tokens)
            used = min(most, (len(prompt) + len(answer.text)) // _CHARACTERS_PER_TOKEN)
        finally:
            self.budget.give_back(most - used)
        if answer.refused or answer.doubt:
            reason = answer.doubt or "the model declined"
            raise UnusableReplyError(
                f"{endpoint.model} gave no usable reply as {role}: {reason}: {answer.text[:200]!r}"
            )
        self._replies.write(key, answer.text, role=role, model=endpoint.model, prompt=prompt)
        return answer.text

    def write_many(self, role: str, prompts: Sequence[str]) -> list[str]:
        """Return the replies to several prompts, some at a time; see :meth:`write`."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(lambda prompt: self.write(role, prompt), prompts))
