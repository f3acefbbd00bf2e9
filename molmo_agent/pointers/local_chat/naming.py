"""What the name of a local checkpoint declares: ``SOURCE`` or ``SOURCE#MODEL?dialect=qwen&scale=1000``.

As for served models, how a model writes points follows from its generation or is declared; it is never guessed.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from molmo_agent.errors import UsageError
from molmo_agent.model.checkpoints.hub import places
from molmo_agent.model.checkpoints.untrusted import check_configs
from molmo_agent.point_text.parse import DIALECTS
from molmo_agent.pointers.local_chat.pointer import HOW_IT_ASKS
from molmo_agent.pointers.local_chat.qwen import TYPES, check_generation
from molmo_agent.pointers.served.families import Profile, profile_of, read_scale

OPTIONS = ("dialect", "scale", "max_pixels")
"""What can be declared behind the name of a local chat model."""


def split_name(name: str) -> tuple[str, str]:
    """Return (source, what is declared behind it); a folder may have a ``#`` in its name."""
    if Path(name).exists():
        return name, ""
    source, _, declared = name.partition("#")
    return source, declared


def model_type_of(source: str | Path) -> str | None:
    """Return the model_type of a checkpoint's config; None if it names none.

    Raises:
        OSError, ValueError: the files cannot be read, or ask for what this package does not accept.
    """
    kind = (check_configs(source, types=None, **places(source)) or {}).get("model_type")
    return kind if isinstance(kind, str) else None


def profile_of_checkpoint(source: str | Path, declared: str, model_type: str) -> Profile:
    """Return how a checkpoint of Qwen-VL's classes is asked, and how it writes points.

    Args:
        source: a folder, or the name of a checkpoint on the hub; its last part is the model's name.
        declared: what stands behind it, such as ``Qwen3-VL`` or ``?dialect=gui&scale=1000``.
        model_type: of its config.

    Raises:
        UsageError: neither says how the model writes points, or what they say does not fit the config.
    """
    model, _, query = declared.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := [name for name in options if name not in OPTIONS]:
        raise UsageError(f"expected the options {', '.join(OPTIONS)} behind the checkpoint, got {unknown[0]!r}")
    pixels = options.get("max_pixels", "")
    if "max_pixels" in options and not (pixels.isascii() and pixels.isdigit() and 0 < int(pixels) < 10**9):
        raise UsageError(f"expected max_pixels= with a whole number, got {pixels!r}")
    model = model or Path(source).name
    scale = read_scale(options["scale"]) if "scale" in options else None
    if scale is None and "dialect" not in options:
        check_generation(model, model_type)
    return profile_of(model, options.get("dialect"), scale, int(pixels) if pixels else None)


def how_asked(name: str) -> dict[str, Any] | None:
    """Return what decides whether a local chat model's scores can be reproduced, ready for JSON; None for others.

    These are the order of image and text, the system prompt, the temperature, the pixels that are sent, and the
    coordinates of its points, with the wording of a question about a point.

    Raises:
        UsageError: see :func:`profile_of_checkpoint`.
    """
    source, declared = split_name(name)
    try:
        kind = model_type_of(source)
    except (OSError, ValueError):  # reported by whoever loads it
        return None
    if kind == "molmo2":
        profile = Profile(dialect="molmo2")
    elif kind in TYPES:
        profile = profile_of_checkpoint(source, declared, kind)
    else:
        return None
    coordinates = profile.scale or DIALECTS[profile.dialect].scales[0]
    return {
        **HOW_IT_ASKS,
        "pixels": asdict(profile.limits) if profile.limits else "as they are",
        "coordinates": "pixels that the model sees" if profile.in_pixels else f"0 to {coordinates}",
        "dialect": profile.dialect,
        "question": profile.question,
        "style_tags": profile.dialect in ("molmo", "molmo2"),
    }
