"""Number by number against the authors' own code: every kind of check that golden/README.md describes.

`pytest tests/test_parity.py --golden DIR` runs the same checks on any folder in that format: token ids, sizes, seeds,
names and rates are read from the folder, and a group that it does not have is skipped.
"""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from android_control_parity import *  # noqa: F403  its tests belong to this suite
from golden_images import golden_image
from golden_models import encode, facts, image_processor, load_golden, picture, synthetic_crops, to_native
from metrics_parity import *  # noqa: F403  and these
from metrics_parity import golden_cases
from safetensors.torch import load_file

from molmo_agent.data.row import Row
from molmo_agent.geometry import Point
from molmo_agent.model import MolmoImageProcessor, prompts
from molmo_agent.model.checkpoints.molmo_0924 import from_native, to_official
from molmo_agent.model.crops import image_token_counts
from molmo_agent.point_text.parse import (
    InlinePoints,
    format_inline_points,
    format_points,
    parse_points,
    parse_reference,
    round_reference,
)
from molmo_agent.train.batching.encode import EncodedExample, collate
from molmo_agent.train.batching.message_tree import lay_out
from molmo_agent.train.config import Optimizer, Rate, TrainConfig
from molmo_agent.train.losses import response_loss, token_loss
from molmo_agent.train.optim import Schedule
from molmo_agent.train.step import ModelWithLoss, clip, make_optimizer

MODEL_PARTS = ("synthetic", "e2e", "packed")
JSON_KINDS = {
    # "length_hint_inference" is not checked: nothing here asks for captions of a length.
    "text.json": {"points", "parse", "messages", "prompts", "length_hint", "inline_points", "length_hint_inference"},
    "optim.json": {"schedules", "clipping"},
    "packing.json": {"stub_special_base", "stub_eos", "image", "config", "cases", "collate"},
}
MODEL_KINDS = {
    "config",
    "stub_special_base",
    "stub_eos",
    "synthetic_images",
    "e2e",
    "packed",
    "train",
    "packed_vs_single_max_abs_diff",
    "greedy_matches_no_cache",
    "n_params",
    "optim_step",
}
OTHER_FILES = {"preprocess.json", "preprocess.npz", "preprocess_resize_mode.json", "models.json", "replies.jsonl"}
# Read by android_control_parity.py and metrics_parity.py.
ELSEWHERE = {"metrics.json", "android_control"}
# The prefix that asks for a caption of a length, or of any.


@pytest.fixture(scope="session")
def golden(request) -> Path:
    return request.config.getoption("--golden")


def pytest_generate_tests(metafunc):
    folder = metafunc.config.getoption("--golden")

    def read(name):
        return json.loads((folder / name).read_text(encoding="utf-8"))

    sources = {
        "crop_case": lambda: sorted(read("preprocess.json")["cases"].items()),
        "golden_case": lambda: golden_cases(folder),
        "resize_case": lambda: sorted(read("preprocess_resize_mode.json").items()),
        "packing_case": lambda: sorted(read("packing.json")["cases"].items()),
        "name": lambda: [(name, name) for name in read("models.json")],
        "schedule": lambda: [(case["name"], case) for case in read("optim.json").get("schedules", [])],
        "clipping": lambda: [(str(i), case) for i, case in enumerate(read("optim.json").get("clipping", []))],
        **{
            f"{kind}_case": lambda kind=kind: [
                (f"{kind}{i}", case) for i, case in enumerate(read("text.json").get(kind, []))
            ]
            for kind in ("points", "parse", "messages", "prompts", "length_hint")
        },
    }
    for fixture, cases in sources.items():
        if fixture in metafunc.fixturenames:
            found = cases()
            # The key goes along where the case does not tell it.
            keyed = fixture in ("crop_case", "resize_case", "packing_case")
            metafunc.parametrize(
                fixture,
                [(key, case) if keyed else case for key, case in found],
                ids=[key for key, _ in found],
                scope="session",
            )


def test_no_kind_of_check_is_left_out(golden):
    models = set(facts(golden))
    weights = {f"model_{name}.safetensors" for name in models} | {f"model_{n}.native_ffn.safetensors" for n in models}
    numbers = {f"model_{name}_{part}.npz" for name in models for part in MODEL_PARTS}
    known = OTHER_FILES | ELSEWHERE | weights | numbers | set(JSON_KINDS)
    assert {path.name for path in golden.iterdir() if path.suffix != ".md"} <= known
    for name, kinds in JSON_KINDS.items():
        assert set(json.loads((golden / name).read_text())) <= kinds, name
    for name, entry in facts(golden).items():
        assert set(entry) <= MODEL_KINDS, name


# --- Pictures ---------------------------------------------------------------------------------------------------------


def runs(values):
    """Run lengths [value, count] of a list."""
    found = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1][1] += 1
        else:
            found.append([value, 1])
    return found


def image_tokens(grid, processor, base):
    """Ids of the image tokens that an image with this crop grid becomes, the four special ids following ``base``."""
    start, end, patch, column = range(base, base + 4)
    ids = []
    for rows, columns in image_token_counts(grid, processor.layout()):
        ids += [start, *(([patch] * columns + [column]) * rows), end]
    return ids


def test_crops_masks_indices_and_pixels(crop_case, golden):
    key, case = crop_case
    image = golden_image(case["height"], case["width"], case["seed"])
    assert image.sum() == case["image_sum"]
    processor = MolmoImageProcessor(max_crops=case["max_crops"])
    arrays, grid = processor.process_one(image)
    with np.load(golden / "preprocess.npz") as expected:
        assert list(grid) == case["tiling_rows_cols"]
        base = json.loads((golden / "preprocess.json").read_text())["special_token_base"]
        assert runs(image_tokens(grid, processor, base)) == case["image_tokens_rle"]
        np.testing.assert_array_equal(arrays["image_input_idx"], expected[f"{key}/image_input_idx"])
        np.testing.assert_allclose(arrays["image_masks"], expected[f"{key}/image_masks"], atol=1e-6)
        flat = arrays["pixel_values"].reshape(len(arrays["pixel_values"]), -1)
        wanted = expected[f"{key}/pixel_samples"]
        count = wanted.shape[1]
        samples = np.stack([row[(np.arange(count) * 5291 + 137 * i) % row.size] for i, row in enumerate(flat)])
        np.testing.assert_allclose(samples, wanted, atol=2e-5)
    np.testing.assert_allclose(flat.mean(1, dtype=np.float64), case["crop_mean"], atol=2e-5)
    np.testing.assert_allclose(flat.std(1, dtype=np.float64), case["crop_std"], atol=2e-5)


def test_the_single_crop_of_the_resize_mode(resize_case):
    key, case = resize_case
    width, height, seed = map(int, re.match(r"(\d+)x(\d+)_s(\d+)", key).groups())
    processor = MolmoImageProcessor(crop_mode="resize")
    arrays, grid = processor.process_one(golden_image(height, width, seed))
    # The file names no base; the first image token, <im_start>, is the base of the others.
    ids = image_tokens(grid, processor, base=case["image_tokens_rle"][0][0])
    assert len(ids) == case["n_image_tokens"]
    assert runs(ids) == case["image_tokens_rle"]
    assert list(arrays["image_input_idx"].shape) == case["idx_shape"]
    assert arrays["image_input_idx"].min() == case["idx_first"]
    values = arrays["pixel_values"].astype(np.float64)
    assert values.mean() == pytest.approx(case["mean"], abs=2e-5)
    assert values.std() == pytest.approx(case["std"], abs=2e-5)


# --- Text -------------------------------------------------------------------------------------------------------------


def percent(case):
    """Points of a golden case in percent, scaled as the reference does it."""
    scale = case["scale"]
    if isinstance(scale, list):  # pixels: hundredths of the width and height
        return [(x / scale[0], y / scale[1]) for x, y in case["points"]]
    return [(x * (100 / scale), y * (100 / scale)) for x, y in case["points"]]


def test_points_are_written(points_case):
    points = [Point(x / 100, y / 100) for x, y in percent(points_case)]
    style = points_case.get("style", "pointing")
    written = format_points("molmo", points, points_case["label"], points_case.get("alt"), style)
    assert written == points_case.get("text", points_case.get("answer"))
    if "text" in points_case:
        parsed = parse_reference(written, 100, 100).points
        assert [(round(x, 9), round(y, 9)) for x, y in parsed] == round_reference(percent(points_case))


def test_points_are_read(parse_case):
    parsed = parse_reference(parse_case["text"], parse_case["image_w"], parse_case["image_h"])
    assert [list(point) for point in parsed.points] == parse_case["points"]  # to the last bit
    assert parsed.valid_format == parse_case["valid_format"]


def test_the_strict_parser_reads_no_point_that_the_reference_does_not(parse_case):
    for found in parse_points("molmo", parse_case["text"]).points:
        x, y = found.point.x * parse_case["image_w"], found.point.y * parse_case["image_h"]
        if re.match(r"<points?\s+y", parse_case["text"]):
            continue  # the reference reads no tag with y before x
        assert any((x, y) == pytest.approx(tuple(point)) for point in parse_case["points"])


def test_placeholders_become_tags_in_order(golden):
    case = json.loads((golden / "text.json").read_text()).get("inline_points")
    if case is None:
        pytest.skip("this golden folder has no inline_points")
    annotations = [
        InlinePoints(tuple(Point(x / 100, y / 100) for x, y in a["points"]), a["inline_text"], a["alt_text"])
        for a in case["anns"]
    ]
    assert format_inline_points("molmo", case["answer"], annotations) == case["out"]
    tags = [
        (inline.inline_text, number + 1 if len(inline.points) > 1 else None)
        for inline in annotations
        for number in range(len(inline.points))
    ]
    assert [(found.label, found.id) for found in parse_points("molmo", case["out"]).points] == tags


def test_turns_are_dressed(messages_case):
    dressed = prompts.format_turns(
        messages_case["inp"], messages_case["message_format"], leading_space=messages_case["always_start_with_space"]
    )
    assert dressed == messages_case["out"]


def test_length_hints(length_hint_case):
    rng = np.random.RandomState(length_hint_case["seed"])
    prompt = prompts.length_hint(length_hint_case["style"], length_hint_case["answer_chars"], rng)
    assert f" {prompt}" == length_hint_case["prompt"]


def test_prompts(prompts_case):
    example, rng = prompts_case["example"], np.random.RandomState(prompts_case["seed"])
    style, expected = example["style"], prompts_case["messages"]
    templated = style in ("pointing", "point_count", "long_caption") and "question" not in example
    if templated:
        # Wordings are each project's own; what is compared is the answer, and that the label is asked for.
        question, wanted = example.get("label", "").lower(), expected[0]
        answer = example.get("text")
        if answer is None:
            points = [Point(x / example["point_scale"], y / example["point_scale"]) for x, y in example["points"]]
            answer = format_points("molmo", points, example["label"].lower(), example["label"].lower(), style)
        assert question in wanted
        assert expected[1:] == prompts.format_turns(["", answer])[1:]
        return
    answer = example.get("answer")
    question = example["question"]
    if "answers" in example:
        answer = prompts.best_answer(example["answers"], rng)
    if "options" in example:
        question = prompts.multiple_choice(question, example["options"])
        answer = chr(ord("A") + example["answer_idx"])
    asked = prompts.with_prefix(prompts.style_prefix(style, rng), question)
    assert prompts.format_turns([asked, answer]) == expected


# --- Sequences --------------------------------------------------------------------------------------------------------


def conversations(messages):
    return [encode(turns) for turns in messages] if isinstance(messages[0], list) else [encode(messages)]


def test_a_sequence_of_turns_and_annotations(packing_case, golden):
    key, case = packing_case
    whole = json.loads((golden / "packing.json").read_text())
    eos, expected = whole["stub_eos"], case["out"]
    ids, arrays = picture(whole["image"], image_processor(whole["config"]), whole["stub_special_base"])
    weighting = None if "noweighting" in key else whole["config"]["loss_token_weighting"]
    example = lay_out(
        ids, conversations(case["messages"]), bos=eos, eos=eos, weighting=weighting, weight=case.get("weight", 1.0)
    )
    assert example.input_ids.tolist() == expected["input_tokens"]
    assert example.labels.tolist() == expected["target_tokens"]
    assert example.position_ids.tolist() == expected["position_ids"]
    np.testing.assert_allclose(example.loss_weights, expected["loss_masks"], atol=1e-6)
    assert (example.subsegment_ids is None) == ("subsegment_ids" not in expected)
    if example.subsegment_ids is not None:
        assert example.subsegment_ids.tolist() == expected["subsegment_ids"]
    assert arrays["image_input_idx"].tolist() == expected["image_input_idx"]
    assert list(arrays["pixel_values"].shape) == expected["images_shape"]
    masks = arrays["image_masks"]
    assert list(masks.shape) == expected["image_masks_shape"]
    # Named after what the masks were multiplied with, the pixels of a patch.
    (scaled,) = (name for name in expected if name.startswith("image_masks_rle_x"))
    counted = [value for value, count in expected[scaled] for _ in range(count)]
    np.testing.assert_allclose(masks.ravel() * int(scaled.rpartition("x")[2]), counted, atol=1e-3)


def collated(examples, images, processor):
    """Each example as it is trained on: the arrays of a sequence that holds it alone."""
    members = [
        EncodedExample(
            example, Row(conversations=(), image=lambda image=image: golden_image(**image)), crops=0, num_truncated=0
        )
        for example, image in zip(examples, images, strict=True)
    ]
    settings = SimpleNamespace(max_crops=processor.max_crops)
    return [collate([member], SimpleNamespace(image_processor=processor), settings) for member in members]


def padded(sequences, *, length, crops):
    """Stack arrays of single sequences, padded with -1 on the right to tokens and crops: the authors' layout."""

    def pad(array, size):
        return np.pad(array, [(0, 0), (0, size - array.shape[1]), *[(0, 0)] * (array.ndim - 2)], constant_values=-1)

    return {
        name: np.concatenate([pad(s[name], crops if s[name].ndim > 2 else length) for s in sequences])
        for name in sequences[0]
    }


def assert_same_branches(ours, theirs):
    """Ids of annotations agree; where there is one conversation, the authors write 1 in a batch with a tree, we 0."""
    for mine, its in zip(np.asarray(ours), np.asarray(theirs), strict=True):
        if set(its[its >= 0].tolist()) == {1}:
            its = np.where(its == 1, 0, its)
        assert mine.tolist() == its.tolist()


def assert_same_places(ours, theirs):
    """Features go to the same tokens; a feature that goes nowhere is -100 or -1 for the authors, -1 for us."""
    assert np.asarray(ours).tolist() == np.maximum(np.asarray(theirs), -1).tolist()


def test_a_batch(golden):
    whole = json.loads((golden / "packing.json").read_text())
    if "collate" not in whole:
        pytest.skip("this golden folder has no collated batch")
    case, eos, base = whole["collate"], whole["stub_eos"], whole["stub_special_base"]
    processor = image_processor(whole["config"])
    images = [whole["image"], case["second_image"]]
    examples = [
        lay_out(
            picture(image, processor, base)[0],
            conversations(case[which]),
            bos=eos,
            eos=eos,
            weighting=whole["config"]["loss_token_weighting"],
        )
        for image, which in zip(images, ("first", "second"), strict=True)
    ]
    sequences = collated(examples, images, processor)
    batch = padded(sequences, length=case["max_sequence_length"], crops=case["max_crops"])
    expected = case["out"]
    for name in ("input_ids", "labels", "position_ids"):
        assert batch[name].tolist() == expected[name], name
    assert_same_places(batch["image_input_idx"], expected["image_input_idx"])
    assert_same_branches(batch["subsegment_ids"], expected["subsegment_ids"])
    np.testing.assert_allclose(batch["loss_weights"], expected["loss_masks"], atol=1e-6)
    for ours, theirs in (("pixel_values", "images"), ("image_masks", "image_masks")):
        assert list(batch[ours].shape) == expected[theirs]["shape"]
        assert (batch[ours] == -1).sum() == expected[theirs]["n_minus1"]


# --- The model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def model(name, golden, tmp_path_factory):
    return load_golden(golden, name, tmp_path_factory.mktemp(name))


def arrays_of(golden, name, part):
    with np.load(golden / f"model_{name}_{part}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def assert_relative(actual, expected, share=1e-5):
    """Within a share of the largest expected value: values reach tens to hundreds."""
    assert float((actual - expected).abs().max()) <= share * float(expected.abs().max())


def test_fused_experts_are_the_released_ones(name, golden):
    path = golden / f"model_{name}.native_ffn.safetensors"
    if not path.exists():
        pytest.skip(f"{name} has no fused experts")
    released = load_file(golden / f"model_{name}.safetensors")
    converted = {key: value for key, value in from_native(load_file(path)).items() if ".mlp." in key}
    assert converted
    assert all(torch.equal(value, released[key]) for key, value in converted.items())


def test_the_number_of_parameters(name, model, golden):
    assert sum(p.numel() for p in model.parameters()) == facts(golden)[name]["n_params"]


@torch.no_grad()
def test_every_stage_of_the_forward_pass(name, model, golden):
    numbers, recipe = arrays_of(golden, name, "synthetic"), facts(golden)[name]["synthetic_images"]
    crops, ids = synthetic_crops(recipe), numbers["input_ids"].long()
    tower, side = model.model.vision_tower, model.config.num_patches_per_side
    patch = model.config.vision_config.patch_size
    pixels = crops[0, :1].view(1, side, side, patch, patch, 3).permute(0, 5, 1, 3, 2, 4).flatten(2, 3).flatten(3, 4)
    states = tower(pixels, output_hidden_states=True).hidden_states
    blocks, wanted = torch.stack(states[1:])[:, 0], numbers["vit_hidden_crop0"]
    assert_relative(blocks[: len(wanted), : wanted.shape[1]], wanted)

    patches = model.model.encode_crops(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
    real = (crops != -1).flatten(2).any(-1)
    assert_relative((patches * real[..., None, None])[:, :, ::7], numbers["encode_image_sample"])

    index, masks = numbers["image_input_idx"].long(), numbers["image_masks"]
    output = model(
        input_ids=ids, pixel_values=crops, image_input_idx=index, image_masks=masks, output_hidden_states=True
    )
    assert_relative(output.image_features, numbers["image_features"])
    valid = ids >= 0
    hidden = torch.stack([*output.hidden_states[:-1], output.last_hidden_state])[:, :, ::4]
    expected = numbers["hidden_first_layers"]
    shown = valid[:, ::4]
    for ours, theirs in zip(hidden, expected, strict=True):
        assert_relative(ours[shown], theirs[shown])
    assert float((output.logits - numbers["logits"])[valid].abs().max()) <= 2e-4
    for key in (key for key in numbers if key.startswith("text_only_logits_row0_from")):
        alone = model(input_ids=ids[:1, int(key.rpartition("from")[2]) :]).logits
        assert float((alone - numbers[key]).abs().max()) <= 2e-4


def prompt_batch(golden, name, numbers):
    """The end-to-end inputs made from the pictures, padded on the left as generation wants them."""
    entry = facts(golden)[name]
    base, eos = entry["stub_special_base"], entry["stub_eos"]
    processor = image_processor({**entry["config"], "max_crops": entry["e2e"]["max_crops"]})
    images = entry["e2e"]["images"]
    examples = [
        lay_out(picture(image, processor, base)[0], [encode(prompt)], bos=eos, eos=eos)
        for image, prompt in zip(images, entry["e2e"]["prompts"], strict=True)
    ]
    sequences = collated(examples, images, processor)
    length = max(len(example.input_ids) for example in examples)
    crops = [sequence["pixel_values"].shape[1] for sequence in sequences]
    assert crops == numbers["n_crops"].tolist()
    rows = padded(sequences, length=numbers["input_ids"].shape[1], crops=max(crops))
    batch = {name: torch.from_numpy(array) for name, array in rows.items()}
    assert batch["input_ids"].tolist() == numbers["input_ids"].tolist()
    ids = torch.full((len(examples), length), eos)
    attention, index = torch.zeros_like(ids), batch["image_input_idx"].clone()
    for i, example in enumerate(examples):
        pad = length - len(example.input_ids)
        ids[i, pad:], attention[i, pad:] = torch.from_numpy(example.input_ids), 1
        index[i] = torch.where(index[i] >= 0, index[i] + pad, index[i])
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "pixel_values": batch["pixel_values"],
        "image_masks": batch["image_masks"],
        "image_input_idx": index,
    }


@torch.no_grad()
def test_pictures_and_prompts_to_greedy_and_beam_answers(name, model, golden):
    numbers, eos = arrays_of(golden, name, "e2e"), facts(golden)[name]["stub_eos"]
    inputs = prompt_batch(golden, name, numbers)
    last = model(**inputs).logits[:, -1]
    assert float((last - numbers["last_logits"]).abs().max()) <= 2e-4
    length = inputs["input_ids"].shape[1]

    def search(**options):
        return model.generate(
            **inputs,
            **options,
            do_sample=False,
            eos_token_id=eos,
            pad_token_id=eos,
            return_dict_in_generate=True,
            output_scores=True,
        )

    def padded(ids, steps):
        return torch.nn.functional.pad(ids, (0, steps - ids.shape[1]), value=eos)

    steps = numbers["greedy_ids"].shape[-1]
    greedy = search(max_new_tokens=steps)
    found = padded(greedy.sequences[:, length:], steps)
    assert found.tolist() == numbers["greedy_ids"][:, 0].tolist()
    chances = torch.stack(greedy.scores, 1).log_softmax(-1)
    alive = (found == eos).cumsum(-1)[:, : chances.shape[1]] - (found == eos)[:, : chances.shape[1]].long() == 0
    score = (chances.gather(-1, found[:, : chances.shape[1], None])[..., 0] * alive).sum(-1)
    assert float((score - numbers["greedy_scores"][:, 0]).abs().max()) <= 2e-4

    (key,) = (key for key in numbers if re.fullmatch(r"beam\d+_ids", key))
    beams, steps = numbers[key].shape[1:]
    wide = search(max_new_tokens=steps, num_beams=beams, num_return_sequences=beams, length_penalty=0.0)
    ids = padded(wide.sequences[:, length:], steps).unflatten(0, (-1, beams))
    assert ids.tolist() == numbers[key].tolist()
    scores = wide.sequences_scores.unflatten(0, (-1, beams))
    assert float((scores - numbers[key.replace("ids", "scores")]).abs().max()) <= 2e-4


def packed_sequences(golden, name):
    """The two examples of a packed batch, as they are trained on."""
    entry = facts(golden)[name]
    recipe, base, eos = entry["packed"], entry["stub_special_base"], entry["stub_eos"]
    processor = image_processor({**entry["config"], "max_crops": entry["e2e"]["max_crops"]})
    images = [entry["e2e"]["images"][recipe[f"{which}_image"]] for which in ("first", "second")]
    examples = [
        lay_out(
            picture(image, processor, base)[0],
            conversations(recipe[f"{which}_messages"]),
            bos=eos,
            eos=eos,
            weighting="root_subsegments",
        )
        for image, which in zip(images, ("first", "second"), strict=True)
    ]
    return collated(examples, images, processor)


def packed_forward(model, batch):
    inputs = ("input_ids", "pixel_values", "image_masks", "image_input_idx", "position_ids", "subsegment_ids")
    mask = (batch["input_ids"] >= 0).long()
    return model(
        **{key: batch[key] for key in inputs} | {"position_ids": batch["position_ids"].clamp(min=0)},
        attention_mask=mask,
        use_cache=False,
    )


def test_a_packed_batch_and_its_losses(name, model, golden):
    recipe, numbers = facts(golden)[name]["packed"], arrays_of(golden, name, "packed")
    rows = padded(packed_sequences(golden, name), length=recipe["max_sequence_length"], crops=recipe["max_crops"])
    batch = {key: torch.from_numpy(value) for key, value in rows.items()}
    for ours, theirs in (("loss_weights", "loss_masks"), *((k, k) for k in ("input_ids", "labels", "position_ids"))):
        np.testing.assert_allclose(batch[ours], numbers[theirs], atol=1e-6)
    assert_same_branches(batch["subsegment_ids"], numbers["subsegment_ids"])
    assert_same_places(batch["image_input_idx"], numbers["image_input_idx"])

    output, expected = packed_forward(model, batch), facts(golden)[name]["train"]
    selected = numbers["selected"].bool()
    assert float((output.logits[selected] - numbers["logits_selected"]).detach().abs().max()) <= 2e-4
    loss = token_loss(output.logits, batch["labels"], batch["loss_weights"])
    assert float((loss.cross_entropy - numbers["token_ce"]).detach().abs().max()) <= 2e-4
    assert float((loss.z - numbers["token_z"]).detach().abs().max()) <= 2e-4
    for ours, theirs in (
        (loss.cross_entropy.sum(), "ce_sum"),
        (loss.z.sum(), "z_sum"),
        (loss.weight, "weight_sum"),
        (loss.cross_entropy.sum() / loss.weight, "ce"),
        (loss.z.sum() / loss.weight, "z"),
        (loss.mean, "loss"),
        (loss.correct / loss.weight, "accuracy"),
    ):
        assert ours.item() == pytest.approx(expected[theirs], rel=1e-5, abs=1e-9), theirs
    hidden = output.last_hidden_state
    chunked = response_loss(hidden, model.lm_head.weight, batch["labels"], batch["loss_weights"], chunk=7)
    assert chunked.mean.item() == pytest.approx(expected["loss"], rel=1e-5)


@pytest.fixture
def trained(model):
    """The model as training runs it, with attention over message trees."""
    decoder = model.model.language_model.config
    before = decoder._attn_implementation
    yield ModelWithLoss(model, TrainConfig())
    decoder._attn_implementation = before


def test_a_training_steps_losses_gradients_clipping_and_first_update(name, trained, golden):
    expected, optim = facts(golden)[name]["train"], facts(golden)[name]["optim_step"]
    sequences = packed_sequences(golden, name)
    trained.zero_grad()
    cross_entropy, z, correct = torch.stack([trained(arrays) for arrays in sequences]).sum(0)
    weight = sum(float(arrays["loss_weights"].sum()) for arrays in sequences)
    for ours, theirs in (
        (cross_entropy, "ce_sum"),
        (z, "z_sum"),
        ((cross_entropy + z) / weight, "loss"),
        (correct / weight, "accuracy"),
    ):
        assert ours.item() == pytest.approx(expected[theirs], rel=1e-5, abs=1e-9), theirs
    ((cross_entropy + z) / weight).backward()
    parameters = {key.removeprefix("model."): parameter for key, parameter in trained.named_parameters()}

    def native(tensors):
        return to_native(to_official(trained.model, tensors))

    def norms(tensors):
        return {key: float(value.norm()) for key, value in native(tensors).items()}

    gradients = {key: p.grad for key, p in parameters.items() if p.grad is not None}
    before = norms(gradients)
    skipped = set(before) - set(optim["grad_norm_before"])
    assert not any(before[key] for key in skipped)
    for key, value in optim["grad_norm_before"].items():
        assert before.get(key, 0.0) == pytest.approx(value or 0.0, rel=1e-4, abs=1e-7), key
    components = clip(trained, 1.0)
    for key, value in optim["component_norms"].items():
        assert components[key.removesuffix("_grad_norm")] == pytest.approx(value, rel=1e-4), key
    after = norms(gradients)
    for key, value in optim["grad_norm_after"].items():
        assert after.get(key, 0.0) == pytest.approx(value or 0.0, rel=1e-4, abs=1e-7), key

    rates = {part: Rate(peak=optim["lr"][f"{part}_decay"]) for part in ("connector", "vit", "llm")}
    optimizer = make_optimizer(trained, Optimizer(**rates, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.0))
    names = {id(p): key for key, p in parameters.items()}
    for group in optimizer.param_groups:
        members = set(native({names[id(p)]: p.detach() for p in group["params"]}))
        assert members >= set(optim["groups"][group["name"]]), group["name"]
    was = {key: p.detach().clone() for key, p in parameters.items()}
    optimizer.step()
    updates = norms({key: p.detach() - was[key] for key, p in parameters.items()})
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(was[key])
    for key, value in optim["update_l2"].items():
        if (optim["grad_norm_before"][key] or 0.0) < 1e-6:
            continue  # a key's bias cancels in the softmax: what the first update scales up is rounding noise
        assert updates[key] == pytest.approx(value or 0.0, rel=1e-3, abs=1e-12), key


# --- The optimizer ----------------------------------------------------------------------------------------------------


def test_learning_rates(schedule):
    # `alpha`: the end of the cosine as a share of the peak; `minlr`: the start of the warm-up, null for a tenth of it.
    for component, expected in schedule["lr"].items():
        rates = Schedule(
            peak=schedule["base_lr"][component],
            warmup_steps=schedule["warmup_steps"][component],
            max_steps=schedule["max_steps"],
            start=schedule.get("minlr", 0.0),
            final=schedule.get("alpha", schedule.get("alpha_f", 0.1)),
        )
        for step, rate in zip(schedule["steps"], expected, strict=True):
            assert rates.at(step) == pytest.approx(rate, abs=1e-12)


def test_clipping(clipping):
    # Our names tell the component by a prefix.
    prefixes = {"connector": "connector.", "vit": "vision_tower.", "llm": ""}
    names = {
        key: prefixes[group.split("_")[0]] + key.rpartition(".")[2] + str(number)
        for group, keys in clipping["groups"].items()
        for number, key in enumerate(keys)
    }
    gradients = {key: torch.tensor(value) for key, value in clipping["grads_in"].items()}
    named = [(names[key], SimpleNamespace(grad=gradient)) for key, gradient in gradients.items()]
    norms = clip(SimpleNamespace(named_parameters=lambda: named), clipping["max_norm"])
    for key, value in clipping["component_norms"].items():
        assert norms[key.removesuffix("_grad_norm")] == pytest.approx(value, rel=1e-5)
    (out,) = [value for key, value in clipping.items() if key.startswith("grads_out")]
    for key, value in out.items():
        np.testing.assert_allclose(gradients[key], value, rtol=1e-5, atol=1e-8)
    assert math.isfinite(norms["total"])
