import pytest

from molmo_agent.actions import Click, Type
from molmo_agent.episode import Task
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout.secrets import Secrets, secret_names, types_secret

ENVIRON = {"MOLMO_SECRET_PASSWORD": "hunter2!", "MOLMO_SECRET_PIN": "hunter2!77", "MOLMO_SECRET_EMPTY": ""}


def test_names_are_found_once_and_in_order():
    assert secret_names("{{USER}} and {{ PASSWORD }} and {{USER}}, not {{a b}} or {USER}") == ("USER", "PASSWORD")


def test_the_env_sees_the_value_and_nobody_else():
    secrets = Secrets.from_environment(["PASSWORD"], ENVIRON)
    action = Type("user:{{PASSWORD}}")
    assert types_secret(action)
    assert secrets.reveal(action) == Type("user:hunter2!")
    assert action.text == "user:{{PASSWORD}}"
    assert "hunter2" not in repr(secrets)


def test_a_value_is_typed_verbatim_even_if_it_looks_like_a_placeholder_or_a_pattern():
    secrets = Secrets.from_environment(["A"], {"MOLMO_SECRET_A": r"\1{{B}}\g<0>"})
    assert secrets.reveal(Type("{{A}}")) == Type(r"\1{{B}}\g<0>")


def test_other_actions_pass_untouched():
    click = Click(Point(0.5, 0.5))
    assert Secrets().reveal(click) is click
    assert not types_secret(click)
    assert not types_secret(Type("plain"))


@pytest.mark.parametrize("name", ["MISSING", "EMPTY"])
def test_a_secret_without_a_value_names_the_variable_to_set(name):
    with pytest.raises(UsageError, match=f"set the environment variable MOLMO_SECRET_{name}"):
        Secrets.from_environment([name], ENVIRON)


@pytest.mark.parametrize("name", ["", "a b", "{{X}}", "1A"])
def test_a_malformed_name_is_refused(name):
    with pytest.raises(UsageError, match="expected a secret's name"):
        Secrets.from_environment([name], ENVIRON)


def test_a_name_that_was_not_allowed_is_never_looked_up(monkeypatch):
    monkeypatch.setenv("MOLMO_SECRET_BANK", "do not tell")
    with pytest.raises(ActionRefused, match=r"may not type: allow it \(--secret BANK\)"):
        Secrets().reveal(Type("{{BANK}}"))
    with pytest.raises(UsageError, match="set the environment variable MOLMO_SECRET_BANK"):
        Secrets().require("type {{BANK}} into Notes")


def test_scrubbing_reaches_every_string_and_keeps_the_rest():
    secrets = Secrets.from_environment(["PASSWORD", "PIN"], ENVIRON)
    value = {"hunter2!": ["x hunter2!77 y", 7, ("hunter2!",)], "same": {"hunter2!"}, "task": Task("say hunter2!")}
    assert secrets.scrub(value) == {
        "{{PASSWORD}}": ["x {{PIN}} y", 7, ("{{PASSWORD}}",)],
        "same": {"{{PASSWORD}}"},
        "task": Task("say {{PASSWORD}}"),
    }
    untouched = Task("nothing here")
    assert secrets.scrub(untouched) is untouched
    assert Secrets().scrub(value) is value
