"""Our pointing models as grounders of the package ``cua-agent``: words and a screenshot in, the pixel to click out.

``register("molmo-agent/auto")`` makes a model available there, alone for ``predict_click`` or before a planner in a
composed name: ``molmo-agent/auto+anthropic/...``.
"""

import asyncio
import base64
import binascii
import importlib
import re
from typing import Any

from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images.reading import read_image
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.pointers.careful import careful
from molmo_agent.registry import load_model

PREFIX = "molmo-agent/"
# cua's package was named "agent" before.
_PACKAGES = ("cua_agent", "agent")
# Longer texts are no screenshot.
_MAX_BASE64 = 64 << 20


class Grounder:
    """A grounder in the form of cua's agent configurations.

    Args:
        model: points.
        min_confidence: below it there is no place to click; None: the model's own threshold.
    """

    def __init__(self, model: PointingModel, min_confidence: float | None = None) -> None:
        self._model = careful(model, min_confidence)

    async def predict_click(
        self, model: str, image_b64: str, instruction: str, **generation_config: Any
    ) -> tuple[int, int] | None:
        """Return (x, y) in pixels of the screenshot; None where no single place is sure enough.

        Raises:
            ImageError: it is not an image.
            ModelError: the model failed.
        """
        return await asyncio.to_thread(self._click, image_b64, instruction)

    def _click(self, image_b64: str, instruction: str) -> tuple[int, int] | None:
        image = _decoded(image_b64)
        result = self._model.point(image, instruction)
        threshold = model_traits(self._model).min_confidence
        unsure = result.confidence is not None and threshold is not None and result.confidence < threshold
        if result.status != "ok" or len(result.points) != 1 or unsure:
            return None
        return result.points[0].point.to_pixels(image.shape[1], image.shape[0])

    async def predict_step(self, messages: Any, model: str, **options: Any) -> dict[str, Any]:
        """Refuse: a pointing model plans nothing.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{model!r} only points: put it before a planner, as in '{model}+PLANNER'")

    def get_capabilities(self) -> list[str]:
        """Return what it can do."""
        return ["click"]


def register(name: str = "molmo-agent/auto", model: PointingModel | None = None, *, priority: int = 10) -> type:
    """Make a pointing model known to cua by its name.

    Args:
        name: ``molmo-agent/`` and a name of ours, such as "auto" or "reader".
        model: the model; None: the one of that name, loaded at its first use.
        priority: which of several registered classes cua takes: the highest.

    Returns:
        The registered class.

    Raises:
        UsageError: the package is not installed, or the name does not begin as it should.
    """
    if not name.startswith(PREFIX) or name == PREFIX:
        raise UsageError(f"expected a name such as {PREFIX}auto, got {name!r}")
    register_agent = _register_agent()

    class Registered(Grounder):
        def __init__(self) -> None:
            super().__init__(model or load_model(name.removeprefix(PREFIX)))

    # Composed names are answered by cua itself, which asks for the part before the plus.
    registered: type = register_agent(models=f"{re.escape(name)}$", priority=priority)(Registered)
    return registered


def _register_agent() -> Any:
    for package in _PACKAGES:
        try:
            return importlib.import_module(f"{package}.decorators").register_agent
        except (ImportError, AttributeError):
            continue
    raise UsageError("this needs the package cua-agent: pip install cua-agent")


def _decoded(image_b64: str) -> Any:
    data = image_b64.partition(",")[2] if image_b64.startswith("data:") else image_b64
    if len(data) > _MAX_BASE64:
        raise ImageError(f"expected a screenshot of at most {_MAX_BASE64:,} characters of base64, got {len(data):,}")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"expected a screenshot in base64: {error}") from error
    return read_image(content)
