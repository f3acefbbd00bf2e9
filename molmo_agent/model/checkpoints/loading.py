"""Load the weights of a checkpoint in any layout, and check that they are complete."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from molmo_agent.model.checkpoints.molmo_0924 import load_native, reading
from molmo_agent.model.configuration import MolmoConfig

# What from_pretrained takes that says where files are, and that reading a config takes too.
_WHERE = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")


def native_config(folder: Path) -> MolmoConfig:
    """Read the config of a folder of the authors' training code: ``config.yaml``, or a lone ``model.yaml``.

    Raises:
        ValueError: neither is there, or it describes no model.
    """
    for name in ("config.yaml", "model.yaml"):
        if (folder / name).is_file():
            written = yaml.safe_load((folder / name).read_text())
            fields = written.get("model", written) if isinstance(written, dict) else None
            if isinstance(fields, dict) and "d_model" in fields:
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
    elif config is None and source is not None:
        refuse_other_models(source)
        config = MolmoConfig.from_pretrained(source, **{k: v for k, v in kwargs.items() if k in _WHERE})
    # Wrong shapes are reported below, with the rest; left to transformers, their names are in a log only.
    kwargs["ignore_mismatched_sizes"] = True
    with reading(config, cls.__name__):
        model, info = parent(source, *args, config=config, output_loading_info=True, **kwargs)
    problems = [
        f"{what}: {', '.join(sorted(map(str, keys))[:5])}{', ...' if len(keys) > 5 else ''} ({len(keys)})"
        for what, keys in (
            ("missing", info["missing_keys"]),
            ("unknown", info["unexpected_keys"]),
            ("of another shape (name, found, expected)", info["mismatched_keys"]),
            ("unreadable", info["error_msgs"]),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f"expected the weights of exactly this model, but {'; '.join(problems)}. Is the download complete, "
            "and does the config belong to it?"
        )
    model.config.checkpoint_layout = None
    return (model, info) if wants_info else model


def refuse_other_models(source: Any) -> None:
    """Reject a local folder with the checkpoint of another model.

    Raises:
        ValueError: its config names another kind of model.
    """
    path = Path(source) / "config.json"
    if path.is_file():
        kind = json.loads(path.read_text()).get("model_type")
        if kind not in (None, "molmo"):
            raise ValueError(
                f"expected a Molmo checkpoint (model_type molmo), got {kind!r}"
                + ("; molmo_agent.pointers.molmo2 reads that" if kind == "molmo2" else "")
            )
