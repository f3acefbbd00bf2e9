"""Draw the images of the envs with an expert's points on them: docs/images/env_*.png.

    python docs/make_env_pictures.py [--out docs/images]

The film beside them: python examples/waypoint_pointing.py --seed 13 --gif docs/images/waypoint.gif
"""

import argparse
from pathlib import Path

import gymnasium
import PIL.Image

from molmo_agent import load_env
from molmo_agent.envs.gymnasium_api.adapters import to_rows
from molmo_agent.images import draw_points, with_caption

# Id without its frame -> (seed, options).
SHOWN = {
    "PointTarget": (1, {"width": 480, "height": 360}),
    "GridNav": (2, {"cell_px": 40}),
    "FloorNav": (19, {"width": 360, "height": 270}),
    "TablePick": (3, {"width": 480, "height": 360}),
}


# Pages of MiniWoB++ side by side, and the seed that fills them.
PAGES = ("click-test-2", "click-dialog-2", "click-shape", "click-tab-2", "click-checkboxes", "social-media")
PAGES_SEED = 3


def draw_pages(path: Path) -> None:
    """Draw pages as Chromium shows them, twice as sharp."""
    images = []
    for task in PAGES:
        env = load_env(f"miniwob:{task}", scale=2)
        images.append(PIL.Image.fromarray(env.reset(seed=PAGES_SEED)[0].image))
        env.close()
    width, height = images[0].size
    sheet = PIL.Image.new("RGB", (len(images) * (width + 8) - 8, height), "white")
    for number, image in enumerate(images):
        sheet.paste(image, (number * (width + 8), 0))
    sheet.quantize(128).save(path, optimize=True)


def main() -> None:
    """Draw each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images", help="folder")
    out = parser.parse_args().out
    for name, (seed, options) in SHOWN.items():
        env = gymnasium.make(
            f"molmo_agent.envs.gymnasium_api.adapters:MolmoAgent/{name}-v0", render_mode="rgb_array", **options
        )
        image, info = env.reset(seed=seed)
        points = [box.center for box in env.unwrapped.locate(info["instruction"])]
        annotated_image = draw_points(image, points)
        if name == "FloorNav":  # with its map
            env.step(to_rows(points))
            annotated_image = PIL.Image.fromarray(next(env.unwrapped.film()))
        small = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
        with_caption(annotated_image, info["instruction"], annotated_image.width).quantize(256, kmeans=1).save(
            out / f"env{small}.png", optimize=True
        )
        env.close()
    draw_pages(out / "env_miniwob.png")


if __name__ == "__main__":
    main()
