"""The tools that people use with any transformers model work with this one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_models import load_golden
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig, pipeline

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.transformers_names import enable_activation_checkpointing
from molmo_agent.pointers.nano import CHECKPOINT

GOLDEN = Path(__file__).parent / "golden"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
CHAT = [{"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "the red circle"}]}]


def nano() -> MolmoForConditionalGeneration:
    return AutoModelForImageTextToText.from_pretrained(CHECKPOINT, dtype=torch.float32)


def inputs():
    return AutoProcessor.from_pretrained(CHECKPOINT)(images=PICTURE, text=" User: the red circle Assistant:")


def test_the_auto_classes_lead_to_ours():
    assert isinstance(nano(), MolmoForConditionalGeneration)
    assert isinstance(AutoProcessor.from_pretrained(CHECKPOINT), MolmoProcessor)


def test_the_pipeline_answers_as_generate_does():
    processor = AutoProcessor.from_pretrained(CHECKPOINT)
    asked = pipeline("image-text-to-text", model=nano(), processor=processor)
    answer = asked(text=CHAT, max_new_tokens=6, generate_kwargs={"do_sample": False}, return_full_text=False)
    batch = inputs()
    ids = nano().generate(**batch, max_new_tokens=6, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert answer[0]["generated_text"] == processor.tokenizer.decode(ids, skip_special_tokens=True)


# PEFT asks transformers for an old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_is_attached_trained_merged_and_loaded_again(tmp_path):
    torch.manual_seed(0)
    batch = inputs()
    labels = batch["input_ids"].clone()
    labels[:, :-4] = -1
    targets = r".*language_model.*\.(q_proj|v_proj)"
    model = get_peft_model(nano(), LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        adapted = model.eval()(**batch).logits
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(nano(), tmp_path / "adapter").eval()
    merged = again.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    loaded = MolmoForConditionalGeneration.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, merged(**batch).logits)
        torch.testing.assert_close(merged(**batch).logits, adapted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["dense_qwen", "dense_olmo", "moe_olmoe"])
def test_checkpointed_gradients_are_the_plain_ones(name, tmp_path):
    model = load_golden(GOLDEN, name, tmp_path).train()
    ids = torch.tensor([[256, 70, 71, 72]])

    def gradients():
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    enable_activation_checkpointing(model)
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys()
    for key, gradient in plain.items():
        torch.testing.assert_close(checkpointed[key], gradient)


def test_the_weights_can_be_placed_by_a_device_map_and_in_another_dtype():
    placed = MolmoForConditionalGeneration.from_pretrained(CHECKPOINT, device_map={"": "cpu"}, dtype=torch.bfloat16)
    assert {p.dtype for p in placed.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert torch.isfinite(placed(**inputs().to(torch.bfloat16)).logits).all()


@pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning")
@pytest.mark.parametrize(("bits", "share", "error"), [(8, 0.30, 0.05), (4, 0.20, 0.25)])
def test_eight_and_four_bits_save_memory_and_give_nearly_the_same_answers(bits, share, error, tmp_path):
    pytest.importorskip("bitsandbytes")
    # Sizes are multiples of 64, as everywhere in the released models: the quantiser works in blocks of that size.
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_hidden_layers": 2}
    config = MolmoConfig(
        vision_config={"hidden_size": 128, "intermediate_size": 256, "image_size": 112, "patch_size": 14, **heads},
        text_config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "vocab_size": 512,
            "num_key_value_heads": 1,
            **heads,
        },
        vit_layers=(-1, -2),
        pooling_heads=2,
        projector_hidden_size=256,
        image_patch_token_id=5,
    )
    plain = MolmoForConditionalGeneration(config).eval()
    plain.save_pretrained(tmp_path)
    quantized = MolmoForConditionalGeneration.from_pretrained(
        tmp_path,
        quantization_config=BitsAndBytesConfig(
            load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_compute_dtype=torch.float32
        ),
    )
    small, large = (m.model.language_model.layers[0].mlp.up_proj.weight.nbytes for m in (quantized, plain))
    assert small <= share * large
    batch = {
        "input_ids": torch.tensor([[5] * 16 + [7, 8, 9]]),
        "pixel_values": torch.randn(1, 1, 64, 588),
        "image_input_idx": torch.arange(16)[None, None],
        "image_masks": torch.ones(1, 1, 64),
    }
    with torch.no_grad():
        expected, got = plain(**batch).logits, quantized(**batch).logits.float()
    assert 0 < (got - expected).norm() / expected.norm() < error
