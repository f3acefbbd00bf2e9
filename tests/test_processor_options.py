"""Options that tools pass to the processor are honoured, or refused; none is ignored."""

from typing import Any

import numpy as np
import pytest
import torch
from golden_images import golden_image

from molmo_agent.nano.architecture import nano_processor

PROCESSOR = nano_processor()
IMAGE = golden_image(60, 80, 1)
SHORT, LONG = " User: a Assistant:", " User: where is the red button Assistant:"


def test_the_side_of_padding_is_the_tokenizers_and_can_be_chosen() -> None:
    assert PROCESSOR.tokenizer.padding_side == "left"
    left = PROCESSOR(images=[IMAGE, IMAGE], text=[SHORT, LONG])
    right = PROCESSOR(images=[IMAGE, IMAGE], text=[SHORT, LONG], padding_side="right")
    assert left["attention_mask"][0, 0] == 0
    assert right["attention_mask"][0, -1] == 0
    for batch in (left, right):
        for ids, index in zip(batch["input_ids"], batch["image_input_idx"].flatten(1), strict=True):
            assert {ids[i].item() for i in index[index >= 0]} == {PROCESSOR.patch_id}


def test_lengths_are_as_asked() -> None:
    plain = PROCESSOR(images=IMAGE, text=LONG)["input_ids"].shape[1]
    assert PROCESSOR(images=IMAGE, text=LONG, padding="max_length", max_length=plain + 9)["input_ids"].shape[1] == (
        plain + 9
    )
    assert PROCESSOR(images=IMAGE, text=LONG, pad_to_multiple_of=32)["input_ids"].shape[1] % 32 == 0
    cut = PROCESSOR(images=IMAGE, text=LONG, truncation=True, max_length=plain - 2)
    assert cut["input_ids"][0].tolist() == PROCESSOR(images=IMAGE, text=LONG)["input_ids"][0, :-2].tolist()
    nested = PROCESSOR(images=IMAGE, text=LONG, text_kwargs={"padding": True, "pad_to_multiple_of": 32})
    assert nested["input_ids"].shape[1] % 32 == 0


def test_the_form_of_the_result_is_as_asked() -> None:
    arrays = PROCESSOR(images=IMAGE, text=SHORT, return_tensors="np")
    tensors = PROCESSOR(images=IMAGE, text=SHORT, return_tensors="pt", add_special_tokens=False)
    assert {type(value) for value in arrays.values()} == {np.ndarray}
    assert {type(value) for value in tensors.values()} == {torch.Tensor}
    assert tensors["input_ids"][0, 0] == PROCESSOR.bos_id
    spans = PROCESSOR(text=[SHORT, LONG], return_offsets_mapping=True)
    for ids, row, text in zip(spans["input_ids"], spans["offset_mapping"], (SHORT, LONG), strict=True):
        written = [text[first:last] for first, last in row.tolist() if last > first]
        assert "".join(written) == text
        assert len(row) == len(ids)


def test_options_that_cannot_be_honoured_are_refused() -> None:
    refused: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"truncation": True, "max_length": 5}, ValueError, "leave room for the pictures, which take"),
        ({"max_length": 5}, ValueError, "pass truncation=True"),
        ({"truncation": True}, ValueError, "expected max_length, in tokens"),
        ({"padding": "max_length"}, ValueError, "expected max_length, in tokens"),
        ({"padding": "sometimes"}, ValueError, "expected padding to be True, False"),
        ({"padding_side": "top"}, ValueError, "expected padding_side to be 'left' or 'right', got 'top'"),
        ({"return_tensors": "tf"}, ValueError, "expected return_tensors to be 'pt' or 'np'"),
        ({"videos": [1]}, ValueError, "got videos: Molmo would not look at it"),
        ({"return_token_type_ids": True}, ValueError, "no token_type_ids"),
        ({"max_crop": 3}, TypeError, "has no option max_crop, and would ignore it; it has max_crops"),
        ({"images_kwargs": {"size": 3}}, TypeError, "has no option size"),
    ]
    for options, kind, message in refused:
        with pytest.raises(kind, match=message):
            PROCESSOR(images=IMAGE, text=LONG, **options)
    with pytest.raises(ValueError, match="expected prompts of one length with padding=False"):
        PROCESSOR(text=[SHORT, LONG], padding=False)


def test_placeholders_before_the_text_stand_for_the_pictures() -> None:
    plain = PROCESSOR(images=[IMAGE, IMAGE], text=SHORT)
    marked = PROCESSOR(images=[IMAGE, IMAGE], text=f"<|image|><|image|>{SHORT}")
    assert marked["input_ids"].tolist() == plain["input_ids"].tolist()
    for text, images in ((f"<|image|>{SHORT}", None), (f"<|image|>{SHORT}", [IMAGE, IMAGE]), ("a <|image|> b", IMAGE)):
        with pytest.raises(ValueError, match=r"once per image, before the text, or not at all"):
            PROCESSOR(images=images, text=text)
