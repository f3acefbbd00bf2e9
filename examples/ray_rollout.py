"""What can a model do? One family of tasks of the simulated desktop per Ray worker; without Ray where one is enough.

    python examples/ray_rollout.py [--model random] [--episodes 10] [--workers 4] [--address ray://head:10001]

Ray maps an ordinary function over the families. An episode is decided by the seed and its number, so the table is the
same with any number of workers, here or on a cluster. (One env on several workers: `agent rollout --workers 4`.)
"""

import argparse
import functools
import sys

from molmo_agent import load_env, load_model, load_policy
from molmo_agent.rollout.batch import BatchConfig, roll_out
from molmo_agent.rollout.ray_map import map_on_ray

FAMILIES = ("click-button", "click-icon", "click-link", "click-shape", "open-menu", "switch-tab")


def evaluate(families: list[str], model: str, episodes: int) -> dict[str, tuple[int, int]]:
    """Return the successes of the oracle and of a model for each family; runs wherever Ray puts it."""

    def run(family: str, oracle: bool) -> int:
        result = roll_out(
            functools.partial(load_env, "sim-desktop"),
            lambda env, seat: load_policy(model="oracle" if oracle else seat, env=env),
            load_model(model),
            episodes=episodes,
            config=BatchConfig(num_envs=4, options={"task": family}),
        )
        return sum(episode.success is True for episode in result.episodes)

    return {family: (run(family, True), run(family, False)) for family in families}


def main() -> int:
    """Share the families out, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random", help="who points: random, centre, nano, a checkpoint, a server")
    parser.add_argument("--episodes", type=int, default=10, help="of each family")
    parser.add_argument("--workers", type=int, default=1, help="more than one need Ray")
    parser.add_argument("--address", help="of a Ray cluster; without it one is started on this machine")
    arguments = parser.parse_args()

    work = functools.partial(evaluate, model=arguments.model, episodes=arguments.episodes)
    shares = [list(FAMILIES[first :: arguments.workers]) for first in range(min(arguments.workers, len(FAMILIES)))]
    parts = map(work, shares) if len(shares) == 1 else map_on_ray(work, shares, address=arguments.address)
    found = {family: counts for part in parts for family, counts in part.items()}
    print(f"{'of ' + str(arguments.episodes):16}{'oracle':>8}{arguments.model:>10}")
    for family in FAMILIES:
        oracle, model = found[family]
        print(f"{family:16}{oracle:8d}{model:10d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
