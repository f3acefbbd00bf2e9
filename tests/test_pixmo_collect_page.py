"""The page of a collection in a real Chromium: points, undo, zoom, keys, two annotators, a restart, the export."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from desktop_screen import needs, wait_for
from pixmo_page import Collecting, Page, draw_images

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.envs.web import browser as browser_module
from molmo_agent.envs.web.browser import Browser
from molmo_agent.pixmo.collect.export import export_project

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = [pytest.mark.slow, pytest.mark.dependencies, needs("chromium", "chromedriver")]


@pytest.fixture(scope="module")
def page():
    """Return a browser for all tests, with a microphone that beeps."""
    flags = browser_module._FLAGS
    browser_module._FLAGS = (*flags, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    browser = Browser(1200, 760, scale=1)
    try:
        browser.start(120)
        yield Page(browser)
    finally:
        browser.close()
        browser_module._FLAGS = flags


@pytest.fixture
def collecting():
    """Return what starts the command; whatever still runs at the end is stopped."""
    started = []

    def start(*arguments):
        started.append(Collecting(*arguments))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


def questions_of(kind, path, **options):
    """Return a data set as the readers of the package read it."""
    return list(open_source(Source(kind=kind, path=str(path), options=options)).questions())


def export(folder, out):
    """Export a collection, and return what stayed out."""
    return export_project(folder, out, method="pointing", least=1, report=pytest.fail).left_out


def test_points_of_two_annotators_survive_a_kill_and_are_read_back(page, collecting, tmp_path):
    draw_images(tmp_path, {"shelf.png": (800, 600), "doors/wide door.jpg": (1600, 500), "tall.png": (300, 900)})
    server = collecting(tmp_path, "--reader", "none")
    page.enter(server.address, "Ada")
    page.open_image("shelf.png")
    page.name("red discs\n")
    for x in (0.15, 0.35, 0.55, 0.75):
        page.point(x, 0.367)
    page.browser.press(["ctrl", "z"])
    assert page.points() == 3
    page.browser.press(["ctrl", "z"])
    page.browser.press(["ctrl", "shift", "z"])
    assert page.points() == 3
    # A point set while zoomed in lands on the same place of the image.
    page.point(0.55, 0.367, button="right")
    assert page.points() == 2
    page.browser.scroll(*page.spot(0.55, 0.367), 0, -300)
    wait_for(lambda: page.text("zoom-level") != "100\u00a0%", "the zoom")
    page.point(0.55, 0.367)
    page.browser.press(["0"])
    assert page.text("zoom-level") == "100\u00a0%"
    page.browser.press(["ctrl", "enter"])
    page.wait_for_message("Saved red discs: 3.")
    page.name("a cat\n")
    page.browser.press(["x"])
    page.wait_for_message("Saved a cat: not there.")
    # By keyboard alone: the crosshair starts in the middle.
    page.browser.press(["pagedown"])
    wait_for(lambda: page.text("name") == "tall.png", "the next image")
    page.wait_ready()
    page.name("the middle\n")
    page.browser.press(["enter"])
    page.browser.press(["enter"])
    assert page.points() == 1
    page.browser.press(["ctrl", "enter"])
    page.wait_for_message("Saved the middle: 1.")

    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with (tmp_path / "annotations.jsonl").open("a") as log:
        log.write('{"task": "points", "annot')
    server = collecting(tmp_path, "--reader", "none")
    assert "is cut off and was dropped" in (tmp_path / "errors.txt").read_text()
    page.enter(server.address, "Ben")
    page.open_image("shelf.png")
    assert "red discs" in page.text("panel")
    assert page.points() == 0, "the second annotator sees no points of the first"
    page.press("#panel ul.names li button")
    wait_for(lambda: page.browser.script("return document.getElementById('label').value") == "a cat", "the name")
    page.point(0.2, 0.75)
    page.browser.press(["ctrl", "enter"])
    page.wait_for_message("Saved a cat: 1.")
    assert "Disputed: settle" in page.text("panel")
    page.name("Red  discs\n")
    for x in (0.545, 0.155, 0.352):
        page.point(x, 0.36)
    page.browser.press(["ctrl", "enter"])
    page.wait_for_message("discs: 3.")
    assert "agreed" in page.text("panel")
    assert server.stop() == 130

    assert export(tmp_path, tmp_path / "out") == ["shelf.png, 'a cat': Ada and Ben disagree; settle it"]
    questions = {q.text: q for q in questions_of("pixmo-points", tmp_path / "out/pixmo-points")}
    assert set(questions) == {"red discs", "the middle"}
    found = sorted((p.x, p.y) for p in questions["red discs"].points)
    np.testing.assert_allclose(found, [(0.15, 0.365), (0.35, 0.365), (0.55, 0.365)], atol=0.01)

    server = collecting(tmp_path, "--reader", "none")
    page.enter(server.address, "Cleo")
    page.open_image("shelf.png")
    page.press("#panel ul.names li button")
    wait_for(lambda: "take these" in page.text("panel"), "the sides of the dispute")
    page.press("#legend div button")
    page.wait_for_message("Saved a cat: not there.")
    assert "Disputed" not in page.text("panel")
    server.stop()
    export(tmp_path, tmp_path / "out")
    questions = {q.text: q for q in questions_of("pixmo-points", tmp_path / "out/pixmo-points")}
    assert questions["a cat"].points == ()


def test_proposed_counts_are_verified_and_only_those_are_held_out(page, collecting, tmp_path):
    for n in range(9):
        draw_images(tmp_path / f"more{n}", {"a.png": (500 + 10 * n, 400)})
    command = [sys.executable, "-m", "molmo_agent", "pixmo", "count", str(tmp_path), str(tmp_path / "set")]
    done = subprocess.run([*command, "--per-count", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "validation: 1 images; 3: 1" in done.stdout
    server = collecting(tmp_path / "set", "--reader", "none")
    page.enter(server.address, "Ada")
    page.press("#tab-count")
    to_verify = "return document.querySelectorAll('#images .badge.todo').length"
    wait_for(lambda: page.browser.script(to_verify) == 2, "two images to verify")
    for left in (2, 1):
        page.press("#images button:has(.badge.todo)")
        # The image before has points too.
        wait_for(lambda: page.points() >= 3 and "Nobody verified" in page.text("panel"), "the points of the detector")
        page.press("#save")
        wait_for(lambda left=left: page.browser.script(to_verify) == left - 1, "one image less")
    page.point(0.8, 0.8)
    page.press("#save")
    page.wait_for_message("Verified red shape: 4.")
    server.stop()
    export(tmp_path / "set", tmp_path / "out")
    for split, number in (("train", 7), ("validation", 1), ("test", 1)):
        rows = questions_of("pixmo-count", tmp_path / "out/pixmo-count", split=split)
        assert len(rows) == number, split
        assert all(row.text == "red shape" for row in rows)
    held_out = [questions_of("pixmo-count", tmp_path / "out/pixmo-count", split=s) for s in ("validation", "test")]
    assert sorted(row.extra["count"] for rows in held_out for row in rows) == [3, 4]


def test_a_recording_and_a_question_become_data(page, collecting, tmp_path):
    draw_images(tmp_path, {"shelf.png": (800, 600)})
    server = collecting(tmp_path, "--reader", "none", "--least-seconds", "1")
    page.enter(server.address, "Ada")
    page.press("#tab-speak")
    wait_for(lambda: "How many" in page.text("panel") or "how many" in page.text("panel"), "the questions")
    page.press("#record")
    wait_for(lambda: page.text("timer") in ("2 s", "3 s", "4 s"), "two seconds")
    page.press("#record")
    page.wait_for_message("Write down what you said")
    page.browser.type("There are um three red discs on the on the wall. A blue bar is below them.")
    page.press("#save")
    page.wait_for_message("Saved the description.")
    page.press("#tab-ask")
    wait_for(lambda: page.browser.script("return document.getElementById('question') !== null"), "the question")
    page.browser.script("document.getElementById('question').focus()")
    page.browser.type("What is on the wall?")
    page.press("#send")
    page.wait_for_message("Is this right?")
    assert page.text("answer") == "There are three red discs on the wall."
    page.browser.script("document.getElementById('issue').focus()")
    page.browser.type("it is about the bar")
    page.press("#reject")
    wait_for(lambda: "blue bar" in page.text("answer"), "the other answer")
    page.press("#accept")
    page.wait_for_message("Saved question and answer.")
    server.stop()
    export(tmp_path, tmp_path / "out")
    (caption, said) = questions_of("pixmo-cap", tmp_path / "out/pixmo-cap")
    assert caption.answers == ("There are three red discs on the wall. A blue bar is below them.",)
    assert "um three" in said.answers[0]
    receipt = (tmp_path / "out/pixmo-cap/receipts.jsonl").read_text()
    (recording,) = (tmp_path / "audio").iterdir()
    assert recording.stem in receipt
    (question,) = questions_of("pixmo-ask-model-anything", tmp_path / "out/pixmo-ask-model-anything")
    assert question.answers == ("A blue bar is below them.",)
