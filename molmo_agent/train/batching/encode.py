"""Encode rows of data sets as token sequences with loss weights and crops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_agent.data.row import Conversation, Row
from molmo_agent.model.crops import image_token_counts
from molmo_agent.model.processor import MolmoProcessor
from molmo_agent.model.prompts import format_turns, length_hint, style_prefix, style_tag, with_prefix
from molmo_agent.train.batching.message_tree import Example, lay_out
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops, Work, visible_pairs

# Per-token numbers of the annotation, the example and the data set in a packed sequence.
_NUMBERS = ("subsegment_ids", "document_ids", "source_ids")


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """A row's token sequence; its crops are made later."""

    example: Example
    row: Row
    crops: int
    # Number of annotations that did not fit.
    num_truncated: int
    # Number of its data set in the mixture.
    source: int = 0
    # Of the example's randomness, what dropout drops included.
    seed: int = 0

    @property
    def size(self) -> Size:
        """The number of tokens and crops."""
        return Size(len(self.example.input_ids), self.crops)

    @property
    def num_pairs(self) -> float:
        """The number of (query, key) pairs in attention."""
        ids = self.example.subsegment_ids
        lengths = [len(self.example.input_ids)] if ids is None else np.unique(ids, return_counts=True)[1].tolist()
        # The image, to which all annotations attend, has the largest number.
        return visible_pairs(lengths[-1], lengths[:-1])

    @property
    def num_targets(self) -> int:
        """The number of positions with a target."""
        return int((self.example.loss_weights > 0).sum())

    def work(self, flops: Flops) -> Work:
        """Return the work of its forward pass."""
        tokens = len(self.example.input_ids)
        return flops.work(tokens=tokens, pairs=self.num_pairs, crops=self.crops, targets=self.num_targets)


def apply_template(conversation: Conversation, config: TrainConfig, rng: np.random.RandomState) -> list[str]:
    """Return a conversation's turns in the training format: prefix, roles, spaces."""
    question, *answers = conversation.turns
    prefix = ""
    if config.prefix == "style":
        prefix = style_prefix(conversation.style, rng)
    elif config.prefix == "tag":
        prefix = style_tag(conversation.style)
    elif config.prefix == "length":
        prefix = length_hint(conversation.style, len(answers[0]), rng)
    return format_turns([with_prefix(prefix, question), *answers], config.message_format)


def encode(row: Row, processor: MolmoProcessor, config: TrainConfig, seed: int, source: int = 0) -> EncodedExample:
    """Encode a row; annotations are shuffled, and those that do not fit in the sequence are dropped and counted.

    Raises:
        ValueError: no annotation fits.
    """
    rng = np.random.RandomState(seed & 0xFFFFFFFF)
    tokenizer: Any = processor.tokenizer
    image_ids: list[int] = []
    crops = 0
    for picture in row.pictures:
        width, height = picture.size
        _, grid = processor.image_processor.grid_of(height, width, config.max_crops)
        image_ids += processor.image_block(grid, config.max_crops)
        crops += 1 + grid[0] * grid[1]
    turns = [apply_template(conversation, config, rng) for conversation in row.conversations]
    ids = [[tokenizer(turn, add_special_tokens=False)["input_ids"] for turn in each] for each in turns]
    rng.shuffle(ids)
    annotations: list[list[list[int]]] = []
    room = config.length - 1 - len(image_ids)
    for each in ids:
        # Every answer ends with EOS; the sequence's last token is only a label.
        num_tokens = sum(map(len, each)) + len(each) // 2
        if num_tokens <= room:
            annotations.append(each)
            room -= num_tokens
    if not annotations:
        raise ValueError(
            f"{row.name}: no annotation fits in {config.length} tokens with the {len(image_ids)} of the "
            f"{'image' if len(row.pictures) == 1 else f'{len(row.pictures)} images'}"
        )
    example = lay_out(
        image_ids,
        annotations,
        bos=processor.bos_id,
        eos=tokenizer.eos_token_id,
        weighting="root_subsegments" if config.weighting == "root" else None,
        weight=row.weight if len(annotations) == 1 else 1.0,
    )
    return EncodedExample(example, row, crops, len(ids) - len(annotations), source, seed)


def collate(
    members: Sequence[EncodedExample], processor: MolmoProcessor, config: TrainConfig
) -> dict[str, npt.NDArray[Any]]:
    """Pack several examples into one sequence: arrays with a leading batch dimension of 1.

    Without members, the sequence is one token without a target, so that a rank without work can take part in the step.
    A sequence without an image gets one blank crop with unused features, so that every rank runs the vision tower.
    """
    image_processor = processor.image_processor
    names = ("input_ids", "labels", "loss_weights", "position_ids")
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*names, *_NUMBERS)}
    image_arrays: dict[str, list[npt.NDArray[Any]]] = {
        n: [] for n in ("pixel_values", "image_masks", "image_input_idx")
    }
    start = 0
    for number, member in enumerate(members):
        example = member.example
        for name in names:
            parts[name].append(getattr(example, name))
        length = len(example.input_ids)
        tree = example.subsegment_ids
        parts["subsegment_ids"].append(np.zeros(length, dtype=np.int64) if tree is None else tree)
        parts["document_ids"].append(np.full(length, number))
        parts["source_ids"].append(np.full(length, member.source))
        place = start + 1  # behind BOS
        for picture in member.row.pictures:
            arrays, grid = image_processor.process_one(picture.image(), config.max_crops)
            index = arrays["image_input_idx"]
            arrays["image_input_idx"] = np.where(index >= 0, index + place, -1)
            for name, entries in image_arrays.items():
                entries.append(arrays[name])
            blocks = image_token_counts(grid, image_processor.layout(config.max_crops))
            place += sum(rows * (columns + 1) + 2 for rows, columns in blocks)  # with line ends, start and end
        start += length
    if not members:
        blank = {"input_ids": processor.bos_id, "labels": -1, "position_ids": 0} | dict.fromkeys(_NUMBERS, 0)
        parts = {name: [np.array([value])] for name, value in blank.items()}
        parts["loss_weights"] = [np.zeros(1, dtype=np.float32)]
    if not image_arrays["pixel_values"]:
        layout = image_processor.layout(config.max_crops)
        patches, width = layout.side**2, layout.patch_size**2 * 3
        image_arrays["pixel_values"].append(np.zeros((1, patches, width), dtype=np.float32))
        image_arrays["image_masks"].append(np.zeros((1, patches), dtype=np.float32))
        image_arrays["image_input_idx"].append(np.full((1, layout.pooled_side**2), -1, dtype=np.int64))
    sequence = {name: np.concatenate(entries)[None] for name, entries in (parts | image_arrays).items()}
    sequence["loss_weights"] = np.maximum(sequence["loss_weights"], 0)
    # (1, examples): the seed of each document.
    sequence["seeds"] = np.array([[member.seed for member in members] or [0]], dtype=np.uint64)
    return sequence
