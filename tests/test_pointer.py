import json
from pathlib import Path

import numpy as np
import pytest
import torch

from molmo_agent.errors import ModelError
from molmo_agent.model.pointer import MolmoPointer
from molmo_agent.testing import check_model
from molmo_agent.train.nano import nano_processor, new_nano

PROCESSOR = nano_processor()


@pytest.fixture(scope="module")
def pointer() -> MolmoPointer:
    return MolmoPointer(new_nano(PROCESSOR, seed=0), PROCESSOR, question="{}", max_new_tokens=8)


def picture(seed: int, height: int = 200, width: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_an_untrained_model_keeps_the_contract_and_points_nowhere(pointer: MolmoPointer) -> None:
    result = check_model(pointer)
    assert result.status == "unparsed"
    assert result.reply


def test_questions_about_one_picture_get_the_answers_they_get_alone(pointer: MolmoPointer) -> None:
    image = picture(0)
    questions = ["the red circle", 'the "Save as..." button', "x"]
    together = [result.reply for result in pointer.point_batch([image] * 3, questions)]
    alone = [pointer.point(image, question).reply for question in questions]
    assert together == alone


def test_decoding_by_hand_equals_generate(pointer: MolmoPointer) -> None:
    image = picture(1)
    inputs = PROCESSOR(images=image, text=" User: the red circle Assistant:")
    ids = pointer.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    text = PROCESSOR.tokenizer.decode([int(i) for i in ids if int(i) != PROCESSOR.tokenizer.eos_token_id])
    assert pointer.point(image, "the red circle").reply == text


def test_pictures_and_questions_must_pair_up(pointer: MolmoPointer) -> None:
    with pytest.raises(ValueError, match="one instruction per image"):
        pointer.point_batch([picture(0)], ["a", "b"])


def test_a_saved_pointer_answers_the_same_and_keeps_its_profile(pointer: MolmoPointer, tmp_path: Path) -> None:
    pointer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "pointing_profile.json").read_text())["question"] == "{}"
    again = MolmoPointer.from_pretrained(tmp_path, dtype=torch.float32)
    assert again.dialect == "molmo"
    assert again.point(picture(2), "x").reply == pointer.point(picture(2), "x").reply


def test_a_folder_with_a_missing_file_says_what_was_expected(pointer: MolmoPointer, tmp_path: Path) -> None:
    pointer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="expected a Molmo checkpoint"):
        MolmoPointer.from_pretrained(tmp_path)
