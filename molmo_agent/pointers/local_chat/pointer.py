"""What all local chat models share: how they are asked, how their replies are read, what a question costs.

Every question is a conversation of one turn, decoded greedily: images and text in the order that they are given in, no
system prompt but that of the checkpoint's own template.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image as PILImage

from molmo_agent.episode import Image, PointResult
from molmo_agent.interfaces import ModelTraits, Usage, report_usage
from molmo_agent.point_text.cut_off import is_cut, mark_cut, without_mark
from molmo_agent.point_text.parse import ParsedReply, parse_points
from molmo_agent.point_text.scales import ImageSize
from molmo_agent.pointers.answer_grammar import is_complete
from molmo_agent.pointers.served.families import Profile

HOW_IT_ASKS = {"order": "image, then text", "system_prompt": "that of the chat template", "temperature": 0.0}
"""What every question to a local chat model has in common, and another program may do otherwise."""
# What a checkpoint's generation_config.json may say otherwise: temperature 0 is greedy, and nothing else.
_GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
}


class LocalChat:
    """A pointing model that is a chat model of transformers. Subclasses prepare the inputs.

    Args:
        model: on its device.
        tokenizer: of the model.
        profile: how it is asked, and how it writes points.
        name: what to call it in records.
        max_new_tokens: a longer reply about a place is cut off, and then is not read.
    """

    def __init__(self, model: Any, tokenizer: Any, profile: Profile, *, name: str, max_new_tokens: int) -> None:
        self.model, self.tokenizer, self.profile = model.eval(), tokenizer, profile
        self.name, self.max_new_tokens = name, max_new_tokens

    @property
    def traits(self) -> ModelTraits:
        """Return that it answers in words, and that tags of styles before questions are Molmo's alone."""
        return ModelTraits(answerer=self, style_tags=self.profile.dialect in ("molmo", "molmo2"))

    def prepare(self, content: list[dict[str, Any]]) -> tuple[Any, list[ImageSize]]:
        """Return the inputs of the model for one turn, and the (width, height) in which it sees each image.

        Args:
            content: parts ``{"type": "image", "image": ...}`` and ``{"type": "text", "text": ...}`` in their order.
        """
        raise NotImplementedError

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to; more points than ``max_points`` make the answer ``unparsed``.

        Raises:
            ImageError: the image is too long for the model.
            ModelError: image and instruction do not fit the model.
        """
        began = time.perf_counter()
        reply, (size, *_) = self._reply(
            [image, self.profile.question.format(instruction)], self.max_new_tokens, instruction
        )
        latency = time.perf_counter() - began
        whole = without_mark(reply)
        parsed = parse_points(self.profile.dialect, whole, image_size=size, scale=self.profile.scale)
        if parsed.points and is_cut(reply) and not is_complete(whole):
            parsed = ParsedReply(status="unparsed", reply=reply)
        return parsed.to_result(latency_s=latency, confidence=None).at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions, one after another."""
        return [self.point(image, instruction) for image, instruction in zip(images, instructions, strict=True)]

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, one after another, each put as it stands."""
        pairs = zip(images, questions, strict=True)
        return [self.answer_parts([image, text], max_new_tokens=max_new_tokens) for image, text in pairs]

    def answer_parts(self, parts: Sequence[Image | str], *, max_new_tokens: int) -> str:
        """Answer a question of texts and any number of images, in their order; see :class:`PartsAnswerer`."""
        question = "".join(part for part in parts if isinstance(part, str))
        return self._reply(parts, max_new_tokens, question)[0].strip()

    @torch.inference_mode()
    def _reply(self, parts: Sequence[Image | str], room: int, question: str) -> tuple[str, list[ImageSize]]:
        """Return the reply to one turn, and the sizes in which the images were seen."""
        began = time.perf_counter()
        content: list[dict[str, Any]] = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": self._sent(part)}
            for part in parts
        ]
        inputs, sizes = self.prepare(content)
        inputs = inputs.to(self.model.device)
        ids = self.model.generate(**inputs, max_new_tokens=room, **_GREEDY)
        length = inputs["input_ids"].shape[1]
        answer = ids[0, length:]
        tokens = len(answer)
        seconds = time.perf_counter() - began
        report_usage(Usage(question=question, seconds=seconds, tokens_in=length, tokens_out=tokens, passes=tokens))
        reply: str = self.tokenizer.decode(answer, skip_special_tokens=True)
        ends = self.model.generation_config.eos_token_id
        ended = int(answer[-1]) in (ends if isinstance(ends, list) else [ends]) if tokens else True
        return reply if ended or tokens < room else mark_cut(reply), sizes

    def _sent(self, image: Image) -> PILImage.Image:
        """Return the image in the size that the profile says."""
        whole = PILImage.fromarray(image)
        return self.profile.limits.fit(whole) if self.profile.limits else whole
