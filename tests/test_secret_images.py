"""A typed secret is covered in every image that others than the env get: models, people, steps and records."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from chat_server import Server
from drawn_text import Drawing, KnownLines

from molmo_agent.actions import Click, Done, Key, Type, Wait
from molmo_agent.episode import Decision, Observation
from molmo_agent.errors import ActionRefused, ModelError
from molmo_agent.geometry import Point
from molmo_agent.ocr.reader import load_reader
from molmo_agent.rollout import cover as cover_module
from molmo_agent.rollout.cover import COVER_GREY, SecretCover
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.rollout.trajectory import load_trajectory
from molmo_agent.testing import ToyEnv
from molmo_agent.transforms import ImageTransform

SECRET = "tr0ub4dor&3"
SECRETS = Secrets({"PASSWORD": SECRET, "OTHER": "correct horse battery"})
TYPES = Type("{{PASSWORD}}")
MIDDLE = Click(Point(0.5, 0.5))
FIELD = (150, 60)
pytest.importorskip("rapidocr", reason="the text reader is not installed")


def form(text="", *more):
    """Draw a form whose field holds a text, and more texts at (x, y)."""
    drawing = Drawing(480, 320).text(40, 64, "Password").rectangle(140, 56, 280, 30).button(40, 260, 100, "Send it")
    if text:
        drawing.text(*FIELD, text)
    for x, y, words in more:
        drawing.text(x, y, words)
    return drawing.array()


def page(*texts):
    """Draw another page with texts at (x, y)."""
    drawing = Drawing(480, 320).rectangle(0, 0, 480, 40, fill=(40, 60, 160)).rectangle(20, 60, 440, 240)
    for x, y, words in texts:
        drawing.text(x, y, words)
    return drawing.array()


def seen(image, info=None):
    return Observation(image, ImageTransform.identity(image.shape[1], image.shape[0]), info or {})


def read(image):
    return " ".join(line.text for line in READER.read(image))


READER = load_reader()


class Screens(ToyEnv):
    """Shows the prepared images in turn: the next one after every action but waiting."""

    def __init__(self, *images):
        super().__init__()
        self.images, self.shows = images, 0

    def observe(self):
        return seen(self.images[min(self.shows, len(self.images) - 1)], {"title": f"has {SECRET}"})

    def step(self, action):
        self.shows += not isinstance(action, Wait)
        return self.observe(), 0.0, False, False, {}


class Watcher:
    """A policy that keeps what it is shown, of the present and of the past."""

    name = "watcher"

    def __init__(self, *actions):
        self.actions, self.images, self.infos = actions, [], []

    def act(self, task, observation, history):
        self.images = [step.observation.image for step in history] + [observation.image]
        self.infos.append(observation.info)
        return Decision(action=self.actions[len(history)] if len(history) < len(self.actions) else Done())


def shown(*images, actions):
    """Return what a policy is shown of a run on these screens, image by image."""
    watcher = Watcher(*actions)
    list(rollout(watcher, Screens(*images), "x", settle=AT_ONCE, guards=Guards(secrets=SECRETS)))
    return watcher.images


def hidden(image, before, rows=slice(56, 86), columns=slice(140, 420)):
    """Return whether a part of an image shows grey wherever it differs from the screen before, and differs at all."""
    part = image[rows, columns]
    news = (part != before[rows, columns]).any(axis=2)
    return bool(news.any() and (part[news] == COVER_GREY).all())


def test_the_field_is_covered_and_the_rest_of_the_screen_stays():
    before, after = form(), form(SECRET)
    assert "b4dor&3" in read(after), "the reader can read it"
    first, second = shown(before, after, actions=[TYPES])
    assert np.array_equal(first, before)
    assert hidden(second, before)
    assert np.array_equal(second[100:], after[100:])
    assert "Password" in read(second)
    assert "Send it" in read(second)


def test_it_stays_covered_through_later_steps_and_where_the_field_begins_to_show_it():
    dots, clear = form("••••••"), form(SECRET, (40, 120, "Hide"))
    images = shown(form(), dots, dots, clear, clear, actions=[TYPES, Wait(0), MIDDLE, MIDDLE])
    for image in images[1:]:
        assert hidden(image, form())
        assert not any(piece in read(image) for piece in (SECRET, SECRET[:5], SECRET[-5:]))


def test_a_screen_that_shows_the_text_late_is_covered_too():
    images = shown(form(), form(), actions=[TYPES, Wait(0), Wait(0), MIDDLE])
    env = Screens(form(), form())
    watcher = Watcher(TYPES, Wait(0), Wait(0), MIDDLE)
    for number, _ in enumerate(rollout(watcher, env, "x", settle=AT_ONCE, guards=Guards(secrets=SECRETS))):
        if number == 1:
            env.images = (form(), form(SECRET, (40, 200, "Strong")))
    assert np.array_equal(images[2], form())
    assert hidden(watcher.images[3], form())


@pytest.mark.parametrize(
    ("words", "is_covered"),
    [
        (f"Your password is {SECRET}", True),
        ("you typed tr0ub4dor", True),
        ("TR0UB4DOR&3", True),
        ("c o r r e c t horse", True),
        ("Welcome back, Ada", False),
        ("Your orders of last week", False),
    ],
)
def test_of_the_next_page_only_lines_with_a_piece_of_a_secret_are_covered(words, is_covered):
    after = page((60, 100, words), (60, 180, "Log out of this account"))
    image = shown(form(), form(SECRET), after, actions=[TYPES, MIDDLE])[-1]
    text = read(image)
    assert "Log out" in text
    assert not any(piece in text.lower() for piece in ("r0ub", "roub", "horse"))
    assert (words.split()[-1] in text) is not is_covered


@pytest.mark.parametrize("problem", [ModelError("no engine"), ImportError("no package")])
def test_what_cannot_be_read_is_covered(problem, monkeypatch):
    class Broken:
        name = "broken"

        def read(self, image):
            raise problem

    monkeypatch.setattr(cover_module, "LazyReader", Broken)
    after = page((60, 100, "Welcome"))
    image = shown(form(), form(SECRET), after, actions=[TYPES, MIDDLE])[-1]
    assert (image[100:120, 60:140] == COVER_GREY).all()
    assert (image[100:300, 60:400] == after[100:300, 60:400]).mean() < 0.99


def test_where_nothing_changed_nothing_can_show_it_and_nothing_is_covered():
    images = shown(form(), form(SECRET), form(), actions=[TYPES, MIDDLE])
    assert np.array_equal(images[-1], form())


def test_a_screen_of_another_size_is_covered_as_a_whole():
    turned = np.ascontiguousarray(np.rot90(form(SECRET)))
    images = shown(form(), form(SECRET), turned, actions=[TYPES, MIDDLE])
    assert (images[-1] == COVER_GREY).all()


def test_text_that_was_half_typed_before_an_error_is_covered():
    env = Screens(form(), form(SECRET[:7]))
    step = env.step

    def fails_once(action):
        if env.shows == 0:
            step(action)
            raise ActionRefused("7 of 11 characters were typed")
        return step(action)

    env.step = fails_once
    watcher = Watcher(TYPES, MIDDLE)
    list(rollout(watcher, env, "x", settle=AT_ONCE, guards=Guards(secrets=SECRETS)))
    assert hidden(watcher.images[1], form())


def test_steps_questions_records_and_words_are_covered_as_well(tmp_path):
    asked = []

    def ask(decision, observation, why):
        asked.append(observation)
        return True

    env, recorder = Screens(form(), form(SECRET)), Recorder(tmp_path / "run")
    guards = Guards(secrets=SECRETS, confirm="always", ask=ask)
    policy = Watcher(TYPES, MIDDLE, Key(("enter",)))
    steps = list(rollout(policy, env, "x", settle=AT_ONCE, guards=guards, recorder=recorder))
    recorded = load_trajectory(tmp_path / "run").steps
    images = [steps[1].observation.image, asked[1].image, asked[2].image, recorded[1].observation.image]
    assert all(hidden(image, form()) for image in images)
    assert policy.infos == [{"title": "has {{PASSWORD}}"}] * 4
    assert SECRET not in repr([steps, asked])


def test_without_secrets_images_are_not_touched():
    watcher, image = Watcher(Type("x")), form("x")
    list(rollout(watcher, Screens(form(), image), "x", settle=AT_ONCE))
    assert watcher.images[1] is image
    assert SecretCover(Secrets()).show(observation := seen(image)) is observation


@pytest.mark.parametrize("text", ["tr0ub4d0r", "TROUB4DOR & 3", "Tr0ub4dor&3", "tr Oub 4dor&3", "xx trOub4dor"])
def test_a_reader_s_mistakes_do_not_hide_a_secret(text):
    guard = SecretCover(SECRETS, KnownLines(Drawing(480, 320).text(60, 100, text).lines))
    guard.before(TYPES, form())
    guard.show(seen(form(SECRET)))
    guard.before(MIDDLE, form(SECRET))
    image = guard.show(seen(page((60, 100, text)))).image
    assert (image[100:116, 62:120] == COVER_GREY).all()


# --- A real window, and a model on a server ---------------------------------------------------------------------------

WINDOW = """
import tkinter
root = tkinter.Tk(); root.title("Login"); root.geometry("640x400+0+0"); root.option_add("*Font", "Helvetica 20")
text = tkinter.StringVar()
entry = tkinter.Entry(root, textvariable=text, width=24); entry.place(x=100, y=180)
label = tkinter.Label(root, textvariable=text); label.place(x=100, y=320)
entry.focus_force()
root.mainloop()
"""


def test_a_model_on_a_server_gets_no_image_with_what_was_typed_into_a_real_window(tmp_path):
    pytest.importorskip("tkinter", reason="the program is drawn with Tk")
    if missing := [program for program in ("Xvfb", "openbox") if not shutil.which(program)]:
        pytest.skip(f"not installed: {', '.join(missing)} (make system)")
    script = tmp_path / "login.py"
    script.write_text(WINDOW)
    server = Server()
    server.reply = ' <point x="35.0" y="50.0" alt="field">field</point>'
    task = 'click the field, then type "{{PASSWORD}}", then click the field, then double-click the field'
    command = [sys.executable, "-m", "molmo_agent", "run", "--virtual-display", "640x400", "--confirm", "never"]
    command += ["--start", f"{sys.executable} {script}", "--model", f"{server.url}#Molmo-7B-D", "--task", task]
    command += ["--policy", "pointing", "--out", str(tmp_path / "run"), "--json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "MOLMO_SECRET_PASSWORD": SECRET},
        )
        sent = [np.asarray(server.sent_image(i).convert("RGB")) for i in range(len(server.seen))]
    finally:
        server.close()
    assert '"text": "{{PASSWORD}}"' in done.stdout, done.stdout + done.stderr
    assert len(sent) >= 2, done.stdout + done.stderr
    texts = [read(image) for image in sent]
    assert not [text for text in texts if any(piece in text for piece in ("ub4", "dor", "trO", "tr0"))], texts
    # The field and its echo below it.
    assert all(hidden(sent[-1], sent[0], rows, slice(102, 250)) for rows in (slice(185, 215), slice(322, 350)))
    assert SECRET not in done.stdout + done.stderr
    assert all(SECRET.encode() not in path.read_bytes() for path in (tmp_path / "run").iterdir())
