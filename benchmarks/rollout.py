"""What batching brings to rollouts, and what a step costs outside the model. The simulated desktop, one thread.

    python benchmarks/rollout.py [--envs 16] [--episodes 16] [--json FILE] [--check]

"One by one" is one env at a time, "batched" is so many envs whose questions are asked in one call; both run the same
episodes and must agree on every one of them. Steps are counted per second of processor time, and of waiting for the
model where it is waited for. Three models are compared:

- one that takes no time: what is left is the env, the policy and the loop;
- one whose call takes 250 ms however many questions are in it, as it nearly is with a server or a GPU that is not full:
  it shows what the loop makes of batching;
- nano on this processor, where a call takes as long as its pictures are many: the towers and the decoder are busy with
  one picture already. Its time by part is printed beside. No target: a processor has no idle width to fill.

What a step costs on a real desktop, part by part: benchmarks/agent.py.
"""

import functools
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.episode import Image, PointResult
from molmo_agent.interfaces import Env, PointingModel
from molmo_agent.pointers.baselines import RandomPointer
from molmo_agent.pointers.nano import load_nano
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.batch import BatchConfig, BatchResult, roll_out

CALL_S = 0.25
TARGETS = {
    "250 ms a call: steps/s batched, times one by one": (">=", 4.0),
    "a step outside the model, batched, ms": ("<=", 80.0),
}


class FixedTime(RandomPointer):
    """Answers any number of questions in the same time."""

    name = "fixed"

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Wait, then answer."""
        time.sleep(CALL_S)
        return super().point_batch(images, instructions)


def policy(env: Env, seat: PointingModel) -> PointingPolicy:
    return PointingPolicy(seat)


def rates(
    model: PointingModel, make_env: Callable[[], Env], episodes: int, envs: int, call_s: float = 0.0
) -> tuple[float, float]:
    """Return steps/s one by one and batched, in processor time and what calls are waited for (``call_s`` each)."""
    results: list[BatchResult] = []
    seconds: list[float] = []
    for number in (1, envs):
        cache: Any = getattr(model, "cache", None)
        if cache is not None:
            cache.forget()
            cache.reserve_images(number)
        start = time.process_time()
        results.append(
            roll_out(
                make_env,
                policy,
                model,
                episodes=episodes,
                seed=1,
                config=BatchConfig(num_envs=number, options={"task": "click-button"}),
            )
        )
        seconds.append(time.process_time() - start + call_s * len(results[-1].calls))
    if results[0].episodes != results[1].episodes:
        raise SystemExit("batching changed an episode")
    steps = sum(episode.steps for episode in results[0].episodes)
    return steps / seconds[0], steps / seconds[1]


@torch.inference_mode()
def parts(pointer: Any, image: Image, question: str) -> dict[str, float]:
    """Return where nano's time goes for one picture that it has not seen, ms."""
    times = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        times[f"nano, one new picture: {name}, ms"] = 1e3 * (time.perf_counter() - start)
        start = time.perf_counter()

    pointer.point(image, question)
    pointer.cache.forget()
    start = time.perf_counter()
    _, arrays = pointer.processor.encode(image, "")
    lap("preparing")
    pointer.cache.patches(pointer.model.model, arrays["pixel_values"])
    lap("vision tower")
    prefix = pointer._prefix(image)  # prepares again, finds the crops in the cache
    lap("preparing, connector and reading the picture")
    pointer._decode(prefix, [question])
    lap("question and answer")
    return times


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--envs", type=int, default=16, help="side by side")
    options.add_argument("--episodes", type=int, default=16, help="of each run")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    make_env = functools.partial(SimDesktop, 640, 480)
    # Glyphs are drawn when they are first needed.
    roll_out(
        make_env,
        policy,
        RandomPointer(),
        episodes=arguments.episodes,
        seed=1,
        config=BatchConfig(options={"task": "click-button"}),
    )
    results: dict[str, float] = {}
    for name, model, call_s in (
        ("no time", RandomPointer(), 0.0),
        ("250 ms a call", FixedTime(), CALL_S),
        ("nano", load_nano(), 0.0),
    ):
        single, batched = rates(model, make_env, arguments.episodes, arguments.envs, call_s)
        results[f"{name}: steps/s one by one"] = single
        results[f"{name}: steps/s batched"] = batched
        results[f"{name}: steps/s batched, times one by one"] = batched / single
    results["a step outside the model, batched, ms"] = 1e3 / results["no time: steps/s batched"]
    env = make_env()
    observation, info = env.reset(seed=5, options={"task": "click-button"})
    results |= parts(load_nano(), observation.image, info["instruction"].removeprefix("click "))
    machine = {"machine": platform.machine(), "torch": torch.__version__}
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + f", one thread, {arguments.envs} envs")
    return finish(arguments, results, TARGETS, machine=machine, envs=arguments.envs, episodes=arguments.episodes)


if __name__ == "__main__":
    sys.exit(main())
