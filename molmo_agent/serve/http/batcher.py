"""Questions of many requests in one queue: those about the same image are answered together, in one thread per model.

A queue holds a limited number of questions. One whose client has gone, or whose time is over, leaves the queue; the
model never works for it, unless it has begun.
"""

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.problems import Problem

# Seconds that a model takes for a batch before the first one was measured.
_FIRST_GUESS_S = 1.0


@dataclass(eq=False, slots=True)
class Job:
    """One question to a model."""

    # Jobs with the same key can be answered in one batch.
    key: Hashable
    content: Any
    # Streams instead of answering whole: set by `Batcher.stream`.
    pieces: "asyncio.Queue[Any] | None" = None
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    future: "asyncio.Future[Any] | None" = None


class Batcher:
    """The queue in front of one model, and the thread that the model runs in. Lives in one event loop.

    Args:
        answer: returns one answer per job, for jobs of one key.
        stream: yields the answer of one job in pieces.
        limits: of the queue, of a batch, and the seconds for an answer.
        on_batch: called with the number of questions and the seconds of each batch.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Any]], Sequence[Any]],
        stream: Callable[[Any], Iterator[Any]],
        limits: Limits,
        on_batch: Callable[[int, float], object] = lambda count, seconds: None,
    ) -> None:
        self._answer, self._stream, self._limits, self._on_batch = answer, stream, limits, on_batch
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._is_draining = False
        self._batch_s = _FIRST_GUESS_S
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        """Return the number of questions that wait."""
        return len(self._waiting)

    async def ask(self, key: Hashable, content: Any) -> Any:
        """Return the answer to a question.

        Raises:
            Problem: the queue is full, the server is ending, or the answer takes too long.
            Exception: what the model raised.
        """
        job = Job(key, content)
        self._enqueue(job)
        assert job.future is not None
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await job.future
        except TimeoutError:
            raise self._late() from None
        finally:
            self._leave(job)

    def stream(self, content: Any) -> AsyncIterator[Any]:
        """Return the answer to a question, piece by piece; the question is in the queue when this returns.

        Raises:
            Problem, Exception: see :meth:`ask`.
        """
        job = Job(object(), content, pieces=asyncio.Queue())
        self._enqueue(job)
        return self._pieces(job, asyncio.get_running_loop().time() + self._limits.answer_s)

    async def _pieces(self, job: Job, end: float) -> AsyncIterator[Any]:
        assert job.future is not None
        assert job.pieces is not None
        loop = asyncio.get_running_loop()
        try:
            # A time limit for each piece: the pieces may be read in several tasks.
            while (piece := await asyncio.wait_for(job.pieces.get(), end - loop.time())) is not None:
                yield piece
            await job.future
        except TimeoutError:
            raise self._late() from None
        finally:
            job.is_cancelled.set()
            self._leave(job)

    async def close(self) -> None:
        """Answer what waits, accept nothing more, and end the thread."""
        self._is_draining = True
        self._wake.set()
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self._task
        except TimeoutError:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        # A batch that has begun cannot be cut; a process that ends does not wait for it.
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, job: Job) -> None:
        if self._is_draining:
            raise Problem(503, "the server is ending; ask again", code="ending", headers={"Retry-After": "5"})
        if len(self._waiting) >= self._limits.max_queue:
            pause = max(1, min(60, math.ceil(self._batch_s * len(self._waiting) / self._limits.max_batch)))
            raise Problem(
                429,
                f"{len(self._waiting)} questions wait already; ask again in {pause} s",
                code="queue_full",
                headers={"Retry-After": str(pause)},
            )
        job.future = asyncio.get_running_loop().create_future()
        # Whoever waited for it may have gone: then nobody retrieves an exception.
        job.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._waiting.append(job)
        self._wake.set()

    def _leave(self, job: Job) -> None:
        """Take a job out of the queue, if it is still there."""
        if job.future is not None:
            job.future.cancel()
        with contextlib.suppress(ValueError):
            self._waiting.remove(job)

    def _late(self) -> Problem:
        return Problem(504, f"no answer within {self._limits.answer_s:g} s; ask again later", code="timeout")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                if self._is_draining:
                    return
                self._wake.clear()
                await self._wake.wait()
            batch = self._take()
            began = loop.time()
            if batch[0].pieces is not None:
                await self._run_stream(batch[0])
            else:
                await self._run_batch(batch)
            seconds = loop.time() - began
            self._batch_s = 0.8 * self._batch_s + 0.2 * seconds
            self._on_batch(len(batch), seconds)

    def _take(self) -> list[Job]:
        """Take the first job and those that can be answered with it, in their order."""
        key = self._waiting[0].key
        batch = [job for job in self._waiting if job.key == key][: self._limits.max_batch]
        self._waiting = deque(job for job in self._waiting if job not in batch)
        return batch

    async def _run_batch(self, batch: Sequence[Job]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [job.content for job in batch])
        # Every exception: it belongs to the requests, and the server continues.
        except Exception as error:
            if len(batch) > 1:
                # One question may spoil the batch of the others.
                for job in batch:
                    if job.future is not None and not job.future.done():
                        await self._run_batch([job])
                return
            answers = [error]
        for job, answer in zip(batch, answers, strict=True):
            if job.future is None or job.future.done():
                continue
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    async def _run_stream(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        assert job.pieces is not None
        pieces = job.pieces

        def run() -> None:
            for piece in self._stream(job.content):
                if job.is_cancelled.is_set():
                    return
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        error: Exception | None = None
        try:
            await loop.run_in_executor(self._thread, run)
        # Every exception: it belongs to the request, and the server continues.
        except Exception as problem:
            error = problem
        if job.future is not None and not job.future.done():
            if error is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(error)
        pieces.put_nowait(None)
