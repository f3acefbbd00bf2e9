"""Pasting on Wayland: without a word of who reads, what a person had copied is never offered to a late program."""

import pytest

pytest.importorskip("jeepney", reason="the extra wayland is not installed")

from molmo_agent.envs.desktop.wayland import clipboard as module
from molmo_agent.envs.desktop.wayland.clipboard import PortalClipboard
from molmo_agent.errors import ActionRefused, EnvError

OLD = "copied elsewhere – 4711"


class Session:
    """A portal's session with one program, which reads the text some questions after the keys, or never."""

    def __init__(self, reads=True, old=OLD):
        self.old, self.reads = old, reads
        self.offers, self.answers, self.questions = [], [], []

    def read_clipboard(self, mime_type):
        if self.old is None:
            raise EnvError("empty")
        return self.old.encode() if isinstance(self.old, str) else self.old

    def offer_clipboard(self, mime_types):
        self.offers.append(mime_types)

    def next_transfer(self, timeout_s):
        return self.questions.pop(0) if self.questions else None

    def answer_transfer(self, serial, content):
        self.answers.append(content.decode())

    def press(self):
        if self.reads:
            self.questions.append(("text/plain", 1))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_QUIET_S", 0.01)
    monkeypatch.setattr(module, "_TAKE_S", 0.05)


@pytest.mark.parametrize("text", ["né", "日本語", "a\nb"])
def test_what_was_copied_is_offered_again_after_a_paste_that_was_taken(text):
    session = Session()
    PortalClipboard(session).paste(text, session.press)
    assert session.answers == [text]
    assert len(session.offers) == 2
    assert session.offers[-1] != [module._NOTHING]


@pytest.mark.parametrize("old", [OLD, None, b"\xff\xfe"])
def test_after_a_paste_that_was_not_taken_the_clipboard_is_empty(old):
    session = Session(reads=False, old=old)
    with pytest.raises(ActionRefused, match=r"Nothing was typed\. The clipboard is empty now, so that a late paste"):
        PortalClipboard(session).paste("né", session.press)
    assert session.answers == []
    assert session.offers[-1] == [module._NOTHING]


def test_after_that_what_was_copied_is_not_offered_again_in_this_session():
    session = Session(reads=False)
    clipboard = PortalClipboard(session)
    for _ in range(2):
        with pytest.raises(ActionRefused):
            clipboard.paste("né", session.press)
    session.reads = True
    clipboard.paste("later", session.press)
    assert session.answers == ["later"]
    assert session.offers[-1] == [module._NOTHING]


def test_an_error_while_the_keys_are_pressed_leaves_an_empty_clipboard():
    session = Session()

    def lost():
        raise EnvError("the keyboard is gone")

    with pytest.raises(EnvError, match="the keyboard is gone"):
        PortalClipboard(session).paste("né", lost)
    assert session.offers[-1] == [module._NOTHING]
    assert OLD not in session.answers


def test_a_program_that_reads_before_the_keys_is_not_the_one_that_is_pasted_into():
    session = Session(reads=False)
    session.questions.append(("text/plain", 1))
    with pytest.raises(ActionRefused):
        PortalClipboard(session).paste("né", session.press)
    assert session.answers == ["né"]
