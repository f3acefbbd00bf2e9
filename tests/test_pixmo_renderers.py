"""Plotly, Mermaid and LaTeX: drawn in the sandbox, their texts measured, with what is missing named."""

from pathlib import Path

import numpy as np
import pytest

from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.pixmo.docs import renderers
from molmo_agent.pixmo.docs.browser import mermaid_script
from molmo_agent.pixmo.docs.document import checked
from molmo_agent.pixmo.docs.latex import missing_program
from molmo_agent.pixmo.docs.latex_pages import escaped
from molmo_agent.pixmo.docs.make import RuleWriter
from molmo_agent.pixmo.docs.quality import problem_of
from molmo_agent.pixmo.docs.renderers import check_renderer, render
from molmo_agent.pixmo.docs.rendering import Rendering, Text, trimmed
from molmo_agent.pixmo.docs.rules import kinds
from molmo_agent.sandbox.bubblewrap import check_sandbox


def why_not(library: str) -> str:
    """Return why nothing can be drawn with a library here; empty if it can."""
    try:
        check_sandbox()
        check_renderer(library)
    except UsageError as error:
        return str(error)
    return ""


NEEDS = {
    library: pytest.mark.skipif(bool(why_not(library)), reason=why_not(library) or "it can be drawn with")
    for library in ("plotly", "mermaid", "latex", "html")
}
WRITTEN = (("charts", "plotly"), ("diagrams", "mermaid"), ("tables", "latex"), ("other", "latex"))
PAGE = r"\documentclass{article}\pagestyle{empty}\begin{document}%s\end{document}"


def test_each_library_has_at_least_four_kinds_and_all_their_answers_follow_from_the_data() -> None:
    wrong = []
    for type_, library in WRITTEN:
        names = kinds(type_, library)
        wrong += [f"{library}: only {names}"] if len(names) < 4 else []
        for number, kind in enumerate(names * 8):
            document = RuleWriter().write(number, type_, library, kind)
            right, reasons = checked(document)
            if len(right) < 3 or reasons or document != RuleWriter().write(number, type_, library, kind):
                wrong.append(f"{kind}, seed {number}: {len(right)} questions, {reasons}")
    assert wrong == []


def test_documents_of_one_kind_differ() -> None:
    for type_, library in WRITTEN:
        for kind in kinds(type_, library):
            assert len({RuleWriter().write(number, type_, library, kind).code for number in range(20)}) > 15, kind


def drawn(library: str, code: str) -> Rendering:
    """Draw, and check that there is an image."""
    rendering = render(library, code)
    assert rendering.problem == ""
    assert rendering.image is not None
    return rendering


def words(rendering: Rendering) -> set[str]:
    return {text.text for text in rendering.texts or ()}


@NEEDS["plotly"]
def test_a_plotly_figure_is_drawn_and_its_texts_are_measured() -> None:
    code = "import plotly.graph_objects as go\nfig = go.Figure(go.Bar(x=['oak', 'elm'], y=[3, 5]))\nprint('noise')\n"
    # Text that would end the page's script if it were not escaped.
    rendering = drawn("plotly", code + "fig.update_layout(title='Trees', meta='</script>', width=500, height=400)")
    assert {"oak", "elm", "Trees"} <= words(rendering)
    assert problem_of(rendering) == ""


@NEEDS["plotly"]
def test_a_program_without_a_figure_is_reported() -> None:
    assert "name 'fig' is not defined" in render("plotly", "import plotly.graph_objects as go\n").problem


@NEEDS["plotly"]
def test_plotly_labels_on_top_of_each_other_are_rejected() -> None:
    notes = "".join(f"fig.add_annotation(x=1, y=1, text='label {n}', showarrow=False)\n" for n in range(2))
    code = f"import plotly.graph_objects as go\nfig = go.Figure(go.Scatter(x=[0, 2], y=[0, 2]))\n{notes}"
    assert problem_of(render("plotly", code)).startswith("overlapping: 'label")


@NEEDS["mermaid"]
def test_a_mermaid_diagram_is_drawn_and_its_texts_are_measured() -> None:
    rendering = drawn("mermaid", 'flowchart LR\n  a["Weigh & pack"] --> b["Send <now>"]\n')
    assert "Weigh & pack" in words(rendering)
    assert problem_of(rendering) == ""
    # Only the diagram is left of the page.
    assert rendering.image is not None
    assert rendering.image.shape[0] < 300


@NEEDS["mermaid"]
def test_a_mermaid_diagram_with_an_error_in_it_is_reported() -> None:
    problem = render("mermaid", "flowchart LR\n  a[unclosed --> b\n").problem
    # The parser's own words, which are not of this project, follow.
    assert problem.startswith("it failed with code 3: ")
    assert "SQE" in problem


@NEEDS["latex"]
def test_a_latex_document_is_drawn_and_its_words_are_measured() -> None:
    rendering = drawn("latex", PAGE % r"\section*{Notes}Price of \emph{oats} \& rye: 12.5\,\%")
    assert {"Price", "oats", "&"} <= words(rendering)
    assert problem_of(rendering) == ""
    assert all(8 < text.font_px < 30 for text in rendering.texts or ())


@NEEDS["latex"]
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (r"\undefinedcommand", "it failed with code 3: ! Undefined control sequence."),
        (r"one\newpage two", "clipped: it has 2 pages, expected 1"),
        (r"one\newpage two\newpage three", "clipped: it has 3 pages, expected 1"),
        (r"\input{/etc/shadow}", "it failed with code 3: ! "),
    ],
)
def test_a_latex_document_that_fails_or_has_more_pages_is_reported(body: str, problem: str) -> None:
    assert render("latex", PAGE % body).problem.startswith(problem)


@NEEDS["latex"]
def test_a_latex_document_starts_no_program() -> None:
    body = r"\immediate\write18{echo escaped > shell.txt}\IfFileExists{shell.txt}{escaped}{stayed}"
    assert words(drawn("latex", PAGE % body)) == {"stayed"}


@NEEDS["latex"]
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (r"\mbox{" + "wide words " * 20 + "}", r"it failed with code 3: clipped: Overfull \hbox ("),
        (r"a\mbox{price list}\hspace{-1.6cm}\mbox{price item}", "overlapping: "),
        (r"\fontsize{3}{4}\selectfont small print that nobody reads", "unreadable: 'small' is"),
    ],
)
def test_a_latex_document_that_cannot_be_read_is_rejected(body: str, problem: str) -> None:
    heading = r"\section*{A heading}"
    assert problem_of(render("latex", PAGE % (heading + body))).startswith(problem)


@NEEDS["html"]
def test_texts_of_a_page_are_measured() -> None:
    body = "<p style='position:absolute;left:%dpx;top:20px;margin:0'>%s</p>"
    page = "<!doctype html><body><br><br><br><br><h1>A heading</h1>"
    page += body % (20, "first words") + body % (30, "second words")
    assert problem_of(render("html", page)).startswith("overlapping: 'first words' and 'second words'")


def test_special_characters_are_shown_as_they_are() -> None:
    cases = {
        "50 % & more": r"50 \% \& more",
        "a_b^c": r"a\_b\textasciicircum{}c",
        "{x}~#$": r"\{x\}\textasciitilde{}\#\$",
    }
    assert {text: escaped(text) for text in cases} == cases
    assert escaped("\\") == r"\textbackslash{}"


def test_empty_space_around_a_document_is_cut_off_and_the_texts_move_with_it() -> None:
    image = np.full((300, 400, 3), 255, np.uint8)
    image[100:150, 200:260] = 0
    one = trimmed(Rendering(image, (Text("word", (205, 110, 250, 130), 14),), ""))
    assert one.image is not None
    assert one.image.shape == (50 + 2 * 16, 60 + 2 * 16, 3)
    assert one.texts == (Text("word", (21, 26, 66, 46), 14),)
    # What is cut off at an edge still reaches it, and an empty image stays as it is.
    image[:, :10] = 0
    at_edge = trimmed(Rendering(image, None, "")).image
    assert at_edge is not None
    assert at_edge.shape == (300, 276, 3)
    empty = Rendering(np.full((50, 60, 3), 255, np.uint8), (), "")
    assert trimmed(empty) == empty
    failed = Rendering(None, None, "no")
    assert trimmed(failed) == failed


def test_a_library_that_is_not_installed_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderers, "plotly_script", lambda: None)
    with pytest.raises(MissingExtraError, match=r"drawing with plotly needs the extra 'pixmo'"):
        check_renderer("plotly")
    monkeypatch.setattr(renderers, "browser", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(renderers, "mermaid_script", lambda: None)
    with pytest.raises(
        UsageError, match=r"expected Mermaid among npm's global packages .*npm install --global mermaid"
    ):
        check_renderer("mermaid")
    monkeypatch.setattr(renderers, "missing_program", lambda: "pdftoppm")
    with pytest.raises(
        UsageError, match=r"expected pdftoppm on PATH .*apt-get install texlive-latex-base poppler-utils"
    ):
        check_renderer("latex")
    monkeypatch.setattr(renderers, "browser", lambda: None)
    for library in ("html", "mermaid"):
        with pytest.raises(UsageError, match="expected chromium on PATH"):
            check_renderer(library)


def test_mermaid_is_looked_for_where_npm_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$*" = "root --global" ] && echo {tmp_path}/lib\n')
    npm.chmod(0o755)
    script = tmp_path / "lib" / "mermaid" / "dist" / "mermaid.min.js"
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        mermaid_script.cache_clear()
        assert mermaid_script() is None
        script.parent.mkdir(parents=True)
        script.write_text("")
        mermaid_script.cache_clear()
        assert mermaid_script() == script
        npm.unlink()
        mermaid_script.cache_clear()
        assert mermaid_script() is None
    finally:
        mermaid_script.cache_clear()


def test_the_programs_of_latex_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molmo_agent.pixmo.docs.latex.shutil.which", lambda name: None if name == "pdftotext" else name)
    assert missing_program() == "pdftotext"
    monkeypatch.setattr("molmo_agent.pixmo.docs.latex.shutil.which", lambda name: name)
    assert missing_program() is None
