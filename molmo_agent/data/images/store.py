"""Store of downloaded images: one file per URL, named by the SHA-256 of the URL."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A folder of unmodified image files. Servers do not influence their names or suffixes."""

    folder: Path

    def path(self, url: str) -> Path:
        """Return the path for the image of a URL; it may not exist."""
        key = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / key[:2] / key
