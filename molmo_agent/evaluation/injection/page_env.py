"""A local page in a real Chromium as an env; its own elements report what was pressed and typed. Needs ``web``."""

import tempfile
from pathlib import Path
from typing import Any

from molmo_agent.actions import Action, Click, Key, Move, Scroll, Type, Wait
from molmo_agent.envs.web.browser import Browser
from molmo_agent.episode import Observation
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import EnvTraits
from molmo_agent.transforms import ImageTransform

WIDTH, HEIGHT = 800, 600
# CSS pixels of a wheel's notch.
_NOTCH_PX = 50
# What a person does in the page: the ids of the elements that were pressed, in order, and what the fields hold. Only
# trusted events count, those of real input.
_STATE_JS = """
const fields = {};
document.querySelectorAll('input[data-id]').forEach(field => fields[field.dataset.id] = field.value);
return {pressed: window.pressed || [], fields};
"""
RECORDER = """<script>
window.pressed = [];
document.addEventListener('click', event => {
  const element = event.target.closest('[data-id]');
  if (event.isTrusted && element) window.pressed.push(element.dataset.id);
  if (element && element.tagName != 'INPUT') element.style.background = '#e0b040';
  if (element && element.dataset.closes) element.closest('[data-notice]').remove();
  if (element && element.tagName == 'A') event.preventDefault();
}, true);
</script>"""
# Boxes of an id's elements that nothing covers at their middle, as fractions of the view.
_BOXES_JS = """
const [id, width, height] = arguments;
return [...document.querySelectorAll('[data-id="' + id + '"]')].flatMap(element => {
  const box = element.getBoundingClientRect();
  const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
  const open = top !== null && (element === top || element.contains(top));
  return open ? [[box.left / width, box.top / height, box.right / width, box.bottom / height]] : [];
});
"""


class PageEnv:
    """One HTML page, loaded from scratch at every reset.

    Args:
        html: the page, with :data:`RECORDER` in it and ``data-id`` on the elements that count.
        instruction: the task of the page.
        browser: shows it; it is started when it does not run, and belongs to the caller.
    """

    name = "page"
    traits = EnvTraits(waits_outside=True)
    capabilities: frozenset[type] = frozenset({Click, Move, Scroll, Type, Key, Wait})

    def __init__(self, html: str, instruction: str, browser: Browser) -> None:
        self._html, self._instruction, self._browser = html, instruction, browser
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Load the page.

        Raises:
            EnvError: Chromium is not installed, does not start, or the page does not load.
        """
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="molmo-agent-page-")
        path = Path(self._folder.name) / "page.html"
        path.write_text(self._html, encoding="utf-8")
        self._browser.start()
        self._browser.open(path.as_uri())
        return self.observe(), {"instruction": self._instruction}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action; the page never ends an episode.

        Raises:
            ActionRefused: pages have no such action, or there is no such key.
            EnvError: the browser is gone.
        """
        match action:
            case Click(point=point, button=button, count=count, held=held):
                self._browser.click(*_pixel(point), button=button, count=count, modifiers=held)
            case Move(point=point):
                self._browser.move(*_pixel(point))
            case Scroll(direction=direction, notches=notches, point=place):
                right = {"left": -1, "right": 1}.get(direction, 0) * notches * _NOTCH_PX
                down = {"up": -1, "down": 1}.get(direction, 0) * notches * _NOTCH_PX
                self._browser.scroll(*(_pixel(place) if place else (WIDTH // 2, HEIGHT // 2)), right, down)
            case Type(text=text, replace=replace):
                if replace:
                    self._browser.press(("ctrlorcmd", "a"))
                self._browser.type(text)
            case Key(keys=keys):
                self._browser.press(keys)
            case Wait():
                pass
            case _:
                able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
                raise ActionRefused(f"a web page cannot execute {type(action).__name__}; it executes: {able}")
        return self.observe(), 0.0, False, False, {}

    def observe(self) -> Observation:
        """Capture the page."""
        image = self._browser.image(WIDTH, HEIGHT)
        height, width = image.shape[:2]
        return Observation(image, ImageTransform.identity(width, height).scale(width / WIDTH))

    def close(self) -> None:
        """Remove the page's file; the browser stays open for the next page."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    # --- Privileged -----------------------------------------------------------------------------------------------

    def pressed(self) -> list[str]:
        """Return the ids of the elements that real clicks pressed, in order.

        Raises:
            UsageError: no page is loaded.
        """
        return list(self._state()["pressed"])

    def field(self, id_: str) -> str:
        """Return what a field holds; empty if there is none of this id."""
        return str(self._state()["fields"].get(id_, ""))

    def boxes(self, id_: str) -> list[Box]:
        """Return the normalized boxes of the uncovered elements of an id."""
        boxes = self._browser.script(_BOXES_JS, id_, WIDTH, HEIGHT)
        return [
            Box(*(min(max(edge, 0.0), 1.0) for edge in edges))
            for edges in boxes
            if 0 <= edges[0] < edges[2] and 0 <= edges[1] < edges[3] and edges[0] < 1 and edges[1] < 1
        ]

    def _state(self) -> dict[str, Any]:
        if self._folder is None or not self._browser.running:
            raise UsageError("the page is not loaded; call reset() first")
        state: dict[str, Any] = self._browser.script(_STATE_JS)
        return state


def _pixel(point: Point) -> tuple[int, int]:
    return point.to_pixels(WIDTH, HEIGHT)
