"""Writes tables, diagrams and other documents by rule: HTML pages and Graphviz programs."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from molmo_agent.pixmo.docs.document import Asked, Document
from molmo_agent.pixmo.docs.questions import plural, questions_about
from molmo_agent.pixmo.docs.table import Query, Table, answer, written

_KINDS = {
    ("tables", "html"): ("data-table", "striped-table", "ruled-table", "schedule"),
    ("diagrams", "graphviz"): ("org-chart", "flow-chart", "tree", "network"),
    ("other", "html"): ("invoice", "receipt", "staff-list", "notice", "menu"),
}
_FONTS = ("Georgia, serif", "Arial, sans-serif", "'DejaVu Sans', sans-serif", "'DejaVu Serif', serif", "monospace")
_COLORS = ("#1d3557", "#6a040f", "#2d6a4f", "#3c096c", "#7f4f24", "#264653", "#333333")


def page_kinds(type_: str, library: str) -> tuple[str, ...]:
    """Return the kinds of documents of a type for a library."""
    return _KINDS.get((type_, library), ())


def write_page(rng: np.random.Generator, type_: str, kind: str, who: str, words: dict[str, Any]) -> Document:
    """Write a table, a diagram or another document of one kind."""
    table = make_table(rng, kind, words)
    library = "graphviz" if type_ == "diagrams" else "html"
    code = _graph(rng, kind, table) if library == "graphviz" else _page(rng, kind, table)
    questions = _about_graph(rng, kind, table) if library == "graphviz" else questions_about(rng, table, exact=True)
    query = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('-', ' ')}: {table.title}"
    return Document(type_, kind, library, query, who, code, table, questions)


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _some(rng: np.random.Generator, options: Any, low: int, high: int) -> tuple[Any, ...]:
    count = int(rng.integers(low, min(high, len(options)) + 1))
    return tuple(options[int(i)] for i in rng.permutation(len(options))[:count])


def _numbers_table(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    name, key, rows, names, unit, low, high = _pick(rng, words["topics"])
    keys = _some(rng, rows, 4, 7)
    decimals = 0 if high - low > 100 else 1
    columns = {c: tuple(round(float(v), decimals) for v in rng.uniform(low, high, len(keys))) for c in names}
    return Table(f"{name[0].upper()}{name[1:]} ({unit})", key, keys, columns, unit)


def _schedule(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = tuple(f"{hour:02d}:{int(rng.integers(0, 4)) * 15:02d}" for hour in range(8, int(rng.integers(13, 17))))
    people, rooms = words["people"], ("Room A", "Room B", "Hall", "Studio")
    columns = {
        "session": _some(rng, words["steps"], len(keys), len(keys)),
        "speaker": tuple(_pick(rng, people) for _ in keys),
        "room": tuple(_pick(rng, rooms) for _ in keys),
    }
    return Table(f"Programme of {_pick(rng, ('Monday', 'Tuesday', 'Friday', 'Saturday'))}", "slot", keys, columns)


def _goods(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = _some(rng, words["goods"], 3, 7)
    quantity = tuple(int(v) for v in rng.integers(1, 25, len(keys)))
    price = tuple(round(float(v), 2) for v in rng.uniform(2, 180, len(keys)))
    amount = tuple(round(q * p, 2) for q, p in zip(quantity, price, strict=True))
    number = int(rng.integers(1000, 9999))
    return Table(f"No. {number}", "item", keys, {"quantity": quantity, "price": price, "amount": amount})


def _receipt(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    table = _goods(rng, words)
    return Table(table.title, table.key, table.keys, {"amount": table.columns["amount"]}, "EUR")


def _staff(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = _some(rng, words["people"], 5, 9)
    columns = {
        "role": tuple(_pick(rng, words["roles"]) for _ in keys),
        "office": tuple(f"{_pick(rng, 'ABC')}{int(rng.integers(100, 420))}" for _ in keys),
        "phone": tuple(str(int(v)) for v in rng.choice(np.arange(2000, 9999), len(keys), replace=False)),
    }
    return Table("Staff directory", "person", keys, columns)


def _notice(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    place = _pick(rng, ("the town hall", "the library", "the east gate", "the school gym"))
    facts = {
        "Event": _pick(rng, ("Flea market", "Night run", "Book fair", "Repair café", "Open choir")),
        "Date": f"{int(rng.integers(1, 29))} {_pick(rng, ('March', 'May', 'June', 'October'))}",
        "Start": f"{int(rng.integers(8, 20))}:{_pick(rng, ('00', '15', '30'))}",
        "Place": place,
        "Contact": _pick(rng, words["people"]),
        "Fee": f"{int(rng.integers(2, 30))} EUR",
    }
    return Table("Notice", "entry", tuple(facts), {"text": tuple(facts.values())})


def _menu(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    dishes = ("Lentil soup", "Grilled trout", "Mushroom pie", "Green curry", "Bean stew", "Plum cake", "Cheese plate")
    keys = _some(rng, dishes, 4, 7)
    return Table(
        "Menu", "dish", keys, {"price": tuple(round(float(v), 1) for v in rng.uniform(4, 28, len(keys)))}, "EUR"
    )


def _tree(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = _some(rng, words["people"], 6, 10)
    above = (
        "nobody",
        *(
            keys[int(rng.integers(max(1, i // 2 + 1))) if i < 4 else int(rng.integers(1, i))]
            for i in range(1, len(keys))
        ),
    )
    return Table("Who reports to whom", "person", keys, {"manager": above})


def _topic_tree(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    topics = [topic for topic in words["topics"] if len(topic[2]) >= 5]
    chosen = [topics[int(i)] for i in rng.permutation(len(topics))[:3]]
    keys, above = ["Archive"], ["nothing"]
    for name, _, rows, *_ in chosen:
        keys.append(name)
        above.append("Archive")
        for row in _some(rng, [row for row in rows if row not in keys], 2, 3):
            keys.append(row)
            above.append(name)
    return Table("Archive", "node", tuple(keys), {"parent": tuple(above)})


def _flow(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = _some(rng, words["steps"], 5, 8)
    return Table("Process", "step", keys, {"next": (*keys[1:], "end")})


def _network(rng: np.random.Generator, words: dict[str, Any]) -> Table:
    keys = _some(rng, sorted(words["places"]), 5, 8)
    # Each is linked to one before it, so that the network is whole.
    to = ("none", *(keys[int(rng.integers(i))] for i in range(1, len(keys))))
    return Table("Cable links", "city", keys, {"linked to": to})


_TABLES: dict[str, Callable[[np.random.Generator, dict[str, Any]], Table]] = {
    "data-table": _numbers_table,
    "striped-table": _numbers_table,
    "ruled-table": _numbers_table,
    "schedule": _schedule,
    "invoice": _goods,
    "receipt": _receipt,
    "staff-list": _staff,
    "notice": _notice,
    "menu": _menu,
    "org-chart": _tree,
    "tree": _topic_tree,
    "flow-chart": _flow,
    "network": _network,
}


def make_table(rng: np.random.Generator, kind: str, words: dict[str, Any]) -> Table:
    """Return the data of a kind."""
    return _TABLES[kind](rng, words)


def _page(rng: np.random.Generator, kind: str, table: Table) -> str:
    font, color = _pick(rng, _FONTS), _pick(rng, _COLORS)
    narrow = kind in ("receipt", "menu", "notice")
    rules = {
        "striped-table": "tr:nth-child(even){background:#eef}",
        "ruled-table": "td,th{border:1px solid #777}",
        "schedule": "td{border-bottom:1px dotted #999}",
        "receipt": "body{font-family:monospace}",
    }.get(kind, "td,th{border-bottom:1px solid #ddd}")
    width, size = 360 if narrow else 680, int(rng.integers(14, 19))
    style = (
        f"body{{font-family:{font};width:{width}px;margin:24px;color:#222;font-size:{size}px}}"
        f"h1{{color:{color};font-size:1.5em}}table{{border-collapse:collapse;width:100%}}"
        f"th{{color:white;background:{color};text-align:left}}td,th{{padding:{int(rng.integers(4, 10))}px}}{rules}"
    )
    heading = {"invoice": f"Invoice {table.title}", "receipt": f"Receipt {table.title}"}.get(kind, table.title)
    body = f"<h1>{html.escape(heading)}</h1>"
    if kind == "invoice":
        body += "<p>Please pay within 30 days. Thank you for your order.</p>"
    body += "<table>"
    if kind not in ("receipt", "menu", "notice"):
        body += (
            f"<tr><th>{html.escape(table.key)}</th>"
            + "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
            + "</tr>"
        )
    for i, key in enumerate(table.keys):
        cells = "".join(f"<td>{html.escape(written(values[i]))}</td>" for values in table.columns.values())
        body += f"<tr><td>{html.escape(key)}</td>{cells}</tr>"
    body += "</table>"
    if kind in ("invoice", "receipt"):
        body += f"<p><b>Total: {html.escape(answer(table, Query('sum', ('amount',))))} EUR</b></p>"
    return f'<!doctype html><html><head><meta charset="utf-8"><style>{style}</style></head><body>{body}</body></html>'


def _graph(rng: np.random.Generator, kind: str, table: Table) -> str:
    column = next(iter(table.columns.values()))
    shape = _pick(rng, ("box", "ellipse", "box", "hexagon") if kind != "org-chart" else ("box",))
    fill, size = _pick(rng, ("#e8f1fa", "#fdf0d5", "#e9f5db", "#f4e8fa", "#ffffff")), int(rng.integers(12, 17))
    lines = [
        f'{"graph" if kind == "network" else "digraph"} {{ pad=0.3; bgcolor="white";',
        f"rankdir={_pick(rng, ('TB', 'LR'))};",
        f'node [shape={shape}, style="filled,rounded", fillcolor="{fill}", color="{_pick(rng, _COLORS)}"];',
        f"node [fontsize={size}];",
    ]
    lines += [f'"{key}";' for key in table.keys]
    for key, other in zip(table.keys, column, strict=True):
        if other in table.keys:
            ends = (key, other) if kind in ("flow-chart", "network") else (other, key)
            lines.append(f'"{ends[0]}" {"--" if kind == "network" else "->"} "{ends[1]}";')
    return "\n".join([*lines, "}"])


def _about_graph(rng: np.random.Generator, kind: str, table: Table) -> tuple[Asked, ...]:
    column, values = next(iter(table.columns.items()))
    asked = [Asked(f"How many {plural(table.key)} are in the diagram?",
                   Query("rows"), str(len(table.keys)))]  # fmt: skip
    for i in rng.permutation(len(table.keys))[:4]:
        key, other = table.keys[int(i)], str(values[int(i)])
        if other not in table.keys:
            continue
        query = Query("value", (column, key))
        count = Query("equal", (column, other))
        if kind == "org-chart":
            asked += [Asked(f"Who is the manager of {key}?", query, answer(table, query))]
            asked += [Asked(f"How many people report to {other}?", count, answer(table, count))]
        elif kind == "tree":
            asked += [Asked(f"What is the parent of {key}?", query, answer(table, query))]
            asked += [Asked(f"How many children does {other} have?", count, answer(table, count))]
        elif kind == "flow-chart":
            before = Query("which", (column, other))
            asked += [Asked(f"Which step follows {key}?", query, answer(table, query))]
            asked += [Asked(f"Which step comes right before {other}?", before, answer(table, before))]
        else:
            links = Query("links", (column, key))
            asked += [Asked(f"How many links does {key} have?", links, answer(table, links))]
    return tuple({item.question: item for item in asked}.values())
