"""The pointing profile of a checkpoint: how it is asked, how it writes points, when to trust it. Loads no weights."""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from molmo_agent.errors import DataError, ModelError
from molmo_agent.files import write_whole
from molmo_agent.parse import load_json, read_bounded
from molmo_agent.point_text.parse import DIALECTS
from molmo_agent.pointers.calibration import Calibration
from molmo_agent.visible_text import visible_text

PROFILE_FILE = "pointing_profile.json"
_MAX_BYTES = 1_000_000
_MAX_TEXT = 2_000
# A side of a screen; windows overlap by a share of their size, so that one of a few pixels would never get across.
_MIN_SIDE_PX, _MAX_SIDE_PX = 64, 16_384
_MAX_CANVASES = 100
_MAX_TOKENS = 100_000
# A calibration that maps 1 % and 99 % to nearly the same says nothing, and a steeper one knows no doubt.
_LEAST_SPREAD, _MAX_SLOPE = 0.05, 100.0
_NAME = re.compile(r"[\w.-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointingProfile:
    """What a checkpoint's ``pointing_profile.json`` holds.

    Raises:
        ValueError: a field has a wrong type or a value that makes no sense; the message names it.
    """

    # The syntax of its replies, see molmo_agent.point_text.parse.
    dialect: str = "molmo"
    # How an instruction becomes the user's turn.
    question: str = "Point to {}"
    # How the turns of its training were written, and what stood before questions; see molmo_agent.model.prompts.asked.
    message_format: Literal["role", "none"] = "role"
    prefix: Literal["style", "tag", "length", "none"] = "style"
    # A longer reply is cut off, and then does not parse.
    max_new_tokens: int = 192
    # Only well-formed answers come out: the label is the instruction's, and the model decides nothing but whether there
    # is a point, how many, and where.
    constrained: bool = False
    # Makes a probability of a hit of the model's own confidence; None: its own confidence is reported.
    calibration: Calibration | None = None
    # The rest is for whoever acts on its points: see molmo_agent.interfaces.ModelTraits.
    min_confidence: float | None = None
    window: tuple[int, int] | None = None
    canvases: tuple[tuple[int, int], ...] = ()
    remark: str = ""
    policy: str | None = None
    form: str | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.constrained and self.dialect != "molmo":
            raise ValueError(f"constrained decoding knows the dialect 'molmo' only, got {self.dialect!r}")

    def write(self, folder: str | Path) -> Path:
        """Write the profile into a checkpoint's folder."""
        path = Path(folder) / PROFILE_FILE
        write_whole(path, json.dumps(asdict(self), indent=2) + "\n")
        return path


def read_profile(folder: str | Path, **changes: Any) -> PointingProfile:
    """Read the profile in a checkpoint's folder; the defaults where it has none.

    Args:
        folder: of the checkpoint; the name of one on a hub has no profile.
        changes: fields that replace those of the file.

    Raises:
        ModelError: the file is damaged.
    """
    path = Path(folder) / PROFILE_FILE
    if not path.exists():
        return PointingProfile(**changes)
    try:
        content = load_json(read_bounded(path, _MAX_BYTES), where=path)
        profile = PointingProfile(**_arguments(content))
    except (DataError, ValueError) as error:
        raise ModelError(
            f"expected {path} to hold the options of a pointing model as JSON, but {error}; correct or remove the field"
        ) from error
    return replace(profile, **changes)


def _arguments(content: Any) -> dict[str, Any]:
    """Return the arguments of a profile for the content of its file.

    Raises:
        ValueError: it is no object, has an unknown field, or a field of another type.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds {type(content).__name__}, no object")
    known = [field.name for field in fields(PointingProfile)]
    for name in content:
        if name not in known:
            raise ValueError(f"{visible_text(name)!r:.80} is none of its fields: {', '.join(known)}")
    arguments = dict(content)
    if arguments.get("calibration") is not None:
        if not isinstance(arguments["calibration"], dict):
            raise ValueError(f"'calibration' is {arguments['calibration']!r:.80}, not an object of slope and offset")
        arguments["calibration"] = Calibration.from_dict(arguments["calibration"])
    if isinstance(arguments.get("window"), list):
        arguments["window"] = tuple(arguments["window"])
    if isinstance(arguments.get("canvases"), list):
        arguments["canvases"] = tuple(tuple(c) if isinstance(c, list) else c for c in arguments["canvases"])
    return arguments


def _check(profile: PointingProfile) -> None:
    """Check the type and the range of every field.

    Raises:
        ValueError: one is wrong.
    """

    def require(name: str, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"{name!r} must be {what}, got {visible_text(repr(getattr(profile, name)))[:120]}")

    require(
        "dialect", isinstance(profile.dialect, str) and profile.dialect in DIALECTS, f"one of {', '.join(DIALECTS)}"
    )
    require("question", _takes_an_instruction(profile.question), "a text with {} once, for the instruction")
    for name, values in (("message_format", ("role", "none")), ("prefix", ("style", "tag", "length", "none"))):
        require(name, getattr(profile, name) in values, f"one of {', '.join(values)}")
    tokens = profile.max_new_tokens
    require("max_new_tokens", _is_int(tokens, 1, _MAX_TOKENS), f"a whole number from 1 to {_MAX_TOKENS}")
    require("constrained", isinstance(profile.constrained, bool), "true or false")
    threshold = profile.min_confidence
    is_share = isinstance(threshold, int | float) and not isinstance(threshold, bool) and 0 <= threshold <= 1
    require("min_confidence", threshold is None or is_share, "a number from 0 to 1, or null")
    sides = f"a width and a height from {_MIN_SIDE_PX} to {_MAX_SIDE_PX} px"
    require("window", profile.window is None or _is_size(profile.window), f"{sides}, or null")
    canvases = profile.canvases
    are_sizes = isinstance(canvases, tuple) and len(canvases) <= _MAX_CANVASES and all(map(_is_size, canvases))
    require("canvases", are_sizes, f"a list of at most {_MAX_CANVASES}, each {sides}")
    remark = profile.remark
    is_line = isinstance(remark, str) and len(remark) <= _MAX_TEXT and visible_text(remark) == remark
    require("remark", is_line, f"one line of at most {_MAX_TEXT} visible characters")
    for name in ("policy", "form"):
        value = getattr(profile, name)
        require(name, value is None or (isinstance(value, str) and bool(_NAME.fullmatch(value))), "a name, or null")
    line = profile.calibration
    if line is not None:
        spread = line.apply(0.99) - line.apply(0.01)
        makes_sense = spread >= _LEAST_SPREAD and line.slope <= _MAX_SLOPE
        require("calibration", makes_sense, "a line under which a confidence of 1 % and one of 99 % stay apart")


def _takes_an_instruction(question: Any) -> bool:
    """Return whether a text has one plain {}: other fields would read attributes, or fill the memory."""
    if not isinstance(question, str) or len(question) > _MAX_TEXT:
        return False
    try:
        places = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(question) if name is not None]
    except ValueError:
        return False
    return places == [("", "", None)]


def _is_int(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(_is_int(side, _MIN_SIDE_PX, _MAX_SIDE_PX) for side in value)
    )
