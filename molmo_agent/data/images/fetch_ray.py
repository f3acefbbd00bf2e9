"""Fetch images with Ray tasks. Each host belongs to one task, which keeps the requests per host low.

A host that is the target of redirects may get requests from several tasks. All nodes must be able to reach the store.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from molmo_agent.data.images.download import FetchError, Limits, host_of
from molmo_agent.data.images.fetch import Engine, Outcome, fetch_here
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import ImageRequest
from molmo_agent.errors import MissingExtraError, UsageError

# Number of restarts of a task whose worker dies; it resumes with its unreported images.
_STARTS = 4


def deal(images: Sequence[ImageRequest], count: int) -> list[list[ImageRequest]]:
    """Assign images to ``count`` tasks: a host's images to one task, largest hosts first, to the smallest task."""
    hosts: dict[str, list[ImageRequest]] = defaultdict(list)
    for image in images:
        try:
            hosts[host_of(image.url)].append(image)
        except FetchError:
            hosts[""].append(image)
    shares: list[list[ImageRequest]] = [[] for _ in range(max(min(count, len(hosts)), 1))]
    for _, mine in sorted(hosts.items(), key=lambda host: (-len(host[1]), host[0])):
        min(shares, key=len).extend(mine)
    return shares


def _share(images: Sequence[ImageRequest], store: ImageStore, limits: Limits) -> Iterator[Outcome]:
    """Run one task: a generator without delegation, the only kind that Ray accepts."""
    for outcome in fetch_here(images, store, limits):  # noqa: UP028
        yield outcome


def ray_engine(address: str | None = None) -> Engine:
    """Return an engine that fetches on a Ray cluster, by default on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("fetching on Ray", "train") from error

    def fetch_there(images: Sequence[ImageRequest], store: ImageStore, limits: Limits) -> Generator[Outcome]:
        if not images:
            return
        if not ray.is_initialized():
            ray.init(address or "local", log_to_driver=False)
        shares = deal(images, max(int(ray.cluster_resources().get("CPU", 1)), 1))
        limits = dataclasses.replace(limits, jobs=max(limits.jobs // len(shares), 1))
        remote: Any = ray.remote(num_cpus=1, max_retries=0)(_share)
        there = dataclasses.replace(store, folder=store.folder.resolve())
        # Task -> its unreported images, and its number of starts.
        running = {remote.remote(share, there, limits): ({p.url: p for p in share}, 1) for share in shares}
        try:
            while running:
                (task,), _ = ray.wait(list(running), num_returns=1)
                pending, starts = running[task]
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
                            f"a Ray worker died {starts} times: {error}; run the same command to resume"
                        ) from error
                    if pending:
                        again = remote.remote(list(pending.values()), there, limits)
                        running[again] = (pending, starts + 1)
                else:
                    pending.pop(outcome.url, None)
                    yield outcome
        finally:
            for task in running:
                ray.cancel(task)

    return fetch_there
