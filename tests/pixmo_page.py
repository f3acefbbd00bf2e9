"""The page of a collection in a real Chromium, and the command behind it, for tests."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
from desktop_screen import wait_for

from molmo_agent.envs.web.browser import Browser


def draw_images(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Write images with coloured discs and bars, one for each name."""
    for number, (name, (width, height)) in enumerate(sizes.items()):
        image = PIL.Image.new("RGB", (width, height), (236, 232 - 12 * number, 220))
        pen = PIL.ImageDraw.Draw(image)
        for i in range(3 + number):
            left, top = int(width * (0.1 + 0.2 * i)), int(height * 0.3)
            pen.ellipse((left, top, left + width // 10, top + width // 10), fill=(200, 40, 40), outline=(60, 0, 0))
        pen.rectangle((width * 0.1, height * 0.7, width * 0.5, height * 0.8), fill=(40, 90, 180))
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


class Collecting:
    """``agent pixmo collect`` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.errors = (folder / "errors.txt").open("w+")
        command = [sys.executable, "-m", "molmo_agent", "pixmo", "collect", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert found, f"{line!r}; {(folder / 'errors.txt').read_text()}"
        self.address = found[0]

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(with_signal)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()
        return code


class Page:
    """What an annotator does on the page, with mouse and keys."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def enter(self, address: str, name: str) -> None:
        """Open the page and give a name."""
        self.browser.open(address)
        self.browser.script("localStorage.clear()")
        self.browser.open(address.partition("?")[0])
        wait_for(lambda: self.browser.script("return !document.getElementById('who').hidden"), "the name")
        self.browser.type(f"{name}\n")
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until an image and its panel are there."""
        ready = (
            "const p = document.getElementById('picture'); return p.complete && p.naturalWidth > 0 && "
            "document.getElementById('panel').children.length > 0 && document.getElementById('images').children.length"
        )
        wait_for(lambda: self.browser.script(ready), "the image")

    def text(self, element: str) -> str:
        """Return the text of an element."""
        return str(self.browser.script("return document.getElementById(arguments[0]).innerText", element))

    def wait_for_message(self, text: str) -> None:
        """Wait for a message beneath the image."""
        wait_for(lambda: text in self.text("message"), f"{text!r}, not {self.text('message')!r}")

    def spot(self, x: float, y: float) -> tuple[int, int]:
        """Return where a fraction of the image is on the page."""
        code = (
            "const r = document.getElementById('picture').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
        )
        left, top, width, height = self.browser.script(code)
        return round(left + x * width), round(top + y * height)

    def point(self, x: float, y: float, button: str = "left") -> None:
        """Click on the image."""
        self.browser.click(*self.spot(x, y), button=button)

    def press(self, selector: str) -> None:
        """Click the middle of the first element of a CSS selector."""
        code = (
            "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'nearest'}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]"
        )
        x, y = self.browser.script(code, selector)
        self.browser.click(round(x), round(y))

    def name(self, label: str) -> None:
        """Write the name of what is pointed at."""
        self.browser.script("document.getElementById('label').value = ''; document.getElementById('label').focus()")
        self.browser.type(label)

    def points(self) -> int:
        """Return the number of points on the image."""
        return int(self.browser.script("return document.querySelectorAll('#marks .point').length"))

    def open_image(self, name: str) -> None:
        """Choose an image in the list."""
        self.press(f'#images button[title="{name}"]')
        wait_for(lambda: self.text("name") == name, name)
        self.wait_ready()
