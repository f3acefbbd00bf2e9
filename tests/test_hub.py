"""A name that is no folder, on a machine that may have no network."""

from pathlib import Path

import huggingface_hub
import pytest

from molmo_agent.errors import ModelError
from molmo_agent.model.checkpoints import hub
from molmo_agent.pointers.local_chat.loading import load_pointer


class Session:
    def __init__(self, error: Exception | None) -> None:
        self.error, self.asked = error, 0

    def head(self, url: str, timeout: float) -> None:
        self.asked += 1
        if self.error:
            raise self.error


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    made = Session(OSError("Name or service not known"))
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: made)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    hub.reachable.cache_clear()
    yield made
    hub.reachable.cache_clear()


def test_a_name_that_cannot_be_looked_up_is_told_at_once(session: Session) -> None:
    with pytest.raises(ModelError, match="'no/where' is no folder here, and the Hugging Face hub cannot be reached"):
        load_pointer("no/where")
    assert session.asked == 1, "once, not for every file"


def test_the_hub_is_not_asked_about_a_folder(session: Session, tmp_path: Path) -> None:
    assert hub.places(tmp_path) == {"trust_remote_code": False}
    assert hub.remark(tmp_path) == ""
    assert session.asked == 0


def test_a_hub_that_answers_is_used(session: Session) -> None:
    session.error = None
    assert hub.places("allenai/Molmo-7B-D-0924") == {"trust_remote_code": False}
    assert hub.remark("allenai/Molmo-7B-D-0924") == ""
    assert session.asked == 1
