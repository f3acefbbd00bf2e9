"""Checkpoints in every layout: released, native, our own; whole or refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from golden_models import facts, load_golden, write_official
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText

from molmo_agent.errors import ModelError
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.official import from_native, to_native, to_official
from molmo_agent.registry import load_model

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(facts(GOLDEN))
IDS = torch.tensor([[256, 70, 71, 72, 90]])


@pytest.fixture(scope="module", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name, tmp_path_factory) -> MolmoForConditionalGeneration:
    return load_golden(GOLDEN, name, tmp_path_factory.mktemp(name))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_loading_saving_and_exporting_change_no_bit(name, model, tmp_path):
    expected = logits(model)
    model.save_pretrained(tmp_path / "own")
    own = MolmoForConditionalGeneration.from_pretrained(tmp_path / "own")
    assert torch.equal(logits(own), expected)
    released = {key: value.float() for key, value in load_file(GOLDEN / f"model_{name}.safetensors").items()}
    exported = to_official(own)
    assert exported.keys() == released.keys()
    assert all(torch.equal(exported[key], released[key]) for key in released)
    folder = write_official(GOLDEN, name, tmp_path / "again")
    save_file({k: v.contiguous() for k, v in exported.items()}, folder / "model.safetensors", {"format": "pt"})
    assert torch.equal(logits(MolmoForConditionalGeneration.from_pretrained(folder)), expected)


def test_the_training_code_s_folders_load_without_running_code_from_them(name, model, tmp_path):
    native = to_native(to_official(model))
    assert from_native(native).keys() == to_official(model).keys()
    torch.save(native, tmp_path / "model.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed": 1, "model": facts(GOLDEN)[name]["config"]}))
    loaded = MolmoForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(logits(loaded), logits(model))
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(ValueError, match="to describe a model"):
        MolmoForConditionalGeneration.from_pretrained(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"expected config\.yaml or model\.yaml beside model\.pt"):
        MolmoForConditionalGeneration.from_pretrained(tmp_path)


def test_the_fused_experts_of_the_training_code_are_the_released_ones():
    native = load_file(GOLDEN / "model_moe_olmoe.native_ffn.safetensors")
    released = load_file(GOLDEN / "model_moe_olmoe.safetensors")
    converted = {key: value for key, value in from_native(native).items() if ".mlp." in key}
    assert converted
    assert all(torch.equal(value, released[key]) for key, value in converted.items())


def test_the_auto_classes_know_a_released_folder(name, model, tmp_path):
    folder = write_official(GOLDEN, name, tmp_path)
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, MolmoConfig)
    loaded = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    assert loaded.config.checkpoint_layout is None
    assert torch.equal(loaded.lm_head.weight.float(), model.lm_head.weight)


def shards(folder: Path) -> dict[str, str]:
    """Split a folder's weights into two files with an index."""
    weights = load_file(folder / "model.safetensors")
    keys = sorted(weights)
    where = {key: f"model-0000{1 + (i >= len(keys) // 2)}-of-00002.safetensors" for i, key in enumerate(keys)}
    for file in set(where.values()):
        save_file({k: weights[k] for k in keys if where[k] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()
    return where


def test_sharded_weights_load_and_a_missing_shard_is_named(model, name, tmp_path):
    folder = write_official(GOLDEN, name, tmp_path)
    shards(folder)
    assert torch.equal(logits(MolmoForConditionalGeneration.from_pretrained(folder)), logits(model))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(OSError, match="model-00002-of-00002"):
        MolmoForConditionalGeneration.from_pretrained(folder)


def broken(folder: Path, change) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


HEAD = "model.transformer.ff_out.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(HEAD), r"missing: lm_head\.weight \(1\)"),
        (lambda w: w.update({"model.surprise": torch.ones(2)}), r"unknown: .*surprise \(1\)"),
        (lambda w: w.update({HEAD: torch.ones(3, 5)}), r"of another shape .*lm_head\.weight.*3, 5.*264, 64"),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_nothing_half_loaded_is_returned(change, message, tmp_path):
    folder = broken(write_official(GOLDEN, "dense_qwen", tmp_path), change)
    with pytest.raises(ValueError, match=message):
        MolmoForConditionalGeneration.from_pretrained(folder)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    folder = write_official(GOLDEN, "dense_qwen", tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match=r"(?i)incomplete|invalid|deserializ"):
        MolmoForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["molmo2", "llava"])
def test_another_model_s_checkpoint_is_refused_by_name(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ValueError, match=f"expected a Molmo checkpoint .* got '{kind}'"):
        MolmoForConditionalGeneration.from_pretrained(tmp_path)


def test_a_config_with_a_feature_that_no_release_has_is_refused(tmp_path):
    fields = {**facts(GOLDEN)["dense_qwen"]["config"], "weight_tying": True, "model_type": "molmo"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="weight_tying"):
        MolmoConfig.from_pretrained(tmp_path)


def test_a_typo_in_a_hub_name_without_a_network_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="expected a Molmo checkpoint at 'allenai/Molmo-7B-Q'"):
        load_model("allenai/Molmo-7B-Q")


# --- The released sizes -----------------------------------------------------------------------------------------------

VISION = 290_909_184
RELEASED = {
    "7B-D": (
        {
            "hidden_size": 3584,
            "intermediate_size": 37888,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "qkv_bias": True,
            "rope_theta": 1e6,
            "layer_norm_eps": 1e-6,
            "vocab_size": 152064,
            "embedding_size": 152064,
        },
        (8_021_025_280, 114_040_832, 585),
    ),
    "7B-O": (
        {
            "hidden_size": 4096,
            "intermediate_size": 22016,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "qkv_bias": False,
            "norm_after": True,
            "rope_theta": 5e5,
            "layer_norm_eps": 1e-6,
            "vocab_size": 100278,
            "embedding_size": 100352,
        },
        (7_665_032_192, 74_981_376, 645),
    ),
    "E-1B": (
        {
            "d_model": 2048,
            "n_heads": 16,
            "n_layers": 16,
            "mlp_ratio": 1,
            "moe_num_experts": 64,
            "moe_top_k": 8,
            "rope_theta": 1e4,
            "layer_norm_eps": 1e-5,
            "vocab_size": 50280,
            "embedding_size": 50304,
        },
        (7_221_875_712, 11_542_528, 549 + 16 * (3 * 64 - 3)),
    ),
    "72B": (
        {
            "hidden_size": 8192,
            "intermediate_size": 59136,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "qkv_bias": True,
            "rope_theta": 1e6,
            "layer_norm_eps": 1e-5,
            "vocab_size": 152064,
            "embedding_size": 152064,
        },
        (73_308_285_952, 310_124_544, 949),
    ),
}


@pytest.mark.parametrize("release", RELEASED)
def test_every_released_weight_has_exactly_one_place_and_every_place_a_weight(release):
    fields, (total, connector, tensors) = RELEASED[release]
    config = MolmoConfig.from_dict({"model_type": "molmo", **fields})
    with torch.device("meta"):
        model = MolmoForConditionalGeneration(config)
    sizes = {key: p.numel() for key, p in model.named_parameters()}
    assert sum(sizes.values()) == total
    assert sum(size for key, size in sizes.items() if "vision_tower" in key) == VISION
    assert sum(size for key, size in sizes.items() if "connector" in key) == connector
    released = to_official(model)
    assert len(released) == tensors
    # Together they hold as many numbers as the model: none is left out, none is there twice.
    assert sum(value.numel() for value in released.values()) == total
    block = "model.transformer.blocks.0."
    width = model.config.text_config.hidden_size
    if release == "E-1B":
        assert released[block + "attn.att_proj.weight"].shape == (6144, width)
        assert released[block + "mlp.experts.63.down_proj.weight"].shape == (2048, 1024)
    else:
        rows = {"7B-D": 4608, "7B-O": 12288, "72B": 10240}[release]
        assert released[block + "att_proj.weight"].shape == (rows, width)
        assert released[block + "ff_proj.weight"].shape == (fields["intermediate_size"], width)
    assert released["model.vision_backbone.image_vit.patch_embedding.weight"].shape == (1024, 588)
