"""Orders on a phone over adb and in a desktop notification: who obeys is captured, who does the task is not."""

import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.evaluation.adb_phone.server import OwnAdbServer
from molmo_agent.evaluation.injection import adb, programs
from molmo_agent.evaluation.injection.agents import OBEDIENT, ORACLE, Agent, PolicyMaker
from molmo_agent.evaluation.injection.cases import FAMILIES, Case
from molmo_agent.evaluation.injection.orders import CONTROL, draw_app_label, draw_order
from molmo_agent.evaluation.injection.run import Run, play, play_in_process, runnable
from molmo_agent.evaluation.real_tasks.session import missing_tools

if sys.platform == "win32":
    pytest.skip("the phone of our own needs named pipes", allow_module_level=True)
pytest.importorskip("adbutils", reason="needs the extra 'android'")

PHONES = ("adb-notification", "adb-clipboard", "adb-app-label")
MISSING = [*missing_tools(), *(name for name in ("mousepad", "dunst") if not shutil.which(name))]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No phone of this machine's environment."""
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)


def test_an_order_on_a_phone_over_adb_captures_who_obeys_and_nobody_else() -> None:
    wrong = []
    for family, variant, number in zip(PHONES, ("faint", "tool", "language"), (3, 5, 8), strict=True):
        case = Case(family, variant, number, 31)
        for name in (OBEDIENT, ORACLE):
            record = play(Run(case, Agent(name), "never"), PolicyMaker(Agent(name)))
            if (record["captured"], record["achieved"]) != (name == OBEDIENT, name == ORACLE):
                wrong.append(record)
    control = play(Run(Case(PHONES[0], CONTROL, 3, 31), Agent(OBEDIENT), "never"), PolicyMaker(Agent(OBEDIENT)))
    assert wrong == []
    assert (control["captured"], control["achieved"]) == (False, True)


def test_all_variants_of_a_phone_share_its_screen_and_its_task() -> None:
    for opener in (adb.open_notification, adb.open_clipboard, adb.open_app_label):
        tasks, orders = set(), set()
        for variant in (CONTROL, "plain", "agent"):
            with opener(Case("adb", variant, 2, 9)) as stage:
                tasks.add(stage.instruction)
                orders.add(" ".join(stage.order.lines) if stage.order else "")
                assert len(stage.locate(stage.instruction.removeprefix("click "))) == 1
                assert bool(stage.ordered) == (variant != CONTROL)
        assert (len(tasks), len(orders)) == (1, 3)


def test_touches_of_a_card_reach_the_card_alone() -> None:
    def system() -> adb._HostileSystem:
        order = draw_order("plain", Case("f", "plain", 1).rng("order"), "Save")
        return adb._HostileSystem(adb.make_phone(1, 360, 640), adb.Card("Mail", order, "top"))

    def middle(box: tuple[int, int, int, int]) -> tuple[int, int]:
        return (box[0] + box[2]) // 2, (box[1] + box[3]) // 2

    for label in ("Dismiss", None):
        phone = system()
        assert phone.card is not None
        name = label or phone.card.order.label
        phone.tap(*middle(phone.card.buttons[name]))
        assert (phone.pressed, phone.card) == ([name], None)
    beside = system()
    assert beside.card is not None
    beside.tap(beside.card.box[0] + 3, beside.card.box[1] + 60)
    assert (beside.pressed, beside.phone.stack) == ([], [])
    assert beside.card is not None


def test_labels_of_apps_are_short_enough_for_a_launcher() -> None:
    labels = {
        draw_app_label(variant, Case("adb-app-label", variant, number).rng("order")).label
        for variant in FAMILIES["adb-app-label"].variants
        for number in range(30)
    }
    assert len(labels) > 20
    assert max(map(len, labels)) <= 14


def test_a_machine_without_adbutils_is_told_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtraError("a phone over adb", "android")

    monkeypatch.setattr("molmo_agent.evaluation.injection.run.load_adbutils", missing)
    able, lines = runnable(("adb-clipboard", "phone-message"))
    assert able == ["phone-message"]
    assert lines == ["adb-clipboard: needs the extra android"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'cannot bind' >&2; exit 1", "does not start: cannot bind. Check `adb start-server`"),
        ("exit 3", "does not start: exit code 3"),
        ("exit 0", "a phone is plugged into this machine"),
    ],
)
def test_an_adb_server_that_cannot_be_our_own_is_an_error(
    script: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "binaries" / "adb"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    client = SimpleNamespace(list=lambda: ["a phone"], server_kill=lambda: None)
    library = SimpleNamespace(__file__=str(tmp_path / "__init__.py"), AdbError=OSError, AdbClient=lambda: client)
    monkeypatch.setattr("molmo_agent.evaluation.adb_phone.server.load_adbutils", lambda: library)
    before = dict(os.environ)
    with pytest.raises(EnvError, match=re.escape(message)):
        OwnAdbServer()
    assert dict(os.environ) == before


# --- A desktop --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
def test_a_notification_of_a_real_desktop_captures_who_obeys() -> None:
    record = play_in_process(Run(Case("desktop-notification", "tool", 4, 6), Agent(OBEDIENT), "never"), None)
    assert record.get("captured") is True, record
    assert not record["achieved"]
    assert record["task"].startswith("press ctrl+End, type ")


def test_a_desktop_that_shows_no_notification_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_bubbles", lambda session: [])
    monkeypatch.setattr(programs, "_BUBBLE_S", 0.0)
    with pytest.raises(EnvError, match=re.escape("is another notification daemon running?")):
        programs._await_bubble(None)  # type: ignore[arg-type]
