"""PP-OCR in onnxruntime through rapidocr, whose wheel holds the models: offline, one CPU thread, no download ever."""

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import ModelError
from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line, Word, reading_order

DETECTION, RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
# Images whose shorter side is below this are enlarged for the detection: small print is not detected otherwise.
SHORT_SIDE = 544
# What is longer than this many times its shorter side, such as a task bar, is enlarged so many times at most: a strip
# of 3 x 400 pixels would become one of 544 x 72,533, which takes gigabytes.
_STRIP, _ENLARGED = 8, 4
# Height in pixels that the recognition scales each line to, and the least width that it pads a line to. The engine's
# own 320 costs twice the time on screenshots, where most lines are one short word, and reads no better.
_LINE_SHAPE = (3, 48, 48)
# Lines whose pixels are remembered, so that what only moved is not read again.
_REMEMBERED = 8192


class RapidReader:
    """Reads with PP-OCRv6 (Chinese, English and most Latin scripts).

    Args:
        min_confidence: lines that the engine is less sure of are left out: mostly icons, read as letters.
        threads: CPU threads of onnxruntime; one leaves the others to the pointing model, and is hardly slower.

    Raises:
        ModelError: rapidocr was installed without its models.
    """

    name = "rapidocr"

    def __init__(self, *, min_confidence: float = 0.5, threads: int = 1) -> None:
        self.min_confidence = min_confidence
        self._engine = _make_engine(threads)
        self._recognized: OrderedDict[bytes, tuple[str, float, tuple[tuple[str, float, float], ...]]] = OrderedDict()
        # The engine keeps its options between calls.
        self._lock = threading.Lock()

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed.
        """
        height, width = image.shape[:2]
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        with self._lock:
            lines = [self._read_line(bgr, rectangle) for rectangle in self._detect(bgr)]
        return reading_order([_to_line(line, width, height) for line in lines if line is not None])

    def read_line(self, image: Image) -> tuple[str, float]:
        """Read an RGB uint8 image of shape (height, width, 3) that shows one line; the text and its score in [0, 1].

        Raises:
            ModelError: the engine failed.
        """
        with self._lock:
            text, confidence, _ = self._recognize(np.ascontiguousarray(image[:, :, ::-1]))
        return text, confidence

    def _detect(self, bgr: Image) -> list[tuple[int, int, int, int]]:
        """Return (left, top, right, bottom) in pixels of each line."""
        height, width = bgr.shape[:2]
        try:
            boxes = self._engine(_padded_strip(bgr), use_det=True, use_cls=False, use_rec=False).boxes
        except Exception as error:  # whatever onnxruntime and OpenCV raise
            raise ModelError(f"expected rapidocr to detect text, but it failed: {error}") from error
        if boxes is None:
            return []
        corners = np.asarray(boxes)
        low, high = corners.min(axis=1).astype(int), np.ceil(corners.max(axis=1)).astype(int)
        rectangles = [
            (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
            for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
        ]
        return [box for box in rectangles if box[2] - box[0] >= 3 and box[3] - box[1] >= 5]

    def _read_line(self, bgr: Image, rectangle: tuple[int, int, int, int]) -> "_PixelLine | None":
        left, top, right, bottom = rectangle
        crop = np.ascontiguousarray(bgr[top:bottom, left:right])
        key = blake2b(crop.tobytes(), digest_size=16, salt=str(crop.shape[1]).encode()).digest()
        if key in self._recognized:
            self._recognized.move_to_end(key)
        else:
            self._recognized[key] = self._recognize(crop)
            if len(self._recognized) > _REMEMBERED:
                self._recognized.popitem(last=False)
        text, confidence, words = self._recognized[key]
        if not text.strip() or confidence < self.min_confidence:
            return None
        return confidence, rectangle, words

    def _recognize(self, crop: Image) -> tuple[str, float, tuple[tuple[str, float, float], ...]]:
        """Return the text of a line's pixels, its score, and (word, left, right) with edges as fractions of it."""
        try:
            output = self._engine(crop, use_det=False, use_cls=False, use_rec=True, return_word_box=True)
        except Exception as error:  # whatever onnxruntime and OpenCV raise
            raise ModelError(f"expected rapidocr to recognize text, but it failed: {error}") from error
        if not output.txts:
            return "", 0.0, ()
        text = output.txts[0]
        return text, float(output.scores[0]), _word_edges(text, output.word_results[0])


_PixelLine = tuple[float, tuple[int, int, int, int], tuple[tuple[str, float, float], ...]]


def _make_engine(threads: int) -> Any:
    package = importlib.util.find_spec("rapidocr")
    folder = Path(str(package.origin)).parent / "models" if package is not None else None
    if folder is None or not all((folder / file).is_file() for file in (DETECTION, RECOGNITION)):
        raise ModelError(
            f"expected rapidocr with its models {DETECTION} and {RECOGNITION}, but they are not installed; "
            "install it again: pip install --force-reinstall 'rapidocr>=3.10'"
        )
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_vertical_padding": False,
            # The default shrinks what is longer than 2,000 pixels; print on a large monitor is no larger.
            "Global.max_side_len": 10_000,
            # With its file named, the engine looks for no other and asks no server.
            "Det.model_path": str(folder / DETECTION),
            "Rec.model_path": str(folder / RECOGNITION),
            "Det.limit_side_len": SHORT_SIDE,
            "Rec.rec_img_shape": list(_LINE_SHAPE),
            "Rec.rec_batch_num": 1,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _padded_strip(bgr: Image) -> Image:
    """Return the image, or a strip with its last row or column repeated; both of shape (height, width, 3)."""
    sides = bgr.shape[:2]
    missing = SHORT_SIDE // _ENLARGED - min(sides)
    if missing <= 0 or max(sides) <= _STRIP * min(sides):
        return bgr
    below, right = (missing, 0) if sides[0] < sides[1] else (0, missing)
    return np.pad(bgr, ((0, below), (0, right), (0, 0)), mode="edge")


def _word_edges(text: str, line: Any) -> tuple[tuple[str, float, float], ...]:
    """Return (word, left, right) as fractions of the line, from the columns of the network's output that hold it.

    Args:
        text: of the line, with spaces.
        line: rapidocr's WordInfo: pieces of the text without spaces, and the column of each letter.
    """
    columns = [column for piece in line.word_cols for column in piece]
    length = line.line_txt_len
    words = text.split()
    if not length or sum(map(len, words)) != len(columns):
        # Signs of several code points: the words share the line by their number of letters.
        columns, length = list(range(len("".join(words)))), len("".join(words))
    half = float(np.median(np.diff(columns))) / 2 if len(columns) > 1 else 0.5
    edges, position = [], 0
    for word in words:
        first, last = columns[position], columns[position + len(word) - 1]
        position += len(word)
        left, right = (first + 0.5 - half) / length, (last + 0.5 + half) / length
        edges.append((word, min(max(left, 0.0), 1.0), min(max(right, 0.0), 1.0)))
    return tuple(edges)


def _to_line(line: _PixelLine, width: int, height: int) -> Line:
    confidence, (left, top, right, bottom), words = line
    length = right - left
    return Line(
        tuple(
            Word(text, Box.from_pixels(left + first * length, top, left + last * length, bottom, width, height))
            for text, first, last in words
        ),
        Box.from_pixels(left, top, right, bottom, width, height),
        confidence,
    )
