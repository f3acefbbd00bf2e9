"""Build the documentation site: `python docs/make_site.py [--pages-only]`, or `make docs`.

The pages are prepared in `build/pages` and built into `build/site`. A site holds what lies in one folder, but pages
here link to files beside `docs/`, such as `../CONTRIBUTING.md`. Those in `PAGES` become pages of the site; a link to
any other file becomes its name.
"""

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "pages"
# File of the repository -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "molmo_agent/pointers/nano_checkpoint/README.md": "nano-card.md",
    "molmo_agent/pointers/nano_checkpoint/reliability.png": "reliability.png",
}
ENDINGS = (".md", ".png", ".gif", ".webp")
_LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def site_link(link: re.Match[str], source: str, page: str) -> str:
    """Return a link of a file of the repository as a link of the page that it becomes."""
    image, text, target = link.groups()
    if re.match(r"[a-z]+:|#", target):
        return link[0]
    path, mark, anchor = target.partition("#")
    goal = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if goal in PAGES:
        goal = PAGES[goal]
    elif goal.startswith("docs/"):
        goal = goal.removeprefix("docs/")
    else:
        return text
    return f"{image}[{text}]({posixpath.relpath(goal, posixpath.dirname(page) or '.')}{mark}{anchor})"


def site_page(text: str, source: str, page: str) -> str:
    """Return the text of a page of the site."""
    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(lambda link: site_link(link, source, page), part) for part in parts[::2]]
    return "".join(parts)


def prepare() -> None:
    """Write every page, with what it shows, into the folder that the site is built from."""
    shutil.rmtree(OUT, ignore_errors=True)
    own = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*") if path.suffix in ENDINGS]
    for source, page in {**{name: name.removeprefix("docs/") for name in own}, **PAGES}.items():
        target = OUT / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(site_page(text, source, page), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)


def main() -> int:
    """Prepare the pages and build the site; 1 where anything is to be warned of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages-only", action="store_true", help="prepare the pages, build no site")
    prepare()
    if parser.parse_args().pages_only:
        return 0
    # The theme announces the end of its maintenance at every build; what follows from it is in pyproject.toml.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    code = subprocess.run(build, cwd=ROOT, env=environment, check=False).returncode
    if code == 0:
        print(ROOT / "build" / "site" / "index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
