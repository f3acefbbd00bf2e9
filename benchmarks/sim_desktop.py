"""How fast screens for training are drawn, and the simulated desktop's live env steps. One core, no GPU.

    python benchmarks/sim_desktop.py [--seconds 5] [--json FILE] [--check]

Prints a table and, with --json, writes the numbers; --check exits with 1 where a target is missed.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL

from molmo_agent.actions import Click
from molmo_agent.envs.sim_desktop import STYLES, sample_screen
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.geometry import Point
from molmo_agent.synthetic.sample import draw

TARGET_SCREENS_PER_S = 200.0
_WIDTH, _HEIGHT = 640, 480
# What else training draws, each at its usual sizes.
_OTHER_STYLES = (
    ("panel", 640, 480),
    ("page", 160, 210),
    ("page", 320, 420),
    ("page", 640, 480),
    ("phone", 360, 640),
    ("phone", 640, 480),
)
# Glyphs and sprites are drawn when they are first needed; a data source that runs for hours has them all.
_WARM_UP = 400


def rate(work: Callable[[int], object], seconds: float) -> float:
    """Return how often per second of this process's own time ``work`` can be called, with another seed each time."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds or count < 20:
        work(1_000_000 + count)
        count += 1
    return count / spent


def measure(seconds: float) -> dict[str, float]:
    """Return calls per second by name."""
    for seed in range(_WARM_UP):
        sample_screen(seed, width=_WIDTH, height=_HEIGHT)
    results = {"screens, any style": rate(lambda s: sample_screen(s, width=_WIDTH, height=_HEIGHT), seconds)}
    for style in STYLES:
        for seed in range(_WARM_UP // 4):
            sample_screen(seed, style=style)
        results[f"screens, {style}"] = rate(lambda s, style=style: sample_screen(s, style=style), seconds)  # type: ignore[misc]
    for style, width, height in _OTHER_STYLES:
        for seed in range(_WARM_UP // 4):
            draw(seed, style, width=width, height=height, split="train")
        results[f"{style} {width}x{height}"] = rate(
            lambda s, a=(style, width, height): draw(s, a[0], width=a[1], height=a[2], split="train"),  # type: ignore[misc]
            seconds,
        )
    env = SimDesktop(_WIDTH, _HEIGHT)
    results["resets"] = rate(lambda s: env.reset(seed=s, options={"task": "click-button"}), seconds)
    results["steps"] = rate(lambda s: env.step(Click(Point(s % 97 / 97, s % 89 / 89))), seconds)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time for each row")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    results = measure(arguments.seconds)
    machine = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{'simulated desktop, ' + str(_WIDTH) + 'x' + str(_HEIGHT):32} {'per second':>12} {'ms each':>9}")
    for name, value in results.items():
        print(f"{name:32} {value:12.0f} {1000 / value:9.2f}")
    if arguments.json:
        report = {"benchmark": "sim_desktop", "machine": machine, "unit": "per second and core", "results": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    reached = results["screens, any style"]
    if arguments.check and reached < TARGET_SCREENS_PER_S:
        print(f"missed: screens, any style: {reached:.0f} per second and core, target {TARGET_SCREENS_PER_S:.0f}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
