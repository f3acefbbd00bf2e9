import pytest
import torch

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.message_tree import message_tree_mask
from molmo_agent.model.modeling import MolmoEmbedding
from molmo_agent.model.transformers_names import CACHE, cache_of
from molmo_agent.nano.architecture import nano_config, nano_processor, new_nano
from molmo_agent.train.batching.tree_attention import NAME, Forest

PROCESSOR = nano_processor()


@pytest.fixture(scope="module")
def model() -> MolmoForConditionalGeneration:
    return new_nano(PROCESSOR, seed=0).eval()


def picture(seed: int, height: int = 200, width: int = 200) -> object:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy()


def test_image_features_are_added_to_the_embeddings_of_their_tokens(model: MolmoForConditionalGeneration) -> None:
    inputs = PROCESSOR(images=picture(1), text=" User: x Assistant:")
    with torch.no_grad():
        features = model.get_image_features(inputs["pixel_values"], inputs["image_masks"])
        embeds = model.model.embed(inputs["input_ids"], features, inputs["image_input_idx"])
        plain = model.get_input_embeddings()(inputs["input_ids"])
    index = inputs["image_input_idx"][0].flatten()
    kept = index >= 0
    is_patch = inputs["input_ids"][0] == model.config.image_patch_token_id
    assert sorted(index[kept].tolist()) == is_patch.nonzero().flatten().tolist()
    difference = embeds - plain
    torch.testing.assert_close(difference[0, index[kept]], features[0].flatten(0, 1)[kept], atol=1e-6, rtol=0)
    assert not difference[0, ~is_patch].any()


def test_a_cut_off_image_block_is_an_error(model: MolmoForConditionalGeneration) -> None:
    inputs = PROCESSOR(images=picture(1), text=" User: x Assistant:")
    with pytest.raises(ValueError, match="was the image part of the prompt cut off"):
        model(**{**inputs, "input_ids": inputs["input_ids"][:, :50], "attention_mask": None})


def test_a_padded_batch_gives_the_logits_of_its_rows_alone(model: MolmoForConditionalGeneration) -> None:
    prompts = [" User: a Assistant:", " User: the red button Assistant:"]
    pictures = [picture(1), picture(2, 360, 200)]
    with torch.no_grad():
        together = model(**PROCESSOR(images=pictures, text=prompts)).logits[:, -1]
        alone = [model(**PROCESSOR(images=i, text=p)).logits[0, -1] for i, p in zip(pictures, prompts, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), atol=2e-5, rtol=1e-4)


def test_annotations_of_one_picture_see_the_picture_and_themselves_only(model: MolmoForConditionalGeneration) -> None:
    prefix, arrays = PROCESSOR.encode(picture(3), "")
    texts = [" User: a Assistant: yes", " User: the blue circle Assistant: no"]
    branches = [PROCESSOR.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    images = {name: torch.from_numpy(array)[None] for name, array in arrays.items()}
    ids = torch.tensor([prefix + branches[0] + branches[1]])
    segments = torch.tensor([[10000] * len(prefix) + [1] * len(branches[0]) + [2] * len(branches[1])])
    positions = torch.tensor(
        [
            [
                *range(len(prefix)),
                *(range(len(prefix), len(prefix) + len(b)) for b in []),
                *(len(prefix) + i for b in branches for i in range(len(b))),
            ]
        ]
    )
    with torch.no_grad():
        packed = model(
            input_ids=ids, subsegment_ids=segments, position_ids=positions, use_cache=False, **images
        ).logits[0, len(prefix) :]
        alone = [model(input_ids=torch.tensor([prefix + b]), **images).logits[0, len(prefix) :] for b in branches]
    torch.testing.assert_close(packed, torch.cat(alone), atol=2e-5, rtol=1e-4)


def test_attention_in_two_parts_equals_attention_under_the_mask(model: MolmoForConditionalGeneration) -> None:
    decoder = model.model.language_model
    segments = torch.tensor([10000] * 50 + [1] * 7 + [2] * 12)
    positions = torch.tensor([[*range(50), *range(50, 57), *range(50, 62)]])
    x = torch.randn(1, 69, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        masked = decoder(
            inputs_embeds=x, attention_mask=message_tree_mask(segments[None], None, x.dtype), position_ids=positions
        ).last_hidden_state
        before = decoder.config._attn_implementation
        decoder.config._attn_implementation = NAME
        try:
            forest = Forest.of(torch.zeros_like(segments), segments, x.dtype)
            parts = decoder(inputs_embeds=x, forest=forest, position_ids=positions, use_cache=False)
        finally:
            decoder.config._attn_implementation = before
    torch.testing.assert_close(parts.last_hidden_state, masked, atol=1e-5, rtol=1e-4)


def test_subsegments_without_positions_or_with_a_cache_are_refused(model: MolmoForConditionalGeneration) -> None:
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(ValueError, match="needs explicit position_ids and no cache"):
        model(input_ids=ids, subsegment_ids=torch.tensor([[9, 1, 1]]))


def test_neither_ids_nor_embeddings_is_refused(model: MolmoForConditionalGeneration) -> None:
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()


def test_generate_with_a_cache_equals_generate_without(model: MolmoForConditionalGeneration) -> None:
    inputs = PROCESSOR(images=picture(4), text=" User: the icon Assistant:")
    options = {"max_new_tokens": 6, "do_sample": False}
    cached = model.generate(**inputs, **options)
    uncached = model.generate(**inputs, use_cache=False, **options)
    assert cached.tolist() == uncached.tolist()


@torch.no_grad()
def test_the_cache_may_be_passed_under_either_name(model: MolmoForConditionalGeneration) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    whole = model(input_ids=ids).logits[:, 2:]
    for name in ("cache", "past_key_values"):
        start = model(input_ids=ids[:, :2], use_cache=True)
        rest = model(input_ids=ids[:, 2:], use_cache=True, **{name: cache_of(start)})
        torch.testing.assert_close(rest.logits, whole, atol=1e-4, rtol=1e-4)
        assert cache_of(rest).get_seq_length() == 4
    with pytest.raises(ValueError, match="expected one of cache and past_key_values, got both"):
        model(input_ids=ids, cache=cache_of(start), past_key_values=cache_of(start))


def test_outputs_stand_in_the_order_of_transformers(model: MolmoForConditionalGeneration) -> None:
    ids = torch.tensor([[5, 6]])
    output = model(input_ids=ids, labels=ids, use_cache=True, output_hidden_states=True)
    assert list(output)[:4] == ["loss", "logits", CACHE, "hidden_states"]


def test_ids_behind_the_vocabulary_come_from_the_extra_rows() -> None:
    table = MolmoEmbedding(5, 3, 4)
    torch.nn.init.normal_(table.new_weight)
    torch.testing.assert_close(
        table(torch.tensor([[4, 5, 7]]))[0], torch.stack([table.weight[4], table.new_weight[0], table.new_weight[2]])
    )


def test_the_default_config_is_the_released_7b_d() -> None:
    config = MolmoConfig()
    with torch.device("meta"):
        model = MolmoForConditionalGeneration(config)
    assert sum(p.numel() for p in model.parameters()) == 8_021_025_280


def test_nano_fits_the_package() -> None:
    with torch.device("meta"):
        model = MolmoForConditionalGeneration(nano_config(PROCESSOR))
    assert sum(p.numel() for p in model.parameters()) * 2 < 16e6


def test_a_saved_model_loads_with_the_same_logits(model: MolmoForConditionalGeneration, tmp_path: object) -> None:
    model.save_pretrained(tmp_path)
    again = MolmoForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs = PROCESSOR(images=picture(5), text=" User: x Assistant:")
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits, atol=0, rtol=0)
