"""Teach nano an application that it never saw, from 50 labelled clicks; hits before and after, and a picture of both.

    python examples/my_screens.py [--out my_screens] [steps=80]

The application is a till whose tools are pictures with names. For yours see docs/train.md, "Your own screens".
"""

import argparse
import json
from pathlib import Path
from random import Random

import PIL.Image
import PIL.ImageDraw

from molmo_agent.evaluation.before_and_after import compare_run, report, write_comparison
from molmo_agent.images import draw_points, filmstrip, read_image, with_caption
from molmo_agent.train.launch import run_here
from molmo_agent.train.recipe import load

TOOLS = ("stock", "invoice", "courier", "refund", "kitchen", "scales")
DISHES = ("Soup", "Risotto", "Trout", "Salad", "Tart", "Cider", "Olives", "Bread", "Lentils", "Gnocchi")
WIDTH, HEIGHT = 200, 160


def screenshot(rng: Random) -> tuple[PIL.Image.Image, dict[str, tuple[int, int, int, int]]]:
    """Draw the till somewhere on the screen, with orders of the day; return also where everything is, in pixels."""
    picture = PIL.Image.new("RGB", (WIDTH, HEIGHT), "#2b1d33")
    pen, left, top = PIL.ImageDraw.Draw(picture), rng.randrange(24), rng.randrange(20)
    pen.rectangle((left, top, left + 175, top + 139), fill="#fbf0d9")
    boxes = {}
    for number, name in enumerate(TOOLS):
        x, y, pattern = left + 6 + number * 28, top + 6, Random(name).getrandbits(8)
        boxes[name] = (x, y, x + 24, y + 24)
        pen.rectangle(boxes[name], fill="#7a285a")
        for row, column in ((cell // 4, cell % 4) for cell in range(16)):
            if pattern >> (row * 2 + min(column, 3 - column)) & 1:
                pen.rectangle((x + 2 + column * 5, y + 2 + row * 5, x + 6 + column * 5, y + 6 + row * 5), fill="#fc5")
    for number, name in enumerate(rng.sample(DISHES, 4)):
        y = top + 38 + number * 25
        boxes[name] = (left + 6, y, left + 100, y + 20)
        pen.rectangle(boxes[name], fill="#f0d0a8")
        pen.text((left + 12, y + 4), f"{name:20}{rng.randint(2, 30)}.50", fill="#402030")
    return picture, boxes


def main() -> None:
    """Draw, label, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("my_screens"), help="folder for everything")
    parser.add_argument("changes", nargs="*", help="key=value, as in agent train")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(20):  # every second one is learned from, five clicks on each
        picture, boxes = screenshot(Random(number))
        picture.save(arguments.out / f"{number}.png")
        for name in Random(number).sample(sorted(boxes), 5):
            left, top, right, bottom = (v / side for v, side in zip(boxes[name], (WIDTH, HEIGHT) * 2, strict=True))
            middle = [(left + right) / 2, (top + bottom) / 2]
            click = {"image": f"{number}.png", "label": name, "points": [middle], "boxes": [[left, top, right, bottom]]}
            lines.append(json.dumps(click) + "\n")
    (arguments.out / "points.jsonl").write_text("".join(lines))
    own = [f"mixture.0.path={arguments.out / 'points.jsonl'}", "mixture.0.hold_out=2", *arguments.changes]
    config, folder = load("my-screens", own), arguments.out / "run"
    run_here(config, folder, lambda told: print(f"step {told['step']}: loss {told['loss']:.2f}", flush=True))
    asked = compare_run(config, folder)
    print("before: {}\nafter:  {}".format(*report(asked)))
    write_comparison(config, folder, asked)
    frames = []
    for one in asked[::12]:
        for when, result in (("before", one.before), ("after", one.after)):
            image = draw_points(read_image(one.image), [answer.point for answer in result.points])
            frames.append(with_caption(image, f"{one.target.instruction}, {when}: {result.status}", 400))
    filmstrip(frames, columns=2).save(arguments.out / "before_and_after.png")
    print(f"see {arguments.out / 'before_and_after.png'}")


if __name__ == "__main__":
    main()
