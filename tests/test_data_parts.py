"""Parts of data sets: shares, and conversations without images in the forms that people publish."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import laid_out, opened, parquet, turns
from tiny_training import small_run, write_chat, write_points

from molmo_agent.data.catalog import open_mixture, open_source
from molmo_agent.data.hold_out import some_of
from molmo_agent.data.row import Row
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError
from molmo_agent.train.batching.encode import apply_template


class Numbers:
    """Rows that are only numbers."""

    def __init__(self, count: int) -> None:
        self.count, self.problems = count, Problems()

    def __len__(self) -> int:
        return self.count

    def row(self, number: int, seed: int) -> Row:
        return Row(conversations=(), name=f"{number}")


def drawn(total: int, **part: Any) -> list[int]:
    rows = some_of(Numbers(total), **part)
    return [int(rows.row(number, 0).name) for number in range(len(rows))]


# --- Shares -----------------------------------------------------------------------------------------------------------


def test_a_share_is_the_same_rows_at_every_start_and_in_order() -> None:
    for count, share, size in ((1000, 0.1, 100), (7, 0.5, 4), (3, 0.01, 1), (10, 1.0, 10)):
        rows = drawn(count, share=share)
        assert len(rows) == size
        assert rows == sorted(set(rows)) == drawn(count, share=share)
    # Drawn from everywhere, not from the beginning.
    assert 300 < sum(drawn(1000, share=0.2)) / 200 < 700
    assert drawn(1000, share=0.1) != drawn(1000, share=0.1, draw=1)


def test_a_larger_part_holds_a_smaller_one_and_few_rows_change_with_appended_data() -> None:
    for draw in range(3):
        assert (
            {*drawn(5000, share=0.1, draw=draw)}
            < {*drawn(5000, count=600, draw=draw)}
            < {*drawn(5000, share=0.2, draw=draw)}
        )
    before, after = {*drawn(5000, share=0.1)}, {*drawn(5050, share=0.1)}
    assert len(before - after) < 25
    assert drawn(5, count=99) == [0, 1, 2, 3, 4]


def test_a_share_of_any_data_set_leaves_its_hold_out_set_whole(tmp_path: Path) -> None:
    path = str(write_points(tmp_path, pictures=30))
    whole = Source(kind="points", path=path, hold_out=5)
    part = Source(kind="points", path=path, hold_out=5, share=0.25)
    held = [open_source(source, held_out=True) for source in (whole, part)]
    assert len(held[0]) == len(held[1]) == 6
    names = {rows.row(number, 0).name for rows in held for number in range(6)}
    training = open_source(part)
    assert len(training) == 6
    assert not names & {training.row(number, 0).name for number in range(6)}
    chat = Source(kind="chat", path=str(write_chat(tmp_path)), rows=2)
    assert [len(rows) for rows in open_mixture([part, chat])] == [6, 2]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"share": 0.0}, r"expected mixture\[0\].share to be a fraction above 0, up to 1, got 0.0"),
        ({"share": 10.0}, r"share to be a fraction above 0, up to 1, got 10.0"),
        ({"share": -0.1}, r"share to be a fraction above 0, up to 1, got -0.1"),
        ({"rows": 0}, r"expected mixture\[0\].rows to be at least 1, and without 'share'; got rows=0"),
        ({"rows": 5, "share": 0.5}, r"without 'share'; got rows=5 and share=0.5"),
        ({"draw": -1}, r"expected mixture\[0\].draw to be at least 0, got -1"),
    ],
)
def test_a_share_that_makes_no_sense_is_refused(part: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        small_run(tmp_path, mixture=[{"kind": "points", "path": "p.jsonl", **part}])


def test_an_infinite_data_set_has_no_share() -> None:
    with pytest.raises(UsageError, match=r"expected a data set with an end .* infinite; remove 'share'"):
        open_source(Source(kind="sim-desktop", share=0.5))


# --- Text alone -------------------------------------------------------------------------------------------------------

MESSAGES = [
    {"role": "user", "content": "Why is the sky blue?"},
    {"role": "assistant", "content": "Short waves scatter more."},
    {"role": "user", "content": "Und warum abends rot?"},
    {"role": "assistant", "content": "Ein längerer Weg.\u2028Mehr Streuung."},
]
PLAIN = tuple(message["content"] for message in MESSAGES)


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": MESSAGES, "source": "ai2/x", "id": 3}, PLAIN),
        ({"messages": list(PLAIN)}, PLAIN),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?"}]}, ("Hi", "Yes?")),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, *MESSAGES[:2]]},
            ("Be brief.\n\n" + PLAIN[0], PLAIN[1]),
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}, MESSAGES[1]]},
            ("a\nb", PLAIN[1]),
        ),
    ],
)
def test_published_forms_of_conversations_are_read(row: Any, expected: tuple[str, ...], tmp_path: Path) -> None:
    assert turns(opened("chat", write_lines(tmp_path / "x.jsonl", row))) == [expected]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "expected 'messages' to be questions and answers in turn, got None"),
        ([], "expected 'messages' to be"),
        (MESSAGES[:3], "got 3 messages that end with a question"),
        (MESSAGES[1:3], "expected message 1 to be of the user, got one of the assistant"),
        ([MESSAGES[0], MESSAGES[2]], "expected message 2 to be of the assistant, got one of the user"),
        ([{"role": "tool", "content": "x"}, MESSAGES[1]], "expected message 1 to be of user, .*, got 'tool'"),
        ([{"role": "user", "content": None}, MESSAGES[1]], "expected a text in message 1, got None"),
        ([{"role": "user", "content": [{"type": "image"}]}, MESSAGES[1]], "the parts of message 1 to be text, got"),
        (["a", " "], "answer 1 is empty"),
        (["a", 3], "expected message 2 to be a text or an object, got 3"),
        ([{"role": "system", "content": "x"}], "got 0 messages"),
    ],
)
def test_rows_that_are_no_conversation_are_named(messages: Any, reason: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", {"messages": ["a", "b"]}, {"messages": messages})
    data = opened("chat", path)
    assert turns(data) == [("a", "b")]
    (problem,) = data.problems.entries
    assert problem.record == 2
    assert re.search(reason, problem.reason)


def test_parquet_files_and_folders_of_conversations_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": f"{n}", "messages": [{"role": r, "content": f"{r} {n}"} for r in ("user", "assistant")]}
        for n in range(5)
    ]
    rows[3]["messages"] = rows[3]["messages"][:1]
    parquet(tmp_path / "one.parquet", rows)
    parquet(tmp_path / "tulu" / "data" / "train-00000-of-00002.parquet", rows[:3])
    parquet(tmp_path / "tulu" / "data" / "train-00001-of-00002.parquet", rows[3:])
    for path in (tmp_path / "one.parquet", tmp_path / "tulu"):
        data = opened("chat", path)
        assert [turns(data, number) for number in range(len(data))] == [
            [(f"user {n}", f"assistant {n}")] for n in (0, 1, 2, 4)
        ]
        assert "got 1 messages that end with a question" in data.problems.summary()
    parquet(tmp_path / "other.parquet", [{"text": "x"}])
    with pytest.raises(UsageError, match=r"expected a column messages or conversations in .*, which has text"):
        opened("chat", tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="expected the split 'test' at"):
        opened("chat", tmp_path / "tulu", split="test")
    with pytest.raises(UsageError, match=r"expected a JSONL or Parquet file of conversations at .*nothing, found none"):
        opened("chat", tmp_path / "nothing")


@pytest.mark.parametrize("prefix", ["style", "length", "none"])
def test_text_alone_is_asked_without_a_tag_of_its_style(prefix: str, tmp_path: Path) -> None:
    data = opened("chat", write_lines(tmp_path / "x.jsonl", {"messages": MESSAGES}))
    for seed in range(20):
        _, text = laid_out(data, seed=seed, prefix=prefix)
        assert " User: Why is the sky blue? Assistant: Short waves" in text


def test_rows_read_on_demand_are_those_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [json.dumps({"messages": [f"ü{n}\u2028?", "y" * n + "."]}, ensure_ascii=False) for n in range(6)]
    path.write_bytes(b"\xef\xbb\xbf" + "\n\n".join(lines).encode() + b"\r\n\nbroken")
    data = opened("chat", path)
    assert [turns(data, n) for n in (5, 0, 3)] == [[(f"ü{n}\u2028?", "y" * n + ".")] for n in (5, 0, 3)]
    assert [data.row(n, 0).name for n in range(6)] == [f"line {2 * n + 1}" for n in range(6)]


def test_androidcontrol_answers_begin_with_one_space(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "android_control"
    steps = json.loads((golden / "expected.json").read_text())["steps"]
    targets = {f"episode {step['episode_id']}, step {step['step']}": step["forms"] for step in steps}
    data, config = opened("android-control", golden), small_run(tmp_path)
    for number in range(len(data)):
        row = data.row(number, 0)
        asked = [apply_template(one, config, np.random.RandomState(0)) for one in row.conversations]
        forms = targets[row.name].values()
        assert asked == [[f" User: {form['prompt']} Assistant:", f" {form['target']}"] for form in forms]
