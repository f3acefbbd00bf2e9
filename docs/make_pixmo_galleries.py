"""Take docs/images/pixmo_*.webp: 24 random samples of each data set that `agent pixmo all` makes.

    agent pixmo all --to made
    python docs/make_pixmo_galleries.py made [--out docs/images] [--only clocks]

Needs Chromium.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.envs.web.browser import Browser
from molmo_agent.pixmo.gallery import write_gallery

WIDTH, MAX_BYTES = 1440, 250_000
# Name of the picture -> kind, folder and options of the data set.
GALLERIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"docs_{type_}": ("pixmo-docs", "pixmo-docs", {"type": type_})
        for type_ in ("charts", "tables", "diagrams", "other")
    },
    "clocks": ("pixmo-clocks", "pixmo-clocks", {}),
    "points": ("pixmo-points", "pixmo-points", {}),
    "count": ("pixmo-count", "pixmo-count", {}),
    "cap": ("pixmo-cap", "pixmo-cap", {"mode": "captions"}),
    "cap_qa": ("pixmo-cap-qa", "pixmo-cap-qa", {}),
    "ask_model_anything": ("pixmo-ask-model-anything", "pixmo-ask-model-anything", {}),
    "point_explanations": ("pixmo-point-explanations", "pixmo-point-explanations", {}),
}


def save(image: Image.Image, path: Path) -> int:
    """Save a picture as WebP in the best quality that fits, and return the number of its bytes."""
    for quality in range(80, 20, -8):
        image.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size < MAX_BYTES:
            return path.stat().st_size
    sys.exit(f"expected {path} to fit into {MAX_BYTES} bytes; it does not, in any quality")


def main() -> None:
    """Write the page of each data set, and take its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path, help="the folder of agent pixmo all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--only", nargs="+", choices=GALLERIES, default=[*GALLERIES])
    arguments = parser.parse_args()
    browser = Browser(WIDTH, 1000, scale=1)
    try:
        browser.start(timeout_s=90)
        for name in arguments.only:
            kind, folder, options = GALLERIES[name]
            page = (arguments.made / f"gallery-{name}.html").resolve()
            data = open_source(Source(kind=kind, path=str(arguments.made / folder), options=options))
            write_gallery(data, page, title=f"{name.replace('_', ' ')}: 24 random samples")
            browser.open(page.as_uri())
            height = int(browser.script("return Math.ceil(document.body.getBoundingClientRect().bottom) + 20"))
            size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.devtools("Emulation.setDeviceMetricsOverride", **size)
            image = Image.fromarray(browser.image(WIDTH, height))
            path = arguments.out / f"pixmo_{name}.webp"
            print(f"{path}: {image.width} x {image.height}, {save(image, path) / 1000:.0f} kB")
    finally:
        browser.close()


if __name__ == "__main__":
    main()
