"""A judge: a language model behind an OpenAI-compatible endpoint that is asked about text alone.

Each readable reply is cached on disk by the hash of the judge's address and the prompt, so an interrupted evaluation
continues where it stopped, and the statements of a reference are paid for once.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Protocol, TypeVar

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.parse import load_json
from molmo_agent.pointers.served.chat import Chat
from molmo_agent.pointers.served.network import split_address
from molmo_agent.pointers.served.replies import Replies

MAX_TOKENS = 4096
"""Limit of a judge's reply: a long caption has about 100 statements."""

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL | re.IGNORECASE)

Item = TypeVar("Item")
Result = TypeVar("Result")


class UnreadableJudgement(ModelError):
    """A judge declined, or its replies do not have the form that the prompt asks for."""


class BudgetSpent(ModelError):
    """The judges' requests are used up; the same command continues with a new budget."""


class Asks(Protocol):
    """Sends a prompt to a model.

    Raises:
        UnreadableJudgement: the model declined, or its reply was cut off.
        ModelError: the server cannot be reached or refuses.
    """

    def __call__(self, prompt: str, max_tokens: int) -> str:
        """Return the model's reply."""


class Budget:
    """A number of requests that all judges share; None is unlimited."""

    def __init__(self, requests: int | None = None) -> None:
        self.limit, self.sent, self._lock = requests, 0, threading.Lock()

    def take(self) -> None:
        """Count one request.

        Raises:
            BudgetSpent: there is none left.
        """
        with self._lock:
            if self.limit is not None and self.sent >= self.limit:
                raise BudgetSpent(
                    f"the budget of {self.limit} requests to the judge is spent; the same command continues where it "
                    "stopped, from the cached replies"
                )
            self.sent += 1


class Judge:
    """A judge with a cache.

    Args:
        name: its address and model; part of the cache's key.
        ask: sends a prompt to it.
        cache: folder of the cached replies; created if missing.
        budget: of requests.
    """

    def __init__(self, name: str, ask: Asks, cache: Path, budget: Budget | None = None) -> None:
        self.name, self._ask, self._replies, self.budget = name, ask, Replies(cache), budget or Budget()

    def judge(self, prompt: str, read: Callable[[Any], Result]) -> Result:
        """Return what ``read`` makes of the JSON of the reply; a reply that it rejects is asked for once more.

        Args:
            prompt: asks for JSON.
            read: returns the result, or raises a ValueError that says what was expected.

        Raises:
            UnreadableJudgement: neither reply is readable.
            BudgetSpent: no request is left.
            ModelError: the server cannot be reached or refuses.
        """
        key = f"{self.name}\n{MAX_TOKENS}\n{prompt}"
        if (reply := self._replies.read(key)) is not None:
            try:
                return read(json_of(reply))
            except ValueError:
                # Written by another version: ask again.
                self._replies.forget(key)
        problem, asked = "", prompt
        for _ in range(2):
            self.budget.take()
            reply = self._ask(asked, MAX_TOKENS)
            try:
                result = read(json_of(reply))
            except ValueError as error:
                problem = str(error)
                asked = f"{prompt}\nAn earlier answer could not be read: {problem}. Answer in the form above.\n"
                continue
            self._replies.write(key, reply, judge=self.name, prompt=prompt)
            return result
        raise UnreadableJudgement(f"{self.name} did not answer in the form asked for, twice: {problem}")


def open_judge(address: str, cache: Path, budget: Budget | None = None, *, timeout_s: float = 120.0) -> Judge:
    """Return the judge at ``http://host:8000/v1#model``; it is asked at temperature 0.

    Args:
        address: of the API, with the model's name.
        cache: folder of the cached replies.
        budget: of requests.
        timeout_s: seconds for one attempt; temporary failures are tried again three times.

    Raises:
        UsageError: the address has no model, or a key would be sent in clear.
        ModelError: the proxy cannot be used.
        MissingExtraError: the extra ``remote`` is not installed.
    """
    url, model, _ = split_address(address)
    chat = Chat(url, model, timeout_s=timeout_s, retries=3)

    def ask(prompt: str, max_tokens: int) -> str:
        answer = chat.complete([{"role": "user", "content": prompt}], max_tokens)
        if answer.refused or answer.doubt:
            raise UnreadableJudgement(f"{model}: {'the judge declined' if answer.refused else answer.doubt}")
        return answer.text

    return Judge(f"{url}#{model}", ask, cache, budget)


def json_of(reply: str) -> Any:
    """Return the JSON of a reply, which may stand in a code fence.

    Raises:
        ValueError: it is no JSON.
    """
    fence = _FENCE.match(reply)
    try:
        return load_json(fence[1] if fence else reply.strip(), where="the reply")
    except UsageError as error:
        raise ValueError(str(error)) from error


def prompt_text(name: str, **values: str) -> str:
    """Return a prompt of ``judged/prompts`` with its values filled in."""
    return Template(_source(name)).substitute(values)


def prompt_version(name: str) -> str:
    """Return the name of a prompt and the hash of its wording: scores under other wordings are not comparable."""
    return f"{name}@{hashlib.sha256(_source(name).encode()).hexdigest()[:12]}"


def _source(name: str) -> str:
    return (files("molmo_agent.evaluation.judged") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")


def numbered(texts: Sequence[str]) -> str:
    """Return texts as a JSON object from number, from 1, to text."""
    return json.dumps({str(number): text for number, text in enumerate(texts, 1)}, ensure_ascii=False, indent=0)


def read_texts(value: Any) -> tuple[str, ...]:
    """Read a list of statements: without blank ones, each once.

    Raises:
        ValueError: it is no list of strings.
    """
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("expected a JSON list of strings")
    return tuple(dict.fromkeys(text.strip() for text in value if text.strip()))


def read_numbered(value: Any, count: int) -> list[Any]:
    """Read an object with an entry for each number from 1 to ``count``; return its values in order.

    Raises:
        ValueError: a number is missing, or there is another key.
    """
    if not isinstance(value, Mapping):
        raise ValueError("expected a JSON object")
    expected = [str(number) for number in range(1, count + 1)]
    if set(value) != set(expected):
        raise ValueError(f"expected the keys 1 to {count}, got {len(value)} keys")
    return [value[key] for key in expected]


def judge_all(
    work: Callable[[Item], Result], items: Sequence[Item], concurrency: int
) -> Iterator[tuple[Item, Result | UnreadableJudgement]]:
    """Judge items at the same time; yield each with its result, or with why it cannot be judged, in order.

    Raises:
        BudgetSpent: see :class:`Budget`.
        ModelError: the server cannot be reached or refuses; items that have not begun are cancelled.
    """

    def attempt(item: Item) -> Result | UnreadableJudgement:
        try:
            return work(item)
        except UnreadableJudgement as error:
            return error

    pool = ThreadPoolExecutor(concurrency)
    try:
        futures = [pool.submit(attempt, item) for item in items]
        for item, future in zip(items, futures, strict=True):
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
