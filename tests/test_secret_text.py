"""Typed secrets in text: found in every form that programs write them in, and never mistaken for something else."""

import base64
import hashlib
import html
import json
import logging
import shlex
import traceback
import urllib.parse

import pytest

from molmo_agent.actions import Click, Done, Type
from molmo_agent.episode import Decision, LabelledPoint, PointResult
from molmo_agent.errors import EnvError, MolmoAgentError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.rollout.trajectory import load_trajectory, read_folder
from molmo_agent.testing import ScriptedDecisions, ToyEnv

VALUES = [
    "tr0ub4dor&3",
    "correct horse battery staple",
    "a'b\"c\\d/e f",
    '100%sure: <yes> & "no"',
    "pässwört ñ 日本",
    "x+y=z?&k=v#50%",
    "$HOME`id`;rm -rf",
    "--------",
]
FORMS = {
    "raw": str,
    "upper case": str.upper,
    "JSON": lambda v: json.dumps(v),
    "JSON, Unicode": lambda v: json.dumps(v, ensure_ascii=False),
    "JSON in JSON": lambda v: json.dumps(json.dumps({"text": v})),
    "repr": repr,
    "bytes": lambda v: repr(v.encode()),
    "URL": lambda v: "https://h/?q=" + urllib.parse.quote(v, safe=""),
    "form": lambda v: "q=" + urllib.parse.quote_plus(v),
    "lower per cent": lambda v: "q=" + urllib.parse.quote(v, safe="").lower(),
    "URL twice": lambda v: urllib.parse.quote(urllib.parse.quote(v, safe=""), safe=""),
    "HTML": lambda v: f'<input value="{html.escape(v)}">',
    "HTML, numbers": lambda v: "".join(f"&#{ord(char)};" for char in v),
    "XML": lambda v: html.escape(v).encode("ascii", "xmlcharrefreplace").decode(),
    "shell": lambda v: f"echo {shlex.quote(v)}",
    "shell of a phone": lambda v: f"input text {shlex.quote(v.replace(' ', '%s'))}: not found",
    "phone": lambda v: "input text " + v.replace(" ", "%s"),
    "basic authorization": lambda v: "Basic " + base64.b64encode(f"ada:{v}".encode()).decode(),
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 in a longer text": lambda v: base64.b64encode(f"pw={v}&ok=1".encode()).decode(),
    "base64 of URLs": lambda v: base64.urlsafe_b64encode(f"..{v}".encode()).decode(),
    "hexadecimal": lambda v: v.encode().hex().upper(),
    "letters": lambda v: "  ".join(v),
    "lines": lambda v: "\n".join(v),
    "wrapped": lambda v: f"{v[:4]}\n      {v[4:]}",
    "boxed": lambda v: f"│ {v[:5]} │\n│ {v[5:]} │",
}


def test_a_secret_is_found_in_every_form_that_programs_write():
    missed = []
    for value in VALUES:
        secrets = Secrets({"PASSWORD": value})
        for name, form in FORMS.items():
            text = form(value)
            cleaned = secrets.scrub(f"before {text} after")
            pieces = [value, text] if "base64" not in name and name != "basic authorization" else []
            if "{{PASSWORD}}" not in cleaned or any(piece in cleaned for piece in pieces):
                missed.append(f"{value!r} as {name}: {cleaned}")
            if not (cleaned.startswith("before ") and cleaned.endswith(" after")):
                missed.append(f"{value!r} as {name} took what is beside it: {cleaned}")
    assert missed == []


def test_other_text_stays_as_it_is():
    secrets = Secrets({f"S{i}": value for i, value in enumerate(VALUES)} | {"WORD": "password"})
    texts = [
        "click Save, then press enter",
        '{"x": 12.5, "status": "ok", "points": [[0.25, 0.5]]}',
        "2026-11-30T08:54:37+00:00 / 000012.png",
        hashlib.sha256(b"x").hexdigest(),
        "- - -",
        "p a s s",
        "tr0ub",
        "horse battery",
    ]
    assert [text for text in texts if secrets.scrub(text) is not text] == []


def test_letters_in_a_list_and_numbers_are_found():
    secrets = Secrets({"PIN": "4711471147", "WORD": "tr0ub4dor"})
    assert secrets.scrub({"keys": list("tr0ub4dor"), "pin": 4711471147, "size": [1920, 1080]}) == {
        "keys": ["{{WORD}}"],
        "pin": "{{PIN}}",
        "size": [1920, 1080],
    }


def test_of_secrets_that_overlap_the_longest_counts_and_equal_ones_have_the_first_name():
    secrets = Secrets({"SHORT": "tr0ub4dor", "LONG": "tr0ub4dor&3-long", "AGAIN": "tr0ub4dor"})
    assert secrets.scrub("a tr0ub4dor b tr0ub4dor&3-long c") == "a {{SHORT}} b {{LONG}} c"
    named = Secrets({"A": "b4-secret-X", "b4_secret": "A2345678"})
    assert named.scrub("b4-secret-X A2345678") == "{{A}} {{b4_secret}}"


@pytest.mark.parametrize(
    "value",
    ["1", "12345", "1234567", "abc", "button", "ok!", "2026", "        ", " a1 b ", "a1!b", "\u00e4\u00f6\u00fc"],
)
def test_what_cannot_be_told_apart_from_ordinary_text_is_refused_without_showing_it(value):
    with pytest.raises(
        UsageError, match=r"the secret \{\{PIN\}\} is too short.*Type it by hand, such as a PIN"
    ) as caught:
        Secrets.from_environment(["PIN"], {"MOLMO_SECRET_PIN": value})
    assert value.strip() == "" or value not in str(caught.value).replace("PIN", "")


@pytest.mark.parametrize("value", ["hunter2", "12345678", "s3cret", "swordfish", "a b-c d"])
def test_what_can_be_told_apart_is_accepted(value):
    assert Secrets.from_environment(["P"], {"MOLMO_SECRET_P": value}).reveal(Type("{{P}}")) == Type(value)


@pytest.mark.parametrize(
    "value", ["tr0ub4dor\n", "two\r\nlines 123", "tab\there 123", "bell\x07 123456", "line\u2028 1234567"]
)
def test_a_value_that_would_press_a_key_is_refused(value):
    with pytest.raises(UsageError, match=r"the secret \{\{P\}\} holds a line end, a tab") as caught:
        Secrets({"P": value})
    assert value not in str(caught.value)


# --- Records ----------------------------------------------------------------------------------------------------------


def test_a_record_keeps_its_hashes_names_dates_and_words_whatever_the_secret_is(tmp_path):
    decisions = [
        Decision(
            action=Click(Point(0.5, 0.5)),
            instruction="click it",
            result=PointResult(status="ok", reply="unparsed", points=(LabelledPoint(Point(0.5, 0.5), "refused"),)),
        ),
        Type("x"),
    ]
    plain, folder = tmp_path / "plain", tmp_path / "run"
    list(rollout(ScriptedDecisions(decisions), ToyEnv(), "x", settle=AT_ONCE, recorder=Recorder(plain), seed=1))
    structure = json.loads((plain / "steps.jsonl").read_text().splitlines()[0])
    values = {
        "HASH": structure["observation"]["sha256"][:12],
        "FILE": structure["observation"]["file"],
        "WORD": "observation",
        "STATUS": "terminated",
        "DATE": read_folder(plain).meta["created"][:10],
        "REPLY": "unparsed",
    }
    guards = Guards(secrets=Secrets(values))
    list(
        rollout(
            ScriptedDecisions(decisions),
            ToyEnv(),
            "x",
            settle=AT_ONCE,
            recorder=Recorder(folder),
            seed=1,
            guards=guards,
        )
    )
    line = json.loads((folder / "steps.jsonl").read_text().splitlines()[0])
    assert line.keys() == structure.keys()
    assert line["observation"] == structure["observation"]
    assert line["result"]["reply"] == "{{REPLY}}"
    meta, result = read_folder(folder).meta, json.loads((folder / "result.json").read_text())
    assert "{{" not in json.dumps({name: meta[name] for name in ("created", "versions", "env", "policy", "guards")})
    assert "{{" not in json.dumps(result)
    assert len(load_trajectory(folder).steps) == 1


class EchoingEnv(ToyEnv):
    """Tells what it was given, in a form of its own."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def step(self, action):
        observation, *rest, info = super().step(action)
        return observation, *rest, info | {"echo": self.form(getattr(action, "text", ""))}


def test_no_byte_of_a_record_and_no_step_holds_a_form_of_the_secret(tmp_path):
    leaked = []
    for number, (name, form) in enumerate(FORMS.items()):
        value = VALUES[number % len(VALUES)]
        folder, secrets = tmp_path / str(number), Secrets({"PASSWORD": value})
        policy = ScriptedDecisions([Type("{{PASSWORD}}"), Done(message=f"typed {form(value)}")])
        episode = rollout(
            policy, EchoingEnv(form), "x", settle=AT_ONCE, recorder=Recorder(folder), guards=Guards(secrets=secrets)
        )
        steps = list(episode)
        text = (folder / "steps.jsonl").read_text() + (folder / "result.json").read_text()
        if (
            secrets.scrub(text) != text
            or secrets.scrub(repr(steps)) != repr(steps)
            or secrets.scrub(episode.trajectory.ended) != episode.trajectory.ended
        ):
            leaked.append(name)
    assert leaked == []


# --- Exceptions -------------------------------------------------------------------------------------------------------


class StubbornError(Exception):
    """Has a text that cannot be changed."""

    def __init__(self, text):
        super().__init__(0)
        self._parts = (text.encode(),)

    def __str__(self):
        return self._parts[0].decode()


def failures(text):
    """Make exceptions as other packages do, with the text in many places."""
    chained = ValueError("outer")
    chained.__cause__ = OSError(2, "no such file", f"/tmp/{text}")
    chained.__cause__.__context__ = KeyError(text)
    noted = RuntimeError("noted")
    noted.add_note(f"while typing {text}")
    hidden = TypeError("hidden")
    hidden.__context__ = StubbornError(text)
    hidden.__suppress_context__ = True
    attribute = RuntimeError("attribute")
    attribute.response = {"body": [text]}
    return {
        "a value error": ValueError(f"cannot type {text!r}"),
        "a chain": chained,
        "a note": noted,
        "a hidden context": hidden,
        "an attribute": attribute,
        "a stubborn one": StubbornError(text),
        "a decoding error": UnicodeDecodeError("utf-8", text.encode(), 0, 1, f"no {text}"),
        "a group": ExceptionGroup(f"many {text}", [ValueError(text), EnvError(text)]),
        "one of ours": EnvError(f"lost at {text}"),
        "another kind": AssertionError(text),
    }


def chain_of(error):
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def test_no_exception_leaves_a_run_with_a_secret_in_its_text_or_its_traceback(tmp_path, caplog):
    value = "tr0ub4dor&3 <x>"
    secrets, leaked = Secrets({"P": value}), []
    for number, name in enumerate(failures(value)):
        env = ToyEnv()

        def step(action, name=name):
            raise failures(action.text)[name]

        env.step = step
        recorder = Recorder(tmp_path / str(number))
        episode = rollout(
            ScriptedDecisions([Type("{{P}}")]), env, "x", recorder=recorder, guards=Guards(secrets=secrets)
        )
        try:
            list(episode)
            leaked.append(f"{name} was swallowed")
        except Exception as error:
            texts = [*traceback.format_exception(error), *(f"{e} {e!r} {vars(e)}" for e in chain_of(error))]
            logging.getLogger("test").exception("failed")
            if any(secrets.scrub(text) != text for text in [*texts, caplog.text, episode.trajectory.ended]):
                leaked.append(f"{name}: {texts}")
            if "{{P}}" not in "".join(texts) + str(vars(error)) and name != "a hidden context":
                leaked.append(f"{name} says nothing: {texts}")
        if any(secrets.scrub(text) != text for text in [(tmp_path / str(number) / "steps.jsonl").read_text()]):
            leaked.append(f"{name} in the record")
    assert leaked == []


def test_an_exception_keeps_its_type_where_its_text_can_be_changed():
    secrets = Secrets({"P": "tr0ub4dor"})
    error = ValueError("bad tr0ub4dor")
    assert secrets.scrub_error(error) is error
    assert str(error) == "bad {{P}}"
    replaced = secrets.scrub_error(StubbornError("bad tr0ub4dor"))
    assert type(replaced) is MolmoAgentError
    assert str(replaced) == "StubbornError: bad {{P}}"
    untouched = OSError(2, "no such file", "x")
    assert secrets.scrub_error(untouched) is untouched
    assert Secrets().scrub_error(untouched) is untouched
