"""Tap what the words name on a phone, and save what was seen before and after, with the point drawn.

    python examples/android_tap.py ['the "Clock" app'] [--env android --serial S --model allenai/Molmo-7B-D-0924]

By default the phone is the simulated one and the model looks the answer up (oracle), so that it runs anywhere. With
`--env android` the tap is real: `adb devices` must list the phone, and you are asked first.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from PIL import Image

from molmo_agent import load_env, load_model
from molmo_agent.actions import Click, Home
from molmo_agent.images import draw_points


def main() -> int:
    """Look, point, ask, tap, look again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default='the "Clock" app', help="what to tap")
    parser.add_argument("--env", default="sim-phone", choices=["sim-phone", "android"])
    parser.add_argument("--serial", help="which phone, of several in `adb devices`")
    parser.add_argument("--model", default="oracle", help="who points")
    parser.add_argument("--out", type=Path, default=Path("phone.png"), help="before and after, side by side")
    arguments = parser.parse_args()
    options = {"serial": arguments.serial} if arguments.env == "android" else {}
    with contextlib.closing(load_env(arguments.env, **options)) as env:
        model = load_model(arguments.model, env=env)
        before, _ = env.reset(seed=1)
        if arguments.env == "sim-phone":
            before, *_ = env.step(Home())
        result = model.point(before.image, arguments.what, max_points=1)
        if result.status != "ok":
            print(f"no point for {arguments.what!r}: {result.status}, the model said {result.reply!r}")
            return 1
        (found,) = result.points
        x_px, y_px = before.transform.to_device(found.point)
        print(f"{arguments.what} is at ({found.point.x:.3f}, {found.point.y:.3f}), pixel {x_px}, {y_px}")
        if arguments.env == "android" and input("tap there? [y/N] ").strip().lower() != "y":
            return 1
        after, *_ = env.step(Click(found.point))
        print(f"in front now: {after.info['app'] or 'the home screen'}")
    left, right = draw_points(before.image, [found.point]), Image.fromarray(after.image)
    sheet = Image.new("RGB", (left.width + right.width + 12, max(left.height, right.height)), (255, 255, 255))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + 12, 0))
    sheet.save(arguments.out)
    print(f"drawn on {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
