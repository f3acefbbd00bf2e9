"""Write a pointing env of your own: four methods, and everything here works with it.

    python examples/write_an_env.py [--model centre] [--episodes 20]

The env: dots of one colour and an odd one. The base class reads the points, counts what it refuses and fills `info`.
"""

import argparse
import sys

import numpy as np
from gymnasium.utils.env_checker import check_env

from molmo_agent import load_policy, rollout
from molmo_agent.envs.gymnasium_api.adapters import GymnasiumEnv, Outcome, PointingEnv
from molmo_agent.rollout.screen_changes import AT_ONCE


class OddOneOut(PointingEnv):
    """Rows of squares, one of another colour: point at it."""

    def __init__(self, *, render_mode=None):
        """Take a picture of 6 x 4 squares of 40 pixels, and up to two tries."""
        super().__init__(size=(240, 160), max_points=1, max_steps=2, render_mode=render_mode)

    def begin(self, rng, options):
        """Choose the odd one; the generator makes an episode repeatable."""
        self.odd = int(rng.integers(6)), int(rng.integers(4))
        self.colours = rng.permutation([(214, 56, 52), (46, 104, 206), (58, 158, 82)])[:2]
        return "point at the odd one out"

    def image(self):
        """Draw what is seen: a new array each time."""
        image = np.full((160, 240, 3), 245, np.uint8)
        for column in range(6):
            for row in range(4):
                colour = self.colours[int((column, row) == self.odd)]
                image[row * 40 + 8 : row * 40 + 32, column * 40 + 8 : column * 40 + 32] = colour
        return image

    def target_mask(self):
        """Say where the target is: for oracles and metrics only."""
        mask = np.zeros((160, 240), bool)
        column, row = self.odd
        mask[row * 40 + 8 : row * 40 + 32, column * 40 + 8 : column * 40 + 32] = True
        return mask

    def point_at(self, points):
        """Act on a point; it is a fraction of the picture and never anything else."""
        x, y = points[0].to_pixels(*self.size)
        hit = bool(self.target_mask()[y, x])
        return Outcome(reward=float(hit), success=hit, terminated=hit)


def main() -> int:
    """Check the env, then let models play it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="centre", help="who points, beside the oracle")
    parser.add_argument("--episodes", type=int, default=20, help="how many each plays")
    arguments = parser.parse_args()
    check_env(OddOneOut(render_mode="rgb_array"), skip_render_check=True)
    env = GymnasiumEnv(OddOneOut(), name="odd-one-out")
    for name in ("oracle", arguments.model):
        policy, done = load_policy(model=name, env=env), 0
        for seed in range(arguments.episodes):
            run = rollout(policy, env, seed=seed, settle=AT_ONCE)
            list(run)
            done += bool(run.trajectory.success)
        print(f"{name}: {done} of {arguments.episodes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
