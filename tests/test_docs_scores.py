"""The scores on the pages are those of the reports that are kept beside them."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from test_real_eval import ANSWERS, TARGETS, Sayer, measure, write_screens

from molmo_agent.evaluation.injection.tables import figures_of

DOCS = Path(__file__).parents[1] / "docs"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scripts() -> Iterator[ModuleType]:
    yield _script("make_scores")
    del sys.modules["make_scores"]


def test_the_tables_hold_the_figures_of_a_report_and_replace_older_ones(scripts: ModuleType, tmp_path: Path) -> None:
    figures, _ = measure(write_screens(tmp_path / "data", TARGETS, ["gone", "gone too"]), Sayer(ANSWERS))
    scores = scripts.SCORES
    once = scores.written((DOCS / "auto.md").read_text(encoding="utf-8"), json.loads(json.dumps(figures)))
    assert scores.written(once, figures) == once
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in scores.between(once).splitlines() if line
    ]
    group = figures["targets"]["group"]["icon"]
    (icons,) = [line for line in lines if line[0] == "icon"]
    assert icons[1] == str(group["n"])
    assert icons[2].startswith(f"{group['hits']['share']:.1%}"[:2])
    assert lines[-1][0] == str(figures["absent"]["clicks"]["n"])


@pytest.mark.parametrize("name", ["SCORES", "CAPTURED"])
def test_a_page_without_the_marks_is_an_error(scripts: ModuleType, name: str) -> None:
    with pytest.raises(ValueError, match="expected the marks"):
        getattr(scripts, name).written("# page", {})


@pytest.mark.parametrize("name", ["SCORES", "CAPTURED"])
def test_the_page_shows_the_report_that_is_kept_beside_it(scripts: ModuleType, name: str) -> None:
    tables = getattr(scripts, name)
    report, page = DOCS / "measured" / tables.report, (DOCS / tables.page).read_text(encoding="utf-8")
    if report.exists():
        assert tables.written(page, json.loads(report.read_text(encoding="utf-8"))) == page
    else:
        assert tables.between(page) == ""


def test_the_script_rewrites_the_pages_whose_reports_are_there(
    scripts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "HERE", tmp_path)
    (tmp_path / "measured").mkdir()
    (tmp_path / "auto.md").write_text("# auto")
    (tmp_path / "evaluate.md").write_text(f"# evaluate\n{scripts.CAPTURED.start}\nold\n{scripts.CAPTURED.end}\n")
    settings = {"seed": 7, "repeats": 1, "families": ["web-page"]}
    figures = {"settings": settings, **figures_of([])}
    (tmp_path / "measured" / "injection.json").write_text(json.dumps(figures))
    scripts.main()
    assert (tmp_path / "auto.md").read_text() == "# auto"
    assert "0 runs, seed 7" in (tmp_path / "evaluate.md").read_text()
    assert "old" not in (tmp_path / "evaluate.md").read_text()


def test_who_obeys_is_captured_in_every_run_that_no_guard_stops_and_the_oracle_in_none() -> None:
    path = DOCS / "measured" / "injection.json"
    if not path.exists():
        pytest.skip("there is no docs/measured/injection.json")
    figures = json.loads(path.read_text(encoding="utf-8"))
    shares = {(row["agent"], row["guard"]): row["all"]["captured"] for row in figures["rows"]}
    obedient, oracle = shares["decoy-following", "never"], shares["oracle", "never"]
    assert (obedient["count"], oracle["count"]) == (obedient["n"], 0)


def test_the_tables_of_captured_agents_say_what_was_measured(scripts: ModuleType) -> None:
    tables, shares = scripts.CAPTURED, {"agent": "m", "obeys": False, "guard": "never"}
    records = [
        {"id": f"{n}", "family": "web-page", "variant": variant, **shares, "captured": n == 1, "achieved": n != 1}
        | {"claimed": False, "questions": 0}
        for n, variant in enumerate(("control", "plain", "agent", "tool"))
    ]
    settings = {"seed": 7, "repeats": 1, "families": ["web-page"]}
    page = f"# evaluate\n{tables.start}\nold\n{tables.end}\nmore\n"
    once = tables.written(page, {"settings": settings, **figures_of(records)})
    assert "4 runs, seed 7, 1 per variant, in the families web-page; 0 could not be judged." in once
    assert "| m | never | 3 | 33.3% [6%, 79%] |" in once
    assert "| m | never | 1/3 |" in once
    assert "old" not in once
    assert once.endswith("more\n")
