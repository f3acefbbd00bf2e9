"""Write a model to start training from: a vision encoder, a language model, and a random connector between them.

The paper starts caption pre-training from such a model (section 3). The processor is made with it, so that the token
ids, sizes and pixel values of both agree.
"""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AddedToken, AutoConfig, AutoTokenizer

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.model.checkpoints.untrusted import check_configs
from molmo_agent.model.crops import image_token_counts, select_crop_grid
from molmo_agent.model.fit import check_fit
from molmo_agent.model.image_processor import MolmoImageProcessor
from molmo_agent.model.modeling import MolmoForConditionalGeneration
from molmo_agent.model.processor import IMAGE_TOKENS, MolmoProcessor
from molmo_agent.point_text.tags import POINT_TOKENS
from molmo_agent.visible_text import visible_text

# Rows of embeddings after the vocabulary, as in the released models.
_EXTRA_ROWS = 128
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The choices of a start model; defaults are the released models'."""

    # Side of a crop in pixels; None: the encoder's own image size, down to whole patches.
    crop_size: int | None = None
    # Patches shared with the neighbouring crop: (left and top, right and bottom).
    margins: tuple[int, int] = (4, 4)
    max_crops: int = 12
    # "overlap": a grid of crops and the whole image; "resize": the whole image alone.
    crop_mode: Literal["overlap", "resize"] = "overlap"
    # How the patches of a window become one image token, and the side of the window in patches.
    pooling: Literal["attention", "mean", "stack"] = "attention"
    pooling_size: int = 2
    # Blocks of the encoder whose outputs are read, counted from the end; None: as in the paper.
    vit_layers: tuple[int, ...] | None = None
    # Whether the tokenizer gets a token for each coordinate of a point (the dialect molmo-tokens).
    point_tokens: bool = False
    # Type of the written weights.
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # Of the connector and the rows of the image tokens.
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written."""

    parameters: int
    crop_size: int
    # Tokens of an image with as many crops as allowed.
    image_tokens: int
    # Whether the language model's tokenizer had no image tokens, and got them.
    new_tokens: bool


def write_start_model(vision: str | Path, language: str | Path, folder: Path, start: Start | None = None) -> Written:
    """Write model and processor to a new folder, whole or not at all.

    Args:
        vision: folder or hub name of a CLIP, MetaCLIP, SigLIP or DINOv2 checkpoint.
        language: folder or hub name of a Qwen2, OLMo, OLMoE or similar checkpoint with its tokenizer.
        folder: new or empty.
        start: the choices.

    Raises:
        UsageError: the folder is not empty, or the choices do not fit the parts.
        ModelError: a part cannot be read.
    """
    start = start or Start()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"expected a new or empty folder to write to, but {folder} exists and is not empty")
    tokenizer, rows = _read_part(language, "language model with its tokenizer", _tokenizer)
    if start.point_tokens:
        add_point_tokens(tokenizer, rows)
        rows += POINT_TOKENS
    new_tokens = add_image_tokens(tokenizer, rows)
    side, patch = _read_part(vision, "vision encoder", _image_size)
    crop_size = side // patch * patch if start.crop_size is None else start.crop_size
    last = max(tokenizer.get_vocab().values())
    ids = tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    fields: dict[str, Any] = {
        **dict(zip((f"image_{part}_token_id" for part in ("start", "end", "patch", "column")), ids, strict=True)),
        "pooling": start.pooling,
        "pooling_size": start.pooling_size,
        **({} if start.vit_layers is None else {"vit_layers": start.vit_layers}),
    }

    def build(source: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(start.seed)
            return MolmoForConditionalGeneration.from_backbones(
                vision,
                source,
                dtype=_DTYPES[start.dtype],
                crop_size=crop_size,
                extra_tokens=max(_EXTRA_ROWS, last + 1 - rows),
                vocabulary=rows,
                **fields,
            )

    try:
        # Cheap checks first: the weights of both parts take minutes to read.
        images = MolmoImageProcessor(
            crop_size=crop_size,
            patch_size=patch,
            margins=start.margins,
            max_crops=start.max_crops,
            pooling_size=start.pooling_size,
            crop_mode=start.crop_mode,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    model = _read_part(language, f"language model, and a vision encoder at {str(vision)!r}", build)
    images.image_mean, images.image_std = list(model.config.image_mean), list(model.config.image_std)
    processor = MolmoProcessor(image_processor=images, tokenizer=tokenizer)
    try:
        check_fit(model.config, processor)
    except ValueError as error:
        raise ModelError(f"{str(language)!r} cannot be a start model: {error}") from error
    part = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    part.mkdir(parents=True)
    try:
        model.save_pretrained(part)
        processor.save_pretrained(part)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    # An image so large that it gets all crops.
    grid = (0, 0) if start.crop_mode == "resize" else select_crop_grid(10**5, 10**5, images.layout())
    tokens = sum(rows * (columns + 1) + 2 for rows, columns in image_token_counts(grid, images.layout()))
    return Written(parameters=model.num_parameters(), crop_size=crop_size, image_tokens=tokens, new_tokens=new_tokens)


def add_point_tokens(tokenizer: Any, rows: int) -> None:
    """Give a tokenizer a token for each coordinate, with ids right behind the decoder's vocabulary.

    They are ordinary tokens: a model must be able to say them, and they stay in its decoded replies.

    Raises:
        ModelError: the tokenizer has tokens behind the decoder's vocabulary, or coordinates already.
    """
    vocabulary = tokenizer.get_vocab()
    tokens = [f"<|{number}|>" for number in range(POINT_TOKENS)]
    if max(vocabulary.values()) >= rows or any(token in vocabulary for token in tokens):
        raise ModelError(
            "expected a tokenizer without tokens behind the decoder's vocabulary and without point tokens, to give it "
            f"{POINT_TOKENS} of them: start from the language model itself, or leave point_tokens out"
        )
    _add_fillers(tokenizer, rows)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in tokens])


def _add_fillers(tokenizer: Any, rows: int) -> None:
    """Give a tokenizer unused tokens up to the end of the decoder's vocabulary."""
    first = max(tokenizer.get_vocab().values()) + 1
    names = [f"|<EXTRA_TOKENS_{number}>|" for number in range(rows - first)]
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names], special_tokens=True)


def add_image_tokens(tokenizer: Any, rows: int) -> bool:
    """Give a tokenizer the tokens of images, with ids after the decoder's vocabulary; return whether it had none.

    As in the released models, unused tokens fill the ids up to the vocabulary, whose size is rounded up in most models.

    Args:
        tokenizer: the language model's.
        rows: number of rows of its embeddings.
    """
    vocabulary = tokenizer.get_vocab()
    if all(token in vocabulary for token in IMAGE_TOKENS[:4]):
        return False
    _add_fillers(tokenizer, rows)
    tokens = [AddedToken(token, special=True, normalized=False) for token in IMAGE_TOKENS]
    tokenizer.add_tokens(tokens, special_tokens=True)
    return True


def _read_part(source: str | Path, what: str, read: Any) -> Any:
    try:
        check_configs(source, types=None, **{k: v for k, v in places(source).items() if k != "trust_remote_code"})
        return read(source)
    # Every exception: transformers, torch and tokenizers raise whatever a damaged file makes them raise.
    except Exception as error:
        raise ModelError(
            f"expected a {what} at {str(source)!r}, but: {visible_text(str(error) or repr(error))}{remark(source)}"
        ) from error


def _tokenizer(source: Any) -> tuple[Any, int]:
    """Return the tokenizer, and the number of rows of the embeddings."""
    config: Any = AutoConfig.from_pretrained(source, **places(source))
    return AutoTokenizer.from_pretrained(source, **places(source)), int(config.vocab_size)


def _image_size(source: Any) -> tuple[int, int]:
    """Return the sides of the encoder's images and patches, in pixels."""
    config: Any = AutoConfig.from_pretrained(source, **places(source))
    config = getattr(config, "vision_config", config)
    return int(config.image_size), int(config.patch_size)


def read_numbers(text: str, name: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas.

    Raises:
        UsageError: this is something else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"expected {name} as whole numbers separated by commas, got {text!r}") from None


def margins_of(numbers: Sequence[int]) -> tuple[int, int]:
    """Return (left and top, right and bottom) margins for one or two numbers.

    Raises:
        UsageError: another number of numbers.
    """
    if len(numbers) not in (1, 2) or min(numbers) < 0:
        raise UsageError(f"expected one or two margins of at least 0, got {list(numbers)}")
    return numbers[0], numbers[-1]
