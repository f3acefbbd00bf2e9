"""Molmo2 as a pointing model, through transformers' own classes: chat template in, reply out, dialect ``molmo2``."""

from pathlib import Path
from typing import Any

import torch

from molmo_agent.errors import ModelError
from molmo_agent.model.checkpoints.hub import places, problem_of, remark
from molmo_agent.model.checkpoints.untrusted import check_checkpoint, check_configs
from molmo_agent.point_text.scales import ImageSize
from molmo_agent.pointers.local_chat.pointer import LocalChat
from molmo_agent.pointers.served.families import Profile
from molmo_agent.visible_text import visible_text

DIALECT = "molmo2"


class Molmo2Pointer(LocalChat):
    """Points with a local Molmo2."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str = "molmo2",
        question: str = "Point to {}",
        max_new_tokens: int = 256,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: a ``Molmo2ForConditionalGeneration``, on its device.
            processor: the ``Molmo2Processor`` saved beside it.
            name: what to call it in records.
            question: how an instruction becomes the user's turn.
            max_new_tokens: a reply longer than this is cut off, and then does not parse.
        """
        profile = Profile(dialect=DIALECT, question=question)
        super().__init__(model, processor.tokenizer, profile, name=name, max_new_tokens=max_new_tokens)
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, dtype: torch.dtype | str = "auto", **options: Any
    ) -> "Molmo2Pointer":
        """Load a checkpoint folder or hub id.

        Raises:
            ModelError: a file or a package is missing, or does not fit.
        """
        from transformers import Molmo2ForConditionalGeneration, Molmo2Processor

        try:
            check_configs(source, types=("molmo2",), **places(source))
            processor = Molmo2Processor.from_pretrained(source, **places(source))
            check_checkpoint(source, types=("molmo2",), **places(source))
            model, info = Molmo2ForConditionalGeneration.from_pretrained(
                source, dtype=dtype, output_loading_info=True, use_safetensors=True, **places(source)
            )
        # Every exception: transformers, torch and tokenizers raise whatever a damaged file makes them raise.
        except Exception as error:
            hint = "" if "torchvision" not in str(error).lower() else "; pip install 'molmo-agent[molmo2]' brings it"
            raise ModelError(
                f"expected a Molmo2 checkpoint at {str(source)!r}, but loading it failed: "
                f"{visible_text(problem_of(error))}{hint}{remark(source)}"
            ) from error
        if info["missing_keys"]:
            raise ModelError(
                f"expected a whole Molmo2 checkpoint at {str(source)!r}, but {len(info['missing_keys'])} weights are "
                f"missing, {min(info['missing_keys'])} among them; is the download complete?"
            )
        options.setdefault("name", Path(source).name)
        return cls(model, processor, **options)

    def prepare(self, content: list[dict[str, Any]]) -> tuple[Any, list[ImageSize]]:
        """Return the inputs for one turn; points are fractions, so that the sizes are those of the images."""
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs, [part["image"].size for part in content if part["type"] == "image"]
