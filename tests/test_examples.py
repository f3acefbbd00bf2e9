"""Every example is run as its first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest
from desktop_screen import needs

EXAMPLES = Path(__file__).parents[1] / "examples"


@needs("mousepad", "dbus-run-session", "Xvfb", "openbox", "xclip")
def test_a_real_editor_saves_what_was_typed_and_clicked(tmp_path: Path) -> None:
    gif = tmp_path / "note.gif"
    command = [sys.executable, str(EXAMPLES / "edit_a_note.py"), "--gif", str(gif)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the file holds 'Grüße aus Zürich: 2 < 3, 你好!'" in done.stdout
    assert gif.stat().st_size > 1000


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_explains_itself(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"python examples/{path.name}" in done.stdout
