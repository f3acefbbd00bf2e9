"""`deploy/ray_job.sh` as it is, on a cluster of a head without a GPU and two machines that count as having one each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray_cluster import MEMORY
from tiny_training import write_model, write_points

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_submitted_job_trains_on_both_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Submitting needs what `pip install "ray[default]"` brings.
    pytest.importorskip("aiohttp_cors", reason="needs ray[default]", exc_type=ImportError)
    pytest.importorskip("ray.dashboard.modules.job.sdk", reason="needs ray[default]", exc_type=ImportError)
    from ray.cluster_utils import Cluster

    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in (("agent", "-m molmo_agent"), ("ray", "-m ray.scripts.scripts")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=MEMORY)
        points, model = write_points(tmp_path), write_model(tmp_path / "model")
        environment = os.environ | {
            "RAY_ADDRESS": f"http://{cluster.webui_url}",
            "WORKERS": "2",
            "OUT": str(tmp_path / "run"),
        }
        changes = [f"mixture.0.path={points}", f"model={model}", "steps=2", "length=200", "batch=4"]
        command = ["sh", str(ROOT / "deploy" / "ray_job.sh"), "pointing", *changes]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800, check=False)
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 workers on Ray, one GPU each: the cluster has 2 GPUs" in " ".join(done.stdout.split())
    assert "GPUs that torch cannot use there" in " ".join(done.stdout.split()), "they only count as having one"
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2]
    assert (tmp_path / "run" / "export" / "model.safetensors").is_file()
