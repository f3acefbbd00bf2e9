"""Text from outside is shown as signs where it has no shape of its own; records change no outcome."""

import builtins
import errno
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFont
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from molmo_agent import html
from molmo_agent.actions import Click, Done, Type
from molmo_agent.cli import run as cli_run
from molmo_agent.cli.app import main
from molmo_agent.cli.confirm import Asker
from molmo_agent.cli.run import Request, run_request
from molmo_agent.console import after_the_result, plain_text
from molmo_agent.envs.drawing.fonts import face
from molmo_agent.episode import Decision, LabelledPoint, PointResult
from molmo_agent.errors import EnvError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.geometry import Point
from molmo_agent.html import render_page
from molmo_agent.images import drawing as images
from molmo_agent.images import filmstrip, with_caption
from molmo_agent.registry import load_env
from molmo_agent.rollout import viewer
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder, plain
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.trajectory import read_folder
from molmo_agent.rollout.viewer import render_html, write_viewer
from molmo_agent.testing import ScriptedDecisions, ToyEnv
from molmo_agent.visible_text import MAX_MARKS, visible_lines, visible_text

ZALGO = "a" + "\u0301\u0316" * 30
NASTY = (
    "line\nend", "return\rto", "tab\tstop", "nul\0", "bell\a", "\x1b[31mred\x1b[0m\x1b[2J", "\x1b]0;title\x07",
    "next\x85line", "\u2028", "\u2029", "\x1c\x1d\x1e", "\u202egnp.exe\u202c", "\u2066isolate\u2069",
    "\u200e\u200f\u061c", "\ud800", "\udcff", ZALGO, "\u0301", "zero\u200bwidth\ufeff", "soft\xadhyphen", "\u3164",
    "\ue000", "\u0378", "\U0010ffff", "\uffff", "tag\U000e0041\U000e0042", "selector\ufe0f\ufe0f\U000e0101",
    "[bold red]markup[/]", "[/nothing]", ":smile:", "back\\", "", " ", "x" * 20_000, "word " * 4_000, "👨‍👩‍👧❤️",
    "<b>&amp;</b>{{ 7 * 7 }}",
)  # fmt: skip
# Whatever the sampled kinds of text are, in any order.
ANY_TEXT = st.lists(st.one_of(st.text(), st.text(st.characters()), st.sampled_from(NASTY)), max_size=4).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, Łódź, Việt Nam",
        "Vie\u0323\u0302t, e\u0301",
        "שָׁלוֹם",
        "مرحبا بالعالم",
        "می\u200cخواهم",
        "क्षि और क्\u200dष",
        "ภาษาไทย",
        "བོད་ཡིག",
        "日本語 中文 한국어",
        "👨\u200d👩\u200d👧 ❤\ufe0f 🏃🏽\u200d♂\ufe0f 1\ufe0f\u20e3 🇩🇪",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "no\xa0break, 全角\u3000",
        "[bold] \\n <b> {{PIN}}",
        "",
    ],
)
def test_ordinary_text_of_any_script_stays_as_it_is(text):
    assert visible_text(text) == text


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("Dear Ada,\nsee you", r"Dear Ada,\nsee you"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("\0\x1b[31m\x7f\x85", r"\x00\x1b[31m\x7f\x85"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u200e\u200f\u061c\u2066\u2069", r"\u200e\u200f\u061c\u2066\u2069"),
        ("pass\u200bword\ufeff\xad", r"pass\u200bword\ufeff\xad"),
        ("pass\u200dword", r"pass\u200dword"),
        ("p\ufe0fq", r"p\ufe0fq"),
        ("\ud800", r"\ud800"),
        ("\ue000\u0378\U0010ffff", r"\ue000\u0378\U0010ffff"),
        ("🏴\U000e0068\U000e0069\U000e007f", r"🏴\U000e0068\U000e0069\U000e007f"),
        ("\u0301", "\u25cc\u0301"),
        ("\n\u0301", "\\n\u25cc\u0301"),
        ("a" + 50 * "\u0301" + "b", "a" + MAX_MARKS * "\u0301" + "(+44 marks)b"),
    ],
)
def test_what_has_no_shape_is_shown_as_a_sign(text, sign):
    assert visible_text(text) == sign


def test_lines_are_kept_where_they_are_asked_for():
    assert visible_lines("one\r\ntwo\n\u202ethree\u2028") == "one\ntwo\n\\u202ethree\\u2028"


@given(ANY_TEXT)
@example("a\u06dd\u0301\u200d\u0915\ufe0f")
@settings(deadline=None, derandomize=True)
def test_any_text_becomes_one_line_that_can_be_written_and_means_the_same_again(text):
    line = visible_text(text)
    line.encode()
    assert visible_text(line) == line
    assert len(line.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert not any(unicodedata.bidirectional(character) in BIDI_CONTROLS for character in line)


BIDI_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(ANY_TEXT)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_text_can_be_a_caption(text):
    blank = PIL.Image.new("RGB", (32, 20))
    frame = with_caption(blank, text, 320)
    assert frame.size == (320, 228)
    assert not np.asarray(frame)[:200].any(), "letters stay under the picture"
    assert filmstrip([frame, frame]).width == 2 * 328 + 8


@pytest.mark.parametrize("text", NASTY)
def test_each_kind_of_nasty_text_can_be_a_caption(text):
    assert with_caption(PIL.Image.new("RGB", (32, 20)), text, 320).size == (320, 228)


@given(ANY_TEXT)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_text_is_plain_text_on_a_terminal(text):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="truecolor")
    console.print(plain_text(text))
    out = console.file.getvalue()
    assert "\x1b" not in out
    assert out.replace("\n", "").split() == visible_text(text).split() or len(out) > 80


def test_markup_and_emoji_codes_of_others_are_shown_and_not_carried_out():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="truecolor")
    console.print(plain_text("[bold red]no[/] [/x] :smile:"))
    assert console.file.getvalue() == "[bold red]no[/] [/x] :smile:\n"


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (7_000, 9)])
def test_an_image_of_any_proportions_becomes_a_frame_of_moderate_size(size):
    frame = with_caption(PIL.Image.new("RGB", size, "white"), "x", 100)
    assert frame.width == 100
    assert frame.height <= 328
    assert (np.asarray(frame)[0, 45:55] == 255).all(-1).any(), "it is in the middle"


def test_a_font_that_cannot_be_loaded_is_replaced(monkeypatch):
    usual = with_caption(PIL.Image.new("RGB", (32, 20)), "Save", 320)
    monkeypatch.setattr(images, "_FONTS", Path("/nowhere"))
    images._font.cache_clear()
    other = with_caption(PIL.Image.new("RGB", (32, 20)), "Save", 320)
    assert np.asarray(other)[200:].max() > 200
    assert other != usual


def result_of(text):
    return PointResult(status="ok", reply=text, points=(LabelledPoint(Point(0.5, 0.5), label=text),), confidence=0.5)


def record(folder, texts, task="do it"):
    decisions = [
        Decision(action=Type(text) if number % 2 else Click(Point(0.5, 0.5)), instruction=text, result=result_of(text))
        for number, text in enumerate(texts)
    ]
    decisions.append(Decision(action=Done(False, " ".join(texts))))
    episode = rollout(
        ScriptedDecisions(decisions), ToyEnv(64, 48), task, settle=AT_ONCE, recorder=Recorder(folder),
        guards=Guards(max_steps=100),
    )  # fmt: skip
    list(episode)
    return episode


def test_a_run_made_of_nasty_text_has_a_page_a_film_and_a_strip(tmp_path):
    texts = [text for text in NASTY if len(text) < 100]
    record(tmp_path / "run", texts, task=f"do {''.join(texts)}")
    problems = []
    page = write_viewer(tmp_path / "run", report=problems.append).read_text()
    assert problems == []
    with PIL.Image.open(tmp_path / "run" / "trajectory.gif") as film:
        assert film.n_frames == len(texts) + 2
    assert (tmp_path / "run" / "filmstrip.png").exists()
    for hidden in "\0\a\x1b\x85\u2028\u2029\u202e\u2066\u200b\ufeff\ue000\U0010ffff\U000e0041":
        assert hidden not in page, ascii(hidden)
    assert r"\u202egnp.exe\u202c" in page
    assert r"Type &#34;return\rto&#34;" in page
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;{{ 7 * 7 }}" in page


@given(ANY_TEXT.filter(str.strip))
@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_recorded_and_shown(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any") / "run"
    record(folder, [text, text], task=text)
    assert read_folder(folder).meta["task"]["instruction"] == text or max(text) >= "\ud800"
    problems = []
    write_viewer(folder, report=problems.append)
    assert problems == []


def test_a_reply_keeps_its_lines_on_the_page(tmp_path):
    record(tmp_path / "run", ["one\ntwo\u202e"])
    assert "<pre>one\ntwo\\u202e</pre>" in render_html(tmp_path / "run")


def test_templates_show_signs_and_leave_markup_and_numbers_alone(monkeypatch, tmp_path):
    import jinja2

    template = "{% macro m(x) %}<b>\n{{ x }}</b>{% endmacro %}{{ m(a) }}{{ n }}{{ p }}"
    monkeypatch.setattr(jinja2, "PackageLoader", lambda *_: jinja2.DictLoader({"t": template}))
    # Without the templates that were compiled before.
    monkeypatch.setattr(html, "_environment", html._environment.__wrapped__)
    assert render_page("t", a="<\n\u202e>", n=3, p=Path("a\x1bb")) == "<b>\n&lt;\\n\\u202e&gt;</b>3a\\x1bb"
    with pytest.raises(jinja2.UndefinedError, match="'a' is undefined"):
        render_page("t")


# --- Outcomes -----------------------------------------------------------------------------------------------------


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


def run_toy(tmp_path, capsys, *, as_json=True):
    """Run the toy's task in this process; return the exit code, what is on stdout, and what is on stderr."""
    task = "click the red square"
    code = run_request(Request(env="toy", model="oracle", task=task, out=tmp_path / "run", as_json=as_json))
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


@pytest.mark.parametrize(
    "error",
    [
        DISK_FULL,
        UsageError("cannot write"),
        RuntimeError("raqm_layout() failed."),
        MemoryError(),
        KeyError("x"),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_page_that_cannot_be_made_changes_neither_the_verdict_nor_the_exit_code(
    tmp_path, capsys, monkeypatch, error, as_json
):
    monkeypatch.setattr(cli_run, "write_viewer", fail_with(error))
    code, out, err = run_toy(tmp_path, capsys, as_json=as_json)
    assert code == 0
    if as_json:
        end = json.loads(out.splitlines()[-1])
        assert (end["event"], end["achieved"]) == ("end", True)
        assert end["page"] == str(tmp_path / "run" / "trajectory.html")
        assert end["folder"] == str(tmp_path / "run")
    else:
        assert "achieved" in out
        assert "see " not in out, "nothing points to a page that is not there"
    assert "agent: cannot write the page: " in err
    assert f"make it with: agent view {tmp_path / 'run'}" in err


def test_the_verdict_is_printed_before_the_page_is_begun(tmp_path, capsys, monkeypatch):
    before = []
    monkeypatch.setattr(cli_run, "write_viewer", lambda *_, **__: before.append(capsys.readouterr().out))
    run_toy(tmp_path, capsys)
    assert json.loads(before[0].splitlines()[-1])["event"] == "end"


@pytest.mark.parametrize("error", [DISK_FULL, RuntimeError("raqm_layout() failed."), ValueError("codec")])
@pytest.mark.parametrize("maker", ["render_frames", "write_gif", "filmstrip"])
def test_the_page_is_made_without_the_images_that_fail(tmp_path, capsys, monkeypatch, maker, error):
    monkeypatch.setattr(viewer, maker, fail_with(error))
    code, _, err = run_toy(tmp_path, capsys)
    assert code == 0
    assert (tmp_path / "run" / "trajectory.html").exists()
    assert (tmp_path / "run" / "filmstrip.png").exists() == (maker == "write_gif")
    assert (tmp_path / "run" / "trajectory.gif").exists() == (maker == "filmstrip")
    assert not list((tmp_path / "run").glob(".part*"))
    assert f"agent: could not make {'filmstrip.png' if maker == 'filmstrip' else 'trajectory.gif'}" in err
    assert f"try again with: agent view {tmp_path / 'run'}" in err


def test_a_library_caller_is_warned_of_a_film_that_fails(tmp_path, monkeypatch):
    record(tmp_path / "run", ["x"])
    monkeypatch.setattr(viewer, "write_gif", fail_with(RuntimeError("no codec")))
    with pytest.warns(UserWarning, match=r"could not make trajectory\.gif of .*: no codec"):
        write_viewer(tmp_path / "run")


def test_a_page_that_cannot_be_written_is_the_error_of_view_and_leaves_the_old_one(tmp_path, monkeypatch):
    record(tmp_path / "run", ["x"])
    write_viewer(tmp_path / "run")
    before = (tmp_path / "run" / "trajectory.html").read_bytes()
    monkeypatch.setattr(os, "replace", fail_with(DISK_FULL))
    with pytest.raises(UsageError, match=r"cannot write into .*: No space left on device"):
        write_viewer(tmp_path / "run")
    assert (tmp_path / "run" / "trajectory.html").read_bytes() == before


def fill_disk(monkeypatch, *names):
    """Let the recorder find a full disk at files of these names."""
    write, append = Recorder._write, Recorder._append

    def failing_write(self, name, data):
        if name in names:
            raise EnvError(f"cannot write {name}: No space left on device")
        write(self, name, data)

    def failing_append(self, data):
        if data and "steps.jsonl" in names:
            raise EnvError("cannot write steps.jsonl: No space left on device")
        append(self, data)

    monkeypatch.setattr(Recorder, "_write", failing_write)
    monkeypatch.setattr(Recorder, "_append", failing_append)


def test_a_result_that_cannot_be_recorded_leaves_an_achieved_run_achieved(tmp_path, capsys, monkeypatch):
    fill_disk(monkeypatch, "result.json")
    code, out, err = run_toy(tmp_path, capsys)
    assert code == 0
    assert json.loads(out.splitlines()[-1])["achieved"] is True
    assert "agent: the record of this run is not complete: cannot write result.json: No space left on device" in err
    assert (tmp_path / "run" / "trajectory.html").exists(), "what is there can be shown"


def test_a_last_screen_that_cannot_be_stored_costs_only_the_last_screen(tmp_path, monkeypatch):
    fill_disk(monkeypatch, "000002.png")
    episode = record(tmp_path / "run", ["x"])
    assert episode.record_problem == ""
    fill_disk(monkeypatch, "000001.png")
    episode = rollout(ScriptedDecisions([]), Changing(), settle=AT_ONCE, recorder=Recorder(tmp_path / "other"))
    list(episode)
    assert episode.record_problem == "cannot write 000001.png: No space left on device"
    assert read_folder(tmp_path / "other").result["final"] is None
    assert read_folder(tmp_path / "other").result["ended"] == "the policy says: Done"


class Changing(ToyEnv):
    """Ends each episode by itself at the first step, on a screen that has changed."""

    capabilities = ToyEnv.capabilities | {Done}

    def step(self, action):
        observation, reward, *_, info = super().step(Click(Point(0.5, 0.5))) if not isinstance(action, Done) else (
            self.observe(), 0.0, {}
        )  # fmt: skip
        observation.image[:] = 255 - observation.image
        return observation, reward, True, False, info


def test_a_last_step_that_cannot_be_recorded_leaves_its_episode_finished(tmp_path, monkeypatch):
    fill_disk(monkeypatch, "steps.jsonl")
    episode = rollout(ScriptedDecisions([]), ToyEnv(), settle=AT_ONCE, recorder=Recorder(tmp_path / "run"))
    assert len(list(episode)) == 1
    assert episode.trajectory.ended == "the policy says: Done"
    assert episode.record_problem == "cannot write steps.jsonl: No space left on device"


@pytest.mark.parametrize("error", [RunStopped("failsafe corner"), EnvError("the device is gone"), ValueError("a bug")])
def test_a_full_disk_does_not_hide_why_a_run_failed(tmp_path, monkeypatch, error):
    fill_disk(monkeypatch, "steps.jsonl", "result.json")
    env = ToyEnv()
    env.step = fail_with(error)
    episode = rollout(ScriptedDecisions([Type("x")]), env, settle=AT_ONCE, recorder=Recorder(tmp_path / "run"))
    with pytest.raises(type(error), match=str(error)):
        list(episode)
    assert episode.record_problem == "cannot write steps.jsonl: No space left on device"


def test_what_comes_after_the_result_is_reported_and_never_raised(capsys):
    with after_the_result("the film", "try again"):
        raise OSError(errno.EROFS, "Read-only file system", "film\n\x1b[31m.gif")
    assert capsys.readouterr().err == (
        r"agent: cannot write the film: Read-only file system: film\n\x1b[31m.gif; try again" "\n"
    )
    with after_the_result("the film", "try again"):
        raise MolmoAgentError("no picture")
    with after_the_result("the film", "try again"):
        raise RuntimeError("codec")
    err = capsys.readouterr().err
    assert "cannot write the film: no picture; try again" in err
    assert "cannot write the film: RuntimeError: codec; try again" in err


def test_whatever_an_env_tells_can_be_recorded():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    loop = {"again": []}
    loop["again"].append(loop)
    deep = []
    for _ in range(2000):
        deep = [deep]
    values = {"loop": loop, "rude": Rude(), "long": 10**6000, "deep": deep, "float": np.longdouble(1), "\ud800": NASTY}
    written = json.loads(json.dumps(plain(values)))
    assert written["loop"] == {"again": ["dict that contains itself"]}
    assert written["rude"] == "Rude that cannot be written: RuntimeError"
    assert written["long"].startswith("0x")
    assert "more than 40 levels deep" in json.dumps(written["deep"])
    assert written["\ud800"] == list(NASTY)


# --- The command line and the simulated screens ------------------------------------------------------------------


def agent(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "molmo_agent", *arguments],
        cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=280, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("env", ["sim-desktop", "toy"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_task_of_nasty_text_runs_to_its_verdict_and_can_be_viewed(tmp_path, env, encoding):
    (tmp_path / "p.json").write_text('{"x": [0.5, 0.5]}')
    task = 'type "Dear Ada,\nsee\r\x1b[31m\u202eyou\u2028 ⛄ '.encode() + b'\xff[/b]"'
    arguments = ["run", "--env", env, "--model", "scripted:p.json", "--task", task, "--out", "t"]
    done = agent(*arguments, cwd=tmp_path, PYTHONIOENCODING=f"{encoding}:strict")
    assert done.returncode in (0, 1), done.stderr
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "not made" not in err
    assert "could not make" not in err
    assert "achieved" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"Dear Ada,\nsee\r\x1b[31m\u202eyou\u2028" in out.replace("\n", "")
    assert {path.name for path in (tmp_path / "t").iterdir()} >= {"trajectory.html", "trajectory.gif", "filmstrip.png"}
    view = agent("view", "t", cwd=tmp_path)
    assert (view.returncode, view.stdout) == (0, b"t/trajectory.html\n")
    assert b"could not make" not in view.stderr


def test_an_error_message_cannot_look_like_one_of_ours_or_steer_the_terminal(tmp_path):
    model = ("--model", "x\nagent: achieved\x1b[31m")
    done = agent("run", "--env", "toy", *model, "--task", "click the red square", cwd=tmp_path)
    err = done.stderr.decode()
    assert done.returncode == 2
    assert "\x1b" not in err
    assert "\nagent: achieved" not in err
    assert "agent: unknown model" in err


def test_further_lines_of_an_error_message_are_indented(capsys):
    with pytest.raises(SystemExit):
        main(fail_with(UsageError("2 data sets cannot be used:\nagent: achieved\x1b[A")))
    assert capsys.readouterr().err == "agent: 2 data sets cannot be used:\n  agent: achieved\\x1b[A\n"


def test_a_point_is_printed_before_its_image_is_drawn(tmp_path):
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "desk.png")
    (tmp_path / "desk-points.png").mkdir()
    done = agent("point", "desk.png", "the mug", "--model", "centre", "--json", cwd=tmp_path)
    assert done.returncode == 0, "nobody asked for the picture"
    assert json.loads(done.stdout)["points"][0]["x"] == 0.5
    assert b"agent: cannot write the image desk-points.png" in done.stderr
    asked = agent("point", "desk.png", "the mug", "--model", "centre", "--out", "desk-points.png", cwd=tmp_path)
    assert asked.returncode == 2
    assert b"(0.500, 0.500)" in asked.stdout


@pytest.mark.parametrize("text", NASTY)
def test_a_question_at_the_terminal_shows_signs(monkeypatch, text):
    monkeypatch.setattr(builtins, "input", lambda *_: "n")
    console = Console(file=io.StringIO(), width=10**6)
    decision = Decision(action=Type(text), instruction=text)
    assert Asker(console)(decision, ToyEnv().reset(seed=0)[0], text) is False
    assert "\x1b" not in console.file.getvalue()
    assert visible_text(f'Type "{text}')[:20].strip() in console.file.getvalue()


@pytest.mark.parametrize("name", ["sim-desktop", "sim-phone"])
def test_simulated_screens_show_whatever_is_typed(name):
    env = load_env(name)
    env.reset(seed=1)
    for text in NASTY:
        observation, *_ = env.step(Type(text[:300]))
        assert observation.image.ndim == 3
    env.close()


@given(st.text(st.characters(), max_size=20))
@settings(deadline=None, derandomize=True)
def test_any_character_can_be_lettered_on_a_simulated_screen(text):
    letters = face("noto_sans", 13).letter(text)
    assert len(letters.edges) == len(text) + 1
