"""Pick and place by pointing, in MuJoCo: two points on the camera's picture, lifted to places by a depth picture.

    python examples/pick_by_pointing.py [--model oracle] [--seed 0] [--gif pick.gif]

Needs the extra `robot`: pip install 'molmo-agent[robot]'. With an empty hand a point is where to grasp, then where to
put down, so one pointing model asked in two ways does both.
"""

import argparse
import sys
from pathlib import Path

import gymnasium
import PIL.Image

from molmo_agent import load_model
from molmo_agent.envs.gymnasium_api.adapters import GymnasiumEnv, to_rows
from molmo_agent.images import draw_points, write_gif


def main() -> int:
    """Ask for the object, then for the plate, and let the hand do the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="oracle", help="who points: oracle, nano, centre, a checkpoint, a server")
    parser.add_argument("--seed", type=int, default=0, help="of the table")
    parser.add_argument("--gif", type=Path, help="where to write a film")
    arguments = parser.parse_args()

    env = gymnasium.make("molmo_agent:MolmoAgent/TablePick-v0", width=400, height=300)
    model = load_model(arguments.model, env=GymnasiumEnv(env))
    picture, info = env.reset(seed=arguments.seed)
    world, frames = env.unwrapped.world, []
    if arguments.gif:
        world.watch = lambda: frames.append(PIL.Image.fromarray(world.image()))
    print(info["instruction"])
    thing, plate = info["instruction"].removeprefix("put ").split(" on ")
    over = False
    while not over:
        answer = model.point(picture, plate if info["holding"] else thing, max_points=1)
        points = [found.point for found in answer.points] if answer.status == "ok" else []
        if points:
            frames += [draw_points(picture, points)] * 5
        picture, _, terminated, truncated, info = env.step(to_rows(points, max_points=2))
        over = terminated or truncated
        where = f"({points[0].x:.3f}, {points[0].y:.3f})" if points else answer.status
        print(f"  {where}: {info['refusal'] or ('holding it' if info['holding'] else 'hand empty')}")
    env.close()
    if arguments.gif:
        write_gif(frames[::2], arguments.gif, seconds=0.12)
    verdict = "on its plate" if info["is_success"] else "not on its plate"
    print(f"{verdict}, {1000 * info['distance_m']:.0f} mm from its middle")
    return 0 if info["is_success"] else 1


if __name__ == "__main__":
    sys.exit(main())
