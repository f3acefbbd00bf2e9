"""One page with random rows of a data set that was made here: the images, their questions and answers."""

import base64
import html
import io
import re
from pathlib import Path

import numpy as np

from molmo_agent.data.row import Rows
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole
from molmo_agent.images.drawing import draw_points
from molmo_agent.train.preview.example_view import answer_points

_SIDE, _PAIRS, _CHARACTERS = 420, 4, 240
# Points are drawn on the image; in the text their names are enough.
_POINTS = re.compile(r"<points?\b[^>]*>(.*?)</points?>", re.DOTALL)
_STYLE = (
    "body{font-family:sans-serif;margin:20px}img{max-width:100%}p{margin:4px 0;font-size:14px}"
    "main{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(210px,1fr))}"
)


def write_gallery(data: Rows, path: Path, *, title: str, count: int = 24, seed: int = 0) -> int:
    """Write a page with random rows of a data set, and return how many.

    Raises:
        UsageError: the data set is empty.
        OSError: the page cannot be written.
    """
    if len(data) == 0:
        raise UsageError(f"expected rows in {title} to show, got none: was anything made?")
    chosen = np.random.default_rng(seed).permutation(len(data))[:count]
    cells = [_cell(data, int(number)) for number in chosen]
    page = f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    write_whole(path, f"{page}<h1>{html.escape(title)}</h1><main>{''.join(cells)}</main>")
    return len(cells)


def _cell(data: Rows, number: int) -> str:
    row = data.row(number, 0)
    if row.image is None:
        picture = ""
    else:
        points = [point for conversation in row.conversations for point in answer_points(conversation)[0]]
        # The same instance may be the answer of several questions.
        image = draw_points(row.image(), list(dict.fromkeys(points)), numbered=False)
        image.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        image.save(file, "PNG")
        picture = f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    turns = [turn for conversation in row.conversations for turn in conversation.turns]
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    texts = "".join(f"<p><b>{_short(question)}</b> {_short(answer)}</p>" for question, answer in pairs[:_PAIRS])
    if len(pairs) > _PAIRS:
        texts += f"<p>and {len(pairs) - _PAIRS} more</p>"
    return f"<div>{picture}{texts}</div>"


def _short(text: str) -> str:
    text = _POINTS.sub(r"[\1]", text)
    return html.escape(text if len(text) <= _CHARACTERS else text[:_CHARACTERS].rsplit(" ", 1)[0] + " ...")
