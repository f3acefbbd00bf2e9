"""Write the tables of scores of the pages, from the reports that are kept in docs/measured.

    python docs/make_scores.py

real_screens.json is report.json in the output folder of `agent eval real-screens`; injection.json has this name in that
of `agent eval injection`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.evaluation.injection import tables as injection
from molmo_agent.evaluation.real_screens_report import sheets_of
from molmo_agent.evaluation.results.sheet import Sheet

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of a page, between two marks.

    Args:
        name: in the marks.
        report: name of the file with the figures.
        page: name of the page.
        blocks: returns what stands between the marks, in Markdown.
    """

    name: str
    report: str
    page: str
    blocks: Callable[[Mapping[str, Any]], list[str]]

    @property
    def start(self) -> str:
        """The mark above the tables."""
        return f"<!-- {self.name}: docs/measured/{self.report} -->"

    @property
    def end(self) -> str:
        """The mark below the tables."""
        return f"<!-- end of {self.name} -->"

    def between(self, page: str) -> str:
        """Return what stands between the marks of a page."""
        return page.partition(self.start)[2].partition(self.end)[0].strip()

    def written(self, page: str, figures: Mapping[str, Any]) -> str:
        """Return a page with the tables of figures.

        Raises:
            ValueError: the page lacks the marks.
        """
        if self.start not in page or self.end not in page:
            raise ValueError(f"expected the marks {self.start} and {self.end} in the page")
        old = re.compile(f"{re.escape(self.start)}.*?{re.escape(self.end)}", re.DOTALL)
        new = "\n\n".join([self.start, *self.blocks(figures), self.end])
        return old.sub(lambda _: new, page)


def _real_screens(figures: Mapping[str, Any]) -> list[str]:
    blocks = []
    for sheet in _titled(sheets_of(figures), "Targets by group", "Absent targets"):
        first = sheet.title if sheet.title == "Targets by group" else f"absent targets, {sheet.columns[0]}"
        blocks.append(_table(sheet, first))
    return blocks


def _injection(figures: Mapping[str, Any]) -> list[str]:
    settings = figures["settings"]
    measured = (
        f"{figures['runs']} runs, seed {settings['seed']}, {settings['repeats']} per variant, in the families "
        f"{', '.join(settings['families'])}; {len(figures['skipped'])} could not be judged."
    )
    sheets = _titled(injection.sheets_of(dict(figures)), "Orders on the screen", "Captured by place of the order")
    return [measured, *(_table(sheet, sheet.columns[0]) for sheet in sheets)]


def _titled(sheets: Iterable[Sheet], *titles: str) -> list[Sheet]:
    return [sheet for sheet in sheets if sheet.title in titles]


def _table(sheet: Sheet, first: str) -> str:
    """Return a table in Markdown, with another head of its first column."""
    rows = [[first, *sheet.columns[1:]], ["---"] * len(sheet.columns), *sheet.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


SCORES = Tables("scores", "real_screens.json", "auto.md", _real_screens)
CAPTURED = Tables("captured", "injection.json", "evaluate.md", _injection)


def main() -> None:
    """Rewrite the pages whose reports are there."""
    for tables in (SCORES, CAPTURED):
        report, path = HERE / "measured" / tables.report, HERE / tables.page
        if report.exists():
            page = path.read_text(encoding="utf-8")
            path.write_text(tables.written(page, json.loads(report.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
