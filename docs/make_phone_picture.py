"""Draw docs/images/sim_phone.png: the simulated phone's home screen, some of its apps, and a phone held sideways.

python docs/make_phone_picture.py [--out docs/images/sim_phone.png]
"""

import argparse
from pathlib import Path

from PIL import Image

from molmo_agent.envs.sim_phone.commands import perform
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.pages import Command

GAP = 14
# Seed, theme, quarter turns, and what is opened.
SCREENS: tuple[tuple[int, str, int, tuple[Command, ...]], ...] = (
    (1, "light", 0, ()),
    (1, "light", 0, (("launch", "Settings"),)),
    (5, "dark", 0, (("launch", "Clock"), ("open", "Clock", "new"))),
    (17, "light", 1, (("launch", "Shop"),)),
)


def main() -> None:
    """Draw the screens side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "sim_phone.png")
    arguments = parser.parse_args()
    pictures = []
    for seed, theme, rotation, commands in SCREENS:
        phone = make_phone(seed, theme=theme)
        phone.rotation = rotation
        for command in commands:
            perform(phone, command)
        pictures.append(Image.fromarray(draw(phone).screen.image))
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, (height - picture.height) // 2))
        left += picture.width + GAP
    sheet.save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
