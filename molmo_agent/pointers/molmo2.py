"""Molmo2 as a pointing model, through transformers' own classes: chat template in, reply out, dialect ``molmo2``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import ModelError
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.model.checkpoints.untrusted import check_checkpoint, check_configs
from molmo_agent.point_text.cut_off import is_cut, mark_cut, without_mark
from molmo_agent.point_text.parse import ParsedReply, parse_points
from molmo_agent.pointers.answer_grammar import is_complete
from molmo_agent.visible_text import visible_text

DIALECT = "molmo2"


class Molmo2Pointer:
    """Points with a local Molmo2; every question is a conversation of one turn, decoded greedily."""

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
        self.model, self.processor, self.name = model.eval(), processor, name
        self.question, self.max_new_tokens = question, max_new_tokens

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
                f"{visible_text(str(error).strip() or repr(error))}{hint}{remark(source)}"
            ) from error
        if info["missing_keys"]:
            raise ModelError(
                f"expected a whole Molmo2 checkpoint at {str(source)!r}, but {len(info['missing_keys'])} weights are "
                f"missing, {min(info['missing_keys'])} among them; is the download complete?"
            )
        options.setdefault("name", Path(source).name)
        return cls(model, processor, **options)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to; more points than ``max_points`` make the answer ``unparsed``."""
        began = time.perf_counter()
        reply = self._reply(image, self.question.format(instruction), self.max_new_tokens)
        latency = time.perf_counter() - began
        whole = without_mark(reply)
        parsed = parse_points(DIALECT, whole, image_size=(image.shape[1], image.shape[0]))
        if parsed.points and is_cut(reply) and not is_complete(whole):
            parsed = ParsedReply(status="unparsed", reply=reply)
        result = PointResult(status=parsed.status, reply=parsed.reply, points=parsed.points, latency_s=latency)
        return result.at_most(max_points)

    @torch.inference_mode()
    def _reply(self, image: Image, question: str, max_new_tokens: int) -> str:
        content = [
            {"type": "image", "image": PILImage.fromarray(image)},
            {"type": "text", "text": question},
        ]
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.model.device)
        ids = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        answer = ids[0, inputs["input_ids"].shape[1] :]
        reply: str = self.processor.tokenizer.decode(answer, skip_special_tokens=True)
        ends = self.model.generation_config.eos_token_id
        ended = int(answer[-1]) in (ends if isinstance(ends, list) else [ends]) if len(answer) else True
        return reply if ended or len(answer) < max_new_tokens else mark_cut(reply)

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, one after another, each put as it stands."""
        pairs = zip(images, questions, strict=True)
        return [self._reply(image, question, max_new_tokens).strip() for image, question in pairs]

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, one after another."""
        return [self.point(image, instruction) for image, instruction in zip(images, instructions, strict=True)]
