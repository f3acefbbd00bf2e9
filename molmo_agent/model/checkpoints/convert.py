"""Convert a checkpoint from one layout to another, bit for bit."""

from pathlib import Path
from typing import Literal

from molmo_agent.errors import ModelError, UsageError

Layout = Literal["own", "official"]


def convert(source: str, target: Path, layout: Layout, dtype: str = "auto") -> str:
    """Write a checkpoint in another layout; the weights are bit-identical, unless another dtype is requested.

    Args:
        source: a folder in any supported layout, or a name on the Hugging Face hub.
        target: a new or empty folder.
        layout: "own" for this package and the transformers Auto classes, "official" for what serves the released
            repositories.
        dtype: of the written weights; "auto" keeps the source's.

    Returns:
        What the user should know about the result; empty if nothing.

    Raises:
        UsageError: the target is not empty, or the layout is unknown.
        ModelError: the source cannot be read, or the layout cannot express it.
    """
    if layout not in ("own", "official"):
        raise UsageError(f"expected the layout own or official, got {layout!r}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"expected a new or empty folder to write to, but {target} exists and is not empty")
    from huggingface_hub import save_torch_state_dict

    from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
    from molmo_agent.model.checkpoints import molmo_0924 as official
    from molmo_agent.model.checkpoints.hub import places, remark
    from molmo_agent.model.checkpoints.released_files import write_config, write_processor

    try:
        model = MolmoForConditionalGeneration.from_pretrained(source, dtype=dtype, **places(source))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"cannot read the checkpoint {source!r}: {error}{remark(source)}") from error
    notes = []
    if layout == "own":
        model.save_pretrained(target)
    else:
        try:
            fields = official.official_config(model.config) | {"dtype": str(model.dtype).removeprefix("torch.")}
        except ValueError as error:
            raise ModelError(f"cannot write {source!r} in the official layout: {error}") from error
        target.mkdir(parents=True, exist_ok=True)
        weights = official.to_official(model)
        # Experts are slices of one tensor; a file wants each alone.
        whole = {k: v if v.untyped_storage().nbytes() == v.nbytes else v.clone() for k, v in weights.items()}
        save_torch_state_dict(whole, target)
        write_config(model, fields, target)
        if official.vision_fields(model.config):
            notes.append("its vision side is none that was released: servers of the released models cannot build it")
    try:
        processor = MolmoProcessor.from_pretrained(source, **places(source))
    except (OSError, ValueError, TypeError):
        notes.append("no tokenizer and image processor were found beside the weights: add them before it is used")
    else:
        if layout == "own":
            processor.save_pretrained(target)
        else:
            notes += write_processor(processor, model.config, target)
    return "; ".join(notes)
