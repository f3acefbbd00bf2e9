"""Turns code into an image, in the sandbox: Matplotlib, HTML, Graphviz, Vega-Lite."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import DataError, ImageError, MissingExtraError, UnknownNameError, UsageError
from molmo_agent.images.reading import read_image
from molmo_agent.parse import load_json
from molmo_agent.sandbox.bubblewrap import Limits, Outcome, package_folders, python_command, run_program

_FOLDER = Path(__file__).parent
_PNG = b"\x89PNG"


@dataclass(frozen=True, slots=True)
class Text:
    """A text on a rendering, with its box (left, top, right, bottom) and font size in pixels."""

    text: str
    box: tuple[float, float, float, float]
    font_px: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came of a program: an image with the texts on it, or a problem.

    Attributes:
        image: (height, width, 3) uint8; None with a problem.
        texts: the texts and their places; None if the renderer does not report them.
        problem: why there is no image; empty if there is one.
    """

    image: Image | None
    texts: tuple[Text, ...] | None
    problem: str


def render(library: str, code: str, limits: Limits | None = None) -> Rendering:
    """Run code in the sandbox and return what it draws.

    Args:
        library: "matplotlib", "html", "graphviz" or "vega-lite".
        code: of the document, from whoever wrote it: it is treated as hostile.
        limits: what it may use.

    Raises:
        UsageError: the library is unknown or not installed, or no sandbox can be made.
    """
    if library not in _RENDERERS:
        raise UnknownNameError("library for documents", library, _RENDERERS)
    check_renderer(library)
    return _RENDERERS[library](code, limits or Limits())


def check_renderer(library: str) -> None:
    """Check that a library is installed.

    Raises:
        UsageError: it is not; the message names what to install.
    """
    module = {"matplotlib": "matplotlib", "vega-lite": "vl_convert"}.get(library)
    if module and find_spec(module) is None:
        raise MissingExtraError(f"drawing with {library}", "pixmo")
    if library == "graphviz" and shutil.which("dot") is None:
        raise UsageError("expected dot on PATH to draw diagrams: install Graphviz (apt-get install graphviz)")
    if library == "html" and _browser() is None:
        raise UsageError("expected chromium on PATH to draw pages: install it (apt-get install chromium)")


def _browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def libraries() -> tuple[str, ...]:
    """Return the libraries that can draw here."""
    usable = []
    for name in _RENDERERS:
        try:
            check_renderer(name)
        except UsageError:
            continue
        usable.append(name)
    return tuple(usable)


def _matplotlib(code: str, limits: Limits) -> Rendering:
    before, after = ((_FOLDER / f"figure_{part}.txt").read_text(encoding="utf-8") for part in ("before", "after"))
    cached = _font_list()
    fonts = [cached] if cached else []
    copy = f"cp {fonts[0]}/*.json /tmp/ 2>/dev/null; " if fonts else ""
    command = ["/bin/sh", "-c", f'{copy}cat > program.py; exec "$@" program.py', "sh", *python_command()]
    packages = Path(str(find_spec("matplotlib").origin)).parents[1]  # type: ignore[union-attr]
    path = f"import sys as _sys\n_sys.path += {[*package_folders(), str(packages)]!r}\n"
    outcome = run_program(command, (path + before + code + after).encode(), limits, readable=[packages, *fonts])
    return _with_texts(outcome)


@cache
def _font_list() -> Path | None:
    """Return the folder of Matplotlib's list of fonts, which takes a second to make; None if there is none."""
    import matplotlib
    from matplotlib import font_manager

    # Importing the manager writes the list.
    folder = Path(matplotlib.get_cachedir())
    return folder if font_manager.fontManager and any(folder.glob("fontlist-*.json")) else None


def _html(code: str, limits: Limits) -> Rendering:
    browser = _browser()
    assert browser is not None
    flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars"
    flags += " --no-first-run --window-size=800,1000 --user-data-dir=/tmp/profile"
    script = f"cat > page.html; {browser} {flags} --screenshot=/tmp/out.png file:///tmp/page.html >&2 && cat out.png"
    roomy = Limits(
        seconds=limits.seconds, cpu_s=limits.cpu_s, memory_bytes=2 * limits.memory_bytes, address_bytes=0,
        processes=4 * limits.processes, files=4096, scratch_bytes=limits.scratch_bytes,
        output_bytes=limits.output_bytes,
    )  # fmt: skip
    readable = [Path(browser).resolve().parent, Path("/opt")]
    outcome = run_program(["/bin/sh", "-c", script], code.encode(), roomy, readable=readable)
    page = _image(outcome, None)
    return page if page.image is None else replace(page, image=_without_empty_end(page.image))


def _without_empty_end(image: Image) -> Image:
    """Cut off the empty rows below a page, but for a margin."""
    drawn = np.flatnonzero((image != image[-1, 0]).any(axis=(1, 2)))
    return image[: int(drawn[-1]) + 25] if len(drawn) and drawn[-1] + 25 < len(image) else image


def _graphviz(code: str, limits: Limits) -> Rendering:
    return _image(run_program(["dot", "-Tpng", "-Gdpi=96"], code.encode(), limits), None)


_VEGA = """import json, os, sys
out = os.dup(1); os.dup2(2, 1)
sys.path.append(sys.argv[1])
import vl_convert
png = vl_convert.vegalite_to_png(json.loads(sys.stdin.read()), scale=1.5, allowed_base_urls=[])
os.write(out, png) if len(png) < 65536 else open(out, "wb").write(png)
"""


def _vega_lite(code: str, limits: Limits) -> Rendering:
    packages = Path(str(find_spec("vl_convert").origin)).parents[1]  # type: ignore[union-attr]
    roomy = Limits(seconds=limits.seconds, memory_bytes=limits.memory_bytes, address_bytes=0)
    outcome = run_program(python_command("-c", _VEGA, str(packages)), code.encode(), roomy, readable=[packages])
    return _image(outcome, None)


def _with_texts(outcome: Outcome) -> Rendering:
    line, _, png = outcome.output.partition(b"\n")
    texts = None
    if not outcome.problem:
        try:
            texts = tuple(
                Text(str(text), (float(left), float(top), float(right), float(bottom)), float(size))
                for text, left, top, right, bottom, size in load_json(line, where="the texts of the figure")
            )
        except (DataError, TypeError, ValueError) as error:
            return Rendering(None, None, f"it printed no figure: {error}")
    return _image(Outcome(png, outcome.problem, outcome.errors), texts)


def _image(outcome: Outcome, texts: tuple[Text, ...] | None) -> Rendering:
    if outcome.problem:
        return Rendering(None, None, outcome.problem)
    if not outcome.output.startswith(_PNG):
        last = outcome.errors.strip().rpartition("\n")[2]
        return Rendering(None, None, f"it printed no image{': ' + last[:200] if last else ''}")
    try:
        return Rendering(read_image(outcome.output), texts, "")
    except ImageError as error:
        return Rendering(None, None, f"its image cannot be read: {error}")


_RENDERERS: dict[str, Callable[[str, Limits], Rendering]] = {
    "matplotlib": _matplotlib,
    "html": _html,
    "graphviz": _graphviz,
    "vega-lite": _vega_lite,
}
