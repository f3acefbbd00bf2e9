"""The batches of a curriculum's stages, and their losses.

The batch of step n of a stage is a pure function of (seed, stage, n).
"""

from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.nano.architecture import WINDOW
from molmo_agent.nano.auxiliary_losses import AuxiliaryLosses, DenseTargets, by_crop, dense_targets, on
from molmo_agent.nano.curriculum import ANY_STYLE, RECORDED_STYLE, WINDOW_STYLE, Stage, size_of
from molmo_agent.nano.encode_screen import TrainingScreen, make_training_screen
from molmo_agent.synthetic.augment import look_through_window, resize_screen
from molmo_agent.synthetic.recorded_screens import RecordedScreen, open_recorded_screens
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.referring.templates import reword
from molmo_agent.synthetic.sample import draw, seed_of
from molmo_agent.train.batching.tree_attention import Forest

PointBatch = list[tuple[TrainingScreen, DenseTargets]]

# Approximate size of recorded pages, whose actual size is known only after reading them.
_RECORDED_PIXELS = 160 * 210
# Maximum number of rounds of questions about a screen, and the number of questions at which the rounds stop.
_MAX_ROUNDS, _ENOUGH_QUESTIONS = 2, 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What to draw for one screen of a step."""

    seed: int
    style: str
    width: int
    height: int


def plan(stage: Stage, seed: int, step: int, index: int) -> Plan:
    """Return the plan of screen number ``index`` of a step."""
    rng = Random(seed_of(seed, stage.name, step, index))
    size = rng.choices(list(stage.sizes), list(stage.sizes.values()))[0]
    style, _, style_size = rng.choices(list(stage.styles), list(stage.styles.values()))[0].partition("@")
    width, height = size_of(style_size or size)
    return Plan(rng.getrandbits(31), style, width, height)


def sample(stage: Stage, plan: Plan) -> RecordedScreen:
    """Draw a screen or a window of one, or read a recorded one; windows and recordings come with questions."""
    if plan.style == RECORDED_STYLE:
        assert stage.recorded is not None  # see curriculum.check
        screens = open_recorded_screens(stage.recorded)
        return screens[plan.seed % len(screens)]
    any_style = None if plan.style in (ANY_STYLE, WINDOW_STYLE) else plan.style
    rng = Random(seed_of(plan.seed, "view"))
    width, height = (
        round(side * rng.uniform(1 - stage.stretch, 1 + stage.stretch)) for side in (plan.width, plan.height)
    )
    screen = draw(plan.seed, any_style, width=width, height=height, split="train")
    if stage.stretch:
        screen = resize_screen(screen, plan.width, plan.height)
    if plan.style == WINDOW_STYLE:
        return look_through_window(screen, rng, WINDOW)
    return RecordedScreen(screen=screen, questions=())


def deal(stage: Stage, seed: int, step: int, rank: int, world_size: int) -> list[int]:
    """Return a rank's screens of a step. Screens are dealt largest first, each to the rank with the least work."""
    plans = [plan(stage, seed, step, index) for index in range(stage.batch)]
    # The size of a window does not depend on that of the whole screen.
    pixels = {RECORDED_STYLE: _RECORDED_PIXELS, WINDOW_STYLE: WINDOW[0] * WINDOW[1]}
    sizes = [pixels.get(p.style, p.width * p.height) for p in plans]
    work, screens = [0] * world_size, []
    for index in sorted(range(stage.batch), key=lambda index: -sizes[index]):
        least = work.index(min(work))
        work[least] += sizes[index]
        if least == rank:
            screens.append(index)
    return sorted(screens)


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Crops with the targets of their patches and image tokens."""

    # (crops, N, patch*patch*3) and (crops, N).
    crops: Tensor
    masks: Tensor
    targets: list[DenseTargets]


def prepare_read(
    stage: Stage, seed: int, step: int, processor: MolmoProcessor, rank: int = 0, world_size: int = 1
) -> ReadBatch:
    """Draw the screens of a `read` step, select the crops with the most content, and return a rank's share of them.

    The crops are made as in use, from whole resized screens, including words cut by their borders.
    """
    candidates: list[tuple[float, Tensor, Tensor, DenseTargets]] = []
    for index in range(stage.batch):
        screen = sample(stage, plan(stage, seed, step, index)).screen
        height, width = screen.image.shape[:2]
        layout, grid = processor.image_processor.grid_of(height, width)
        arrays = processor.image_processor.process_one(screen.image)[0]
        # The global crop comes first among the crops; its mask last (see crop_masks).
        crops, masks = arrays["pixel_values"][1:], arrays["image_masks"][:-1]
        targets = dense_targets(screen, grid, layout, words=True, max_items=400)
        for crop, mask, target in zip(crops, masks, by_crop(targets, grid, layout), strict=True):
            candidates.append((target.amount(), torch.from_numpy(crop), torch.from_numpy(mask), target))
    candidates.sort(key=lambda item: item[0], reverse=True)
    best = candidates[: stage.crops][rank::world_size]
    return ReadBatch(
        crops=torch.stack([crop for _, crop, _, _ in best]),
        masks=torch.stack([mask for _, _, mask, _ in best]),
        targets=[target for _, _, _, target in best],
    )


def read_loss(model: MolmoForConditionalGeneration, heads: AuxiliaryLosses, batch: ReadBatch) -> dict[str, Tensor]:
    """Return the objectives of one `read` step."""
    crops, masks = batch.crops.to(model.device), batch.masks.to(model.device)
    patches = model.model.encode_crops(crops)
    return heads.read(patches, model.model.connector(patches, masks), batch.targets)


def prepare_point(
    stage: Stage, seed: int, step: int, processor: MolmoProcessor, rank: int = 0, world_size: int = 1
) -> PointBatch:
    """Draw a rank's screens of a `point` step; screens without a target are skipped."""
    examples = []
    for index in deal(stage, seed, step, rank, world_size):
        recorded_screen = sample(stage, plan(stage, seed, step, index))
        screen, rng = recorded_screen.screen, Random(seed_of(seed, stage.name, step, index, "questions"))
        questions = [replace(question, text=reword(question.text, rng)) for question in recorded_screen.questions]
        for _ in range(_MAX_ROUNDS):
            # An image costs more than its questions, so screens with few elements get several wordings of each.
            if len(questions) < _ENOUGH_QUESTIONS:
                questions += ask(screen, rng, none=stage.none, several=stage.several, most=stage.max_questions)
        if not any(question.elements for question in questions):
            continue
        height, width = screen.image.shape[:2]
        layout, grid = processor.image_processor.grid_of(height, width)
        example = make_training_screen(screen, questions, processor, rng, tail=stage.tail, sigma=stage.sigma)
        examples.append((example, dense_targets(screen, grid, layout, words=True, max_items=160)))
    return examples


def point_loss(
    model: MolmoForConditionalGeneration,
    heads: AuxiliaryLosses,
    example: TrainingScreen,
    dense: DenseTargets,
    *,
    frozen_tower: bool,
) -> dict[str, Tensor]:
    """Return the objectives of one screen with its questions."""
    device = model.device
    arrays = {name: on(device, array) for name, array in example.arrays.items()}
    with torch.set_grad_enabled(not frozen_tower):
        patches = model.model.encode_crops(arrays["pixel_values"])
    features = model.model.connector(patches, arrays["image_masks"])
    ids = on(device, example.input_ids)[None]
    embeds = model.model.embed(ids, features[None], arrays["image_input_idx"][None])
    # Build the tree on the CPU: it takes many small decisions.
    segments = torch.from_numpy(example.subsegment_ids)
    outputs = model.model.language_model(
        inputs_embeds=embeds,
        forest=Forest.of(torch.zeros_like(segments), segments, embeds.dtype).to(device),
        position_ids=on(device, example.position_ids)[None],
        use_cache=False,
        output_hidden_states=True,
    )
    has_target = example.targets >= 0
    targets, weights = (on(device, array[has_target]) for array in (example.targets, example.loss_weights))
    logits = model.lm_head(outputs.last_hidden_state[0, on(device, has_target.nonzero()[0])])
    token_loss = F.cross_entropy(logits, targets, reduction="none")
    parts = {
        "tokens": (token_loss * weights).sum() / weights.sum(),
        "acc_tokens": (logits.argmax(-1) == targets).float().mean(),
        **heads.point(model, outputs.hidden_states, example, dense),
    }
    if not frozen_tower:
        # Features of the grid in reading order: each image token from the crop that supplies it.
        index = example.arrays["image_input_idx"][1:].ravel()
        (numbers,) = (index >= 0).nonzero()
        features_in_order = np.empty(len(example.grid_positions), dtype=np.int64)
        features_in_order[np.searchsorted(example.grid_positions, index[numbers])] = numbers
        parts |= heads.read(patches[1:], features[1:].flatten(0, 1)[on(device, features_in_order)][None], [dense])
    return parts


@torch.no_grad()
def balance(model: MolmoForConditionalGeneration, heads: AuxiliaryLosses, batch: PointBatch) -> None:
    """Rescale image features to unit scale before the decoder learns from them; this changes no objective.

    The reading objectives do not constrain the scale of features, which grows. Beside features of scale 5, the
    decoder's first contributions (scale 0.05) are rounding noise, and it cannot compute a token's position on the
    screen.
    """
    arrays = batch[0][0].arrays
    features = model.get_image_features(
        on(model.device, arrays["pixel_values"])[None], on(model.device, arrays["image_masks"])[None]
    )
    size = float(features.std())
    model.model.connector.projector.down_proj.weight.div_(size)
    for head in (heads.objects, heads.offsets, heads.image_code):
        head.weight.mul_(size)
