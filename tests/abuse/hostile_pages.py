"""A pytest plugin: every text on every page that the package writes ends with markup that tries to run and to load.

Loaded with ``-p hostile_pages``. HOSTILE_PAGES names the folder for the pages, HOSTILE_SERVER the address that the
markup asks for. Tests that compare pages fail with it; only what they write counts.
"""

import os
from pathlib import Path
from typing import Any

import molmo_agent.html as pages


def payloads(server: str) -> str:
    """Return markup for every context: text, attributes, comments, styles, scripts, addresses."""
    run = f"window.ran=1;fetch('{server}/fetch')"
    return (
        f'<script>{run}</script><script src={server}/script></script><img src={server}/img onerror="{run}">'
        f'<svg onload="{run}"></svg><iframe src={server}/frame></iframe>'
        f'<iframe srcdoc="<script>{run}</script>"></iframe>'
        f"<link rel=stylesheet href={server}/style><style>@import url({server}/import);</style>"
        f'<meta http-equiv=refresh content="0;url={server}/refresh"><base href={server}/>'
        f"\"><img src={server}/a>'><img src={server}/b>--><img src={server}/c></style></title></textarea></script>"
        f'<img src={server}/d onerror={run}>]]><img src={server}/e>" onmouseover="{run}" onfocus="{run}" autofocus '
        f"x=\"' style='background:url({server}/f)' ;background:url({server}/g);}} *{{background:url({server}/h)}}"
        f'\';{run};\'";{run};"`;{run};`${{{run}}}//{{{{7*7}}}}{{% raw %}}\\\\";{run}//<object data={server}/i></object>'
        f"<video poster={server}/j><audio src={server}/k autoplay><embed src={server}/l><form action={server}/m>"
    )


def pytest_configure(config: Any) -> None:
    """Change what pages are filled with, before their modules are imported."""
    folder, bad = Path(os.environ["HOSTILE_PAGES"]), payloads(os.environ["HOSTILE_SERVER"])
    render, visible, lines = pages.render_page, pages._visible, pages._lines

    def spoilt(value: Any) -> Any:
        return value if hasattr(value, "__html__") or isinstance(value, int | float) else visible(f"{value}{bad}")

    def render_spoilt(template: str, /, **values: Any) -> str:
        page = render(template, **values)
        (folder / f"{template.replace('/', ' ')} {len(list(folder.iterdir()))}.html").write_text(
            page, encoding="utf-8", errors="replace"
        )
        return page

    pages._visible, pages.render_page = spoilt, render_spoilt
    pages._lines = lambda value: lines(f"{value}{bad}")


def pytest_sessionstart() -> None:
    """Write the page that is only served, by a process that this plugin does not reach."""
    from molmo_agent.evaluation.human.server import _page

    _page("token")
