"""Records the pages of a folder, or of running servers, in Chromium: several sizes, light and dark, scrolled and open.

DIR/<name>/...            pages (*.html) and what they load; <name> stands for the application
DIR/<name>/pages.txt      optional: one page or http address a line, instead of all pages
"""

import base64
import contextlib
import functools
import http.server
import re
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_agent.envs.web.browser import Browser
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.images import read_image
from molmo_agent.synthetic.real_screens.element import RealElement, inner_points
from molmo_agent.synthetic.real_screens.explore import slug
from molmo_agent.synthetic.real_screens.folder import RecordingFolder, Seen
from molmo_agent.synthetic.real_screens.page_truth import page_elements

LIST = "pages.txt"
MAX_PAGES = 24
# A page that is dark on average has a dark theme, whatever it was asked for.
_DARK_BELOW = 110
_SETTLE_S = 1.2

# Wide pages are read on wide screens; many sites look different on each.
_DARK_JS = """
const root = document.documentElement;
for (const name of ['data-bs-theme', 'data-theme', 'data-color-scheme']) root.setAttribute(name, 'dark');
root.classList.add('dark');
document.body.classList.add('dark-mode');
"""


@dataclass(frozen=True, slots=True)
class View:
    """(width, height) in CSS pixels, pixels of the image per CSS pixel, and whether dark colors are asked for."""

    name: str
    size: tuple[int, int]
    scale: int = 1
    dark: bool = False


VIEWS = (
    View("laptop", (1280, 800)),
    View("wide", (1920, 1080), dark=True),
    View("phone", (412, 915)),
    View("small", (1024, 768)),
    View("double", (960, 540), scale=2),
    View("desk", (1366, 768), dark=True),
    View("large", (1600, 900)),
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep requests off the terminal."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Keep off the terminal that a page was left before it had loaded."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine only; yields the address, such as http://127.0.0.1:40123."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pages_of(folder: Path) -> dict[str, list[str]]:
    """Return the pages of every application: paths below ``folder``, or http addresses.

    Raises:
        UsageError: there are none.
    """
    sites = {}
    for site in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
        listed = site / LIST
        if listed.is_file():
            lines = [line.strip() for line in listed.read_text(encoding="utf-8").split("\n") if line.strip()]
            sites[site.name] = [line if "://" in line else f"{site.name}/{line}" for line in lines]
        else:
            found = sorted(path.relative_to(folder).as_posix() for path in site.rglob("*.html"))
            # Evenly spread: neighbours are alike.
            step = max(len(found) / MAX_PAGES, 1.0)
            sites[site.name] = [found[int(number * step)] for number in range(min(len(found), MAX_PAGES))]
    if not any(sites.values()):
        raise UsageError(f"expected folders with pages (*.html) or {LIST} in {folder}, but there are none")
    return sites


def record_site(app: str, pages: Sequence[str], address: str, folder: RecordingFolder, *, turn: int = 0) -> int:
    """Record the pages of one application, each in one view; return how many screens were new.

    Args:
        app: name of the application.
        pages: paths below ``address``, or addresses of their own.
        address: where the folder is served.
        folder: screens that it has are left out.
        turn: which view comes first.

    Raises:
        EnvError: Chromium does not start.
    """
    before = len(folder.rows)
    by_view: Mapping[int, list[str]] = {}
    by_view = {
        number: [page for place, page in enumerate(pages) if (place + turn + _hash(app)) % len(VIEWS) == number]
        for number in range(len(VIEWS))
    }
    for number, chosen in by_view.items():
        view = VIEWS[number]
        chosen = [page for page in chosen if _screen(app, page, view) not in folder.names]
        if not chosen:
            continue
        browser = Browser(*view.size, scale=view.scale)
        try:
            browser.start()
            for page in chosen:
                with contextlib.suppress(EnvError):
                    _record_page(browser, app, page, address, view, folder)
        finally:
            browser.close()
    return len(folder.rows) - before


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())


def _screen(app: str, page: str, view: View) -> str:
    path = re.sub(r"^\w+://[^/]*", "", page).removeprefix(f"{app}/").removesuffix(".html")
    return f"{app}-{view.name}-{slug(path[-32:])}"


def _record_page(browser: Browser, app: str, page: str, address: str, view: View, folder: RecordingFolder) -> None:
    # Nothing on this machine is asked of others: no fonts, no counters.
    browser.devtools("Network.enable")
    browser.devtools("Network.setBlockedURLs", urls=["https://*"])
    scheme = "dark" if view.dark else "light"
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page if "://" in page else f"{address}/{page}")
    if view.dark:
        browser.script(_DARK_JS)
    name = _screen(app, page, view)
    elements = _keep(browser, app, name, view, folder)
    _open_one(browser, app, name, view, folder, elements)
    height = browser.script("return document.documentElement.scrollHeight")
    for number in range(1, 3):
        top = number * (view.size[1] - 120)
        if top + view.size[1] // 2 < height:
            browser.script("window.scrollTo({top: arguments[0], behavior: 'instant'})", top)
            _keep(browser, app, f"{name}-{number}", view, folder)


def _open_one(
    browser: Browser, app: str, name: str, view: View, folder: RecordingFolder, elements: Sequence[RealElement]
) -> None:
    """Click something that opens a menu or a part of the page, record that, and close it again."""
    closed = [element for element in elements if element.kind == "button" and "expanded" not in element.states]
    opening = [
        element for element in closed if "hasPopup" in element.states or re.search("menu|nav", element.name, re.I)
    ]
    if not opening:
        return
    url = browser.script("return location.href")
    x, y = inner_points(opening[_hash(name) % len(opening)].box)[0]
    browser.click(x // view.scale, y // view.scale)
    browser.move(1, view.size[1] - 2)
    if browser.script("return location.href").split("#")[0] == url.split("#")[0]:
        _keep(browser, app, f"{name}-open", view, folder)
    browser.press(["escape"])
    browser.open(url)
    if view.dark:
        browser.script(_DARK_JS)


def _keep(browser: Browser, app: str, name: str, view: View, folder: RecordingFolder) -> list[RealElement]:
    image, elements = _still(browser, view)
    words = str(browser.script("return document.body.innerText")).casefold().split()
    if len(elements) >= 3 and name not in folder.names:
        folder.add(
            Seen(
                screen=name,
                app=app,
                toolkit="web",
                theme="dark" if image.mean() < _DARK_BELOW else "light",
                scale=view.scale,
                image=image,
                elements=elements,
                words=[*words, *(element.name.casefold() for element in elements)],
            )
        )
    return elements


def _view_image(browser: Browser) -> Image:
    """Return what the view shows, also of a page that was scrolled."""
    shot = browser.devtools("Page.captureScreenshot", format="png", optimizeForSpeed=True)
    return read_image(base64.b64decode(shot["data"]))


def _still(browser: Browser, view: View) -> tuple[Image, list[RealElement]]:
    """Return image and truth that belong together.

    Raises:
        EnvError: the page keeps moving.
    """
    time.sleep(_SETTLE_S)
    for _ in range(4):
        elements = page_elements(browser)
        image = _view_image(browser)
        if page_elements(browser) == elements:
            return image, elements
        time.sleep(_SETTLE_S)
    raise EnvError("the page keeps moving")
