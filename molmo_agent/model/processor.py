"""The transformers processor of Molmo: from images and text to model inputs.

The sequence is always: BOS, the image's tokens, the text. A tokenizer without a BOS token uses its EOS token, as the
released models do: docs/reference/preprocessing.md#special-tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import BatchFeature, ProcessorMixin

from molmo_agent.model.checkpoints.untrusted import WHERE, check_configs
from molmo_agent.model.crops import image_token_counts

IMAGE_TOKENS = ("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<|image|>")
"""The special tokens of the image block, in the order of their ids."""

# One user turn after another: " User: ... Assistant:" and " answer" + EOS (the "role" format).
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% set parts = [{'type': 'text', 'text': message['content']}] if message['content'] is string "
    "else message['content'] %}"
    "{{ ' User:' if message['role'] == 'user' else (' Assistant:' if not loop.first and "
    "messages[loop.index0 - 1]['role'] != 'user' else '') }}"
    "{% for part in parts %}{% if part['type'] == 'text' %}{{ ' ' + part['text'] }}{% endif %}{% endfor %}"
    "{{ ' Assistant:' if message['role'] == 'user' else eos_token }}"
    "{% endfor %}"
)


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
        self,
        images: Any | None = None,
        text: str | Sequence[str] | None = None,
        max_crops: int | None = None,
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Return model inputs for images and complete prompts (see :func:`role_prompt`).

        Args:
            images: one image; a list with one image, or a list of images, or None, per prompt; for a single
                prompt also a flat list of its images. None for text alone.
            text: one prompt or several. Shorter ones are padded on the left, so that all end where the reply begins.
            max_crops: overrides the image processor's.
            return_tensors: only "pt" is supported.
            kwargs: accepted for transformers' pipelines, not used.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, T); with images ``pixel_values`` (B, C, N, patch*patch*3),
            ``image_input_idx`` (B, C, G) and ``image_masks`` (B, C, N), crops padded with -1.

        Raises:
            ValueError: no text, or another number of images than prompts.
        """
        if text is None:
            raise ValueError("expected text: a prompt such as role_prompt('Point to the dog'), got None")
        prompts = [text] if isinstance(text, str) else list(text)
        per_row = per_prompt(images, len(prompts), single=isinstance(text, str))
        rows = [self.encode(row_images, prompt, max_crops) for row_images, prompt in zip(per_row, prompts, strict=True)]
        length = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id
        pad = self.bos_id if pad is None else pad
        data: dict[str, Any] = {
            "input_ids": torch.tensor([[pad] * (length - len(ids)) + ids for ids, _ in rows]),
            "attention_mask": torch.tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids, _ in rows]),
        }
        if any(arrays for _, arrays in rows):
            for ids, arrays in rows:
                if arrays:
                    index = arrays["image_input_idx"]
                    arrays["image_input_idx"] = np.where(index >= 0, index + length - len(ids), index)
            data |= stack_crops([arrays for _, arrays in rows])
        return BatchFeature(data=data)

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


def stack_crops(rows: Sequence[dict[str, npt.NDArray[Any]]]) -> dict[str, torch.Tensor]:
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
        stacked[name] = torch.from_numpy(out)
    return stacked
