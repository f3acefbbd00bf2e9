"""Load what helps the annotators, by name."""

from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.interfaces import Answerer
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.pixmo.cap import Recogniser
from molmo_agent.pixmo.collect.tasks import Helpers
from molmo_agent.point_text.cut_off import without_mark

_MAX_NEW_TOKENS = 450


def load_helpers(
    recogniser: Recogniser | None, reader: str, caption_model: str | None, least_seconds: float
) -> Helpers:
    """Load the helpers of a collection.

    Args:
        recogniser: of speech.
        reader: name of a text reader, or none.
        caption_model: what ``load_model`` loads; None: only descriptions by people.
        least_seconds: minimum length of a recording.

    Raises:
        UsageError: the model does not describe images.
        UnknownNameError: no such reader or model.
    """
    describe = None
    if caption_model is not None:
        from molmo_agent.registry import load_model

        model = load_model(caption_model)
        if not isinstance(model, Answerer):
            raise UsageError(f"expected a model that describes images, got {caption_model}, which only points")

        def describe(image: Any) -> str:
            reply = model.answer_batch([image], ["Describe this image."], max_new_tokens=_MAX_NEW_TOKENS)[0]
            return without_mark(reply)

    if reader != "none":
        from molmo_agent.errors import UnknownNameError
        from molmo_agent.ocr.reader import READERS

        if reader not in READERS:
            raise UnknownNameError("text reader", reader, [*READERS, "none"])
    return Helpers(
        recogniser=recogniser,
        reader=None if reader == "none" else LazyReader(reader),
        describe=describe,
        least_seconds=least_seconds,
    )
