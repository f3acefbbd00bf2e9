"""A planner behind an OpenAI-compatible endpoint. The way to it, keys and refusals are those of pointing models there.

By default the server gets words and no image: the task, what happened, and the words on the screen. With ``images`` it
gets the newest screenshots too.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from PIL import Image as PILImage

from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.pointers.served.chat import Chat, image_part
from molmo_agent.pointers.served.image_size import ImageLimits
from molmo_agent.pointers.served.network import split_address
from molmo_agent.policies.planner.briefing import Briefing, Budget, PlannerReply, messages

OPTIONS = {
    "images": "screenshots that are sent, the newest ones; 0: words alone (default 0)",
    "words": "0: send no words of the screen (default 1)",
    "max_pixels": "larger screenshots are shrunk (default 1500000)",
    "max_tokens": "of one answer (default 1024)",
    "tokens": "budget of a run, sent and received",
    "price": "IN,OUT for a million tokens",
    "cost": "budget of a run at this price",
    "timeout": "seconds for one attempt (default 120)",
}
"""What the address of a planner can declare, after its name."""

# Where a server does not count: characters of a token, and tokens of an image, rather too many than too few.
_CHARACTERS, _IMAGE_TOKENS = 3, 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a planner on a server gets, and what it may use."""

    # Screenshots that are sent, the newest ones.
    images: int = 0
    # Whether the words on the screen are sent.
    words: bool = True
    # Larger screenshots are shrunk.
    max_pixels: int = 1_500_000
    # Of one answer.
    max_tokens: int = 1024
    # Of a million tokens sent and received.
    price: tuple[float, float] = (0.0, 0.0)
    # For one attempt.
    timeout_s: float = 120.0
    # Of a run.
    budget: Budget = field(default_factory=Budget)


class ServedPlanner:
    """A language model, or a vision-language model, on a server.

    Args:
        url: of the API, such as ``http://localhost:8000/v1``.
        model: the name that the server knows it by.
        limits: what it gets, and what it may use.
        retries: attempts after the first one.

    Raises:
        UsageError: the address is not one, a key would be sent in clear, or it would see nothing of the screen.
        ModelError: the extra is not installed, or the proxy cannot be used.
    """

    def __init__(self, url: str, model: str, limits: Limits | None = None, *, retries: int = 2) -> None:
        self._limits = limits or Limits()
        if not (self._limits.images or self._limits.words):
            raise UsageError("a planner needs images or words of the screen: set images=1 or leave out words=0")
        self.name, self.reads_words, self.budget = model, self._limits.words, self._limits.budget
        self._chat = Chat(url, model, timeout_s=self._limits.timeout_s, retries=retries)

    @classmethod
    def from_address(cls, address: str, *, retries: int = 2) -> "ServedPlanner":
        """Read ``http://host:8000/v1#model`` or ``...#model?images=1&tokens=200000``, see :data:`OPTIONS`.

        Raises:
            UsageError: no model in the address, an unknown option, or a malformed value.
        """
        url, model, asked = split_address(address, OPTIONS)
        options: dict[str, Any] = {
            name: _whole(name, asked[name], least)
            for name, least in (("images", 0), ("max_pixels", 1000), ("max_tokens", 1))
            if name in asked
        }
        if "words" in asked:
            options["words"] = _whole("words", asked["words"], 0) > 0
        if "timeout" in asked:
            options["timeout_s"] = _amount("timeout", asked["timeout"])
        if "price" in asked:
            sent, _, received = asked["price"].partition(",")
            options["price"] = (_amount("price", sent), _amount("price", received or sent))
        if "cost" in asked and "price" not in asked:
            raise UsageError("cost= needs price=IN,OUT, the price of a million tokens sent and received")
        options["budget"] = Budget(
            tokens=_whole("tokens", asked["tokens"], 1) if "tokens" in asked else None,
            cost=_amount("cost", asked["cost"]) if "cost" in asked else None,
        )
        return cls(url, model, Limits(**options), retries=retries)

    def propose(self, briefing: Briefing) -> PlannerReply:
        """Return the model's reply.

        Raises:
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        chat = messages(briefing, images=self._limits.images, image_part=self._part, with_words=self.reads_words)
        height, width = briefing.screen.shape[:2]
        answer = self._chat.complete(chat, self._limits.max_tokens, (width, height) if self._limits.images else None)
        sent, received = answer.usage or self._estimate(chat, answer.text)
        price = self._limits.price
        cost = (sent * price[0] + received * price[1]) / 1e6
        doubt = "the planner or its server declined" if answer.refused else answer.doubt
        return PlannerReply(text=answer.text, doubt=doubt, tokens=sent + received, cost=cost)

    def _part(self, image: Image) -> dict[str, Any]:
        whole = PILImage.fromarray(image)
        if whole.width * whole.height > self._limits.max_pixels:
            limits = ImageLimits(multiple=1, min_pixels=1, max_pixels=self._limits.max_pixels)
            whole = limits.fit(whole)
        return image_part(whole)

    def _estimate(self, chat: list[dict[str, Any]], reply: str) -> tuple[int, int]:
        texts = [part for message in chat for part in _texts(message["content"])]
        images = sum(isinstance(m["content"], list) for m in chat)
        return len(json.dumps(texts)) // _CHARACTERS + images * _IMAGE_TOKENS, len(reply) // _CHARACTERS + 1


def _texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


def _whole(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) < 10**9):
        raise UsageError(f"expected {name}= with a whole number, {least} or more, got {text!r}")
    return int(text)


def _amount(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"expected {name}= with a number above 0, got {text!r}")
    return value
