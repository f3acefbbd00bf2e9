"""AndroidControl's steps by number: an index of positions; steps are read on demand (46 GB in all).

Steps whose click lies outside the screenshot are left out: no model can learn or do them.
"""

from functools import lru_cache

from molmo_agent.data.android_control.episodes import AndroidControl, AndroidStep, episode_of, located_episodes
from molmo_agent.data.formats.tfrecord import Mark, record_at
from molmo_agent.data.unusable_rows import Problem, Problems

# Episodes that stay in memory; one has about 3 MB.
_MAX_EPISODES = 8


class AndroidIndex:
    """The steps of a reader's split, in its order.

    Args:
        reader: of a folder and a split; all its shards are scanned once.
    """

    def __init__(self, reader: AndroidControl) -> None:
        self.problems = Problems()
        self._shards = reader.shards
        self._marks: list[list[Mark]] = []
        # Shard, offset of the episode's record, number of the step.
        self._places: list[tuple[int, int, int]] = []
        episode_ids: set[int] = set()
        for number, shard in enumerate(self._shards):
            self._marks.append([])
            for offset, steps in located_episodes(shard, self.problems, episode_ids, self._marks[number]):
                for step in steps if steps and steps[0].episode_id in reader.ids else ():
                    if reason := step.off_screen():
                        self.problems.add(Problem(file=shard.name, reason=reason, offset=offset, row=step.row))
                    else:
                        self._places.append((number, offset, step.number))
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
        return self._episode(shard, offset)[step]

    def _read(self, shard: int, offset: int) -> list[AndroidStep]:
        return episode_of(record_at(self._shards[shard], offset, self._marks[shard]))
