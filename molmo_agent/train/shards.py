"""Read the sharded tensors of a checkpoint without running anything that is in them.

torch's distributed checkpoints describe their tensors in a pickle, ``.metadata``, and a pickle can call any function of
Python. Here it may only name the few classes that such a description consists of; the tensors themselves are read
with ``weights_only=True``, from files in the checkpoint's own folder.
"""

import io
import pathlib
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import metadata as description
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load
from torch.serialization import _get_layout

from molmo_agent.errors import DataError
from molmo_agent.parse import read_bounded

_FILE = ".metadata"
_MAX_BYTES = 64_000_000
_SHARD = re.compile(r"__\d+_\d+\.distcp")
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
# Paths are only kept as a note of where the checkpoint was written, maybe on another kind of system.
_PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_ALLOWED: dict[tuple[str, str], Any] = {
    **{("torch", name): value for name, value in _DTYPES.items()},
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): _get_layout,
    **{
        (description.__name__, kind.__name__): kind
        for kind in (
            *(description.ChunkStorageMetadata, description.Metadata, description.MetadataIndex),
            *(description.StorageMeta, description.TensorProperties, description.TensorStorageMetadata),
            description._MEM_FORMAT_ENCODING,
        )
    },
    (_StorageInfo.__module__, _StorageInfo.__name__): _StorageInfo,
    **{(module, name): pathlib.PurePosixPath for name in _PATHS for module in ("pathlib", "pathlib._local")},
}


def load_tensors(state: dict[str, torch.Tensor], checkpoint: Path) -> None:
    """Load a checkpoint into existing tensors of the same names and shapes. Every rank must call this.

    Raises:
        CheckpointException: the checkpoint is damaged, has other tensors, or its description holds something else.
    """
    reader = _Reader(str(checkpoint))
    load(state, storage_reader=reader, planner=_Planner(), no_dist=not dist.is_initialized())


def read_description(checkpoint: Path) -> description.Metadata:
    """Read the description of a checkpoint's tensors.

    Raises:
        DataError: it is damaged, or holds something else than names, shapes and places of tensors.
    """
    path = checkpoint / _FILE
    data = read_bounded(path, _MAX_BYTES)
    try:
        _check_places(data)
        content = _Unpickler(io.BytesIO(data)).load()
        _check(content)
    # A damaged pickle makes any function that it names fail in any way.
    except Exception as error:
        raise DataError(
            f"expected {path} to describe the tensors of a checkpoint and nothing else, but {error}"
        ) from error
    metadata: description.Metadata = content
    return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return one of the allowed classes.

        Raises:
            ValueError: any other; nothing of it is imported.
        """
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ValueError(f"it names {module}.{name}, which is none of its parts: do not use this run") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to other files.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"it refers to {pid!r:.80} outside of it")


def _check_places(data: bytes) -> None:
    """Reject a pickle that makes its reader reserve more memory than the pickle has bytes.

    Raises:
        ValueError: it does, or this is no pickle.
    """
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise ValueError(f"it has a place {argument} in {len(data)} bytes")


def _check(content: Any) -> None:
    """Check what the unpickler cannot: only tensors, only in shards of this folder.

    Raises:
        ValueError: something else.
    """
    tensors, places = content.state_dict_metadata, content.storage_data
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, description.TensorStorageMetadata):
            raise ValueError(f"{name!r:.80} is no tensor")
    for index, place in places.items():
        if not isinstance(index, description.MetadataIndex) or not isinstance(place, _StorageInfo):
            raise ValueError(f"{index!r:.80} is no place of a tensor")
        if not isinstance(place.relative_path, str) or not _SHARD.fullmatch(place.relative_path):
            raise ValueError(f"a tensor is in {place.relative_path!r:.80}, which is no shard of this checkpoint")
        if place.transform_descriptors:
            raise ValueError(f"a tensor is encoded with {place.transform_descriptors!r:.80}")


class _Reader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> description.Metadata:
        """Read the description with the allowed classes only."""
        content = read_description(Path(str(self.path)))
        content.storage_meta = description.StorageMeta(load_id=self.load_id)
        return content


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Refuse what is no tensor: torch would unpickle it.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"expected tensors only, got bytes as {read_item.dest_index.fqn!r}")
