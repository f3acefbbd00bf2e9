"""An untrained Molmo of a million parameters that learns to read clocks on a CPU: the recipe ``clocks``.

It is the architecture of the large models with small numbers: one crop of 12x12 patches of 8 px, four blocks of vision,
36 image tokens, two blocks of decoder. The question and the words before the time are one token each.
"""

import torch

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.nano.architecture import end_ids, image_ids, init_neighbour_heads, init_unit_scale
from molmo_agent.nano.tokenizer import build_tokenizer

CROP_PX = 96
"""Width and height of the images that it sees; `agent pixmo clocks --form close` draws them of this size."""
_SENTENCES = (" What time is being shown?", " The time shown is")


def clock_processor() -> MolmoProcessor:
    """Build the processor."""
    image_processor = MolmoImageProcessor(crop_size=CROP_PX, patch_size=8, margins=(0, 0), crop_mode="resize")
    return MolmoProcessor(image_processor=image_processor, tokenizer=build_tokenizer(_SENTENCES))


def clock_config(processor: MolmoProcessor) -> MolmoConfig:
    """Return the model's config."""
    ends = end_ids(processor)
    return MolmoConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": CROP_PX,
            "patch_size": 8,
            "hidden_act": "gelu",
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 512,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 32,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            **ends,
        },
        vit_layers=[-1, -3],
        pooling_heads=4,
        pooling_head_dim=32,
        projector_hidden_size=256,
        additional_vocab_size=0,
        **image_ids(processor),
        **ends,
    )


def untrained(seed: int) -> tuple[MolmoForConditionalGeneration, MolmoProcessor]:
    """Return an untrained reader of clocks and its processor."""
    processor = clock_processor()
    torch.manual_seed(seed)
    model = MolmoForConditionalGeneration(clock_config(processor))
    init_neighbour_heads(model)
    init_unit_scale(model)
    init_connector(model)
    return model, processor


@torch.no_grad()
def init_connector(model: MolmoForConditionalGeneration) -> None:
    """Initialize the connector's matrices so that image features have about the scale of embeddings.

    With the usual standard deviation of 0.02, the gated projector's features have one of 4e-5 here: beside embeddings
    of unit scale the decoder is blind, and learns the distribution of times alone.
    """
    for module in model.model.connector.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.normal_(std=module.in_features**-0.5)
