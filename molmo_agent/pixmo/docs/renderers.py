"""Turns code into an image, in the sandbox: the renderers by name, and what each needs."""

import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from molmo_agent.errors import MissingExtraError, UnknownNameError, UsageError
from molmo_agent.pixmo.docs.browser import browser, draw_html, draw_mermaid, draw_plotly, mermaid_script, plotly_script
from molmo_agent.pixmo.docs.latex import draw_latex, missing_program
from molmo_agent.pixmo.docs.rendering import Rendering, with_image, with_texts
from molmo_agent.sandbox.bubblewrap import Limits, package_folders, python_command, run_program

_FOLDER = Path(__file__).parent


def render(library: str, code: str, limits: Limits | None = None) -> Rendering:
    """Run code in the sandbox and return what it draws.

    Args:
        library: "matplotlib", "vega-lite", "plotly", "html", "latex", "graphviz" or "mermaid".
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
    module = {"matplotlib": "matplotlib", "vega-lite": "vl_convert", "plotly": "plotly"}.get(library)
    if module and (find_spec(module) is None or (library == "plotly" and plotly_script() is None)):
        raise MissingExtraError(f"drawing with {library}", "pixmo")
    if library == "graphviz" and shutil.which("dot") is None:
        raise UsageError("expected dot on PATH to draw diagrams: install Graphviz (apt-get install graphviz)")
    if library in ("html", "plotly", "mermaid") and browser() is None:
        raise UsageError("expected chromium on PATH to draw pages: install it (apt-get install chromium)")
    if library == "mermaid" and mermaid_script() is None:
        raise UsageError(
            "expected Mermaid among npm's global packages to draw its diagrams: install it (npm install --global "
            "mermaid)"
        )
    if library == "latex" and (missing := missing_program()) is not None:
        raise UsageError(
            f"expected {missing} on PATH to draw LaTeX documents: install it (apt-get install texlive-latex-base "
            "poppler-utils)"
        )


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
    return with_texts(outcome)


@cache
def _font_list() -> Path | None:
    """Return the folder of Matplotlib's list of fonts, which takes a second to make; None if there is none."""
    import matplotlib
    from matplotlib import font_manager

    # Importing the manager writes the list.
    folder = Path(matplotlib.get_cachedir())
    return folder if font_manager.fontManager and any(folder.glob("fontlist-*.json")) else None


def _graphviz(code: str, limits: Limits) -> Rendering:
    return with_image(run_program(["dot", "-Tpng", "-Gdpi=96"], code.encode(), limits), None)


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
    return with_image(outcome, None)


_RENDERERS: dict[str, Callable[[str, Limits], Rendering]] = {
    "matplotlib": _matplotlib,
    "html": draw_html,
    "graphviz": _graphviz,
    "vega-lite": _vega_lite,
    "plotly": draw_plotly,
    "mermaid": draw_mermaid,
    "latex": draw_latex,
}
