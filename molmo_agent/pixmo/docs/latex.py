"""Draws LaTeX documents in the sandbox: pdflatex, and Poppler for the image and the words on it."""

import base64
import html
import re
import shutil
from dataclasses import replace
from pathlib import Path

from molmo_agent.pixmo.docs.rendering import Rendering, Text, trimmed, with_image
from molmo_agent.sandbox.bubblewrap import Limits, run_program

PROGRAMS = ("pdflatex", "pdftoppm", "pdftotext")
"""What has to be on PATH."""
_DPI = 110
_PIXELS_PER_POINT = _DPI / 72
# Of Debian's TeX Live, beside what is in /usr.
_FOLDERS = (Path("/var/lib/texmf"), Path("/etc/texmf"), Path("/etc/papersize"))
_SHELL = f"""\
cat > document.tex
pdflatex -no-shell-escape -halt-on-error -interaction=nonstopmode document.tex > log.txt 2>&1 ||
  {{ grep -m 1 '^!' log.txt >&2; exit 3; }}
# What is beyond the edge of the paper is not among the words: lines that are 30 points too wide may reach it.
if grep -m 1 -E 'Overfull .[hv]box .([3-9][0-9]|[0-9]{{3,}})[.]' log.txt > wide.txt
then printf 'clipped: %s' "$(cat wide.txt)" >&2; exit 3; fi
pdftotext -bbox document.pdf - | base64 -w 0
echo
pdftoppm -png -r {_DPI} -l 1 -singlefile document.pdf image && cat image.png
"""
_PAGE = re.compile(r"<page ")
_WORD = re.compile(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">([^<]*)</word>')


def missing_program() -> str | None:
    """Return the first program that is not on PATH."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


def draw_latex(code: str, limits: Limits) -> Rendering:
    """Draw a LaTeX document of one page."""
    outcome = run_program(["/bin/sh", "-c", _SHELL], code.encode(), limits, readable=_FOLDERS)
    line, _, png = outcome.output.partition(b"\n")
    if outcome.problem:
        return Rendering(None, None, outcome.problem)
    try:
        words = base64.b64decode(line, validate=True).decode("utf-8")
    except ValueError as error:
        return Rendering(None, None, f"it printed no words: {error}")
    if (pages := len(_PAGE.findall(words))) != 1:
        return Rendering(None, None, f"clipped: it has {pages} pages, expected 1")
    return trimmed(with_image(replace(outcome, output=png), tuple(map(_text, _WORD.findall(words)))))


def _text(word: tuple[str, ...]) -> Text:
    left, top, right, bottom = (float(number) * _PIXELS_PER_POINT for number in word[:4])
    # Poppler's boxes are as high as the font's tallest and deepest characters together.
    return Text(html.unescape(word[4]), (left, top, right, bottom), (bottom - top) * 0.8)
