"""Whether the Hugging Face hub can be asked, found out once and quickly. Knows no model."""

from functools import cache
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0


@cache
def reachable() -> bool:
    """Tell whether the hub answers; without a network its client would try again for minutes, file by file."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_TIMEOUT_S)
    except Exception:  # of whatever HTTP library the client is built on
        return False
    return True


def places(source: str | Path) -> dict[str, Any]:
    """Return where ``from_pretrained`` may look for a checkpoint: on this machine, where the hub does not answer."""
    return {} if Path(source).exists() or reachable() else {"local_files_only": True}


def remark(source: str | Path) -> str:
    """Return what to add to the message that a checkpoint cannot be loaded."""
    if Path(source).exists() or reachable():
        return ""
    return f"; {str(source)!r} is no folder here, and the Hugging Face hub cannot be reached"
