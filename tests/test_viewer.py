import html.parser
import os
import re
import signal
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from molmo_agent.actions import Click, Done, Drag, OpenApp, Type
from molmo_agent.episode import Decision, LabelledPoint, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.rollout.viewer import render_html, write_viewer
from molmo_agent.testing import ScriptedDecisions, ToyEnv

HOSTILE = '</pre><script>alert("1")</script><img src=x onerror=alert(1)>'
CORNER = Point(1.0, 1.0)


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and the text that a person sees."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self._hidden = [], [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._hidden = tag == "style"

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        self.text += "" if self._hidden else data


@pytest.fixture
def folder(tmp_path):
    env = ToyEnv(320, 200, clicks=2)
    env.reset(seed=2)
    target = env.locate("")[0].center
    result = PointResult(status="ok", reply=HOSTILE, points=(LabelledPoint(target),), confidence=0.87)
    decisions = [
        Decision(action=Click(target), instruction=f"click {HOSTILE}", result=result),
        Drag(Point(0.2, 0.2), Point(0.8, 0.6)),
        OpenApp("Mail"),
        Type("{{PIN}}"),
        Done(False, "cannot find it"),
    ]
    recorder = Recorder(tmp_path / "run")
    guards = Guards(secrets=Secrets({"PIN": "98127-pin"}))
    options = {"guards": guards, "recorder": recorder, "seed": 2, "settle": AT_ONCE}
    list(rollout(ScriptedDecisions(decisions), env, f"do {HOSTILE}", **options))
    return tmp_path / "run"


def test_the_page_tells_the_whole_run(folder):
    text = Reader(render_html(folder)).text
    for expected in (
        "Success unknown",
        "Give up: cannot find it",
        "Drag (0.200, 0.200) to (0.800, 0.600)",
        "the env 'toy' cannot execute OpenApp",
        'Type "{{PIN}}"',
        "confidence 0.87",
        "5 steps",
        "toy · scripted · seed 2",
        "changed",
        "refused",
        HOSTILE,
    ):
        assert expected in text, expected


def test_what_models_and_screens_say_is_text_and_never_markup(folder):
    reader = Reader(render_html(folder))
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_outside(folder):
    page = render_html(folder)
    links = [value for name, value in Reader(page).attributes if name in ("href", "src", "xlink:href", "action")]
    assert links
    assert all(link.startswith(("#", "data:image/")) for link in links)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_each_picture_is_embedded_once_and_points_are_drawn_where_they_are(folder):
    page = render_html(folder)
    assert page.count("data:image/png;base64,") == len(list(folder.glob("*.png"))) == 2
    x, y = 0.2 * 320 + 0.5, 0.2 * 200 + 0.5
    assert f'<circle cx="{x}" cy="{y}"' in page


def test_a_film_and_a_strip_are_written_beside_the_page(folder):
    assert write_viewer(folder) == folder / "trajectory.html"
    with PIL.Image.open(folder / "trajectory.gif") as film:
        assert film.n_frames == 6
    assert (folder / "filmstrip.png").exists()
    assert write_viewer(folder) == folder / "trajectory.html", "made again without a complaint"
    assert all(b"98127-pin" not in path.read_bytes() for path in folder.iterdir())


def test_covered_pictures_are_explained(folder):
    line = (folder / "steps.jsonl").read_text().replace('"covered": 0.0', '"covered": 0.25')
    (folder / "steps.jsonl").write_text(line)
    assert "25.0 % of this screenshot is covered: a secret was typed" in Reader(render_html(folder)).text


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (lambda folder: (folder / "000001.png").unlink(), "000001.png is missing"),
        (lambda folder: (folder / "000000.png").write_bytes(b"x"), "its sha256 differs"),
        (lambda folder: (folder / "result.json").unlink(), "the run was cut off: there is no result.json"),
        (lambda folder: (folder / "steps.jsonl").unlink(), "0 steps"),
        (lambda folder: (folder / "steps.jsonl").write_text('{"index": 0}\n{"ind'), "line 2 of steps.jsonl is cut off"),
        (lambda folder: (folder / "steps.jsonl").write_text("{}"), "(damaged: 'action')"),
    ],
)
def test_a_damaged_folder_is_shown_as_far_as_it_goes(folder, damage, note):
    damage(folder)
    assert note in Reader(render_html(folder)).text
    write_viewer(folder)


def test_large_pictures_are_embedded_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)

    class Noisy(ToyEnv):
        def observe(self):
            return type(super().observe())(noise, super().observe().transform)

    list(rollout(ScriptedDecisions([]), Noisy(600, 400), settle=AT_ONCE, recorder=Recorder(tmp_path / "run")))
    page = render_html(tmp_path / "run")
    assert "data:image/webp" in page
    assert len(page) < (tmp_path / "run" / "000000.png").stat().st_size


def test_something_else_is_no_trajectory(tmp_path):
    with pytest.raises(UsageError, match="expected a trajectory folder"):
        write_viewer(tmp_path)


def test_a_killed_run_opens_in_the_viewer(tmp_path):
    arguments = ["run", "--env", "toy", "--model", "oracle", "--out", "run", "--json"]
    task = "press tab, then wait 60 seconds, then click the red square"
    command = [sys.executable, "-m", "molmo_agent", *arguments, "--task", task]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    text = Reader(render_html(tmp_path / "run")).text
    assert "Cut off" in text
    assert "1 step " in text
