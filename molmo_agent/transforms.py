"""placeholder"""
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageTransform:
    """placeholder."""
