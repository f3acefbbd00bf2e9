"""The classes by which people load a model lead to ours, for both layouts; a table that is resized keeps its rows."""

from pathlib import Path

import pytest
import torch
import transformers
from golden_models import load_golden, write_official
from tiny_training import write_model

from molmo_agent.model import (
    MolmoConfig,
    MolmoForConditionalGeneration,
    MolmoImageProcessor,
    MolmoModel,
    MolmoProcessor,
)

GOLDEN = Path(__file__).parent / "golden"
HEADS = ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForPreTraining")


def loaded(name: str, folder: Path):
    return getattr(transformers, name).from_pretrained(folder)


def test_every_auto_class_leads_to_ours(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    expected = {
        "AutoConfig": MolmoConfig,
        "AutoModel": MolmoModel,
        "AutoProcessor": MolmoProcessor,
        "AutoImageProcessor": MolmoImageProcessor,
        **dict.fromkeys(HEADS, MolmoForConditionalGeneration),
    }
    assert {name: type(loaded(name, folder)) for name in expected} == expected
    tokenizer = loaded("AutoTokenizer", folder)
    assert tokenizer.padding_side == "left"
    assert tokenizer.convert_tokens_to_ids("<im_patch>") == loaded("AutoProcessor", folder).patch_id


@pytest.mark.parametrize("name", ["dense_qwen", "dense_olmo", "moe_olmoe"])
def test_the_model_without_its_head_is_the_one_inside(name: str, tmp_path: Path) -> None:
    folder = write_official(GOLDEN, name, tmp_path)
    inner, whole = loaded("AutoModel", folder), loaded("AutoModelForCausalLM", folder)
    assert inner.state_dict().keys() == whole.model.state_dict().keys()
    assert all(torch.equal(value, inner.state_dict()[key]) for key, value in whole.model.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize(("name", "rows"), [("dense_qwen", 12), ("dense_qwen", 5), ("dense_olmo", 40)])
def test_all_ids_keep_their_rows_in_a_resized_table(name: str, rows: int, tmp_path: Path) -> None:
    model = load_golden(GOLDEN, name, tmp_path / "official")
    vocabulary, needed = model.lm_head.out_features, max(model.config.image_token_ids) + 1
    known = vocabulary + model.config.additional_vocab_size
    ids = torch.arange(min(known, needed))[None]
    embedded, logits = model.get_input_embeddings()(ids), model(input_ids=ids[:, :20]).logits
    size = needed + rows
    model.resize_token_embeddings(size)
    assert model.get_input_embeddings()(torch.tensor([[size - 1]])).shape[-1] == model.config.text_config.hidden_size
    assert model.config.text_config.vocab_size == model.lm_head.out_features == size
    assert torch.equal(model.get_input_embeddings()(ids), embedded)
    same = min(vocabulary, size)
    torch.testing.assert_close(model(input_ids=ids[:, :20]).logits[..., :same], logits[..., :same])
    model.save_pretrained(tmp_path / "own")
    again = MolmoForConditionalGeneration.from_pretrained(tmp_path / "own")
    assert torch.equal(again.get_input_embeddings()(ids), embedded)


@pytest.mark.parametrize("name", ["dense_qwen", "dense_olmo", "moe_olmoe"])
def test_a_table_that_would_lose_the_image_tokens_is_refused(name: str, tmp_path: Path) -> None:
    model = load_golden(GOLDEN, name, tmp_path)
    last = max(model.config.image_token_ids)
    before = model.get_input_embeddings().weight.shape
    with pytest.raises(ValueError, match=rf"expected at least {last + 1} rows.*ids up to {last}; got {last}"):
        model.resize_token_embeddings(last)
    assert model.get_input_embeddings().weight.shape == before
    assert model.resize_token_embeddings() is model.get_input_embeddings()
    model.resize_token_embeddings(pad_to_multiple_of=64)
    assert len(model.get_input_embeddings().weight) % 64 == 0
    assert len(model.get_input_embeddings().weight) > last
