"""Write the table of scores of docs/auto.md, from the report of a run on screens of real programs.

    python docs/make_scores.py [--report docs/measured/real_screens.json] [--page docs/auto.md]

The report is report.json in the output folder of `agent eval real-screens`.
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_agent.evaluation.real_screens_report import sheets_of

HERE = Path(__file__).parent
START, END = "<!-- scores: docs/measured/real_screens.json -->", "<!-- end of scores -->"
_TITLES = ("Targets by group", "Absent targets")


def tables(figures: Mapping[str, Any]) -> str:
    """Return the tables of a report that the page shows, in Markdown."""
    blocks = []
    for sheet in sheets_of(figures):
        if sheet.title in _TITLES:
            columns = list(sheet.columns)
            columns[0] = sheet.title if sheet.title == _TITLES[0] else f"absent targets, {columns[0]}"
            rows = [columns, ["---"] * len(columns), *sheet.rows]
            blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(blocks)


def with_scores(page: str, figures: Mapping[str, Any]) -> str:
    """Return a page with the tables between its two marks."""
    if START not in page or END not in page:
        raise ValueError(f"expected the marks {START} and {END} in the page")
    between = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    return between.sub(lambda _: f"{START}\n\n{tables(figures)}\n\n{END}", page)


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=HERE / "measured" / "real_screens.json")
    parser.add_argument("--page", type=Path, default=HERE / "auto.md")
    arguments = parser.parse_args()
    figures = json.loads(arguments.report.read_text(encoding="utf-8"))
    page = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(with_scores(page, figures), encoding="utf-8")


if __name__ == "__main__":
    main()
