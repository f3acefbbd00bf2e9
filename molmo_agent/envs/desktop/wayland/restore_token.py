"""The token with which the portal restores a permission that was given before, instead of asking again."""

import contextlib
import json
import os
from pathlib import Path


def token_path() -> Path:
    """Return the file of the token, in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "molmo-agent" / "wayland-permission.json"


def load_token(desktop: str) -> str | None:
    """Return the token that this desktop gave; None without one. A file that others can write is ignored."""
    path = token_path()
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        tokens = json.loads(path.read_text(encoding="utf-8"))
        token = tokens.get(desktop) if isinstance(tokens, dict) else None
        return token if isinstance(token, str) and token else None
    return None


def save_token(desktop: str, token: str | None) -> None:
    """Keep the token for the next run, readable by this user alone; None removes the old one.

    A token is valid once: the desktop gives a new one each time. A folder that cannot be written only means that the
    desktop asks again.
    """
    path = token_path()
    with contextlib.suppress(OSError):
        if token is None and not path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tokens = {}
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(path.read_text(encoding="utf-8"))
            tokens = stored if isinstance(stored, dict) else {}
        tokens.pop(desktop, None)
        if token:
            tokens[desktop] = token
        new = path.with_name(f"{path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        # Created with its mode: it is never readable by others, not even for a moment.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(tokens, file)
        new.replace(path)
