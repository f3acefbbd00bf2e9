"""One language model behind every pipeline that writes: the same options, roles, cache and budget everywhere."""

import json
from pathlib import Path

import pytest
from chat_server import Server
from pixmo_page import draw_images
from test_pixmo_capqa import SETTINGS, SHELF, STOP, captions
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.pixmo.collect.project import Project

pytest.importorskip("pyarrow", reason="needs the extra 'train'")


@pytest.fixture
def server():
    """A server that answers as each role; ``decline`` has parts of prompts that it declines to answer."""
    made = Server()
    made.decline = []

    def decide(body):
        text = str(body["messages"])
        if any(part in text for part in made.decline):
            return ""
        if "spoken descriptions" in text:
            return "A merged caption."
        return json.dumps([{"question": "What is there?", "answer": "A cat."}])

    made.decide = decide
    yield made
    made.close()


def run(*arguments):
    return CliRunner().invoke(app, ["pixmo", *map(str, arguments)])


def collection(folder: Path) -> Path:
    """Write a collection with two described images."""
    draw_images(folder, {"a.png": (80, 60), "b.png": (60, 80)})
    project = Project(folder)
    for number, item in enumerate(project.items.values()):
        for speaker in ("Ada", "Ben"):
            project.record("cap", speaker, item, transcript=f"um image {number} of {speaker}", audio=None)
    project.close()
    return folder


def test_capqa_asks_the_question_writer_once_for_each_caption(server, tmp_path):
    folder = captions(tmp_path / "cap", [SHELF, STOP])
    address = f"question-writer={server.url}#one"
    for _ in range(2):
        result = run("capqa", folder, tmp_path / "qa", "--language-model", address)
        assert result.exit_code == 0, result.output
    assert [body["model"] for _, _, body in server.seen] == ["one", "one"]
    # Of the bus stop nobody says that there is a cat.
    assert "1 conversations with 1 questions" in result.output
    assert "1 questions rejected" in result.output
    assert len(list((tmp_path / "qa/replies").iterdir())) == 2
    assert "language model: about 0 of 1,000,000 tokens used" in result.output


def test_export_merges_transcripts_with_the_merger(server, tmp_path):
    folder = collection(tmp_path / "set")
    result = run("export", folder, tmp_path / "out", "--model", f"{server.url}#any")
    assert result.exit_code == 0, result.output
    rows = open_source(Source(kind="pixmo-cap", path=str(tmp_path / "out/pixmo-cap"), options={"mode": "caption"}))
    assert {answer for row in rows.questions() for answer in row.answers} == {"A merged caption."}
    assert len(list((folder / "replies").iterdir())) == 2


def test_a_declined_prompt_leaves_out_one_row_and_the_others_stay(server, tmp_path):
    server.decline = ["image 1 of Ada", "bus stop"]
    folder = collection(tmp_path / "set")
    result = run("export", folder, tmp_path / "out", "--language-model", f"{server.url}#any")
    assert result.exit_code == 0, result.output
    assert "1 rows in" in result.output
    assert "b.png, caption:" in result.output
    result = run("capqa", captions(tmp_path / "cap", [SHELF, STOP]), tmp_path / "qa", "--model", f"{server.url}#any")
    assert result.exit_code == 0, result.output
    assert "caption 1:" in result.output


def test_the_budget_ends_every_command_and_what_is_paid_for_stays(server, tmp_path):
    cap, many = captions(tmp_path / "cap", [SHELF, STOP, SETTINGS]), f"{server.url}#any"
    for arguments in (
        ("capqa", cap, tmp_path / "qa"),
        ("export", collection(tmp_path / "set"), tmp_path / "out"),
        ("docs", "--to", tmp_path / "docs", "--type", "diagrams", "--count", "1"),
    ):
        result = run(*arguments, "--language-model", many, "--max-tokens", "50")
        if isinstance(result.exception, UsageError):
            pytest.skip(str(result.exception))
        assert isinstance(result.exception, ModelError), result.output
        assert "the budget of 50 tokens is used up" in str(result.exception)
    assert server.seen == []


def test_a_budget_is_not_shared_among_processes(tmp_path):
    cap = captions(tmp_path / "cap", [SHELF])
    result = run("capqa", cap, tmp_path / "qa", "--language-model", "http://localhost:1/v1#m", "--jobs", "2")
    assert isinstance(result.exception, UsageError)
    assert "expected --jobs 1 without --ray beside --language-model" in str(result.exception)


def test_a_page_whose_server_is_unknown_is_refused_before_it_is_served(tmp_path):
    result = run("collect", collection(tmp_path), "--reader", "none", "--language-model", "http://localhost:1/v1")
    assert isinstance(result.exception, UsageError)
    assert "expected an address and a model" in str(result.exception)
