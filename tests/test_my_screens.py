"""An application that nano never saw becomes one that it knows, from 50 clicks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_screens.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_clicks_teach_what_the_pictures_of_an_application_are_called(tmp_path: Path) -> None:
    # Half of the steps, at higher rates, without simulated screens: what it knew before does not matter here.
    rates = [f"optimizer.{name}.peak={peak}" for name, peak in (("vit", 3e-4), ("connector", 1e-3), ("llm", 1e-3))]
    command = [sys.executable, str(EXAMPLE), "--out", str(tmp_path), "steps=40", "mixture.1.rate=0", *rates]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "before: " in done.stdout
    found = json.loads((tmp_path / "run" / "held_out.json").read_text())
    assert found["before"]["n"] == len(found["clicks"]) == 50
    # The names of the tools are nowhere on the screen; dishes can be read.
    tools = [click for click in found["clicks"] if click["instruction"].islower()]
    before, after = (sum(click[when]["hit"] for click in tools) for when in ("before", "after"))
    assert len(tools) > 20
    assert after > before
    with Image.open(tmp_path / "before_and_after.png") as drawn:
        assert drawn.width > 800
