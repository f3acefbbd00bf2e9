from pathlib import Path

import pytest
import torch
from golden_models import facts, write_official

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.checkpoints.convert import convert
from molmo_agent.model.checkpoints.molmo_0924 import official_config
from molmo_agent.pointers.nano import CHECKPOINT

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(facts(GOLDEN)))
def test_a_released_checkpoint_goes_to_our_layout_and_back(name, tmp_path):
    source = write_official(GOLDEN, name, tmp_path / "source")
    assert "no tokenizer" in convert(str(source), tmp_path / "own", "own")
    note = convert(str(tmp_path / "own"), tmp_path / "official", "official")
    assert "cannot build it" in note
    ids = torch.tensor([[256, 70, 71]])
    first, *others = (
        MolmoForConditionalGeneration.from_pretrained(folder)
        for folder in (source, tmp_path / "own", tmp_path / "official")
    )
    with torch.no_grad():
        expected = first(input_ids=ids).logits
        for other in others:
            weights = other.state_dict()
            assert all(torch.equal(weights[name], value) for name, value in first.state_dict().items())
            # Not to the last bit: that depends on where in memory a file's weights come to lie.
            torch.testing.assert_close(other(input_ids=ids).logits, expected)


def test_sizes_that_the_released_layout_cannot_tell_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no field for heads of another size"):
        convert(str(CHECKPOINT), tmp_path / "official", "official")
    assert not (tmp_path / "official").exists()


def test_a_released_config_survives_the_round_trip():
    config = MolmoConfig()
    again = MolmoConfig.from_dict(official_config(config))
    for part in ("text_config", "vision_config"):
        one, other = (getattr(c, part).to_dict() for c in (config, again))
        ignored = {"bos_token_id", "eos_token_id", "pad_token_id"}
        assert {k: v for k, v in one.items() if k not in ignored} == {
            k: v for k, v in other.items() if k not in ignored
        }
    assert again.projector_hidden_size == config.projector_hidden_size
    assert again.image_patch_token_id == config.image_patch_token_id


def test_what_cannot_be_converted_is_told(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        convert("a/b", tmp_path / "full", "own")
    with pytest.raises(UsageError, match="expected the layout own or official"):
        convert("a/b", tmp_path / "new", "gguf")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="cannot read the checkpoint"):
        convert(str(tmp_path / "full"), tmp_path / "new", "own")
    assert not (tmp_path / "new").exists()
