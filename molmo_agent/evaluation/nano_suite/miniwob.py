"""Run a pointing model on MiniWoB++'s click tasks in Chromium: training tasks and hold-out tasks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from typing import Any

from molmo_agent.envs.web.miniwob import MiniWob
from molmo_agent.episode import Observation
from molmo_agent.interfaces import Env, PointingModel, Policy
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.batch import BatchConfig, roll_out
from molmo_agent.rollout.guards import Guards
from molmo_agent.synthetic.miniwob_split import LISTS, SEED, task_lists

MAX_STEPS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeOutcome:
    """One episode."""

    list: str
    task: str
    seed: int
    instruction: str
    success: bool
    ended: str


def make_miniwob() -> MiniWob:
    """Make the env with one image pixel per CSS pixel, 160 x 210, the benchmark's usual size."""
    return MiniWob(scale=1)


class _Rounds:
    """An env whose episodes cycle through tasks in one browser, each with the next seed."""

    def __init__(self, env: Any, tasks: Sequence[str]) -> None:
        self._env, self._tasks = env, zip(cycle(tasks), count(SEED), strict=False)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        task, its_seed = next(self._tasks)
        return self._env.reset(seed=its_seed, options={**(options or {}), "task": task})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


def _rounds(make_env: Callable[[], Any], tasks: Sequence[str]) -> Any:
    return _Rounds(make_env(), tasks)


def play(
    model: PointingModel | None, episodes: int, make_env: Callable[[], Any] = make_miniwob
) -> Iterator[EpisodeOutcome]:
    """Play a number of episodes of each list, cycling through its tasks.

    Args:
        model: None is the oracle, which reads the page's DOM.
        episodes: per list.
        make_env: makes the env; replaceable for tests.

    Raises:
        EnvError: the browser failed.
        ModelError: the model failed.
    """

    def policy(env: Env, seat: PointingModel) -> Policy:
        located: Any = env
        return PointingPolicy(OraclePointer(located.locate) if model is None else seat)

    for name in LISTS:
        tasks = task_lists()[name]
        result = roll_out(
            partial(_rounds, make_env, tasks),
            policy,
            model or CentrePointer(),
            episodes=episodes,
            # Every answer counts here, however low its confidence.
            config=BatchConfig(guards=Guards(max_steps=MAX_STEPS, max_seconds=86_400.0, min_confidence=0)),
        )
        for number, episode in enumerate(result.episodes):
            yield EpisodeOutcome(
                list=name,
                task=tasks[number % len(tasks)],
                seed=SEED + number,
                instruction=episode.instruction,
                success=bool(episode.success),
                ended=episode.ended,
            )
