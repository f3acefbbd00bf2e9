"""Operate a real editor (mousepad, from Debian) on a virtual display, and check what it saved.

    python examples/edit_a_note.py [--model nano] [--gif note.gif]

By default the points are prepared answers (edit_a_note.json beside this file): the example is about what happens from
the point on. Needs mousepad, Xvfb, openbox and xclip: `make system`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TEXT = "Grüße aus Zürich: 2 < 3, 你好!"


def main() -> int:
    """Type a text with real input, save it with two clicks, and compare the file with the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=f"scripted:{HERE / 'edit_a_note.json'}", help="who points")
    parser.add_argument("--editor", default="mousepad", help="the command that opens a file for editing")
    parser.add_argument("--gif", type=Path, help="where to copy the film of the run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "note.txt")
        note.touch()
        task = f'click the text area, type "{TEXT}", then click "File", then click "Save", then wait 1 second'
        run = Path(folder, "run")
        command = [sys.executable, "-m", "molmo_agent", "run", "--task", task, "--model", arguments.model]
        command += ["--virtual-display", "640x480", "--start", f"dbus-run-session {arguments.editor} {note}"]
        done = subprocess.run([*command, "--confirm", "never", "--out", str(run)], check=False)
        if arguments.gif and (run / "trajectory.gif").exists():
            shutil.copy(run / "trajectory.gif", arguments.gif)
        saved = note.read_text(encoding="utf-8").rstrip("\n")  # the editor ends the last line
    print(f"the file holds {saved!r}")
    return done.returncode or (0 if saved == TEXT else 1)


if __name__ == "__main__":
    sys.exit(main())
