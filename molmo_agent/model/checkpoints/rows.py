"""Read rows of a checkpoint's weights without the rest: for ranks that hold a shard of a model that fits nowhere whole.

The names are those of the model, whatever the layout on disk. transformers' conversion table does the renaming; its
operations work on whole tensors, and are replaced here by their effect on rows (the first dimension).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    Split,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
)

from molmo_agent.model.checkpoints.hub import places
from molmo_agent.model.checkpoints.loading import native_config, require_complete
from molmo_agent.model.checkpoints.molmo_0924 import FoldPatches, load_native, reading
from molmo_agent.model.checkpoints.untrusted import check_checkpoint
from molmo_agent.model.configuration import MolmoConfig


@dataclass(frozen=True, slots=True)
class Rows:
    """A weight on disk.

    ``read(start, stop)`` returns these rows only, on the CPU, in the precision of the file.
    """

    shape: tuple[int, ...]
    read: Callable[[int, int], Tensor]


def local_folder(source: str) -> Path:
    """Return the folder of a checkpoint; one on the Hugging Face hub is downloaded first (configs and safetensors).

    Raises:
        OSError: it is neither a folder nor on the hub.
    """
    if Path(source).exists():
        return Path(source)
    from huggingface_hub import snapshot_download

    local_only = places(source).get("local_files_only", False)
    return Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors"], local_files_only=local_only))


def read_config(folder: Path) -> MolmoConfig:
    """Return the config of a checkpoint after checking all of its files.

    Raises:
        ValueError: a file is damaged, or asks for code, kernels or sizes that are not accepted.
        OSError: a file is missing.
    """
    if _is_native(folder):
        return native_config(folder)
    check_checkpoint(folder, types=("molmo",))
    config: MolmoConfig = MolmoConfig.from_pretrained(folder, trust_remote_code=False)
    return config


def _is_native(folder: Path) -> bool:
    return (folder / "model.pt").is_file() and not (folder / "config.json").is_file()


@contextmanager
def open_rows(folder: Path, model: Any) -> Iterator[Mapping[str, Rows]]:
    """Open the weights of a checkpoint by the model's names; they can be read until the context ends.

    Args:
        folder: of the checkpoint.
        model: built from :func:`read_config`, on any device; only names and shapes are used.

    Raises:
        ValueError: weights are missing, unknown or of another shape, or a file is damaged.
        OSError: a file is missing.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    with ExitStack() as files:
        stored = _native_rows(folder) if _is_native(folder) else _stored_rows(folder, files)
        with reading(model.config, type(model).__name__):
            table = get_model_conversion_mapping(model)
        rows = _convert(stored, table, shapes)
        require_complete(
            missing=shapes.keys() - rows.keys(),
            unknown=rows.keys() - shapes.keys(),
            mismatched=[(n, r.shape, shapes[n]) for n, r in rows.items() if n in shapes and r.shape != shapes[n]],
        )
        yield rows


def _native_rows(folder: Path) -> dict[str, Rows]:
    """Return the weights of the authors' training code, which are mapped into memory."""

    def rows(tensor: Tensor) -> Rows:
        return Rows(tuple(tensor.shape), lambda start, stop: tensor[start:stop])

    return {name: rows(tensor) for name, tensor in load_native(folder / "model.pt").items()}


def _stored_rows(folder: Path, files: ExitStack) -> dict[str, Rows]:
    """Return the weights of all safetensors files of a folder by their names on disk."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        from molmo_agent.parse import read_json

        names = sorted(set(read_json(index)["weight_map"].values()))
    else:
        names = ["model.safetensors"]

    def rows(piece: Any) -> Rows:
        return Rows(tuple(piece.get_shape()), lambda start, stop: piece[start:stop])

    stored = {}
    for name in names:
        try:
            file = files.enter_context(safe_open(folder / name, framework="pt"))
        except SafetensorError as error:
            raise ValueError(f"{folder / name} is cut off or damaged ({error}): get it again") from error
        for key in file.keys():  # noqa: SIM118 (no mapping)
            stored[key] = rows(file.get_slice(key))
    return stored


def _convert(stored: Mapping[str, Rows], table: list[Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Rows]:
    """Return the weights under the model's names; those without one keep their own name."""
    renamings = [entry for entry in table if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in table if isinstance(entry, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    rows: dict[str, Rows] = {}
    # Experts are stored one by one: their pieces by the name of the merged weight and the pattern of the piece.
    experts: dict[str, dict[str, dict[int, Rows]]] = defaultdict(lambda: defaultdict(dict))
    for key, piece in stored.items():
        name, pattern = rename_source_key(key, renamings, converters, "model", dict(shapes))
        if pattern is None or name not in shapes:
            rows[key if name not in shapes and key in shapes else name] = piece
            continue
        converter = by_pattern[pattern]
        operations = [type(operation) for operation in converter.operations]
        if operations == [Split]:
            first, *_ = converter.target_patterns
            names = [name.replace(first, target) for target in converter.target_patterns]
            rows |= _split(piece, names, shapes)
        elif operations == [FoldPatches]:
            rows[name] = _folded(piece, converter.operations[0])
        elif operations in ([MergeModulelist], [MergeModulelist, Concatenate]):
            number = int(re.findall(r"experts\.(\d+)\.", key)[-1])
            experts[name][pattern][number] = piece
        else:
            raise ValueError(
                f"expected weights that can be read by rows, but {key} needs {[kind.__name__ for kind in operations]}; "
                "set sharding=none"
            )
    for name, pieces in experts.items():
        order = next(c.source_patterns for c in converters if set(pieces) <= set(c.source_patterns))
        rows[name] = _merged([pieces[pattern] for pattern in order])
    return rows


def _split(piece: Rows, names: list[str], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Rows]:
    """Return the weights that are stored one below the other."""

    def part(offset: int, length: int) -> Rows:
        return Rows((length, *piece.shape[1:]), lambda start, stop: piece.read(offset + start, offset + stop))

    parts, offset = {}, 0
    for name in names:
        # The last one takes what is left, so that a wrong total shows in its shape.
        length = piece.shape[0] - offset if name == names[-1] else shapes[name][0]
        parts[name] = part(offset, length)
        offset += length
    return parts


def _folded(piece: Rows, operation: Any) -> Rows:
    """Return a patch embedding as a convolution kernel."""

    def fold(rows: Tensor) -> Tensor:
        (kernel,) = operation.convert({"": rows}, [], ["kernel"]).values()
        return kernel

    return Rows(tuple(fold(torch.empty(piece.shape, device="meta")).shape), lambda a, b: fold(piece.read(a, b)))


def _merged(pieces: list[Mapping[int, Rows]]) -> Rows:
    """Return experts as one weight: a row is an expert, its pieces one below the other."""
    first = pieces[0][0]
    height = sum(piece[0].shape[0] for piece in pieces)

    def read(start: int, stop: int) -> Tensor:
        experts = [torch.cat([piece[n].read(0, piece[n].shape[0]) for piece in pieces]) for n in range(start, stop)]
        return torch.stack(experts) if experts else torch.empty(0, height, *first.shape[1:])

    return Rows((len(pieces[0]), height, *first.shape[1:]), read)
