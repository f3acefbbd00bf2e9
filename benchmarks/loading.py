"""How much memory loading takes, as a share of the loaded model: float32 shards of the released layout, as bfloat16.

    python benchmarks/loading.py [--json FILE] [--check] [--gigabytes 1.0]

Weights are random. Writes a checkpoint (twice the size) to a temporary folder, loads it in processes of their own and
samples the memory that is theirs alone every millisecond. Pages of the mapped files, which the system takes back when
it wants to, are told beside it. The baseline reads all weights into memory and copies them into the model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.checkpoints.molmo_0924 import official_config, to_official

TARGETS = {"peak memory, share of the model": ("<=", 1.1)}


def config_of(gigabytes: float) -> MolmoConfig:
    """Return a config like 7B-D's in proportions, of about this size in bfloat16."""
    layers = max(1, round((gigabytes * 1e9 / 2 - 120e6) / 22e6))
    return MolmoConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 512,
            "intermediate_size": 2048,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "image_size": 336,
            "patch_size": 14,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 32000,
            "hidden_size": 1024,
            "intermediate_size": 6144,
            "num_hidden_layers": layers,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
        },
        pooling_heads=8,
        projector_hidden_size=6144,
        image_start_token_id=32000,
    )


def write_checkpoint(folder: Path, gigabytes: float) -> None:
    """Write a random checkpoint as the released ones are stored: in float32, in shards."""
    from huggingface_hub import save_torch_state_dict

    model = MolmoForConditionalGeneration(config_of(gigabytes))
    weights = {name: tensor.contiguous() for name, tensor in to_official(model).items()}
    save_torch_state_dict(weights, folder, max_shard_size="500MB")
    (folder / "config.json").write_text(json.dumps(official_config(model.config)))


def memory() -> dict[str, int]:
    """Return this process's own bytes, and those of files it has mapped."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {name: int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem", "RssFile")}
    own = kilobytes["RssAnon"] + kilobytes["RssShmem"]
    return {"own": own * 1024, "mapped": kilobytes["RssFile"] * 1024}


def plain_load(folder: Path) -> Any:
    """Load as one does without thinking of memory: everything into a dict, then into the model."""
    config = MolmoConfig.from_pretrained(folder, trust_remote_code=False)
    state = {}
    for shard in sorted(folder.glob("*.safetensors")):
        state |= {name: tensor.clone() for name, tensor in load_file(shard).items()}
    return MolmoForConditionalGeneration.from_pretrained(
        None, config=config, state_dict=state, dtype=torch.bfloat16, trust_remote_code=False
    )


def measure(how: str, folder: Path) -> None:
    """Load in this process; print what it took."""
    logging.disable_progress_bar()
    before, peak, done = memory(), {"own": 0, "mapped": 0}, threading.Event()

    def watch() -> None:
        while not done.is_set():
            now = memory()
            for name in peak:
                peak[name] = max(peak[name], now[name] - before[name])
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    if how == "ours":
        model = MolmoForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16, trust_remote_code=False)
    else:
        model = plain_load(folder)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    size = sum(parameter.nbytes for parameter in model.parameters())
    print(json.dumps({"size": size, "seconds": seconds, **peak}))


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--gigabytes", type=float, default=1.0, help="size of the model")
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return 0
    if not Path("/proc/self/status").exists():
        print("this benchmark reads /proc, which only Linux has")
        return 0
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name), arguments.gigabytes)
        found = {
            how: json.loads(
                subprocess.run(
                    [sys.executable, __file__, "--measure", how, name], check=True, stdout=subprocess.PIPE, text=True
                ).stdout.splitlines()[-1]
            )
            for how in ("ours", "plain")
        }
    ours, plain = found["ours"], found["plain"]
    results = {
        "model, MB": ours["size"] / 1e6,
        "peak memory, share of the model": ours["own"] / ours["size"],
        "peak memory of the plain way, share of the model": plain["own"] / plain["size"],
        "mapped file pages beside it, share of the model": ours["mapped"] / ours["size"],
        "seconds": ours["seconds"],
        "seconds of the plain way": plain["seconds"],
    }
    return finish(arguments, results, TARGETS)


if __name__ == "__main__":
    sys.exit(main())
