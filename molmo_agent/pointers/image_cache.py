"""Cache of recent images: vision tower features per crop, keys and values per image.

A second question about a screenshot continues behind the cached image. The next screenshot costs only the crops that
changed.
"""

import hashlib
from collections import OrderedDict
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from molmo_agent.pointers.decoding import Prefix

T = TypeVar("T")


def fingerprint(array: npt.NDArray[Any]) -> bytes:
    """Return a hash of an array's shape and contents."""
    digest = hashlib.blake2b(str((array.shape, array.dtype)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class LruCache(OrderedDict[bytes, T]):
    """A mapping of limited size that drops the least recently used entry."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def lookup(self, key: bytes) -> T | None:
        """Return the value of a key and mark it as recently used; None if it is absent."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        return None

    def store(self, key: bytes, value: T) -> None:
        """Store a value, and drop the oldest entries if there are too many."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self.size:
            self.popitem(last=False)


class ImageCache:
    """Caches what one model computed for recent images. Images are identified by hashes; pixels are not stored.

    Args:
        images: number of whole images to cache.
        crops: number of crops to cache; 0 encodes all crops of an image in one batch instead, which is faster if
            no crop repeats.
    """

    def __init__(self, images: int = 2, crops: int = 64) -> None:
        self.prefixes: LruCache[Prefix] = LruCache(images)
        self.features: LruCache[Tensor] = LruCache(crops)
        # For tests and benchmarks.
        self.num_encoded_crops = 0

    def patches(self, model: Any, pixels: npt.NDArray[np.float32]) -> Tensor:
        """Return the (C, N, width) tower features of (C, N, P) crops.

        Each crop is encoded by itself: in a batch, the last bits depend on the other crops, and cached features would
        differ from newly computed ones.
        """
        if not self.features.size:
            self.num_encoded_crops += len(pixels)
            batch: Tensor = model.encode_crops(torch.from_numpy(pixels).to(model.device))
            return batch
        features = []
        for crop in pixels:
            key = fingerprint(crop)
            feature = self.features.lookup(key)
            if feature is None:
                self.num_encoded_crops += 1
                feature = model.encode_crops(torch.from_numpy(crop[None]).to(model.device))[0]
                self.features.store(key, feature)
            features.append(feature)
        return torch.stack(features)

    def reserve_images(self, images: int) -> None:
        """Grow the cache to at least this number of images, with as many crops per image as before.

        Args:
            images: number of images that are used in turn, such as the number of envs of a rollout.
        """
        if images > self.prefixes.size:
            self.features.size = self.features.size * images // max(self.prefixes.size, 1)
            self.prefixes.size = images

    def forget(self) -> None:
        """Clear the cache; required after the model's weights change."""
        self.prefixes.clear()
        self.features.clear()
