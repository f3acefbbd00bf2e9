"""Fetch images with Ray tasks: the hosts are dealt to them, so that each host still has few requests at once.

A host that others redirect to may be asked by several tasks. The store must lie where all nodes reach it.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from molmo_agent.data.images.download import Limits, Lost, host_of
from molmo_agent.data.images.fetch import Engine, Outcome, fetch_here
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import Wanted
from molmo_agent.errors import MissingExtraError, UsageError

# A task whose worker dies is started again so often, with what it had not told.
_STARTS = 4


def deal(images: Sequence[Wanted], count: int) -> list[list[Wanted]]:
    """Deal images to ``count`` tasks: all of a host to the same one, the largest hosts first, where least is."""
    hosts: dict[str, list[Wanted]] = defaultdict(list)
    for image in images:
        try:
            hosts[host_of(image.url)].append(image)
        except Lost:
            hosts[""].append(image)
    shares: list[list[Wanted]] = [[] for _ in range(max(min(count, len(hosts)), 1))]
    for _, mine in sorted(hosts.items(), key=lambda host: (-len(host[1]), host[0])):
        min(shares, key=len).extend(mine)
    return shares


def _share(images: Sequence[Wanted], store: ImageStore, limits: Limits) -> Iterator[Outcome]:
    """What a task does: a generator without delegation, the only kind Ray takes."""
    for outcome in fetch_here(images, store, limits):  # noqa: UP028
        yield outcome


def ray_engine(address: str | None = None) -> Engine:
    """Return an engine that fetches on Ray: on a cluster, by default on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("fetching on Ray", "train") from error

    def fetch_there(images: Sequence[Wanted], store: ImageStore, limits: Limits) -> Generator[Outcome]:
        if not images:
            return
        if not ray.is_initialized():
            ray.init(address or "local", log_to_driver=False)
        shares = deal(images, max(int(ray.cluster_resources().get("CPU", 1)), 1))
        limits = dataclasses.replace(limits, jobs=max(limits.jobs // len(shares), 1))
        remote: Any = ray.remote(num_cpus=1, max_retries=0)(_share)
        there = dataclasses.replace(store, folder=store.folder.resolve())
        # Task -> what it has not told yet, and how often it was started.
        running = {remote.remote(share, there, limits): ({p.url: p for p in share}, 1) for share in shares}
        try:
            while running:
                (task,), _ = ray.wait(list(running), num_returns=1)
                untold, starts = running[task]
                try:
                    outcome: Outcome = ray.get(next(task))
                except StopIteration:
                    del running[task]
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, UsageError) else error from None
                except ray.exceptions.RayError as error:
                    del running[task]
                    if starts == _STARTS:
                        raise UsageError(
                            f"a Ray worker died {starts} times: {error}; the same command goes on"
                        ) from error
                    if untold:
                        again = remote.remote(list(untold.values()), there, limits)
                        running[again] = (untold, starts + 1)
                else:
                    untold.pop(outcome.url, None)
                    yield outcome
        finally:
            for task in running:
                ray.cancel(task)

    return fetch_there
