"""Fill an image store from lists of URLs: many hosts at once, few requests per host, every failure reported.

Every image ends up complete and checked in the store, or its URL in ``failed.jsonl`` with a reason; images that stand
for missing ones do not count as fetched. Running the same
command again therefore resumes an interrupted fetch. HTTP is in ``download``, Ray in ``fetch_ray``.
"""

import hashlib
import json
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from requests import Session

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.images.download import (
    FetchError,
    Limits,
    Redirect,
    check_redirect,
    host_of,
    inspect,
    new_session,
    request,
)
from molmo_agent.data.images.request_schedule import Job, Schedule
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import ImageRequest
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

FAILED_FILE = "failed.jsonl"
# If this many hosts are unreachable and none has answered, the cause is this machine's network, not the URLs.
_MAX_UNREACHABLE = 10
SAME_IMAGE = 3
"""So many addresses with the same file: it is what their hosts send instead of missing images."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be fetched. One line of ``failed.jsonl``."""

    url: str
    reason: str
    detail: str
    # The first row that needs it, and the number of such rows.
    row: str
    rows: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one URL: fetched, already in the store, or failed."""

    url: str
    fetched_bytes: int = 0
    failure: Failure | None = None


@dataclass(slots=True)
class Summary:
    """The progress of a fetch."""

    num_fetched: int = 0
    fetched_bytes: int = 0
    # Already in the store; failed earlier and not retried.
    num_present: int = 0
    num_skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    fetched_urls: set[str] = field(default_factory=set)

    @property
    def num_done(self) -> int:
        """Return the number of finished URLs."""
        return self.num_fetched + self.num_present + len(self.failures)

    def reasons(self) -> list[tuple[str, list[Failure]]]:
        """Return the failures by reason, most frequent first."""
        groups: dict[str, list[Failure]] = defaultdict(list)
        for failure in self.failures:
            groups[failure.reason].append(failure)
        return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


Engine = Callable[[Sequence[ImageRequest], ImageStore, Limits], Generator[Outcome]]
"""Fetches images and yields the outcome of each, in any order."""


def fetch_here(images: Sequence[ImageRequest], store: ImageStore, limits: Limits) -> Generator[Outcome]:
    """Fetch images with threads of this process; an :data:`Engine`.

    Raises:
        UsageError: the store cannot be written to, or there is no network.
    """
    schedule = Schedule(limits.per_host)
    num_left = 0
    for image in images:
        try:
            schedule.add(Job(image, image.url, host_of(image.url)))
            num_left += 1
        except FetchError as error:
            yield _failed(image, error)
    work: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[Job, int | Redirect | Exception]] = queue.SimpleQueue()
    stop = threading.Event()
    session = new_session(limits)

    def worker() -> None:
        while (job := work.get()) is not None:
            try:
                results.put((job, _attempt(job, store, session, limits, stop.is_set)))
            except Exception as error:  # a bug must reach the waiting thread too
                results.put((job, error))

    # Daemon threads: Ctrl-C must not wait for a silent host.
    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(limits.jobs, num_left))]
    for thread in threads:
        thread.start()
    busy = 0
    has_answer, unreachable_hosts, pending_failures = False, set[str](), list[Outcome]()
    try:
        while num_left:
            while busy < limits.jobs and (job := schedule.take()):
                if why := schedule.hosts[job.host].given_up:
                    schedule.ended(job)
                    num_left -= 1
                    pending_failures.append(_failed(job.request, FetchError("host given up", why)))
                else:
                    work.put(job)
                    busy += 1
            if not num_left:
                break
            try:
                job, result = results.get(timeout=schedule.wait_s() if busy < limits.jobs else None)
            except queue.Empty:
                continue
            busy -= 1
            schedule.ended(job)
            if isinstance(result, OSError):
                raise UsageError(f"cannot use {store.folder}: {result}; run the same command to resume") from result
            if not isinstance(result, int | Redirect | FetchError):
                raise result
            unreachable = isinstance(result, FetchError) and result.reason == "no connection"
            has_answer = has_answer or not (unreachable or result == 0)
            if outcome := _settle(job, result, schedule, limits):
                num_left -= 1
                if outcome.failure:
                    pending_failures.append(outcome)
                    unreachable_hosts |= {job.host} if unreachable else set()
                else:
                    yield outcome
            # Hold failures back until a host has answered: the cause may be this machine's network, not the URLs.
            if has_answer:
                yield from pending_failures
                pending_failures.clear()
            elif len(unreachable_hosts) >= _MAX_UNREACHABLE:
                raise UsageError(
                    f"none of {len(unreachable_hosts)} hosts can be reached, the last: {result}; is there a network "
                    "(or a proxy to name in HTTPS_PROXY)? Nothing was recorded as failed"
                )
        yield from pending_failures
    finally:
        stop.set()
        for _ in threads:
            work.put(None)
        _join(threads, timeout_s=2)
        session.close()


def _join(threads: Sequence[threading.Thread], timeout_s: float) -> None:
    """Wait for all threads together, at most ``timeout_s`` seconds."""
    end = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))


def _attempt(
    job: Job, store: ImageStore, session: Session, limits: Limits, stopping: Callable[[], bool]
) -> int | Redirect:
    """Return the number of bytes fetched (0: already in the store), or the redirect.

    Raises:
        FetchError: the image could not be fetched.
        OSError: the image could not be written.
    """
    path, hashes = store.path(job.request.url), frozenset(job.request.hashes)
    if job.target == job.request.url and not job.tries and _right(path, hashes):
        return 0
    body = request(session, job.target, limits, stopping)
    if isinstance(body, Redirect):
        return body
    inspect(body, hashes)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(body)
    os.replace(part, path)
    return len(body)


def _right(path: Path, hashes: frozenset[str]) -> bool:
    """Return whether an image is in the store. Files are checked before they get their final name."""
    if not path.is_file() or not path.stat().st_size:
        return False
    if not hashes:
        return True
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest in {known.strip().lower() for known in hashes}


def _settle(job: Job, result: int | Redirect | FetchError, schedule: Schedule, limits: Limits) -> Outcome | None:
    """Return the outcome of an image after a request; None if it will be requested again."""
    host = schedule.hosts[job.host]
    if not (isinstance(result, FetchError) and result.temporary):
        host.failed = 0
    if isinstance(result, int):
        return Outcome(job.request.url, result)
    if isinstance(result, Redirect):
        try:
            if job.moves == limits.redirects:
                raise FetchError("redirects", f"more than {limits.redirects}, the last to {result.target[:120]}")
            if not job.request.hashes:
                check_redirect(job.request.url, result.target)
            target = host_of(result.target)
        except FetchError as error:
            return _failed(job.request, error)
        schedule.add(Job(job.request, result.target, target, moves=job.moves + 1), first=True)
        return None
    job.tries += 1
    if not result.temporary:
        return _failed(job.request, result)
    if job.tries == limits.tries:
        host.failed += 1
        if host.failed == limits.give_up_after:
            host.given_up = f"{host.failed} addresses of {job.host} failed in a row, the last: {result.reason}"
        return _failed(job.request, result)
    delay = limits.backoff_s * 2 ** (job.tries - 1)
    if result.wait_s is not None or result.reason == "HTTP 429":
        # The host asks for a pause, which applies to all its URLs.
        delay = min(max(result.wait_s or 0.0, delay), limits.longest_wait_s)
        schedule.pause(job.host, delay)
    schedule.add(job, delay=delay)
    return None


def _failed(image: ImageRequest, error: FetchError) -> Outcome:
    return Outcome(image.url, failure=Failure(image.url, error.reason, error.detail, image.row, image.rows))


def read_failures(folder: Path) -> dict[str, Failure]:
    """Return the recorded failures of a store by URL; a truncated last line is ignored."""
    path = folder / FAILED_FILE
    failures = {}
    for _, entry in json_rows(path, "failures", Problems()) if path.exists() else ():
        try:
            failure = Failure(**entry)
        except TypeError:
            continue
        if isinstance(failure.url, str):
            failures[failure.url] = failure
    return failures


def _line(failure: Failure) -> str:
    return json.dumps(asdict(failure)) + "\n"


def fetch(
    images: Sequence[ImageRequest],
    folder: Path,
    limits: Limits | None = None,
    *,
    retry: bool = False,
    progress: Callable[[Summary], None] = lambda _: None,
    engine: Engine = fetch_here,
) -> Summary:
    """Fetch images into a store; existing images are kept, failures are recorded.

    Args:
        images: from :func:`~molmo_agent.data.images.url_list.read_lists`.
        folder: of the store.
        limits: of requests, sizes and times.
        retry: retry earlier failures.
        progress: called with the summary at the start and after every image.
        engine: runs the requests.

    Returns:
        The summary. Its failures include earlier ones of these images that still stand.

    Raises:
        UsageError: the folder cannot be used, or another fetch uses it.
    """
    limits = limits or Limits()
    store, summary = ImageStore(folder), Summary()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UsageError(f"another fetch is running in {folder}; wait for it, or choose another --out") from error
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    try:
        standing = read_failures(folder)
        waiting = list(images)
        if not retry:
            waiting = [image for image in images if image.url not in standing]
            summary.failures = [standing[image.url] for image in images if image.url in standing]
            summary.num_skipped = len(summary.failures)
        progress(summary)
        try:
            with (
                closing(engine(waiting, store, limits)) as outcomes,
                (folder / FAILED_FILE).open("a", encoding="utf-8") as record,
            ):
                for outcome in outcomes:
                    _note(outcome, summary, standing)
                    if outcome.failure:
                        record.write(_line(outcome.failure))
                        record.flush()
                    progress(summary)
            _remove_placeholders(images, store, summary, standing)
        finally:
            order = {image.url: number for number, image in enumerate(images)}
            summary.failures.sort(key=lambda failure: order[failure.url])
            _rewrite(folder, sorted(standing.values(), key=lambda failure: order.get(failure.url, -1)))
    finally:
        lock.release()
    return summary


def _remove_placeholders(
    images: Sequence[ImageRequest], store: ImageStore, summary: Summary, standing: dict[str, Failure]
) -> None:
    """Remove files that several addresses share, unless their SHA-256 was published, and record them as failed."""
    requests = {image.url: image for image in images if not image.hashes and image.url not in standing}
    for urls in store.same_files(requests, SAME_IMAGE):
        detail = f"the same file as at {len(urls) - 1} other addresses, such as {urls[0]}"
        for url in urls:
            store.path(url).unlink(missing_ok=True)
            standing[url] = Failure(url, "placeholder", detail, requests[url].row, requests[url].rows)
            summary.failures.append(standing[url])
            if url in summary.fetched_urls:
                summary.num_fetched -= 1
            else:
                summary.num_present -= 1


def _note(outcome: Outcome, summary: Summary, standing: dict[str, Failure]) -> None:
    """Record the outcome of an image."""
    if outcome.failure:
        summary.failures.append(outcome.failure)
        standing[outcome.url] = outcome.failure
        return
    standing.pop(outcome.url, None)
    if outcome.fetched_bytes:
        summary.fetched_urls.add(outcome.url)
    summary.num_fetched += outcome.fetched_bytes > 0
    summary.num_present += outcome.fetched_bytes == 0
    summary.fetched_bytes += outcome.fetched_bytes


def _rewrite(folder: Path, failures: Iterable[Failure]) -> None:
    part = folder / f"{FAILED_FILE}.part"
    part.write_text("".join(map(_line, failures)), encoding="utf-8")
    os.replace(part, folder / FAILED_FILE)
