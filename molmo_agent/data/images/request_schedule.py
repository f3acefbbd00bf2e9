"""Schedule requests: round-robin over hosts, a few at once per host, after each host's pauses."""

import heapq
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from molmo_agent.data.images.url_list import ImageRequest


@dataclass(slots=True)
class Job:
    """A pending image: its current URL, failed tries and redirects."""

    request: ImageRequest
    target: str
    host: str
    tries: int = 0
    moves: int = 0


@dataclass(slots=True)
class Host:
    """A host, whose requests are limited together."""

    waiting: deque[Job] = field(default_factory=deque)
    active: int = 0
    # No request starts before this time.
    paused_until: float = 0.0
    # URLs that failed in a row after all tries; the reason why the host was given up.
    failed: int = 0
    given_up: str = ""


class Schedule:
    """The pending requests. Not thread-safe; times are :func:`time.monotonic`.

    Args:
        per_host: maximum number of concurrent requests per host.
    """

    def __init__(self, per_host: int) -> None:
        self.hosts: dict[str, Host] = defaultdict(Host)
        self._per_host = per_host
        # Hosts that may get a request now, as a queue without duplicates.
        self._open: dict[str, None] = {}
        # Jobs that wait for their time; an entry without a job is the end of a host's pause.
        self._later: list[tuple[float, int, str, Job | None]] = []
        self._count = 0

    def add(self, job: Job, *, delay: float = 0.0, first: bool = False) -> None:
        """Add a job; ``first`` puts it before the others of its host."""
        if delay:
            self._wake(delay, job.host, job)
            return
        waiting = self.hosts[job.host].waiting
        (waiting.appendleft if first else waiting.append)(job)
        self._offer(job.host)

    def pause(self, host: str, seconds: float) -> None:
        """Send a host no requests for a while."""
        self.hosts[host].paused_until = time.monotonic() + seconds
        self._wake(seconds, host, None)

    def ended(self, job: Job) -> None:
        """Record that a request has ended."""
        self.hosts[job.host].active -= 1
        self._offer(job.host)

    def take(self) -> Job | None:
        """Return the next request to make (or to fail, if its host was given up); None if all must wait."""
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, name, job = heapq.heappop(self._later)
            if job is None:
                self._offer(name)
            else:
                self.add(job, first=True)
        while self._open:
            name = next(iter(self._open))
            del self._open[name]
            host = self.hosts[name]
            if self._may_ask(host):
                host.active += 1
                next_job = host.waiting.popleft()
                self._offer(name)
                return next_job
        return None

    def wait_s(self) -> float | None:
        """Return the seconds until a request may start; None: not before one has ended."""
        return max(self._later[0][0] - time.monotonic(), 0.0) if self._later else None

    def _wake(self, delay: float, host: str, job: Job | None) -> None:
        self._count += 1
        heapq.heappush(self._later, (time.monotonic() + delay, self._count, host, job))

    def _may_ask(self, host: Host) -> bool:
        rested = time.monotonic() >= host.paused_until or bool(host.given_up)
        return bool(host.waiting) and rested and host.active < self._per_host

    def _offer(self, name: str) -> None:
        if self._may_ask(self.hosts[name]):
            self._open.setdefault(name)
