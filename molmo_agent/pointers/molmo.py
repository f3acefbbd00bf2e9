"""A Molmo checkpoint as a pointing model: a picture and an instruction in, points out."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers.cache_utils import DynamicCache

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.interfaces import ModelTraits, Usage, report_usage
from molmo_agent.model.checkpoints.hub import places, problem_of, remark
from molmo_agent.model.checkpoints.untrusted import check_checkpoint
from molmo_agent.model.fit import check_fit
from molmo_agent.model.modeling import MolmoForConditionalGeneration
from molmo_agent.model.processor import MolmoProcessor
from molmo_agent.model.prompts import TEXT_STYLE, asked
from molmo_agent.point_text.cut_off import mark_cut
from molmo_agent.point_text.parse import ParsedReply, parse_points
from molmo_agent.pointers.answer_grammar import digit_confidence, guess_next, is_complete, plain_label
from molmo_agent.pointers.decoding import (
    DecodedReply,
    Form,
    Prefix,
    Reader,
    decode_constrained,
    decode_greedy,
    decode_with_draft,
)
from molmo_agent.pointers.image_cache import ImageCache, fingerprint
from molmo_agent.pointers.profile import PointingProfile, read_profile
from molmo_agent.pointers.static_decoding import StaticDecoder
from molmo_agent.pointers.trained_crops import crops_remark
from molmo_agent.visible_text import visible_text

# Parameters of a model that may take twice its memory: 4 GB.
_SMALL = 1_000_000_000


class MolmoPointer:
    """Points with a local Molmo.

    The picture is encoded once and shared by all questions about it, later ones included. Replies are decoded greedily
    and end with the point: a single question in few passes, by checking guesses; several side by side.
    """

    def __init__(
        self,
        model: MolmoForConditionalGeneration,
        processor: MolmoProcessor,
        profile: PointingProfile | None = None,
        *,
        name: str = "molmo",
        compile: bool = False,
        cache: ImageCache | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: the model, on its device.
            processor: the processor saved beside it.
            profile: how it is asked and how it answers; None: as the released checkpoints.
            name: what to call it in records.
            compile: decode single questions in a cache of fixed size with a compiled step; pays on a GPU, where the
                first answers then take a minute.
            cache: what to remember of images; by default two images and 64 crops, more where it reads in windows.
        """
        self.model, self.processor, self.name = model.eval(), processor, name
        self.profile = profile or PointingProfile()
        # The windows of a screen are images of their own, and the next screenshot has most of them again.
        self.cache = cache or (ImageCache(12, 256) if self.profile.window else ImageCache())
        self._form: Form | None = None
        self._static = StaticDecoder(model, self._context) if compile else None

    @property
    def traits(self) -> ModelTraits:
        """What the profile says to those who act on its points."""
        profile = self.profile
        return ModelTraits(
            window=profile.window,
            canvases=profile.canvases,
            min_confidence=profile.min_confidence,
            policy=profile.policy,
            form=profile.form,
            remark=profile.remark,
            answerer=self,
            raw_confidence=profile.calibration.undo if profile.calibration else None,
            reserve_images=self.cache.reserve_images,
            style_tags=profile.prefix != "none",
        )

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | str = "auto", **options: Any
    ) -> "MolmoPointer":
        """Load a checkpoint folder or hub id with its processor and, where there is one, its pointing profile.

        Args:
            folder: a folder with a checkpoint, or the name of one on the Hugging Face hub.
            dtype: of the weights; "auto" keeps the checkpoint's own, but for float16 on a CPU: few can compute in it,
                the others take several times as long. Small models become float32.
            options: ``name``, ``compile`` and ``cache`` of the constructor; all others replace fields of the profile.

        Raises:
            ModelError: a file is missing or does not fit the model.
        """
        try:
            check_checkpoint(folder, **places(folder))
            processor = MolmoProcessor.from_pretrained(folder, **places(folder))
            model = MolmoForConditionalGeneration.from_pretrained(folder, dtype=dtype, **places(folder))
            check_fit(model.config, processor)
            halves = dtype == "auto" and model.device.type == "cpu" and model.dtype == torch.float16
            if halves and model.num_parameters() < _SMALL:
                model.float()
        # Every exception: transformers, torch and tokenizers raise whatever a damaged file makes them raise.
        except Exception as error:
            raise ModelError(
                f"expected a Molmo checkpoint at {str(folder)!r} (config, weights, tokenizer and processor files), "
                f"but loading it failed: {visible_text(problem_of(error))}{remark(folder)}"
            ) from error
        own: dict[str, Any] = {"name": Path(folder).name}
        own |= {name: options.pop(name) for name in ("name", "compile", "cache") if name in options}
        return cls(model, processor, read_profile(folder, **options), **own)

    def limit_crops(self, count: int) -> str:
        """Set the maximum number of crops per image; return what is known of it if it is not that of the training."""
        trained = self.processor.image_processor.max_crops
        self.processor.image_processor.max_crops = count
        self.cache.forget()
        return crops_remark(trained, count)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model, processor and profile, to be read by :meth:`from_pretrained`."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        self.profile.write(folder)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Point at what the instruction refers to.

        More points than ``max_points`` make the answer ``unparsed``: which of them were meant is not known.
        """
        return self.ask(image, [instruction])[0].at_most(max_points)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions; those about the same array share its encoding."""
        return _by_picture(self.ask, images, instructions)

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer questions in words, each put as it stands; those about the same array share its encoding.

        A reply that the limit cut off ends with a mark, see :mod:`molmo_agent.point_text.cut_off`.
        """
        return _by_picture(partial(self._answer, max_new_tokens=max_new_tokens), images, questions)

    def stream_answer(self, images: Sequence[Image], question: str, *, max_new_tokens: int) -> Iterator[str]:
        """Answer a question about images in words, piece by piece; see :meth:`complete`."""
        prompt = asked(question, TEXT_STYLE, self.profile.message_format, self.profile.prefix)
        return self.complete(images, prompt, max_new_tokens=max_new_tokens)

    def answer_parts(self, parts: Sequence[Image | str], *, max_new_tokens: int) -> str:
        """Answer a question about one image or none, in words; see :class:`molmo_agent.interfaces.PartsAnswerer`.

        Raises:
            UsageError: several images, which the model was not trained with.
        """
        images = [part for part in parts if not isinstance(part, str)]
        if len(images) > 1:
            raise UsageError(f"expected at most one image in a question to {self.name!r}, got {len(images)}")
        question = "".join(part for part in parts if isinstance(part, str))
        return "".join(self.stream_answer(images, question, max_new_tokens=max_new_tokens)).strip()

    @torch.inference_mode()
    def complete(
        self,
        images: Sequence[Image],
        prompt: str,
        *,
        max_new_tokens: int,
        pick: Callable[[torch.Tensor], int] | None = None,
    ) -> Iterator[str]:
        """Yield what follows images and a prompt, piece by piece.

        Several images stand before the prompt in their order. The released checkpoints were trained with one. A reply
        that the limit cut off ends with a mark, see :mod:`molmo_agent.point_text.cut_off`.

        Args:
            images: possibly none.
            prompt: as the model reads it, with the marks of its speakers.
            max_new_tokens: longer replies are cut off.
            pick: chooses a token by its logits, (V,); None: the most likely one.

        Raises:
            ModelError: images and prompt leave no room for an answer of so many tokens.
        """
        tokenizer: Any = self.processor.tokenizer
        prefix = self._prefix(*images)
        (row,) = self._fitting([prompt], prefix, max_new_tokens)
        ids: list[int] = []
        reader, shown = self._reader(prefix), ""
        logits = reader.feed(row)
        for _ in range(max_new_tokens):
            token = pick(logits[-1]) if pick else int(logits[-1].argmax())
            if token == tokenizer.eos_token_id:
                # A character whose bytes did not all come stays as it is.
                yield tokenizer.decode(ids)[len(shown) :]
                return
            ids.append(token)
            text = tokenizer.decode(ids)
            if not text.endswith("\ufffd") and text.startswith(shown):
                yield text[len(shown) :]
                shown = text
            logits = reader.feed([token])
        yield mark_cut(tokenizer.decode(ids)[len(shown) :])

    @torch.inference_mode()
    def _answer(self, image: Image, questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        began = time.perf_counter()
        tokenizer: Any = self.processor.tokenizer
        prefix = self._prefix(image)
        rows = self._rows(questions, TEXT_STYLE, prefix, max_new_tokens)
        answers = decode_greedy(
            self.model,
            prefix,
            rows,
            eos=tokenizer.eos_token_id,
            max_new_tokens=max_new_tokens,
            is_complete=lambda ids: False,
        )
        _report(questions, prefix, rows, answers, began)
        texts = [tokenizer.decode(answer.ids).strip() for answer in answers]
        return [
            mark_cut(text) if len(answer.ids) >= max_new_tokens else text
            for text, answer in zip(texts, answers, strict=True)
        ]

    @torch.inference_mode()
    def ask(self, image: Image, instructions: Sequence[str]) -> list[PointResult]:
        """Ask several questions about one picture, encoded once, and not at all if it was seen lately."""
        began = time.perf_counter()
        prefix = self._prefix(image)
        questions = [self.profile.question.format(instruction) for instruction in instructions]
        rows = self._rows(questions, "pointing", prefix, self.profile.max_new_tokens)
        answers = self._decode(prefix, rows, instructions)
        latency = _report(instructions, prefix, rows, answers, began)
        height, width = image.shape[:2]
        results = []
        for answer in answers:
            reply = self.processor.tokenizer.decode(answer.ids)
            parsed = parse_points(self.profile.dialect, reply, image_size=(width, height))
            if parsed.points and len(answer.ids) >= self.profile.max_new_tokens and not is_complete(reply):
                parsed = ParsedReply(status="unparsed", reply=mark_cut(reply))
            results.append(
                PointResult(
                    status=parsed.status,
                    reply=parsed.reply,
                    points=parsed.points,
                    latency_s=latency,
                    confidence=self._confidence(answer) if parsed.points else None,
                )
            )
        return results

    def _prefix(self, *images: Image) -> Prefix:
        """Return keys and values of BOS and the pictures."""
        key = b"".join(map(fingerprint, images))
        cached_prefix = self.cache.prefixes.lookup(key)
        if cached_prefix is not None:
            return cached_prefix
        ids, arrays = self.processor.encode(images, "")
        device, inner = self.model.device, self.model.model
        cache = DynamicCache()
        if not arrays:
            inner(input_ids=torch.tensor([ids], device=device), cache=cache, use_cache=True)
            return Prefix.of(cache)
        patches = self.cache.patches(inner, arrays["pixel_values"])
        masks, index = (torch.from_numpy(arrays[name]).to(device) for name in ("image_masks", "image_input_idx"))
        features = inner.connector(patches, masks.to(patches.dtype))
        inner(
            input_ids=torch.tensor([ids], device=device),
            image_features=features[None],
            image_input_idx=index[None],
            cache=cache,
            use_cache=True,
        )
        prefix = Prefix.of(cache)
        self.cache.prefixes.store(key, prefix)
        return prefix

    def _decode(self, prefix: Prefix, rows: list[list[int]], instructions: Sequence[str]) -> list[DecodedReply]:
        """Decode one answer per instruction; ``rows`` are the ids of their turns."""
        tokenizer: Any = self.processor.tokenizer
        if self.profile.constrained:
            self._form = self._form or Form.of(tokenizer)
            labels = [plain_label(instruction) for instruction in instructions]
            return [
                decode_constrained(self._reader(prefix), row, self._form, label)
                for row, label in zip(rows, labels, strict=True)
            ]

        def reply_is_complete(ids: list[int]) -> bool:
            return self.profile.dialect == "molmo" and is_complete(tokenizer.decode(ids))

        options: dict[str, Any] = {
            "eos": tokenizer.eos_token_id,
            "max_new_tokens": self.profile.max_new_tokens,
            "is_complete": reply_is_complete,
        }
        if len(rows) > 1 or self.profile.dialect != "molmo":
            return decode_greedy(self.model, prefix, rows, **options)

        def draft(ids: list[int]) -> list[int]:
            guess = guess_next(tokenizer.decode(ids), plain_label(instructions[0]))
            return list(tokenizer(guess, add_special_tokens=False)["input_ids"]) if guess else []

        return [decode_with_draft(self._reader(prefix), rows[0], draft=draft, **options)]

    @property
    def _context(self) -> int:
        """Tokens that the decoder can tell apart."""
        text: Any = self.model.config.text_config
        return int(text.max_position_embeddings)

    def _reader(self, prefix: Prefix) -> Reader:
        """Begin a question behind a picture."""
        return self._static.reader(prefix) if self._static else Reader(self.model, prefix)

    def _rows(self, questions: Sequence[str], style: str, prefix: Prefix, room: int) -> list[list[int]]:
        """Return the ids of each question's turn, as in training; see :meth:`_fitting`."""
        trained = self.profile.message_format, self.profile.prefix
        return self._fitting([asked(question, style, *trained) for question in questions], prefix, room)

    def _fitting(self, turns: Sequence[str], prefix: Prefix, room: int) -> list[list[int]]:
        """Return the ids of each text.

        Raises:
            ModelError: one leaves no room for an answer of so many tokens.
        """
        tokenizer: Any = self.processor.tokenizer
        rows = [tokenizer(turn, add_special_tokens=False)["input_ids"] for turn in turns]
        tokens = prefix.length + max(map(len, rows))
        if tokens + room > self._context:
            raise ModelError(
                f"expected picture and question to leave {room} of {self._context} tokens for the "
                f"answer, got {tokens} tokens; shorten the instruction or lower the image processor's max_crops"
            )
        return rows

    def _confidence(self, answer: DecodedReply) -> float | None:
        """Return how sure the model is of the first point (see docs/model.md), calibrated."""
        own: float | None = None
        if answer.confidences:
            own = answer.confidences[0]
        elif self.profile.dialect == "molmo":
            own = digit_confidence([self.processor.tokenizer.decode([id_]) for id_ in answer.ids], answer.probabilities)
        calibration = self.profile.calibration
        return own if own is None or calibration is None else calibration.apply(own)


_Answer = TypeVar("_Answer")


def _report(
    questions: Sequence[str],
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    answers: Sequence[DecodedReply],
    began: float,
) -> float:
    """Report the usage of questions that were decoded together; return the share of the time of each."""
    seconds = (time.perf_counter() - began) / len(questions)
    for question, row, answer in zip(questions, rows, answers, strict=True):
        report_usage(
            Usage(
                question=question,
                seconds=seconds,
                tokens_in=prefix.length + len(row),
                tokens_out=len(answer.ids),
                passes=answer.passes,
            )
        )
    return seconds


def _by_picture(
    ask: Callable[[Image, Sequence[str]], list[_Answer]], images: Sequence[Image], questions: Sequence[str]
) -> list[_Answer]:
    """Ask about each array once, with all its questions; return the answers in their order."""
    if len(images) != len(questions):
        raise ValueError(f"expected one instruction per image, got {len(images)} and {len(questions)}")
    groups: dict[int, list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(id(image), []).append(i)
    results: dict[int, _Answer] = {}
    for members in groups.values():
        answers = ask(images[members[0]], [questions[i] for i in members])
        results.update(zip(members, answers, strict=True))
    return [results[i] for i in range(len(images))]
