"""Checkpoints in every layout: released, native, our own; whole or refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from golden_models import facts, load_golden, to_native, write_official
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from molmo_agent.errors import ModelError, UnknownNameError
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.checkpoints.molmo_0924 import from_native, to_official
from molmo_agent.model.checkpoints.released_config import translate_config
from molmo_agent.model.presets import PRESETS, preset
from molmo_agent.nano.tokenizer import build_tokenizer
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


# What the training code writes for every field that a model leaves alone.
VISION_DEFAULTS = {
    "image_model_type": "openai",
    "image_default_input_size": [336, 336],
    "image_patch_size": 14,
    "image_pos_patch_size": 14,
    "image_emb_dim": 1024,
    "image_num_heads": 16,
    "image_num_key_value_heads": 16,
    "image_num_layers": 24,
    "image_head_dim": 64,
    "image_mlp_dim": 4096,
    "image_mlp_activations": "quick_gelu",
    "image_dropout_rate": 0.0,
    "image_num_pos": 577,
    "image_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "residual_dropout": 0.0,
    "initializer_range": 0.02,
    "fsdp_wrap": False,
    "resize_mode": "default",
}
MODEL_DEFAULTS = {
    "d_model": 768,
    "n_heads": 12,
    "n_kv_heads": None,
    "qkv_bias": False,
    "clip_qkv": None,
    "n_layers": 12,
    "mlp_ratio": 4,
    "mlp_hidden_size": None,
    "activation_type": "swiglu",
    "block_type": "sequential",
    "block_group_size": 1,
    "rope": False,
    "rope_full_precision": True,
    "rope_theta": 10000.0,
    "vision_backbone": None,
    "vit_load_path": None,
    "llm_load_path": None,
    "low_cpu_fsdp": True,
    "attention_type": "sdpa",
    "float32_attention": True,
    "attention_dropout": 0.1,
    "attention_layer_norm": False,
    "residual_dropout": 0.1,
    "response_residual_dropout": 0.0,
    "embedding_dropout": 0.1,
    "layer_norm_type": "default",
    "layer_norm_with_affine": True,
    "layer_norm_eps": None,
    "attention_layer_norm_with_affine": True,
    "max_sequence_length": 1024,
    "max_position_embeddings": None,
    "include_bias": True,
    "bias_for_layer_norm": None,
    "scale_logits": False,
    "vocab_size": 50257,
    "embedding_size": 50304,
    "additional_vocab_size": None,
    "new_embedding_init_range": 0.02,
    "weight_tying": True,
    "init_device": None,
    "init_fn": "normal",
    "init_std": 0.02,
    "init_cutoff_factor": None,
    "norm_after": False,
    "precision": None,
    "max_crops": 12,
    "crop_mode": "patchify-v2-and-resize-c2",
    "use_col_tokens": True,
    "prompt_type": "none",
    "system_prompt_kind": "style",
    "message_formatting": "none",
    "always_start_with_space": True,
    "multi_annotation_weighting": None,
    "default_inference_len": 65,
    "overlap_margins": [4, 4],
    "pad_value": 0.0,
    "image_padding_embed": None,
    "fix_image_padding": True,
    "vit_layers": [-1],
    "image_pooling_h": 2,
    "image_pooling_w": 2,
    "image_pooling_2d": "attention",
    "image_projector": "mlp",
    "image_feature_dropout": 0.0,
    "initializer_range": 0.02,
    "normalize_input_embeds": False,
    "use_position_ids": True,
    "head_dim": None,
    "tokenizer": {"identifier": "gpt2", "tokenizer_dir": None},
    "pad_tokenizer": True,
    "moe_num_experts": 8,
    "moe_top_k": 2,
    "moe_mlp_impl": "sparse",
    "moe_log_expert_assignment": False,
    "moe_shared_expert": False,
    "moe_lbl_in_fp32": False,
    "moe_interleave": False,
    "moe_loss_weight": 0.1,
    "moe_zloss_weight": None,
    "moe_dropless": True,
    "moe_capacity_factor": 1.25,
}


def full_dump(name) -> dict:
    """The model's config with every field written out, as the training code saves it."""
    fields = dict(facts(GOLDEN)[name]["config"])
    vision = VISION_DEFAULTS | fields.pop("vision")
    return MODEL_DEFAULTS | fields | {"vision_backbone": vision}


def test_a_config_with_every_default_written_out_is_the_same_model(name, model, tmp_path):
    torch.save(to_native(to_official(model)), tmp_path / "model.pt")
    dump = full_dump(name)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"run_name": "x", "seed": 6198, "model": dump}))
    loaded = MolmoForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.config.text_config.model_type == model.config.text_config.model_type
    assert torch.equal(logits(loaded), logits(model))
    (tmp_path / "config.yaml").rename(tmp_path / "model.yaml")
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(dump))
    assert torch.equal(logits(MolmoForConditionalGeneration.from_pretrained(tmp_path)), logits(model))


def test_the_block_type_decides_whether_there_are_experts():
    dense, sparse = full_dump("dense_qwen"), full_dump("moe_olmoe")

    def kind(fields):
        return translate_config(fields)["text_config"]["model_type"]

    assert [kind(full_dump(name)) for name in ("dense_qwen", "dense_olmo", "moe_olmoe")] == ["qwen2", "olmo2", "olmoe"]
    assert kind(dense | {"block_type": "moe"}) == "olmoe"
    # Hub configs may leave the block type out; the training code's own number of experts is 8, of which 2 are used.
    assert kind({key: value for key, value in sparse.items() if key != "block_type"}) == "olmoe"
    bare = {key: value for key, value in sparse.items() if not key.startswith("moe_")}
    text = translate_config(bare)["text_config"]
    assert (text["num_experts"], text["num_experts_per_tok"]) == (8, 2)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("dense_qwen", {"block_type": "llama"}, r"got \{'block_type': 'llama'\}"),
        ("moe_olmoe", {"moe_shared_expert": True}, r"got \{'moe_shared_expert': True\}"),
        ("moe_olmoe", {"moe_interleave": True}, r"got \{'moe_interleave': True\}"),
    ],
    ids=["llama", "shared", "interleaved"],
)
def test_blocks_that_no_released_model_has_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        translate_config(full_dump(name) | change)
    # A dense model has no experts to share or to interleave.
    assert translate_config(full_dump("dense_olmo") | {"moe_shared_expert": True, "moe_interleave": True})


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
    with pytest.raises(ValueError, match=f"expected a checkpoint .model_type molmo. .* got '{kind}'"):
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


def test_a_released_repository_s_processor_files_are_read_without_its_code(tmp_path):
    folder = write_official(GOLDEN, "dense_qwen", tmp_path)
    build_tokenizer().save_pretrained(folder)
    remote = {
        "AutoImageProcessor": "image_preprocessing_molmo.MolmoImageProcessor",
        "AutoProcessor": "x.MolmoProcessor",
    }
    written = {
        "auto_map": remote,
        "base_image_input_size": [112, 112],
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_padding_mask": True,
        "image_patch_size": 14,
        "image_processor_type": "MolmoImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_token_length_h": 4,
        "image_token_length_w": 4,
        "max_crops": 6,
        "overlap_margins": [2, 2],
        "processor_class": "MolmoProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(written))
    processor = AutoProcessor.from_pretrained(folder)
    assert isinstance(processor, MolmoProcessor)
    layout = processor.image_processor.layout()
    assert (layout.crop_size, layout.patch_size, layout.margins, layout.max_crops) == (112, 14, (2, 2), 6)


# --- The released sizes -----------------------------------------------------------------------------------------------

VISION = 290_909_184
# Parameters, those of the connector, and tensors of the released repository.
RELEASED = {
    "7B-D": (8_021_025_280, 114_040_832, 585),
    "7B-O": (7_665_032_192, 74_981_376, 645),
    "E-1B": (7_221_875_712, 11_542_528, 549 + 16 * (3 * 64 - 3)),  # one tensor per expert instead of three in all
    "72B": (73_308_285_952, 310_124_544, 949),
}


@pytest.mark.parametrize("release", RELEASED)
def test_every_released_weight_has_exactly_one_place_and_every_place_a_weight(release):
    total, connector, tensors = RELEASED[release]
    with torch.device("meta"):
        model = MolmoForConditionalGeneration(preset(release))
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
        assert released[block + "ff_proj.weight"].shape == (PRESETS[release]["intermediate_size"], width)
    assert released["model.vision_backbone.image_vit.patch_embedding.weight"].shape == (1024, 588)


def test_a_preset_takes_the_paper_s_other_choices():
    config = preset("7B-D", pooling="stack", pad_embed=False, vit_layers=(-2,))
    with torch.device("meta"):
        connector = MolmoForConditionalGeneration(config).model.connector
    assert connector.pooling is None
    assert connector.pad_embed is None
    assert connector.projector.up_proj.in_features == 4 * 1024
    with pytest.raises(UnknownNameError, match="7B-D"):
        preset("7b-d")


@pytest.mark.parametrize("kind", ["qwen2", "olmo2", "olmoe"])
def test_parts_of_a_vision_encoder_and_a_language_model_become_a_molmo(kind, tmp_path):
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=10,
            num_attention_heads=2,
            image_size=112,
            patch_size=14,
        )
    )
    tower.save_pretrained(tmp_path / "vision")
    sizes = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": None, "eos_token_id": 1}
    decoder = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **heads))
    decoder.save_pretrained(tmp_path / "language")
    model = MolmoForConditionalGeneration.from_backbones(tmp_path / "vision", tmp_path / "language").eval()
    assert model.config.vision_config.num_hidden_layers == 9
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, decoder.eval()(input_ids=ids).logits)
        pixels = torch.randn(1, 3, 112, 112)
        wanted = tower.eval()(pixels, output_hidden_states=True).hidden_states[9]
        assert torch.equal(model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[9], wanted)
    assert model.config.image_patch_token_id == 92
    with pytest.raises(ValueError, match="these did not"):
        MolmoForConditionalGeneration.from_backbones(
            tmp_path / "vision",
            tmp_path / "language",
            vision_config=model.config.vision_config.to_dict() | {"num_hidden_layers": 11},
        )
