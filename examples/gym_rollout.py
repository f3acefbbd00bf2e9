"""A pointing model in vectorised Gymnasium envs: one batched call per step, over the envs that still play.

    python examples/gym_rollout.py [--env MolmoAgent/SimDesktop-v0] [--model nano] [--num-envs 4] [--episodes 12]

The action of a pointing env is rows of (x, y, present), fractions of the picture. Gymnasium resets an env in the step
after its episode's end and ignores that step's action: these steps are not asked about.
"""

import argparse
import sys

import gymnasium
import numpy as np

from molmo_agent import load_model
from molmo_agent.envs.gymnasium_api.adapters import to_rows


def main() -> int:
    """Play, and print how many episodes ended with success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="MolmoAgent/SimDesktop-v0", help="a pointing env that gymnasium knows")
    parser.add_argument("--model", default="nano", help="who points: nano, random, centre, a checkpoint, a server")
    parser.add_argument("--num-envs", type=int, default=4, help="envs side by side")
    parser.add_argument("--episodes", type=int, default=12, help="play at least so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first env; the others count on")
    arguments = parser.parse_args()

    model = load_model(arguments.model)
    envs = gymnasium.make_vec(arguments.env, num_envs=arguments.num_envs, vectorization_mode="sync")
    max_points = envs.single_action_space.shape[0]
    pictures, info = envs.reset(seed=arguments.seed)
    asleep = np.zeros(arguments.num_envs, bool)  # resets in the coming step
    episodes = successes = questions = 0
    while episodes < arguments.episodes:
        playing = np.flatnonzero(~asleep)
        texts = [str(info["instruction"][i]) for i in playing]
        answers = model.point_batch([pictures[i] for i in playing], texts)
        questions += len(playing)
        actions = np.zeros(envs.action_space.shape, np.float32)  # no present row: "there is none", nothing is done
        for i, answer in zip(playing, answers, strict=True):
            # Only `ok` is an answer to act on; and more points than the action has rows would leave some out.
            if answer.status == "ok" and len(answer.points) <= max_points:
                actions[i] = to_rows([found.point for found in answer.points], max_points)
        pictures, _, terminated, truncated, info = envs.step(actions)
        over = (terminated | truncated) & ~asleep
        episodes += int(over.sum())
        successes += int(info["is_success"][over].sum())
        asleep = over
    envs.close()
    print(f"{arguments.env} with {arguments.model}: {successes} of {episodes} episodes, {questions} questions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
