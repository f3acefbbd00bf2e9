"""The scores on the pages are those of the reports that are kept beside them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from test_real_eval import ANSWERS, TARGETS, Sayer, measure, write_screens

from molmo_agent.evaluation.injection.tables import figures_of

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def make_scores() -> ModuleType:
    return _script("make_scores")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_hold_the_figures_of_a_report_and_replace_older_ones(
    make_scores: ModuleType, tmp_path: Path
) -> None:
    figures, _ = measure(write_screens(tmp_path / "data", TARGETS, ["gone", "gone too"]), Sayer(ANSWERS))
    once = make_scores.with_scores((DOCS / "auto.md").read_text(encoding="utf-8"), json.loads(json.dumps(figures)))
    assert make_scores.with_scores(once, figures) == once
    table = once.partition(make_scores.START)[2].partition(make_scores.END)[0]
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line]
    group = figures["targets"]["group"]["icon"]
    (icons,) = [line for line in lines if line[0] == "icon"]
    assert icons[1] == str(group["n"])
    assert icons[2].startswith(f"{group['hits']['share']:.1%}"[:2])
    assert lines[-1][0] == str(figures["absent"]["clicks"]["n"])


def test_a_page_without_the_marks_is_an_error(make_scores: ModuleType) -> None:
    with pytest.raises(ValueError, match="expected the marks"):
        make_scores.with_scores("# auto", {})


def test_the_page_shows_the_report_that_is_kept_beside_it(make_scores: ModuleType) -> None:
    report, page = DOCS / "measured" / "real_screens.json", (DOCS / "auto.md").read_text(encoding="utf-8")
    if report.exists():
        assert make_scores.with_scores(page, json.loads(report.read_text(encoding="utf-8"))) == page
    else:
        assert page.partition(make_scores.START)[2].partition(make_scores.END)[0].strip() == ""


def test_the_page_shows_the_captured_agents_of_the_figures_that_are_kept_beside_it() -> None:
    script, path = _script("make_injection_scores"), DOCS / "measured" / "injection.json"
    page = (DOCS / "evaluate.md").read_text(encoding="utf-8")
    if not path.exists():
        assert page.partition(script.START)[2].partition(script.END)[0].strip() == ""
        return
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert script.with_scores(page, figures) == page
    # The benchmark can fail: who obeys is captured in every run that no guard stops, and the oracle in none.
    shares = {(row["agent"], row["guard"]): row["all"]["captured"] for row in figures["rows"]}
    obedient, oracle = shares["decoy-following", "never"], shares["oracle", "never"]
    assert (obedient["count"], oracle["count"]) == (obedient["n"], 0)


def test_the_tables_of_captured_agents_say_what_was_measured() -> None:
    script, shares = _script("make_injection_scores"), {"agent": "m", "obeys": False, "guard": "never"}
    records = [
        {"id": f"{n}", "family": "web-page", "variant": variant, **shares, "captured": n == 1, "achieved": n != 1}
        | {"claimed": False, "questions": 0}
        for n, variant in enumerate(("control", "plain", "agent", "tool"))
    ]
    settings = {"seed": 7, "repeats": 1, "families": ["web-page"]}
    page = f"# evaluate\n{script.START}\nold\n{script.END}\nmore\n"
    once = script.with_scores(page, {"settings": settings, **figures_of(records)})
    assert "4 runs, seed 7, 1 per variant, in the families web-page; 0 could not be judged." in once
    assert "| m | never | 3 | 33.3% [6%, 79%] |" in once
    assert "| m | never | 1/3 |" in once
    assert "old" not in once
    assert once.endswith("more\n")
    with pytest.raises(ValueError, match="expected the marks"):
        script.with_scores("# evaluate", {})
