"""AndroidControl's steps by number: an index of positions; steps are read on demand (46 GB in all).

The shards are parsed once; later runs, other ranks and other splits use the index beside them. Steps whose click lies
outside the screenshot are left out: no model can learn or do them.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from molmo_agent.data.android_control.episodes import AndroidControl, AndroidStep, episode_of, located_episodes
from molmo_agent.data.formats.tfrecord import Mark, record_at
from molmo_agent.data.index_cache import remembered
from molmo_agent.data.unusable_rows import Problem, Problems

# Episodes that stay in memory; one has about 3 MB.
_MAX_EPISODES = 8
# Seconds of a scan that leaves an index: all but samples of the data set.
_SLOW_S = 1.0
# Increase it when a change of this package makes other records or steps usable.
_VERSION = 1


class AndroidIndex:
    """The steps of a reader's split, in its order.

    Args:
        reader: of a folder and a split.
    """

    def __init__(self, reader: AndroidControl) -> None:
        self.problems = Problems()
        self._shards = reader.shards
        # Resume points of compressed shards: from the scan, or collected while records are read.
        self._marks: list[list[Mark]] = [[] for _ in self._shards]
        self._locks = [Lock() for _ in self._shards]
        # Shard, offset of the episode's record, number of the step.
        self._places: list[tuple[int, int, int]] = []
        episodes, damage, off_screen = remembered(
            self._shards,
            name="android-control",
            version=_VERSION,
            scan=lambda: _scan(self._shards, self._marks),
            read=lambda found: _read(found, self._shards),
            slow_s=_SLOW_S,
        )
        self.problems.entries += damage
        self.problems.entries += [problem for episode, problem in off_screen if episode in reader.ids]
        for shard, offset, episode, steps in episodes:
            if episode in reader.ids:
                self._places += [(shard, offset, step) for step in steps]
        # The steps of an episode are often requested together.
        self._episode = lru_cache(_MAX_EPISODES)(self._read)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._places)

    def step(self, number: int) -> AndroidStep:
        """Return a step.

        Raises:
            ValueError: the file has changed.
        """
        shard, offset, step = self._places[number]
        steps = self._episode(shard, offset)
        if step >= len(steps):
            raise ValueError(f"{self._shards[shard].name} at byte {offset}: the episode has changed")
        return steps[step]

    def _read(self, shard: int, offset: int) -> list[AndroidStep]:
        with self._locks[shard]:
            payload = record_at(self._shards[shard], offset, self._marks[shard])
        return episode_of(payload)


def _scan(shards: Sequence[Path], marks: list[list[Mark]]) -> dict[str, Any]:
    """Return the usable steps of every episode, and all problems, as plain data; collect the marks."""
    problems, episode_ids = Problems(), set[int]()
    episodes: list[Any] = []
    off_screen: list[Any] = []
    for number, shard in enumerate(shards):
        for offset, steps in located_episodes(shard, problems, episode_ids, marks[number]):
            usable = []
            for step in steps:
                if reason := step.off_screen():
                    problem = Problem(file=shard.name, reason=reason, offset=offset, row=step.row)
                    off_screen.append([step.episode_id, asdict(problem)])
                else:
                    usable.append(step.number)
            if usable:
                episodes.append([number, offset, steps[0].episode_id, usable])
    return {"episodes": episodes, "damage": [asdict(p) for p in problems.entries], "off_screen": off_screen}


def _read(
    found: Any, shards: Sequence[Path]
) -> tuple[list[tuple[int, int, int, list[int]]], list[Problem], list[tuple[int, Problem]]]:
    """Check and convert what :func:`_scan` returned.

    Raises:
        ValueError, LookupError, TypeError: this is something else.
    """
    episodes = []
    for shard, offset, episode, steps in found["episodes"]:
        numbers = [shard, offset, episode, *steps]
        if not all(type(number) is int for number in numbers):
            raise TypeError("expected whole numbers")
        if not (0 <= shard < len(shards) and offset >= 0 and min(steps) >= 0):
            raise ValueError("a position is outside of the shards")
        episodes.append((shard, offset, episode, steps))
    return episodes, [Problem(**p) for p in found["damage"]], [(id_, Problem(**p)) for id_, p in found["off_screen"]]
