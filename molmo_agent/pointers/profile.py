"""The pointing profile of a checkpoint: how it is asked, how it writes points, when to trust it. Loads no weights."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from molmo_agent.errors import ModelError
from molmo_agent.pointers.calibration import Calibration

PROFILE_FILE = "pointing_profile.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointingProfile:
    """What a checkpoint's ``pointing_profile.json`` holds.

    Raises:
        ValueError: constrained decoding of a dialect that it does not know.
    """

    # The syntax of its replies, see molmo_agent.point_text.parse.
    dialect: str = "molmo"
    # How an instruction becomes the user's turn.
    question: str = "Point to {}"
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
        if self.constrained and self.dialect != "molmo":
            raise ValueError(f"constrained decoding knows the dialect 'molmo' only, got {self.dialect!r}")

    def write(self, folder: str | Path) -> Path:
        """Write the profile into a checkpoint's folder."""
        path = Path(folder) / PROFILE_FILE
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
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
    if not path.is_file():
        return PointingProfile(**changes)
    try:
        fields: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        if fields.get("calibration") is not None:
            fields["calibration"] = Calibration.from_dict(fields["calibration"])
        if fields.get("window") is not None:
            width, height = map(int, fields["window"])
            fields["window"] = width, height
        fields["canvases"] = tuple((int(width), int(height)) for width, height in fields.get("canvases", ()))
        profile = PointingProfile(**fields)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"expected {path} to hold the options of a pointing model as JSON, but {error}; remove a damaged "
            "window, or a calibration, and fit one: python -m molmo_agent.nano.calibrate"
        ) from error
    return replace(profile, **changes)
