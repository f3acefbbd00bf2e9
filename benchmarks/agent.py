"""How long a step takes outside the model, part by part, on a virtual X display of 1920x1080.

A scripted policy that answers at once clicks the keys of xcalc, so that all the time measured is the agent's own:
capture, guard, input, settling, comparing, recording. Two things are not its own and are told apart: waiting for
the screen to settle (row "wait"), and the pauses that programs need between arriving, pressing and releasing, which are
left out here. Run with ``--check`` to fail when the target is missed.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from molmo_agent.actions import Click
from molmo_agent.envs.desktop.env import Desktop, Pace
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.geometry import Point
from molmo_agent.pointers.baselines import ScriptedPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder

TARGET_MS = 80.0


def measure(steps: int) -> dict[str, object]:
    """Roll out ``steps`` clicks; return the median milliseconds of a step and of its parts."""
    folder = Path(tempfile.mkdtemp()) / "trajectory"
    with VirtualDisplay(1920, 1080):
        application = subprocess.Popen(["xcalc"]) if shutil.which("xcalc") else None
        try:
            if application is not None:
                time.sleep(1.5)  # for its window to be mapped and drawn
            # The lower rows of a calculator in the middle or the corner of the screen; elsewhere nothing reacts.
            places = [Point(0.02 + 0.01 * (i % 8), 0.12 + 0.02 * (i % 5)) for i in range(steps)]
            with Desktop(pace=Pace(hover_s=0.0, press_s=0.0)) as env:
                run = rollout(
                    ScriptedPolicy([Click(place) for place in places]),
                    env,
                    "press keys",
                    guards=Guards(max_steps=steps, max_seconds=600),
                    recorder=Recorder(folder),
                )
                done = [step for step in run if isinstance(step.action, Click)]
        finally:
            if application is not None:
                application.terminate()
                application.wait()
    shutil.rmtree(folder.parent)
    # The first steps load fonts and caches.
    done = done[3:]
    parts = sorted({name for step in done for name in step.times_s} - {"policy"})
    medians = {name: 1e3 * statistics.median(step.times_s.get(name, 0.0) for step in done) for name in parts}
    own = [name for name in parts if name != "wait"]
    totals = [1e3 * sum(step.times_s.get(name, 0.0) for name in own) for step in done]
    return {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "screen": "1920x1080",
        "steps": len(done),
        "effects": {effect: sum(step.effect == effect for step in done) for effect in {step.effect for step in done}},
        "median_ms": medians,
        "total_ms": {"median": statistics.median(totals), "p95": sorted(totals)[int(0.95 * len(totals))]},
    }


def main() -> int:
    """Measure, print, write, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", type=Path, default=Path("runs/bench/agent.json"))
    parser.add_argument("--check", action="store_true", help="exit 1 if the target is missed")
    arguments = parser.parse_args()
    if shutil.which("Xvfb") is None:
        print("skipped: needs Xvfb (apt-get install xvfb openbox x11-apps)")
        return 0
    figures = measure(arguments.steps)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    table = Table("part of a step", "median ms", title="agent time outside the model, 1920x1080")
    for name, value in figures["median_ms"].items():
        table.add_row(name, f"{value:.1f}")
    total = figures["total_ms"]
    table.add_section()
    table.add_row("all but wait (p95)", f"{total['median']:.1f} ({total['p95']:.1f})")
    Console().print(table)
    if arguments.check and total["median"] > TARGET_MS:
        print(f"missed: {total['median']:.1f} ms a step outside the model, target {TARGET_MS:g} ms")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
