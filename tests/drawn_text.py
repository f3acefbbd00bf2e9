"""A small canvas for tests of reading: texts and widgets at known places, and a reader that knows the texts."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from molmo_agent.envs.drawing import fonts
from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line, Word, box_around

FONT = PIL.ImageFont.truetype(str(fonts._FOLDER / "dejavu_sans.ttf"), 14)
INK, PAPER, FRAME, WHITE = (20, 20, 20), (240, 240, 240), (150, 150, 150), (255, 255, 255)


class Drawing:
    """Draws on a grey window, and notes the text lines as a perfect engine would return them.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width=640, height=400):
        self.image = PIL.Image.new("RGB", (width, height), PAPER)
        self.draw = PIL.ImageDraw.Draw(self.image)
        self.lines = []

    def text(self, x, y, text, *, gap=None, color=INK):
        """Draw words from (x, y) on; ``gap`` pixels lie between them instead of a space."""
        words, left = [], x
        for word in text.split():
            self.draw.text((left, y), word, fill=color, font=FONT)
            right = left + FONT.getlength(word)
            words.append(Word(word, Box.from_pixels(left, y - 4, right, y + 20, *self.image.size)))
            left = right + (FONT.getlength(" ") if gap is None else gap)
        self.lines.append(Line(tuple(words), box_around([word.box for word in words]), 1.0))
        return self

    def rectangle(self, x, y, width, height, fill=WHITE):
        """Draw a framed rectangle: a field, a button, a check box."""
        self.draw.rectangle((x, y, x + width - 1, y + height - 1), fill=fill, outline=FRAME)
        return self

    def button(self, x, y, width, text):
        """Draw a button 28 pixels high with a text in its middle."""
        self.rectangle(x, y, width, 28, fill=(225, 225, 225))
        return self.text(x + (width - FONT.getlength(text)) / 2, y + 6, text)

    def array(self):
        """Return the (height, width, 3) uint8 image."""
        return np.asarray(self.image)

    @property
    def reader(self):
        """A reader that returns the drawn lines, whatever the image."""
        return KnownLines(self.lines)


class KnownLines:
    """Returns prepared lines, and counts how often it was asked."""

    name = "known"

    def __init__(self, lines):
        self.lines, self.num_reads = tuple(lines), 0

    def read(self, image):
        self.num_reads += 1
        return self.lines
