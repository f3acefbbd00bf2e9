"""The choices of the paper's ablations: other encoders, other crops, dropout on answers or everywhere."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration
from molmo_agent.model.transformers_names import enable_activation_checkpointing
from molmo_agent.model.vision_tower import build_tower, patch_features, resize_positions

SIZES = {"hidden_size": 32, "num_hidden_layers": 9, "num_attention_heads": 2, "patch_size": 14}
ENCODERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": {"intermediate_size": 64, "image_size": 112},
    "siglip_vision_model": {"intermediate_size": 64, "image_size": 112},
    "dinov2": {"mlp_ratio": 2, "image_size": 112},
}
TEXT = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": None, "eos_token_id": 1}


def tiny(encoder: str = "clip_vision_model", decoder: str = "qwen2", **changes: Any) -> MolmoForConditionalGeneration:
    torch.manual_seed(0)
    config = MolmoConfig(
        vision_config={"model_type": encoder, **SIZES, **ENCODERS[encoder]},
        text_config={"model_type": decoder, **TEXT, **HEADS},
        image_patch_token_id=5,
        **({"pooling_heads": 2, "pooling_head_dim": 16, "projector_hidden_size": 48, "vit_layers": (-2, -9)} | changes),
    )
    return MolmoForConditionalGeneration(config)


def picture_inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.tensor([[5] * 16 + [7, 8, 9]]),
        "pixel_values": torch.randn(1, 1, 64, 588, generator=generator),
        "image_input_idx": torch.arange(16)[None, None],
        "image_masks": torch.ones(1, 1, 64),
    }


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("changes", [{}, {"vit_layers": (-3,)}, {"pooling": "stack", "pad_embed": False}], ids=str)
def test_every_encoder_sees_and_learns(encoder: str, changes: dict[str, Any]) -> None:
    model = tiny(encoder, **changes)
    inputs = picture_inputs()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    # A layer after the last one read learns nothing; everything else does.
    last = 9 + max(model.config.vit_layers)
    idle = {f"layers.{i}." for i in range(last + 1, 9)} | {f"layer.{i}." for i in range(last + 1, 9)}
    without = [
        name
        for name, parameter in model.named_parameters()
        if (parameter.grad is None or not parameter.grad.abs().sum()) and not any(part in name for part in idle)
    ]
    # No picture in this test is padded, no token has an extra row, and a softmax does not feel a common shift.
    without = [n for n in without if "pad_embed" not in n and "new_weight" not in n and "k_proj.bias" not in n]
    assert without == []


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_reads_its_own_checkpoint_at_another_crop_size(encoder: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    vision = AutoModel.from_config(AutoConfig.for_model(encoder, **SIZES, **ENCODERS[encoder]))
    vision.save_pretrained(tmp_path / "vision")
    AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **TEXT, **HEADS)).save_pretrained(tmp_path / "text")
    parts = tmp_path / "vision", tmp_path / "text"
    pixels = torch.randn(1, 3, 112, 112)
    same = MolmoForConditionalGeneration.from_backbones(*parts, vit_layers=(-2,)).eval()
    with torch.no_grad():
        wanted = vision.eval()(pixels, output_hidden_states=True).hidden_states
        kept = len(wanted) - (1 if encoder == "clip_vision_model" else 0)
        assert torch.equal(patch_features(same.model.vision_tower, pixels, (-2,)), wanted[:kept][-2][:, -64:]), (
            "features are those of the encoder itself"
        )
    larger = MolmoForConditionalGeneration.from_backbones(*parts, crop_size=168)
    assert larger.config.num_patches_per_side == 12
    assert larger.model.encode_crops(torch.randn(2, 144, 588)).shape == (2, 144, 64)


def test_resized_positions_keep_the_class_token_and_the_mean() -> None:
    table = torch.randn(65, 8)
    resized = resize_positions({"embeddings.position_embedding.weight": table}, "clip_vision_model", 4)
    new = resized["embeddings.position_embedding.weight"]
    assert new.shape == (17, 8)
    assert torch.equal(new[0], table[0])
    torch.testing.assert_close(new[1:].mean(0), table[1:].mean(0), atol=0.1, rtol=0)


def test_an_encoder_nobody_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="one of the kinds clip_vision_model, siglip_vision_model, dinov2, got 'vit'"):
        build_tower(AutoConfig.for_model("vit"))


@pytest.mark.parametrize("decoder", ["qwen2", "olmo2", "olmoe"])
def test_dropout_on_answers_leaves_everything_before_them_alone(decoder: str) -> None:
    model = tiny(decoder=decoder, answer_dropout=0.5)
    ids, answers = torch.arange(2, 12)[None], torch.tensor([[False] * 6 + [True] * 4])
    with torch.no_grad():
        plain = model.eval()(input_ids=ids).logits
        dropped = model.train()(input_ids=ids, answer_mask=answers).logits
        assert torch.equal(model(input_ids=ids).logits, plain), "without answers nothing is dropped"
    torch.testing.assert_close(dropped[:, :6], plain[:, :6])  # experts add up in another order
    assert not torch.allclose(dropped[:, 6:], plain[:, 6:])


def test_dropout_everywhere_reaches_every_token_in_training_only() -> None:
    model = tiny(residual_dropout=0.5)
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        plain = model.eval()(input_ids=ids).logits
        assert torch.equal(model(input_ids=ids).logits, plain)
        dropped = model.train()(input_ids=ids).logits
    assert ((dropped - plain).abs().sum(-1) > 0).all()


def test_dropout_keeps_the_mean_of_what_is_added() -> None:
    model = tiny(residual_dropout=0.25)
    branch = model.train().model.language_model.layers[0].mlp
    x = torch.randn(1, 4, 32)
    with torch.no_grad():
        mean = torch.stack([branch(x) for _ in range(4000)]).mean(0)
        torch.testing.assert_close(mean, model.eval() and branch(x), atol=0.02, rtol=0.05)


def test_recomputed_activations_drop_the_same_elements() -> None:
    model = tiny(residual_dropout=0.2, answer_dropout=0.5).train()
    ids, answers = torch.arange(2, 12)[None], torch.tensor([[False] * 6 + [True] * 4])

    def gradient() -> torch.Tensor:
        model.zero_grad()
        torch.manual_seed(3)
        model(input_ids=ids, labels=ids, answer_mask=answers, use_cache=False).loss.backward()
        grad = model.model.language_model.layers[0].mlp.down_proj.weight.grad
        assert grad is not None
        return grad.clone()

    plain = gradient()
    enable_activation_checkpointing(model)
    torch.testing.assert_close(gradient(), plain)
