"""The page of a human evaluation in a real Chromium, served by the real command; and the server without a browser."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desktop_screen import needs, wait_for
from PIL import Image

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.web.installed import find_browser
from molmo_agent.evaluation.human.votes import VOTES_FILE, read_votes

pytestmark = [pytest.mark.slow, pytest.mark.dependencies]
HOSTILE = '</p><img src=x onerror="document.title=1">'


def write_replies(folder: Path, num_questions: int = 6) -> Path:
    Image.new("RGB", (320, 200), (60, 120, 200)).save(folder / "sky.png")
    path = folder / "replies.jsonl"
    rows = [
        {
            "id": f"q{number}",
            "question": f"What is in picture {number}?",
            "category": "naming",
            "image": "sky.png",
            "replies": {"model-one": f'one: a <point x="1" y="2" alt="sky">sky</point> {HOSTILE}', "model-two": "two"},
        }
        for number in range(num_questions)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Server:
    """``agent eval human`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "molmo_agent", "eval", "human", str(folder / "replies.jsonl")]
        self.process = subprocess.Popen(
            [*command, "--out", str(folder / "study"), "--seed", "7"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=child_environment() | {"PYTHONUNBUFFERED": "1"},
            cwd=Path(__file__).parents[1],
        )
        assert self.process.stdout
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(r"http://127\.0\.0\.1:\d+/", line):
                self.address = match[0]
                break
        else:
            raise AssertionError("".join(self.lines))

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=60)
        return self.process.returncode, "".join(self.lines) + rest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_replies(tmp_path)
    server = Server(tmp_path)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.communicate()


def request(address: str, *, body: Any = None, **headers: str) -> tuple[int, str]:
    """Return (status, body)."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(address, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=60) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_the_page_of_this_machine_can_vote_and_wrong_votes_are_explained(server: Server, tmp_path: Path) -> None:
    _, page = request(server.address)
    token = re.search(r'name="study-token" content="([^"]+)"', page)[1]  # type: ignore[index]
    good = {"annotator": "Ada", "number": 0, "choice": "a", "seconds": 2}
    vote = f"{server.address}vote"
    assert request(vote, body=good)[0] == 403
    assert request(vote, body=good, x_study_token="guessed")[0] == 403
    assert request(f"{server.address}match?annotator=Ada")[0] == 403
    assert request(server.address, Host="evil.example")[0] == 400
    wrong = {
        "name of 1 to 60 visible": [
            good | {"annotator": "  "},
            good | {"annotator": "x" * 61},
            good | {"annotator": 5},
        ],
        "number of a match": [good | {"number": 99}, good | {"number": -1}, good | {"number": True}],
        "a choice of a, b,": [good | {"choice": "c"}, good | {"choice": None}, good | {"choice": ["a"]}],
        "seconds as a number": [good | {"seconds": "2"}],
        "to be an object": [[good], "vote"],
    }
    said = [(words, *request(vote, body=row, x_study_token=token)) for words, rows in wrong.items() for row in rows]
    assert [one for one in said if one[1] != 400 or one[0] not in one[2]] == []
    assert request(vote, body=good | {"annotator": "x" * 20_000}, x_study_token=token)[0] == 413
    assert not (tmp_path / "study" / VOTES_FILE).exists()
    status, following = request(vote, body=good, x_study_token=token)
    assert (status, json.loads(following)["progress"]["own"]) == (200, 1)
    assert "model-" not in following
    assert request(f"{server.address}image/0")[0] == 200
    assert request(f"{server.address}image/99")[0] == 404
    code, output = server.stop()
    assert code == 0, output
    assert "agent eval human --report" in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900"):
        options.add_argument(flag)
    session = webdriver.Chrome(options=options, service=Service(driver))
    yield session
    session.quit()


@needs("chromium", "chromedriver")
class TestInChromium:
    """An annotator at the page."""

    @staticmethod
    def start(driver: Any, address: str, name: str) -> None:
        driver.get(address)
        driver.find_element("id", "name").send_keys(name, "\n")
        wait_for(lambda: driver.find_element("id", "question").is_displayed(), "the first match")

    def test_an_annotator_votes_by_keys_and_buttons_undoes_and_continues_after_a_restart(
        self, server: Server, driver: Any, tmp_path: Path
    ) -> None:
        votes = tmp_path / "study" / VOTES_FILE

        def count() -> int:
            return len(votes.read_text().splitlines()) if votes.exists() else 0

        def after(number: int) -> None:
            wait_for(lambda: count() == number, f"vote {number}")
            wait_for(lambda: "busy" not in driver.find_element("tag name", "body").get_attribute("class"), "answer")

        self.start(driver, server.address, "Ada")
        text = driver.find_element("tag name", "body").text
        assert "model-one" not in text
        assert HOSTILE in text
        assert "<point" not in text
        assert driver.title == "Which reply is better?"
        wait_for(lambda: driver.execute_script("return picture.naturalWidth") == 320, "the image")
        body = driver.find_element("tag name", "body")
        a_is_one = driver.find_element("id", "reply-a").text.startswith("one")
        body.send_keys("a")
        after(1)
        assert read_votes(votes)[0].outcome == ("first" if a_is_one else "second")
        driver.find_element("css selector", "[data-choice=both_bad]").click()
        after(2)
        body.send_keys("u")
        wait_for(lambda: "busy" not in body.get_attribute("class"), "the last match again")
        time.sleep(0.2)
        body.send_keys("g")
        after(3)
        assert [vote.outcome for vote in read_votes(votes)][1] == "both_good"
        assert server.stop()[0] == 0
        again = Server(tmp_path)
        try:
            self.start(driver, again.address, "Ada")
            assert driver.find_element("id", "own").text == "2 votes by you"
            body = driver.find_element("tag name", "body")
            for number, key in enumerate("bns?", 4):
                body.send_keys(key)
                after(number)
            wait_for(lambda: driver.find_element("id", "end").is_displayed(), "the end")
        finally:
            assert again.stop()[0] == 0
        assert [vote.outcome for vote in read_votes(votes)][3:] == ["both_bad", "dont_know", "dont_know"]

    def test_a_server_that_stopped_is_named_on_the_page(self, server: Server, driver: Any) -> None:
        self.start(driver, server.address, "Ada")
        server.stop()
        driver.find_element("tag name", "body").send_keys("a")
        error = wait_for(lambda: driver.find_element("id", "error").text, "the error")
        assert "The server does not answer" in error
