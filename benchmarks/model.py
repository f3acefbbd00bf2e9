"""How fast Molmo prepares, reads and points, each time beside a plain baseline in the same run.

    python benchmarks/model.py [--json FILE] [--check]

Weights are random: speed does not depend on what a model knows. Prints a table and, with --json, writes the numbers;
--check exits with 1 and names each target that is missed.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
from _prepared_answers import Writer
from _report import finish, parser
from plain_preprocess import preprocess as plain_preprocess

from molmo_agent.geometry import Point
from molmo_agent.model import MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.model.presets import preset
from molmo_agent.model.prompts import role_prompt
from molmo_agent.nano.tokenizer import build_tokenizer
from molmo_agent.point_text.parse import format_points
from molmo_agent.pointers.answer_grammar import guess_next, is_complete, plain_label
from molmo_agent.pointers.decoding import Form, Prefix, Reader, decode_constrained, decode_greedy, decode_with_draft
from molmo_agent.pointers.image_cache import ImageCache
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import load_nano

# Name -> (what is best, bound): ratios to the baseline of the same run.
TARGETS = {
    "preprocess 1080p exact, times the plain speed": (">=", 2.0),
    "preprocess 1080p fast, times the plain speed": (">=", 6.0),
    "second question, share of the first one's time to a token": ("<=", 0.10),
    "next screenshot, 2 of 12 crops changed, share of the vision time": ("<=", 0.35),
    "passes per point, constrained, share of plain decoding": ("<=", 0.45),
    "passes per point, output-identical, share of plain decoding": ("<=", 0.60),
}


def in_turn(*works: Callable[[], Any], repeats: int = 15) -> list[float]:
    """Return the median processor time of each call; they take turns, so that all meet the same conditions."""
    times: list[list[float]] = [[] for _ in works]
    for number in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            work()
            if number:  # the first is to warm up
                taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in times]


def seconds(work: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median processor time of a call."""
    return in_turn(work, repeats=repeats)[0]


def screenshot(seed: int, height: int, width: int) -> np.ndarray:
    """Return noise in blocks: no picture is easier than another here."""
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def measure_preprocessing() -> dict[str, float]:
    """Compare both modes with the plain implementation, on one thread."""
    image = screenshot(0, 1080, 1920)
    exactly, fastly = MolmoImageProcessor(), MolmoImageProcessor(fast=True)
    plain, exact, fast = in_turn(
        lambda: plain_preprocess(image, 12), lambda: exactly.process_one(image), lambda: fastly.process_one(image)
    )
    return {
        "preprocess 1080p plain, ms": plain * 1e3,
        "preprocess 1080p exact, ms": exact * 1e3,
        "preprocess 1080p fast, ms": fast * 1e3,
        "preprocess 1080p exact, times the plain speed": plain / exact,
        "preprocess 1080p fast, times the plain speed": plain / fast,
    }


@torch.inference_mode()
def measure_reading() -> dict[str, float]:
    """Measure prefill, first tokens and the crop cache with the embedded model, whose 640x480 is 1,021 image tokens."""
    pointer = load_nano()
    image, tokenizer = screenshot(1, 480, 640), pointer.processor.tokenizer
    row = tokenizer(role_prompt('the "Save" button'), add_special_tokens=False)["input_ids"]

    def first_token() -> None:
        decode_greedy(
            pointer.model, pointer._prefix(image), [row], eos=-1, max_new_tokens=1, is_complete=lambda ids: False
        )

    def cold() -> None:
        pointer.cache.forget()
        first_token()

    def tokens(count: int) -> Callable[[], Any]:
        prefix = pointer._prefix(image)
        return lambda: decode_greedy(
            pointer.model, prefix, [row], eos=-1, max_new_tokens=count, is_complete=lambda ids: False
        )

    first = seconds(cold)
    second = seconds(first_token)
    decode = (seconds(tokens(33)) - seconds(tokens(1))) / 32

    arrays, _ = pointer.processor.image_processor.process_one(image)
    pixels = arrays["pixel_values"]
    changed = pixels.copy()
    changed[[3, 7]] += 1

    def all_crops() -> None:
        ImageCache().patches(pointer.model.model, pixels)

    warm = ImageCache()
    state = {"flip": False}

    def next_screenshot() -> None:
        # Each time two crops differ from everything seen before.
        state["flip"] = not state["flip"]
        changed[[3, 7]] += 1
        warm.patches(pointer.model.model, changed)

    warm.patches(pointer.model.model, pixels)
    together = seconds(lambda: pointer.model.model.encode_crops(torch.from_numpy(pixels)))
    whole, part = seconds(all_crops), seconds(next_screenshot)
    return {
        "first question to a token, ms": first * 1e3,
        "second question to a token, ms": second * 1e3,
        "decode, ms per token": decode * 1e3,
        "vision, 13 crops in one batch, ms": together * 1e3,
        "vision, 13 crops one by one, ms": whole * 1e3,
        "vision, next screenshot, ms": part * 1e3,
        "second question, share of the first one's time to a token": second / first,
        "next screenshot, 2 of 12 crops changed, share of the vision time": part / together,
    }


@torch.inference_mode()
def measure_written_answers() -> dict[str, float]:
    """Count passes over answers as the released models write them: the label twice, half in the question's words.

    What they cost does not depend on who writes them; the tokenizer is nano's, which spells labels byte by byte.
    """
    tokenizer = load_nano().processor.tokenizer
    form, eos = Form.of(tokenizer), tokenizer.eos_token_id
    prefix = Prefix(((torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)),), 1)
    options: dict[str, Any] = {"eos": eos, "max_new_tokens": 192}
    plain = identical = strict = 0
    for number, name in enumerate(("save", "red circle", "user name", "open file", "close", "search results")):
        asked = f"the {name} button"
        said = asked if number % 2 else name
        points = [Point(0.1 + 0.13 * number, 0.9 - 0.11 * number)]
        text = " " + format_points("molmo", points, said)
        answer = tokenizer(text, add_special_tokens=False)["input_ids"]
        row = tokenizer(role_prompt(asked), add_special_tokens=False)["input_ids"]
        writer = Writer([*answer, eos], len(row), len(tokenizer))

        def draft(ids: list[int], asked: str = asked) -> list[int]:
            return tokenizer(guess_next(tokenizer.decode(ids), asked), add_special_tokens=False)["input_ids"]

        slow = decode_greedy(writer, prefix, [row], is_complete=lambda ids: False, **options)[0]
        quick = decode_with_draft(
            Reader(writer, prefix),
            row,
            draft=draft,
            is_complete=lambda ids: is_complete(tokenizer.decode(ids)),
            **options,
        )
        if quick.ids != slow.ids:
            raise SystemExit("guessing changed an answer")
        plain, identical = plain + slow.passes, identical + quick.passes
        strict += decode_constrained(Reader(writer, prefix), row, form, said).passes
    return {
        "passes per point, output-identical, share of plain decoding": identical / plain,
        "passes per point, constrained, share of plain decoding": strict / plain,
    }


@torch.inference_mode()
def measure_passes() -> dict[str, float]:
    """Count forward passes per point over nano's own answers, whose labels are often wrong and then hard to guess."""
    from molmo_agent.envs.sim_desktop import sample_screen

    pointer = load_nano()
    tokenizer = pointer.processor.tokenizer
    form, options = Form.of(tokenizer), {"eos": tokenizer.eos_token_id, "max_new_tokens": 96}
    counts: dict[str, list[int]] = {"plain": [], "identical": [], "constrained": []}
    differing = 0
    for seed in range(6):
        screen = sample_screen(seed + 2**31, width=640, height=480)
        prefix = pointer._prefix(screen.image)
        for element in [e for e in screen.elements if e.visible and e.text][:4]:
            question = f'the "{element.label}" {element.kind.replace("_", " ")}'
            label = plain_label(question)
            turn = role_prompt(pointer.profile.question.format(question))
            row = tokenizer(turn, add_special_tokens=False)["input_ids"]

            def draft(ids: list[int], label: str = label) -> list[int]:
                return tokenizer(guess_next(tokenizer.decode(ids), label), add_special_tokens=False)["input_ids"]

            plain = decode_greedy(pointer.model, prefix, [row], is_complete=lambda ids: False, **options)[0]
            if not is_complete(tokenizer.decode(plain.ids)) or "<point" not in tokenizer.decode(plain.ids):
                continue
            quick = decode_with_draft(
                Reader(pointer.model, prefix),
                row,
                draft=draft,
                is_complete=lambda ids: is_complete(tokenizer.decode(ids)),
                **options,
            )
            differing += quick.ids != plain.ids
            strict = decode_constrained(Reader(pointer.model, prefix), row, form, label)
            points = max(len(strict.confidences), 1)
            counts["plain"].append(plain.passes)
            counts["identical"].append(quick.passes)
            counts["constrained"].append(strict.passes / points)  # type: ignore[arg-type]
    if not counts["plain"]:
        raise SystemExit("the embedded model gave no complete answer to compare passes on")
    plain_passes, identical, strict_passes = (statistics.mean(counts[k]) for k in ("plain", "identical", "constrained"))
    return {
        "answers compared": len(counts["plain"]),
        "answers that guessing changed": differing,
        "nano's own answers: passes per point, plain": plain_passes,
        "nano's own answers: output-identical, share of plain decoding": identical / plain_passes,
        "nano's own answers: constrained, share of plain decoding": strict_passes / plain_passes,
    }


def measured_rates() -> tuple[float, float]:
    """Return what this GPU does: bfloat16 matrix products in FLOP/s, reading memory in bytes/s."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    source = torch.empty(2**30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    multiplying = gpu_seconds(lambda: a @ a)
    copying = gpu_seconds(lambda: target.copy_(source))
    return 2 * 8192**3 / multiplying, 2 * source.nbytes / copying


def gpu_seconds(work: Callable[[], Any], repeats: int = 9) -> float:
    """Return the median time of a call on the GPU, after two to warm up."""
    times = []
    for number in range(repeats + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if number >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


@torch.inference_mode()
def measure_gpu(size: str, new_tokens: int = 24) -> dict[str, float]:
    """Measure the time to a point with a released architecture, and the least that its arithmetic and weights take."""
    processor = MolmoProcessor(image_processor=MolmoImageProcessor(), tokenizer=build_tokenizer())
    config = preset(size)
    # The ids of the image tokens are those of the tokenizer at hand; speed does not depend on them.
    names = {"start": "start_id", "end": "end_id", "patch": "patch_id", "column": "column_id"}
    for name, attribute in names.items():
        setattr(config, f"image_{name}_token_id", getattr(processor, attribute))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = MolmoForConditionalGeneration(config).eval()
    torch.set_default_dtype(default)
    pointer = MolmoPointer(model, processor, compile=True)
    image = screenshot(2, 1080, 1920)
    row = processor.tokenizer(role_prompt("Point to the button"), add_special_tokens=False)["input_ids"]

    def to_point() -> None:
        pointer.cache.forget()
        reader = pointer._reader(pointer._prefix(image))
        token = int(reader.feed(row)[-1].argmax())
        for _ in range(new_tokens - 1):
            token = int(reader.feed([token])[-1].argmax())

    seconds_to_point = gpu_seconds(to_point, repeats=5)
    length = pointer._prefix(image).length + len(row)
    text, vision = config.text_config, config.vision_config
    decoder = sum(p.numel() for n, p in model.named_parameters() if "language_model.layers" in n or "lm_head" in n)
    tower = sum(p.numel() for n, p in model.named_parameters() if "vision_tower.encoder" in n)
    connector = sum(p.numel() for n, p in model.named_parameters() if "connector" in n)
    patches, crops = config.num_patches_per_side**2, 13
    attention = 4 * length**2 * text.hidden_size * text.num_hidden_layers / 2
    seeing = 4 * patches**2 * vision.hidden_size * vision.num_hidden_layers * crops
    flops = 2 * (decoder * length + tower * patches * crops + connector * patches * crops / 4) + attention + seeing
    matmul, memory = measured_rates()
    weight_bytes = 2 * decoder
    floor = flops / matmul + weight_bytes / memory * new_tokens
    return {
        f"{size}: time to point, 1080p, {new_tokens} tokens, ms": seconds_to_point * 1e3,
        f"{size}: floor from measured rates, ms": floor * 1e3,
        f"{size}: time to point, times the floor": seconds_to_point / floor,
    }


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--gpu-model", default="7B-D", help="released architecture that is measured where CUDA is")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    results = {**measure_preprocessing(), **measure_reading(), **measure_written_answers(), **measure_passes()}
    if torch.cuda.is_available():
        results |= measure_gpu(arguments.gpu_model)
    machine = {"machine": platform.machine(), "torch": torch.__version__, "transformers": transformers.__version__}
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + ", one thread")
    return finish(arguments, results, TARGETS, machine=machine)


if __name__ == "__main__":
    sys.exit(main())
