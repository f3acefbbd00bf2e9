"""Checkpoints of others: nothing in them runs code or builds a giant, and each damage is one error with its file."""

import builtins
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import write_model

from molmo_agent.errors import ModelError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.backbones import vision_tower
from molmo_agent.model.checkpoints.untrusted import check_checkpoint, check_fields
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.pointers.profile import PROFILE_FILE, PointingProfile, read_profile
from molmo_agent.pointers.windowed import MOST, windows_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def copied(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copied")


@pytest.fixture(autouse=True)
def no_questions(monkeypatch):
    """A question on the terminal fails the test."""

    def ask(*arguments):
        raise AssertionError(f"the terminal was asked {arguments}")

    monkeypatch.setattr(builtins, "input", ask)


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refusal(load, folder):
    """Return the message of a refusal; what is accepted or fails in another way is named instead."""
    try:
        load(folder)
    except (ModelError, ValueError, OSError) as error:
        return str(error)
    except Exception as error:
        return f"another error: {error!r}"
    return "accepted"


def test_the_checkpoint_of_these_tests_is_loaded(copied):
    assert load_pointer(copied).name == "copied"


@pytest.mark.parametrize("kind", ["evil", "molmo_3", "llama", "MOLMO"])
def test_code_beside_a_config_of_an_unknown_model_never_runs(copied, tmp_path, kind):
    marker = tmp_path / "was here"
    (copied / "evil.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nclass C: pass\n")
    code = {name: "evil.C" for name in ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor")}
    edit(copied / "config.json", model_type=kind, auto_map=code)
    for load in (load_pointer, MolmoForConditionalGeneration.from_pretrained, MolmoProcessor.from_pretrained):
        message = refusal(load, copied)
        assert (
            "expected a Molmo checkpoint (model_type molmo or molmo2) in" in message
            or "(model_type molmo) in" in message
        )
        assert "names code to run" in message
    assert not marker.exists()


def test_code_in_the_other_configs_never_runs(model, tmp_path):
    wrong = []
    for number, (name, field) in enumerate((
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.C", None]}}),
        ("tokenizer_config.json", {"auto_map": ["evil.C", "evil.C"]}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "owner/repo--evil.C"}}),
        ("tokenizer_config.json", {"tokenizer_class": "evil.C"}),
        ("tokenizer_config.json", {"tokenizer_class": ["a"]}),
        ("config.json", {"text_config": {"auto_map": {"AutoModel": "owner/repo--evil.C"}}}),
        ("config.json", {"vision_config": {"auto_map": {"AutoModel": "evil.C"}}}),
        ("processor_config.json", {"image_processor": {"auto_map": {"AutoImageProcessor": "evil.C"}}}),
        ("generation_config.json", {"custom_generate": "owner/repo"}),
    )):  # fmt: skip
        folder = shutil.copytree(model, tmp_path / str(number))
        (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was here')!r})\nclass C: pass\n")
        if not (folder / name).exists():
            (folder / name).write_text("{}")
        whole = json.loads((folder / name).read_text())
        for key, value in field.items():
            whole[key] = whole.get(key, {}) | value if isinstance(whole.get(key), dict) else value
        (folder / name).write_text(json.dumps(whole))
        message = refusal(load_pointer, folder)
        if name not in message or "another error" in message:
            wrong.append((name, field, message))
    assert wrong == []
    assert not (tmp_path / "was here").exists()


def test_code_that_a_released_config_names_is_ignored(copied, tmp_path):
    # The released repositories name their own code, in whose place this package has its classes.
    (copied / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was here')!r})\nclass C: pass\n")
    edit(copied / "config.json", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"})
    edit(copied / "tokenizer_config.json", auto_map={"AutoProcessor": "evil.C"})
    edit(copied / "processor_config.json", auto_map={"AutoProcessor": "evil.C", "AutoImageProcessor": "evil.C"})
    load_pointer(copied)
    assert not (tmp_path / "was here").exists()


def test_kernels_and_unknown_methods_are_refused_by_name():
    fields = [
        {"_attn_implementation": "owner/kernel"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"text_config": {"_attn_implementation": "owner/kernel:function"}},
        {"attn_implementation": {"text_config": "owner/kernel", "vision_config": "sdpa"}},
        {"attn_implementation": "paged|owner/kernel"},
        {"attn_implementation": 1},
        {"_attn_implementation_internal": ["sdpa"]},
        {"text_config": {"_experts_implementation": "owner/kernel"}},
        {"use_kernels": True},
        {"use_kernels": 1},
        {"kernel_config": {"RMSNorm": "owner/kernel:RMSNorm"}},
        {"trust_remote_code": True},
        {"quantization_config": {"quant_method": "fp8"}},
        {"quantization_config": {"quant_method": "mxfp4"}},
        {"quantization_config": {}},
        {"quantization_config": "bitsandbytes.py"},
        {"text_config": {"quantization_config": {"quant_method": "owner/method"}}},
        {"a": [{"b": [{"attn_implementation": "owner/kernel"}]}]},
        {"chat_template": "{% for i in range(9) %}" * 20_000},
    ]
    messages = [refusal(lambda path, one=one: check_fields(one, where=path), Path("config.json")) for one in fields]
    assert [message for message in messages if "in config.json" not in message] == []


def test_what_transformers_itself_writes_is_accepted():
    for name in (None, "eager", "sdpa", "flash_attention_2", "flex_attention", {"text_config": "sdpa", "": "eager"}):
        check_fields({"_attn_implementation": name, "text_config": {"attn_implementation": name}}, where=Path("c"))
    bits = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    check_fields({"use_kernels": False, "quantization_config": bits, "kernel_config": None}, where=Path("c"))


def test_sizes_are_whole_numbers_within_bounds(model, tmp_path):
    changes = [
        *({"text_config": {name: value}} for name, value in (
            ("num_hidden_layers", 10**9), ("num_hidden_layers", -1), ("hidden_size", "64"), ("hidden_size", 64.0),
            ("hidden_size", True), ("hidden_size", None), ("vocab_size", 0), ("num_attention_heads", 0),
            ("intermediate_size", 10**12), ("num_key_value_heads", -4), ("model_type", None),
        )),
        {"vision_config": {"patch_size": 0}},
        {"vision_config": {"image_size": 10**8}},
        {"vision_config": {"num_hidden_layers": [1, 2]}},
        {"text_config": None},
        {"text_config": "qwen2"},
        {"vision_config": []},
        {"additional_vocab_size": -1},
        {"pooling_size": 1.5},
        {"projector_hidden_size": 10**11},
    ]  # fmt: skip
    wrong = []
    for number, change in enumerate(changes):
        folder = shutil.copytree(model, tmp_path / str(number))
        whole = json.loads((folder / "config.json").read_text())
        for key, value in change.items():
            whole[key] = whole[key] | value if isinstance(value, dict) else value
        (folder / "config.json").write_text(json.dumps(whole))
        message = refusal(check_checkpoint, folder)
        if not ("expected '" in message and "config.json" in message):
            wrong.append((change, message))
    assert wrong == []


def test_each_field_that_would_be_built_or_called_is_refused_by_name(model, tmp_path):
    """Lists and numbers that take for ever or much memory, and names that are looked up in transformers."""
    changes = [
        ("config.json", {"num_labels": 10**10}, "num_labels"),
        ("config.json", {"text_config": {"num_labels": -1}}, "text_config.num_labels"),
        ("config.json", {"vit_layers": [-1] * 1_000}, "vit_layers"),
        ("config.json", {"vit_layers": "ab"}, "vit_layers"),
        ("config.json", {"vit_layers": [-2.5]}, "vit_layers"),
        ("config.json", {"vit_layers": []}, "vit_layers"),
        ("config.json", {"dtype": "__import__"}, "dtype"),
        ("config.json", {"torch_dtype": ["float32"]}, "torch_dtype"),
        ("config.json", {"vision_config": {"dtype": "int8"}}, "vision_config.dtype"),
        ("config.json", {"text_config": {"hidden_act": "os.system"}}, "text_config.hidden_act"),
        ("config.json", {"projector_hidden_act": 5}, "projector_hidden_act"),
        ("config.json", {"text_config": {"rope_parameters": {"rope_type": "evil"}}}, "rope_type"),
        ("processor_config.json", {"image_processor": {"max_crops": 10**6}}, "image_processor.max_crops"),
        ("processor_config.json", {"image_processor": {"max_crops": 0}}, "image_processor.max_crops"),
        ("processor_config.json", {"image_processor": {"max_crops": "12"}}, "image_processor.max_crops"),
    ]
    wrong = []
    for number, (file, change, field) in enumerate(changes):
        folder = shutil.copytree(model, tmp_path / str(number))
        whole = json.loads((folder / file).read_text())
        for key, value in change.items():
            whole[key] = whole[key] | value if isinstance(value, dict) else value
        (folder / file).write_text(json.dumps(whole))
        message = refusal(check_checkpoint, folder)
        if not (message.startswith("expected '") and field in message and file in message):
            wrong.append((change, message))
    assert wrong == []


def test_a_tokenizer_or_template_that_cannot_be_read_is_named(model, tmp_path):
    whole = (model / "tokenizer.json").read_bytes()
    contents = [
        ("tokenizer.json", b"[]"), ("tokenizer.json", b"{}"), ("tokenizer.json", whole[: len(whole) // 2]),
        ("tokenizer.json", whole.decode().encode("utf-16")), ("tokenizer.json", b"[" * 100_000),
        ("chat_template.jinja", b"\xff\xfe\0"), ("chat_template.jinja", "{{ 'é' }}".encode("latin-1")),
    ]  # fmt: skip
    wrong = []
    for number, (file, content) in enumerate(contents):
        folder = shutil.copytree(model, tmp_path / str(number))
        (folder / file).write_bytes(content)
        message = refusal(check_checkpoint, folder)
        if not (message.startswith("expected ") and file in message):
            wrong.append((content[:20], message))
    assert wrong == []


@pytest.mark.parametrize("with_config", [True, False])
def test_an_adapter_never_chooses_the_model_that_is_loaded(copied, with_config):
    """transformers would add it to the model, or get the model that it names from the hub."""
    (copied / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "owner/other"}')
    if not with_config:
        (copied / "config.json").unlink()
    for load in (load_pointer, MolmoForConditionalGeneration.from_pretrained):
        message = refusal(load, copied)
        assert "got an adapter (adapter_config.json) of 'owner/other'" in message
        assert "merge_and_unload" in message


def test_a_config_of_a_giant_beside_small_weights_builds_nothing(copied):
    for change in (
        {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064},
        {"vocab_size": 9_000_000},
        {"num_hidden_layers": 900, "intermediate_size": 1_000_000},
    ):
        fields = json.loads((copied / "config.json").read_text())
        (copied / "config.json").write_text(json.dumps(fields | {"text_config": fields["text_config"] | change}))
        message = refusal(load_pointer, copied)
        assert "billion weights, but the files beside it have" in message, message
        (copied / "config.json").write_text(json.dumps(fields))


def test_a_folder_without_a_config_or_with_an_empty_one_builds_nothing(copied):
    config = (copied / "config.json").read_text()
    for content in ("{}", '{"model_type": "molmo"}', '{"architectures": ["MolmoForCausalLM"]}', '{"qkv_bias": true}'):
        (copied / "config.json").write_text(content)
        message = refusal(load_pointer, copied)
        assert "expected '" in message, message
        assert "config.json" in message
    (copied / "config.json").unlink()
    assert "expected " in refusal(load_pointer, copied)
    assert "nothing says which model the weights belong to" in refusal(load_pointer, copied)
    (copied / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base\\u001b[2J"}')
    message = refusal(load_pointer, copied)
    assert "got an adapter (adapter_config.json) of 'owner/base" in message
    assert "\x1b" not in message
    assert config


DAMAGES = {
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "empty": b"",
    "short": b"\x10\x00",
    "page": b"<!DOCTYPE html><html>404</html>" * 50,
    "header too long": struct.pack("<Q", 2**40) + b"{}",
    "header past the end": struct.pack("<Q", 90_000) + b"{}",
    "header no JSON": struct.pack("<Q", 8) + b"not json",
    "deep header": struct.pack("<Q", 60_000) + b"[" * 60_000,
    "offsets lie": struct.pack("<Q", 66) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999]}}  ',
    "shape lies": struct.pack("<Q", 64)
    + b'{"a":{"dtype":"F32","shape":[9999999],"data_offsets":[0,8]}}    '
    + bytes(8),
    "unknown type": struct.pack("<Q", 56) + b'{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}   ' + bytes(8),
    "zeros": bytes(100_000),
}


def test_damaged_weights_are_one_error_with_their_file(copied):
    whole = (copied / "model.safetensors").read_bytes()
    cuts = {f"cut at {place}": whole[:place] for place in (7, 8, 500, 50_000, len(whole) - 1)}
    rng = np.random.default_rng(5)
    for number in range(40):
        flipped = bytearray(whole)
        flipped[int(rng.integers(0, 3000))] ^= int(rng.integers(1, 256))
        cuts[f"flip {number}"] = bytes(flipped)
    wrong = []
    for name, content in (DAMAGES | cuts).items():
        (copied / "model.safetensors").write_bytes(content)
        message = refusal(check_checkpoint, copied)
        # A flipped bit may leave a valid header; loading such a file must still end in words.
        if message == "accepted" and name.startswith("flip"):
            message = refusal(load_pointer, copied)
            if message == "accepted" or "expected" in message:
                continue
        if "model.safetensors" not in message or "another error" in message:
            wrong.append(f"{name}: {message}")
    assert wrong == []


def test_damaged_tokenizers_and_configs_are_one_error(model, tmp_path):
    contents = (
        *(DAMAGES["git-lfs"], b"", b"[1]", b"{", b"[" * 100_000, b"\xff\xfe{\x00", b'{"a": 1e999'),
        *('{"ü": 1}'.encode("latin-1"), b"null", b'"text"'),
    )
    wrong = []
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "processor_config.json"):
        for number, content in enumerate(contents):
            folder = shutil.copytree(model, tmp_path / f"{name}-{number}")
            (folder / name).write_bytes(content)
            message = refusal(load_pointer, folder)
            if "loading it failed" not in message or "another error" in message:
                wrong.append(f"{name}, {content[:20]!r}: {message}")
    assert wrong == []


def test_shards_are_files_beside_their_index(copied, tmp_path):
    (copied / "model.safetensors").rename(copied / "model-00001-of-00001.safetensors")
    shutil.copy(copied / "model-00001-of-00001.safetensors", tmp_path / "outside.safetensors")
    keys = list(MolmoForConditionalGeneration.from_pretrained(write_model(tmp_path / "again")).state_dict())
    index = copied / "model.safetensors.index.json"

    def write(name):
        index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(keys, name)}))

    write("model-00001-of-00001.safetensors")
    load_pointer(copied)
    wrong = []
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "../../etc/passwd", "/etc/passwd",
                 "a\\b.safetensors", "..", "evil.bin", "", 3, None, ["x"]):  # fmt: skip
        write(name)
        message = refusal(load_pointer, copied)
        if "to name safetensors files beside it" not in message:
            wrong.append((name, message))
    assert wrong == []
    write("model-00002-of-00002.safetensors")
    assert "is the download complete?" in refusal(load_pointer, copied)
    for content in ("[]", '{"weight_map": []}', '{"weight_map": {}}', "{}", '{"weight_map": 3}', "{"):
        index.write_text(content)
        assert "model.safetensors.index.json" in refusal(load_pointer, copied)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_the_links_of_a_download_cache_are_followed(copied, tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(copied.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    load_pointer(snapshot)
    (snapshot / "model.safetensors").unlink()
    for target in ("/etc/passwd", "/dev/zero", "nowhere"):
        (snapshot / "model.safetensors").symlink_to(target)
        assert "model.safetensors" in refusal(load_pointer, snapshot)
        (snapshot / "model.safetensors").unlink()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "last.ckpt"])
def test_pickled_weights_are_refused_and_never_read(copied, tmp_path, name):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    (copied / "model.safetensors").unlink()
    torch.save({"x": Call()}, copied / name)
    message = refusal(load_pointer, copied)
    assert "convert it to safetensors" in message, message
    assert not (tmp_path / "was here").exists()


def test_a_backbone_with_code_or_kernels_is_refused(copied):
    edit(copied / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.C"})
    with pytest.raises(ValueError, match=r"got 'evil'; it names code to run"):
        vision_tower(copied, torch.float32)
    edit(copied / "config.json", model_type="clip_vision_model", _attn_implementation="owner/kernel")
    with pytest.raises(ValueError, match="expected '_attn_implementation' in"):
        vision_tower(copied, torch.float32)


# --- The profile ----------------------------------------------------------------------------------------------------

BAD_PROFILES = {
    "window": ([1, 1], [640], [640, 0], [640.5, 480], ["640", "480"], 9, [True, True], [10**9, 10**9], [19, 300], {}),
    "canvases": ([[1, 1]], 3, [640, 480], [[640, 480]] * 101, "ab", [None]),
    "calibration": (
        *(
            {"slope": 1e-9, "offset": 50},
            {"slope": 1, "offset": 90},
            {"slope": 1, "offset": -90},
            {"slope": -1},
            [1, 2],
        ),
        *({"slope": 1e6, "offset": 0}, {"sloppe": 1}, {"slope": "1"}, {"slope": None}, 3, {"slope": 1e-3, "offset": 0}),
    ),
    "remark": ("\x1b[2J", "a\nb", "\u202eevil", "x" * 2001, 3, None, ["a"], "\u200bhidden", "\x9b31m"),
    "question": (
        "Point",
        "{} {}",
        "{0.__class__}",
        "{:>99999999}",
        "{!r}",
        "{name}",
        "{",
        "}",
        3,
        None,
        "{}" * 2,
        "{0}",
    ),
    "dialect": ("evil", 3, None, ["molmo"], {}),
    "max_new_tokens": (0, -1, 1.5, "8", True, 10**9, None),
    "min_confidence": (-0.1, 1.1, "0.5", True, [0]),
    "constrained": ("yes", 1, None),
    "policy": (3, "", "a b", "\x1b[2J", "x" * 101),
    "form": (3, "../x", ["hl"]),
    "evil": (1,),
    "\x1b[2J": (1,),
}


def test_a_profile_that_makes_no_sense_is_one_error_that_names_file_and_field(tmp_path):
    wrong = []
    for name, values in BAD_PROFILES.items():
        for value in values:
            (tmp_path / PROFILE_FILE).write_text(json.dumps({name: value}))
            try:
                read_profile(tmp_path)
            except ModelError as error:
                named = (PROFILE_FILE in str(error), name in str(error) or "slope" in str(error) or "\x1b" in name)
                if named != (True, True) or "\x1b" in str(error) or "\n" in str(error):
                    wrong.append((name, value, str(error)))
            except Exception as error:
                wrong.append((name, value, repr(error)))
            else:
                wrong.append((name, value, "accepted"))
    for content in (b"", b"[1]", b"[" * 9000, b"\xff\xfe{}", b'{"window": NaN}', b'{"min_confidence": 1e999}', b"\xff"):
        (tmp_path / PROFILE_FILE).write_bytes(content)
        with pytest.raises(ModelError, match=r"pointing_profile\.json to hold the options of a pointing model as JSON"):
            read_profile(tmp_path)
    assert wrong == []


def test_a_profile_comes_back_as_it_was_written(tmp_path):
    profile = PointingProfile(
        question="Zeige auf {}, {{genau}}", window=(640, 480), canvases=((64, 64),), remark="naïve"
    )
    profile.write(tmp_path)
    assert read_profile(tmp_path) == profile
    assert read_profile(tmp_path, min_confidence=0.5).min_confidence == 0.5


def test_windows_of_any_size_end():
    for side in (1, 2, 7, 19, 20, 64):
        assert 0 < len(windows_of(1920, 1080, (side, side))) <= MOST
