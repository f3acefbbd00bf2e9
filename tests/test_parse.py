"""JSON, JSON lines and YAML of others: bounded, and each damage is one error that names the place."""

import json
import os

import pytest

from molmo_agent.errors import DataError
from molmo_agent.parse import MAX_DEPTH, decode, json_lines, load_json, load_yaml, read_bounded, read_json, read_yaml

HERE = "the file"


def refusals(load, texts):
    """Return the messages; a text that is accepted or fails in another way is named instead."""
    messages = []
    for text in texts:
        try:
            value = load(text, where=HERE)
        except DataError as error:
            messages.append(str(error))
        else:
            messages.append(f"accepted {text[:40]!r} as {value!r:.40}")
    return messages


def test_json_of_any_kind_is_read():
    assert load_json('{"a": [1, 2.5, null, true, "\\u2028", 1e30, -3]}', where=HERE) == {
        "a": [1, 2.5, None, True, "\u2028", 1e30, -3]
    }
    assert load_json(b"\xef\xbb\xbf[1]", where=HERE) == [1]
    assert load_json("[1e-999, 12345678901234567890, 1E+005]", where=HERE) == [0.0, 12345678901234567890, 100000.0]


def test_deep_json_is_an_error_at_every_depth():
    deepest = load_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, where=HERE)
    assert isinstance(deepest, list)
    mixed = '{"a":[' * 40 + "]}" * 40
    texts = ["[" * depth + "]" * depth for depth in (MAX_DEPTH + 1, 500, 5000, 200_000)] + [mixed, '{"x":' * 90_000]
    for message in refusals(load_json, texts):
        assert message.startswith("expected the file to be nested at most 64 levels deep")


def test_brackets_within_strings_are_not_nesting():
    text = json.dumps({"a": "[{" * 10_000})
    assert load_json(text, where=HERE)["a"].startswith("[{")


def test_numbers_that_no_float_can_hold_are_refused():
    texts = [
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "-1e400",
        "9" * 400,
        "[" + "9" * 5000 + "]",
        "1" * 310 + ".5",
    ]
    for message in refusals(load_json, texts):
        assert message.startswith("expected the file to be JSON, but ")
    assert load_json("[Infinity, 1e999]", where=HERE, nan=True) == [float("inf")] * 2


def test_a_json_error_says_where_and_whether_the_text_is_cut():
    with pytest.raises(DataError, match=r"the file to be JSON, but .* at line 2, column 3$"):
        load_json("[1,\n  ?]", where=HERE)
    for text in ("", '{"a": 1', '{"a": [1, 2, ', '{"step": 3, "loss"'):
        with pytest.raises(DataError, match="it ends there: is the file complete"):
            load_json(text, where=HERE)


def test_other_encodings_are_named():
    text = '{"label": "Größe"}'
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(DataError, match="expected the file to be UTF-8, got UTF-16 or UTF-32"):
            decode(text.encode(encoding), where=HERE)
    for encoding in ("latin-1", "cp1252", "mac-roman"):
        with pytest.raises(DataError, match="to be UTF-8, but line 1 has the byte 0x"):
            decode(text.encode(encoding), where=HERE)
    with pytest.raises(DataError, match="line 3 has the byte 0xff"):
        decode(b"a\nb\n\xff", where=HERE)


def test_yaml_of_a_recipe_is_read():
    assert load_yaml("a: 1\nb: [1e-5, x]\nc: {d: null}\n", where=HERE) == {"a": 1, "b": ["1e-5", "x"], "c": {"d": None}}
    assert load_yaml(b"\xef\xbb\xbfa: \xc3\xa9", where=HERE) == {"a": "\xe9"}


def test_deep_yaml_is_an_error_at_every_depth():
    lines = "".join(" " * depth + "a:\n" for depth in range(200))
    dashes = "- " * 3000 + "x"
    for message in refusals(load_yaml, ["[" * 65 + "]" * 65, "[" * 5000, "{a: " * 2000, lines, dashes]):
        assert "it is nested more than 64 levels deep at line" in message, message


def test_yaml_aliases_are_read_within_bounds():
    text = "sizes: &s [1, 2]\na: {sizes: *s}\nb: &b {x: 1}\nc: {<<: *b, y: 2}\n"
    assert load_yaml(text, where=HERE) == {
        "sizes": [1, 2],
        "a": {"sizes": [1, 2]},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }


def test_yaml_aliases_that_grow_or_contain_themselves_are_refused():
    def bomb(width, levels):
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
        return "\n".join(lines)

    merged = "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9}]}}" for n in range(1, 9))
    for message in refusals(load_yaml, [bomb(9, 9), bomb(3, 40), bomb(1000, 3), merged]):
        assert "its aliases make it larger than 200000 values at line" in message, message
    for message in refusals(load_yaml, ["options: &o {a: *o}", "&x [*x]", "&x {*x : 1}", "a: &a\n  - b: [1, {c: *a}]"]):
        assert "an alias refers to what it is part of at line" in message, message
    for message in refusals(load_yaml, [bomb(1, 90)]):
        assert "it is nested more than 64 levels deep at line" in message, message
    for message in refusals(load_yaml, ["*nowhere", "a: *b\nb: &b 1"]):
        assert "found undefined alias" in message, message


def test_text_that_is_no_yaml_or_no_plain_data_is_an_error():
    texts = [
        "[", "a: b: c", "%", "\t- x", "a: 'open", "!!python/object/apply:os.system [id]", "!!python/name:os.system x",
        "2001-99-99", "!!int x", "!!float y", "!!timestamp z", "!!binary \xe9", "? [1]\n: 2", "a\n---\nb", "1" * 5000,
        "1:" * 2000 + "1", "a: \x00", "<<: 3", "x" * 1_000_001,
    ]  # fmt: skip
    wrong = [message for message in refusals(load_yaml, texts) if not message.startswith("expected the file to ")]
    assert wrong == []


def test_a_key_of_yaml_that_stands_twice_is_an_error_with_its_place():
    texts = ["steps: 1\nbatch: 2\nsteps: 3\n", "a: {b: 1, 'b': 2}", "- {x: 1}\n- {y: 1, y: 1}", "1: a\n1: b"]
    wrong = [message for message in refusals(load_yaml, texts) if "stands there twice at line" not in message]
    assert wrong == []
    merged = "base: &base {steps: 1, batch: 2}\nrun: &run {<<: *base, steps: 3}\nlast: {<<: *run, batch: 4}"
    assert load_yaml(merged, where="x")["last"] == {"steps": 3, "batch": 4}


def test_lines_end_with_a_line_feed_only(tmp_path):
    path = tmp_path / "rows.jsonl"
    strings = ["a\u2028b", "a\u2029b", "a\x85b", "\x7f", "plain"]
    text = "".join(json.dumps({"label": string}, ensure_ascii=False) + "\n" for string in strings)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [(n, row["label"]) for n, row in json_lines(path)] == list(enumerate(strings, 1))


def test_blank_lines_and_windows_line_ends_are_accepted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\r\n1\r\n\n  \n2")
    assert list(json_lines(path)) == [(2, 1), (5, 2)]


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    for bad in (b"{", b"\xe9", b"[" * 200_000, b"{'a': 1}", b'"a" "b"', "1".encode("utf-16-le"), b"NaN"):
        path.write_bytes(b"1\n" + bad + b"\n3\n")
        with pytest.raises(DataError, match=r"rows\.jsonl, line 2 "):
            list(json_lines(path))
    path.write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(DataError, match=r"rows\.jsonl, line 1 to be UTF-8, got UTF-16"):
        list(json_lines(path))


def test_a_cut_last_line_is_dropped_only_on_request(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = '{"step": 1}\n{"step": 2, "note": "größer"}'.encode()
    for end in range(12, len(whole)):
        path.write_bytes(whole[:end])
        messages: list[str] = []
        assert [row for _, row in json_lines(path, on_cut_end=messages.append)] == [{"step": 1}]
        assert len(messages) == (end > 12)
        if end > 12:
            with pytest.raises(DataError, match="line 2"):
                list(json_lines(path))
    # Damage that no cut explains stays an error.
    path.write_bytes(b"{\n1\n")
    with pytest.raises(DataError, match="line 1"):
        list(json_lines(path, on_cut_end=print))


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(DataError, match=r"regular file|cannot be read"):
        read_yaml(tmp_path)
    large = tmp_path / "large"
    large.write_bytes(b"x" * 101)
    with pytest.raises(DataError, match="at most 100 bytes; it is larger"):
        read_bounded(large, 100)
    assert read_bounded(large, 101) == b"x" * 101


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_block_the_reader(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match=r"expected .*run\.json to be a regular file"):
        read_json(tmp_path / "run.json")
    with pytest.raises(DataError, match="regular file"):
        list(json_lines(tmp_path / "run.json"))
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="regular file"):
        read_bounded(tmp_path / "zero")
