"""Reads with the tesseract program, where a person has it installed: other languages, no onnxruntime."""

import csv
import io
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence

import PIL.Image

from molmo_agent.child_environment import child_environment
from molmo_agent.episode import Image
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line, Word, box_around, reading_order
from molmo_agent.visible_text import visible_text

# Print on screens is about half as large as what tesseract was trained on.
_ENLARGED = 2
_SECONDS = 60


class TesseractReader:
    """Reads with tesseract 4 or 5.

    Args:
        language: what tesseract calls it, "eng+deu" for two.
        program: its name or path.

    Raises:
        UsageError: the program is not installed.
    """

    name = "tesseract"

    def __init__(self, *, language: str = "eng", program: str = "tesseract") -> None:
        path = shutil.which(program)
        if path is None:
            raise UsageError(
                f"expected the program {program!r}, but it is not installed; install it (Debian: apt install "
                "tesseract-ocr, macOS: brew install tesseract), or use the reader that comes with the package: rapidocr"
            )
        self._command = [path, "stdin", "stdout", "--psm", "11", "-l", language, "tsv"]

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the program failed, or does not have the language.
        """
        height, width = image.shape[:2]
        size = (width * _ENLARGED, height * _ENLARGED)
        png = io.BytesIO()
        PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC).save(png, "PNG", compress_level=1)
        try:
            run = subprocess.run(
                self._command,
                input=png.getvalue(),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                # Its threads wait for each other on screenshots.
                env=child_environment(OMP_THREAD_LIMIT="1"),
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"expected tesseract to read the image within {_SECONDS} s, but it did not") from error
        if run.returncode:
            reason = run.stderr.decode(errors="replace").strip()[-300:]
            raise ModelError(f"expected tesseract to read the image, but it ended with {run.returncode}: {reason}")
        return _lines(run.stdout.decode(errors="replace"), *size)


def _lines(table: str, width: int, height: int) -> Sequence[Line]:
    """Read tesseract's table: one row per word, with its block, paragraph and line.

    Raises:
        ModelError: it is not the table that is known.
    """
    words: dict[tuple[str, ...], list[tuple[Word, float]]] = defaultdict(list)
    try:
        for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["level"] == "5" and row["text"].strip():
                left, top, across, down = (int(row[name]) for name in ("left", "top", "width", "height"))
                box = Box.from_pixels(left, top, left + across, top + down, width, height)
                line = tuple(row[name] for name in ("block_num", "par_num", "line_num"))
                words[line].append((Word(row["text"].strip(), box), max(float(row["conf"]), 0.0) / 100))
    # A column or a cell is missing, or holds something else.
    except (csv.Error, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        problem = visible_text(f"{type(error).__name__}: {error}")
        raise ModelError(
            f"expected tesseract to print a table of words and boxes, but it has another form ({problem}): install "
            "tesseract 4 or 5"
        ) from error
    return reading_order(
        [
            Line(
                tuple(word for word, _ in line),
                box_around([word.box for word, _ in line]),
                sum(confidence for _, confidence in line) / len(line),
            )
            for line in words.values()
        ]
    )
