"""Load the weights of a checkpoint in any layout, and check that they are complete."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from molmo_agent.model.checkpoints.molmo_0924 import load_native, reading
from molmo_agent.model.checkpoints.untrusted import WHERE, check_checkpoint, check_fields
from molmo_agent.model.configuration import MolmoConfig
from molmo_agent.parse import read_yaml


def native_config(folder: Path) -> MolmoConfig:
    """Read the config of a folder of the authors' training code: ``config.yaml``, or a lone ``model.yaml``.

    Raises:
        ValueError: neither is there, or it describes no model.
        DataError: it is damaged.
    """
    for name in ("config.yaml", "model.yaml"):
        if (folder / name).is_file():
            written = read_yaml(folder / name)
            fields = written.get("model", written) if isinstance(written, dict) else None
            if isinstance(fields, dict) and "d_model" in fields:
                check_fields(fields, where=folder / name)
                config: MolmoConfig = MolmoConfig.from_dict(dict(fields))
                return config
            raise ValueError(f"expected {folder / name} to describe a model (d_model, n_layers, ...), but it does not")
    raise ValueError(f"expected config.yaml or model.yaml beside model.pt in {folder}, but neither is there")


def load(cls: type, parent: Callable[..., Any], source: Any, *args: Any, **kwargs: Any) -> Any:
    """Load a checkpoint with transformers' own ``from_pretrained`` (``parent``) and check that it is complete.

    Raises:
        ValueError: weights are missing, unknown or of the wrong shape.
    """
    wants_info = kwargs.pop("output_loading_info", False)
    config = kwargs.pop("config", None)
    folder = Path(source) if isinstance(source, str | Path) else None
    if folder is not None and (folder / "model.pt").is_file() and not (folder / "config.json").is_file():
        config = config or native_config(folder)
        kwargs["state_dict"], source = load_native(folder / "model.pt"), None
    elif source is not None:
        if config is None:
            where = {k: v for k, v in kwargs.items() if k in WHERE}
            check_checkpoint(source, types=("molmo",), **where)
            config = MolmoConfig.from_pretrained(source, trust_remote_code=False, **where)
        kwargs["use_safetensors"] = True
    kwargs["trust_remote_code"] = False
    # Wrong shapes are reported below, with the rest; left to transformers, their names are in a log only.
    kwargs["ignore_mismatched_sizes"] = True
    with reading(config, cls.__name__):
        model, info = parent(source, *args, config=config, output_loading_info=True, **kwargs)
    require_complete(
        missing=info["missing_keys"],
        unknown=info["unexpected_keys"],
        mismatched=info["mismatched_keys"],
        unreadable=info["error_msgs"],
    )
    model.config.checkpoint_layout = None
    return (model, info) if wants_info else model


def require_complete(
    *,
    missing: Collection[Any],
    unknown: Collection[Any],
    mismatched: Collection[Any],
    unreadable: Collection[Any] = (),
) -> None:
    """Check that weights are those of a model.

    Args:
        missing: names of weights that the checkpoint lacks.
        unknown: names that the model lacks.
        mismatched: (name, shape on disk, shape in the model).
        unreadable: messages.

    Raises:
        ValueError: any of these is not empty.
    """
    problems = [
        f"{what}: {', '.join(sorted(map(str, keys))[:5])}{', ...' if len(keys) > 5 else ''} ({len(keys)})"
        for what, keys in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape (name, found, expected)", mismatched),
            ("unreadable", unreadable),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f"expected the weights of exactly this model, but {'; '.join(problems)}. Is the download complete, "
            "and does the config belong to it?"
        )
