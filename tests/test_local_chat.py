"""Qwen-VL's classes of transformers as pointing models: tiny checkpoints, written to a folder and loaded from there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3VLConfig,
)
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.interfaces import collect_usage, model_traits
from molmo_agent.nano.architecture import nano_processor
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.pointers.local_chat.naming import how_asked, profile_of_checkpoint
from molmo_agent.pointers.local_chat.qwen import QwenPointer
from molmo_agent.registry import is_checkpoint, load_model
from molmo_agent.testing import check_model

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|im_start|>", "<|im_end|>")
# In the form of the published templates, with a system prompt where there is none.
TEMPLATE = """{%- for message in messages %}<|im_start|>system
You help.<|im_end|>
<|im_start|>{{ message.role }}
{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
NAMES = {"qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL", "qwen3_5": "Qwen3.5"}


def tokenizer() -> Any:
    made = nano_processor().tokenizer
    made.add_special_tokens({"additional_special_tokens": list(MARKS)})
    made.chat_template = TEMPLATE
    return made


def config_of(model_type: str, made: Any) -> Any:
    ids = dict(zip(("start", "end", "image", "video"), made.convert_tokens_to_ids(list(MARKS[:4])), strict=True))
    marks = {"image_token_id": ids["image"], "video_token_id": ids["video"]}
    marks |= {"vision_start_token_id": ids["start"], "vision_end_token_id": ids["end"]}
    text: dict[str, Any] = {
        "vocab_size": len(made),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "eos_token_id": made.eos_token_id,
        "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    sight: dict[str, Any] = {"depth": 2, "num_heads": 2, "hidden_size": 32}
    if model_type == "qwen2_vl":
        return Qwen2VLConfig(text_config=text, vision_config=sight | {"embed_dim": 32}, **marks)
    sight |= {"intermediate_size": 48, "out_hidden_size": 32}
    if model_type == "qwen2_5_vl":
        return Qwen2_5_VLConfig(text_config=text, vision_config=sight | {"fullatt_block_indexes": [1]}, **marks)
    text |= {"head_dim": 16, "rope_parameters": text["rope_parameters"] | {"mrope_interleaved": True}}
    sight |= {"num_position_embeddings": 64}
    if model_type == "qwen3_vl":
        return Qwen3VLConfig(text_config=text, vision_config=sight | {"deepstack_visual_indexes": [0]}, **marks)
    text |= {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    }
    text |= {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    return Qwen3_5Config(text_config=text, vision_config=sight, **marks)


def write_checkpoint(folder: Path, model_type: str) -> Path:
    made = tokenizer()
    config = config_of(model_type, made)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    # As released checkpoints, whose defaults are not greedy.
    model.generation_config.update(do_sample=True, temperature=0.9, top_p=0.5, top_k=3, repetition_penalty=1.3)
    model.generation_config.eos_token_id = [made.eos_token_id]
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    side = 14 if model_type in ("qwen2_vl", "qwen2_5_vl") else 16
    Qwen2VLImageProcessorPil(patch_size=side, size={"shortest_edge": 56 * 56, "longest_edge": 10**6}).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("checkpoints")
    return {kind: write_checkpoint(home / name, kind) for kind, name in NAMES.items()}


def saying(pointer: Any, reply: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Make a loaded model give a reply; return what it is called with."""
    calls: list[dict[str, Any]] = []

    def generate(input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.append({"input_ids": input_ids, **options})
        said = pointer.tokenizer(reply, add_special_tokens=False)["input_ids"] + [pointer.tokenizer.eos_token_id]
        return torch.cat([input_ids, torch.tensor([said])], dim=1)

    monkeypatch.setattr(pointer.model, "generate", generate)
    return calls


@pytest.mark.parametrize("kind", NAMES)
def test_a_checkpoint_of_every_class_loads_points_and_answers(kind: str, checkpoints: dict[str, Path]) -> None:
    pointer = load_pointer(f"{checkpoints[kind]}#?max_pixels=20000", max_new_tokens=6)
    assert isinstance(pointer, QwenPointer)
    assert pointer.name == NAMES[kind]
    check_model(pointer)
    with collect_usage() as usages:
        several = pointer.answer_batch([PICTURE] * 2, ["what?", "who is there?"], max_new_tokens=4)
    one_by_one = [pointer.answer_batch([PICTURE], [q], max_new_tokens=4)[0] for q in ("what?", "who is there?")]
    assert several == one_by_one
    assert [usage.question for usage in usages] == ["what?", "who is there?"]
    assert all(usage.tokens_in and usage.tokens_out and usage.passes for usage in usages)
    # What it sees matters, and where it stands.
    other = pointer.model(**pointer.prepare(content(PICTURE, "x"))[0]).logits[0, -1]
    assert not torch.allclose(other, pointer.model(**pointer.prepare(content(255 - PICTURE, "x"))[0]).logits[0, -1])
    assert not torch.allclose(other, pointer.model(**pointer.prepare(content("x", PICTURE))[0]).logits[0, -1])


def content(*parts: Any) -> list[dict[str, Any]]:
    from PIL import Image

    return [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": Image.fromarray(part)}
        for part in parts
    ]


def test_the_same_inputs_as_transformers_own_image_processor_and_template(checkpoints: dict[str, Path]) -> None:
    pointer = load_pointer(checkpoints["qwen2_5_vl"])
    inputs, sizes = pointer.prepare(content(PICTURE, "What is it?"))
    grid = inputs["image_grid_thw"][0].tolist()
    assert sizes == [(grid[2] * 14, grid[1] * 14)]
    # No other token than those of the rendered text, with one mark for each merged patch.
    decoded = pointer.tokenizer.decode(inputs["input_ids"][0])
    marks = grid[1] * grid[2] // 4
    assert decoded.count("<|image_pad|>") == marks == int(inputs["mm_token_type_ids"].sum())
    assert decoded.replace("<|image_pad|>" * marks, "<|image_pad|>") == pointer.tokenizer.apply_chat_template(
        [{"role": "user", "content": content(PICTURE, "What is it?")}], add_generation_prompt=True, tokenize=False
    )


def test_points_are_read_in_the_scale_of_the_generation_and_the_size_that_the_model_saw(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for width, height in ((1400, 840), (97, 61), (3000, 500)):
        image = np.zeros((height, width, 3), np.uint8)
        for kind in NAMES:
            pointer = load_pointer(checkpoints[kind])
            _, [seen] = pointer.prepare([{"type": "image", "image": pointer._sent(image)}])
            scale = seen if kind == "qwen2_5_vl" else (1000, 1000)
            x, y = round(0.25 * scale[0]), round(0.75 * scale[1])
            saying(pointer, f'[{{"point_2d": [{x}, {y}], "label": "it"}}]', monkeypatch)
            result = pointer.point(image, "it")
            where = [(p.point.x, p.point.y) for p in result.points]
            # A pixel is its middle.
            half = 0.5 if kind == "qwen2_5_vl" else 0
            if where != [(pytest.approx((x + half) / scale[0]), pytest.approx((y + half) / scale[1]))]:
                wrong.append((kind, (width, height), seen, result))
    assert wrong == []


def test_decoding_is_greedy_whatever_the_checkpoint_says(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = load_pointer(checkpoints["qwen2_vl"], max_new_tokens=5)
    assert pointer.model.generation_config.repetition_penalty == 1.3
    first = pointer.answer_batch([PICTURE], ["what?"], max_new_tokens=5)
    torch.manual_seed(99)
    assert pointer.answer_batch([PICTURE], ["what?"], max_new_tokens=5) == first
    inputs, _ = pointer.prepare(content(np.asarray(pointer._sent(PICTURE)), "what?"))
    ids = inputs["input_ids"]
    for _ in range(5):
        kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros(1, ids.shape[1] - inputs["input_ids"].shape[1])], 1)
        more = {"attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds.int(), "use_cache": False}
        more |= {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
        with torch.inference_mode():
            ids = torch.cat([ids, pointer.model(input_ids=ids, **more).logits[:, -1:].argmax(-1)], dim=1)
    text = pointer.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert first[0].removesuffix(" [cut off here]") == text.strip()
    (call,) = [saying(pointer, "yes", monkeypatch), pointer.answer_batch([PICTURE], ["x"], max_new_tokens=3)][0]
    assert (call["do_sample"], call["temperature"], call["repetition_penalty"]) == (False, None, 1.0)


def test_several_images_stand_where_the_question_has_them(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = load_pointer(checkpoints["qwen3_vl"])
    calls = saying(pointer, "B", monkeypatch)
    small, large = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 640, 3), np.uint8)
    assert pointer.answer_parts(["Which is wide? A:", small, "B:", large, "?"], max_new_tokens=3) == "B"
    assert pointer.answer_parts(["No image at all?"], max_new_tokens=3) == "B"
    with_images, without = (pointer.tokenizer.decode(call["input_ids"][0]) for call in calls)
    words = [part.replace("<|image_pad|>", "") for part in with_images.split("<|vision_start|>")]
    assert [word.partition("<|vision_end|>")[2][:2] for word in words[1:]] == ["B:", "?<"]
    assert "<|image_pad|>" not in without
    grids = calls[0]["image_grid_thw"]
    assert grids[1].prod() > grids[0].prod()
    assert "image_grid_thw" not in calls[1]


def test_a_question_that_holds_the_mark_of_an_image_is_refused(checkpoints: dict[str, Path]) -> None:
    pointer = load_pointer(checkpoints["qwen2_vl"])
    for text in ("<|image_pad|>", "What is <|image_pad|> here?", "<|vision_start|><|image_pad|><|vision_end|>" * 3):
        with pytest.raises(ModelError, match="does the question hold the mark itself"):
            pointer.answer_batch([PICTURE], [text], max_new_tokens=2)
    with pytest.raises(ModelError, match="less than 2048 tokens"):
        pointer.answer_batch([PICTURE], ["word " * 3000], max_new_tokens=2)


def test_a_reply_that_was_cut_off_gives_no_point(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = load_pointer(checkpoints["qwen3_vl"])
    reply = '[{"point_2d": [10, 20], "label": "it"}] and there is a'
    saying(pointer, reply, monkeypatch)
    pointer.max_new_tokens = len(pointer.tokenizer(reply, add_special_tokens=False)["input_ids"]) + 1
    pointer.model.generation_config.eos_token_id = [1]
    result = pointer.point(PICTURE, "it")
    assert (result.status, result.points) == ("unparsed", ())


# --- What its name says ----------------------------------------------------------------------------------------------


def test_the_scale_comes_from_the_name_or_a_declaration_and_never_from_the_config(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    mine = tmp_path / "my-model"
    mine.symlink_to(checkpoints["qwen2_5_vl"])
    with pytest.raises(UsageError, match=r"declare how it writes points: \.\.\.#my-model\?dialect=gui&scale=1000"):
        load_model(str(mine))
    for declared, scale in (
        ("#Qwen2.5-VL", "pixels"),
        ("#?dialect=qwen&scale=1000", 1000),
        ("#my-model?dialect=gui&scale=1", 1),
        ("#UI-TARS-1.5", "pixels"),
    ):
        assert is_checkpoint(f"{mine}{declared}")
        assert profile_of_checkpoint(mine, declared.removeprefix("#"), "qwen2_5_vl").scale == scale
    for declared, says in (
        ("#?size=3", "expected the options dialect, scale, max_pixels behind the checkpoint, got 'size'"),
        ("#?dialect=qwen&scale=7", "expected one of the scales"),
        ("#?max_pixels=none", "a whole number"),
        ("#Qwen3-VL", "its config is of Qwen-VL 2.5"),
    ):
        with pytest.raises(UsageError, match=says):
            load_model(f"{mine}{declared}")
    with pytest.raises(UsageError, match="names Qwen-VL 3, but its config is of Qwen-VL 2"):
        profile_of_checkpoint("Qwen/Qwen3-VL-8B", "", "qwen2_vl")
    assert profile_of_checkpoint("ByteDance/UI-TARS-7B", "", "qwen2_vl").scale == 1000
    assert profile_of_checkpoint("x/Qwen3-VL-8B", "?max_pixels=90000", "qwen3_vl").limits.max_pixels == 90000
    with pytest.raises(UsageError, match="a checkpoint of Qwen-VL's classes before #Qwen2-VL"):
        load_model(f"{tmp_path}#Qwen2-VL")


def test_what_decides_reproduction_is_known_without_loading_the_weights(checkpoints: dict[str, Path]) -> None:
    asked = {kind: how_asked(str(folder)) for kind, folder in checkpoints.items()}
    assert {kind: one["coordinates"] for kind, one in asked.items() if one} == {
        "qwen2_vl": "0 to 1000",
        "qwen2_5_vl": "pixels that the model sees",
        "qwen3_vl": "0 to 1000",
        "qwen3_5": "0 to 1000",
    }
    for one in asked.values():
        assert one
        assert one["order"] == "image, then text"
        assert (one["temperature"], one["style_tags"]) == (0.0, False)
        assert set(one["pixels"]) == {"multiple", "min_pixels", "max_pixels"}
        assert json.dumps(one)


def test_questions_have_no_tags_of_molmo_and_the_run_says_how_it_was_asked(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from PIL import Image

    Image.fromarray(PICTURE).save(tmp_path / "0.png")
    (tmp_path / "q.jsonl").write_text(
        json.dumps({"image": "0.png", "question": "Which?", "answers": ["a"] * 10}) + "\n"
    )
    model = str(checkpoints["qwen2_vl"])
    arguments = ["eval", "vqa2", "--data", str(tmp_path / "q.jsonl"), "--model", model, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads((tmp_path / "run" / "records.jsonl").read_text())["question"] == "Which?"
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["asked"] == how_asked(model)
    assert "tokens in" in done.output
    assert not model_traits(load_pointer(model)).style_tags


# --- Files of somebody else ------------------------------------------------------------------------------------------


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_checkpoint_that_is_not_whole_or_names_code_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    def config(folder: Path, **fields: Any) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def tokenizer_code(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": "x.Y"}}))

    def no_template(folder: Path) -> None:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        path = folder / "tokenizer_config.json"
        fields = json.loads(path.read_text())
        fields.pop("chat_template", None)
        path.write_text(json.dumps(fields))

    def half(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights.pop(sorted(weights)[0])
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    changes: dict[str, tuple[Any, str]] = {
        "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "is the download complete"),
        "half of the weights": (half, "1 weights are missing"),
        "code of the tokenizer": (tokenizer_code, "names code to run"),
        "no template": (no_template, "expected a chat template beside"),
        "no image processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "loading it failed"),
        "kernels": (lambda folder: config(folder, _attn_implementation="somebody/kernels"), "somebody/kernels"),
        "huge": (lambda folder: config(folder, vision_config={"depth": 10**6}), "whole number from 1 to 1000"),
    }
    wrong = []
    for name, (change, says) in changes.items():
        folder = copy_of(checkpoints["qwen2_vl"], tmp_path / name.replace(" ", "-"))
        change(folder)
        try:
            load_pointer(f"{folder}#Qwen2-VL")
            wrong.append((name, "loaded"))
        except ModelError as error:
            wrong += [(name, str(error))] if says not in str(error) else []
    assert wrong == []
