"""A home folder with a few files of common types, so that programs have something to show."""

import random
import wave
import zipfile
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw

_TEXTS = {
    "Documents/Shopping.txt": "Bread\nMilk\nTwo lemons\nCoffee\nLamp oil\n",
    "Documents/Letter to Nora.txt": (
        "Dear Nora,\n\nthe boat is repaired and we sail on Saturday if the wind allows it.\n"
        "Bring warm clothes and your map of the islands.\n\nSee you at the harbour,\nSam\n"
    ),
    "Documents/Budget.csv": "Month,Rent,Food,Travel\nJanuary,820,310,45\nFebruary,820,295,120\nMarch,820,330,60\n",
    "Documents/Harbour.html": (
        "<html><head><title>Harbour</title></head><body><h1>Harbour</h1><p>Opening hours: 8 to 18.</p>"
        "<a href='#map'>Map</a> <a href='#prices'>Prices</a></body></html>\n"
    ),
    "Documents/readme.md": "# Tide table\n\nComputes high and low water.\n\n- `tide.py` prints a week\n",
    "Projects/tide.py": (
        "import math\n\n\ndef height(hour: float) -> float:\n    return 2.4 * math.cos(math.tau * hour / 12.42)\n\n\n"
        "for hour in range(24):\n    print(hour, round(height(hour), 2))\n"
    ),
    "Projects/tide.c": '#include <stdio.h>\n\nint main(void) {\n    printf("%f\\n", 2.4);\n    return 0;\n}\n',
    "Projects/tide2.py": "import math\n\n\ndef height(hour):\n    return 2.5 * math.cos(6.28 * hour / 12.42)\n",
    "Projects/paper.tex": (
        "\\documentclass{article}\n\\title{Tides}\n\\begin{document}\n\\maketitle\n\\section{Moon}\n"
        "The moon pulls.\n\\section{Sun}\nThe sun does as well.\n\\end{document}\n"
    ),
    "Projects/Doxyfile": "PROJECT_NAME = Tides\n",
}


def fill(home: Path) -> None:
    """Write the files; the same ones every time."""
    for folder in ("Desktop", "Documents", "Downloads", "Music", "Pictures", "Projects", "Videos", ".config", ".cache"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / ".run").mkdir(mode=0o700, exist_ok=True)
    for name, text in _TEXTS.items():
        (home / name).write_text(text, encoding="utf-8")
    rng = random.Random(7)
    pictures = []
    for name in ("Sunset", "Lighthouse", "Beach"):
        picture = _picture(rng)
        picture.save(home / f"Pictures/{name}.png")
        pictures.append(picture)
    pictures[0].save(home / "Documents/Pictures.pdf", save_all=True, append_images=pictures[1:])
    with zipfile.ZipFile(home / "Downloads/Papers.zip", "w") as archive:
        for name, text in _TEXTS.items():
            archive.writestr(name, text)
    with wave.open(str(home / "Music/Foghorn.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join((n % 80 * 100).to_bytes(2, "little") for n in range(16000)))


def _picture(rng: random.Random) -> PILImage.Image:
    picture = PILImage.new("RGB", (640, 420), tuple(rng.randrange(90, 230) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        x, y, size = rng.randrange(640), rng.randrange(420), rng.randrange(20, 160)
        color = tuple(rng.randrange(256) for _ in range(3))
        if rng.random() < 0.5:
            draw.ellipse((x, y, x + size, y + size), fill=color)
        else:
            draw.rectangle((x, y, x + size, y + size), fill=color)
    return picture
