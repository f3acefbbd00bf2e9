"""Where downloaded images lie: one file per address, under the SHA-256 of the address."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A folder of images, as they came, without names or endings that a server could choose."""

    folder: Path

    def path(self, url: str) -> Path:
        """Return where the image of an address lies, or would lie."""
        key = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / key[:2] / key
