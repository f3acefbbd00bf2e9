"""Fetch images with Ray tasks. Each host belongs to one task, which keeps the requests per host low.

A host that is the target of redirects may get requests from several tasks. All nodes must be able to reach the store.
"""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any

from molmo_agent.data.images.download import FetchError, Limits, host_of
from molmo_agent.data.images.fetch import Engine, Outcome, fetch_here
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import ImageRequest
from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.rollout.ray_map import ray_session

# Number of restarts of a task whose worker dies; it resumes with its unreported images.
_STARTS = 4
# Maximum number of outcomes in an answer of a task.
_MOST = 64


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


class _Share:
    """One task, as an actor: the death of its worker or machine is an error of the next call, wherever it happens.

    What a generator of Ray yields can be waited for without end after such a death.
    """

    def __init__(self, images: Sequence[ImageRequest], store: ImageStore, limits: Limits) -> None:
        self._outcomes = fetch_here(images, store, limits)

    def take(self) -> list[Outcome]:
        """Return the next outcomes, those of about a second; none at the end."""
        taken, end = [], time.monotonic() + 1
        for outcome in self._outcomes:
            taken.append(outcome)
            # Ray sends small results by value: they do not need the machine any longer.
            if len(taken) == _MOST or time.monotonic() >= end:
                break
        return taken


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
        if images:
            with ray_session(address):
                yield from _fetch_on(ray, images, store, limits)

    return fetch_there


def _fetch_on(ray: Any, images: Sequence[ImageRequest], store: ImageStore, limits: Limits) -> Generator[Outcome]:
    """Fetch on the cluster to which this process is connected.

    Raises:
        UsageError: a task's worker died too often, or the store cannot be written to.
    """
    shares = deal(images, max(int(ray.cluster_resources().get("CPU", 1)), 1))
    limits = dataclasses.replace(limits, jobs=max(limits.jobs // len(shares), 1))
    there = dataclasses.replace(store, folder=store.folder.resolve())
    remote = ray.remote(num_cpus=1)(_Share)
    # Call -> its actor, the unreported images, and the number of starts.
    running: dict[Any, tuple[Any, dict[str, ImageRequest], int]] = {}

    def start(pending: dict[str, ImageRequest], starts: int) -> None:
        actor = remote.remote(list(pending.values()), there, limits)
        running[actor.take.remote()] = (actor, pending, starts)

    for share in shares:
        start({image.url: image for image in share}, 1)
    try:
        while running:
            (call,), _ = ray.wait(list(running), num_returns=1)
            actor, pending, starts = running.pop(call)
            try:
                outcomes: list[Outcome] = ray.get(call)
            except ray.exceptions.RayTaskError as error:
                ray.kill(actor)
                raise error.cause if isinstance(error.cause, UsageError) else error from None
            except ray.exceptions.RayError as error:
                ray.kill(actor)
                if starts == _STARTS:
                    reason = str(error).splitlines()[0]
                    raise UsageError(
                        f"a Ray worker died {starts} times: {reason}; run the same command to resume"
                    ) from error
                if pending:
                    start(pending, starts + 1)
                continue
            if outcomes:
                running[actor.take.remote()] = (actor, pending, starts)
            else:
                ray.kill(actor)  # frees its processor for a task that waits
            for outcome in outcomes:
                pending.pop(outcome.url, None)
                yield outcome
    finally:
        for actor, _, _ in running.values():
            ray.kill(actor)
