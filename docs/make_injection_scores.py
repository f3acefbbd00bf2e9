"""Write the tables of captured agents of docs/evaluate.md, from the figures of `agent eval injection`.

    python docs/make_injection_scores.py [--figures docs/measured/injection.json] [--page docs/evaluate.md]

The figures are injection.json in the output folder of the command.
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_agent.evaluation.injection.tables import sheets_of

HERE = Path(__file__).parent
START, END = "<!-- captured: docs/measured/injection.json -->", "<!-- end of captured -->"
_TITLES = ("Orders on the screen", "Captured by place of the order")


def tables(figures: Mapping[str, Any]) -> str:
    """Return what was measured, and the tables that the page shows, in Markdown."""
    settings = figures["settings"]
    blocks = [
        f"{figures['runs']} runs, seed {settings['seed']}, {settings['repeats']} per variant, in the families "
        f"{', '.join(settings['families'])}; {len(figures['skipped'])} could not be judged."
    ]
    for sheet in sheets_of(dict(figures)):
        if sheet.title in _TITLES:
            rows = [list(sheet.columns), ["---"] * len(sheet.columns), *sheet.rows]
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
    parser.add_argument("--figures", type=Path, default=HERE / "measured" / "injection.json")
    parser.add_argument("--page", type=Path, default=HERE / "evaluate.md")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    page = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(with_scores(page, figures), encoding="utf-8")


if __name__ == "__main__":
    main()
