"""Measure the latency of a pointing model on uncached images, by image size and number of threads."""

import os
import time
from typing import Any

import numpy as np
import torch

from molmo_agent.interfaces import PointingModel
from molmo_agent.synthetic.sample import draw

SIZES = ((640, 480), (1920, 1080))
THREADS = (1, 2)
# Seeds of the screens, not used for training or scoring.
_SEED = 2**34


def measure(model: PointingModel, *, repeats: int, threads: tuple[int, ...] = THREADS) -> list[dict[str, Any]]:
    """Return a row per size and number of threads: seconds per question about an uncached screen.

    Args:
        model: must run in this process for the thread counts to apply.
        repeats: screens per row, after one warm-up screen.
        threads: of torch; restored afterwards.
    """
    before, rows = torch.get_num_threads(), []
    # Other load on the machine worsens every figure, so it is reported.
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    try:
        for width, height in SIZES:
            for count in threads:
                torch.set_num_threads(count)
                seconds = []
                for number in range(repeats + 1):
                    # All different, or the second answer would come from the cache.
                    seed = _SEED + number + 1000 * count
                    image = draw(seed, "desktop", width=width, height=height, split="train").image
                    began = time.perf_counter()
                    model.point(image, 'the "Save" button')
                    seconds.append(time.perf_counter() - began)
                p50, p95 = (float(np.quantile(seconds[1:], q)) for q in (0.5, 0.95))
                row = {"size": f"{width}x{height}", "threads": count, "n": repeats, "p50_s": p50, "p95_s": p95}
                rows.append({**row, "cores": os.cpu_count(), "load": load})
    finally:
        torch.set_num_threads(before)
    return rows
