"""Store of downloaded images: one file per URL, named by the SHA-256 of the URL."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
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

    def same_files(self, urls: Iterable[str], least: int) -> Iterator[list[str]]:
        """Yield the URLs whose images are equal byte for byte, in groups of ``least`` or more; absent ones are ignored.

        Raises:
            OSError: a file cannot be read.
        """
        sizes: dict[int, list[str]] = defaultdict(list)
        for url in urls:
            path = self.path(url)
            if path.is_file():
                sizes[path.stat().st_size].append(url)
        for candidates in sizes.values():
            if len(candidates) < least:
                continue
            groups: dict[str, list[str]] = defaultdict(list)
            for url in candidates:
                with self.path(url).open("rb") as file:
                    groups[hashlib.file_digest(file, "sha256").hexdigest()].append(url)
            yield from (group for group in groups.values() if len(group) >= least)
