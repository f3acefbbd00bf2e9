"""Check that a processor belongs to a model: token ids, sizes and pixel values. A wrong one raises no error itself."""

from typing import Any

from molmo_agent.model.configuration import MolmoConfig
from molmo_agent.model.processor import IMAGE_TOKENS, MolmoProcessor

_PARTS = ("start", "end", "patch", "column")
# Means and deviations are written with different numbers of digits.
_PIXEL_TOLERANCE = 1e-3


def check_fit(config: MolmoConfig, processor: MolmoProcessor) -> None:
    """Compare a processor with a model's config.

    Raises:
        ValueError: they disagree; the message names every difference.
    """
    differences = [*_tokens(config, processor), *_images(config, processor.image_processor)]
    if differences:
        raise ValueError(
            f"expected tokenizer and image processor to fit the model's config, but {'; '.join(differences)}. Use the "
            "files that were saved with the model, or make both anew: agent start"
        )


def _tokens(config: MolmoConfig, processor: MolmoProcessor) -> list[str]:
    text: Any = config.text_config
    tokenizer: Any = processor.tokenizer
    differences = []
    ids = (processor.start_id, processor.end_id, processor.patch_id, processor.column_id)
    for part, token, id_ in zip(_PARTS, IMAGE_TOKENS, ids, strict=False):
        own = getattr(config, f"image_{part}_token_id")
        if own != id_:
            differences.append(f"{token} is {id_} in the tokenizer and {own} in the config (image_{part}_token_id)")
    rows = text.vocab_size + config.additional_vocab_size
    token, last = max(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    if last >= rows:
        differences.append(f"the token {token!r} has the id {last}, and the model has {rows} rows of embeddings")
    eos = tokenizer.eos_token_id
    if eos is None:
        differences.append("the tokenizer has no token that ends an answer (eos_token)")
    elif eos >= text.vocab_size:
        differences.append(f"the token that ends an answer has the id {eos}, which the model never writes")
    return differences


def _images(config: MolmoConfig, images: Any) -> list[str]:
    vision: Any = config.vision_config
    sizes = {
        "crop_size": (images.crop_size, vision.image_size, "vision_config.image_size"),
        "patch_size": (images.patch_size, vision.patch_size, "vision_config.patch_size"),
        "pooling_size": (images.pooling_size, config.pooling_size, "pooling_size"),
    }
    differences = [
        f"{name} is {ours} in the image processor and {theirs} in the config ({field})"
        for name, (ours, theirs, field) in sizes.items()
        if ours != theirs
    ]
    for name in ("image_mean", "image_std"):
        ours, theirs = list(getattr(images, name)), list(getattr(config, name))
        if len(ours) != len(theirs) or any(abs(a - b) > _PIXEL_TOLERANCE for a, b in zip(ours, theirs, strict=True)):
            differences.append(f"{name} is {ours} in the image processor and {theirs} in the config")
    return differences
