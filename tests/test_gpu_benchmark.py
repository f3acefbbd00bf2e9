"""The GPU benchmark is prepared: its dry run takes every part but compiling on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("bitsandbytes", reason="weights in four bits need the extra quantize")
SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.sh"


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
@pytest.mark.timeout(600)
def test_the_dry_run_of_the_gpu_benchmark_fills_its_file(tmp_path) -> None:
    out = tmp_path / "gpu.json"
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    command = [str(SCRIPT), "--dry-run", "--json", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert list(report["failed"]) == ["compiled"]
    assert report["results"].keys() >= {
        "time to point, ms",
        "decoding, tokens per second",
        "slice, s per step",
        "four bits, loss",
        "steps on the device, largest difference of an objective",
    }
    assert report["results"]["steps on the device, largest difference of an objective"] == 0
