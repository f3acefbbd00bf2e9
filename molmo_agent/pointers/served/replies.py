"""Replies of models on disk, by a hash of what they were asked: a reply is paid for once."""

import hashlib
import json
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError
from molmo_agent.files import write_whole
from molmo_agent.parse import read_json


class Replies:
    """Cached replies in a folder, which is created with the first one. Safe for threads and several processes.

    Args:
        folder: of the files, one for each reply.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> str | None:
        """Return the reply to what ``key`` describes; None if there is none, or its file is damaged.

        Args:
            key: everything that the reply depends on, such as model and prompt.
        """
        path = self._path(key)
        if not path.exists():
            return None
        try:
            entry = read_json(path)
        except DataError:
            return None
        reply = entry.get("reply") if isinstance(entry, dict) else None
        return reply if isinstance(reply, str) else None

    def write(self, key: str, reply: str, **asked: Any) -> None:
        """Keep a reply; ``asked`` describes it for people who open the file."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A prompt may hold a lone surrogate, which UTF-8 cannot encode; its escape is valid JSON.
        write_whole(path, json.dumps({**asked, "reply": reply}, indent=1) + "\n")

    def forget(self, key: str) -> None:
        """Remove a reply, if it is there."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / name[:2] / f"{name}.json"
