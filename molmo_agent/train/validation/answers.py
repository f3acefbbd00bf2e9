"""Let the model answer some held-out examples, score the answers, and write a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molmo_agent.data.hits import is_hit
from molmo_agent.data.row import Conversation
from molmo_agent.data.unusable_rows import ROW_ERRORS, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import ModelError
from molmo_agent.files import write_whole
from molmo_agent.geometry import Point
from molmo_agent.html import render_page
from molmo_agent.images import draw_points
from molmo_agent.model import MolmoProcessor
from molmo_agent.point_text.cut_off import mark_cut
from molmo_agent.pointers.careful import in_windows
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.profile import read_profile
from molmo_agent.train.batching.encode import apply_template
from molmo_agent.train.batching.sampler import spread
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.preview.example_view import uri
from molmo_agent.train.starting_model import source_of
from molmo_agent.train.step import ModelWithLoss
from molmo_agent.train.validation.held_out import HeldOut, HeldOutExample

PAGE = "validation.html"
"""The page of examples in the run's folder."""
_IMAGE_PX = 420


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """What the model said of one held-out example."""

    source: str
    name: str
    question: str
    expected: str
    reply: str
    right: bool
    # "pointing": its points are on the targets; "words": it is the expected text.
    kind: str
    images: tuple[str, ...] = ()


def rates(answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """Return the share of right answers of each kind."""
    kinds = sorted({answer.kind for answer in answers})
    return {kind: float(np.mean([answer.right for answer in answers if answer.kind == kind])) for kind in kinds}


@torch.inference_mode()
def answers_of(held_out: HeldOut, model: ModelWithLoss, processor: MolmoProcessor, most: int) -> list[ScoredAnswer]:
    """Let the model answer examples that are spread evenly over all data sets; one rank alone may call this.

    Args:
        held_out: the examples.
        model: with whole weights, not sharded.
        processor: of the model.
        most: number of examples.
    """
    config = held_out.config
    decoder: Any = model.model.model.language_model.config
    training, attention = model.training, decoder._attn_implementation
    # That of packed sequences cannot go on behind what was already read.
    decoder._attn_implementation = "sdpa"
    pointer = MolmoPointer(model.model, processor, read_profile(source_of(config)), name="validation")
    pairs = [(name, example) for name, examples in held_out.examples.items() for example in examples]
    answers = []
    device = pointer.model.device.type
    try:
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
            for place in spread(len(pairs), most):
                answers.append(_answer(pointer, config, *pairs[place]))
    finally:
        decoder._attn_implementation = attention
        model.train(training)
    return answers


def _answer(pointer: MolmoPointer, config: TrainConfig, source: str, example: HeldOutExample) -> ScoredAnswer:
    conversation, row = example.conversation, example.row
    expected, right = conversation.turns[1], False
    points: tuple[Point, ...] = ()
    kind = "words" if conversation.target is None else "pointing"
    uris: tuple[str, ...] = ()
    try:
        images = [picture.image() for picture in row.pictures]
        if conversation.target is not None and len(images) == 1:
            result = in_windows(pointer).point(images[0], conversation.target.instruction)
            reply, points = result.reply, tuple(one.point for one in result.points)
            right = is_hit(result, conversation.target, (images[0].shape[1], images[0].shape[0]))
        else:
            reply = _said(pointer, config, images, conversation, example.seed)
            right = same_words(reply, expected)
        uris = tuple(_drawn(image, points) for image in images)
    except ModelError as error:
        reply = f"(no answer: {error})"
    except ROW_ERRORS as error:
        reply = f"(the example cannot be used: {reason_of(error)})"
    return ScoredAnswer(
        source=source, name=row.name, question=conversation.turns[0], expected=expected, reply=reply, right=right,
        kind=kind, images=uris,
    )  # fmt: skip


def _said(
    pointer: MolmoPointer, config: TrainConfig, images: Sequence[Image], conversation: Conversation, seed: int
) -> str:
    """Return the reply to a question that is put as in training, at most as long as is measured."""
    most = (config.validate.max_new_tokens if config.validate else 0) or 1
    rng = np.random.RandomState(seed & 0xFFFFFFFF)
    prompt = apply_template(conversation, config, rng)[0]
    return "".join(pointer.complete(images, prompt, max_new_tokens=most)).strip()


def same_words(reply: str, expected: str) -> bool:
    """Return whether two texts are the same but for spaces and capitals; one that was cut off is not."""
    return reply != mark_cut("") and " ".join(reply.split()).casefold() == " ".join(expected.split()).casefold()


def _drawn(image: Image, points: Sequence[Point]) -> str:
    return uri(np.asarray(draw_points(image, points)), _IMAGE_PX)


def write_answers(folder: Path, step: int, measured: dict[str, Any], answers: Sequence[ScoredAnswer]) -> None:
    """Write the page of examples of the last measurement."""
    page = render_page("train/validation/page.html.jinja", step=step, measured=measured, answers=answers)
    write_whole(folder / PAGE, page)
