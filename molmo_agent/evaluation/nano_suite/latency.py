"""How long a pointing model takes for an image that it has not seen before, by size of image and threads."""

import os
import time
from typing import Any

import numpy as np
import torch

from molmo_agent.interfaces import PointingModel
from molmo_agent.synthetic.sample import draw

SIZES = ((640, 480), (1920, 1080))
THREADS = (1, 2)
# Seeds of the screens; nothing is learned or scored on them.
_SEED = 2**34


def measure(model: PointingModel, *, repeats: int, threads: tuple[int, ...] = THREADS) -> list[dict[str, Any]]:
    """Return a row per size and number of threads: seconds of one question about a fresh screen.

    Args:
        model: answers in this process, or the threads mean nothing.
        repeats: screens per row; one more is asked about first and not counted.
        threads: of torch; restored afterwards.
    """
    before, rows = torch.get_num_threads(), []
    # What else wants the processors makes every figure worse; who reads them has to know.
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    try:
        for width, height in SIZES:
            for count in threads:
                torch.set_num_threads(count)
                seconds = []
                for number in range(repeats + 1):
                    # No two the same, or the second would be answered from memory.
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
