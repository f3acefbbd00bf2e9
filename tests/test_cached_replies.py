"""Cached replies of models: paid for once, and asked for again where their file is damaged."""

from pathlib import Path
from typing import Any

import pytest

from molmo_agent.pixmo.language_model.client import Budget, LanguageModel
from molmo_agent.pointers.served.answer import Answer
from molmo_agent.pointers.served.replies import Replies

DAMAGES = [b"", b"\xff\xfe{", b"{", b"[1]", b'{"reply": 3}', b'{"prompt": "a"}']


def test_a_reply_is_found_by_all_that_was_asked(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "made" / "later")
    assert replies.read("a") is None
    assert not (tmp_path / "made").exists()
    for key, reply in (("a", "1"), ("b\n", ""), ("\udcff", "lone \udcff"), ("ä", "ö\n")):
        replies.write(key, reply, prompt=key)
        assert Replies(replies.folder).read(key) == reply
    assert replies.read("a\n") is None
    replies.forget("a")
    replies.forget("a")
    assert replies.read("a") is None


class Endpoint:
    """Answers, and counts."""

    url, model = "http://127.0.0.1:9/v1", "m"

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, messages: list[Any], max_tokens: int) -> Answer:
        self.asked += 1
        return Answer(text=f"reply {self.asked}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_asked_for_again(tmp_path: Path, damage: bytes) -> None:
    endpoint = Endpoint()
    model = LanguageModel({"": endpoint}, tmp_path, Budget(100_000))
    assert [model.write("coder", "a chart"), model.write("coder", "a chart")] == ["reply 1", "reply 1"]
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(damage)
    assert [model.write("coder", "a chart"), model.write("coder", "a chart")] == ["reply 2", "reply 2"]
    assert endpoint.asked == 2
