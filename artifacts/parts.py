"""The transfer engine: large files in parts, parts of all files under one bounded pool.

A store gives it a few primitives: put a small file, begin an upload in parts, open a range. Buffers, order,
parallelism, verification, cancellation and clearing up are done here, once for all services.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from holdall.stores.artifact_io import CHUNK_SIZE, ArtifactReader, ArtifactWriter, Digest, Digester
from holdall.stores.atomic_file import AtomicFile
from holdall.stores.errors import DataLoss, HoldallError
from holdall.stores.http_client import Body
from holdall.stores.transfers import Transfer

__all__ = ["PART_SIZE", "PartPool", "PartedUpload", "PartedWriter", "RangedDownload", "UploadTarget"]

_log = logging.getLogger(__name__)

PART_SIZE = 8 << 20
"""Bytes of a usual part."""

PARTS_PER_SIZE = 1000
"""Parts after which those of a file of unknown size are made twice as large."""

LARGEST_FACTOR = 64
"""How much larger than usual a part of a file of unknown size becomes at most."""


class PartPool:
    """Threads that move parts, and the bound on parts that are held in memory; one for all files of a store.

    Args:
        workers: Parts moved at a time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._room = threading.BoundedSemaphore(workers)
        self._spare: list[bytearray] = []

    def submit(self, job: Callable[[], None]) -> Future[None]:
        """Run a job soon."""
        return self._executor().submit(job)

    def submit_buffer(self, buffer: bytearray, job: Callable[[], None]) -> Future[None]:
        """Run a job that holds a part in memory soon; waits while as many are held as are moved at a time."""
        self._room.acquire()
        try:
            future = self._executor().submit(job)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._give_back(buffer))
        return future

    def take_buffer(self, size: int) -> bytearray:
        """A buffer of that many bytes, used before if possible.

        Memory that is freed in blocks of this size by several threads stays with the process.
        """
        with self._lock:
            for index, buffer in enumerate(self._spare):
                if len(buffer) == size:
                    return self._spare.pop(index)
        return bytearray(size)

    def close(self) -> None:
        """End the threads when their jobs are done."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._spare.clear()
        if threads is not None:
            threads.shutdown(wait=False)

    def _give_back(self, buffer: bytearray) -> None:
        with self._lock:
            self._spare = [buffer, *self._spare[: self.workers - 1]]
        self._room.release()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None or self._process != os.getpid():  # a forked child has none of the threads
                self._process = os.getpid()
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="holdall-part")
            return self._threads


class PartGroup:
    """The parts of one file that are on their way: at most some at a time; the first failure stops the others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: deque[Future[None]] = deque()
        self.failed = threading.Event()

    def add(self, submit: Callable[[Callable[[], None]], Future[None]], job: Callable[[], None]) -> None:
        """Send one more part on its way, once there is room.

        Raises:
            BaseException: What an earlier part has failed with.
        """
        while self._pending and (len(self._pending) >= self._limit or self._pending[0].done()):
            self._wait_for_first()
        self._pending.append(submit(lambda: self._run(job)))

    def join(self) -> None:
        """Wait for all parts.

        Raises:
            BaseException: What a part has failed with.
        """
        while self._pending:
            self._wait_for_first()

    def cancel(self) -> None:
        """Stop what has not begun and wait for the rest, whatever became of it."""
        self.failed.set()
        for future in self._pending:
            future.cancel()
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled():
                future.exception()

    def _wait_for_first(self) -> None:
        self._pending[0].result()  # who is interrupted here has it cancelled, so it stays until it has ended
        self._pending.popleft()

    def _run(self, job: Callable[[], None]) -> None:
        if self.failed.is_set():
            return  # the failure of another part is the one to tell
        try:
            job()
        except BaseException:
            self.failed.set()
            raise


class PartedUpload(ABC):
    """A file on its way to a service in parts. `send` is called from several threads, the rest from one."""

    in_order: bool = False
    """Whether parts are sent one after the other, in order, and not several at a time in any."""

    @abstractmethod
    def send(self, number: int, data: Body) -> None:
        """Send part `number`, from 1, verified by the service; `data` is used again by the caller afterwards."""

    def pass_by(self, data: Body) -> None:  # noqa: B027 - optional
        """See the bytes of the next part, in order and by one thread, before `send`: for a digest of the whole."""

    @abstractmethod
    def finish(self, parts: int, digest: Digest) -> None:
        """Make the file appear from `parts` parts, verified against its digest as far as the service can."""

    @abstractmethod
    def cancel(self) -> None:
        """Remove all parts; called once, if `finish` was not or failed."""


class UploadTarget(ABC):
    """What a store of whole objects gives the engine."""

    @abstractmethod
    def _put(self, path: str, data: Body, digest: Digest) -> None:
        """Store a small file in one request, verified by the service where it can."""

    @abstractmethod
    def _begin_parts(self, path: str, size: int | None) -> PartedUpload:
        """Begin a large file, of `size` bytes if that is known."""


class PartedWriter(ArtifactWriter):
    """Collects what is written into parts and sends them, several at a time; a small file goes in one request.

    Args:
        target: Where to.
        pool: Sends the parts.
        path: The file.
        size: Bytes that will come, if known.
        algorithm: Of the digest that `commit` is given.
        part_size: Bytes of a part.
    """

    def __init__(
        self, target: UploadTarget, pool: PartPool, path: str, size: int | None, algorithm: str, part_size: int
    ) -> None:
        self._target = target
        self._pool = pool
        self._path = path
        self._size = size
        self._part_size = part_size
        self._digester = Digester(algorithm)
        large = size is not None and size > part_size
        self._buffer = pool.take_buffer(part_size) if large else bytearray()  # the latter grows
        self._filled = 0
        self._upload: PartedUpload | None = None
        self._group = PartGroup(pool.workers)
        self._parts = 0

    def write(self, data: bytes | memoryview) -> None:
        self._digester.update(data)
        with memoryview(data) as view:
            taken = 0
            while taken < len(view):
                if self._filled == self._wanted:
                    self._send_buffer()
                    self._buffer = self._pool.take_buffer(self._wanted)
                count = min(self._wanted - self._filled, len(view) - taken)
                self._buffer[self._filled : self._filled + count] = view[taken : taken + count]
                self._filled += count
                taken += count

    def commit(self, expected: Digest) -> None:
        received = self._digester.digest()
        if received != expected:
            raise DataLoss(
                f"{expected.size} bytes of artifact {self._path!r} were sent and {received.size} arrived, or they "
                "differ; nothing was stored, try again."
            )
        if self._upload is None:
            self._target._put(self._path, memoryview(self._buffer)[: self._filled], received)
            return
        if self._filled:
            self._send_buffer()
        self._group.join()
        self._upload.finish(self._parts, received)
        self._upload = None

    def abort(self) -> None:
        self._buffer = bytearray()
        self._group.cancel()
        upload, self._upload = self._upload, None
        if upload is not None:
            try:
                upload.cancel()
            except HoldallError as error:  # the failure that led here is the one to tell
                _log.warning("Could not remove the parts of an upload to %r: %s", self._path, error)

    @property
    def _wanted(self) -> int:
        """Bytes of the next part."""
        if self._size is not None:
            return self._part_size
        return self._part_size * min(LARGEST_FACTOR, 1 << (self._parts // PARTS_PER_SIZE))

    def _send_buffer(self) -> None:
        if self._upload is None:
            self._upload = self._target._begin_parts(self._path, self._size)
            if self._upload.in_order:
                self._group = PartGroup(1)
        upload, buffer, data = self._upload, self._buffer, memoryview(self._buffer)[: self._filled]
        self._buffer, self._filled = bytearray(), 0
        self._parts += 1
        number = self._parts
        upload.pass_by(data)
        self._group.add(partial(self._pool.submit_buffer, buffer), lambda: upload.send(number, data))


class RangedDownload:
    """One large file on its way to the local disk, in ranges that are fetched at once and digested in order.

    Args:
        open_range: Opens the bytes from an offset to another.
        pool: Fetches the ranges.
        path: The file.
        target: Place of the file in an existing folder.
        transfer: Told about every chunk.
        part_size: Bytes of a range.
        find_digest: Asks for the digest of the whole, where an opened range does not tell it.
    """

    def __init__(
        self,
        open_range: Callable[[int, int | None], ArtifactReader],
        pool: PartPool,
        path: str,
        target: Path,
        transfer: Transfer,
        part_size: int,
        find_digest: Callable[[], Digest | None],
    ) -> None:
        self._open_range = open_range
        self._find_digest = find_digest
        self._pool = pool
        self._path = path
        self._target = target
        self._transfer = transfer
        self._part_size = part_size
        self._lock = threading.Lock()
        self._done = 0

    def run(self) -> None:
        """Fetch, verify and place the file.

        Raises:
            DataLoss: Bytes are missing or differ from the digest that the service keeps, or the file was replaced.
        """
        with self._open_range(0, self._part_size) as first:
            self._first = first
            expected = first.digest or self._find_digest()
            self._file = AtomicFile(self._target.parent)
            self._order = _OrderedDigest(self._file, first.size, expected)
            group = PartGroup(self._pool.workers * 2)
            try:
                group.add(self._pool.submit, lambda: self._fetch(first, 0, group))
                for start in range(self._part_size, first.size, self._part_size):
                    group.add(self._pool.submit, lambda start=start: self._fetch_range(start, group))  # type: ignore[misc]
                group.join()
                self._order.verify()
                self._file.replace(self._target.name)
            finally:
                group.cancel()
                self._file.discard()
        self._transfer.report(self._path, first.size, first.size, complete=True)

    def _fetch_range(self, start: int, group: PartGroup) -> None:
        stop = min(start + self._part_size, self._first.size)
        with self._open_range(start, stop) as reader:
            reader.require_same(self._first)
            self._fetch(reader, start, group)

    def _fetch(self, reader: ArtifactReader, start: int, group: PartGroup) -> None:
        stop = min(start + self._part_size, self._first.size)
        buffer = memoryview(bytearray(min(CHUNK_SIZE, self._part_size)))
        position = start
        while position < stop and not group.failed.is_set():
            count = reader.readinto(buffer[: stop - position])
            self._file.write_at(position, buffer[:count])
            position += count
            with self._lock:
                self._done += count
                self._transfer.report(self._path, self._done, self._first.size)
        self._order.add(start, position)


class _OrderedDigest:
    """Digests a file in order while its ranges come in any, by reading back what has become contiguous."""

    def __init__(self, file: AtomicFile, size: int, expected: Digest | None) -> None:
        self._file = file
        self._expected = expected
        self._size = size
        self._digester = Digester(expected.algorithm) if expected else None
        self._lock = threading.Lock()
        self._waiting: dict[int, int] = {}
        self._position = 0

    def add(self, start: int, stop: int) -> None:
        """Bytes from `start` to `stop` are in the file."""
        with self._lock:
            self._waiting[start] = stop
            while (stop_of_next := self._waiting.pop(self._position, None)) is not None:
                self._digest_to(stop_of_next)

    def verify(self) -> None:
        """Compare with what the service keeps.

        Raises:
            DataLoss: They differ, or bytes are missing.
        """
        if self._position != self._size:
            raise DataLoss(f"{self._position} of {self._size} bytes arrived; nothing was kept, try again.")
        if self._digester is not None and self._digester.digest() != self._expected:
            raise DataLoss("The bytes that arrived do not match the digest that the store keeps; nothing was kept.")

    def _digest_to(self, stop: int) -> None:
        if self._digester is None:
            self._position = stop
            return
        buffer = memoryview(bytearray(min(CHUNK_SIZE, stop - self._position)))
        while self._position < stop:
            count = self._file.read_at(self._position, buffer[: stop - self._position])
            self._digester.update(buffer[:count])
            self._position += count
