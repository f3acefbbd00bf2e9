"""A run that is killed in the middle of something; run as a program with what it does: drag, held, type, chord, press.

It prints "ready" when it has started to send input, and acts until it is killed.
"""

import sys

from molmo_agent.actions import Click, Drag, Key, LongPress, Type
from molmo_agent.envs.desktop import Desktop, Pace
from molmo_agent.geometry import Point
from molmo_agent.interrupts import ending_in_time

ACTIONS = {
    "drag": Drag(Point(0.2, 0.3), Point(0.8, 0.7)),
    "held": Click(Point(0.5, 0.5), "right", held=("ctrl", "shift")),
    "type": Type("ABC <xyz> äöü 🙂 " * 3),
    "chord": Key(("alt", "shift", "f")),
    "press": LongPress(Point(0.4, 0.6), 1.0),
}


def main(what: str) -> None:
    pace = Pace(press_s=0.15, drag_hold_s=0.1, drag_step_s=0.02)
    with Desktop(pace=pace) as desktop:
        desktop.reset()
        desktop.step(Key(("shift",)))
        print("ready", flush=True)
        while True:
            desktop.step(ACTIONS[what])


if __name__ == "__main__":
    with ending_in_time():
        main(sys.argv[1])
