"""A sharded run starts from shards: every rank reads its own rows, whatever the layout, and never a whole model."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import yaml
from golden_models import facts, to_native, write_official
from safetensors.torch import load_file, save_file
from tiny_training import small_run
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.molmo_0924 import to_official
from molmo_agent.model.checkpoints.rows import Rows, open_rows, read_config
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.config import Lora, TrainConfig, check
from molmo_agent.train.fine_tuning import prepare, start
from molmo_agent.train.flops import Flops
from molmo_agent.train.launch import run_workers
from molmo_agent.train.scale.sharded_start import empty_model, fill, first_row, own_rows, start_sharded
from molmo_agent.train.scale.sharding import compile_layers, device_mesh, shard, shard_size
from molmo_agent.train.starting_model import load_model
from molmo_agent.train.step import ModelWithLoss

pytest_plugins = ("quick_ranks",)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return small_run(tmp_path_factory.mktemp("data"))


@contextmanager
def rank_of(rank: int, ranks: int) -> Iterator[None]:
    """Be one of several ranks; nothing that a start needs is communicated."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def assert_is_its_share(model: Any, whole: dict[str, Tensor]) -> int:
    """Check this rank's rows of every weight; return their number of values."""
    total = 0
    for name, parameter in model.named_parameters():
        own, start = own_rows(parameter), first_row(parameter)
        assert torch.equal(own, whole[name][start : start + len(own)].to(own.dtype)), name
        total += own.numel()
    return total


@pytest.mark.parametrize("changes", [{}, {"weights": "bf16"}], ids=str)
def test_every_rank_holds_its_rows_and_all_rows_have_a_rank(config: TrainConfig, changes: dict[str, Any]) -> None:
    config = replace(config, precision="bf16", **changes)
    whole = dict(load_model(config)[0].named_parameters())
    ranks, totals = 6, []
    for rank in range(ranks):
        with rank_of(rank, ranks):
            totals.append(assert_is_its_share(start_sharded(config, prepare)[0].model, whole))
    size = sum(value.numel() for value in whole.values())
    assert sum(totals) == size
    assert max(totals) < 1.5 * size / ranks


def test_a_rank_of_a_second_copy_holds_the_rows_of_its_place_in_the_group(config: TrainConfig) -> None:
    whole = dict(load_model(config)[0].named_parameters())
    # Rank 4 is the middle one of the second group.
    with rank_of(4, 6):
        model = start_sharded(replace(config, sharding="hybrid", shard_size=3), prepare)[0].model
        assert_is_its_share(model, whole)
        assert first_row(model.lm_head.weight) == -(-512 // 3)


def test_a_sharded_start_computes_positions_and_frequencies(config: TrainConfig) -> None:
    whole = dict(load_model(config)[0].named_buffers())
    assert whole
    with rank_of(1, 2):
        model = start_sharded(config, prepare)[0].model
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer, whole[name]), name


@pytest.mark.parametrize("layout", ["own", "official", "native", "several files"])
@pytest.mark.parametrize("name", ["dense_qwen", "dense_olmo", "moe_olmoe"])
def test_rows_are_those_of_the_loaded_model_in_every_layout(name: str, layout: str, tmp_path: Path) -> None:
    source = write_official(GOLDEN, name, tmp_path / "official")
    loaded = MolmoForConditionalGeneration.from_pretrained(source)
    if layout == "own":
        source = tmp_path / "own"
        loaded.save_pretrained(source)
    elif layout == "native":
        fields = facts(GOLDEN)[name]["config"]
        source = tmp_path / "native"
        source.mkdir()
        torch.save(to_native(to_official(loaded)), source / "model.pt")
        (source / "config.yaml").write_text(yaml.safe_dump({"model": fields}))
    elif layout == "several files":
        split_files(source)
    whole = dict(loaded.named_parameters())
    model = empty_model(read_config(source), torch.float32)
    with open_rows(source, model) as rows:
        assert rows.keys() == whole.keys()
        for key, value in whole.items():
            third = len(value) // 3
            for first, last in ((0, len(value)), (third, len(value) - third), (len(value), len(value))):
                assert torch.equal(rows[key].read(first, last).float(), value[first:last]), key


def split_files(folder: Path) -> None:
    """Write the weights of a folder to two files and an index, as large checkpoints have them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    table = {key: f"part-{number % 2}.safetensors" for number, key in enumerate(weights)}
    for file in set(table.values()):
        save_file({key: weights[key] for key in weights if table[key] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def damage(weights: dict[str, Tensor], how: str) -> None:
    first = "model.language_model.layers.0.mlp.up_proj.weight"
    if how == "missing":
        del weights[first]
    elif how == "unknown":
        weights["model.language_model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
    else:
        weights[first] = weights[first][:-1].contiguous()


@pytest.mark.parametrize("how", ["missing", "unknown", "of another shape"])
def test_a_checkpoint_of_another_model_is_refused_before_anything_is_read(
    config: TrainConfig, how: str, tmp_path: Path
) -> None:
    load_model(config)[0].save_pretrained(tmp_path)
    for file in Path(config.model).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    damage(weights, how)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with rank_of(0, 2), pytest.raises(UsageError, match=rf"expected a Molmo checkpoint at .*{how}.*Is the download"):
        start_sharded(replace(config, model=str(tmp_path)), prepare)


def test_a_cut_off_or_missing_checkpoint_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    for file in Path(config.model).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 4000 if file.suffix == ".safetensors" else None])
    with rank_of(0, 2), pytest.raises(UsageError, match=r"model\.safetensors is cut off or damaged"):
        start_sharded(replace(config, model=str(tmp_path)), prepare)
    (tmp_path / "model.safetensors").unlink()
    with rank_of(0, 2), pytest.raises(UsageError, match=r"expected weights in .*there are none"):
        start_sharded(replace(config, model=str(tmp_path)), prepare)


class Reads:
    """Counts the values of all rows that are read, and the most that one call returns."""

    def __init__(self, rows: Mapping[str, Rows]) -> None:
        self.total = self.largest = 0
        self.rows = {name: Rows(entry.shape, partial(self._read, entry)) for name, entry in rows.items()}

    def _read(self, entry: Rows, start: int, stop: int) -> Tensor:
        piece = entry.read(start, stop)
        self.total += piece.numel()
        self.largest = max(self.largest, piece.numel())
        return piece


def test_a_rank_reads_its_share_alone_and_in_small_pieces(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molmo_agent.train.scale.sharded_start._PIECE_BYTES", 4096)
    folder = Path(config.model)
    with rank_of(3, 8):
        model = empty_model(read_config(folder), torch.float32)
        with open_rows(folder, model) as rows:
            reads = Reads(rows)
            sharded = shard(ModelWithLoss(model, config), config)
            sharded.to_empty(device="cpu")
            fill(sharded.model, reads.rows)
            share = sum(own_rows(parameter).numel() for parameter in sharded.parameters())
            assert reads.total == share < 0.2 * sum(p.numel() for p in sharded.parameters())
            assert reads.largest <= 1024


def experts(config: TrainConfig, folder: Path, **changes: Any) -> TrainConfig:
    """Return a run of adapters on a model with experts."""
    fields = MolmoForConditionalGeneration.from_pretrained(config.model).config.to_dict()
    fields["text_config"] |= {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2}
    MolmoForConditionalGeneration(MolmoConfig(**fields)).save_pretrained(folder)
    MolmoProcessor.from_pretrained(config.model).save_pretrained(folder)
    return replace(config, model=str(folder), lora=Lora(rank=2), **changes)


@pytest.mark.parametrize(
    "targets", [Lora().targets, r".*experts\.(gate_up_proj|down_proj)", r".*experts\.down_proj", r".*\.q_proj"]
)
def test_weights_under_adapters_are_those_of_the_checkpoint(config: TrainConfig, targets: str, tmp_path: Path) -> None:
    config = experts(config, tmp_path / "model")
    config = replace(config, lora=Lora(rank=2, targets=targets))
    whole = dict(MolmoForConditionalGeneration.from_pretrained(config.model).named_parameters())
    with rank_of(1, 2):
        model = start_sharded(config, prepare)[0].model
        read = 0
        for name, parameter in model.named_parameters():
            if ".lora_" not in name:
                plain = name.replace("base_layer.", "")
                own, begin = own_rows(parameter), first_row(parameter)
                assert torch.equal(own, whole[plain][begin : begin + len(own)]), name
                read += 1
    assert read == len(whole)


def test_a_weight_that_no_row_fills_is_refused(config: TrainConfig) -> None:
    model = MolmoForConditionalGeneration.from_pretrained(config.model)
    with pytest.raises(ValueError, match=r"the weight .*vision_tower.* is not in it"):
        fill(model, {})


@pytest.mark.slow
@pytest.mark.usefixtures("quick_ranks")
def test_adapters_on_experts_learn_the_same_on_two_ranks(config: TrainConfig, tmp_path: Path) -> None:
    config = experts(config, tmp_path / "model", steps=2, checkpoint_every=2)
    losses, exports = [], []
    for ranks in (1, 2):
        folder = tmp_path / f"{ranks}"
        run_workers(config, folder, ranks, threads=1)
        losses.append([json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()])
        exports.append(load_file(folder / "export" / "model.safetensors"))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert exports[0].keys() == exports[1].keys()
    for name, weight in exports[0].items():
        torch.testing.assert_close(exports[1][name], weight, atol=1e-4, rtol=1e-3, msg=name)


def test_adapters_start_alike_on_any_number_of_ranks(config: TrainConfig) -> None:
    config = replace(config, lora=Lora(rank=3))
    whole = dict(start(config)[0].model.named_parameters())
    names = [name for name in whole if ".lora_A." in name]
    assert names
    assert all(whole[name].abs().sum() > 0 for name in names)
    assert all(whole[name].abs().sum() == 0 for name in whole if ".lora_B." in name)
    for ranks in (2, 5):
        for rank in range(ranks):
            with rank_of(rank, ranks):
                assert_is_its_share(start_sharded(config, prepare)[0].model, whole)


def test_groups_of_ranks_are_checked(config: TrainConfig) -> None:
    with rank_of(0, 6):
        with pytest.raises(UsageError, match="multiple of shard_size, got 6 workers and groups of 4; set shard_size"):
            shard_size(replace(config, sharding="hybrid", shard_size=4))
        mesh = device_mesh(replace(config, sharding="hybrid", shard_size=3))
        assert tuple(mesh.shape) == (2, 3)
        assert shard_size(replace(config, sharding="none")) == 1
        assert shard_size(config) == 6
    for changes in ({"shard_size": 2}, {"sharding": "hybrid", "shard_size": 0}, {"sharding": "none", "shard_size": 1}):
        with pytest.raises(UsageError, match="expected shard_size to be at least 1, with sharding=hybrid"):
            check(replace(config, **changes))
    with pytest.raises(UsageError, match=r"weights in bf16 .*precision=bf16"):
        check(replace(config, weights="bf16"))


def test_one_machine_is_a_group_by_default(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with rank_of(0, 6):
        assert tuple(device_mesh(replace(config, sharding="hybrid")).shape) == (3, 2)


def test_compiled_layers_have_the_loss_and_gradients_of_plain_ones(config: TrainConfig) -> None:
    arrays = DataLoader(config, load_model(config)[1], Flops(load_model(config)[0].config)).batch(0, 0, 1).sequences
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        model = prepare(replace(config, activation_checkpointing=True), load_model(config)[0])
        if compiled:
            # Without the backend that generates code, which takes minutes.
            compile_layers(model, backend="eager")
        with_loss = ModelWithLoss(model, config).train()
        for sequence in arrays[:1]:
            with_loss(sequence)[:2].sum().backward()
        results.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, ours = results
    assert plain.keys() == ours.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-5, rtol=1e-4)


def test_a_recipe_can_ask_for_compiled_layers(config: TrainConfig) -> None:
    model = prepare(replace(config, compile=True), load_model(config)[0])
    layers_of = [*model.model.language_model.layers, *model.model.vision_tower.encoder.layers]
    assert all(layer._compiled_call_impl is not None for layer in layers_of)
