"""Writes tables and other documents in LaTeX by rule, with the packages of a basic installation."""

from typing import Any

import numpy as np

from molmo_agent.pixmo.docs.document import Document
from molmo_agent.pixmo.docs.pages import make_table
from molmo_agent.pixmo.docs.questions import plural, questions_about
from molmo_agent.pixmo.docs.table import Query, Table, answer, written

# Kinds by type, each with the data that it shows.
_KINDS = {
    "tables": {
        "latex-lined-table": "data-table",
        "latex-boxed-table": "data-table",
        "latex-striped-table": "data-table",
        "latex-programme": "schedule",
    },
    "other": {
        "latex-report": "data-table",
        "latex-bill": "invoice",
        "latex-list-of-staff": "staff-list",
        "latex-price-list": "menu",
        "latex-announcement": "notice",
    },
}
_FONTS = (r"\rmdefault", r"\sfdefault", r"\rmdefault", r"\ttdefault")
_COLORS = ("0.11,0.21,0.34", "0.42,0.02,0.06", "0.18,0.42,0.31", "0.24,0.03,0.42", "0.2,0.2,0.2")
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    letter: f"\\{letter}" for letter in "#$%&_{}"
}


def latex_kinds(type_: str) -> tuple[str, ...]:
    """Return the kinds of documents of a type."""
    return tuple(_KINDS.get(type_, ()))


def write_latex(rng: np.random.Generator, type_: str, kind: str, who: str, words: dict[str, Any]) -> Document:
    """Write a document of one kind, the same for the same state of ``rng``."""
    table = make_table(rng, _KINDS[type_][kind], words)
    code = _preamble(rng) + _BODIES.get(kind, _plain)(rng, kind, table) + "\\end{document}\n"
    name = kind.removeprefix("latex-").replace("-", " ")
    questions = questions_about(rng, table, exact=True)
    return Document(type_, kind, "latex", f"a {name}: {table.title}", who, code, table, questions)


def escaped(text: str) -> str:
    """Return a text as LaTeX shows it."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _preamble(rng: np.random.Generator) -> str:
    return "\n".join(
        (
            rf"\documentclass[{_pick(rng, ('10pt', '11pt', '12pt'))}]{{article}}",
            # The T1 fonts would be another 60 MB.
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[paperwidth=17cm,paperheight=24cm,margin=1.6cm]{geometry}",
            r"\usepackage{array}\usepackage{color}\usepackage{colortbl}",
            rf"\definecolor{{tone}}{{rgb}}{{{_pick(rng, _COLORS)}}}\definecolor{{pale}}{{rgb}}{{0.92,0.94,0.98}}",
            rf"\renewcommand{{\familydefault}}{{{_pick(rng, _FONTS)}}}",
            rf"\renewcommand{{\arraystretch}}{{{_pick(rng, (1.1, 1.25, 1.4))}}}",
            r"\pagestyle{empty}\setlength{\parindent}{0pt}",
            "\\begin{document}\n",
        )
    )


def _rows(table: Table) -> list[list[str]]:
    return [
        [escaped(key), *(escaped(written(values[i])) for values in table.columns.values())]
        for i, key in enumerate(table.keys)
    ]


def _head(table: Table) -> list[str]:
    return [escaped(name) for name in (table.key, *table.columns)]


def _tabular(table: Table, style: str) -> str:
    """Return a table: lined, boxed or striped."""
    texts = [isinstance(values[0], str) for values in table.columns.values()]
    aligned = ["l", *("l" if text else "r" for text in texts)]
    bar, rule = ("|", "\\hline\n") if style == "boxed" else ("", "")
    lines = [f"\\begin{{tabular}}{{{bar}{bar.join(aligned)}{bar}}}", "\\hline"]
    if style == "striped":
        bold = [rf"\textcolor{{white}}{{\textbf{{{name}}}}}" for name in _head(table)]
        lines.append(r"\rowcolor{tone}" + " & ".join(bold) + r" \\")
    else:
        lines += [" & ".join(rf"\textbf{{{name}}}" for name in _head(table)) + r" \\", "\\hline"]
    for number, row in enumerate(_rows(table)):
        stripe = r"\rowcolor{pale}" if style == "striped" and number % 2 else ""
        lines.append(stripe + " & ".join(row) + r" \\" + rule)
    return "\n".join([*lines, "" if style == "boxed" else "\\hline", "\\end{tabular}\n"])


def _plain(rng: np.random.Generator, kind: str, table: Table) -> str:
    style = {"latex-boxed-table": "boxed", "latex-striped-table": "striped"}.get(kind, "lined")
    title = escaped(table.title)
    heading = rf"{{\large\bfseries\textcolor{{tone}}{{{title}}}}}\par\bigskip"
    body = _tabular(table, style)
    if rng.random() < 0.5:
        return f"\\begin{{center}}\n{heading}\n{body}\\end{{center}}\n"
    return f"{heading}\n{body}"


def _report(rng: np.random.Generator, kind: str, table: Table) -> str:
    what = escaped(plural(table.key))
    opening = _pick(
        rng,
        (
            f"This report compares {len(table.keys)} {what}. All numbers are given in {escaped(table.unit)}.",
            f"We measured {len(table.keys)} {what} over the period. The unit is {escaped(table.unit)}.",
            f"The table below lists the {what} that were studied. Figures are in {escaped(table.unit)}.",
        ),
    )
    name = next(iter(table.columns))
    total = escaped(answer(table, Query("sum", (name,))))
    closing = f"Over all {what}, the figures for {escaped(name)} add up to {total}."
    return (
        rf"\section*{{{escaped(table.title)}}}" + f"\n{opening}\n\n\\bigskip\n{_tabular(table, 'lined')}\n"
        f"\\bigskip\n{closing}\n"
    )


def _bill(rng: np.random.Generator, kind: str, table: Table) -> str:
    total = escaped(answer(table, Query("sum", ("amount",))))
    greeting = _pick(rng, ("Thank you for your order.", "Please pay within 30 days.", "Goods remain ours until paid."))
    return (
        rf"{{\Large\bfseries\textcolor{{tone}}{{Invoice {escaped(table.title)}}}}}\par\medskip"
        f"\n{greeting}\\par\\bigskip\n{_tabular(table, _pick(rng, ('lined', 'boxed', 'striped')))}"
        rf"\par\medskip\textbf{{Total: {total} EUR}}" + "\n"
    )


def _price_list(rng: np.random.Generator, kind: str, table: Table) -> str:
    lines = [rf"{key} \dotfill\ {price} {escaped(table.unit)}\par\smallskip" for key, price in _rows(table)]
    heading = rf"\centerline{{\Large\bfseries\textcolor{{tone}}{{{escaped(table.title)}}}}}\bigskip"
    width = _pick(rng, ("8cm", "10cm", "12cm"))
    return f"\\begin{{minipage}}{{{width}}}\n{heading}\n\n" + "\n".join(lines) + "\n\\end{minipage}\n"


def _announcement(rng: np.random.Generator, kind: str, table: Table) -> str:
    items = [rf"\item[{key}] {text}" for key, text in _rows(table)]
    heading = rf"\section*{{{escaped(table.title)}}}"
    return f"{heading}\n\\begin{{description}}\n" + "\n".join(items) + "\n\\end{description}\n"


_BODIES = {
    "latex-report": _report,
    "latex-bill": _bill,
    "latex-price-list": _price_list,
    "latex-announcement": _announcement,
}
