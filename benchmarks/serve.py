"""Requests per second and latency of `agent serve` on loopback, batched against one by one.

    python benchmarks/serve.py [--json FILE] [--check] [--requests 2000] [--model nano]

Clients ask different questions about a few screens again and again, as agents and annotators do. "One by one" is the
same server with batches of one question; the target compares with a model that looks at the image anew for each
question, as a server without shared images does. The overhead is measured with a model that answers at once. The load
test counts errors and the growth of the server's memory; at the end the server has to end by itself.
"""

import base64
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.child_environment import child_environment
from molmo_agent.images import read_image
from molmo_agent.pointers.wrapped import innermost
from molmo_agent.registry import load_env, load_model

TARGETS = {
    "32 clients, batched against one by one": (">=", 2.0),
    "overhead over the model, ms": ("<=", 10.0),
    "load: errors": ("<=", 0.0),
    "load: growth of memory from half of the requests on, MB": ("<=", 20.0),
    "load: exit code of the server": ("<=", 0.0),
}
CLIENTS = (1, 8, 32)


def screens(count: int) -> list[str]:
    """Return simulated screens as data URLs."""
    env, urls = load_env("sim-desktop"), []
    for seed in range(count):
        file = io.BytesIO()
        Image.fromarray(env.reset(seed=seed)[0].image).save(file, "PNG")
        urls.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return urls


class Server:
    """`agent serve` in a process of its own."""

    def __init__(self, model: str, max_batch: int) -> None:
        command = [sys.executable, "-m", "molmo_agent", "serve", "--model", model, "--port", "0"]
        command += ["--max-batch", str(max_batch)]
        environment = child_environment(PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(sys.path[1:]))
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout
        greeting = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert greeting, "the server did not start"
        self.port = int(greeting[1])

    def memory_mb(self) -> float:
        """Return the resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ask(server: Server, urls: list[str], clients: int, count: int) -> tuple[list[float], int, float]:
    """Return (seconds of each request, number of errors, seconds in all)."""
    local, seconds, errors = threading.local(), [], []

    def one(number: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        body = {"image": urls[number % len(urls)], "instruction": f'the "Item {number % 50}" button'}
        began = time.perf_counter()
        local.connection.request("POST", "/v1/point", json.dumps(body), {"content-type": "application/json"})
        response = local.connection.getresponse()
        response.read()
        seconds.append(time.perf_counter() - began)
        if response.status != 200:
            errors.append(response.status)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(count)))
    return seconds, len(errors), time.perf_counter() - began


def throughput(model: str, urls: list[str], count: int, max_batch: int) -> tuple[dict[int, float], dict[str, float]]:
    """Return requests per second by number of clients, and rows for the table."""
    server, rates, rows = Server(model, max_batch), {}, {}
    how = "batched" if max_batch > 1 else "one by one"
    try:
        ask(server, urls, 1, len(urls))
        for clients in CLIENTS:
            seconds, errors, total = ask(server, urls, clients, count)
            assert not errors, f"{errors} requests failed"
            rates[clients] = count / total
            rows[f"{how}, {clients} clients: requests/s"] = rates[clients]
            rows[f"{how}, {clients} clients: p95, ms"] = 1e3 * float(np.percentile(seconds, 95))
    finally:
        server.end()
    return rates, rows


def plain_rate(name: str, urls: list[str], count: int = 6) -> float:
    """Return the questions per second of a model that is asked about an image anew each time, without a server."""
    model = load_model(name)
    images = [read_image(base64.b64decode(url.partition(",")[2])) for url in urls]
    cache = getattr(innermost(model), "cache", None)
    began = time.perf_counter()
    for number in range(count):
        if cache is not None:
            cache.forget()
        model.point(images[number % len(images)], f'the "Item {number}" button')
    return count / (time.perf_counter() - began)


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--model", default="nano")
    options.add_argument("--requests", type=int, default=2000, help="of the load test")
    options.add_argument("--questions", type=int, default=96, help="of each measurement of the model")
    arguments = options.parse_args()
    urls, results = screens(2), {}
    batched, rows = throughput(arguments.model, urls, arguments.questions, 32)
    results |= rows
    _, rows = throughput(arguments.model, urls, arguments.questions, 1)
    results |= rows
    results["one by one, each with its own vision pass: questions/s"] = alone = plain_rate(arguments.model, urls)
    results["32 clients, batched against one by one"] = batched[32] / alone
    server = Server("centre", 32)
    seconds, _, _ = ask(server, urls, 1, 200)
    results["overhead over the model, ms"] = 1e3 * float(np.median(seconds[20:]))
    half = arguments.requests // 2
    _, errors, _ = ask(server, urls, 32, half)
    before = server.memory_mb()
    seconds, more, total = ask(server, urls, 32, arguments.requests - half)
    results["load: requests/s of 32 clients without a model"] = len(seconds) / total
    results["load: errors"] = errors + more
    results["load: growth of memory from half of the requests on, MB"] = server.memory_mb() - before
    results["load: exit code of the server"] = server.end()
    facts: dict[str, Any] = {"model": arguments.model, "cpus": os.cpu_count(), "requests": arguments.requests}
    return finish(arguments, results, TARGETS, **facts)


if __name__ == "__main__":
    sys.exit(main())
