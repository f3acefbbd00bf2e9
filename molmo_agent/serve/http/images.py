"""Images of requests: data URLs alone, decoded once, and kept for the next question about the same image.

The server fetches nothing: an address in a request would let a client reach what only the server can reach.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from collections import OrderedDict

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.images.reading import read_image, read_size
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.problems import Problem

_DATA_URL = re.compile(r"data:image/[a-zA-Z0-9.+-]{1,40};base64,", re.ASCII)


class ImageStore:
    """Decodes data URLs and remembers the images, so that questions about the same one share the same array.

    Args:
        limits: of an image, and of the memory.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tasks: OrderedDict[bytes, asyncio.Task[Image]] = OrderedDict()
        # A decoder of large images takes much memory: few at a time.
        self._decoders = asyncio.Semaphore(2)

    async def read(self, url: object) -> Image:
        """Return the image of a data URL as (height, width, 3) uint8 RGB; equal URLs give the same array.

        Raises:
            Problem: it is no data URL, or no image within the limits.
        """
        text = _checked(url)
        key = hashlib.blake2b(text.encode("ascii"), digest_size=16).digest()
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._decode(text))
            self._tasks[key] = task
        self._tasks.move_to_end(key)
        try:
            # Others may wait for the same image.
            image = await asyncio.shield(task)
        except Problem:
            self._tasks.pop(key, None)
            raise
        self._shrink()
        return image

    def _shrink(self) -> None:
        """Forget the images that were used longest ago until the rest fits; the last one stays."""
        done = [(key, task.result().nbytes) for key, task in self._tasks.items() if _is_image(task)]
        total = sum(num_bytes for _, num_bytes in done)
        for key, num_bytes in done[:-1]:
            if total <= self._limits.image_cache_bytes:
                return
            del self._tasks[key]
            total -= num_bytes

    async def _decode(self, text: str) -> Image:
        async with self._decoders:
            return await asyncio.to_thread(self._decoded, text)

    def _decoded(self, text: str) -> Image:
        try:
            data = base64.b64decode(text.partition(",")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Problem(400, f"expected an image as base64, but {error}", code="invalid_image") from error
        try:
            # By the header: what is too large is never decoded.
            width, height = read_size(data)
            if width * height > self._limits.max_pixels:
                raise Problem(
                    400,
                    f"expected an image of at most {self._limits.max_pixels:,} px, got {width} x {height}: shrink it",
                    code="image_too_large",
                )
            image = read_image(data)
        except ImageError as error:
            raise Problem(400, str(error).replace("the file", "the image", 1), code="invalid_image") from error
        image = image.copy()
        image.flags.writeable = False
        return image


def _is_image(task: "asyncio.Task[Image]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _checked(url: object) -> str:
    """Return a data URL of an image.

    Raises:
        Problem: it is something else.
    """
    if not isinstance(url, str):
        raise Problem(400, f"expected an image as a data URL, got {type(url).__name__}", code="invalid_image")
    if not _DATA_URL.match(url[:80]) or not url.isascii():
        shown = url[:40] + ("..." if len(url) > 40 else "")
        raise Problem(
            400,
            f"expected an image as data:image/png;base64,... (the server fetches nothing), got {shown!r}",
            code="invalid_image",
        )
    return url
