"""Read images, draw on them, and compare two screenshots."""

from molmo_agent.images.comparing import (
    Mask,
    PixelBox,
    blocks,
    caret_bars,
    changed_part,
    different_pixels,
    edge_similarity,
    pieces,
)
from molmo_agent.images.drawing import MARK, draw_points, filmstrip, with_caption, write_gif
from molmo_agent.images.reading import MAX_PIXELS, formats, open_image, read_image, read_size

__all__ = [
    "MARK",
    "MAX_PIXELS",
    "Mask",
    "PixelBox",
    "blocks",
    "caret_bars",
    "changed_part",
    "different_pixels",
    "draw_points",
    "edge_similarity",
    "filmstrip",
    "formats",
    "open_image",
    "pieces",
    "read_image",
    "read_size",
    "with_caption",
    "write_gif",
]
