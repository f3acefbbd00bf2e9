"""What the documentation shows can be made again."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_figure_of_the_model_is_drawn_from_a_real_forward_pass(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "make_model_figure.py", "--out", tmp_path / "x.png"], check=True)
    with Image.open(tmp_path / "x.png") as drawn, Image.open(ROOT / "docs" / "images" / "model.png") as shown:
        assert drawn.size == shown.size
        assert len(drawn.convert("RGB").getcolors(2**24) or ()) > 1000
