"""Run folders of others and of a full disk: no code runs, nothing is written elsewhere, and the run can be resumed."""

import io
import json
import os
import pickle
import shutil
import struct
import warnings

import pytest
import torch
from torch.distributed.checkpoint import metadata as description
from torch.distributed.checkpoint import save

from molmo_agent.errors import DataError, UsageError
from molmo_agent.train.checkpoint import RunFolder, complete_checkpoints, latest_checkpoint, read_weights
from molmo_agent.train.recipe import from_dict, to_yaml
from molmo_agent.train.shards import load_tensors, read_description

# torch warns that a single process saves and loads.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
CONFIG = from_dict({"mixture": [{"kind": "chat", "path": "x.jsonl"}]})


def state(value=0.0):
    return {"model.weight": torch.full((3, 2), value), "momentum.weight": torch.full((3, 2), value + 1)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a run with two checkpoints, written by torch alone as earlier versions did."""
    folder = tmp_path_factory.mktemp("run")
    for step in (5, 10):
        save(state(float(step)), checkpoint_id=str(folder / f"step-{step:06d}"), no_dist=True)
        (folder / f"step-{step:06d}" / "meta.json").write_text(json.dumps({"step": step}))
    (folder / "latest").write_text("step-000010")
    (folder / "config.yaml").write_text(to_yaml(CONFIG))
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in range(1, 13)))
    return folder


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def resume(run):
    folder = RunFolder(run, CONFIG)
    try:
        values = state()
        step = folder.load(values)
        folder.forget_after(step)
        return step, values["model.weight"][0, 0].item()
    finally:
        folder.close()


def test_a_checkpoint_of_torch_is_resumed(run):
    assert resume(run) == (10, 10.0)


def test_no_code_in_the_description_of_a_checkpoint_runs(run, tmp_path):
    target = tmp_path / "was here"
    path = run / "step-000010" / ".metadata"
    whole, hidden = read_description(path.parent), read_description(path.parent)
    hidden.planner_data = {"a": Call(os.mkdir, str(target))}
    payloads = [
        pickle.dumps(Call(os.mkdir, str(target))),
        pickle.dumps(hidden),
        pickle.dumps(Call(eval, f"__import__('os').mkdir({str(target)!r})"), protocol=0),
        pickle.dumps(Call(torch.load, io.BytesIO(b""))),
        pickle.dumps([whole, Call(shutil.copytree, str(run), str(target))], protocol=2),
        b"cos\nmkdir\n(V" + str(target).encode() + b"\ntR.",
        b"(V" + str(target).encode() + b"\nios\nmkdir\n.",
        b"\x82\x01.",
        b"Pother\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R.",
        b"\x80\x04\x8c\x05torch\x8c\x0bhub.load_x\x93.",
    ]
    for payload in payloads:
        path.write_bytes(payload)
        with pytest.raises(DataError, match="to describe the tensors of a checkpoint and nothing else, but"):
            read_description(path.parent)
        with pytest.raises(UsageError, match=r"step-000010 cannot be read .* write 'step-000005' into"):
            resume(run)
        with pytest.raises(UsageError, match="expected the folder of a run to start from"):
            read_weights(run, torch.nn.Linear(2, 3))
        assert not target.exists()


def test_bytes_and_files_elsewhere_are_refused(run, tmp_path):
    path = run / "step-000010" / ".metadata"
    outside = tmp_path / "__0_0.distcp"
    shutil.copy(run / "step-000010" / "__0_0.distcp", outside)

    def change(edit):
        content = read_description(run / "step-000005")
        edit(content)
        path.write_bytes(pickle.dumps(content))

    def place(name):
        return lambda content: [setattr(at, "relative_path", name) for at in content.storage_data.values()]

    def as_bytes(content):
        content.state_dict_metadata["model.weight"] = description.BytesStorageMetadata()

    def encoded(content):
        for at in content.storage_data.values():
            at.transform_descriptors = ["zstd"]

    edits = [
        *(place(name) for name in ("../../__0_0.distcp", str(outside), "/etc/passwd", "x/__0_0.distcp", 3)),
        *(as_bytes, encoded, lambda content: setattr(content, "storage_data", {"a": "b"})),
        lambda content: setattr(content, "storage_data", None),
        lambda content: setattr(content, "state_dict_metadata", [1]),
    ]
    for edit in edits:
        change(edit)
        with pytest.raises(DataError, match="to describe the tensors of a checkpoint and nothing else"):
            read_description(path.parent)
        with pytest.raises(UsageError, match="cannot be read"):
            resume(run)


def test_a_description_that_reserves_memory_is_refused(run):
    path = run / "step-000010" / ".metadata"
    for payload in (
        b"Nr" + struct.pack("<I", 2**32 - 1) + b".",
        b"Np4000000000\n.",
        b"\x8e" + struct.pack("<Q", 2**50),
    ):
        path.write_bytes(payload)
        with pytest.raises(DataError, match="nothing else, but"):
            read_description(path.parent)


def test_shards_with_code_are_refused(run, tmp_path):
    shard = next((run / "step-000010").glob("*.distcp"))
    buffer = io.BytesIO()
    torch.save({"x": Call(os.mkdir, str(tmp_path / "was here"))}, buffer)
    shard.write_bytes(buffer.getvalue() + bytes(10_000))
    with pytest.raises(UsageError, match="cannot be read"):
        resume(run)
    assert not (tmp_path / "was here").exists()


def test_damage_anywhere_in_a_checkpoint_is_one_error_that_names_the_one_before(run):
    rng = torch.Generator().manual_seed(3)
    checkpoint = run / "step-000010"
    originals = {path: path.read_bytes() for path in checkpoint.iterdir()}
    wrong = []
    for number in range(60):
        path = sorted(originals)[number % len(originals)]
        data = bytearray(originals[path])
        kind = number % 4
        if kind == 0:
            data = data[: int(torch.randint(len(data), (1,), generator=rng))]
        elif kind == 1:
            for place in torch.randint(len(data), (8,), generator=rng).tolist():
                data[place] ^= 0xFF
        elif kind == 2:
            data = bytearray(b"[" * 5000)
        path.write_bytes(data)
        if kind == 3:
            path.unlink()
        try:
            resume(run)
        except UsageError as error:
            if "write 'step-000005' into" not in str(error):
                wrong.append(f"{path.name}: {error}")
        # Flipped bits of a weight are weights.
        except Exception as error:
            wrong.append(f"{path.name}, kind {kind}: {error!r}")
        path.write_bytes(originals[path])
    assert wrong == []


def test_the_newest_checkpoint_counts_where_latest_is_lost_or_empty(run):
    for content in (b"", b"\n", None):
        (run / "latest").unlink(missing_ok=True)
        if content is not None:
            (run / "latest").write_bytes(content)
        assert resume(run) == (10, 10.0)
    for content in (
        b"../elsewhere",
        b"/tmp/step-000010",
        b"step-000010.partial",
        b"\xff\xfe\x00",
        b"step-\xd9\xa1" * 6,
    ):
        (run / "latest").write_bytes(content)
        with pytest.raises(UsageError, match=r"to name a checkpoint, such as step-000500, got .*; remove the file"):
            resume(run)


def test_only_finished_folders_count_as_checkpoints(tmp_path):
    for name in ("step-000005", "step-000020.partial", "step-1000000", "step-000900", "step-x", "step-"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000999").touch()
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["step-000005", "step-000900", "step-1000000"]
    assert latest_checkpoint(tmp_path).name == "step-1000000"


def test_a_config_that_a_full_disk_left_empty_is_written_again_before_the_first_checkpoint(tmp_path):
    (tmp_path / "config.yaml").touch()
    RunFolder(tmp_path, CONFIG).close()
    assert (tmp_path / "config.yaml").read_text() == to_yaml(CONFIG)


def test_a_damaged_config_says_how_to_resume(run):
    for content in (b"", b"[", b"- a", b"\xff", b"a: &x [*x]", b"[" * 5000, "steps: 1".encode("utf-16")):
        (run / "config.yaml").write_bytes(content)
        with pytest.raises(
            UsageError, match=r"the config of the run cannot be read .*; remove .*config\.yaml to resume"
        ):
            resume(run)
    (run / "config.yaml").unlink()
    assert resume(run) == (10, 10.0)


def test_a_cut_line_of_the_metrics_is_dropped_with_a_warning(run):
    metrics = run / "metrics.jsonl"
    for cut in (b'{"step": 13, "lo', b"{", b'{"step": 13, "note": "\xc3'):
        metrics.write_bytes(metrics.read_bytes() + cut)
        with pytest.warns(UserWarning, match=r"metrics\.jsonl, line \d+ is cut off and was dropped"):
            resume(run)
        assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(1, 11))


def test_damaged_metrics_say_how_to_resume(run):
    whole = (run / "metrics.jsonl").read_bytes()
    for damaged in (b"{\n", b"[1]\n", b'{"loss": 1}\n', b'{"step": "x"}\n', b"\xff\n", b"[" * 90_000 + b"\n"):
        (run / "metrics.jsonl").write_bytes(damaged + whole)
        with pytest.raises(UsageError, match=r"the metrics of the run are damaged .*; rename .*metrics\.jsonl"):
            resume(run)


def test_metrics_without_numbers_are_kept(run):
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunFolder(run, CONFIG).close()
    resume(run)
    assert "NaN" in (run / "metrics.jsonl").read_text()


def test_a_run_writes_through_no_link(run, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep me")
    for name in ("metrics.jsonl", "latest", "config.yaml", ".lock", "tensorboard", "export", "step-000015.partial"):
        path = run / name
        moved = path.exists()
        if moved:
            path.rename(tmp_path / "moved")
        path.symlink_to(precious if "." not in name else precious / "file")
        with pytest.raises(UsageError, match=r"expected no links in the folder of a run"):
            RunFolder(run, CONFIG)
        path.unlink()
        if moved:
            (tmp_path / "moved").rename(path)
    (run / "export").mkdir()
    (run / "export" / "model.safetensors").symlink_to(precious / "file")
    with pytest.raises(UsageError, match=r"got .*export.model\.safetensors; replace it"):
        RunFolder(run, CONFIG)
    assert (precious / "file").read_text() == "keep me"
    # Ray makes links within its own folder.
    shutil.rmtree(run / "export")
    (run / "ray").mkdir()
    (run / "ray" / "latest").symlink_to(precious)
    assert resume(run) == (10, 10.0)


def test_tensors_of_other_shapes_are_an_error(run):
    with pytest.raises(
        UsageError, match="expected the folder of a run to start from, with a checkpoint of the same model"
    ):
        read_weights(run, torch.nn.Linear(5, 5, bias=False))
    with pytest.raises(UsageError, match="it has no complete checkpoint"):
        read_weights(run.parent, torch.nn.Linear(2, 3))
    linear = torch.nn.Linear(2, 3, bias=False)
    read_weights(run, linear)
    assert linear.weight[0, 0].item() == 10.0
    values = state()
    load_tensors(values, run / "step-000005")
    assert values["momentum.weight"][0, 0].item() == 6.0
