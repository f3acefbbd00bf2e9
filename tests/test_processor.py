"""Pictures and text together: how many pictures belong to which prompt, and how questions are worded."""

import numpy as np
import pytest
import torch
from golden_images import golden_image

from molmo_agent.model import prompts
from molmo_agent.model.prompt_banks import WORDINGS
from molmo_agent.nano.architecture import nano_processor, new_nano

PROCESSOR = nano_processor()
FIRST, SECOND = golden_image(200, 300, 1), golden_image(400, 200, 2)
ASK = " User: x Assistant:"


def test_several_pictures_follow_each_other_and_keep_their_own_tokens() -> None:
    alone = [PROCESSOR.encode(picture, "") for picture in (FIRST, SECOND)]
    ids, arrays = PROCESSOR.encode([FIRST, SECOND], ASK)
    blocks = [row[1:] for row, _ in alone]
    assert ids[: 1 + sum(map(len, blocks))] == [PROCESSOR.bos_id, *blocks[0], *blocks[1]]
    crops = len(alone[0][1]["pixel_values"])
    np.testing.assert_array_equal(arrays["pixel_values"][crops:], alone[1][1]["pixel_values"])
    index = arrays["image_input_idx"]
    kept = index[index >= 0]
    assert len(set(kept.tolist())) == len(kept), "no two features share a token"
    assert {ids[i] for i in kept} == {PROCESSOR.patch_id}
    assert (index[crops:][index[crops:] >= 0] > len(blocks[0])).all()


def test_what_is_said_about_the_second_picture_depends_on_it() -> None:
    model = new_nano(PROCESSOR, 0).eval()
    with torch.no_grad():
        logits = [
            model(**PROCESSOR(images=pictures, text=ASK)).logits[0, -1]
            for pictures in ([FIRST, SECOND], [FIRST, golden_image(400, 200, 3)], [FIRST])
        ]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


def test_prompts_of_a_batch_may_have_any_number_of_pictures() -> None:
    model = new_nano(PROCESSOR, 0).eval()
    pictures = [[FIRST, SECOND], None, FIRST]
    with torch.no_grad():
        together = model(**PROCESSOR(images=pictures, text=[ASK] * 3)).logits[:, -1]
        alone = [model(**PROCESSOR(images=p, text=ASK)).logits[0, -1] for p in pictures]
    torch.testing.assert_close(together, torch.stack(alone), atol=2e-5, rtol=1e-4)


def test_text_alone_has_no_picture_in_it() -> None:
    inputs = PROCESSOR(text=ASK)
    assert set(inputs) == {"input_ids", "attention_mask"}
    assert inputs["input_ids"][0, 0] == PROCESSOR.bos_id


def test_another_number_of_pictures_than_prompts_is_told() -> None:
    with pytest.raises(ValueError, match="per prompt, got 1 for 2 prompts"):
        PROCESSOR(images=FIRST, text=[ASK, ASK])
    with pytest.raises(ValueError, match="expected text"):
        PROCESSOR(images=FIRST)


@pytest.mark.parametrize("style", WORDINGS)
def test_a_label_is_asked_for_in_many_wordings_each_naming_it_once(style: str) -> None:
    bank = WORDINGS[style]
    # The released ones, and ours for the paper's other strategies of counting.
    assert len(set(bank)) == len(bank) >= (45 if style in ("pointing", "point_count") else 5)
    assert all(wording.count("{label}") == 1 for wording in bank)
    assert prompts.wording("pointing", "Blue Cars") == "Point to blue cars"
    rng = np.random.RandomState(0)
    drawn = {prompts.wording(style, "Blue Cars", rng) for _ in range(60)}  # type: ignore[arg-type]
    assert len(drawn) > len(bank) / 3
    assert all("blue cars" in question for question in drawn)


def test_android_control_is_asked_in_four_forms() -> None:
    asked = {
        f: prompts.android_prompt(f, goal="Set an alarm", step="Open Clock") for f in ("ll", "hl_ll", "hl", "hl_cot")
    }  # type: ignore[arg-type]
    assert asked == {
        "ll": "low_level: Open Clock",
        "hl_ll": "high_level: Set an alarm low_level: Open Clock",
        "hl": "high_level: Set an alarm",
        "hl_cot": "high_level_cot: Set an alarm",
    }
    assert prompts.android_answer("hl_cot", "Wait", step="Look") == "Plan: Look Action: Wait"
    assert prompts.android_answer("hl", "Wait") == "Wait"
    with pytest.raises(ValueError, match="needs a step"):
        prompts.android_prompt("hl_ll", goal="x")
    with pytest.raises(ValueError, match="one of the forms ll, hl_ll, hl, hl_cot"):
        prompts.android_prompt("low")  # type: ignore[arg-type]
