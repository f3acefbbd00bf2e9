"""Collect the model's inputs for one training example: texts with weights, crops, points."""

import base64
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from molmo_agent.data.row import Conversation
from molmo_agent.episode import Image
from molmo_agent.errors import MolmoAgentError, PointTextError
from molmo_agent.geometry import Point
from molmo_agent.model.crops import CropLayout, image_token_counts, resized_shape
from molmo_agent.model.processor import MolmoProcessor
from molmo_agent.point_text.parse import parse_points
from molmo_agent.policies.android_actions import parse_action_text
from molmo_agent.train.batching.encode import EncodedExample, apply_template
from molmo_agent.train.config import TrainConfig

# Maximum sides of the embedded images, in pixels.
_IMAGE_PX, _CROP_PX = 1000, 168


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tokens of equal weight. The pieces are their texts; tokens that form one character share a piece."""

    pieces: tuple[str, ...]
    weight: float
    special: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One conversation about the image in the sequence."""

    number: int
    style: str
    runs: tuple[Run, ...]
    tokens: int
    # First and last position id of its tokens.
    positions: tuple[int, int]
    # Points of its answers, as fractions of the image.
    points: tuple[Point, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """One crop, and the part of it that becomes image tokens."""

    uri: str
    # Left, top, width, height of that part, as fractions of the crop.
    visible: tuple[float, float, float, float]
    # The same on the image, in its pixels; may reach into the padding.
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleView:
    """One training example for the page."""

    name: str
    # Name of its data set, and its number in the step.
    source: str
    number: int
    tokens: int
    # Number of tokens with a loss.
    targets: int
    # (rows, columns) of the image tokens: of the global crop, and of the grid.
    blocks: tuple[tuple[int, int], ...] = ()
    grid: tuple[int, int] = (0, 0)
    image_uri: str = ""
    # Width and height of the image in pixels.
    size: tuple[int, int] = (0, 0)
    crops: tuple[Crop, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    # Whether the annotations are branches that do not attend to each other.
    tree: bool = False
    # Annotations that did not fit: style, text and number of tokens.
    dropped_annotations: tuple[tuple[str, str, int], ...] = ()
    # Number of target tokens by weight.
    weights: Counter[float] = field(default_factory=Counter)
    # Why the example cannot be used or drawn.
    problem: str = ""


def uri(image: Image, side_px: int) -> str:
    """Return a thumbnail of an image as a data URI."""
    thumbnail = PIL.Image.fromarray(image)
    thumbnail.thumbnail((side_px, side_px), PIL.Image.Resampling.LANCZOS)
    file = io.BytesIO()
    thumbnail.save(file, "WEBP", quality=88, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def runs_of(ids: Sequence[int], weights: Sequence[float], tokenizer: Any) -> tuple[Run, ...]:
    """Decode tokens to text, in runs of equal weight."""
    special = set(tokenizer.all_special_ids)
    runs: list[Run] = []
    pending: list[int] = []
    for number, (token, weight) in enumerate(zip(ids, weights, strict=True)):
        pending.append(token)
        piece = tokenizer.decode(pending)
        last = number + 1 == len(ids)
        # A character may consist of several tokens; decode them together.
        complete = last or weights[number + 1] != weight or ids[number + 1] in special or token in special
        if piece.endswith("\ufffd") and not complete and len(pending) < 4:
            continue
        pending = []
        is_special = token in special
        if runs and runs[-1].weight == weight and not runs[-1].special and not is_special:
            runs[-1] = Run((*runs[-1].pieces, piece), weight)
        else:
            runs.append(Run((piece,), weight, is_special))
    return tuple(runs)


def answer_points(conversation: Conversation) -> tuple[tuple[Point, ...], str]:
    """Return the points of a conversation's answers, and a note about answers that cannot be parsed."""
    points: list[Point] = []
    notes: list[str] = []
    for answer in conversation.turns[1::2]:
        if conversation.style == "android_control":
            try:
                action = parse_action_text(answer)
                points += [Point(action.point[0] / 100, action.point[1] / 100)] if action.point else []
            except (PointTextError, ValueError) as error:
                notes.append(f"not drawn: {error}")
        elif "<point" in answer:
            result = parse_points("molmo", answer)
            points += [match.point for match in result.points]
            if not result.points:
                notes.append(f"not drawn: {result.reason}")
    return tuple(points), "; ".join(notes)


def view_example(
    encoded: EncodedExample, processor: MolmoProcessor, config: TrainConfig, *, seed: int, source: str, number: int
) -> ExampleView:
    """Return the view of an example.

    Args:
        encoded: the encoded example.
        processor: of the model.
        config: the run.
        seed: the seed of the encoding.
        source: name of its data set.
        number: of the example in its step.
    """
    example, row, tokenizer = encoded.example, encoded.row, processor.tokenizer
    closed = example.labels[-1] >= 0
    # The last token is only a label. A token's weight is stored one position before it, where it is predicted.
    ids = [*example.input_ids.tolist(), *([int(example.labels[-1])] if closed else [])]
    weights = [0.0, *np.maximum(example.loss_weights, 0).tolist()][: len(ids)]
    blocks: tuple[tuple[int, int], ...] = ()
    grid = (0, 0)
    start = 1
    for place, picture in enumerate(row.pictures):
        width, height = picture.size
        layout, crop_grid = processor.image_processor.grid_of(height, width, config.max_crops)
        blocks += image_token_counts(crop_grid, layout)
        start += len(processor.image_block(crop_grid, config.max_crops))
        # The page draws the first image.
        grid = grid if place else crop_grid
    segments = example.subsegment_ids
    parts = [(start, len(ids))]
    if segments is not None:
        edges = [start, *(np.flatnonzero(np.diff(segments[start:])) + start + 1).tolist(), len(ids)]
        parts = list(itertools.pairwise(edges))
    by_tokens = _conversations_by_tokens(encoded, tokenizer, config, seed)
    annotations = []
    for annotation, (low, high) in enumerate(parts, 1):
        conversation = by_tokens[tuple(ids[low:high])].pop()
        points, note = answer_points(conversation) if len(row.pictures) == 1 else ((), "")
        annotations.append(
            Annotation(
                number=annotation,
                style=conversation.style,
                runs=runs_of(ids[low:high], weights[low:high], tokenizer),
                tokens=high - low,
                positions=(int(example.position_ids[low]), int(example.position_ids[low]) + high - low - 1),
                points=points,
                note=note,
            )
        )
    dropped_annotations = tuple(
        (c.style, " ".join(c.turns), len(key)) for key, conversations in by_tokens.items() for c in conversations
    )
    drawing: dict[str, Any] = {}
    if row.image is not None:
        try:
            image = row.image()
            drawing = {"image_uri": uri(image, _IMAGE_PX), "size": (image.shape[1], image.shape[0])}
            drawing["crops"] = _crops(image, processor, config)
        except (MolmoAgentError, OSError) as error:
            drawing = {"problem": f"its image cannot be drawn: {error}"}
    return ExampleView(
        name=row.name,
        source=source,
        number=number,
        tokens=encoded.size.tokens,
        targets=sum(weight > 0 for weight in weights),
        blocks=blocks,
        grid=grid,
        annotations=tuple(annotations),
        tree=segments is not None,
        dropped_annotations=dropped_annotations,
        weights=Counter(round(weight, 6) for weight in weights if weight > 0),
        **drawing,
    )


def _conversations_by_tokens(
    encoded: EncodedExample, tokenizer: Any, config: TrainConfig, seed: int
) -> dict[tuple[int, ...], list[Conversation]]:
    """Return all conversations of an example by their tokens."""
    rng = np.random.RandomState(seed & 0xFFFFFFFF)
    conversations: dict[tuple[int, ...], list[Conversation]] = {}
    for conversation in encoded.row.conversations:
        tokens: list[int] = []
        for turn, text in enumerate(apply_template(conversation, config, rng)):
            tokens += tokenizer(text, add_special_tokens=False)["input_ids"]
            if turn % 2 == 1:
                tokens.append(tokenizer.eos_token_id)
        conversations.setdefault(tuple(tokens), []).append(conversation)
    return conversations


def _crops(image: Image, processor: MolmoProcessor, config: TrainConfig) -> tuple[Crop, ...]:
    """Return the image processor's crops of an image."""
    maker = processor.image_processor
    arrays, grid = maker.process_one(image, config.max_crops)
    layout = maker.layout(config.max_crops)
    pixels = arrays["pixel_values"]
    if pixels.dtype != np.uint8:
        shape = (-1, 3)
        plain = pixels.reshape(*pixels.shape[:2], *shape) * np.array(maker.image_std) + np.array(maker.image_mean)
        pixels = np.clip(plain * 255 + 0.5, 0, 255).astype(np.uint8)
    side, patch = layout.side, layout.patch_size
    squares = pixels.reshape(-1, side, side, patch, patch, 3).swapaxes(2, 3).reshape(-1, side * patch, side * patch, 3)
    index = arrays["image_input_idx"].reshape(len(squares), layout.pooled_side, layout.pooled_side)
    visible = [_visible_part(positions) for positions in index]
    return tuple(
        Crop(uri=uri(square, _CROP_PX), visible=part, box_px=_box_on_image(number, part, grid, layout, image.shape[:2]))
        for number, (square, part) in enumerate(zip(squares, visible, strict=True))
    )


def _visible_part(positions: npt.NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Return (left, top, width, height) of the part of a crop that becomes image tokens, as fractions of the crop."""
    rows, columns = (np.flatnonzero((positions >= 0).any(axis=axis)) for axis in (1, 0))
    side = len(positions)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return left / side, top / side, (right - left) / side, (bottom - top) / side


def _box_on_image(
    number: int,
    part: tuple[float, float, float, float],
    grid: tuple[int, int],
    layout: CropLayout,
    shape: tuple[int, ...],
) -> tuple[float, float, float, float]:
    """Return the position of a part of a crop on the image: left, top, width, height in image pixels."""
    is_global = number == 0
    canvas = (layout.crop_size, layout.crop_size) if is_global else layout.canvas(grid)
    row, column = (0, 0) if is_global else divmod(number - 1, grid[1])
    height, width = resized_shape(shape[0], shape[1], canvas)
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    x = column * layout.window_px + part[0] * layout.crop_size - left
    y = row * layout.window_px + part[1] * layout.crop_size - top
    across, down = shape[1] / width, shape[0] / height
    return x * across, y * down, part[2] * layout.crop_size * across, part[3] * layout.crop_size * down
