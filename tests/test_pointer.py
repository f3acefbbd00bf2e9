import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_modules import load
from safetensors.torch import load_file, save_file

from molmo_agent.envs.sim_desktop import sample_screen
from molmo_agent.errors import ModelError
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.point_text.cut_off import is_cut
from molmo_agent.pointers.answer_grammar import digit_confidence, guess_next, is_complete
from molmo_agent.pointers.decoding import (
    DecodedReply,
    Form,
    Prefix,
    Reader,
    decode_constrained,
    decode_greedy,
    decode_with_draft,
    number_begins,
)
from molmo_agent.pointers.image_cache import ImageCache
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.profile import PointingProfile
from molmo_agent.pointers.static_decoding import StaticDecoder
from molmo_agent.testing import check_model

PROCESSOR = nano_processor()


@pytest.fixture(scope="module")
def pointer() -> MolmoPointer:
    return MolmoPointer(new_nano(PROCESSOR, seed=0), PROCESSOR, PointingProfile(question="{}", max_new_tokens=8))


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


def test_a_reply_that_the_limit_cut_off_is_marked_and_gives_no_point(
    pointer: MolmoPointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = PROCESSOR.tokenizer
    tag = '<point x="5.0" y="6.0" alt="a">a</point>'
    for reply, status in ((f"Counting the {tag} shows a to", "unparsed"), (f" {tag}", "ok")):
        ids = encode(reply, add_special_tokens=False)["input_ids"]
        monkeypatch.setattr(pointer, "_decode", lambda *_, ids=ids: [DecodedReply(ids, 1)])
        monkeypatch.setattr(pointer, "profile", dataclasses.replace(pointer.profile, max_new_tokens=len(ids)))
        monkeypatch.setattr(pointer, "_confidence", lambda _: None)
        result = pointer.point(picture(1), "a")
        assert (result.status, is_cut(result.reply)) == (status, status != "ok")
    assert is_cut(pointer.answer_batch([picture(1)], ["a?"], max_new_tokens=1)[0])


def test_pictures_and_questions_must_pair_up(pointer: MolmoPointer) -> None:
    with pytest.raises(ValueError, match="one instruction per image"):
        pointer.point_batch([picture(0)], ["a", "b"])


def test_a_saved_pointer_answers_the_same_and_keeps_its_profile(pointer: MolmoPointer, tmp_path: Path) -> None:
    pointer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "pointing_profile.json").read_text())["question"] == "{}"
    again = MolmoPointer.from_pretrained(tmp_path, dtype=torch.float32)
    assert again.profile.dialect == "molmo"
    assert again.point(picture(2), "x").reply == pointer.point(picture(2), "x").reply


def test_a_small_model_in_halves_computes_in_float32_on_a_cpu_unless_told_otherwise(
    pointer: MolmoPointer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    assert MolmoPointer.from_pretrained(tmp_path).model.dtype == torch.float32
    assert MolmoPointer.from_pretrained(tmp_path, dtype=torch.float16).model.dtype == torch.float16
    monkeypatch.setattr("molmo_agent.pointers.molmo._SMALL", 1000)
    assert MolmoPointer.from_pretrained(tmp_path).model.dtype == torch.float16, "its memory would double"


def test_a_folder_with_a_missing_file_says_what_was_expected(pointer: MolmoPointer, tmp_path: Path) -> None:
    pointer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="expected a Molmo checkpoint"):
        MolmoPointer.from_pretrained(tmp_path)


def test_a_second_question_about_a_picture_does_not_encode_it_again(pointer: MolmoPointer) -> None:
    pointer.cache.forget()
    image = picture(7)
    first = pointer.point(image, "the red circle")
    encoded = pointer.cache.num_encoded_crops
    again = pointer.point(image.copy(), "the red circle")
    assert pointer.cache.num_encoded_crops == encoded
    assert again.reply == first.reply
    for seed in (8, 9):
        pointer.point(picture(seed), "x")
    pointer.point(image, "x")
    assert len(pointer.cache.prefixes) == 2
    assert pointer.cache.num_encoded_crops == encoded + 2, "old pictures are forgotten, their crops not yet"


def test_only_the_crops_that_changed_are_encoded_and_the_others_keep_every_bit() -> None:
    model = new_nano(PROCESSOR, seed=0).eval()
    one, other = (MolmoPointer(model, PROCESSOR, PointingProfile(question="{}")) for _ in range(2))
    before = picture(1, 480, 640)
    after = before.copy()
    after[10:40, 10:40] = 0  # inside the first crop of the grid; the global crop shows it too
    one.point(before, "x")
    assert one.cache.num_encoded_crops == 13
    one.point(after, "x")
    assert one.cache.num_encoded_crops == 15
    arrays, _ = PROCESSOR.image_processor.process_one(after)
    with torch.inference_mode():
        remembered = one.cache.patches(model.model, arrays["pixel_values"])
        fresh = other.cache.patches(model.model, arrays["pixel_values"])
        together = ImageCache(crops=0).patches(model.model, arrays["pixel_values"])
    assert one.cache.num_encoded_crops == 15
    assert torch.equal(remembered, fresh)
    torch.testing.assert_close(together, fresh, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_constrained_decoding_of_any_model_is_well_formed(seed: int) -> None:
    model = new_nano(PROCESSOR, seed=seed).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.lm_head.weight)
    strict = MolmoPointer(model, PROCESSOR, PointingProfile(question="{}", constrained=True))
    for question in ("the red circle", '"Save <b>"', "日本"):
        result = strict.point(picture(seed), question)
        assert result.status in ("ok", "none"), result.reply
        if result.points:
            assert 0 < result.confidence <= 1
            assert 'alt=""' not in result.reply


def test_a_question_longer_than_the_model_can_read_is_refused(pointer: MolmoPointer) -> None:
    with pytest.raises(ModelError, match=r"expected picture and question to leave .* of 4096 tokens for the answer"):
        pointer.point(np.zeros((100, 100, 3), np.uint8), "word " * 4000)


def test_constrained_decoding_is_for_one_dialect(pointer: MolmoPointer) -> None:
    with pytest.raises(ValueError, match="knows the dialect 'molmo' only"):
        PointingProfile(dialect="qwen", constrained=True)


ANSWER = ' <point x="12.5" y="40.0" alt="red circle">red circle</point>'


def test_most_of_an_answer_can_be_guessed() -> None:
    guessed = 0
    for end in range(1, len(ANSWER)):
        guess = guess_next(ANSWER[:end], "red circle")
        if guess:
            assert ANSWER[end:].startswith(guess[:1]) or ANSWER[end - 1].isdigit()
            guessed += ANSWER[end:].startswith(guess)
    assert guessed > len(ANSWER) / 2
    assert guess_next(' <point x="1', "x") == ".", "a wrong guess costs nothing"
    assert guess_next("Sorry", "x") == ""
    assert guess_next(' <points x1="1.5" y1="2.5', "x") == "", "another point may follow"


def test_an_answer_is_whole_when_its_tag_closes() -> None:
    assert is_complete(ANSWER)
    assert is_complete(" There are none.")
    assert not is_complete(ANSWER[:-1])
    assert not is_complete(" Counting the" + ANSWER)


def test_the_confidence_is_that_of_the_whole_percents() -> None:
    pieces = [' <point x="', "1", "2", ".", "5", '" y="', "4", "0", ".", "0", '" alt="a">a</point>']
    chances = [0.1, 0.5, 0.9, 0.1, 0.1, 0.1, 0.8, 1.0, 0.1, 0.1, 0.1]
    assert digit_confidence(pieces, chances) == pytest.approx(0.5 * 0.9 * 0.8)
    assert digit_confidence([" There are none."], [0.3]) is None


@pytest.mark.parametrize(
    ("text", "begins"),
    [("", 1), ("7", 1), ("42.", 1), ("100", 1), ("100.0", 1), ("101", 0), ("100.1", 0), (".5", 0), ("4.25", 0)],
)
def test_coordinates_are_percentages_with_one_decimal(text: str, begins: int) -> None:
    assert number_begins(text) == bool(begins)


@pytest.mark.parametrize("label", ["red circle", "something else"])
def test_guessing_changes_no_answer_and_saves_passes(label: str) -> None:
    tokenizer = PROCESSOR.tokenizer
    answer = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    prefix = Prefix(((torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)),), 1)
    writer = load("_prepared_answers").Writer([*answer, end], 3, len(tokenizer))
    options = {"eos": end, "max_new_tokens": 99}
    plain = decode_greedy(writer, prefix, [[5, 6, 7]], is_complete=lambda ids: False, **options)[0]
    assert plain.ids == answer
    assert plain.passes == len(answer) + 1

    def draft(ids: list[int]) -> list[int]:
        return tokenizer(guess_next(tokenizer.decode(ids), label), add_special_tokens=False)["input_ids"]

    def reply_is_complete(ids: list[int]) -> bool:
        return is_complete(tokenizer.decode(ids))

    quick = decode_with_draft(Reader(writer, prefix), [5, 6, 7], draft=draft, is_complete=reply_is_complete, **options)
    assert quick.ids == plain.ids
    assert quick.passes <= 0.6 * plain.passes
    strict = decode_constrained(Reader(writer, prefix), [5, 6, 7], Form.of(tokenizer), "red circle")
    assert strict.ids == plain.ids
    assert strict.passes <= 0.45 * plain.passes


LETTERS = Form(lambda text: [ord(c) for c in text], {ord(c): c for c in "0123456789."})
"""A tokenizer of letters: answers begin alike for long."""
FEW = ' <points x1="12.5" y1="40.0" x2="50.0" y2="7.0" alt="a">a</points>'


@pytest.mark.parametrize("answer", [FEW, ' <point x="12.5" y="40.0" alt="a">a</point>', " There are none."])
def test_answers_that_begin_alike_are_told_apart_where_they_part(answer: str) -> None:
    prefix = Prefix(((torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)),), 1)
    writer = load("_prepared_answers").Writer(LETTERS.encode(answer), 3, 128)
    told = decode_constrained(Reader(writer, prefix), [5, 6, 7], LETTERS, "a")
    assert "".join(map(chr, told.ids)) == answer


def test_a_point_is_as_sure_as_that_there_is_something() -> None:
    prefix = Prefix(((torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)),), 1)
    writer = load("_prepared_answers").Writer(LETTERS.encode(FEW), 3, 128)

    def torn(**given: Any) -> Any:
        said = writer(**given)
        said.logits[..., ord("T")] = 8.0  # the answer's own letters have 9
        return said

    torn.device = writer.device  # type: ignore[attr-defined]
    sure = decode_constrained(Reader(writer, prefix), [5, 6, 7], LETTERS, "a").confidences
    unsure = decode_constrained(Reader(torn, prefix), [5, 6, 7], LETTERS, "a").confidences
    assert len(sure) == 2
    there = 1 / (1 + math.exp(-1))
    assert unsure == pytest.approx([there * one for one in sure], rel=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # in torch itself
@pytest.mark.parametrize(
    ("constrained_form", "compile"), [(True, False), (False, False), pytest.param(False, True, marks=pytest.mark.slow)]
)
def test_a_cache_of_fixed_size_gives_the_same_answers(
    pointer: MolmoPointer, constrained_form: bool, compile: bool
) -> None:
    if compile and not shutil.which("g++"):
        pytest.skip("compiling for the CPU needs g++")
    profile = PointingProfile(constrained=constrained_form, max_new_tokens=8)
    plain = MolmoPointer(pointer.model, PROCESSOR, profile)
    fixed = MolmoPointer(pointer.model, PROCESSOR, profile)
    fixed._static = StaticDecoder(pointer.model, 600, compile=compile)
    for picture in (sample_screen(2, width=200, height=150).image, sample_screen(1, width=160, height=120).image):
        for instruction in ("the red circle", "OK"):
            expected, got = plain.point(picture, instruction), fixed.point(picture, instruction)
            assert (got.reply, got.status) == (expected.reply, expected.status)


def test_compiling_without_a_compiler_is_refused_at_once(
    pointer: MolmoPointer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ModelError, match=r"compile=True needs a C\+\+ compiler, and none of g\+\+, clang\+\+ and cl"):
        MolmoPointer(pointer.model, PROCESSOR, compile=True)


def test_what_does_not_fit_the_fixed_cache_is_refused(pointer: MolmoPointer) -> None:
    picture = sample_screen(1, width=640, height=480).image
    fixed = MolmoPointer(pointer.model, PROCESSOR, PointingProfile(constrained=True), compile=True)
    fixed._static = StaticDecoder(pointer.model, 900, compile=False)
    with pytest.raises(ModelError, match="expected an image of fewer than 900 tokens, got 1025"):
        fixed.point(picture, "OK")
    fixed._static = StaticDecoder(pointer.model, 1040, compile=False)
    with pytest.raises(ModelError, match="to fit in 1040 tokens, got"):
        fixed.point(picture, "the button in the corner")
