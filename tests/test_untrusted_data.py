"""Data files from others: lines, encodings, damage and bombs; a row that cannot be used is skipped and named."""

import ast
import contextlib
import gzip
import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from made_data import opened, png, sha, turns, write
from mutated_data import mutate_files, mutate_tables
from typer.testing import CliRunner

import molmo_agent
from molmo_agent.cli.app import app
from molmo_agent.data.android_control.accessibility import read_forest
from molmo_agent.data.android_control.episodes import reference_app_box
from molmo_agent.data.formats import protobuf, tfrecord
from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.formats.protobuf import feature_map
from molmo_agent.data.formats.tfrecord import crc32c, mask_crc, read_records
from molmo_agent.data.images.fetch import FAILED_FILE, read_failures
from molmo_agent.data.images.url_list import read_lists
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

# What str.splitlines takes for the end of a line, and JSON does not.
SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
DEEP = "[" * 200_000


def points_file(folder: Path, *lines: str | bytes) -> Path:
    write(folder / "1.png", png(1))
    data = b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines)
    return write(folder / "points.jsonl", data)


def entry(label: str = "the key", **more: Any) -> str:
    return json.dumps({"image": "1.png", "label": label, "points": [[0.5, 0.5]], **more}, ensure_ascii=False)


# --- JSON lines -------------------------------------------------------------------------------------------------------


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    labels = [f"a{sign}b" for sign in SEPARATORS if sign >= "\x20"]
    path = points_file(tmp_path, *(entry(label) for label in labels), entry("last").replace("last", "in\u2028side"))
    data = opened("points", path)
    assert data.problems.entries == []
    assert len(data.row(0, 0).conversations) == len(labels) + 1
    chat = write(tmp_path / "chat.jsonl", json.dumps({"messages": ["a\u2028b", "c\x85d"]}, ensure_ascii=False).encode())
    assert turns(opened("chat", chat), 0) == [("a\u2028b", "c\x85d")]
    question = {"image": "1.png", "question": "What\u2029is it?", "answers": ["a\u2028key"]}
    asked = write(tmp_path / "q.jsonl", json.dumps(question, ensure_ascii=False).encode() + b"\r\n")
    (read,) = QuestionsFile(Source(kind="questions", path=str(asked))).questions()
    assert (read.text, read.answers) == ("What\u2029is it?", ("a\u2028key",))
    urls = write(tmp_path / "urls.jsonl", '{"image_url": "http://a/1", "note": "x\u2028y"}\n'.encode())
    assert [image.url for image in read_lists([urls]).images] == ["http://a/1"]


def test_no_file_is_split_into_lines_at_other_signs() -> None:
    places = []
    for path in Path(molmo_agent.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr == "splitlines" and "read_text" in ast.unparse(node.func.value):
                places.append(f"{path.name}:{node.lineno}")
    assert [place for place in places if not place.startswith(("curves.py", "checkpoint.py"))] == []


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    data = opened("points", points_file(tmp_path, b"\xef\xbb\xbf" + entry().encode() + b"\n", entry("other")))
    assert (len(data.row(0, 0).conversations), data.problems.entries) == (2, [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("kind", ["points", "chat"])
def test_another_encoding_is_named_once(encoding: str, kind: str, tmp_path: Path) -> None:
    path = points_file(tmp_path, "\n".join([entry()] * 3).encode(encoding))
    with pytest.raises(UsageError, match=r"expected .*points.jsonl to be UTF-8, got UTF-16 or UTF-32: convert it"):
        opened(kind, path)


def test_a_line_in_latin_1_or_cut_in_a_letter_is_skipped_with_its_number(tmp_path: Path) -> None:
    cut = entry("Schlüssel").encode()
    lines = (entry(), entry("clé").encode("latin-1") + b"\n", entry("b"), cut[: cut.index(b"\xc3") + 1])
    data = opened("points", points_file(tmp_path, *lines))
    assert [problem.record for problem in data.problems.entries] == [2, 4]
    assert "record 2: expected UTF-8, got the byte 0xe9 (" in data.problems.summary()
    assert len(data.row(0, 0).conversations) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (DEEP, "nested at most 64 levels deep"),
        ('{"a":' * 100_000, "nested at most 64 levels deep"),
        (entry().replace("0.5", "NaN"), "NaN is not a number of JSON"),
        (entry().replace("0.5", "1e999"), "the number 1e999 is too large"),
        (entry().replace("0.5", "9" * 5000), "digits"),
        (entry()[:-9], "delimiter at line 1, column"),
        ("null", "expected an object with 'image'"),
        (entry(points=None), "expected 'points' to be a list"),
        (entry(points=[None]), "lies outside the image"),
        (entry(points=[[0.5, None]]), "lies outside the image"),
        (entry(boxes=[None]), "expected a box"),
        (entry(question=7), "expected a text as 'question'"),
        (entry(question=["a"]), "expected a text as 'question'"),
        (entry(image=None), "expected an object with 'image'"),
        (entry(image="../../\x00"), ""),
        (entry(image="gone.png"), "there is no file"),
    ],
)
def test_a_line_that_cannot_be_used_is_skipped_and_named(line: str, reason: str, tmp_path: Path) -> None:
    data = opened("points", points_file(tmp_path, entry(), line, entry("b")))
    (problem,) = data.problems.entries
    assert problem.record == 2
    assert reason in problem.reason
    assert len(data.row(0, 0).conversations) == 2
    with pytest.raises(UsageError, match=r"(?s)no line of .*points.jsonl can be used; 1 could not be used"):
        opened("points", points_file(tmp_path, line))


def test_damaged_notes_of_a_store_are_ignored(tmp_path: Path) -> None:
    lines = [DEEP, "null", "[]", '{"url": 3}', '{"url": "a"}', '"text"', "\xff"]
    write(tmp_path / FAILED_FILE, "\n".join(lines).encode("latin-1"))
    assert read_failures(tmp_path) == {}


@pytest.mark.parametrize(
    "line", [DEEP.encode(), b"[1,2,3]", b'["k", "s", [0, 9]]', b'["k", "s", [true, 9]]', b'["k"', b"\xff\xfe", b"7"]
)
def test_damaged_notes_of_checked_images_are_checked_again(line: bytes, tmp_path: Path) -> None:
    from molmo_agent.data.images.checked import NOTES, FolderImages, check

    write(tmp_path / "k.png", png(1))
    write(tmp_path / NOTES, b'["x", "s", "bad"]\n' + line + b"\n")
    sizes, faults = check(FolderImages(tmp_path), {"k.png": None, "x": None}, Problems())
    assert (sizes, faults) == ({"k.png": (80, 60)}, {"x": "the image is missing"})


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda digest: f" {digest.upper()}\n"])
def test_published_digests_are_compared_in_either_case(change: Any, tmp_path: Path) -> None:
    from molmo_agent.data.images.checked import FolderImages, check

    write(tmp_path / "k.png", png(1))
    assert check(FolderImages(tmp_path), {"k.png": change(sha(png(1)))}, Problems())[1] == {}
    assert "not the image" in check(FolderImages(tmp_path), {"k.png": change(sha(png(2)))}, Problems())[1]["k.png"]


# --- Records and objects ----------------------------------------------------------------------------------------------


def record(payload: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(payload) if length is None else length)
    return b"".join(
        (head, struct.pack("<I", mask_crc(crc32c(head))), payload, struct.pack("<I", mask_crc(crc32c(payload))))
    )


def shard_of(folder: Path, data: bytes) -> tuple[list[bytes], str, int]:
    """Return the records, the problems and the peak of memory while reading."""
    path, problems = write(folder / "shard", data), Problems()
    tracemalloc.start()
    try:
        payloads = [one.payload for one in read_records(path, problems)]
        return payloads, problems.summary(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [tfrecord.MAX_RECORD_BYTES + 1, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_record_of_absurd_length_ends_the_reading(length: int, compressed: bool, tmp_path: Path) -> None:
    data = record(b"first") + record(b"second", length)
    payloads, problems, peak = shard_of(tmp_path, gzip.compress(data) if compressed else data)
    assert payloads == [b"first"]
    assert f"record 1 at byte 21: expected a record of at most 256,000,000 bytes, got {length:,}" in problems
    assert peak < 20_000_000


def test_a_highly_compressed_shard_takes_the_memory_of_its_records(tmp_path: Path) -> None:
    head = struct.pack("<Q", 3_900_000_000)
    stream = zlib.compressobj(9, wbits=31)
    bomb = stream.compress(record(b"first") + head + struct.pack("<I", mask_crc(crc32c(head))))
    bomb += b"".join(stream.compress(bytes(1_000_000)) for _ in range(200)) + stream.flush()
    payloads, problems, peak = shard_of(tmp_path, bomb)
    assert (payloads, "got 3,900,000,000" in problems) == ([b"first"], True)
    assert peak < 20_000_000


def test_streams_of_gzip_may_follow_one_another(tmp_path: Path) -> None:
    data = gzip.compress(record(b"one")) + gzip.compress(record(b"two")) + bytes(512)
    assert shard_of(tmp_path, data)[:2] == ([b"one", b"two"], "everything was read")


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


@pytest.mark.parametrize("content", [field(1, b"\x0a\x00" * 100_001), field(3, field(1, b"\x01" * 100_001))])
def test_a_feature_of_very_many_values_is_refused(content: bytes) -> None:
    feature = field(1, field(1, field(1, b"name") + field(2, content)))
    with pytest.raises(ValueError, match=f"a field has more than {protobuf.MAX_VALUES} values"):
        feature_map(feature)


@pytest.mark.parametrize("forest", [b"\x0a\x00" * 100_001, field(1, field(11, b"\x0a\x00" * 100_001))])
def test_a_forest_of_very_many_elements_is_refused(forest: bytes) -> None:
    with pytest.raises(ValueError, match="it has more than 100000 windows or nodes"):
        read_forest(forest)


@pytest.mark.parametrize("name", ["(a+)+$", "((a*)*)*b", "(a{1,9}){1,9}x"])
def test_a_name_that_would_be_searched_for_ever_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="repeats too much to be searched"):
        reference_app_box(f"text={name} " + "a" * 50, name)
    assert reference_app_box("center=[5,5], size=[4,4], text=disney+", "disney+") == (3, 3, 7, 7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"items": [' + DEEP.encode(), "nested too deeply|truncated or damaged"),
        (b'{"items": [{"a": "\xe9"}]}', "object 0 of .* is not UTF-8"),
        ('{"items": [{"a": 1}]}'.encode("utf-16"), "to be UTF-8, got UTF-16 or UTF-32"),
        (b'{"items": [{"a": 1}, {"b": ', "truncated or damaged after object 1"),
    ],
)
def test_a_damaged_array_is_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        list(JsonArray(write(tmp_path / "items.json", data), "items").scan())


def test_an_object_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from molmo_agent.data.formats import json_array

    monkeypatch.setattr(json_array, "_CHUNK", 1000)
    monkeypatch.setattr(json_array, "_MAX_OBJECT_CHARS", 20_000)
    with pytest.raises(UsageError, match=r"object 0 of .* does not end within 20,000 bytes"):
        list(JsonArray(write(tmp_path / "items.json", b'[{"a": "' + b"x" * 300_000), None).scan())


# --- Tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_mutated_tables_are_read_or_refused_and_never_end_the_process(kind: str, tmp_path: Path) -> None:
    for seed in (0, 11_200):
        mutate_tables(tmp_path, kind, 250, seed)


@pytest.mark.parametrize(
    "offsets", [(0, 0x7FFFFF00, 4), (0, -5, 4), (3, 2, 4), (0, 2, 0x10000000)], ids=["far", "negative", "back", "end"]
)
def test_offsets_that_lead_out_of_an_arrow_file_are_refused(offsets: tuple[int, ...], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow reads the tables")
    table, sink = pyarrow.table({"image_url": ["a1", "b2"]}), pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data, right = sink.getvalue().to_pybytes(), struct.pack("<3i", 0, 2, 4)
    assert data.count(right) == 1
    write(tmp_path / "good.arrow", data)
    assert [image.url for image in read_lists([tmp_path / "good.arrow"]).images] == ["a1", "b2"]
    write(tmp_path / "bad.arrow", data.replace(right, struct.pack("<3i", *offsets)))
    with pytest.raises(UsageError, match=r"(?s)no image is listed.*bad.arrow: rows 0 to 1 cannot be read \(.*Invalid"):
        read_lists([tmp_path / "bad.arrow"])


def test_mutated_shards_lines_and_arrays_are_read_or_named(tmp_path: Path) -> None:
    assert mutate_files(tmp_path, 150, seed=0) == []


# --- Rows -------------------------------------------------------------------------------------------------------------


def test_nulls_in_lists_skip_their_row_alone(tmp_path: Path) -> None:
    from made_data import keep, parquet, url

    keep(tmp_path, 1, 2, 3, 4)
    rows = [
        {"image_url": url(1), "caption": "A key.", "transcripts": ["a key", "it is a key"]},
        {"image_url": url(2), "caption": "A door.", "transcripts": ["a door", None]},
        {"image_url": url(3), "caption": None, "transcripts": []},
        {"image_url": None, "caption": "A cat.", "transcripts": None},
        {"image_url": url(4), "caption": "A dog.", "transcripts": None},
    ]
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    data = opened("pixmo-cap", tmp_path)
    assert len(data) == 2
    assert [problem.record for problem in data.problems.entries] == [1, 2, 3]


@pytest.mark.parametrize("nulls", [[None, "b"], ["a", None], [None]])
def test_a_null_is_no_answer(nulls: list[Any]) -> None:
    from molmo_agent.data.readers.academic import texts

    with pytest.raises(ValueError, match=f"expected texts, got a null among {len(nulls)}"):
        texts(nulls)
    assert texts(None) == ()


def test_only_texts_and_numbers_are_answers() -> None:
    from molmo_agent.data.readers.academic import texts

    accepted = []
    for value in (True, float("nan"), float("inf"), {"a": 1}, ["a", {}], [["a"]], [True], b"a"):
        with contextlib.suppress(ValueError):
            accepted.append((value, texts(value)))
    assert accepted == []
    assert texts(["yes", 3, 0.5]) == ("yes", "3", "0.5")


def test_lines_after_a_damaged_one_are_read(tmp_path: Path) -> None:
    problems = Problems()
    path = write(tmp_path / "a.jsonl", b'{"a": 1}\n\n{"b": \n"text"\n')
    assert list(json_rows(path, "things", problems)) == [(1, {"a": 1}), (4, "text")]
    assert [problem.record for problem in problems.entries] == [3]
    with pytest.raises(UsageError, match=r"expected a JSONL file of things at .*gone.jsonl, but: No such file"):
        list(json_rows(tmp_path / "gone.jsonl", "things", problems))


@pytest.mark.parametrize("sign", SEPARATORS)
def test_a_record_of_an_evaluation_stays_one_record(sign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "1.png", png(1))
    question = {"image": "1.png", "question": f"the{sign}key", "points": [[0.5, 0.5]], "boxes": [[0.4, 0.4, 0.6, 0.6]]}
    write(tmp_path / "q.jsonl", json.dumps(question, ensure_ascii=sign < "\x20").encode() + b"\n")
    command = ["eval", "pixmo_points", "q.jsonl", "--model", "centre", "--out", "all.json"]
    for _ in range(2):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        (record,) = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["records"]
        assert record["question"] == f"the{sign}key"
