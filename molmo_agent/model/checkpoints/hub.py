"""Check once and quickly whether the Hugging Face hub is reachable."""

from functools import cache
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0


@cache
def reachable() -> bool:
    """Return whether the hub is reachable; without a network, its client would retry for minutes, file by file."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_TIMEOUT_S)
    except Exception:  # of whatever HTTP library the client is built on
        return False
    return True


def places(source: str | Path) -> dict[str, Any]:
    """Return options for every ``from_pretrained``: run no code of the checkpoint, and local files without the hub."""
    local = {} if Path(source).exists() or reachable() else {"local_files_only": True}
    return {"trust_remote_code": False, **local}


def problem_of(error: Exception) -> str:
    """Return why a checkpoint cannot be loaded: the message, with the error's name where it says nothing alone."""
    # The message of a KeyError is the key alone.
    return repr(error) if isinstance(error, LookupError | TypeError) else str(error).strip() or repr(error)


def remark(source: str | Path) -> str:
    """Return an addition to the error message of a checkpoint that cannot be loaded."""
    if Path(source).exists() or reachable():
        return ""
    return f"; {str(source)!r} is no folder here, and the Hugging Face hub cannot be reached"
