"""Text that replaces what a field holds: on phones, web pages and simulated screens, and in records."""

import gc
import json

import pytest
from adb_device import AdbDevice, adb_server
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST, needs

from molmo_agent.actions import Click, Type, action_from_dict, action_to_dict, describe
from molmo_agent.envs.android.env import Android
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.envs.web.miniwob import MiniWob
from molmo_agent.errors import ActionRefused
from molmo_agent.policies.android_actions import action_text
from molmo_agent.rollout.secrets import Secrets

TEXTS = [("Grace Hopper", "Ada"), ("Ada Lovelace", "Ada"), ("", "Ida"), ("Ida", ""), ("Ida", "Ida"), ("a", "two words")]


# --- Simulated screens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "text"), [*TEXTS, ("plain", "Ünïcode 日本")])
def test_a_field_of_the_simulated_desktop_holds_exactly_the_new_text(before, text):
    env = SimDesktop()
    _, info = env.reset(seed=1, options={"task": "fill-field"})
    env.step(Click(env.locate(info["instruction"])[0].center))
    field = env._running().desktop.focus
    field.value, field.caret = before, len(before) // 2
    env.step(Type(text, replace=True))
    assert field.value == text
    env.step(Type("!"))
    assert field.value == f"{text}!"


def test_without_a_field_nothing_on_the_simulated_desktop_is_replaced():
    env = SimDesktop()
    before, _ = env.reset(seed=1, options={"task": "click-shape"})
    after, *_ = env.step(Type("lost", replace=True))
    assert (after.image == before.image).all()


@pytest.mark.parametrize(("before", "text"), [*TEXTS, ("one\ntwo", "three"), ("one", "two\nthree")])
def test_a_field_of_the_simulated_phone_holds_exactly_the_new_text(before, text):
    env = SimPhone()
    env.reset(seed=1)
    env.phone.launch(env.phone.app("Notes"))
    env.phone.go("Notes", "note")
    env.phone.focus, env.phone.fields["Text"] = "Text", before
    env.step(Type(text, replace=True))
    assert env.phone.fields["Text"] == text


# --- Phones -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("adbutils", reason="needs the extra 'android'")
    with adb_server() as client:
        yield client


@pytest.fixture
def device(server):
    device = AdbDevice(make_phone(1, 270, 480))
    server.connect(device.serial)
    yield device
    server.disconnect(device.serial)
    device.close()
    gc.collect()


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("old", [False, True], ids=["Android 12", "Android 11"])
@pytest.mark.parametrize(("before", "text"), TEXTS)
def test_a_field_of_a_phone_holds_exactly_the_new_text(device, old, before, text):
    device.system.old = old
    device.phone.launch(device.phone.app("Notes"))
    device.phone.go("Notes", "note")
    device.phone.focus, device.phone.fields["Text"] = "Text", before
    env = Android()
    env.reset()
    env.step(Type(text, replace=True))
    assert device.phone.fields["Text"] == text


# --- Web pages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page():
    env = MiniWob("click-test")
    env.reset(seed=1)
    yield env
    env.close()


def show(page, html):
    page._browser.script("document.getElementById('area').innerHTML = arguments[0]", html)
    page._browser.script("const f = document.getElementById('f'); (f.shadowRoot ? f.shadowRoot.firstChild : f).focus()")


HOLDS = "const f = document.getElementById('f'); return f.value === undefined ? f.textContent : f.value"


@pytest.mark.slow
@pytest.mark.dependencies
@needs("chromium", "chromedriver")
class TestPage:
    @pytest.mark.parametrize(
        ("html", "text"),
        [
            ('<input id="f" value="Grace">', "Ada"),
            ('<input id="f" type="password" value="hunter2">', "Zoë"),
            ('<input id="f" type="email" value="a@b.c">', "ada@example.org"),
            ('<input id="f" type="number" value="12">', "7"),
            ('<textarea id="f">one\ntwo</textarea>', "three"),
            ('<div id="f" contenteditable="true">some <b>bold</b> text</div>', "plain"),
            ('<input id="f" value="Grace">', ""),
            ('<input id="f" value="">', "Ida"),
        ],
    )
    def test_a_field_holds_exactly_the_new_text(self, page, html, text):
        page.reset(seed=1)
        show(page, html)
        page.step(Type(text, replace=True))
        assert page._browser.script(HOLDS) == text

    @pytest.mark.parametrize(
        ("html", "reason"),
        [
            ('<button id="f">Delete</button>', "the focus is on an element <button>, which holds no text"),
            ('<input id="f" type="checkbox">', "the focus is on an element <input>, which holds no text"),
            ('<input id="f" readonly value="a">', "the field with the focus cannot be edited"),
            ('<p id="f">text</p>', "nothing has the keyboard focus"),
        ],
    )
    def test_what_is_no_field_gets_no_key(self, page, html, reason):
        page.reset(seed=1)
        show(page, html)
        with pytest.raises(ActionRefused, match=f"there is no text to replace: {reason}. Click a field first"):
            page.step(Type("Ada", replace=True))


# --- The desktop's keys -----------------------------------------------------------------------------------------------


def sent(action):
    class Input(FakeInput):
        KEYS = FakeInput.KEYS | {"cmd", "backspace"}

    env = Desktop(capture=FakeScreen((0, 0, 640, 480)), input=Input(), pace=FAST)
    env.reset()
    env.step(action)
    return env._input.sent


def test_a_text_is_typed_over_and_no_key_deletes_before():
    keys = [what[1] for what in sent(Type("Ada", replace=True))]
    assert keys[-1] == "Ada"
    assert "backspace" not in keys
    assert "a" in keys


@pytest.mark.parametrize("text", ["", "\nAda", "\tAda"])
def test_without_a_character_to_type_over_the_selection_is_erased(text):
    downs = [what[1] for what in sent(Type(text, replace=True)) if what[0] == "down"]
    assert downs[1:3] == ["a", "backspace"]


def test_a_text_that_cannot_be_typed_selects_nothing():
    env = Desktop(capture=FakeScreen((0, 0, 640, 480)), input=FakeInput(), pace=FAST)
    env.reset()
    with pytest.raises(ActionRefused, match="no other control character"):
        env.step(Type("bell\x07", replace=True))
    assert env._input.sent == []


# --- Records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Type("Ada", replace=True), Type("Ada"), Type("", replace=True)])
def test_a_record_keeps_whether_text_replaces(action):
    assert action_from_dict(json.loads(json.dumps(action_to_dict(action)))) == action


def test_a_record_from_before_adds_text():
    assert action_from_dict({"type": "Type", "text": "Ada"}) == Type("Ada", replace=False)
    with pytest.raises(ValueError, match="replace must be true or false, got 'yes'"):
        action_from_dict({"type": "Type", "text": "Ada", "replace": "yes"})


def test_people_read_whether_text_replaces():
    assert describe(Type("Ada")) == 'Type "Ada"'
    assert describe(Type("Ada", replace=True)) == 'Replace with "Ada"'


def test_a_secret_may_replace_what_a_field_holds():
    secrets = Secrets({"PIN": "4711-4712"})
    assert secrets.reveal(Type("{{PIN}}", replace=True)) == Type("4711-4712", replace=True)


def test_android_control_has_no_words_for_replacing():
    assert action_text(Type("Ada")) == "Type Ada"
    with pytest.raises(ValueError, match="AndroidControl has no words for"):
        action_text(Type("Ada", replace=True))
