"""What was computed for pictures seen lately: tower features per crop, keys and values per picture.

A second question about a screenshot starts where the picture ends; the next screenshot costs only the crops that
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


class Lately(OrderedDict[bytes, T]):
    """A mapping that forgets what was not asked for longest."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def recall(self, key: bytes) -> T | None:
        """Return what is known, and know it longer."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        return None

    def keep(self, key: bytes, value: T) -> None:
        """Remember a value."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self.size:
            self.popitem(last=False)


class PictureCache:
    """Remembers pictures of one model; holds no pictures, only hashes of them.

    Args:
        pictures: whole pictures to remember.
        crops: crops to remember; 0 encodes all crops of a picture in one batch instead, which is faster where
            nothing repeats.
    """

    def __init__(self, pictures: int = 2, crops: int = 64) -> None:
        self.prefixes: Lately[Prefix] = Lately(pictures)
        self.features: Lately[Tensor] = Lately(crops)
        # For those who measure.
        self.crops_encoded = 0

    def patches(self, model: Any, pixels: npt.NDArray[np.float32]) -> Tensor:
        """Return the (C, N, width) tower features of (C, N, P) crops.

        Each crop is encoded by itself: in batches the last bits depend on the neighbours, and a remembered crop
        would differ from one encoded anew.
        """
        if not self.features.size:
            self.crops_encoded += len(pixels)
            encoded: Tensor = model.encode_crops(torch.from_numpy(pixels).to(model.device))
            return encoded
        found = []
        for crop in pixels:
            key = fingerprint(crop)
            known = self.features.recall(key)
            if known is None:
                self.crops_encoded += 1
                known = model.encode_crops(torch.from_numpy(crop[None]).to(model.device))[0]
                self.features.keep(key, known)
            found.append(known)
        return torch.stack(found)

    def make_room(self, pictures: int) -> None:
        """Remember so many pictures at least, and as many crops for each as before.

        Args:
            pictures: how many are looked at in turn, such as the envs of a rollout.
        """
        if pictures > self.prefixes.size:
            self.features.size = self.features.size * pictures // max(self.prefixes.size, 1)
            self.prefixes.size = pictures

    def forget(self) -> None:
        """Forget everything; needed after the model's weights change."""
        self.prefixes.clear()
        self.features.clear()
