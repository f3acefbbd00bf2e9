"""A picture that is passed to the model is looked at, or refused: whoever padded, embedded or renamed the inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from PIL import Image
from tiny_training import write_model
from transformers import pipeline

from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.prompts import role_prompt

# PEFT and transformers warn about each other.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
PICTURES = ("pixel_values", "image_input_idx", "image_masks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(folder: Path) -> MolmoForConditionalGeneration:
    tiny: MolmoForConditionalGeneration = MolmoForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():  # an untrained connector hardly says anything
        tiny.model.connector.projector.down_proj.weight.mul_(300)
    return tiny


@pytest.fixture(scope="module")
def processor(folder: Path) -> MolmoProcessor:
    read: MolmoProcessor = MolmoProcessor.from_pretrained(folder)
    return read


def picture(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def one(processor: MolmoProcessor, seed: int = 0, question: str = "x", **options: Any) -> dict[str, Any]:
    return dict(processor(images=picture(seed), text=role_prompt(question), **options))


def without(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name not in names}


@pytest.mark.parametrize(
    "questions", [["hi", "where is the large red button"], ["a b c", "d"], ["a", "b c", "d e f g"]]
)
def test_a_pipeline_gives_the_same_answers_in_batches_and_one_by_one(questions, model, processor, tmp_path):
    chats = []
    for number, question in enumerate(questions):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
        parts = [{"type": "image", "url": str(tmp_path / f"{number}.png")}, {"type": "text", "text": question}]
        chats.append([{"role": "user", "content": parts}])
    asked = pipeline("image-text-to-text", model=model, processor=processor)
    options: dict[str, Any] = {
        "return_full_text": False,
        "generate_kwargs": {"do_sample": False, "max_new_tokens": 5},
    }
    alone = [asked(chat, **options)[0]["generated_text"] for chat in chats]
    together = [answer[0]["generated_text"] for answer in asked(chats, batch_size=len(chats), **options)]
    assert together == alone


def test_a_prompt_padded_on_the_right_is_not_continued_behind_its_padding(model, processor):
    batch = processor(
        images=[picture(0), picture(1)], text=[role_prompt("a"), role_prompt("b c d e")], padding_side="right"
    )
    with pytest.raises(ValueError, match="expected prompts padded on the left for generating"):
        model.generate(**batch, max_new_tokens=2)


@torch.no_grad()
@pytest.mark.parametrize("distance", [1, 7, 40])
def test_rows_that_somebody_else_pads_on_the_left_give_the_same_logits(distance, model, processor):
    inputs = one(processor)
    moved = {
        **inputs,
        "input_ids": torch.nn.functional.pad(inputs["input_ids"], (distance, 0), value=3),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (distance, 0)),
    }
    torch.testing.assert_close(model(**moved).logits[:, -1], model(**inputs).logits[:, -1], atol=1e-4, rtol=1e-4)
    padded = one(processor, pad_to_multiple_of=64)
    unpadded = {**padded, "input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    assert (padded["image_input_idx"] != inputs["image_input_idx"]).any()
    torch.testing.assert_close(model(**unpadded).logits, model(**inputs).logits)


@torch.no_grad()
def test_indices_that_meet_no_image_token_are_refused(model, processor):
    inputs = one(processor)
    index = inputs["image_input_idx"]
    wrong = {
        "padded with 0": torch.cat([index, torch.zeros_like(index)], 1),
        "padded with a token's id": torch.cat([index, torch.full_like(index, 9)], 1),
        "spread": torch.where(index >= 0, index * 2, index),
        "one astray": index.clone().index_fill_(2, torch.tensor([0]), 1),
    }
    for changed in wrong.values():
        extra = changed.shape[1] // index.shape[1]
        batch = {**inputs, **{n: torch.cat([inputs[n]] * extra, 1) for n in ("pixel_values", "image_masks")}}
        with pytest.raises(ValueError, match="expected every image feature to belong to an image token"):
            model(**{**batch, "image_input_idx": changed})
    cut = {**inputs, "input_ids": inputs["input_ids"][:, :9], "attention_mask": inputs["attention_mask"][:, :9]}
    with pytest.raises(ValueError, match="was the image part of the prompt cut off"):
        model(**cut)
    with pytest.raises(ValueError, match="image_input_idx for 1 rows and tokens for 2"):
        model(**{**inputs, "input_ids": inputs["input_ids"].repeat(2, 1), "attention_mask": None})


@torch.no_grad()
def test_pictures_are_added_to_embeddings_that_somebody_else_looked_up(model, processor):
    inputs = one(processor)
    looked_up = model.get_input_embeddings()(inputs["input_ids"])
    torch.testing.assert_close(
        model(inputs_embeds=looked_up, **without(inputs, "input_ids")).logits, model(**inputs).logits
    )
    options = {"max_new_tokens": 4, "do_sample": False}
    answer = model.generate(inputs_embeds=looked_up, **without(inputs, "input_ids"), **options)
    assert answer[0].tolist() == model.generate(**inputs, **options)[0, -4:].tolist()
    with pytest.raises(ValueError, match="0 of them image tokens"):
        model(inputs_embeds=looked_up + 1, **without(inputs, "input_ids"))


@pytest.mark.parametrize("kind", [PromptTuningConfig, PromptEncoderConfig, PrefixTuningConfig])
def test_soft_prompts_of_peft_see_the_picture(kind, model, processor):
    torch.manual_seed(0)
    sizes = {"num_virtual_tokens": 4, "token_dim": 32, "num_attention_heads": 2, "num_layers": 2}
    tuned = get_peft_model(model, kind(task_type="CAUSAL_LM", num_transformer_submodules=1, **sizes)).eval()
    first, second = one(processor, 0), one(processor, 1)
    with torch.no_grad():
        assert (tuned(**first).logits - tuned(**second).logits).abs().max() > 1e-3
        answer = tuned.generate(**first, max_new_tokens=4, do_sample=False)
        step = without(first, "attention_mask")
        for _ in range(4):
            mask = torch.ones_like(step["input_ids"])
            token = tuned(**step, attention_mask=mask, use_cache=False).logits[:, -1:].argmax(-1)
            step["input_ids"] = torch.cat([step["input_ids"], token], 1)
    assert answer[0, -4:].tolist() == step["input_ids"][0, -4:].tolist(), "with a cache as without"


@torch.no_grad()
def test_a_picture_with_a_part_missing_is_refused(model, processor):
    inputs = one(processor)
    missing = {
        ("image_input_idx",): "expected image_input_idx with pixel_values, got none",
        ("pixel_values",): "expected pixel_values .or image_features. with image_input_idx",
        ("pixel_values", "image_input_idx"): "expected pixel_values with image_masks",
        PICTURES: "the tokens contain those of a picture; got none",
    }
    for names, message in missing.items():
        with pytest.raises(ValueError, match=message):
            model(**without(inputs, *names))
        with pytest.raises(ValueError, match=message):
            model.generate(**without(inputs, *names), max_new_tokens=1)
    features = model.get_image_features(inputs["pixel_values"], inputs["image_masks"])
    with pytest.raises(ValueError, match="expected one of pixel_values and image_features"):
        model(**inputs, image_features=features)
    earlier = model(**without(inputs, "pixel_values", "image_masks"), image_features=features)
    torch.testing.assert_close(earlier.logits, model(**inputs).logits)


@torch.no_grad()
def test_names_of_other_models_are_refused_with_ours(model, processor):
    inputs = without(one(processor), "pixel_values")
    values = torch.zeros(1)
    names = {
        "images": "did you mean 'pixel_values'",
        "image_grid_thw": "has no input 'image_grid_thw'",
        "image_sizes": "has no input 'image_sizes'",
        "pixel_value": "did you mean 'pixel_values'",
        "token_type_ids": "has no input 'token_type_ids'",
        "input_id": "did you mean 'input_ids'",
    }
    for name, message in names.items():
        with pytest.raises(TypeError, match=message):
            model(**inputs, **{name: values})
    for inner in (model, model.model):
        assert inner(**one(processor), images=None) is not None, "None is not given"
    with pytest.raises(ValueError, match="expected output_router_logits=False"):
        model(**one(processor), output_router_logits=True)
