"""Load a local checkpoint as the pointing model that it is."""

from pathlib import Path
from typing import Any

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.pointers.local_chat.naming import model_type_of, profile_of_checkpoint, split_name
from molmo_agent.pointers.local_chat.qwen import TYPES, QwenPointer
from molmo_agent.visible_text import visible_text


def load_pointer(source: str | Path, **options: Any) -> Any:
    """Load a checkpoint as the pointing model that it is: Molmo, Molmo2, or a model of Qwen-VL's classes.

    Args:
        source: a folder with a checkpoint, or the name of one on the Hugging Face hub. Behind one of Qwen-VL's classes
            may stand what its name does not say: ``my-model#Qwen2.5-VL``, ``my-model#?dialect=gui&scale=1000``.
        options: passed to the model.

    Raises:
        ModelError: it cannot be loaded.
        UsageError: nothing says how a model of Qwen-VL's classes writes points.
    """
    place, declared = split_name(str(source))
    try:
        kind = model_type_of(place)
    except (OSError, ValueError) as error:
        if declared:
            raise ModelError(f"expected a checkpoint at {place!r}, but {visible_text(str(error))}") from error
        kind = None  # reported by whoever needs the file
    if kind in TYPES:
        return QwenPointer.from_pretrained(place, profile_of_checkpoint(place, declared, kind), **options)
    if declared:
        raise UsageError(f"expected a checkpoint of Qwen-VL's classes before #{declared}, got {place!r}")
    if kind == "molmo2":
        from molmo_agent.pointers.molmo2 import Molmo2Pointer

        return Molmo2Pointer.from_pretrained(source, **options)
    from molmo_agent.pointers.molmo import MolmoPointer

    return MolmoPointer.from_pretrained(source, **options)
