"""Where the features of pictures belong in a sequence. Knows no pixels.

``image_input_idx`` counts from the sequence's first token. Whoever pads, cuts or prepends afterwards (a pipeline's
collator, soft prompts) moves the tokens but not the indices; a row's tokens all move by the same distance, so it can
be found again from its image tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache


def places(image_input_idx: Tensor, is_image: Tensor) -> Tensor:
    """Return the position of each image feature, every one on an image token.

    Args:
        image_input_idx: (B, M) position of each feature in the sequence as it was; negative: the feature is dropped.
        is_image: (B, T), True at image tokens of the sequence as it is.

    Returns:
        (B, M): the indices, moved where all of a row's are off by the same distance.

    Raises:
        ValueError: another number of rows, or features that meet no image token however the row was moved.
    """
    if len(image_input_idx) != len(is_image):
        raise ValueError(
            "expected the places of pictures for each row of the batch, got image_input_idx for "
            f"{len(image_input_idx)} rows and tokens for {len(is_image)}"
        )
    keep = image_input_idx >= 0
    fits = _meets(image_input_idx, is_image) | ~keep
    if bool(fits.all()) or not image_input_idx.numel():
        return image_input_idx
    first_token = is_image.int().argmax(1)
    first_feature = image_input_idx.masked_fill(~keep, torch.iinfo(image_input_idx.dtype).max).amin(1)
    distance = torch.where(fits.all(1), 0, first_token - first_feature)
    moved = torch.where(keep, image_input_idx + distance[:, None], image_input_idx)
    lost = keep & ~_meets(moved, is_image)
    if bool(lost.any()):
        row = int(lost.any(1).int().argmax())
        astray = int((keep & ~fits)[row].sum())
        raise ValueError(
            f"expected every image feature to belong to an image token, but in row {row} of the batch {astray} of "
            f"{int(keep[row].sum())} do not: the row has {is_image.shape[1]} tokens, {int(is_image[row].sum())} of "
            f"them image tokens, and image_input_idx goes up to {int(image_input_idx[row].max())}; was the image part "
            "of the prompt cut off, or was image_input_idx padded with something else than -1?"
        )
    return moved


def add_features(embeds: Tensor, image_features: Tensor | None, image_input_idx: Tensor | None) -> Tensor:
    """Add (B, C, G, D) features to (B, T, D) embeddings at their :func:`places`; without features nothing changes."""
    if image_features is None or image_input_idx is None:
        return embeds
    index = image_input_idx.flatten(1)
    keep = index >= 0
    rows = torch.arange(len(index), device=index.device)[:, None].expand_as(index)
    features = image_features.flatten(1, 2).to(embeds.dtype)
    return embeds.index_put((rows[keep], index[keep]), features[keep], accumulate=True)


def check_picture_inputs(
    pixel_values: Tensor | None,
    image_features: Tensor | None,
    image_input_idx: Tensor | None,
    image_masks: Tensor | None,
) -> None:
    """Refuse a picture that would not be looked at because a part of it is missing.

    Raises:
        ValueError: pixels or features without places, places without them, masks without pixels, or both pixels and
            features.
    """
    if pixel_values is not None and image_features is not None:
        raise ValueError("expected one of pixel_values and image_features (crops encoded earlier), got both")
    given = "pixel_values" if pixel_values is not None else "image_features" if image_features is not None else None
    if given and image_input_idx is None:
        raise ValueError(
            f"expected image_input_idx with {given}, got none: without it nobody knows where the picture belongs; "
            "pass all that the processor returns"
        )
    if image_input_idx is not None and not given and bool((image_input_idx >= 0).any()):
        raise ValueError(
            "expected pixel_values (or image_features) with image_input_idx, got none; pass all that the processor "
            "returns"
        )
    if image_masks is not None and not given:
        raise ValueError("expected pixel_values with image_masks, got none; pass all that the processor returns")


def expect_picture(
    input_ids: Tensor, image_features: Tensor | None, image_token_ids: Sequence[int], cache: Cache | None
) -> None:
    """Refuse the beginning of a sequence that has a picture's tokens, where no picture came with it.

    Args:
        input_ids: (B, T).
        image_features: of the pictures, if any came.
        image_token_ids: start, end, patch, column.
        cache: of earlier tokens; what follows them may repeat any token.

    Raises:
        ValueError: there is a start of a picture with image tokens.
    """
    if image_features is not None or input_ids.shape[1] < 2 or (cache is not None and cache.get_seq_length() > 0):
        return
    start, _, patch, _ = (bool((input_ids == id_).any()) for id_ in image_token_ids)
    if start and patch:
        raise ValueError(
            "expected pixel_values and image_input_idx, because the tokens contain those of a picture; got none: the "
            "picture would not be looked at. Pass all that the processor returns"
        )


def _meets(index: Tensor, is_image: Tensor) -> Tensor:
    """Return (B, M): whether each place lies inside the sequence, on an image token."""
    last = is_image.shape[1] - 1
    inside = (index >= 0) & (index <= last)
    return is_image.gather(1, index.clamp(0, max(last, 0)).long()) & inside
