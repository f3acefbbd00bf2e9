"""Which request is next: round the hosts, few at once per host, after their rests. Knows no network and no files."""

import heapq
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from molmo_agent.data.images.url_list import Wanted


@dataclass(slots=True)
class Job:
    """An image on its way: where it is asked for now, how often it was in vain, and how often it had moved."""

    wanted: Wanted
    target: str
    host: str
    tries: int = 0
    moves: int = 0


@dataclass(slots=True)
class Host:
    """Whose requests are counted together."""

    waiting: deque[Job] = field(default_factory=deque)
    active: int = 0
    # Nothing is asked before.
    paused_until: float = 0.0
    # Addresses that failed in a row although they were tried again; why nothing more is asked at all.
    failed: int = 0
    given_up: str = ""


class Schedule:
    """The requests that are still to be made. One thread calls this; time is :func:`time.monotonic`.

    Args:
        per_host: most requests of a host at once.
    """

    def __init__(self, per_host: int) -> None:
        self.hosts: dict[str, Host] = defaultdict(Host)
        self._per_host = per_host
        # Hosts that may be asked now, as a queue without repetitions.
        self._open: dict[str, None] = {}
        # Jobs that wait for their time; without a job: a host whose rest ends.
        self._later: list[tuple[float, int, str, Job | None]] = []
        self._count = 0

    def add(self, job: Job, *, delay: float = 0.0, first: bool = False) -> None:
        """Take a job in; ``first``: before the others of its host."""
        if delay:
            self._wake(delay, job.host, job)
            return
        waiting = self.hosts[job.host].waiting
        (waiting.appendleft if first else waiting.append)(job)
        self._offer(job.host)

    def pause(self, host: str, seconds: float) -> None:
        """Ask a host nothing for a while."""
        self.hosts[host].paused_until = time.monotonic() + seconds
        self._wake(seconds, host, None)

    def ended(self, job: Job) -> None:
        """Take note that a request is over."""
        self.hosts[job.host].active -= 1
        self._offer(job.host)

    def take(self) -> Job | None:
        """Return the next request to make (or to give up, if its host was), None where all must wait."""
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
                taken = host.waiting.popleft()
                self._offer(name)
                return taken
        return None

    def wait_s(self) -> float | None:
        """Return how long nothing new can be asked; None: until a request is over."""
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
