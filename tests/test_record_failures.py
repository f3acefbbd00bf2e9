"""A record that cannot be drawn, stored or read back: the run keeps its outcome, and the problem is named once."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFont
import pytest

from molmo_agent.actions import Click, Type
from molmo_agent.cli import run as cli_run
from molmo_agent.cli.run import Request, run_request
from molmo_agent.episode import Observation
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.images import drawing as images
from molmo_agent.rollout import viewer
from molmo_agent.rollout.film import write_film
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.trajectory import load_trajectory, read_folder
from molmo_agent.rollout.viewer import render_frames, render_html, write_viewer
from molmo_agent.testing import ScriptedDecisions, ToyEnv
from molmo_agent.transforms import ImageTransform

MIDDLE = Point(0.5, 0.5)


def record(folder, decisions=(), env=None, task="do it"):
    episode = rollout(ScriptedDecisions(decisions), env or ToyEnv(), task, settle=AT_ONCE, recorder=Recorder(folder))
    list(episode)
    return episode


# --- What is drawn ----------------------------------------------------------------------------------------------------

TEXTS = {
    "line ends": "first\nsecond\r\nthird\rfourth\n",
    "controls": "\x00\x07\x1b[2J\x7f\x85\x0b\x0c",
    "separators": "one\u2028two\u2029three",
    "half a pair": "\ud83d and \udc00",
    "directions": "\u202eevas\u202c \u2066שלום\u2069 مرحبا بالعالم",
    "joined emoji": "👩‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇺🇳" * 20,
    "zero width": "\u200b\u200c\u200d\ufeff\u2060" * 100,
    "marks": "Z" + "\u0301\u0327" * 900,
    "unassigned": "\U0010ffff\ufffe\U000e0041\ue000",
    "complex scripts": "नमस्ते स्वागतम् ยินดีต้อนรับ မြန်မာ ភាសាខ្មែរ",
    "very long": "abc def " * 30_000,
    "one long word": "x" * 100_000,
    "nothing": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_typed_text_is_recorded_exactly_and_drawn(tmp_path, text):
    record(tmp_path / "run", [Type(text), Click(MIDDLE)], task=f"type {text}" if text else "type")
    problems = []
    write_viewer(tmp_path / "run", report=problems.append)
    assert problems == []
    assert load_trajectory(tmp_path / "run").steps[0].decision.action == Type(text)
    with PIL.Image.open(tmp_path / "run" / "trajectory.gif") as film:
        assert film.n_frames >= 3


class Blank(ToyEnv):
    """A black screen of any size."""

    def __init__(self, width, height):
        super().__init__()
        self.image = np.zeros((height, width, 3), np.uint8)

    def observe(self):
        return Observation(self.image, ImageTransform.identity(*self.image.shape[1::-1]))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (17_000, 4), (3, 70_000), (2, 3)])
def test_screens_of_any_shape_are_drawn(tmp_path, size):
    episode = record(tmp_path / "run", [Click(Point(0, 0)), Click(Point(1, 1))], env=Blank(*size))
    assert episode.trajectory.steps[0].observation.size == size
    problems = []
    write_viewer(tmp_path / "run", report=problems.append)
    assert problems == []
    assert len(render_frames(tmp_path / "run")) == 4


@pytest.mark.parametrize("error", [OSError("raqm_layout() failed."), ValueError("anchor"), MemoryError("font")])
def test_a_caption_that_cannot_be_drawn_costs_only_the_caption(tmp_path, monkeypatch, error):
    record(tmp_path / "run", [Click(MIDDLE)])
    with_captions = render_frames(tmp_path / "run")

    def fail(text, width):
        if text:
            raise error
        return text

    monkeypatch.setattr(images, "_fit", fail)
    problems = []
    write_viewer(tmp_path / "run", report=problems.append)
    assert problems == []
    without = render_frames(tmp_path / "run")
    assert [frame.size for frame in without] == [frame.size for frame in with_captions]
    screens = [[np.asarray(frame)[:-28] for frame in frames] for frames in (without, with_captions)]
    assert np.array_equal(*screens)


def test_missing_fonts_make_captions_plainer_or_leave_them_out(tmp_path, monkeypatch):
    record(tmp_path / "run", [Type("Grüße")])
    images._font.cache_clear()
    monkeypatch.setattr(images, "_FONTS", tmp_path / "nowhere")
    assert len(render_frames(tmp_path / "run")) == 3

    def no_font(size=None):
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(PIL.ImageFont, "load_default", no_font)
    images._font.cache_clear()
    assert len(render_frames(tmp_path / "run")) == 3


@pytest.mark.parametrize(
    "script", ["exit 3", "cat >/dev/null; echo 'Unknown encoder libx264' >&2; exit 1", "kill -9 $$"]
)
def test_an_encoder_that_fails_is_named_and_leaves_no_part_of_a_film(tmp_path, monkeypatch, script):
    record(tmp_path / "run", [Click(MIDDLE)])
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(EnvError, match="ffmpeg could not write"):
        write_film(tmp_path / "run", "mp4")
    assert not list((tmp_path / "run").glob("*mp4*"))


def test_an_encoder_that_cannot_start_is_named(tmp_path, monkeypatch):
    record(tmp_path / "run", [Click(MIDDLE)])
    (tmp_path / "ffmpeg").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UsageError, match=r"cannot write the film .*trajectory\.mp4: No such file or directory"):
        write_film(tmp_path / "run", "mp4")


# --- What is stored ---------------------------------------------------------------------------------------------------


def remove(folder):
    folder.rename(folder.with_name("gone"))


def replace_by_a_file(folder):
    remove(folder)
    folder.write_text("not a folder")


def block_steps(folder):
    (folder / "steps.jsonl").unlink()
    (folder / "steps.jsonl").mkdir()


def block_images(folder):
    # The first one is being written meanwhile.
    for number in range(1, 9):
        (folder / f".{number:06d}.png.part").mkdir()


def block_the_result(folder):
    (folder / "result.json").mkdir()


def make_read_only(folder):
    if os.geteuid() == 0:
        pytest.skip("root may write into a read-only folder")
    folder.chmod(0o500)


DISTURBANCES = [remove, replace_by_a_file, block_steps, block_images, block_the_result, make_read_only]


class Disturbed(ToyEnv):
    """Does something to the record's folder once, when the first action is executed."""

    def __init__(self, disturb):
        super().__init__()
        self.disturb = disturb

    def step(self, action):
        disturb, self.disturb = self.disturb, lambda: None
        disturb()
        return super().step(action)


@pytest.mark.parametrize("disturb", DISTURBANCES)
@pytest.mark.parametrize("task", ["click the red square", "click the red square, then click the red square"])
def test_a_record_that_fails_during_a_run_changes_nothing_but_the_record(tmp_path, capsys, monkeypatch, disturb, task):
    def run(folder, disturb):
        monkeypatch.setattr(cli_run, "load_env", lambda name, **_: Disturbed(disturb))
        code = run_request(Request(env="toy", model="oracle", task=task, out=folder, as_json=True))
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], " ".join(err.split())

    code, expected, err = run(tmp_path / "whole", lambda: None)
    assert err == ""
    new_code, events, err = run(tmp_path / "run", lambda: disturb(tmp_path / "run"))
    assert new_code == code
    assert len(events) == len(expected)
    for event, other in zip(events, expected, strict=True):
        for ours in ("folder", "page", "picture"):
            event.pop(ours, None), other.pop(ours, None)
        assert event == other
    assert events[-1]["event"] == "end"
    assert err.count("agent: ") == 1
    assert "agent: the record of this run is not complete: cannot write " in err


def test_steps_without_a_stored_image_are_kept_and_later_images_are_stored_again(tmp_path):
    folder = tmp_path / "run"

    def block():
        (folder / ".000001.png.part").mkdir()

    class Blinking(Disturbed):
        def observe(self):
            seen = super().observe()
            # Another screen at every look.
            self.looks = getattr(self, "looks", 0) + 1
            seen.image[:2, :2] = self.looks % 250
            return seen

    episode = record(folder, [Click(MIDDLE), Type("a"), Type("b")], env=Blinking(block))
    assert "000001.png" in episode.record_problem
    read = read_folder(folder)
    assert [line["index"] for line in read.lines] == [0, 1, 2, 3]
    assert [line["observation"]["file"] for line in read.lines] == ["000000.png", None, "000002.png", "000003.png"]
    assert "could not be stored during the run" in render_html(folder)
    assert len(render_frames(folder)) == 4


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path, monkeypatch):
    written = os.fsync
    calls = []

    def full_once(file):
        calls.append(file)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        written(file)

    monkeypatch.setattr(os, "fsync", full_once)
    episode = record(tmp_path / "run", [Type("a"), Type("b"), Type("c")])
    assert episode.record_problem.endswith("steps.jsonl: No space left on device")
    folder = read_folder(tmp_path / "run")
    assert [line["index"] for line in folder.lines] == [0, 2, 3]
    assert folder.notes == ()


LIMITED = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from molmo_agent.cli.run import Request, run_request
from pathlib import Path
task = "click the red square"
sys.exit(run_request(Request(env="toy", model="oracle", task=task, out=Path(sys.argv[2]), as_json=True)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are Unix'")
@pytest.mark.parametrize("limit", [1_000, 2_200, 6_000, 1 << 30])
def test_files_that_may_not_grow_leave_a_run_its_exit_code(tmp_path, limit):
    arguments = [sys.executable, "-c", LIMITED, str(limit), str(tmp_path / "run")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "end", done.stderr
    assert (done.returncode, events[-1]["achieved"]) == (0, True), done.stderr
    assert len(events) == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("agent: ") <= 1
    assert not list((tmp_path / "run").glob(".*.part"))
    if limit > 2_000:
        assert [line["index"] for line in read_folder(tmp_path / "run").lines] == [0]


@pytest.mark.parametrize("error", [EnvError("the device is gone"), UsageError("no such field"), ValueError("a bug")])
def test_a_run_that_fails_ends_with_an_end_event_too(tmp_path, capsys, monkeypatch, error):
    class Failing(ToyEnv):
        def step(self, action):
            raise error

    monkeypatch.setattr(cli_run, "load_env", lambda name, **_: Failing())
    with pytest.raises(type(error)):
        run_request(Request(env="toy", model="oracle", task="click the red square", out=tmp_path / "run", as_json=True))
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], end["achieved"]) == ("end", False)
    assert str(error) in end["ended"]
    assert end["folder"] == str(tmp_path / "run")


# --- What is read back ------------------------------------------------------------------------------------------------

ODD = [None, True, -1, 1.5, "text", "", [], {}, [1, 2], {"file": 3}, 10**400, "\ud800\n\u202e", [[[]]]]


def places_of(value, path=()):
    """Yield the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places_of(item, (*path, key))


def mutations(value, rng, count):
    """Yield copies of a JSON value with one value inside replaced or removed."""
    paths = list(places_of(value))
    for _ in range(count):
        copied, path = copy.deepcopy(value), paths[rng.integers(len(paths))]
        parent = copied
        for key in path[:-1]:
            parent = parent[key]
        if rng.random() < 0.3:
            del parent[path[-1]]
        else:
            parent[path[-1]] = ODD[rng.integers(len(ODD))]
        yield copied


@pytest.mark.parametrize("name", ["meta.json", "steps.jsonl", "result.json"])
def test_whatever_a_record_holds_it_is_shown_or_refused_in_words(tmp_path, name):
    record(tmp_path / "run", [Click(MIDDLE), Type("x")])
    file = tmp_path / "run" / name
    lines = file.read_text().splitlines() if name == "steps.jsonl" else [file.read_text()]
    rng = np.random.default_rng(7)
    num_shown = 0
    for changed in mutations(json.loads(lines[0]), rng, 60):
        file.write_text("\n".join([json.dumps(changed), *lines[1:]]))
        # Any other error than the package's own ends the test.
        with contextlib.suppress(UsageError):
            load_trajectory(tmp_path / "run")
        with contextlib.suppress(UsageError):
            assert "</html>" in render_html(tmp_path / "run")
            num_shown += len(render_frames(tmp_path / "run")) > 0
    assert num_shown > 25


@pytest.mark.parametrize(
    "content", [b"\xff\xfe{", b"[" * 200_000, b"17", b'"text"', b"null", b"\x00" * 40, b"{}\n[]\n"]
)
def test_a_file_of_something_else_is_named_and_the_rest_is_shown(tmp_path, content):
    record(tmp_path / "run", [Click(MIDDLE)])
    (tmp_path / "run" / "steps.jsonl").write_bytes(content)
    assert "of steps.jsonl is " in render_html(tmp_path / "run")
    (tmp_path / "run" / "result.json").write_bytes(content)
    assert "the run was cut off" in render_html(tmp_path / "run")
    (tmp_path / "run" / "meta.json").write_bytes(content)
    with pytest.raises(UsageError, match="expected a trajectory folder"):
        render_html(tmp_path / "run")


@pytest.mark.parametrize(
    "missing",
    [("refusal_kind",), ("reward", "terminated", "truncated"), ("times_s", "info", "dry_run"), ("result", "effect")],
)
def test_records_without_the_newer_fields_are_shown(tmp_path, missing):
    record(tmp_path / "run", [Click(MIDDLE), Type("x")])
    file = tmp_path / "run" / "steps.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({k: v for k, v in line.items() if k not in missing}) + "\n" for line in lines))
    write_viewer(tmp_path / "run", report=pytest.fail)
    assert len(render_frames(tmp_path / "run")) == 4


def test_a_link_beside_a_page_is_replaced_and_never_written_through(tmp_path):
    record(tmp_path / "run", [Click(MIDDLE)])
    (tmp_path / "precious").write_text("keep me")
    for name in (viewer.HTML_NAME, viewer.GIF_NAME, viewer.STRIP_NAME):
        (tmp_path / "run" / f".part-{name}").symlink_to(tmp_path / "precious")
        (tmp_path / "run" / name).symlink_to(tmp_path / "precious")
    write_viewer(tmp_path / "run", report=pytest.fail)
    assert (tmp_path / "precious").read_text() == "keep me"


def test_a_page_is_shown_from_a_copy_of_half_a_record(tmp_path):
    record(tmp_path / "run", [Click(MIDDLE), Type("x")])
    for kept in range(4):
        folder = Path(shutil.copytree(tmp_path / "run", tmp_path / f"copy-{kept}"))
        for number, path in enumerate(sorted(folder.iterdir())):
            if path.name != "meta.json" and number % 4 == kept:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "</html>" in render_html(folder)
