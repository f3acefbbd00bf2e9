"""Point at something on a picture, and write the picture with the point drawn.

    python examples/point_at_image.py [picture.png "the red star"] [--model nano] [--out pointed.png]

Without a picture, a canvas of coloured shapes is drawn and one of them is asked for.
"""

import argparse
import sys
from pathlib import Path

import gymnasium

from molmo_agent import load_model
from molmo_agent.images import draw_points, read_image


def main() -> int:
    """Ask, and say where; 1 when there is no point to act on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, nargs="?", help="a picture file")
    parser.add_argument("what", nargs="?", help="what to point at")
    parser.add_argument("--model", default="nano", help="who points: nano, centre, a checkpoint, a server")
    parser.add_argument("--seed", type=int, default=0, help="of the canvas, without a picture")
    parser.add_argument("--out", type=Path, default=Path("pointed.png"), help="where to write the picture")
    arguments = parser.parse_args()
    if arguments.picture and not arguments.what:
        parser.error("say what to point at, after the picture")

    if arguments.picture:
        image, what = read_image(arguments.picture), arguments.what
    else:
        env = gymnasium.make("molmo_agent:MolmoAgent/PointTarget-v0", width=640, height=480)
        image, info = env.reset(seed=arguments.seed)
        what = info["instruction"].removeprefix("point at ")
    answer = load_model(arguments.model).point(image, what)
    print(f"{what}: {answer.status} {answer.reply}")
    for found in answer.points:
        print(f"  {found.point.x:.3f} {found.point.y:.3f} (fractions of width and height)")
    if answer.points:
        draw_points(image, [found.point for found in answer.points]).save(arguments.out)
        print(f"see {arguments.out}")
    return 0 if answer.points else 1


if __name__ == "__main__":
    sys.exit(main())
