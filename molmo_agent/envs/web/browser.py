"""A real Chromium without a window, driven over WebDriver: pages, pixels, mouse and keys.

Needs the extra ``web``, and Chromium with its driver on PATH or named by MINIWOB_CHROME_BINARY and
MINIWOB_CHROMEDRIVER.
"""

import base64
import contextlib
import difflib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.web.installed import REMEDY, check_runs, find_browser
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused, EnvError, MissingExtraError
from molmo_agent.images import read_image

# stdin is a leash: when this process ends, however it ends, the pipe closes and `read` returns. The driver goes, with
# its pipe to Chromium Chromium goes, and then the folder that held the profile, whose last files may still be coming.
_SUPERVISOR = (
    '"$0" --port=0 2>&1 & exec >/dev/null 2>&1; read -r _; kill $!; wait; '
    'for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$TMPDIR" && break; sleep 0.2; done'
)
_PORT_LINE = re.compile(rb"started successfully on port (\d+)")
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers have little shared memory.
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
# Characters that are sent at once.
_CHUNK = 50
# Names of keys -> what WebDriver calls them (https://www.w3.org/TR/webdriver/#keyboard-actions).
KEYS: Mapping[str, str] = {
    "backspace": "\ue003",
    "tab": "\ue004",
    **dict.fromkeys(("enter", "return"), "\ue007"),
    "shift": "\ue008",
    **dict.fromkeys(("ctrl", "control"), "\ue009"),
    **dict.fromkeys(("alt", "option"), "\ue00a"),
    **dict.fromkeys(("escape", "esc"), "\ue00c"),
    "space": "\ue00d",
    "pageup": "\ue00e",
    "pagedown": "\ue00f",
    "end": "\ue010",
    "home": "\ue011",
    **dict(zip(("left", "up", "right", "down"), "\ue012\ue013\ue014\ue015", strict=True)),
    "insert": "\ue016",
    **dict.fromkeys(("delete", "del"), "\ue017"),
    **dict.fromkeys(("meta", "win", "cmd", "command"), "\ue03d"),
    "ctrlorcmd": "\ue03d" if sys.platform == "darwin" else "\ue009",
    **{f"f{number}": chr(0xE030 + number) for number in range(1, 13)},
}


class Browser:
    """One page in a headless Chromium, which stops when this process ends, even if it is killed.

    Positions are CSS pixels of the page's view, from its top left corner.

    Args:
        width: of the view, CSS pixels.
        height: of the view, CSS pixels.
        scale: pixels of an image per CSS pixel.
    """

    def __init__(self, width: int = 500, height: int = 320, *, scale: int = 2) -> None:
        self.width, self.height, self.scale = width, height, scale
        self._server: subprocess.Popen[bytes] | None = None
        self._driver: Any = None
        self._folder = ""

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start driver and Chromium; does nothing where they run already.

        Raises:
            EnvError: they are not installed or do not start.
            MissingExtraError: selenium is not installed.
        """
        if self._driver is not None:
            return self
        try:
            from selenium import webdriver
            from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
        except ImportError as error:
            raise MissingExtraError("a browser", "web") from error
        binary, driver = find_browser()
        check_runs(binary, timeout_s)
        self._folder = tempfile.mkdtemp(prefix="molmo-agent-web-")
        try:
            # Both create their files in TMPDIR, which is our folder.
            self._server = subprocess.Popen(
                ["sh", "-c", _SUPERVISOR, driver],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=child_environment(TMPDIR=self._folder),
                # Ctrl-C must reach us first.
                start_new_session=True,
            )
            address = f"http://127.0.0.1:{self._await_port(driver, timeout_s)}"
            options = webdriver.ChromeOptions()
            options.binary_location = binary
            options.unhandled_prompt_behavior = "accept"
            options.add_experimental_option("browserStartupTimeout", int(1e3 * timeout_s))
            # Chromium refuses to run its sandbox as root, as one is in a container.
            for flag in (*_FLAGS, *(["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else [])):
                options.add_argument(flag)
            connection = ChromiumRemoteConnection(address, vendor_prefix="goog", browser_name="chrome")
            with _driver_errors(
                f"{binary} did not start; does it run with --headless, and is its driver of the same version?"
            ):
                self._driver = webdriver.Remote(connection, options=options)
            self._driver.set_page_load_timeout(timeout_s)
            self._driver.set_script_timeout(timeout_s)
            self.devtools(
                "Emulation.setDeviceMetricsOverride",
                width=self.width,
                height=self.height,
                deviceScaleFactor=self.scale,
                mobile=False,
            )
        except BaseException:
            self.close()
            raise
        return self

    @property
    def running(self) -> bool:
        """Whether the browser runs: started, and not closed since."""
        return self._driver is not None

    def open(self, url: str) -> None:
        """Load a page from scratch and wait for it.

        Raises:
            EnvError: it cannot be loaded.
        """
        with _driver_errors(f"the page {url} does not load"):
            self._driver.get(url)
        # Chromium then shows an error page of its own, and its driver reports no error.
        if why := self.script(
            "return location.protocol == 'chrome-error:' && (document.body.innerText || 'no reason')"
        ):
            raise EnvError(f"the page {url} does not load: {' '.join(why.split())[-200:]}")

    def script(self, code: str, *values: Any) -> Any:
        """Run JavaScript in the page with ``arguments`` and return what it returns."""
        with _driver_errors("the page does not answer"):
            return self._driver.execute_script(code, *values)

    def devtools(self, command: str, **values: Any) -> Any:
        """Call a command of the Chrome DevTools Protocol and return what it returns.

        Raises:
            EnvError: Chromium rejects it.
        """
        with _driver_errors(f"{command} failed"):
            return self._driver.execute("executeCdpCommand", {"cmd": command, "params": values})["value"]

    def image(self, width: int, height: int) -> Image:
        """Return the view's upper left part of so many CSS pixels, ``scale`` pixels for each."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.devtools("Page.captureScreenshot", format="png", clip=clip, optimizeForSpeed=True)
        return read_image(base64.b64decode(shot["data"]))

    # --- Input ----------------------------------------------------------------------------------------------------

    def click(
        self, x: int, y: int, button: str = "left", count: int = 1, hold_s: float = 0.0, modifiers: Sequence[str] = ()
    ) -> None:
        """Move to a position, press, hold and release a button ``count`` times, with modifier keys down meanwhile.

        Raises:
            ActionRefused: there is no such key.
        """
        with self._holding(modifiers), self._mouse() as mouse:
            mouse.move_to_location(x, y)
            for _ in range(count):
                mouse.pointer_down(button=("left", "middle", "right").index(button))
                if hold_s:
                    mouse.pause(hold_s)
                mouse.pointer_up(button=("left", "middle", "right").index(button))

    def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        with self._mouse() as mouse:
            mouse.move_to_location(x, y)

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: str = "left", steps: int = 5) -> None:
        """Press at ``start``, move in ``steps`` to ``end``, release: pages follow moves, not jumps."""
        number = ("left", "middle", "right").index(button)
        with self._mouse() as mouse:
            mouse.move_to_location(*start)
            mouse.pointer_down(button=number)
            for step in range(1, steps + 1):
                mouse.move_to_location(*(round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True)))
            mouse.pointer_up(button=number)

    def scroll(self, x: int, y: int, right: int, down: int) -> None:
        """Turn the wheel over a position by a number of CSS pixels."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        builder = ActionBuilder(self._driver, duration=0)
        builder.wheel_action.scroll(x, y, right, down, 0, "viewport")
        with _driver_errors("the wheel did not turn"):
            builder.perform()

    def type(self, text: str, between: Callable[[str], object] = lambda typed: None) -> None:
        """Enter a text where the focus is, key by key; a new line is the Enter key.

        Characters that no key has are inserted as an input method would insert them.

        Args:
            text: the text.
            between: called between the parts of a long text, with what was typed; what it raises ends it.
        """
        typed = ""
        for keys, part in _typing(text):
            if typed:
                between(typed)
            typed += part.replace(KEYS["tab"], "\t")
            if keys:
                with self._keyboard() as keyboard:
                    for character in part:
                        keyboard.send_keys(KEYS["enter"] if character == "\n" else character)
            else:
                self.devtools("Input.insertText", text=part)

    def press(self, names: Sequence[str]) -> None:
        """Press keys together and release them.

        Raises:
            ActionRefused: there is no such key.
        """
        keys = [_key(name) for name in names]
        with self._keyboard() as keyboard:
            for key in keys:
                keyboard.key_down(key)
            for key in reversed(keys):
                keyboard.key_up(key)

    # --- Ending ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop Chromium and its driver and remove their files; safe to call twice."""
        driver, self._driver = self._driver, None
        if driver is not None:
            # It may have stopped already; the supervisor stops the rest.
            with contextlib.suppress(EnvError), _driver_errors("the browser is gone"):
                driver.quit()
        server, self._server = self._server, None
        if server is not None:
            assert server.stdin is not None
            assert server.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                server.stdin.close()
            try:
                try:
                    server.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
                # All their child processes inherited this pipe; it closes with the last of them.
                while select.select([server.stdout], [], [], 5)[0] and os.read(server.stdout.fileno(), 4096):
                    pass
            finally:
                server.stdout.close()
        if self._folder:
            # The supervisor removes the folder, unless it did not start.
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _await_port(self, driver: str, timeout_s: float) -> int:
        assert self._server
        assert self._server.stdout
        deadline, output = time.monotonic() + timeout_s, b""
        while not (match := _PORT_LINE.search(output)):
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not select.select([self._server.stdout], [], [], remaining_s)[0]:
                raise EnvError(f"{driver} did not become ready within {timeout_s:g} s; is the machine overloaded?")
            part = os.read(self._server.stdout.fileno(), 4096)
            if not part:
                raise EnvError(f"{driver} did not start: {output.decode(errors='replace').strip()[-400:]}; {REMEDY}")
            output += part
        return int(match[1])

    @contextlib.contextmanager
    def _mouse(self) -> Iterator[Any]:
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        builder = ActionBuilder(self._driver, duration=0)
        yield builder.pointer_action
        with _driver_errors("the mouse did not move"):
            builder.perform()

    @contextlib.contextmanager
    def _holding(self, names: Sequence[str]) -> Iterator[None]:
        """Hold keys, and release them at the end, also after an error."""
        keys = [_key(name) for name in names]
        if not keys:
            yield
            return
        with self._keyboard() as keyboard:
            for key in keys:
                keyboard.key_down(key)
        try:
            yield
        finally:
            with self._keyboard() as keyboard:
                for key in reversed(keys):
                    keyboard.key_up(key)

    @contextlib.contextmanager
    def _keyboard(self) -> Iterator[Any]:
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        builder = ActionBuilder(self._driver, duration=0)
        yield builder.key_action
        with _driver_errors("the keys were not sent"):
            builder.perform()


def _key(name: str) -> str:
    key_name = re.sub(r"[\s_-]", "", name) if len(name) > 1 else name
    if len(key_name) == 1:
        return key_name
    if key_name not in KEYS:
        near = difflib.get_close_matches(key_name, KEYS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "name it like enter, pagedown, f5 or a"
        raise ActionRefused(f"there is no key {name!r}; {hint}")
    return KEYS[key_name]


def _typing(text: str) -> Iterator[tuple[bool, str]]:
    """Split a text into parts that keys can type (ASCII and new lines) and parts that they cannot."""
    pattern = rf"(?P<keys>[\x20-\x7e\n\t]{{1,{_CHUNK}}})|[^\x20-\x7e\n\t]{{1,{_CHUNK}}}"
    for match in re.finditer(pattern, text.replace("\r\n", "\n")):
        yield match["keys"] is not None, match[0].replace("\t", KEYS["tab"])


@contextlib.contextmanager
def _driver_errors(what: str) -> Iterator[None]:
    """Translate the exceptions of the driver into EnvError.

    Raises:
        EnvError: the driver raised an exception; ``what`` begins the message.
    """
    from selenium.common.exceptions import WebDriverException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (WebDriverException, HTTPError, OSError) as error:
        reason = str(getattr(error, "msg", None) or error).strip().split("\n")[0]
        raise EnvError(f"{what}: {reason}") from error
