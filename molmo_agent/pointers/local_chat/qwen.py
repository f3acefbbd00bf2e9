"""Qwen-VL and the models built on it, through transformers' own classes, without code of the checkpoint.

Images and texts are prepared here, with the checkpoint's image processor and chat template, so that no package for
videos is needed. Points in pixels are read in the size in which the model saw the image.
"""

from pathlib import Path
from typing import Any

import torch

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.model.checkpoints.untrusted import check_checkpoint
from molmo_agent.point_text.scales import ImageSize
from molmo_agent.pointers.local_chat.pointer import LocalChat
from molmo_agent.pointers.served.families import Profile, generation_of
from molmo_agent.visible_text import visible_text

TYPES = {
    "qwen2_vl": "2",
    "qwen2_5_vl": "2.5",
    "qwen3_vl": "3",
    "qwen3_vl_moe": "3",
    "qwen3_5": "3.5",
    "qwen3_5_moe": "3.5",
}
"""model_type of a config -> the generation of Qwen-VL, as :mod:`molmo_agent.pointers.served.families` names it."""


class QwenPointer(LocalChat):
    """Points with a local Qwen-VL, or a model built on it such as UI-TARS.

    Args:
        model: an image-text-to-text model of transformers, on its device.
        tokenizer: with the chat template.
        image_processor: returns ``pixel_values`` and ``image_grid_thw``.
        profile: how it is asked, and how it writes points.
        name: what to call it in records.
        max_new_tokens: a longer reply about a place is cut off, and then is not read.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        image_processor: Any,
        profile: Profile,
        *,
        name: str = "qwen",
        max_new_tokens: int = 256,
    ) -> None:
        super().__init__(model, tokenizer, profile, name=name, max_new_tokens=max_new_tokens)
        self.image_processor = image_processor

    @classmethod
    def from_pretrained(
        cls, source: str | Path, profile: Profile, *, dtype: torch.dtype | str = "auto", **options: Any
    ) -> "QwenPointer":
        """Load a checkpoint folder or hub id.

        Args:
            source: the folder or the name.
            profile: see :func:`molmo_agent.pointers.local_chat.naming.profile_of_checkpoint`.
            dtype: of the weights; "auto" keeps the checkpoint's own.
            options: of the constructor.

        Raises:
            ModelError: a file is missing, or does not fit.
        """
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

        try:
            check_checkpoint(source, types=tuple(TYPES), **places(source))
            tokenizer = AutoTokenizer.from_pretrained(source, **places(source))
            # The same numbers on every machine, with torchvision or without.
            images = AutoImageProcessor.from_pretrained(source, backend="pil", **places(source))
            model, info = AutoModelForImageTextToText.from_pretrained(
                source, dtype=dtype, output_loading_info=True, use_safetensors=True, **places(source)
            )
        # Every exception: transformers, torch and tokenizers raise whatever a damaged file makes them raise.
        except Exception as error:
            raise ModelError(
                f"expected a Qwen-VL checkpoint at {str(source)!r} (config, weights, tokenizer, image processor), but "
                f"loading it failed: {visible_text(str(error).strip() or repr(error))}{remark(source)}"
            ) from error
        if info["missing_keys"]:
            raise ModelError(
                f"expected a whole Qwen-VL checkpoint at {str(source)!r}, but {len(info['missing_keys'])} weights are "
                f"missing, {min(info['missing_keys'])} among them; is the download complete?"
            )
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"expected a chat template beside {str(source)!r}, which says how the model is asked, got none; take "
                "chat_template.jinja from the checkpoint that it was made from"
            )
        options.setdefault("name", Path(source).name)
        return cls(model, tokenizer, images, profile, **options)

    def prepare(self, content: list[dict[str, Any]]) -> tuple[Any, list[ImageSize]]:
        """Return the inputs for one turn, and the (width, height) in which the model sees each image.

        Raises:
            ModelError: a text holds the mark of an image, or the turn is longer than the model's context.
        """
        from transformers import BatchFeature

        images = [part["image"] for part in content if part["type"] == "image"]
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False, enable_thinking=False
        )
        mark_id = self.model.config.image_token_id
        pieces = text.split(self.tokenizer.convert_ids_to_tokens(mark_id))
        if len(pieces) != len(images) + 1:
            raise ModelError(
                f"expected the conversation to have a mark for each of {len(images)} images, got {len(pieces) - 1}: "
                "does the question hold the mark itself?"
            )
        arrays: dict[str, Any] = dict(self.image_processor(images=images, return_tensors="pt")) if images else {}
        grids = arrays["image_grid_thw"].tolist() if images else []
        merged = self.image_processor.merge_size**2
        ids: list[int] = list(self.tokenizer(pieces[0], add_special_tokens=False)["input_ids"])
        for (frames, rows, columns), piece in zip(grids, pieces[1:], strict=True):
            ids += [mark_id] * (frames * rows * columns // merged)
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        self._check_length(len(ids))
        tokens = torch.tensor([ids])
        arrays |= {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "mm_token_type_ids": (tokens == mark_id).long(),
        }
        side = self.image_processor.patch_size
        return BatchFeature(arrays), [(columns * side, rows * side) for _, rows, columns in grids]

    def _check_length(self, tokens: int) -> None:
        config = self.model.config.get_text_config()
        most = config.max_position_embeddings
        if tokens >= most:
            raise ModelError(
                f"expected images and question to have less than {most} tokens, got {tokens}; send smaller images: "
                "#?max_pixels=1000000 behind the checkpoint's name"
            )


def check_generation(name: str, model_type: str) -> None:
    """Check that the name of a Qwen-VL and its config agree on the generation, which decides the scale of points.

    Raises:
        UsageError: they do not.
    """
    named = generation_of(name, "Qwen-VL")
    if named and named != TYPES[model_type]:
        raise UsageError(
            f"{name!r} names Qwen-VL {named}, but its config is of Qwen-VL {TYPES[model_type]} ({model_type}), which "
            "writes points otherwise: correct the name, or declare it behind the checkpoint: "
            f"...#Qwen{TYPES[model_type]}-VL"
        )
