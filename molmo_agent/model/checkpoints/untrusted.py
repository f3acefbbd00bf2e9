"""Check a checkpoint of somebody else before transformers reads it: nothing in it may choose what code runs.

transformers asks "run the custom code? [y/N]" where a config names code (``auto_map``), downloads compiled kernels
where it names some as its attention, and builds seven billion weights for a config that names no sizes. Whatever this
module does not know is refused, with the file and the field:

    code          ``auto_map`` counts for nothing in the configs of models that this package has classes for; elsewhere
                  it is refused
    kernels       attention and experts by one of transformers' own names only; no kernel fields
    quantization  bitsandbytes only; other methods bring code or kernels of their own
    sizes         whole numbers within bounds, named for both parts of the model, and no larger than the weights
    weights       whole safetensors files beside the config; pickles (.bin, .pt) are refused, and adapters, for which
                  transformers gets the model that they name from elsewhere
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError
from molmo_agent.model.checkpoints.released_config import is_official
from molmo_agent.parse import decode, load_json, open_regular, read_bounded
from molmo_agent.visible_text import visible_text

OWN_TYPES = ("molmo", "molmo2")
"""The values of ``model_type`` that this package loads."""

WHERE = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")
"""What ``from_pretrained`` takes that says where files are."""

CONFIG = "config.json"
# Where a model of the authors' training code has its config.
_NATIVE = ("config.yaml", "model.yaml")
_CONFIGS = (CONFIG, "generation_config.json", "processor_config.json", "preprocessor_config.json")
_ADAPTER = "adapter_config.json"
_TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
_INDEX = "model.safetensors.index.json"
_MAX_CONFIG_BYTES, _MAX_TOKENIZER_BYTES, _MAX_TEMPLATE = 16_000_000, 200_000_000, 200_000
_ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
_EXPERTS = (None, "eager", "batched_mm", "grouped_mm")
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("_attn_implementation", "attn_implementation", "_attn_implementation_internal"), _ATTENTION),
    **dict.fromkeys(("_experts_implementation", "experts_implementation"), _EXPERTS),
    **dict.fromkeys(("use_kernels", "kernel_config", "trust_remote_code", "custom_generate"), (None, False)),
    "quant_method": ("bitsandbytes",),
    **dict.fromkeys(("dtype", "torch_dtype"), (None, "auto", "float32", "float16", "bfloat16", "float64")),
}
# A size may be at most this: the largest models have 200 layers, a width of 20,000 and 500,000 words.
_LIMITS = {
    **{"layers": 1_000, "depth": 1_000, "heads": 10_000, "experts": 10_000, "size": 10_000_000, "vocab": 10_000_000},
    # transformers makes a name for each label, and the grid of crops is chosen among all with so many.
    **{"labels": 100_000, "crops": 1_000},
}
_SIZE = re.compile(
    r"depth|embed_dim|n_layers|n_heads|n_kv_heads|d_model|mlp_hidden_size|embedding_size|vocab_size|additional_vocab_size|"
    r"max_crops|num_labels|(num|image_num)_\w*(layers|heads|experts)|\w*(hidden|intermediate|pooling|patch|image)_size|moe_num_experts"
)
_LFS = b"version https://git-lfs.github.com/"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def check_checkpoint(source: Any, *, types: Sequence[str] = OWN_TYPES, **options: Any) -> dict[str, Any]:
    """Check all files of a checkpoint and return the fields of its config; empty for one of the training code.

    Args:
        source: a folder, or a name on the Hugging Face hub, of which only the configs are fetched here.
        types: the values of ``model_type`` to accept.
        options: where to look, as for ``from_pretrained``.

    Raises:
        ValueError: a file is damaged, or asks for code, kernels or sizes that this package does not accept.
        OSError: a file is missing, or the hub refuses.
    """
    fields = check_configs(source, types=types, **options)
    folder = Path(source)
    try:
        if fields is None:
            if not any((folder / name).is_file() for name in _NATIVE):
                raise FileNotFoundError(_no_config(source, options))
        elif folder.is_dir():
            _check_size(folder, fields, _count_weights(folder))
    except DataError as error:
        raise ValueError(str(error)) from error
    return fields or {}


def check_configs(source: Any, *, types: Sequence[str] | None = OWN_TYPES, **options: Any) -> dict[str, Any] | None:
    """Check the configs and tokenizer files of a checkpoint and return the fields of config.json; None without one.

    Args:
        source: a folder, or a name on the Hugging Face hub.
        types: the values of ``model_type`` to accept; None: all that transformers has classes for.
        options: where to look, as for ``from_pretrained``.

    Raises:
        ValueError: a file is damaged, or asks for code, kernels or sizes that this package does not accept.
        OSError: the hub refuses.
    """
    try:
        for name in (*_TOKENIZER, "chat_template.jinja"):
            if (path := _find(source, name, options)) is not None:
                _check_tokenizer_file(path)
        configs = {name: _read(path) for name in _CONFIGS if (path := _find(source, name, options)) is not None}
    except DataError as error:
        raise ValueError(str(error)) from error
    for name, content in configs.items():
        check_fields(content, where=Path(source) / name)
    fields = configs.get(CONFIG)
    if fields is None:
        return None
    if (adapter := _find(source, _ADAPTER, options)) is not None:
        raise ValueError(_of_adapter(source, adapter))
    where, kind, code = Path(source) / CONFIG, fields.get("model_type"), fields.get("auto_map")
    if types is None:
        from transformers import CONFIG_MAPPING

        is_known = not code or kind in CONFIG_MAPPING
    else:
        is_known = kind is None or kind in types
    if not is_known:
        what = "a Molmo checkpoint" if types == OWN_TYPES else "a checkpoint"
        wanted = f"{what} (model_type {' or '.join(types)})" if types else "a model that transformers knows"
        added = f"; it names code to run ({_quoted(code)}), and this package runs none" if code else ""
        hint = "; molmo_agent.pointers.molmo2 loads it" if kind == "molmo2" else ""
        raise ValueError(f"expected {wanted} in {where}, got {_quoted(kind)}{added}{hint}")
    if types:
        _check_config(where, fields)
    return fields


def check_fields(fields: Mapping[str, Any], *, where: Path) -> None:
    """Check the fields of a config at every depth.

    Raises:
        ValueError: one asks for code, kernels or sizes that this package does not accept.
    """
    for path, value in _fields(fields):
        _check_field(where, path, value)


def _find(source: Any, name: str, options: Mapping[str, Any]) -> Path | None:
    folder = Path(source)
    if folder.is_dir():
        path = folder / str(options.get("subfolder") or "") / name
        return path if path.exists() or path.is_symlink() else None
    from transformers.utils import cached_file

    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
    cached = cached_file(str(source), name, **{k: v for k, v in options.items() if k in WHERE}, **quiet)
    return Path(cached) if cached else None


def _read(path: Path, limit: int = _MAX_CONFIG_BYTES) -> dict[str, Any]:
    data = read_bounded(path, limit)
    _refuse_pointer(path, data)
    fields = load_json(data, where=path, nan=True)
    if not isinstance(fields, dict):
        raise ValueError(f"expected {path} to hold an object, got {type(fields).__name__}")
    return fields


def _refuse_pointer(path: Path, start: bytes) -> None:
    if start.startswith(_LFS):
        raise ValueError(f"{path} is a pointer of git-lfs, not the file itself: run 'git lfs pull' in its folder")
    if not start:
        raise ValueError(f"{path} is empty: is the download complete?")


def _no_config(source: Any, options: Mapping[str, Any]) -> str:
    adapter = _find(source, _ADAPTER, options)
    if adapter is not None:
        return _of_adapter(source, adapter)
    return f"expected {Path(source) / CONFIG}, but there is none: nothing says which model the weights belong to"


def _of_adapter(source: Any, adapter: Path) -> str:
    base = _read(adapter).get("base_model_name_or_path")
    return (
        f"expected {source} to hold a model, got an adapter ({_ADAPTER}) of {_quoted(base)}: load that "
        "model, merge the adapter with PEFT's merge_and_unload and save the result"
    )


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field at every depth by its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = f"{name}.{key}" if name else str(key)
            yield path, inner
            yield from _fields(inner, path)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _fields(inner, f"{name}[{number}]")


def _check_field(where: Path, path: str, value: Any) -> None:
    key = path.rpartition(".")[2]
    if key in _CHOICES:
        values = list(value.values()) if isinstance(value, Mapping) else [value]
        for one in values:
            if not any(one is known or (one == known and type(one) is type(known)) for known in _CHOICES[key]):
                known = ", ".join(map(repr, _CHOICES[key]))
                raise ValueError(f"expected {path!r} in {where} to be one of {known}, got {_quoted(one)}")
    elif key == "quantization_config" and value is not None:
        method = value.get("quant_method") if isinstance(value, Mapping) else value
        if method != "bitsandbytes":
            raise ValueError(
                f"expected {path!r} in {where} to be of quant_method 'bitsandbytes', got {_quoted(method)}"
            )
    elif key == "auto_map" and "." in path:
        raise ValueError(f"{path!r} in {where} names code to run ({_quoted(value)}); this package runs none")
    elif key == "chat_template" and len(str(value)) > _MAX_TEMPLATE:
        raise ValueError(f"expected {path!r} in {where} to have at most {_MAX_TEMPLATE} characters")
    elif key == "vit_layers":
        if not isinstance(value, list) or not 1 <= len(value) <= 100 or any(type(block) is not int for block in value):
            raise ValueError(f"expected {path!r} in {where} to list 1 to 100 blocks by number, got {_quoted(value)}")
    elif key.endswith("hidden_act") and value is not None:
        from transformers.activations import ACT2FN

        if not isinstance(value, str) or value not in ACT2FN:
            raise ValueError(f"expected {path!r} in {where} to be an activation of transformers, got {_quoted(value)}")
    # Encoders of images have kinds of their own.
    elif key == "rope_type" and value is not None and not path.startswith("vision_config."):
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        if not isinstance(value, str) or value not in {*ROPE_INIT_FUNCTIONS, "default", "mrope"}:
            raise ValueError(f"expected {path!r} in {where} to be a kind that transformers has, got {_quoted(value)}")
    elif _SIZE.fullmatch(key) and value is not None:
        _check_number(where, path, value)


def _check_number(where: Path, path: str, value: Any) -> None:
    limit = next(limit for word, limit in (*_LIMITS.items(), ("", _LIMITS["size"])) if word in path.rpartition(".")[2])
    # Images and patches may have a size per side.
    sides = isinstance(value, list) and len(value) == 2 and path.endswith(("image_size", "patch_size"))
    for number in value if sides else [value]:
        least = 0 if path.endswith(("additional_vocab_size", "experts", "pooling_size")) else 1
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= limit:
            raise ValueError(
                f"expected {path!r} in {where} to be a whole number from {least} to {limit}, got {_quoted(number)}"
            )


def _check_config(where: Path, fields: Mapping[str, Any]) -> None:
    if fields.get("model_type") not in (None, "molmo"):
        # transformers has the sizes that its own classes' configs may leave out.
        return
    if is_official(fields):
        wanted: tuple[tuple[str, ...], ...] = (("hidden_size", "d_model"), ("num_attention_heads", "n_heads"))
        wanted += (("num_hidden_layers", "n_layers"), ("vocab_size",))
        for names in wanted:
            if all(fields.get(name) is None for name in names):
                raise ValueError(f"expected {names[0]!r} in {where}, but it is missing")
        return
    for part in ("vision_config", "text_config"):
        inner = fields.get(part)
        if not isinstance(inner, Mapping):
            raise ValueError(
                f"expected {part!r} in {where} to hold the sizes of that part of the model, got {_quoted(inner)}"
            )
        # DINOv2 names the width of its blocks as a multiple of its own.
        width = "mlp_ratio" if inner.get("model_type") == "dinov2" else "intermediate_size"
        for name in ("model_type", "hidden_size", width, "num_hidden_layers", "num_attention_heads"):
            if inner.get(name) is None:
                raise ValueError(f"expected '{part}.{name}' in {where}, but it is missing")
    if fields["text_config"].get("vocab_size") is None:
        raise ValueError(f"expected 'text_config.vocab_size' in {where}, but it is missing")


def _check_tokenizer_file(path: Path) -> None:
    """Check a file of the tokenizer.

    Raises:
        ValueError: it is damaged, or names code.
        DataError: it cannot be read.
    """
    if path.suffix == ".jinja":
        data = read_bounded(path, _MAX_TEMPLATE)
        _refuse_pointer(path, data)
        decode(data, where=path)
        return
    if path.name == "tokenizer.json":
        parts = _read(path, _MAX_TOKENIZER_BYTES)
        if not isinstance(parts.get("model"), Mapping) or not isinstance(parts.get("added_tokens"), list):
            raise ValueError(f"expected {path} to hold a tokenizer with 'model' and 'added_tokens'; is it complete?")
        return
    fields = _read(path)
    code = fields.get("auto_map")
    # The released models name a processor of their own, in whose place this package has its class.
    if code and (not isinstance(code, Mapping) or set(code) - {"AutoProcessor", "AutoImageProcessor"}):
        raise ValueError(f"'auto_map' in {path} names code to run ({_quoted(code)}); this package runs none")
    name = fields.get("tokenizer_class")
    if name is not None and (not isinstance(name, str) or not name.isidentifier()):
        raise ValueError(f"expected 'tokenizer_class' in {path} to be the name of a class, got {_quoted(name)}")
    if len(str(fields.get("chat_template", ""))) > _MAX_TEMPLATE:
        raise ValueError(f"expected 'chat_template' in {path} to have at most {_MAX_TEMPLATE} characters")


def _count_weights(folder: Path) -> int:
    """Check the weight files of a folder and return the number of weights in them.

    Raises:
        ValueError: one is damaged, a pickle, or outside of the folder.
        FileNotFoundError: one is missing.
    """
    index, single = folder / _INDEX, folder / "model.safetensors"
    # transformers prefers the single file.
    if single.exists() or single.is_symlink():
        names = [single.name]
    elif index.exists():
        table = _read(index).get("weight_map")
        if not isinstance(table, Mapping) or not table:
            raise ValueError(f"expected 'weight_map' in {index} to name the file of each weight, got {_quoted(table)}")
        for name in table.values():
            if (
                not isinstance(name, str)
                or Path(name).name != name
                or "\\" in name
                or not name.endswith(".safetensors")
            ):
                raise ValueError(
                    f"expected 'weight_map' in {index} to name safetensors files beside it, got {_quoted(name)}"
                )
        names = sorted(set(table.values()))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"{index} names {len(missing)} missing files, {missing[0]} among them: is the download complete?"
            )
    else:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ValueError(
                f"expected weights in safetensors files, got {pickles[0]} in {folder}: reading such a file can "
                "run code; convert it to safetensors (safetensors.torch.save_file) where you trust it"
            )
        raise FileNotFoundError(f"expected weights in {single}, but there are none: is the download complete?")
    return sum(_count_file(folder / name) for name in names)


def _start(path: Path) -> bytes:
    """Return the first bytes of a regular file."""
    with open_regular(path) as file:
        start: bytes = file.read(100)
    return start


def _count_file(path: Path) -> int:
    from safetensors import SafetensorError, safe_open

    _refuse_pointer(path, _start(path))
    count = 0
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                size = 1
                for length in file.get_slice(name).get_shape():
                    size *= length
                count += size
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is cut off or damaged ({visible_text(str(error))}), with {path.stat().st_size} bytes: get it again"
        ) from error
    return count


def _check_size(folder: Path, fields: Mapping[str, Any], weights: int) -> None:
    """Reject a config of a much larger model than the weights: building it would exhaust the memory.

    Raises:
        ValueError: decoder and vision tower have several times as many weights as there are.
    """
    # Some write the decoder's sizes without a part of their own.
    text: Mapping[str, Any] = fields if is_official(fields) else fields.get("text_config") or fields
    width = text.get("hidden_size") or text.get("d_model") or 0
    layers = text.get("num_hidden_layers") or text.get("n_layers") or 0
    inner = text.get("intermediate_size") or text.get("mlp_hidden_size") or 0
    described = width * (text.get("vocab_size") or 0) + layers * width * (width + inner)
    vision = fields.get("vision_config")
    if isinstance(vision, Mapping):
        width, inner = vision.get("embed_dim") or vision.get("hidden_size") or 0, vision.get("intermediate_size") or 0
        patches = _largest(vision.get("image_size")) // max(_largest(vision.get("patch_size")), 1)
        described += width * (
            patches**2 + (vision.get("num_hidden_layers") or vision.get("depth") or 0) * (width + inner)
        )
    # Four bits are stored two to a byte.
    if weights and described > 5 * weights + 50_000_000:
        raise ValueError(
            f"{folder / CONFIG} describes a model of about {described / 1e9:.1f} billion weights, but the files "
            f"beside it have {weights / 1e9:.3f}: does the config belong to them?"
        )


def _largest(size: Any) -> int:
    """Return the larger side of a size that may be one number, two, or missing."""
    numbers = size if isinstance(size, list) else [size]
    return max((number for number in numbers if isinstance(number, int)), default=0)


def _quoted(value: Any) -> str:
    text = visible_text(repr(value))
    return text if len(text) <= 120 else text[:117] + "..."
