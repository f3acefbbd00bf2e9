"""A Molmo checkpoint as a pointing model: a picture and an instruction in, points out."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import ModelError
from molmo_agent.model.modeling import MolmoForConditionalGeneration
from molmo_agent.model.processor import MolmoProcessor, role_prompt, stack_crops
from molmo_agent.point_text import parse_points

PROFILE_FILE = "pointing_profile.json"


class MolmoPointer:
    """Points with a local Molmo.

    The picture is encoded once and shared by all questions about it; replies are decoded greedily.
    """

    def __init__(
        self,
        model: MolmoForConditionalGeneration,
        processor: MolmoProcessor,
        *,
        name: str = "molmo",
        dialect: str = "molmo",
        question: str = "Point to {}",
        max_new_tokens: int = 192,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: the model, on its device.
            processor: the processor saved beside it.
            name: what to call it in records.
            dialect: the syntax of its replies, see :mod:`molmo_agent.point_text`.
            question: how an instruction becomes the user's turn.
            max_new_tokens: a reply longer than this is cut off, and then does not parse.
        """
        self.model, self.processor, self.name = model.eval(), processor, name
        self.dialect, self.question, self.max_new_tokens = dialect, question, max_new_tokens

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | str = "auto", **options: Any
    ) -> "MolmoPointer":
        """Load a checkpoint folder or hub id with its processor and, where there is one, its pointing profile.

        Args:
            folder: a folder with a checkpoint, or the name of one on the Hugging Face hub.
            dtype: of the weights; "auto" keeps the checkpoint's own.
            options: override the profile, see the constructor.

        Raises:
            ModelError: a file is missing or does not fit the model.
        """
        try:
            processor = MolmoProcessor.from_pretrained(folder)
            model = MolmoForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"expected a Molmo checkpoint at {str(folder)!r} (config, weights, tokenizer and processor files), "
                f"but loading it failed: {error}"
            ) from error
        profile = Path(folder) / PROFILE_FILE
        if profile.is_file():
            options = json.loads(profile.read_text()) | options
        options.setdefault("name", Path(folder).name)
        return cls(model, processor, **options)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model, processor and profile, to be read by :meth:`from_pretrained`."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        profile = {"dialect": self.dialect, "question": self.question, "max_new_tokens": self.max_new_tokens}
        (Path(folder) / PROFILE_FILE).write_text(json.dumps(profile, indent=2) + "\n")

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to.

        More points than ``max_points`` make the answer ``unparsed``: which of them were meant is not known.
        """
        result = self.ask(image, [instruction])[0]
        if max_points is not None and len(result.points) > max_points:
            return PointResult(status="unparsed", reply=result.reply, latency_s=result.latency_s)
        return result

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions; those about the same array share its encoding."""
        if len(images) != len(instructions):
            raise ValueError(f"expected one instruction per image, got {len(images)} and {len(instructions)}")
        groups: dict[int, list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(id(image), []).append(i)
        results: dict[int, PointResult] = {}
        for members in groups.values():
            answers = self.ask(images[members[0]], [instructions[i] for i in members])
            results.update(zip(members, answers, strict=True))
        return [results[i] for i in range(len(images))]

    @torch.inference_mode()
    def ask(self, image: Image, instructions: Sequence[str]) -> list[PointResult]:
        """Ask several questions about one picture, encoded once."""
        began = time.perf_counter()
        prompts = [role_prompt(self.question.format(instruction)) for instruction in instructions]
        replies = self._generate(image, prompts)
        latency = (time.perf_counter() - began) / len(prompts)
        height, width = image.shape[:2]
        results = []
        for reply in replies:
            parsed = parse_points(self.dialect, reply, image_size=(height, width))
            results.append(PointResult(status=parsed.status, reply=reply, points=parsed.points, latency_s=latency))
        return results

    def _generate(self, image: Image, prompts: list[str]) -> list[str]:
        """Decode one reply per prompt greedily."""
        device = self.model.device
        tokenizer: Any = self.processor.tokenizer
        prefix, arrays = self.processor.encode(image, "")
        picture = {name: tensor.to(device) for name, tensor in stack_crops([arrays]).items()}
        cache = DynamicCache(config=self.model.config.text_config)
        self.model.model(
            input_ids=torch.tensor([prefix], device=device), past_key_values=cache, use_cache=True, **picture
        )
        cache.batch_repeat_interleave(len(prompts))

        rows = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        length = max(map(len, rows))
        eos = tokenizer.eos_token_id
        ids = torch.tensor([[eos] * (length - len(row)) + row for row in rows], device=device)
        # Prefix, then the prompts padded on the left: the pads are masked and take no positions.
        valid = torch.ones(len(rows), len(prefix) + length, dtype=torch.long, device=device)
        for i, row in enumerate(rows):
            valid[i, len(prefix) : len(prefix) + length - len(row)] = 0
        replies: list[list[int]] = [[] for _ in rows]
        running = set(range(len(rows)))
        for _ in range(self.max_new_tokens):
            logits = self.model(
                input_ids=ids, attention_mask=valid, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits
            chosen: Tensor = logits[:, -1].argmax(-1)
            for i in list(running):
                token = int(chosen[i])
                if token == eos:
                    running.discard(i)
                else:
                    replies[i].append(token)
            if not running:
                break
            ids = chosen[:, None]
            valid = torch.cat([valid, valid.new_ones(len(rows), 1)], dim=1)
        return [tokenizer.decode(reply) for reply in replies]
