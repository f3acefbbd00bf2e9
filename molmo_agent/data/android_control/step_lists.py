"""Lists of AndroidControl's test steps: which steps a published number is about.

"all" are all steps of the split, which the field counts as 8,444 for the test. "os-atlas" are the 7,708 of OS-Atlas, in
its file ``ac_idx.txt`` beside the shards. Any other name is the path of such a file: a line ``episode_X_screenshot_Y``
for each step.
"""

import re
from pathlib import Path

from molmo_agent.data.unusable_rows import Problem
from molmo_agent.errors import UsageError
from molmo_agent.parse import decode, read_bounded

OS_ATLAS_FILE, OS_ATLAS_STEPS = "ac_idx.txt", 7708
_LINE = re.compile(r"episode_(\d{1,9})_screenshot_(\d{1,4})(?:\.png)?")


class StepList:
    """The steps that are asked.

    Args:
        folder: of the data set.
        name: "all", "os-atlas", or the path of a list.

    Raises:
        UsageError: the file is missing, or a line of it is no step.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._ids: set[tuple[int, int]] | None = None
        self._name, self._is_published = name, name == "os-atlas"
        if name == "all":
            return
        path = folder / OS_ATLAS_FILE if self._is_published else Path(name)
        if not path.is_file():
            more = f": fetch {OS_ATLAS_FILE} of OS-Atlas" if self._is_published else "; or name a list: all, os-atlas"
            raise UsageError(f"expected the list of steps at {path}, found none{more}")
        self._ids = set()
        for number, line in enumerate(decode(read_bounded(path), where=path).split("\n"), 1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise UsageError(
                    f"expected episode_X_screenshot_Y in line {number} of {path}, got {line.strip()[:60]!r}"
                )
            self._ids.add((int(match[1]), int(match[2])))

    def has(self, episode: int, step: int) -> bool:
        """Return whether a step is in the list."""
        return self._ids is None or (episode, step) in self._ids

    def missing(self, found: int) -> list[Problem]:
        """Return what to report after a whole pass that found some steps of the list."""
        problems = []
        if self._ids is not None and found < len(self._ids):
            reason = (
                f"{len(self._ids) - found} of its {len(self._ids)} steps are not among the usable ones of the split"
            )
            problems.append(Problem(file=self._name, reason=reason))
        if self._is_published and self._ids is not None and len(self._ids) != OS_ATLAS_STEPS:
            reason = f"expected the {OS_ATLAS_STEPS:,} published steps, got {len(self._ids):,}: another version?"
            problems.append(Problem(file=OS_ATLAS_FILE, reason=reason))
        return problems
