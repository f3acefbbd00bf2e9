"""Writes documents by rule, without a language model: any topic in the style of any persona, as any kind."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.parse import load_yaml
from molmo_agent.pixmo.docs.document import Document
from molmo_agent.pixmo.docs.latex_pages import latex_kinds, write_latex
from molmo_agent.pixmo.docs.mermaid_diagrams import mermaid_kinds, write_diagram
from molmo_agent.pixmo.docs.pages import page_kinds, write_page
from molmo_agent.pixmo.docs.questions import questions_about
from molmo_agent.pixmo.docs.table import Table

_FOLDER = Path(__file__).parent
_PALETTES = (
    ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"),
    ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#5f7d95", "#1f78b4", "#b2182b"),
    ("#e63946", "#457b9d", "#2a9d8f", "#f4a261", "#6d597a", "#b5838d", "#588157", "#bc6c25", "#3d5a80", "#9a8c98"),
    ("#003f5c", "#2f4b7c", "#665191", "#a05195", "#d45087", "#f95d6a", "#ff7c43", "#ffa600", "#488f31", "#83af70"),
)
_FONTS = ("DejaVu Sans", "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")
# Libraries whose programs are in a file.
_PROGRAMS = ("matplotlib", "plotly")
_VEGA_MARKS = ("bar", "line", "point", "area", "arc", "rect", "tick")


@cache
def topics() -> dict[str, Any]:
    """Return the topics, personas and word lists of the writer."""
    return load_yaml((_FOLDER / "topics.yaml").read_text(encoding="utf-8"), where="topics.yaml")


@cache
def _charts(library: str) -> dict[str, tuple[str, str]]:
    """Return the programs of Matplotlib or Plotly by kind: what data they draw, and their lines."""
    text = (_FOLDER / f"{library}_charts.txt").read_text(encoding="utf-8")
    programs = {}
    for section in text.split("### ")[1:]:
        head, _, body = section.partition("\n")
        kind, needs = head.split()
        programs[kind] = (needs, body)
    return programs


def kinds(type_: str, library: str) -> tuple[str, ...]:
    """Return the kinds of documents of a type that the writer knows for a library."""
    if type_ == "charts":
        if library in _PROGRAMS:
            return tuple(_charts(library))
        return tuple(f"vega-{mark}" for mark in _VEGA_MARKS) if library == "vega-lite" else ()
    if library == "mermaid":
        return mermaid_kinds() if type_ == "diagrams" else ()
    return latex_kinds(type_) if library == "latex" else page_kinds(type_, library)


def write_document(rng: np.random.Generator, type_: str, library: str, kind: str) -> Document:
    """Write a document of one kind.

    Args:
        rng: chooses everything else.
        type_: one of :data:`~molmo_agent.pixmo.docs.document.TYPES`.
        library: that draws it.
        kind: one of :func:`kinds`.
    """
    persona = _pick(rng, topics()["personas"])
    if type_ != "charts":
        write = {"mermaid": write_diagram, "latex": write_latex}.get(library, write_page)
        return write(rng, type_, kind, persona["who"], topics())
    topic = _pick(rng, topics()["topics"])
    needs = _charts(library)[kind][0] if library in _PROGRAMS else ("one" if kind != "vega-rect" else "many")
    table, samples = _data(rng, needs, topic, persona["title"])
    exact = bool(rng.random() < 0.6)
    if library == "matplotlib":
        code = _figure(rng, kind, table, samples, persona["style"], exact)
        exact = exact and needs in ("one", "sorted", "many", "two", "bins", "places") and kind not in _INEXACT
        exact = exact or kind == "table-chart"
    elif library == "plotly":
        code = _plotly(rng, kind, table, exact)
        exact = (exact and kind in _LABELLED) or kind == "plotly-table"
    else:
        code, exact = _vega(rng, kind.removeprefix("vega-"), table), False
    asked_for = f"a {kind.replace('-', ' ')} chart of {topic[0]} by {table.key}"
    shown = Table(table.title, table.key, table.keys, _asked_columns(table, needs), table.unit)
    questions = questions_about(rng, shown, exact=exact)
    return Document(type_, kind, library, asked_for, persona["who"], code, shown, questions)


# Kinds whose values are written nowhere.
_INEXACT = frozenset(
    (
        *("area", "step", "stem", "pie", "polar-bar", "radar", "waffle", "multi-line", "stacked-area", "dumbbell"),
        *("scatter", "error-bar", "small-multiples"),
    )
)


# Kinds of Plotly that can have their values written on them.
_LABELLED = frozenset(
    f"plotly-{kind}"
    for kind in (*("bar", "horizontal-bar", "pie", "heat-map", "tree-map", "sunburst", "funnel", "waterfall"),)
)
_TEMPLATES = ("plotly", "plotly_white", "simple_white", "ggplot2", "seaborn", "presentation")


def _asked_columns(table: Table, needs: str) -> dict[str, Any]:
    """Return the columns that are drawn and can be asked about."""
    names = [*table.columns]
    names = {"one": names[:1], "sorted": names[:1], "places": names[:1], "two": names[:2]}.get(needs, names)
    return {name: table.columns[name] for name in names}


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _values(rng: np.random.Generator, count: int, low: float, high: float) -> tuple[float, ...]:
    """Return values that differ by at least a hundredth of their range, so that their order can be seen."""
    steps = rng.choice(np.arange(5, 100), size=count, replace=False)
    decimals = 0 if high - low > 100 else 1
    return tuple(round(float(low + (high - low) * step / 100), decimals) for step in steps)


def _data(rng: np.random.Generator, needs: str, topic: list[Any], titled: str) -> tuple[Table, Any]:
    name, key, rows, names, unit, low, high = topic
    title = titled.format(topic=name)
    title = title[0].upper() + title[1:]
    count = int(rng.integers(4, len(rows) + 1))
    # Months and lines keep their order; which ones are shown varies.
    keys = tuple(rows[i] for i in sorted(rng.choice(len(rows), count, replace=False)))
    columns = tuple(names[: int(rng.integers(2, min(4, len(names)) + 1))])
    if needs == "places":
        places = topics()["places"]
        keys = tuple(sorted(places)[i] for i in sorted(rng.choice(len(places), 6, replace=False)))
        drawn = {word: tuple(places[k][i] for k in keys) for i, word in enumerate(("longitude", "latitude"))}
        return Table(title, "city", keys, {name: _values(rng, 6, low, high)} | drawn, unit), None
    if needs == "flows":
        keys = keys[:5]
        values = {f"to {k}": _values(rng, len(keys), low, high) for k in keys}
        values = {
            n: tuple(0 if n == f"to {k}" else v for k, v in zip(keys, vs, strict=True)) for n, vs in values.items()
        }
        return Table(title, key, keys, values, unit), None
    if needs == "spans":
        tasks = topics()["tasks"][: int(rng.integers(5, 9))]
        lengths = tuple(int(v) for v in rng.choice(np.arange(1, 12), len(tasks), replace=False))
        starts = tuple(int(v) for v in np.sort(rng.choice(np.arange(20), len(tasks), replace=False)))
        return Table(f"Project plan: {name}", "task", tuple(tasks), {"start week": starts, "weeks": lengths}), None
    if needs == "bins":
        edges = np.linspace(low, high, 8).round(0 if high > 50 else 1)
        keys = tuple(f"{a:g}-{b:g}" for a, b in pairwise(edges))
        counts = tuple(int(v) for v in rng.choice(np.arange(2, 60), 7, replace=False))
        return Table(title, "bin", keys, {"count": counts}), None
    if needs == "samples":
        centres = _values(rng, len(keys), low, high)
        spread = (high - low) * 0.04
        samples = [np.round(rng.normal(c, spread, 31), 2).tolist() for c in centres]
        medians = tuple(float(np.median(sample)) for sample in samples)
        return Table(title, key, keys, {"median": medians}, unit), samples
    if needs in ("one", "sorted"):
        column = _values(rng, len(keys), low, high)
        if needs == "sorted":
            column = tuple(sorted(column, reverse=True))
        return Table(title, key, keys, {name: column}, unit), None
    columns = columns[:2] if needs == "two" else columns
    return Table(title, key, keys, {c: _values(rng, len(keys), low, high) for c in columns}, unit), None


def _figure(rng: np.random.Generator, kind: str, table: Table, samples: Any, style: str, show: bool) -> str:
    name = next(iter(table.columns))
    lines = [
        "import matplotlib.pyplot as plt",
        "import numpy as np",
        f"plt.style.use({style!r})",
        f"plt.rcParams['font.family'] = {_pick(rng, _FONTS)!r}",
        f"keys = {[*table.keys]!r}",
        f"columns = {dict(table.columns)!r}",
        f"samples = {samples!r}",
        "first = [*columns.values()][0]",
        f"label = {table.unit or name!r}",
        f"colors = {[*_pick(rng, _PALETTES)]!r}",
        f"size = ({rng.uniform(5.5, 8.5):.1f}, {rng.uniform(4.0, 6.0):.1f})",
        f"show_values, vary = {show!r}, {bool(rng.random() < 0.5)!r}",
        f"marker, cmap = {_pick(rng, 'os^D')!r}, {_pick(rng, ('viridis', 'Blues', 'YlOrRd', 'coolwarm', 'Greens'))!r}",
        f"rotation = {30 if sum(map(len, table.keys)) > 40 else 0}",
        "number = lambda value: text(value)",
        "def text(value): return f'{value:.10g}'",
    ]
    end = f"fig.suptitle({table.title!r}, fontsize={int(rng.integers(12, 16))})\nfig.tight_layout()\n"
    return "\n".join(lines) + "\n" + _charts("matplotlib")[kind][1] + end


def _plotly(rng: np.random.Generator, kind: str, table: Table, show: bool) -> str:
    name = next(iter(table.columns))
    values = table.columns[name]
    palette = _pick(rng, _PALETTES)
    lines = [
        "import plotly.graph_objects as go",
        f"keys = {[*table.keys]!r}",
        f"columns = {dict(table.columns)!r}",
        "first = [*columns.values()][0]",
        f"label = {table.unit or name!r}",
        f"labels = {[f'{value:.10g}' for value in values] if show else None!r}",
        # Lines of neighbouring colours could not be told apart.
        f"colors = {[*palette[::3], *palette[1::3], *palette[2::3]]!r}",
        f"scale, vary = {_pick(rng, ('Viridis', 'Blues', 'YlOrRd', 'Greens'))!r}, {bool(rng.random() < 0.5)!r}",
    ]
    # Slanted labels would lie in each other's boxes.
    angle = -90 if sum(map(len, table.keys)) > 45 else 0
    layout = (
        f"fig.update_xaxes(tickangle={angle})\n"
        f"fig.update_layout(template={_pick(rng, _TEMPLATES)!r}, title=dict(text={table.title!r}, x=0.5), "
        f"width={int(rng.integers(560, 760))}, height={int(rng.integers(380, 520))}, "
        f"font=dict(family={_pick(rng, ('Arial', 'DejaVu Sans', 'DejaVu Serif', 'Georgia'))!r}, "
        f"size={int(rng.integers(12, 15))}), margin=dict(t=70))\n"
    )
    return "\n".join(lines) + "\n" + _charts("plotly")[kind][1] + layout


def _vega(rng: np.random.Generator, mark: str, table: Table) -> str:
    rows = [
        {table.key: key, "series": name, "value": value}
        for name, values in table.columns.items()
        for key, value in zip(table.keys, values, strict=True)
    ]
    place = {"field": table.key, "type": "nominal", "sort": None}
    amount = {"field": "value", "type": "quantitative", "title": table.unit or "value"}
    spec: dict[str, Any] = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": table.title,
        "background": "white",
        "padding": 20,
        "width": int(rng.integers(300, 520)),
        "height": int(rng.integers(220, 380)),
        "data": {"values": rows},
        "mark": {"type": mark} | ({"innerRadius": 60} if mark == "arc" and rng.random() < 0.5 else {}),
    }
    if mark == "arc":
        spec["encoding"] = {"theta": amount, "color": place}
    elif mark == "rect":
        spec["encoding"] = {"x": {"field": "series", "type": "nominal", "title": None}, "y": place, "color": amount}
    elif mark in ("line", "area") or rng.random() < 0.5:
        spec["encoding"] = {
            "x": place | {"axis": {"labelAngle": -30}},
            "y": amount,
            "color": {"value": _pick(rng, _pick(rng, _PALETTES))},
        }
    else:
        spec["encoding"] = {"y": place, "x": amount, "color": {"value": _pick(rng, _pick(rng, _PALETTES))}}
    return json.dumps(spec, indent=1)
