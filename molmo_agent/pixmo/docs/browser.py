"""Draws pages in Chromium, in the sandbox: HTML, Plotly's figures and Mermaid's diagrams.

Plotly and Mermaid are JavaScript. Their files are mounted for the page, which has no network.
"""

import html
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from molmo_agent.child_environment import child_environment
from molmo_agent.pixmo.docs.rendering import Rendering, trimmed, with_texts
from molmo_agent.sandbox.bubblewrap import Limits, package_folders, python_command, run_program

_PAGE_END = Path(__file__).with_name("page_end.html")
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run "
    "--window-size=800,1100 --user-data-dir=/tmp/profile --virtual-time-budget=10000 --dump-dom "
    "--screenshot=/tmp/out.png"
)
# The script at the end of the page leaves its texts in the document. Without them, a page's image still counts.
_SHELL = """\
{write}
{browser} {flags} file:///tmp/page.html > dom.txt || exit
left() {{ tr -d '\\n' < dom.txt | sed -n "s|.*$1:\\([A-Za-z0-9+/=]*\\):END.*|\\1|p" | base64 -d; }}
left PROBLEM > problem.txt
if [ -s problem.txt ]; then cat problem.txt >&2; exit 3; fi
left TEXTS > texts.txt
if [ -s texts.txt ]; then cat texts.txt; else printf '{no_texts}'; fi
echo; cat out.png
"""
_FIGURE = (
    '<!doctype html><html><head><meta charset="utf-8"><style>body{{margin:10px;background:white}}</style></head><body>'
    '<div id="figure" style="width:780px">{inside}</div>{end}<script src="{script}"></script><script>{draw}'
    '.then(() => measure(document.getElementById("figure")), failed)</script></body></html>'
)
_PLOTLY_END = """
import pathlib as _pathlib
_page = _pathlib.Path("page.txt").read_text()
_json = fig.to_json().replace("<", "\\\\u003c")
_pathlib.Path("page.html").write_text(_page.replace("FIGURE", _json))
"""


def browser() -> str | None:
    """Return the path of Chromium; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def plotly_script() -> Path | None:
    """Return the path of plotly.min.js, which the package ``plotly`` brings; None where it is not installed."""
    spec = find_spec("plotly")
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return path.resolve() if path is not None and path.is_file() else None


@cache
def mermaid_script() -> Path | None:
    """Return the path of mermaid.min.js among npm's global packages; None where it is not installed."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    try:
        asked = subprocess.run(
            [npm, "root", "--global"], capture_output=True, text=True, env=child_environment(), timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    path = Path(asked.stdout.strip()) / "mermaid" / "dist" / "mermaid.min.js"
    return path.resolve() if path.is_file() else None


def draw_html(code: str, limits: Limits) -> Rendering:
    """Draw a page; empty rows below it are cut off."""
    end = _PAGE_END.read_text(encoding="utf-8") + "<script>measure(document.body)</script>"
    return _drawn("cat > page.html", code + end, limits, (), no_texts="null")


def draw_plotly(code: str, limits: Limits) -> Rendering:
    """Draw the figure that a Python program leaves in ``fig``."""
    script = plotly_script()
    assert script is not None
    packages = script.parents[2]
    before = f"import sys as _sys\n_sys.path += {[*package_folders(), str(packages)]!r}\n"
    page = _FIGURE.format(
        inside="",
        end=_PAGE_END.read_text(encoding="utf-8"),
        script=script.as_uri(),
        draw="const drawing = FIGURE; Plotly.newPlot('figure', drawing.data, drawing.layout, {staticPlot: true})",
    )
    before += f"open('page.txt', 'w').write({page!r})\n"
    write = f"cat > program.py\n{shlex.join(python_command('program.py'))} >&2 || exit"
    return _drawn(write, before + code + _PLOTLY_END, limits, (packages,))


def draw_mermaid(code: str, limits: Limits) -> Rendering:
    """Draw a diagram in Mermaid's language."""
    script = mermaid_script()
    assert script is not None
    page = _FIGURE.format(
        inside=f'<pre class="mermaid">{html.escape(code)}</pre>',
        end=_PAGE_END.read_text(encoding="utf-8"),
        script=script.as_uri(),
        draw="mermaid.initialize({startOnLoad: false, securityLevel: 'strict', suppressErrorRendering: true}); "
        "mermaid.run()",
    )
    return _drawn("cat > page.html", page, limits, (script,))


def _drawn(write: str, stdin: str, limits: Limits, readable: Sequence[Path], no_texts: str = "") -> Rendering:
    """Draw the page that a shell command writes, with what is around it cut off."""
    path = browser()
    assert path is not None
    roomy = Limits(
        seconds=limits.seconds, cpu_s=limits.cpu_s, memory_bytes=2 * limits.memory_bytes, address_bytes=0,
        processes=4 * limits.processes, files=4096, scratch_bytes=limits.scratch_bytes,
        output_bytes=limits.output_bytes,
    )  # fmt: skip
    script = _SHELL.format(write=write, browser=shlex.quote(path), flags=_FLAGS, no_texts=no_texts)
    mounts = [Path(path).resolve().parent, Path("/opt"), *readable]
    return trimmed(with_texts(run_program(["/bin/sh", "-c", script], stdin.encode(), roomy, readable=mounts)))
