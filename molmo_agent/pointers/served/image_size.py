"""The size of the image that is sent: one that the server does not change, so that its pixels are the model's."""

import math
from dataclasses import dataclass

from PIL import Image as PILImage

from molmo_agent.errors import ImageError
from molmo_agent.point_text.scales import ImageSize

# The Qwen-VL image processors refuse longer images.
_MAX_ASPECT_RATIO = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """The sizes that a family's image processor leaves as they are.

    Args:
        multiple: both sides are multiples of it: the patch times the patches that are merged.
        min_pixels: the processor enlarges images with fewer pixels.
        max_pixels: the processor, or a server with a lower limit of its own, shrinks images with more pixels.
    """

    multiple: int
    min_pixels: int
    max_pixels: int

    def size_for(self, size: ImageSize) -> ImageSize:
        """Return the nearest (width, height) within the limits, for an image of a size.

        Raises:
            ImageError: the image is too long for the family.
        """
        width, height = size
        if max(size) > _MAX_ASPECT_RATIO * min(size):
            raise ImageError(
                f"the image is {width} x {height}; this model takes images up to {_MAX_ASPECT_RATIO} times as long as "
                "wide: crop it"
            )
        area = self.multiple**2
        most = max(self.max_pixels // area, 1)
        least = min(math.ceil(self.min_pixels / area), most)
        across, down = (max(1, round(side / self.multiple)) for side in size)
        if not least <= across * down <= most:
            # A little inside the limits, so that rounding a side to the multiple distorts the image less.
            target = min(max(width * height / area, min(1.05 * least, most)), max(0.95 * most, least))
            zoom = math.sqrt(target / (width * height))
            # The short side first: the long one can then be adjusted finely.
            short = max(1, min(round(min(size) * zoom), math.isqrt(most)))
            long = min(max(round(max(size) * zoom), math.ceil(least / short)), most // short)
            across, down = (long, short) if width >= height else (short, long)
        return across * self.multiple, down * self.multiple

    def fit(self, image: PILImage.Image) -> PILImage.Image:
        """Return the image in the size to send; each side is scaled by itself, so that fractions stay the same."""
        size = self.size_for(image.size)
        return image if size == image.size else image.resize(size, PILImage.Resampling.LANCZOS)
