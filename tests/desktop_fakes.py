"""Screens and input devices that exist on paper only: any monitors, any scale factors, and a list of what was sent."""

import re

import numpy as np

from molmo_agent.envs.desktop.capture import Area, Monitor
from molmo_agent.errors import ActionRefused


class FakeScreen:
    """Monitors at ``areas`` (input units), each captured with ``scale`` physical pixels per unit.

    A picture holds its own physical position: red and green are the low bytes of the column and the row.
    """

    def __init__(self, *areas, scale=1.0, primary=0):
        self.monitor_list = [Monitor(Area(*area), index == primary) for index, area in enumerate(areas)]
        self.scale = scale
        self.closed = 0

    def monitors(self):
        return self.monitor_list

    def grab(self, area):
        width, height = round(area.width * self.scale), round(area.height * self.scale)
        image = np.zeros((height, width, 3), dtype=np.uint8)
        image[..., 0] = np.arange(width) % 256
        image[..., 1] = (np.arange(height) % 256)[:, None]
        return image

    def close(self):
        self.closed += 1


class FakeInput:
    """Notes what is sent. ``fail_at`` raises an error at the call of that number."""

    KEYS = frozenset({"enter", "tab", "ctrl", "shift", "s", "a"})

    def __init__(self, corners=(), fail_at=None, error=KeyboardInterrupt):
        self.corners = frozenset(corners)
        self.reads_position, self.between_events = True, lambda: None
        self.sent = []
        self.held = []
        self.at = (500, 500)
        self.closed = 0
        self.leftovers_released = 0
        self._fail_at, self._error = fail_at, error

    def _note(self, *what):
        self.sent.append(what)
        if self._fail_at == len(self.sent):
            raise self._error

    def position(self):
        return self.at

    def move(self, x, y):
        self.at = (x, y)
        self._note("move", x, y)

    def press(self, button, nth=1):
        self.held.append(button)
        self._note("press", button, nth)

    def release(self, button, nth=1):
        self._note("release", button, nth)
        self.held.remove(button)

    def scroll(self, right, down):
        self._note("scroll", right, down)

    def double_click_s(self):
        return 0.0

    def key_names(self, keys):
        for key in keys:
            if key not in self.KEYS:
                raise ActionRefused(f"no key {key!r}")
        return list(keys)

    def split_text(self, text):
        return re.findall(r"[^\n\t]+|[\n\t]", text)

    def key_down(self, key):
        self.held.append(key)
        self._note("down", key)

    def key_up(self, key):
        self._note("up", key)
        self.held.remove(key)

    def type_line(self, text):
        self._note("type", text)

    def release_leftovers(self):
        self.leftovers_released += 1

    def release_all(self):
        self.held.clear()

    def close(self):
        self.release_all()
        self.closed += 1
