"""How fast Molmo prepares, reads and points, each time beside a plain baseline in the same run.

    python benchmarks/model.py [--json FILE] [--check]

Weights are random: speed does not depend on what a model knows. Prints a table and, with --json, writes the numbers;
--check exits with 1 and names each target that is missed.
"""

import argparse
import json
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
from plain_preprocess import preprocess as plain_preprocess

from molmo_agent.model import MolmoImageProcessor
from molmo_agent.model.answer_form import guess_next, is_complete, plain_label
from molmo_agent.model.decoding import Form, Reader, constrained, drafted, greedy
from molmo_agent.model.nano import load_nano
from molmo_agent.model.picture_cache import PictureCache
from molmo_agent.model.prompts import role_prompt

# Name -> (what is best, bound): ratios to the baseline of the same run.
TARGETS = {
    "preprocess 1080p exact, times the plain speed": (">=", 2.0),
    "preprocess 1080p fast, times the plain speed": (">=", 6.0),
    "second question, share of the first one's time to a token": ("<=", 0.10),
    "next screenshot, 2 of 12 crops changed, share of the vision time": ("<=", 0.35),
    "passes per point, constrained, share of plain decoding": ("<=", 0.45),
    "passes per point, output-identical, share of plain decoding": ("<=", 0.60),
}


def seconds(work: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median processor time of a call, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def screenshot(seed: int, height: int, width: int) -> np.ndarray:
    """Return noise in blocks: no picture is easier than another here."""
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def measure_preprocessing() -> dict[str, float]:
    """Compare both modes with the plain implementation, on one thread."""
    image = screenshot(0, 1080, 1920)
    plain = seconds(lambda: plain_preprocess(image, 12))
    exact = seconds(lambda: MolmoImageProcessor().process_one(image))
    fast = seconds(lambda: MolmoImageProcessor(fast=True).process_one(image))
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
        greedy(pointer.model, pointer._prefix(image), [row], eos=-1, max_new_tokens=1, finished=lambda ids: False)

    def cold() -> None:
        pointer.cache.forget()
        first_token()

    def tokens(count: int) -> Callable[[], Any]:
        prefix = pointer._prefix(image)
        return lambda: greedy(pointer.model, prefix, [row], eos=-1, max_new_tokens=count, finished=lambda ids: False)

    first = seconds(cold)
    second = seconds(first_token)
    decode = (seconds(tokens(33)) - seconds(tokens(1))) / 32

    arrays, _ = pointer.processor.image_processor.process_one(image)
    pixels = arrays["pixel_values"]
    changed = pixels.copy()
    changed[[3, 7]] += 1

    def all_crops() -> None:
        PictureCache().patches(pointer.model.model, pixels)

    warm = PictureCache()
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
def measure_passes() -> dict[str, float]:
    """Count forward passes per point over questions about screens that are answered with a point."""
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
            row = tokenizer(role_prompt(pointer.question.format(question)), add_special_tokens=False)["input_ids"]

            def draft(ids: list[int], label: str = label) -> list[int]:
                return tokenizer(guess_next(tokenizer.decode(ids), label), add_special_tokens=False)["input_ids"]

            plain = greedy(pointer.model, prefix, [row], finished=lambda ids: False, **options)[0]
            if not is_complete(tokenizer.decode(plain.ids)) or "<point" not in tokenizer.decode(plain.ids):
                continue
            quick = drafted(
                Reader(pointer.model, prefix),
                row,
                draft=draft,
                finished=lambda ids: is_complete(tokenizer.decode(ids)),
                **options,
            )
            differing += quick.ids != plain.ids
            strict = constrained(Reader(pointer.model, prefix), row, form, label)
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
        "passes per point, plain": plain_passes,
        "passes per point, output-identical, share of plain decoding": identical / plain_passes,
        "passes per point, constrained, share of plain decoding": strict_passes / plain_passes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {**measure_preprocessing(), **measure_reading(), **measure_passes()}
    machine = {"machine": platform.machine(), "torch": torch.__version__, "transformers": transformers.__version__}
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + ", one thread")
    missed = []
    for name, value in results.items():
        sign, bound = TARGETS.get(name, ("", 0.0))
        met = not sign or (value >= bound if sign == ">=" else value <= bound)
        print(f"{name:66s} {value:10.3f}   {f'target {sign} {bound}' if sign else ''}{'' if met else '  MISSED'}")
        if not met:
            missed.append(f"{name}: {value:.3f}, target {sign} {bound}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine, "results": results, "missed": missed}, indent=1) + "\n"
        )
    if arguments.check and missed:
        print("missed: " + "; ".join(missed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
