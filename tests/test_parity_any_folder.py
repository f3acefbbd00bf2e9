"""The parity suite judges any golden folder: a copy of ours with other ids, rates, names and notations passes too.

Every change is made consistently, as if the authors' code had run with other settings, so every comparison must agree
again. A copy with one wrong number of each kind must fail in just these places.
"""

import gzip
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from molmo_agent.data.formats.protobuf import BYTES, expect_bytes, fields
from molmo_agent.data.formats.tfrecord import crc32c, mask_crc

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
GZIP = b"\x1f\x8b"
# Ids of the copy: its image tokens begin elsewhere, and its end-of-text token is another.
SHIFT, NEW_EOS = 1234, 100257
SMALL = 400 * 400  # pixels
ALPHAS = (0.25, 0.0, 0.4)
RENAMED = {"dense_olmo": "small-olmo"}
NOTATIONS: tuple[Callable[[list[float]], str], ...] = (
    lambda box: str(tuple(box)),
    lambda box: "[" + ",".join(map(str, box)) + "]",
    lambda box: "[ " + "  ".join(map(str, box)) + " ]",
    lambda box: "(" + ", ".join(f"np.float64({edge})" for edge in box) + ")",
    lambda box: "; ".join(map(str, box)),
)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file: ``change`` edits its content in place or returns a new one."""
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed), encoding="utf-8")


def nested(value: Any, change: Callable[[int], int]) -> Any:
    """Change every number of nested lists."""
    return [nested(item, change) for item in value] if isinstance(value, list) else change(value)


# --- Ids of tokens ----------------------------------------------------------------------------------------------------


def other_image_tokens(folder: Path) -> None:
    base = json.loads((folder / "preprocess.json").read_text())["special_token_base"]

    def runs(case: dict[str, Any]) -> None:
        assert min(token for token, _ in case["image_tokens_rle"]) == base
        case["image_tokens_rle"] = [[token + SHIFT, count] for token, count in case["image_tokens_rle"]]

    def preprocess(content: Any) -> None:
        content["special_token_base"] += SHIFT
        # A folder has as many cases as it likes; large images take most of the time.
        content["cases"] = {
            key: case for key, case in content["cases"].items() if case["width"] * case["height"] <= SMALL
        }
        for case in content["cases"].values():
            runs(case)

    def resize(content: Any) -> None:
        for case in content.values():
            runs(case)

    def packing(content: Any) -> None:
        first, eos = content["stub_special_base"], content["stub_eos"]

        def token(value: int) -> int:
            return value + SHIFT if value >= first else NEW_EOS if value == eos else value

        for case in content["cases"].values():
            for key in ("input_tokens", "target_tokens"):
                case["out"][key] = nested(case["out"][key], token)
        for key in ("input_ids", "labels"):
            content["collate"]["out"][key] = nested(content["collate"]["out"][key], token)
        content["stub_special_base"], content["stub_eos"] = first + SHIFT, NEW_EOS

    rewrite(folder / "preprocess.json", preprocess)
    rewrite(folder / "preprocess_resize_mode.json", resize)
    rewrite(folder / "packing.json", packing)


# --- Learning rates ---------------------------------------------------------------------------------------------------


def rate(step: int, peak: float, warmup: int, last: int, alpha: float, start: float | None) -> float:
    """The learning rate, with the squared cosine of half the angle instead of one plus the cosine of the angle."""
    if step < warmup:
        start = peak / 10 if start is None else start
        return start * (1 - step / warmup) + peak * step / warmup
    progress = min(1.0, (step - warmup) / (last - warmup))
    return peak * (alpha + (1 - alpha) * math.cos(math.pi / 2 * progress) ** 2)


def other_alphas(folder: Path) -> None:
    def optim(content: Any) -> None:
        for schedule, alpha in zip(content["schedules"], ALPHAS, strict=True):
            schedule["alpha"] = alpha
            for component, old in schedule["lr"].items():
                peak, warmup = schedule["base_lr"][component], schedule["warmup_steps"][component]
                settings = (peak, warmup, schedule["max_steps"])
                start = schedule.get("minlr", 0.0)
                # The formula is the authors': with their alpha it gives their numbers.
                theirs = [rate(step, *settings, 0.1, start) for step in schedule["steps"]]
                assert theirs == pytest.approx(old, abs=1e-15)
                schedule["lr"][component] = [rate(step, *settings, alpha, start) for step in schedule["steps"]]

    rewrite(folder / "optim.json", optim)


# --- Episodes ---------------------------------------------------------------------------------------------------------


def other_id(episode: int) -> int:
    """Another id for an episode, of more bytes: what lies behind it moves."""
    return 7 * episode + 100_003


def varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def with_other_id(payload: bytes) -> bytes:
    """An ``Example`` with another ``episode_id`` where it has one, its features in the same order."""
    entries = b""
    ((_, kind, features),) = fields(payload)
    for number, entry_kind, entry in fields(expect_bytes(1, kind, features)):
        parts = {n: expect_bytes(n, k, v) for n, k, v in fields(expect_bytes(number, entry_kind, entry))}
        if parts[1] == b"episode_id":
            ((number, value_kind, values),) = fields(parts[2])
            if number == 3:  # integers
                ((_, _, packed),) = fields(expect_bytes(number, value_kind, values))
                value = packed if isinstance(packed, int) else next(fields(varint(1 << 3) + packed))[2]
                assert isinstance(value, int)
                parts[2] = field(3, field(1, varint(other_id(value))))
        entries += field(1, field(1, parts[1]) + field(2, parts[2]))
    return field(1, entries)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", mask_crc(crc32c(length))) + payload + struct.pack("<I", mask_crc(crc32c(payload)))


def write_other_ids(path: Path) -> list[tuple[int, int]]:
    """Write a shard anew with other ids, its damage kept; return offset and payload size of every record, then the end.

    What follows the first record that cannot be delimited stays as it is, and so does a record with a wrong checksum.
    """
    data = path.read_bytes()
    compressed = data.startswith(GZIP)
    unzip = zlib.decompressobj(wbits=31)
    stream = unzip.decompress(data) if compressed else data
    made, places, position = b"", [], 0
    while position + 12 <= len(stream):
        length, check = struct.unpack("<QI", stream[position : position + 12])
        end = position + 16 + length
        if mask_crc(crc32c(stream[position : position + 8])) != check or end > len(stream):
            break
        payload = stream[position + 12 : end - 4]
        record = stream[position:end]
        if mask_crc(crc32c(payload)) == struct.unpack("<I", record[-4:])[0]:
            record = framed(with_other_id(payload))
        places.append((len(made), len(record) - 16))
        made, position = made + record, end
    rest = stream[position:]
    places.append((len(made), len(rest)))
    made += rest
    if compressed and unzip.eof:
        path.write_bytes(gzip.compress(made, mtime=0))
    elif compressed and rest:  # ends in the middle of the stream
        zip_ = zlib.compressobj(wbits=31)
        path.write_bytes(zip_.compress(made) + zip_.flush(zlib.Z_SYNC_FLUSH))
    else:
        path.write_bytes(gzip.compress(made, mtime=0)[:-8] if compressed else made)
    return places


def other_episodes(folder: Path) -> None:
    android = folder / "android_control"

    def split(content: Any) -> Any:
        return {name: [other_id(episode) for episode in ids] for name, ids in content.items()}

    def expected(content: Any) -> None:
        for shard in content["shards"]:
            places = write_other_ids(android / shard)
            for episode in content["episodes"]:
                if episode["shard"] == shard:
                    episode["byte_offset"], episode["record_bytes"] = places[episode["record_index"]]
        for entry in (*content["episodes"], *content["steps"]):
            entry["episode_id"] = other_id(entry["episode_id"])
        content["gold_against_itself"] = {
            f"{other_id(int(name.split('/')[0]))}/{name.split('/')[1]}": verdict
            for name, verdict in content["gold_against_itself"].items()
        }

    def broken(content: Any) -> None:
        content["splits"] = split(content["splits"])
        for case in content["files"]:
            places = write_other_ids(android / case["file"])
            end = sum(places[-1])
            for key in ("readable_before", "readable_after"):
                case[key] = [other_id(episode) for episode in case[key]]
            case["record_ids"] = {index: other_id(episode) for index, episode in case.get("record_ids", {}).items()}
            if case.get("byte_offset"):
                index = case["record_index"]
                case["byte_offset"] = end if index is None else places[index][0]
            if "decompressible_bytes" in case:
                case["decompressible_bytes"] = end

    rewrite(android / "expected.json", expected)
    rewrite(android / "broken" / "expected_broken.json", broken)
    for part in (android, android / "broken"):
        rewrite(part / "splits.json", split)
        rewrite(part / "test_subsplits.json", split)


# --- Notations and names ----------------------------------------------------------------------------------------------


def other_notation(folder: Path) -> None:
    def expected(content: Any) -> None:
        notations = cycle(NOTATIONS)
        for case in (*content["steps"], *content["step_scores"]):
            if case["target_box"]:
                case["target_box"] = next(notations)(json.loads(case["target_box"]))

    rewrite(folder / "android_control" / "expected.json", expected)


def other_names(folder: Path) -> None:
    rewrite(folder / "models.json", lambda models: {RENAMED.get(name, name): entry for name, entry in models.items()})
    for old, new in RENAMED.items():
        for path in folder.glob(f"model_{old}*"):
            path.rename(path.with_name(path.name.replace(old, new)))
    (folder / "NOTES.md").write_text("Made of another folder.\n")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden folder that differs from ours in all that a folder may choose."""
    folder = tmp_path_factory.mktemp("other") / "golden"
    shutil.copytree(GOLDEN, folder)
    for change in (other_image_tokens, other_alphas, other_episodes, other_notation, other_names):
        change(folder)
    return folder


def judge(folder: Path, *options: str) -> tuple[int, str]:
    """Return the exit status and the output of the parity suite on a folder."""
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_, "test_parity.py", f"--golden={folder}", *options],
        cwd=TESTS,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def without_models(folder: Path) -> str:
    """The option of pytest that leaves out the checks of models, which take most of the time."""
    return f"-k=not ({' or '.join(json.loads((folder / 'models.json').read_text()))})"


def test_a_folder_with_other_ids_rates_and_notations_passes(other: Path) -> None:
    status, output = judge(other, without_models(other))
    assert status == 0, output
    assert "failed" not in output


@pytest.mark.slow
def test_a_folder_with_other_names_of_models_passes_whole(other: Path) -> None:
    status, output = judge(other)
    assert status == 0, output
    assert all(name not in output for name in RENAMED)


@pytest.mark.slow
def test_a_wrong_number_of_any_kind_fails_in_its_place(other: Path, tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(other, folder)

    def expected(content: Any) -> None:
        content["episodes"][1]["byte_offset"] += 1
        boxed = next(step for step in content["steps"] if step["target_box"])
        boxed["target_box"] = "(1.0, 2.0, 3.0, 4.0)"

    def broken(content: Any) -> None:
        next(case for case in content["files"] if case["readable_after"])["readable_after"][0] += 1

    rewrite(folder / "android_control" / "expected.json", expected)
    rewrite(folder / "android_control" / "broken" / "expected_broken.json", broken)
    rewrite(folder / "optim.json", lambda content: content["schedules"][0].update(alpha=0.26))
    rewrite(folder / "preprocess.json", lambda content: content.update(special_token_base=5))
    rewrite(folder / "packing.json", lambda content: content.update(stub_eos=6))
    # The start token is the base by definition; the end token is not.

    def resize(content: Any) -> None:
        for case in content.values():
            case["image_tokens_rle"][-1] = [7, 1]

    rewrite(folder / "preprocess_resize_mode.json", resize)
    status, output = judge(folder, without_models(folder), "--tb=no")
    assert status == 1, output
    assert {name.split("[")[0] for name in re.findall(r"^FAILED \S*::(\S+)", output, re.MULTILINE)} == {
        "test_android_records_are_found_where_they_are",
        "test_android_steps_are_told_as_the_authors_tell_them",
        "test_android_damage_is_reported_record_by_record",
        "test_learning_rates",
        "test_crops_masks_indices_and_pixels",
        "test_a_sequence_of_turns_and_annotations",
        "test_a_batch",
        "test_the_single_crop_of_the_resize_mode",
    }
