"""The transformers processor of Molmo: from images and text to model inputs.

The sequence is always: BOS, the image's tokens, the text. A tokenizer without a BOS token uses its EOS token, as the
released models do: docs/reference/preprocessing.md#special-tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import BatchFeature, ProcessorMixin

from molmo_agent.model.checkpoints.untrusted import WHERE, check_configs
from molmo_agent.model.crops import image_token_counts
from molmo_agent.model.inputs.chat import CHAT_TEMPLATE, is_placeholder, picture_parts, with_read_pictures
from molmo_agent.model.inputs.text_options import TextOptions

IMAGE_TOKENS = ("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<|image|>")
"""The special tokens of the image block, in the order of their ids."""


class MolmoProcessor(ProcessorMixin):
    """Image processor and tokenizer of Molmo."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        """Keep the two parts.

        Raises:
            ValueError: the tokenizer lacks the image block's special tokens.
        """
        ids = tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
        missing = [
            token for token, id_ in zip(IMAGE_TOKENS, ids, strict=False) if id_ is None or id_ == tokenizer.unk_token_id
        ]
        if missing:
            raise ValueError(
                f"the tokenizer has no {', '.join(missing)}; use the one saved beside the checkpoint, or add them: "
                f"tokenizer.add_special_tokens({{'additional_special_tokens': {list(IMAGE_TOKENS)}}})"
            )
        self.start_id, self.end_id, self.patch_id, self.column_id = ids
        # Answers continue the last token, also where somebody else pads, such as transformers' pipelines.
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left"  # the second one is saved
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load the processor that was saved beside a checkpoint, after checking its files; runs no code of theirs.

        Raises:
            ValueError, OSError: a file is missing, damaged, or names code to run.
        """
        where = {name: value for name, value in kwargs.items() if name in WHERE}
        check_configs(pretrained_model_name_or_path, **where)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **{**kwargs, "trust_remote_code": False})

    @property
    def bos_id(self) -> int:
        """The first id of every sequence."""
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    @property
    def model_input_names(self) -> list[str]:
        """The names of the model inputs."""
        return ["input_ids", "attention_mask", "pixel_values", "image_input_idx", "image_masks"]

    def image_block(self, grid: tuple[int, int], max_crops: int | None = None) -> list[int]:
        """Return the ids of one image's tokens: the global crop's block, then the crop grid's."""
        ids: list[int] = []
        for rows, columns in image_token_counts(grid, self.image_processor.layout(max_crops)):
            row = [self.patch_id] * columns + [self.column_id]
            ids += [self.start_id, *(row * rows), self.end_id]
        return ids

    def encode(
        self, images: Any | Sequence[Any] | None, text: str, max_crops: int | None = None
    ) -> tuple[list[int], dict[str, npt.NDArray[Any]]]:
        """Return the ids of BOS + images + text, and the images' arrays with indices counted from BOS.

        The crops of several images follow each other; every image has its own block of tokens. (The authors' code
        gives all of them the places of the first, see docs/reference/preprocessing.md#several-images; no released
        weights depend on that.)
        """
        ids, encoded = [self.bos_id], []
        for image in images if isinstance(images, list | tuple) else [] if images is None else [images]:
            arrays, grid = self.image_processor.process_one(image, max_crops)
            # Counted from the image's first token until here. Dropped features stay negative.
            index = arrays["image_input_idx"]
            arrays["image_input_idx"] = np.where(index >= 0, index + len(ids), index)
            ids += self.image_block(grid, max_crops)
            encoded.append(arrays)
        ids += self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids, {name: np.concatenate([a[name] for a in encoded]) for name in encoded[0]} if encoded else {}

    def __call__(
        self, images: Any | None = None, text: str | Sequence[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Return model inputs for images and complete prompts (see :func:`role_prompt`).

        Args:
            images: one image; a list with one image, or a list of images, or None, per prompt; for a single
                prompt also a flat list of its images. None for text alone.
            text: one prompt or several. Shorter ones are padded where the tokenizer pads: on the left, so that all end
                where the reply begins. Placeholders ``<|image|>`` may precede it, one per image.
            kwargs: fields of :class:`.TextOptions`: ``max_crops`` overrides the image processor's; ``padding``,
                ``padding_side``, ``pad_to_multiple_of``, ``truncation``, ``max_length``, ``return_tensors``,
                ``return_offsets_mapping`` as in transformers. BOS is a part of every sequence, whatever
                ``add_special_tokens`` says.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, T); with images ``pixel_values`` (B, C, N, patch*patch*3),
            ``image_input_idx`` (B, C, G) and ``image_masks`` (B, C, N), crops padded with -1.

        Raises:
            ValueError: no text, another number of images than prompts or placeholders, an option that cannot be
                honoured.
            TypeError: an option that nobody would read.
        """
        if text is None:
            raise ValueError("expected text: a prompt such as role_prompt('Point to the dog'), got None")
        options = TextOptions.read(kwargs, self.tokenizer.padding_side)
        prompts = [text] if isinstance(text, str) else list(text)
        per_row = per_prompt(images, len(prompts), single=isinstance(text, str))
        prompts = [without_placeholders(p, count_images(i)) for p, i in zip(prompts, per_row, strict=True)]
        rows = [self.encode(i, p, options.max_crops) for i, p in zip(per_row, prompts, strict=True)]
        offsets = [self._offsets(p) for p in prompts] if options.return_offsets_mapping else []
        return BatchFeature(data=self._batch(rows, offsets, options), tensor_type=options.return_tensors)

    def _batch(
        self,
        rows: list[tuple[list[int], dict[str, npt.NDArray[Any]]]],
        offsets: list[list[tuple[int, int]]],
        options: TextOptions,
    ) -> dict[str, Any]:
        """Return the model inputs of sequences of one length."""
        pad = self.tokenizer.pad_token_id
        pad = self.bos_id if pad is None else pad
        ids = [options.cut(row, self._last_picture_token(row)) for row, _ in rows]
        length = options.length([len(row) for row in ids])
        before = [length - len(row) if options.padding_side == "left" else 0 for row in ids]

        def padded(row: list[Any], filler: Any, left: int) -> list[Any]:
            return [filler] * left + row + [filler] * (length - len(row) - left)

        data: dict[str, Any] = {
            "input_ids": [padded(row, pad, left) for row, left in zip(ids, before, strict=True)],
            "attention_mask": [padded([1] * len(row), 0, left) for row, left in zip(ids, before, strict=True)],
        }
        if any(arrays for _, arrays in rows):
            for (_, arrays), left in zip(rows, before, strict=True):
                if arrays:
                    index = arrays["image_input_idx"]
                    arrays["image_input_idx"] = np.where(index >= 0, index + left, index)
            data |= stack_crops([arrays for _, arrays in rows])
        if offsets:
            whole = [
                [(0, 0)] * (len(full) - len(spans)) + spans for (full, _), spans in zip(rows, offsets, strict=True)
            ]
            data["offset_mapping"] = [
                padded(spans[: len(row)], (0, 0), left) for spans, row, left in zip(whole, ids, before, strict=True)
            ]
        return data

    def _last_picture_token(self, ids: list[int]) -> int:
        """Return the number of tokens up to the end of the last picture."""
        return max((i + 1 for i, id_ in enumerate(ids) if id_ == self.end_id), default=1)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the characters of each token of a text."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [(first, last) for first, last in encoded["offset_mapping"]]

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Turn a conversation into a prompt, or with ``tokenize=True`` into model inputs; as in transformers.

        Pictures may be paths, PIL images, arrays, bytes, base64, and addresses (http, https, file, data). They always
        precede the text. A system message precedes the first question. ``add_generation_prompt`` ends the prompt with
        " Assistant:", where the answer begins.

        Raises:
            ValueError: a part says that it is a picture but has none.
            ImageError: a picture cannot be read.
            jinja2.exceptions.TemplateError: roles or parts that Molmo was not trained on: tools, two messages of one
                role in a row, videos.
        """
        given = (kwargs.get("processor_kwargs") or {}).get("images", kwargs.get("images"))
        if kwargs.get("tokenize") and given is None:
            conversation = with_read_pictures(conversation)
        elif given is not None and not all(map(is_placeholder, picture_parts(conversation))):
            raise ValueError("expected pictures in the conversation or as images=, got both")
        return super().apply_chat_template(conversation, *args, **kwargs)

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Turn ids back into text."""
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> str:
        """Turn ids back into text."""
        return self.tokenizer.decode(*args, **kwargs)


def per_prompt(images: Any, count: int, *, single: bool) -> list[Any]:
    """Return the image or images (or None) of each of ``count`` prompts; ``single``: there is one, given alone.

    Raises:
        ValueError: another number of images than prompts.
    """
    if images is None:
        return [None] * count
    items = list(images) if isinstance(images, list | tuple) else [images]
    if single:
        # transformers' pipelines wrap the images of one prompt once more.
        return [items[0] if len(items) == 1 else items]
    if len(items) != count:
        raise ValueError(f"expected one image (or list of images) per prompt, got {len(items)} for {count} prompts")
    return items


def count_images(images: Any) -> int:
    """Return the number of images of one prompt."""
    return len(images) if isinstance(images, list | tuple) else int(images is not None)


def without_placeholders(prompt: str, images: int) -> str:
    """Return a prompt without the image placeholders that precede it; pictures always come first.

    Raises:
        ValueError: another number of placeholders than images, or one amid the text.
    """
    placeholder = IMAGE_TOKENS[4]
    count = prompt.count(placeholder)
    if not count:
        return prompt
    text = prompt
    while text.lstrip().startswith(placeholder):
        text = text.lstrip()[len(placeholder) :]
    if count != images or placeholder in text:
        raise ValueError(
            f"expected {placeholder} once per image, before the text, or not at all; got {count} for {images} images "
            f"in {prompt[:60]!r}"
        )
    return text


def stack_crops(rows: Sequence[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Stack the images of a batch; those with fewer crops (or none) are padded with -1."""
    full = next(arrays for arrays in rows if arrays)
    most = max(len(arrays["pixel_values"]) for arrays in rows if arrays)
    stacked = {}
    for name, example in full.items():
        # Eight-bit pixels have no -1; indices of -1 drop what padding is encoded to.
        filler = 0 if example.dtype == np.uint8 else -1
        out = np.full((len(rows), most, *example.shape[1:]), filler, dtype=example.dtype)
        for target, arrays in zip(out, rows, strict=True):
            if arrays:
                target[: len(arrays[name])] = arrays[name]
        stacked[name] = out
    return stacked
