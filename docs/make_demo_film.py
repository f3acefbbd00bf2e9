"""Film the default model doing a task in a real editor, without prepared answers: docs/images/demo.gif.

    python docs/make_demo_film.py [--out docs/images/demo.gif]

The task is the one of `agent demo`. Needs mousepad, Xvfb and openbox: `make system`.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

from molmo_agent.cli.demo import REAL_TASKS, operate
from molmo_agent.images import write_gif
from molmo_agent.rollout.viewer import render_frames

# Of the film; the screen that is recorded is as wide, so that its text stays sharp.
WIDTH_PX, HEIGHT_PX = 720, 560
SECONDS_PER_FRAME = 1.6
# Editors show a warning across the window to root; $HOME is the program's own folder.
NOT_AS_ROOT = """#!/bin/sh
chown 65534:65534 "$HOME"
exec setpriv --reuid=65534 --regid=65534 --clear-groups {program} "$@"
"""


def main() -> int:
    """Run the task, check what the editor saved, and write the film."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "demo.gif", help="file")
    out = parser.parse_args().out
    (real,) = [one for one in REAL_TASKS if one.program == "mousepad"]
    with tempfile.TemporaryDirectory() as folder:
        run, program = Path(folder, "run"), Path(folder, "program")
        filmed = real
        if os.geteuid() == 0:
            program.write_text(NOT_AS_ROOT.format(program=real.program))
            program.chmod(0o755)
            filmed = dataclasses.replace(real, program=str(program))
        text = operate(filmed, run, screen=f"{WIDTH_PX}x{HEIGHT_PX}")
        if text != real.saved:
            print(f"not filmed: the saved file holds {text!r}, expected {real.saved!r}")
            return 1
        write_gif(render_frames(run, width=WIDTH_PX), out, SECONDS_PER_FRAME)
    print(f"wrote {out}: {out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
