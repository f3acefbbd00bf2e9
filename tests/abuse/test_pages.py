"""Pages in a real browser: whatever text stands in whatever place of them, no script runs and nothing is asked for."""

import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from desktop_screen import needs
from hostile_pages import payloads

import molmo_agent
from molmo_agent.envs.web.browser import Browser

HERE = Path(__file__).parent
# Tests that write a page of each kind.
WRITERS = (
    "test_viewer.py::test_the_page_tells_the_whole_run",
    "test_viewer.py::test_covered_pictures_are_explained",
    "test_nano_suite.py::test_a_run_is_written_as_json_and_as_one_offline_page",
    "test_real_eval.py::test_the_page_shows_wrong_clicks_first_and_replies_as_text",
    "test_data_show.py::test_hostile_text_in_reports_and_names_stays_text",
    "test_eval_benchmarks.py",
    "test_cap_f1_page.py::test_the_page_shows_the_worst_captions_first_and_as_text",
    "test_human_evaluation.py::test_the_report_prints_ratings_and_writes_a_page_with_all_outcomes",
    "test_molmo_11.py::test_missing_and_unreadable_sets_are_named_and_the_average_covers_what_ran",
    "test_injection.py::test_the_page_shows_captured_runs_and_escapes_what_the_screen_says",
    "test_validation.py::test_a_page_shows_pictures_questions_and_answers_and_runs_nothing",
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture
def server():
    """A server that lists what it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            """Be quiet."""

    asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = asked
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def _address(server):
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def browser():
    browser = Browser().start(timeout_s=120)
    yield browser
    browser.close()


def _shows(browser, path, server):
    """Open a page; return whether a script ran, and what it asked for."""
    server.asked.clear()
    browser.open(path.as_uri())
    # Handlers of focus and errors, and loads of pictures, come after the page.
    ran = browser.devtools(
        "Runtime.evaluate",
        expression="new Promise(done => setTimeout(() => done(window.ran === 1), 700))",
        awaitPromise=True,
        returnByValue=True,
    )["result"]["value"]
    return ran, list(server.asked)


@pytest.mark.timeout(900)
@needs("chromium", "chromedriver")
def test_no_text_on_any_page_runs_or_asks_for_anything(tmp_path, server, browser):
    pages = tmp_path / "pages"
    pages.mkdir()
    variables = {"HOSTILE_PAGES": str(pages), "HOSTILE_SERVER": _address(server)}
    variables["PYTHONPATH"] = os.pathsep.join((str(HERE), str(Path(molmo_agent.__file__).parents[1])))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--maxfail=1000",
        "-p",
        "no:cacheprovider",
        "-p",
        "hostile_pages",
    ]
    command += ["-k", "not ray and not command", *(str(HERE.parent / name) for name in WRITERS)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=600, check=False)
    written = {path.name.rpartition(" ")[0] for path in pages.iterdir()}
    root = Path(molmo_agent.__file__).parent
    templates = {" ".join(path.relative_to(root).parts) for path in root.rglob("*.html.jinja")}
    assert written == templates, done.stdout[-3000:]
    problems = []
    for template in sorted(templates):
        # The newest ones of a kind hold what the older ones hold.
        for page in sorted(pages.glob(f"{template} *.html"), key=lambda path: path.stat().st_size)[-3:]:
            text = page.read_text(encoding="utf-8")
            assert "window.ran=1" in text
            # Without its policy, so that the escaping alone has to hold.
            page.write_text(POLICY.sub("", text), encoding="utf-8")
            ran, asked = _shows(browser, page, server)
            if ran or asked:
                problems.append((page.name, ran, asked))
    assert problems == []


@needs("chromium", "chromedriver")
def test_the_same_texts_run_and_ask_where_nothing_escapes_them(tmp_path, server, browser):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><p>{payloads(_address(server)).replace('http-equiv=refresh', '')}")
    ran, asked = _shows(browser, page, server)
    assert ran
    assert {"/script", "/img", "/style"} <= set(asked)
