"""Molmo2 through transformers' own classes. A stand-in prepares its pictures: the real processor needs torchvision."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BatchFeature, Molmo2Config, Molmo2ForConditionalGeneration

from molmo_agent.errors import ModelError
from molmo_agent.interfaces import Answerer
from molmo_agent.nano.architecture import nano_processor
from molmo_agent.point_text.cut_off import is_cut, without_mark
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.pointers.molmo2 import Molmo2Pointer
from molmo_agent.testing import check_model

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
TOKENIZER = nano_processor().tokenizer
PATCH = TOKENIZER.convert_tokens_to_ids("<im_patch>")


def tiny() -> Molmo2ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Molmo2Config(
        vision_config={**sizes, "head_dim": 16, "num_hidden_layers": 2, "image_size": [28, 28]},
        adapter_config={**sizes, "head_dim": 16, "vision_feature_layer": [1, 0], "text_hidden_size": 32},
        text_config={**sizes, "head_dim": 16, "num_hidden_layers": 2, "vocab_size": 512, "additional_vocab_size": 4},
        image_token_id=PATCH,
        image_patch_id=PATCH,
    )
    return Molmo2ForConditionalGeneration(config)


class StandIn:
    """Shows a picture as one crop of four patches, pooled to one token; writes the conversation as plain text."""

    tokenizer = TOKENIZER

    def apply_chat_template(self, conversation: Any, **options: Any) -> BatchFeature:
        assert options["add_generation_prompt"]
        assert options["return_dict"]
        image, text = conversation[0]["content"]
        small = torch.tensor(np.asarray(image["image"].resize((28, 28)))).float() / 127.5 - 1
        patches = small.unflatten(0, (2, 14)).unflatten(2, (2, 14)).transpose(1, 2).reshape(1, 4, 588)
        ids = [PATCH, PATCH, *TOKENIZER(f" User: {text['text']} Assistant:", add_special_tokens=False)["input_ids"]]
        return BatchFeature(
            {
                "input_ids": torch.tensor([ids]),
                "pixel_values": patches,
                "image_token_pooling": torch.tensor([[0, 1, 2, 3]] * 2),
                "image_grids": torch.tensor([[1, 1, 1, 1]]),
                "image_num_crops": torch.tensor([1]),
            }
        )


@pytest.fixture(scope="module")
def pointer() -> Molmo2Pointer:
    return Molmo2Pointer(tiny(), StandIn(), max_new_tokens=8)


def test_it_keeps_the_protocol_of_pointing_models(pointer: Molmo2Pointer) -> None:
    check_model(pointer)


def test_it_answers_in_words(pointer: Molmo2Pointer) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    assert isinstance(pointer, Answerer)
    several = pointer.answer_batch([image, image], ["what?", "who is there?"], max_new_tokens=6)
    assert several == [
        pointer.answer_batch([image], [text], max_new_tokens=6)[0] for text in ("what?", "who is there?")
    ]
    (words,) = pointer.answer_batch([image], ["Point to a cat"], max_new_tokens=pointer.max_new_tokens)
    assert without_mark(words) == pointer.point(image, "a cat").reply.strip()


def test_a_reply_that_the_limit_cut_off_is_marked_and_gives_no_point(
    pointer: Molmo2Pointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = 'Counting the <points coords="1 1 105 205">cats</points> shows a to'
    ids = TOKENIZER(reply, add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(
        pointer.model, "generate", lambda input_ids, **_: torch.cat([input_ids, torch.tensor([ids])], dim=1)
    )
    monkeypatch.setattr(pointer, "max_new_tokens", len(ids))
    result = pointer.point(PICTURE, "the cats")
    assert (result.status, result.points) == ("unparsed", ())
    assert is_cut(result.reply)
    assert is_cut(pointer.answer_batch([PICTURE], ["how many?"], max_new_tokens=len(ids))[0])
    assert not is_cut(pointer.answer_batch([PICTURE], ["how many?"], max_new_tokens=len(ids) + 1)[0])


def test_gibberish_is_no_point(pointer: Molmo2Pointer) -> None:
    result = pointer.point(PICTURE, "the cat")
    assert result.status == "unparsed"
    assert result.points == ()
    assert result.reply


def test_a_reply_in_its_own_dialect_becomes_points(pointer: Molmo2Pointer, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = '<points coords="1 1 105 205 2 300 400">cats</points>'

    def answer(input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        said = torch.tensor([TOKENIZER(reply, add_special_tokens=False)["input_ids"]])
        return torch.cat([input_ids, said], dim=1)

    monkeypatch.setattr(pointer.model, "generate", answer)
    result = pointer.point(PICTURE, "the cats")
    assert result.status == "ok"
    assert [(p.point.x, p.point.y) for p in result.points] == [(0.105, 0.205), (0.3, 0.4)]
    assert pointer.point(PICTURE, "the cat", max_points=1).status == "unparsed"


def test_a_folder_of_molmo2_is_known_by_its_config_and_what_is_missing_is_told(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="expected a Molmo2 checkpoint at"):
        load_pointer(tmp_path)


def test_the_package_that_its_pictures_need_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ImportError("Molmo2ImageProcessor requires the Torchvision library")

    monkeypatch.setattr("transformers.Molmo2Processor", SimpleNamespace(from_pretrained=fail))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "molmo2"}))
    with pytest.raises(ModelError, match=r"pip install 'molmo-agent\[molmo2\]'"):
        load_pointer(tmp_path)


def test_half_a_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    tiny().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr("transformers.Molmo2Processor", SimpleNamespace(from_pretrained=lambda *_, **__: StandIn()))
    with pytest.raises(ModelError, match="1 weights are missing, "):
        load_pointer(tmp_path)
