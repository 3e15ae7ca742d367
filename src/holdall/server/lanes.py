"""Threads that run what may block, away from the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar, cast

from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["Lane"]

T = TypeVar("T")

LARGEST_BATCH = 16
"""Calls of which the event loop is told at once; more would let the first ones wait."""

LONGEST_GROUP = 0.005
"""Seconds after which a group of calls ends: other processes wait for what it has locked."""


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[], T]
    future: asyncio.Future[T]


_Done: TypeAlias = tuple[_Job[object], object, BaseException | None]
"""A call with its result or error."""


class Lane:
    """A few threads and a queue. Waking the event loop costs as much as a short call, so results go to it in batches.

    Args:
        name: Of its threads.
        threads: How many.
        longest: Calls that may wait; more are refused, so that those who wait get an answer in time.
        batch: Calls of one thread whose results go together; 1 where calls may take long.
        group: Around calls that go together.

    Attributes:
        waiting: Calls without a result yet.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        longest: int,
        batch: int = LARGEST_BATCH,
        group: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._longest = longest
        self._batch = batch
        self._group = group
        self.waiting = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"holdall-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[], T]) -> T:
        """Run something in one of the threads.

        Raises:
            TemporarilyUnavailable: Too many are waiting; it was not begun.
        """
        if self.waiting >= self._longest:
            raise TemporarilyUnavailable("The server is overloaded; try again in a moment.", retry_after=1)
        future: asyncio.Future[T] = self._loop.create_future()
        self.waiting += 1
        self._queue.put(cast("_Job[object]", _Job(work, future)))
        try:
            return await future
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Let the threads finish what waits, and end."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            following = self._next() if self._batch > 1 else None
            done = [_run(job)] if following is None else self._run_group(job, following)
            self._loop.call_soon_threadsafe(_deliver, done)

    def _run_group(self, first: _Job[object], second: _Job[object]) -> list[_Done]:
        """Run what waits, as long as it is not many or long."""
        jobs, until = [first, second], time.perf_counter() + LONGEST_GROUP
        try:
            with self._group():
                done = [_run(first), _run(second)]
                while len(done) < self._batch and time.perf_counter() < until and (job := self._next()) is not None:
                    jobs.append(job)
                    done.append(_run(job))
        except Exception as error:  # noqa: BLE001 - they have failed together
            return [(job, None, error) for job in jobs]
        return done

    def _next(self) -> _Job[object] | None:
        try:
            job = self._queue.get_nowait()
        except Empty:
            return None
        if job is None:  # the end is for this thread or another one, after what is in hand
            self._queue.put(None)
        return job


def _run(job: _Job[object]) -> _Done:
    try:
        return job, job.work(), None
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must learn of it
        return job, None, error


def _deliver(done: list[_Done]) -> None:
    for job, result, error in done:
        if job.future.cancelled():
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
