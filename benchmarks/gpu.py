"""What one GPU does with the shapes of Molmo-7B-D and random weights; see gpu.sh.

Time to a point beside its floor (operations at the peak, weights read at full bandwidth), decoding, the MFU of training
steps on a slice of the decoder, the memory of adapters over weights in four bits, compiled layers, and training steps
on the GPU beside those on the CPU. A part that fails is reported, and the others run.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.presets import preset
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.config import Lora, TrainConfig
from molmo_agent.train.fine_tuning import prepare
from molmo_agent.train.flops import Flops, peak_of, visible_pairs
from molmo_agent.train.starting_model import four_bits, weights_dtype
from molmo_agent.train.step import ModelWithLoss, make_optimizer, train_step
from train import sequence, small_model

LIMIT_S = 480
# Bytes per second of memory, by a part of the name in torch (from the vendors' data sheets).
BANDWIDTHS = {"B200": 8.0e12, "H200": 4.8e12, "H100": 3.35e12, "A100": 2.0e12, "L40S": 0.86e12, "L4": 0.3e12}
# A screenshot in 12 crops and the global one, and a question.
TOKENS, CROPS, ANSWER = 1600, 13, 24
SLICE = 4


class Shapes:
    """The model's shapes and the device: those of 7B-D on a GPU, tiny ones on the CPU."""

    def __init__(self, *, dry: bool) -> None:
        self.dry = dry
        self.device = torch.device("cpu" if dry else "cuda")
        self.name = "CPU, tiny shapes" if dry else torch.cuda.get_device_name()
        self.config: MolmoConfig = small_model().config if dry else preset("7B-D")
        self.size = Size(96, 2) if dry else Size(TOKENS, CROPS)

    def slice(self) -> MolmoConfig:
        """Return the config with a few of the decoder's layers."""
        config = MolmoConfig.from_dict(self.config.to_dict())
        config.text_config.num_hidden_layers = min(SLICE, config.text_config.num_hidden_layers)
        config.text_config.layer_types = config.text_config.layer_types[:SLICE]
        return config

    def build(self, config: MolmoConfig, dtype: torch.dtype) -> Any:
        """Return a model with random weights, made on the device."""
        with self.device:
            return MolmoForConditionalGeneration._from_config(config, dtype=dtype)

    def arrays(self) -> dict[str, Any]:
        """Return a training sequence."""
        side, patch = self.config.num_patches_per_side, self.config.vision_config.patch_size
        return sequence([self.size], [self.size.tokens // 8], *self._whole(), side=side, patch=patch)

    def _whole(self) -> tuple[int, int]:
        return self.size.tokens, self.size.crops

    def wait(self) -> float:
        """Wait for the device and return the time in s."""
        if not self.dry:
            torch.cuda.synchronize()
        return time.perf_counter()


def time_to_point(shapes: Shapes) -> dict[str, float]:
    """Measure from pixels to the last of an answer's tokens, and the time of each token after the first."""
    model = shapes.build(shapes.config, torch.bfloat16).eval()
    arrays = {name: torch.as_tensor(value).to(shapes.device) for name, value in shapes.arrays().items()}
    inputs = {name: arrays[name] for name in ("input_ids", "image_input_idx", "image_masks")}
    inputs["pixel_values"] = arrays["pixel_values"].to(torch.bfloat16)

    def answer(count: int) -> float:
        start = shapes.wait()
        model.generate(**inputs, max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return shapes.wait() - start

    answer(2)
    first, whole = min(answer(1) for _ in range(3)), min(answer(ANSWER) for _ in range(3))
    found = {
        "time to point, ms": whole * 1e3,
        "first token, ms": first * 1e3,
        "decoding, tokens per second": (ANSWER - 1) / (whole - first),
    }
    peak = peak_of(shapes.name)
    bandwidth = next((value for name, value in BANDWIDTHS.items() if name in shapes.name), None)
    if peak and bandwidth:
        tokens = shapes.size.tokens
        work = Flops(shapes.config).work(
            tokens=tokens, pairs=visible_pairs(tokens, ()), crops=shapes.size.crops, targets=1
        )
        read = 2 * sum(p.numel() for p in model.model.language_model.parameters())
        floor = work.forward / peak + (ANSWER - 1) * read / bandwidth
        found |= {"time to point, floor, ms": floor * 1e3, "time to point, times the floor": whole / floor}
    return found


def training(shapes: Shapes, *, compiled: bool) -> dict[str, float]:
    """Measure training steps of a slice of the decoder with the whole vision side, plain or compiled."""
    settings = TrainConfig(precision="bf16", activation_checkpointing=True, compile=compiled)
    model = prepare(settings, shapes.build(shapes.slice(), torch.float32))
    trained = ModelWithLoss(model, settings).train()
    optimizer, arrays = make_optimizer(trained, settings.optimizer), shapes.arrays()
    start = shapes.wait()
    train_step(trained, optimizer, [arrays], settings, 1)
    name = "compiled slice" if compiled else "slice"
    found = {f"{name}, first step, s": shapes.wait() - start}
    times = []
    for step in range(2, 6):
        start = shapes.wait()
        train_step(trained, optimizer, [arrays], settings, step)
        times.append(shapes.wait() - start)
    found[f"{name}, s per step"] = min(times)
    if peak := peak_of(shapes.name):
        size = shapes.size
        work = Flops(model.config).work(
            tokens=size.tokens, pairs=visible_pairs(size.tokens, ()), crops=size.crops, targets=size.tokens // 8
        )
        found[f"{name}, MFU"] = work.step() / min(times) / peak
    return found


def adapters_in_four_bits(shapes: Shapes) -> dict[str, float]:
    """Measure the peak memory of a step of adapters over a slice whose weights are in four bits."""
    settings = TrainConfig(precision="bf16", sharding="none", freeze=("vit", "connector"), lora=Lora(base="4bit"))
    with tempfile.TemporaryDirectory() as folder:
        shapes.build(shapes.slice(), torch.bfloat16).save_pretrained(folder)
        model = MolmoForConditionalGeneration.from_pretrained(
            folder, trust_remote_code=False, dtype=weights_dtype(settings), **four_bits(settings)
        )
    trained = ModelWithLoss(prepare(settings, model), settings).to(shapes.device).train()
    if not shapes.dry:
        torch.cuda.reset_peak_memory_stats()
    optimizer, arrays = make_optimizer(trained, settings.optimizer), shapes.arrays()
    report = [train_step(trained, optimizer, [arrays], settings, step) for step in (1, 2)][-1]
    found = {"four bits, loss": report.loss}
    return found if shapes.dry else found | {"four bits, peak GB": torch.cuda.max_memory_allocated() / 1e9}


def same_steps(shapes: Shapes) -> dict[str, float]:
    """Compare losses of nano's training steps on the device and on the CPU."""
    from far_device import steps

    pairs = zip(steps("cpu"), steps(shapes.device.type), strict=True)
    differences = [abs(near[key] - far[key]) for near, far in pairs for key in near]
    return {"steps on the device, largest difference of an objective": max(differences)}


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU, to test this program")
    arguments = options.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        print("expected a GPU, found none; --dry-run tests this program on the CPU", file=sys.stderr)
        return 2
    shapes, began = Shapes(dry=arguments.dry_run), time.perf_counter()
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "time to point": lambda: time_to_point(shapes),
        "training": lambda: training(shapes, compiled=False),
        "four bits": lambda: adapters_in_four_bits(shapes),
        "same steps": lambda: same_steps(shapes),
        "compiled": lambda: training(shapes, compiled=True),
    }
    results: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, part in parts.items():
        if time.perf_counter() - began > LIMIT_S:
            failed[name] = f"not run: {LIMIT_S} s were over"
            continue
        if arguments.dry_run and name == "compiled":
            failed[name] = "not run on the CPU, where compiling takes minutes"
            continue
        try:
            results |= part()
        except Exception as error:  # the GPU is rented: the other parts must run
            failed[name] = f"{type(error).__name__}: {error}"
        if not shapes.dry:
            torch.cuda.empty_cache()
    for name, reason in failed.items():
        print(f"{name}: {reason}", file=sys.stderr)
    seconds = time.perf_counter() - began
    return finish(arguments, results, {}, device=shapes.name, torch=torch.__version__, failed=failed, seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
