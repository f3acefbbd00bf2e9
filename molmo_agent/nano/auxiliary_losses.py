"""Auxiliary losses that teach a small model to read and to point; their heads are used in training only.

Each has dense targets, which the next-token loss reaches only through many layers: the character on a patch, the
object at an image token, the label of a box, the position of a token on the screen, the target of attention.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molmo_agent.envs.drawing.annotated_screen import Element, Screen
from molmo_agent.model.crops import CropLayout, token_grid
from molmo_agent.model.message_tree import can_attend
from molmo_agent.model.modeling import MolmoForConditionalGeneration
from molmo_agent.nano.encode_screen import NUM_CHARACTERS, PHOC_SIZE, CanvasMap, TrainingScreen, character_targets, phoc
from molmo_agent.synthetic.referring.names import describe
from molmo_agent.synthetic.target_boxes import target_box

NUM_OBJECTS = 256
CODE = 64
# Fourier features of a coordinate in [0, 1]: sine and cosine of these numbers of turns.
TURNS = (1, 2, 4, 8, 16, 32)
POSITION_CODE = 2 * 2 * len(TURNS)
# An image token belongs to a label if it has at least this share of the label's area.
_MIN_SHARE = 0.02


def object_class(element: Element) -> int:
    """Return a stable class for an element's look: its kind, plus a shape's form and colour or an icon's drawing."""
    name = f"{element.kind} {element.shape} {element.color}" if element.kind == "shape" else element.kind
    if element.kind == "icon":
        name = f"icon {element.shape}"
    return 1 + zlib.crc32(name.encode()) % (NUM_OBJECTS - 1)


def on(device: torch.device, array: Any) -> Tensor:
    """Return an array, or a list of numbers, as a tensor on a device."""
    return torch.as_tensor(array).to(device)


def position_code(points: Tensor) -> Tensor:
    """Return the (..., 4 * len(TURNS)) Fourier features of (..., 2) normalized points."""
    turns = on(points.device, TURNS) * (2 * torch.pi)
    angles = points.unsqueeze(-1) * turns
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """The targets of every patch and image token of one image's crop grid."""

    # (crops, N, 2) character classes of the left and right half of each patch.
    characters: Tensor
    # (rows*columns,) object classes of the image tokens in reading order, and (rows*columns, 2) their offsets to the
    # object's centre, in tokens.
    objects: Tensor
    offsets: Tensor
    # (items, rows*columns) weights of the labels' tokens, and (items, PHOC_SIZE) codes of the labels.
    label_weights: Tensor
    label_codes: Tensor
    labels: tuple[str, ...]

    def amount(self) -> float:
        """Return a measure of the content: number of cells with a character and of tokens on objects."""
        return float((self.characters > 0).sum()) + 4 * float((self.objects > 0).sum())


def by_crop(targets: DenseTargets, grid: tuple[int, int], layout: CropLayout) -> list[DenseTargets]:
    """Split the targets of a crop grid into those of its crops, overlaps included, in reading order.

    A crop's targets contain only the labels that it shows completely.
    """
    side, pool = layout.pooled_side, layout.pooling_size
    rows, columns = token_grid(grid, layout)
    step = (layout.side - sum(layout.margins)) // pool
    weights = targets.label_weights.unflatten(1, (rows, columns))
    split = []
    for index, characters in enumerate(targets.characters):
        top, left = (step * position for position in divmod(index, grid[1]))
        window = slice(top, top + side), slice(left, left + side)
        crop_weights = weights[:, *window].flatten(1)
        complete = (crop_weights.sum(1) > 0.999).nonzero().flatten()
        split.append(
            DenseTargets(
                characters=characters[None],
                objects=targets.objects.unflatten(0, (rows, columns))[window].flatten(),
                offsets=targets.offsets.unflatten(0, (rows, columns))[window].flatten(0, 1),
                label_weights=crop_weights[complete],
                label_codes=targets.label_codes[complete],
                labels=tuple(targets.labels[i] for i in complete.tolist()),
            )
        )
    return split


def dense_targets(
    screen: Screen, grid: tuple[int, int], layout: CropLayout, *, words: bool, max_items: int = 96
) -> DenseTargets:
    """Compute the dense targets of a screen.

    Args:
        screen: image and ground truth.
        grid: crop grid (rows, columns).
        layout: sizes of crops.
        words: every line of text is a labelled item too, in addition to the elements.
        max_items: maximum number of labelled items; further ones are ignored.
    """
    height, width = screen.image.shape[:2]
    canvas = CanvasMap.of(height, width, grid, layout)
    canvas_height, canvas_width = layout.canvas(grid)
    patch, side = layout.patch_size, layout.side
    canvas_texts = tuple(
        run.transform(canvas.left, canvas.top, across=canvas.scale_x, down=canvas.scale_y) for run in screen.texts
    )
    rows, columns = canvas_height // patch, canvas_width // patch
    characters = character_targets(canvas_texts, rows, columns * 2, (patch / 2, patch)).reshape(rows, columns, 2)
    step = side - sum(layout.margins)
    crops = [
        characters[i * step : i * step + side, j * step : j * step + side].reshape(-1, 2)
        for i in range(grid[0])
        for j in range(grid[1])
    ]
    objects = np.zeros((canvas.rows, canvas.columns), dtype=np.int64)
    offsets = np.zeros((canvas.rows, canvas.columns, 2), dtype=np.float32)
    items: list[tuple[tuple[float, float, float, float], str]] = []
    for element in screen.elements:
        if not element.visible:
            continue
        left, top, right, bottom = canvas.to_tokens(element.box)
        x0, x1 = max(int(left + 0.5), 0), min(int(right + 0.5), canvas.columns)
        y0, y1 = max(int(top + 0.5), 0), min(int(bottom + 0.5), canvas.rows)
        center_x, center_y = (left + right) / 2, (top + bottom) / 2
        x1, y1 = max(x1, min(int(center_x) + 1, canvas.columns)), max(y1, min(int(center_y) + 1, canvas.rows))
        x0, y0 = min(x0, int(center_x)), min(y0, int(center_y))
        if element.kind != "text":
            objects[y0:y1, x0:x1] = object_class(element)
            offsets[y0:y1, x0:x1, 0] = center_x - (np.arange(x0, x1)[None, :] + 0.5)
            offsets[y0:y1, x0:x1, 1] = center_y - (np.arange(y0, y1)[:, None] + 0.5)
        name = describe(element)
        if name:
            items.append((target_box(screen, element), name))
    if words:
        items += [
            ((run.edges[0], run.top, run.edges[-1], run.bottom), run.text) for run in screen.texts if run.text.strip()
        ]
    weights, names = [], []
    for box, name in items[:max_items]:
        try:
            weights.append(canvas.weights(box).ravel())
        except ValueError:  # a sliver at the border, outside of the canvas
            continue
        names.append(name.casefold())
    size = canvas.rows * canvas.columns
    return DenseTargets(
        characters=torch.from_numpy(np.stack(crops)),
        objects=torch.from_numpy(objects.ravel()),
        offsets=torch.from_numpy(offsets.reshape(-1, 2)),
        label_weights=torch.from_numpy(np.stack(weights)) if weights else torch.zeros(0, size),
        label_codes=torch.from_numpy(np.stack([phoc(name) for name in names])) if names else torch.zeros(0, PHOC_SIZE),
        labels=tuple(names),
    )


def contrast(queries: Tensor, codes: Tensor, labels: list[str], scale: Tensor) -> tuple[Tensor, Tensor]:
    """Match each query to the code of its own label among all distinct labels of the batch.

    Returns:
        The mean cross-entropy and the share of queries whose label ranks first; zeros if there are no queries.
    """
    if not labels:  # a screen without labels
        return codes.new_zeros(()), codes.new_zeros(())
    unique: dict[str, int] = {}
    first = []
    for i, label in enumerate(labels):
        if label not in unique:
            unique[label] = len(unique)
            first.append(i)
    target = on(queries.device, [unique[label] for label in labels])
    codes = codes[on(codes.device, first)]
    logits = F.normalize(queries, dim=-1) @ F.normalize(codes, dim=-1).T * scale.exp().clamp(max=50)
    return F.cross_entropy(logits, target), (logits.argmax(-1) == target).float().mean()


class AuxiliaryLosses(nn.Module):
    """The heads of the auxiliary losses."""

    def __init__(self, model: MolmoForConditionalGeneration) -> None:
        """Build heads for a model. The two layers before the decoder's last one get attention targets."""
        super().__init__()
        config: Any = model.config
        patch_width = config.vision_config.hidden_size * len(config.vit_layers)
        width = config.text_config.hidden_size
        # This layer attends to what identifies the target, the next one to the target; the last one writes the answer.
        self.guided_layer = len(model.model.language_model.layers) - 3
        self.characters = nn.Linear(patch_width, 2 * NUM_CHARACTERS)
        self.objects = nn.Linear(width, NUM_OBJECTS)
        self.offsets = nn.Linear(width, 2)
        self.image_code = nn.Linear(width, CODE)
        self.label_code = nn.Linear(PHOC_SIZE, CODE)
        self.query_code = nn.Linear(width, CODE)
        self.key_code = nn.Linear(width, CODE)
        self.code_scale = nn.Parameter(torch.tensor(2.5))
        self.token_position = nn.Linear(width, POSITION_CODE)
        self.first_position = nn.Linear(width, POSITION_CODE)
        self.answer_position = nn.Linear(width, POSITION_CODE)

    def read(self, patches: Tensor, features: Tensor, targets: list[DenseTargets]) -> dict[str, Tensor]:
        """Return the objectives of the vision side.

        Args:
            patches: (M, N, width) tower features of the crops of all images.
            features: (batch, rows*columns, D) image features of the crop grids in reading order; equal grids.
            targets: one per image.
        """
        device = features.device
        characters = torch.cat([target.characters for target in targets]).to(device)
        logits = self.characters(patches).unflatten(-1, (2, NUM_CHARACTERS))
        per_cell = F.cross_entropy(logits.flatten(0, 2), characters.flatten(), reduction="none")
        has_character = (characters.flatten() > 0).float()
        # Most cells are empty: average text and background separately.
        character_loss = (per_cell * has_character).sum() / has_character.sum().clamp(min=1)
        blank_loss = (per_cell * (1 - has_character)).sum() / (1 - has_character).sum().clamp(min=1)
        right = (logits.argmax(-1).flatten() == characters.flatten()).float()

        objects = torch.stack([target.objects for target in targets]).to(device)
        on_object = (objects > 0).float()
        object_loss = F.cross_entropy(self.objects(features).flatten(0, 1), objects.flatten(), reduction="none")
        object_loss = (object_loss * (0.1 + on_object.flatten())).sum() / (0.1 + on_object).sum()
        offsets = torch.stack([target.offsets for target in targets]).to(device)
        offset_error = (self.offsets(features) - offsets).clamp(-4, 4).abs().sum(-1)
        weights = [target.label_weights.to(device) for target in targets]
        pooled = torch.cat([weight @ f for weight, f in zip(weights, features, strict=True)])
        names = [name for target in targets for name in target.labels]
        codes = self.label_code(torch.cat([target.label_codes for target in targets]).to(device))
        code_loss, code_right = contrast(self.image_code(pooled), codes, names, self.code_scale)
        return {
            "characters": character_loss + 0.3 * blank_loss,
            "objects": object_loss,
            "offsets": (offset_error * on_object).sum() / on_object.sum().clamp(min=1),
            "image_code": code_loss,
            "acc_characters": (right * has_character).sum() / has_character.sum().clamp(min=1),
            "acc_image_code": code_right,
        }

    def point(
        self,
        model: MolmoForConditionalGeneration,
        states: tuple[Tensor, ...],
        example: TrainingScreen,
        dense: DenseTargets,
    ) -> dict[str, Tensor]:
        """Return the objectives of the decoder side, for one sequence.

        Args:
            model: the model.
            states: hidden states, (1, T, D) before every layer and after the last.
            example: the sequence.
            dense: the targets of its image.
        """
        guided, device = self.guided_layer, states[0].device
        rows = on(device, np.concatenate([example.x_positions, example.y_positions]))
        answers, first_points = (on(device, a).repeat(2, 1) for a in (example.answers, example.first_points))
        grid = on(device, example.grid_positions)
        guided_states, next_states = states[guided][0], states[guided + 1][0]

        attention_losses, attention_shares = [], []
        for layer, array in ((guided, example.first_attention), (guided + 1, example.attention)):
            attention = on(device, array).repeat(2, 1)
            entropy = -(attention * attention.clamp(min=1e-9).log()).sum(-1).mean()
            log_probabilities = self._attention_log_probabilities(model, layer, states[layer], rows, example)[:, grid]
            attention_losses.append(-(attention * log_probabilities).sum(-1).mean() - entropy)
            attention_shares.append((log_probabilities.exp() * (attention > 0)).sum(-1).mean())

        # Select by index on the CPU: a mask on the GPU would force a wait for its count.
        centers = example.grid_centers
        on_screen = ((centers >= 0) & (centers <= 1)).all(-1)
        tokens, points = (on(device, a[on_screen]) for a in (example.grid_positions, centers))
        token_loss = F.mse_loss(self.token_position(guided_states[tokens]), position_code(points))
        first = F.mse_loss(self.first_position(next_states[rows]), position_code(first_points))
        answer = F.mse_loss(self.answer_position(states[guided + 2][0, rows]), position_code(answers))

        # A question by position or look does not contain the target's label.
        has_name = np.array([question.named for question in example.point_questions] * 2)
        names = [question.label for question in example.point_questions if question.named] * 2
        codes = self.label_code(on(device, np.stack([phoc(name) for name in names] or [phoc("")])))
        question_rows = rows[on(device, has_name.nonzero()[0])]
        code_loss, code_right = contrast(self.query_code(guided_states[question_rows]), codes, names, self.code_scale)
        # Every image token of a label must encode the whole label.
        item, token = (dense.label_weights > _MIN_SHARE).nonzero(as_tuple=True)
        labels = [dense.labels[i] for i in item.tolist()]
        codes = self.label_code(dense.label_codes.to(device))[item.to(device)]
        key_loss, key_right = contrast(
            self.key_code(guided_states[grid[token.to(device)]]), codes, labels, self.code_scale
        )
        return {
            "first_attention": attention_losses[0],
            "attention": attention_losses[1],
            "token_position": token_loss,
            "first_position": first,
            "answer_position": answer,
            "query_code": code_loss,
            "key_code": key_loss,
            "acc_first_attention": attention_shares[0],
            "acc_attention": attention_shares[1],
            "acc_query_code": code_right,
            "acc_key_code": key_right,
        }

    def _attention_log_probabilities(
        self, model: MolmoForConditionalGeneration, number: int, hidden: Tensor, rows: Tensor, example: TrainingScreen
    ) -> Tensor:
        """Return (rows, T) attention log-probabilities of a layer's first head; minimal for keys hidden by the tree."""
        decoder: Any = model.model.language_model
        layer = decoder.layers[number]
        attention = layer.self_attn
        normed = layer.input_layernorm(hidden)[0]
        head = attention.head_dim
        query = F.linear(normed[rows], attention.q_proj.weight[:head], attention.q_proj.bias[:head])
        key = F.linear(normed, attention.k_proj.weight[:head], attention.k_proj.bias[:head])
        position_ids = on(hidden.device, example.position_ids)
        cos, sin = decoder.rotary_emb(normed, position_ids[None])

        def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            first, second = x.chunk(2, dim=-1)
            return x * cos + torch.cat([-second, first], dim=-1) * sin

        query, key = rotate(query, cos[0, rows], sin[0, rows]), rotate(key, cos[0], sin[0])
        logits = query @ key.T * attention.scaling
        segments = on(hidden.device, example.subsegment_ids)
        keys = torch.arange(len(segments), device=hidden.device)
        visible = can_attend(rows[:, None], keys[None, :], segments[rows, None], segments[None, :])
        return F.log_softmax(logits.masked_fill(~visible, torch.finfo(logits.dtype).min), dim=-1)
