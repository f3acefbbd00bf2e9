"""Drive a robot by pointing: its camera's picture and "drive to the red cone" go in, a place on the floor comes out.

    python examples/waypoint_pointing.py [--model oracle] [--seed 4] [--gif waypoint.gif]

The oracle, which knows the room, shows what the env is about. The embedded model was trained on screens, not on rooms:
`--model nano` runs, and fails honestly. A released Molmo points here as on any photo: --model allenai/Molmo-7B-D-0924
"""

import argparse
import sys
from pathlib import Path

import gymnasium
import PIL.Image

from molmo_agent import load_model
from molmo_agent.envs.gymnasium_api.adapters import GymnasiumEnv, to_rows
from molmo_agent.images import with_caption, write_gif


def main() -> int:
    """Point, drive, look again, until the robot is there or the limit is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="oracle", help="who points: oracle, nano, centre, a checkpoint, a server")
    parser.add_argument("--seed", type=int, default=4, help="of the room")
    parser.add_argument("--max-steps", type=int, default=12, help="points before the robot stops")
    parser.add_argument("--gif", type=Path, help="where to write a film of the drive")
    arguments = parser.parse_args()

    env = gymnasium.make(
        "molmo_agent:MolmoAgent/FloorNav-v0",
        render_mode="rgb_array",
        max_steps=arguments.max_steps,
    )
    model = load_model(arguments.model, env=GymnasiumEnv(env))
    picture, info = env.reset(seed=arguments.seed)
    frames: list[PIL.Image.Image] = []
    over = False
    print(info["instruction"])
    while not over:
        answer = model.point(picture, info["instruction"], max_points=1)
        points = [found.point for found in answer.points] if answer.status == "ok" else []
        picture, _, terminated, truncated, info = env.step(to_rows(points))  # no point: the robot stands still
        over = terminated or truncated
        where = f"({points[0].x:.3f}, {points[0].y:.3f})" if points else answer.status
        told = info["refusal"] or f"{info['driven_m']:.1f} m, {info['collisions']} collisions"
        print(f"  {where}: {told}")
        if arguments.gif:
            film = env.unwrapped.film(every=6) if points and not info["refusal"] else [env.render()]
            pointed, *driven = [with_caption(PIL.Image.fromarray(seen), info["instruction"], 480) for seen in film]
            frames += [pointed] * 6 + driven
    env.close()
    if arguments.gif:
        write_gif(frames, arguments.gif, seconds=0.16)
    print(f"{'there' if info['is_success'] else 'not there'}, SPL {info['spl']:.2f}")
    return 0 if info["is_success"] else 1


if __name__ == "__main__":
    sys.exit(main())
