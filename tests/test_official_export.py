"""The official layout has the files, fields and names that code of the released repositories reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_images import golden_image
from golden_models import facts, write_official
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer, GenerationConfig

from molmo_agent.model import MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.model.checkpoints.convert import convert
from molmo_agent.model.checkpoints.molmo_0924 import official_config
from molmo_agent.model.checkpoints.released_files import code_of_model, repository_of
from molmo_agent.model.presets import PRESETS, preset
from molmo_agent.model.prompts import role_prompt
from molmo_agent.nano.architecture import nano_processor

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("dense_qwen", "dense_olmo", "moe_olmoe")
# What servers read from config.json of a dense model: none of these has a default there.
READ_BY_SERVERS = (
    *("architectures", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"),
    *("num_hidden_layers", "vocab_size", "embedding_size", "layer_norm_eps", "max_position_embeddings"),
    *("rope_theta", "norm_after", "qkv_bias", "attention_layer_norm", "weight_tying", "tie_word_embeddings"),
)
FILES = {
    *("config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
}


def processor_for(name: str, **changes: Any) -> MolmoProcessor:
    """A processor with the crops of a golden model."""
    config = facts(GOLDEN)[name]["config"]
    images = MolmoImageProcessor(
        crop_size=config["base_image_input_size"],
        patch_size=14,
        margins=tuple(config["overlap_margins"]),
        **({"max_crops": 5} | changes),
    )
    return MolmoProcessor(image_processor=images, tokenizer=nano_processor().tokenizer)


@pytest.fixture(scope="module", params=NAMES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    place = tmp_path_factory.mktemp(request.param)
    source = write_official(GOLDEN, request.param, place / "source")
    processor_for(request.param).save_pretrained(source)
    convert(str(source), place / "official", "official")
    return request.param, place / "official"


def read(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text())
    return fields


def test_all_files_of_a_released_repository_are_there(exported: tuple[str, Path]) -> None:
    _, folder = exported
    assert {path.name for path in folder.iterdir()} == FILES
    assert not list(folder.glob("*.py")), "code stays where it is"
    GenerationConfig.from_pretrained(folder)


def test_the_pictures_fields_are_the_released_ones(exported: tuple[str, Path]) -> None:
    name, folder = exported
    fields, config = read(folder / "preprocessor_config.json"), facts(GOLDEN)[name]["config"]
    size = config["base_image_input_size"]
    expected = {
        "base_image_input_size": [size, size],
        "image_patch_size": 14,
        "image_padding_mask": True,
        "image_token_length_h": size // 28,
        "image_token_length_w": size // 28,
        "max_crops": 5,
        "overlap_margins": list(config["overlap_margins"]),
        "image_processor_type": "MolmoImageProcessor",
        "processor_class": "MolmoProcessor",
    }
    assert expected.items() <= fields.items()


def test_the_map_names_the_repository_that_has_the_code(exported: tuple[str, Path]) -> None:
    name, folder = exported
    repository = {"dense_qwen": "Molmo-7B-D-0924", "dense_olmo": "Molmo-7B-O-0924", "moe_olmoe": "MolmoE-1B-0924"}[name]
    maps: dict[str, str] = {}
    for file in ("config", "preprocessor_config", "processor_config"):
        maps |= read(folder / f"{file}.json")["auto_map"]
    assert set(maps) == {"AutoConfig", "AutoModelForCausalLM", "AutoImageProcessor", "AutoProcessor"}
    assert all(place.startswith(f"allenai/{repository}--") for place in maps.values())


def test_the_fields_of_a_golden_config_come_back(exported: tuple[str, Path]) -> None:
    name, folder = exported
    fields = read(folder / "config.json")
    released = facts(GOLDEN)[name]["config"]
    shared = {"vocab_size", "embedding_size", "layer_norm_eps", "rope_theta"} & released.keys()
    assert {key: fields[key] for key in shared} == {key: released[key] for key in shared}
    if name != "moe_olmoe":
        assert set(READ_BY_SERVERS) <= fields.keys()


@torch.no_grad()
def test_this_package_reads_it_as_before(exported: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = exported
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert type(AutoConfig.from_pretrained(folder)).__name__ == "MolmoConfig"
    assert tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    assert AutoImageProcessor.from_pretrained(folder).max_crops == 5
    image, question = golden_image(150, 400, 3), role_prompt("a")
    expected = processor_for(name)(images=image, text=question)
    for reader in (processor, MolmoProcessor.from_pretrained(folder)):
        assert all(torch.equal(value, expected[key]) for key, value in reader(images=image, text=question).items())
    chat = [{"role": "user", "content": "q"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == role_prompt("q")
    convert(str(folder), tmp_path / "own", "own")
    assert AutoProcessor.from_pretrained(tmp_path / "own").image_processor.max_crops == 5
    weights = MolmoForConditionalGeneration.from_pretrained(folder).state_dict()
    again = MolmoForConditionalGeneration.from_pretrained(tmp_path / "own").state_dict()
    assert all(torch.equal(again[key], value) for key, value in weights.items())


def test_every_release_is_mapped_to_its_own_code() -> None:
    repositories = {name: repository_of(preset(name)) for name in PRESETS}
    assert repositories == {
        "7B-D": "allenai/Molmo-7B-D-0924",
        "7B-O": "allenai/Molmo-7B-O-0924",
        "E-1B": "allenai/MolmoE-1B-0924",
        "72B": "allenai/Molmo-72B-0924",
    }
    for name in PRESETS:
        assert ("molmoe" in code_of_model(preset(name))["AutoConfig"].partition("--")[2]) == (name == "E-1B")
        fields = official_config(preset(name))
        assert "vision_backbone" not in fields
        assert PRESETS[name].get("embedding_size") == fields["embedding_size"]


@pytest.mark.parametrize(
    ("change", "told"), [({"crop_mode": "resize"}, "crop_mode='resize'"), ({"fast": True}, "fast")]
)
def test_what_the_layout_cannot_say_is_told(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    source = write_official(GOLDEN, "dense_qwen", tmp_path / "source")
    processor_for("dense_qwen", **change).save_pretrained(source)
    assert told in convert(str(source), tmp_path / "official", "official")
