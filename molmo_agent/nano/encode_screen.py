"""Encode a screen with ground truth as one training sequence: model inputs and targets, as numpy arrays.

Layout of the sequence: BOS, the image's tokens, then every question with its answer. Each question attends to the image
and to itself only (a message tree: docs/reference/model.md#message-trees).
"""

import string
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_agent.envs.drawing.annotated_screen import Screen, TextRun
from molmo_agent.geometry import Box, Point
from molmo_agent.model.crops import CropLayout, resized_shape, token_grid
from molmo_agent.model.processor import MolmoProcessor
from molmo_agent.model.prompts import role_prompt
from molmo_agent.point_text.parse import Style, format_points, round_reference
from molmo_agent.synthetic.referring.names import Question
from molmo_agent.synthetic.target_boxes import cue_box, target_box
from molmo_agent.train.batching.message_tree import IMAGE_SUBSEGMENT

CHARACTERS = " " + "".join(c for c in map(chr, range(33, 127)))
"""Classes of the reading objective: blank, then printable ASCII; all other characters are the last class."""
NUM_CHARACTERS = len(CHARACTERS) + 1
_CHARACTER_CLASS = {c: i for i, c in enumerate(CHARACTERS)}

_ALPHABET = string.ascii_lowercase + string.digits
_LETTER = {c: i for i, c in enumerate(_ALPHABET)}
_LETTERS = len(_ALPHABET) + 1
PHOC_SIZE = _LETTERS * (1 + 2 + 3 + 4)


@dataclass(frozen=True, slots=True)
class CanvasMap:
    """Maps the pixels of an image to its canvas of crops, in pixels of the canvas."""

    top: int
    left: int
    scale_x: float
    scale_y: float
    rows: int
    columns: int
    token_px: int

    @classmethod
    def of(cls, height: int, width: int, grid: tuple[int, int], layout: CropLayout) -> "CanvasMap":
        """Return the map of a (height, width) image on a crop grid."""
        canvas = layout.canvas(grid)
        new_height, new_width = resized_shape(height, width, canvas)
        rows, columns = token_grid(grid, layout)
        return cls(
            top=(canvas[0] - new_height) // 2,
            left=(canvas[1] - new_width) // 2,
            scale_x=new_width / width,
            scale_y=new_height / height,
            rows=rows,
            columns=columns,
            token_px=layout.patch_size * layout.pooling_size,
        )

    def to_tokens(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return a pixel box (left, top, right, bottom) of the image in units of image tokens of the canvas."""
        left, top, right, bottom = box
        return (
            (left * self.scale_x + self.left) / self.token_px,
            (top * self.scale_y + self.top) / self.token_px,
            (right * self.scale_x + self.left) / self.token_px,
            (bottom * self.scale_y + self.top) / self.token_px,
        )

    def shows(self, box: tuple[float, float, float, float]) -> bool:
        """Return whether a part of a pixel box of the image is on the canvas."""
        left, top, right, bottom = self.to_tokens(box)
        return left < min(right, self.columns) and top < min(bottom, self.rows) and right > 0 and bottom > 0

    def weights(self, box: tuple[float, float, float, float], sigma: float | None = None) -> npt.NDArray[np.float32]:
        """Return (rows, columns) weights of the tokens under a box, with the sum 1.

        Args:
            box: left, top, right, bottom in pixels of the image.
            sigma: with None, weights are proportional to the covered share of each token; else also to a Gaussian
                around the box's centre with this standard deviation in tokens.

        Raises:
            ValueError: the box lies outside the image.
        """
        left, top, right, bottom = self.to_tokens(box)
        x, y = np.arange(self.columns), np.arange(self.rows)
        across = np.clip(np.minimum(right, x + 1) - np.maximum(left, x), 0, 1)
        down = np.clip(np.minimum(bottom, y + 1) - np.maximum(top, y), 0, 1)
        if sigma is not None:
            across = across * np.exp(-(((x + 0.5) - (left + right) / 2) ** 2) / (2 * sigma**2))
            down = down * np.exp(-(((y + 0.5) - (top + bottom) / 2) ** 2) / (2 * sigma**2))
        weights = np.outer(down, across)
        total = weights.sum()
        if total <= 0:
            raise ValueError(f"the box {box} lies outside the image")
        return (weights / total).astype(np.float32)


def phoc(text: str) -> npt.NDArray[np.float32]:
    """Return a code of a label's letters and their positions: counts in the whole, halves and thirds, and the ends.

    Case is ignored, and all characters of other scripts share one class.
    """
    code = np.zeros((10, _LETTERS), dtype=np.float32)
    letters = [c for c in text.casefold() if not c.isspace()]
    count = len(letters)
    for i, c in enumerate(letters):
        letter, position = _LETTER.get(c, _LETTERS - 1), (i + 0.5) / count
        code[0, letter] += 1
        code[1 + int(position * 2), letter] += 1
        code[3 + int(position * 3), letter] += 1
    for row, i in ((6, 0), (7, 1), (8, -1), (9, -2)):
        if count > abs(i) - (i < 0):
            code[row, _LETTER.get(letters[i], _LETTERS - 1)] += 1
    return code.ravel()


def character_targets(texts: tuple[TextRun, ...], rows: int, columns: int, cell: tuple[float, float]) -> Any:
    """Return (rows, columns) character classes of a grid of cells of (width, height) pixels; 0 without text.

    A cell's class is that of the character at its middle.
    """
    width, height = cell
    targets = np.zeros((rows, columns), dtype=np.int64)
    for run in texts:
        if not run.text:
            continue
        first = max(int(np.ceil(run.top / height - 0.5)), 0)
        last = min(int(np.floor(run.bottom / height - 0.5)) + 1, rows)
        if first >= last:  # assign a line thinner than a cell to the cell at its middle
            first = min(max(int((run.top + run.bottom) / 2 / height), 0), rows - 1)
            last = first + 1
        centers = (np.arange(columns) + 0.5) * width
        index = np.searchsorted(np.asarray(run.edges), centers, side="right") - 1
        inside = (index >= 0) & (index < len(run.text))
        classes = [_CHARACTER_CLASS.get(c, 0 if c.isspace() else NUM_CHARACTERS - 1) for c in run.text]
        line = np.array(classes, dtype=np.int64)[index[inside]]
        targets[first:last, inside] = line
    return targets


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingScreen:
    """One screen with its questions, encoded for the model; arrays have no batch axis."""

    # T tokens.
    input_ids: npt.NDArray[np.int64]
    position_ids: npt.NDArray[np.int64]
    subsegment_ids: npt.NDArray[np.int64]
    # The next id at each position; -1 at positions without a loss.
    targets: npt.NDArray[np.int64]
    loss_weights: npt.NDArray[np.float32]
    # C crops.
    arrays: dict[str, npt.NDArray[Any]]
    # For each question whose answer has a point: the positions that predict the first digit of its first x and y.
    x_positions: npt.NDArray[np.int64]
    y_positions: npt.NDArray[np.int64]
    # (questions with points, 2) normalized answers.
    answers: npt.NDArray[np.float32]
    # (questions with points, rows*columns) targets of attention, over the grid's image tokens in reading order.
    attention: npt.NDArray[np.float32]
    # The same for the cue: what identifies the target in the question, such as a checkbox's label; mostly the target
    # itself. And (questions with points, 2) the normalized centres of the cues.
    first_attention: npt.NDArray[np.float32]
    first_points: npt.NDArray[np.float32]
    # Positions of those image tokens in the sequence.
    grid_positions: npt.NDArray[np.int64]
    # (rows*columns, 2) normalized centres of the image tokens, outside [0, 1] in the padding.
    grid_centers: npt.NDArray[np.float32]
    # The questions whose answers have a point.
    point_questions: tuple[Question, ...]


def _answer_ids(processor: MolmoProcessor, points: list[Point], question: Question) -> tuple[list[int], int]:
    """Return the answer's ids with the closing EOS, and their number before the tail (alt text and label)."""
    style: Style = "point_count" if question.counted else "pointing"
    reply = " " + format_points("molmo", points, question.label, style=style)
    # The answer for an absent target has no label.
    head = reply[: reply.index(' alt="') - 1] if points else reply
    tokenizer = processor.tokenizer
    head_ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    ids = tokenizer(reply, add_special_tokens=False)["input_ids"]
    assert ids[: len(head_ids)] == head_ids
    return [*ids, tokenizer.eos_token_id], len(head_ids)


def _rounded_percents(point: Point) -> tuple[float, float]:
    """Return a point in percent, rounded as in the answer."""
    ((x, y),) = round_reference([(round(point.x * 100, 10), round(point.y * 100, 10))])
    return x, y


def _grid_tokens(
    canvas: CanvasMap, layout: CropLayout, width: int, height: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the positions of the grid's image tokens in a sequence, and their (rows*columns, 2) normalized centres."""
    side = layout.pooled_side
    base = 1 + 1 + side * (side + 1) + 1 + 1  # BOS, the global crop's block, the grid's start token
    row, column = np.divmod(np.arange(canvas.rows * canvas.columns), canvas.columns)
    centers_x = ((column + 0.5) * canvas.token_px - canvas.left) / (canvas.scale_x * width)
    centers_y = ((row + 0.5) * canvas.token_px - canvas.top) / (canvas.scale_y * height)
    return base + row * (canvas.columns + 1) + column, np.stack([centers_x, centers_y], axis=-1).astype(np.float32)


def make_training_screen(
    screen: Screen, questions: list[Question], processor: MolmoProcessor, rng: Random, *, tail: float, sigma: float
) -> TrainingScreen:
    """Encode a screen and its questions as one sequence.

    Args:
        screen: image and ground truth.
        questions: at least one must have a target.
        processor: the model's.
        rng: selects the answers that keep their tail.
        tail: share of answers that are learned completely; the others end after the coordinates.
        sigma: standard deviation in tokens of the Gaussian target of attention.
    """
    height, width = screen.image.shape[:2]
    prefix, arrays = processor.encode(screen.image, "")
    layout = processor.image_processor.layout()
    _, grid = processor.image_processor.grid_of(height, width)
    canvas = CanvasMap.of(height, width, grid, layout)
    tokenizer = processor.tokenizer
    pieces = [' <point x="', ' <points x1="', '" y="', '" y1="', "."]
    *opening, dot = tokenizer.convert_tokens_to_ids(pieces)
    one, several = opening[::2], opening[1::2]

    ids, subsegments, positions = list(prefix), [IMAGE_SUBSEGMENT] * len(prefix), list(range(len(prefix)))
    targets, weights = [-1] * len(prefix), [0.0] * len(prefix)
    xs, ys, answers, attention, point_questions = [], [], [], [], []
    first_points, first_attention = [], []
    for number, question in enumerate(questions, start=1):
        boxes = [target_box(screen, element) for element in question.elements]
        points = [Box.from_pixels(*box, width, height).center for box in boxes]
        prompt = tokenizer(role_prompt(question.text), add_special_tokens=False)["input_ids"]
        answer, head = _answer_ids(processor, points, question)
        if rng.random() >= tail:
            answer = answer[: head + 1]  # up to the end of the coordinate, without the label
        start = len(ids)
        tokens = prompt + answer
        ids += tokens[:-1]
        subsegments += [number] * (len(tokens) - 1)
        positions += range(len(prefix), len(prefix) + len(tokens) - 1)
        target_range = range(len(prompt) - 1, len(tokens) - 1)
        targets += [tokens[i + 1] if i in target_range else -1 for i in range(len(tokens) - 1)]
        # The decimal is finer than an image token and matters less.
        weights += [(0.2 if tokens[i] == dot else 1.0) if i in target_range else 0.0 for i in range(len(tokens) - 1)]
        if not points:
            continue
        x_open, y_open = one if len(points) == 1 else several
        xs.append(start + tokens.index(x_open))
        ys.append(start + tokens.index(y_open))
        # The answer's first point: points are sorted from left to right, after rounding.
        point, box = min(zip(points, boxes, strict=True), key=lambda pair: _rounded_percents(pair[0]))
        answers.append((point.x, point.y))
        attention.append(canvas.weights(box, sigma).ravel())
        point_questions.append(question)
        first = cue_box(screen, question, box)
        if not canvas.shows(first):  # a label beyond the border
            first = box
        first_attention.append(attention[-1] if first == box else canvas.weights(first, sigma).ravel())
        center = Box.from_pixels(*first, width, height).center
        first_points.append((center.x, center.y))

    grid_positions, grid_centers = _grid_tokens(canvas, layout, width, height)
    return TrainingScreen(
        input_ids=np.array(ids),
        position_ids=np.array(positions),
        subsegment_ids=np.array(subsegments),
        targets=np.array(targets),
        loss_weights=np.array(weights, dtype=np.float32),
        arrays=arrays,
        x_positions=np.array(xs),
        y_positions=np.array(ys),
        answers=np.array(answers, dtype=np.float32),
        attention=np.stack(attention),
        first_attention=np.stack(first_attention),
        first_points=np.array(first_points, dtype=np.float32),
        grid_positions=grid_positions,
        grid_centers=grid_centers,
        point_questions=tuple(point_questions),
    )
