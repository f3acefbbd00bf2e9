"""All fuzz targets: ``TARGETS`` holds a function of bytes for each name, ``SEEDS`` the inputs to begin with."""

import file_targets  # noqa: F401
import message_targets  # noqa: F401
import text_targets  # noqa: F401
from registry import SEEDS, TARGETS

__all__ = ["SEEDS", "TARGETS"]
