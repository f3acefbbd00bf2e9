"""The embedded model: a Molmo with 4.6 million parameters that comes with the package and needs no download."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from molmo_agent.errors import ModelError
from molmo_agent.pointers.molmo import MolmoPointer

CHECKPOINT = Path(__file__).with_name("nano_checkpoint")


@lru_cache(maxsize=2)
def load_nano(**options: Any) -> MolmoPointer:
    """Load nano in float32; the same object every time.

    Args:
        options: override its profile, see :class:`~molmo_agent.pointers.molmo.MolmoPointer`.

    Raises:
        ModelError: the package was installed without its checkpoint.
    """
    if not (CHECKPOINT / "model.safetensors").is_file():
        raise ModelError(
            f"expected the embedded checkpoint in {CHECKPOINT}, but it holds no model.safetensors; "
            "install the package again, or train one: agent train nano"
        )
    # It loads in a fraction of a second: a progress bar would only flicker.
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return MolmoPointer.from_pretrained(CHECKPOINT, dtype=torch.float32, name="nano", **options)
    finally:
        if was_enabled:
            logging.enable_progress_bar()
