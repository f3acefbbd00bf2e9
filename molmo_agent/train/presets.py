"""The hyperparameters of the paper's models by name, as plain data: ``preset=molmo-7b-d/sft``.

A preset holds the settings of a stage (rates, schedules, batch, steps, dropout, form of the texts, seeds). Data and
initial weights are in the recipe (``pixmo_cap`` for pretrain, ``sft``, ``high_res``).

Sources, as collected in docs/reference/training.md#hyperparameters: learning rates, warm-up, batch and steps of each
model are from table 6 of the paper (arXiv 2409.17146 v2, in a transcription). Optimizer, dropout, sequence length,
crops, z-loss, clipping and seeds are from the released scripts (allenai/molmo at 793fa387), which have the values of
Molmo-7B-D. The high-resolution stage is from the paper's text. Examples are packed here, unlike in the authors' code;
an example's loss is the same.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from molmo_agent.errors import UnknownNameError


def _optimizer(vit: float, connector: float, llm: float, warmup: tuple[int, int, int]) -> dict[str, Any]:
    """Return AdamW with peaks and warm-up steps of tower, connector and decoder."""
    rates = zip(("vit", "connector", "llm"), (vit, connector, llm), warmup, strict=True)
    return {
        **{name: {"peak": peak, "warmup_steps": steps} for name, peak, steps in rates},
        "final": 0.1,
        "betas": [0.9, 0.95],
        "eps": 1e-6,
        "weight_decay": 0.0,
        "clip": 1.0,
        "z_loss": 1e-4,
    }


_COMMON = {
    "length": 2304,
    "max_crops": 12,
    "precision": "bf16",
    "activation_checkpointing": True,
    "seed": 6198,
    "checkpoint_every": 4000,
    "keep": 1,
}


def _pretrain(llm: float) -> dict[str, Any]:
    """Return the caption stage: four epochs of 712,000 images, prompts of style and length, no roles."""
    return {
        **_COMMON,
        "batch": 128,
        "steps": 22_300,
        "message_format": "none",
        "prefix": "length",
        "weighting": "one",
        # Only at the tokens of answers, so that captions depend on the image more than on their own beginning.
        "residual_dropout": 0.0,
        "answer_dropout": 0.1,
        "data_seed": 95_818,
        "optimizer": _optimizer(6e-6, 2e-4, llm, (2000, 200, 2000)),
    }


def _sft(vit: float, connector: float, llm: float, steps: int) -> dict[str, Any]:
    """Return the fine-tuning on the mixture: questions and answers with the tags of their styles."""
    return {
        **_COMMON,
        "batch": 256,
        "steps": steps,
        "message_format": "role",
        "prefix": "style",
        "weighting": "root",
        "residual_dropout": 0.1,
        "answer_dropout": 0.0,
        "data_seed": 50_189,
        "optimizer": _optimizer(vit, connector, llm, (200, 200, 200)),
    }


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "molmoe-1b/pretrain": _pretrain(llm=2e-5),
    "molmo-7b-o/pretrain": _pretrain(llm=2e-5),
    "molmo-7b-d/pretrain": _pretrain(llm=2e-5),
    "molmo-72b/pretrain": _pretrain(llm=1e-5),
    "molmoe-1b/sft": _sft(vit=5e-6, connector=5e-6, llm=2e-5, steps=30_000),
    "molmo-7b-o/sft": _sft(vit=5e-6, connector=5e-6, llm=1e-5, steps=32_000),
    "molmo-7b-d/sft": _sft(vit=5e-6, connector=5e-6, llm=1e-5, steps=30_000),
    "molmo-72b/sft": _sft(vit=3e-6, connector=3e-6, llm=5e-6, steps=20_000),
    # Another tenth of the steps, with three times the crops; 36 crops are up to 3956 tokens.
    "molmo-7b-d/high-res": {
        **_sft(vit=2e-6, connector=2e-6, llm=5e-6, steps=3000),
        "max_crops": 36,
        "length": 4096,
    },
}


def preset(name: str) -> dict[str, Any]:
    """Return a preset's config keys.

    Raises:
        UnknownNameError: the preset does not exist; the message suggests the closest names.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return deepcopy(dict(PRESETS[name]))


def merge_configs(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both, with the values of ``above`` for common keys; mappings are merged, lists replaced."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = merge_configs(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return both
