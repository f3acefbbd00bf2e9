"""Helpers of the file readers: paths and options from a recipe, JSON files, with clear errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_agent.data.source import Source
from molmo_agent.errors import DataError, UnknownNameError, UsageError
from molmo_agent.parse import read_json


def required_path(source: Source) -> Path:
    """Return the path of a data set.

    Raises:
        UsageError: the recipe gives no path.
    """
    if not source.path:
        raise UsageError(f"the data set {source.kind!r} needs a path; set it in the recipe, or with mixture.0.path=...")
    return Path(source.path)


def options_of(source: Source, defaults: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]] = {}) -> Any:
    """Return a source's options over their defaults, as a dictionary.

    Args:
        source: the data set.
        defaults: every option with its default.
        choices: the allowed values of options that have a fixed set.

    Raises:
        UnknownNameError: an option or its value does not exist.
    """
    for name in source.options:
        if name not in defaults:
            raise UnknownNameError(f"option of {source.kind!r}", name, defaults)
    options = {**defaults, **source.options}
    for name, allowed in choices.items():
        if options[name] not in allowed:
            raise UnknownNameError(f"{name} of {source.kind!r}", str(options[name]), [str(value) for value in allowed])
    return options


def json_file(path: Path) -> Any:
    """Return the contents of a JSON file.

    Raises:
        UsageError: the file is missing, is not JSON, or is beyond the bounds of :mod:`molmo_agent.parse`.
    """
    try:
        is_there = path.is_file()
    # A name that no file can have, from another file.
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        raise UsageError(f"expected a JSON file at {path}, found none")
    try:
        return read_json(path, nan=True)
    except DataError as error:
        raise UsageError(f"{error}; fetch it again") from error
