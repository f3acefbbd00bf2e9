"""The documentation shows what can be made again, and names what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_imports import ROOMS

import molmo_agent
from molmo_agent.actions import describe
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.geometry import Point
from molmo_agent.policies.instructions.splitter import split_instruction

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_figure_of_the_model_is_drawn_from_a_real_forward_pass(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "make_model_figure.py", "--out", tmp_path / "x.png"], check=True)
    with Image.open(tmp_path / "x.png") as drawn, Image.open(ROOT / "docs" / "images" / "model.png") as shown:
        assert drawn.size == shown.size
        assert len(drawn.convert("RGB").getcolors(2**24) or ()) > 1000


@pytest.mark.slow
def test_the_pictures_of_the_envs_are_drawn_by_their_script(tmp_path: Path) -> None:
    script = [sys.executable, ROOT / "docs" / "make_env_pictures.py", "--out", tmp_path]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if "MuJoCo cannot draw" in done.stderr or "Chromium" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    shown = sorted((ROOT / "docs" / "images").glob("env_*.png"))
    assert [path.name for path in shown] == sorted(path.name for path in tmp_path.iterdir())
    for path in shown:
        with Image.open(path) as old, Image.open(tmp_path / path.name) as new:
            assert old.size == new.size


# A name in code type that looks like a file or a folder of this repository.
PATH = re.compile(r"`([\w.*-]+(?:/[\w.*-]+)*/?)`")


def paths_named_in(page: Path) -> set[str]:
    """Return what a page names as a file (with an ending) or as a folder (with a slash at the end)."""
    endings = ("/", ".py", ".md", ".yaml", ".yml", ".toml", ".jinja", ".sh", ".json")
    return {name for name in PATH.findall(page.read_text(encoding="utf-8")) if name.endswith(endings)}


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_and_folder_that_a_page_names_exists(name: str) -> None:
    named = paths_named_in(ROOT / name)
    homes = (ROOT, ROOT / "molmo_agent", ROOT / "molmo_agent" / "data" / "readers")
    missing = {path for path in named if not any(any(home.glob(path)) for home in homes)}
    assert len(named) > 10
    assert missing == set()


def test_the_map_has_a_line_for_every_room_in_the_order_of_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Folders")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE) == [*ROOMS[1:]]


CARD = ROOT / "molmo_agent" / "pointers" / "nano_checkpoint" / "README.md"


def table_rows(text: str, columns: int) -> list[list[str]]:
    """Return the cells of every table row of a text that has so many columns."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if len(row) == columns]


def test_the_scores_in_the_readme_are_those_of_the_card() -> None:
    readme, card = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", CARD))
    measured = {name: cells for name, *cells in table_rows(card.partition("### At a glance")[2], 5)}
    shown = [row for row in table_rows(readme, 5) if row[0] in measured and row[0][0] not in "s-"]
    assert len(shown) == 4
    for name, *cells in shown:
        for column, (cell, of_card) in enumerate(zip(cells, measured[name], strict=True)):
            percent, _, _, count = map(float, re.findall(r"[\d.]+", of_card))
            hits = round(percent / 100 * count)
            expected = f"{hits / count:.0%}"[:-1] + " %"
            if column == 0:
                low, high = wilson(hits, int(count))
                expected += f" ({low * 100:.0f} to {high * 100:.0f})"
            assert cell == expected, f"{name}, column {column + 1}: the card has {of_card}"


def test_the_other_figures_of_the_readme_are_those_of_the_card() -> None:
    text, card = (" ".join(path.read_text(encoding="utf-8").split()) for path in (ROOT / "README.md", CARD))
    (parameters,) = re.findall(r"with ([\d,]+) parameters", card)
    assert f"{int(parameters.replace(',', '')) / 1e6:.1f} million parameters" in text
    for tasks in ("trained", "never trained"):
        count, success, low, high = map(
            float, re.findall(rf"\| {tasks} \| all \| (\d+) \| ([\d.]+) % \| ([\d.]+) - ([\d.]+) %", card)[0]
        )
        assert f"{success:.0f} % ({low:.0f} to {high:.0f}) of {count:.0f} episodes" in text
    ((number, error),) = re.findall(r"\| as given \| (\d+) \| ([\d.]+) \|", card)
    assert f"calibration error is {error} on {int(number):,} questions" in text
    refusals = re.findall(
        r"\| nano \| said that there is none \| \d+ \| ([\d.]+) % \| [\d.]+ - [\d.]+ % \| ([\d.]+) %", card
    )
    precisions, recalls = zip(*((float(precision), float(recall)) for precision, recall in refusals), strict=True)
    assert f"it reports {min(recalls):.0f} to {max(recalls):.0f} % as absent" in text
    assert f"{min(precisions):.0f} to {max(precisions):.0f} % are correct" in text
    for size in ("640x480", "1920x1080"):
        (milliseconds,) = re.findall(rf"\| {size} \| 2 \| \d+ \| (\d+) ms", card)
        assert f"{int(milliseconds) / 1000:.1f} s at {size}" in text


def what_is_said() -> list[tuple[str, str]]:
    """Return the examples of the page of instructions with what it says that they do."""
    page = (ROOT / "docs" / "instructions.md").read_text(encoding="utf-8")
    rows = []
    for said, done in re.findall(r"^\| (`.*`) \| (.*) \|$", page, re.MULTILINE):
        examples = re.findall("`(.+?)`", said)
        rows += zip(examples, done.split(", "), strict=True) if len(examples) > 1 else [(examples[0], done)]
    return rows


@pytest.mark.parametrize(("said", "done"), what_is_said())
def test_an_instruction_is_read_as_its_page_says(said: str, done: str) -> None:
    actions = [step.action([Point(0.25, 0.5)] * len(step.targets)) for step in split_instruction(said)]
    place = r" ?(?:at |to )?\(\d\.\d+, \d\.\d+\)"
    assert ", ".join(re.sub(place, "", describe(action)) for action in actions) == done


CITATION = re.compile(r"docs/([\w/]+\.md)(?:#([\w-]+))?")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def texts() -> list[Path]:
    """Return the files in which code, recipes and tests cite pages."""
    folders = [ROOT / name for name in ("molmo_agent", "tests", "examples", "benchmarks", "docs", "deploy")]
    return [path for folder in folders for end in ("py", "yaml", "md") for path in sorted(folder.rglob(f"*.{end}"))]


def test_every_page_and_heading_that_is_cited_exists() -> None:
    cited = {
        (name, anchor, path.relative_to(ROOT).as_posix())
        for path in texts()
        for name, anchor in CITATION.findall(path.read_text(encoding="utf-8"))
    }
    assert len({name for name, _, _ in cited if name.startswith("reference/")}) == 6
    missing = {
        f"{path}: docs/{name}{'#' * bool(anchor)}{anchor}"
        for name, anchor, path in cited
        if not (ROOT / "docs" / name).exists() or (anchor and anchor not in anchors_of(ROOT / "docs" / name))
    }
    assert missing == set()


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    broken = set()
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            name, _, anchor = target.partition("#")
            if not re.match(r"https?:", target):
                goal = (page.parent / name).resolve() if name else page
                if not goal.exists() or (anchor and anchor not in anchors_of(goal)):
                    broken.add(f"{page.relative_to(ROOT)}: {target}")
    assert broken == set()


def test_code_cites_nothing_that_a_reader_does_not_have() -> None:
    private = "molmo-" + "model section", "molmo-" + "data-training-eval"
    assert [path.name for path in texts() if any(name in path.read_text(encoding="utf-8") for name in private)] == []


def test_every_public_name_has_a_place_in_the_api_pages() -> None:
    documented = {
        name
        for page in (ROOT / "docs" / "api").glob("*.md")
        for name in re.findall(r"^::: molmo_agent\.([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    missing = {name for name, module in molmo_agent._EXPORTS.items() if not {module, f"{module}.{name}"} & documented}
    assert missing == set(), "add ::: molmo_agent.MODULE.NAME to a page of docs/api"


@pytest.mark.slow
def test_the_site_builds_without_a_warning() -> None:
    pytest.importorskip("material", reason="the extra docs is not installed; make docs installs it")
    script = [sys.executable, ROOT / "docs" / "make_site.py"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
