"""Many files at once: progress, cancellation, a bounded pool, and what lies in a local folder."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Generic, TypeVar

from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.errors import InvalidParameterValue, NotFound

__all__ = ["LocalEntry", "LocalFileNotFound", "ProgressCallback", "Transfer", "TransferProgress", "scan_folder"]

T = TypeVar("T")


class LocalFileNotFound(NotFound, FileNotFoundError):
    """A local file or folder that was to be uploaded does not exist."""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a file has come.

    Attributes:
        path: Path in the artifact store.
        bytes_done: Bytes moved so far.
        bytes_total: Bytes of the file.
        complete: The file is verified and in its place; true in the last report of each file only.
    """

    path: str
    bytes_done: int
    bytes_total: int
    complete: bool = False


ProgressCallback = Callable[[TransferProgress], None]
"""Called from worker threads, one call at a time. An exception in it cancels the transfer and reaches the caller."""


class TransferCancelled(Exception):
    """Ends the work on a file because that on another one failed; never reaches a caller."""


class Transfer:
    """One call that moves files: hands progress on, and stops all workers when one fails."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def report(self, path: str, done: int, total: int, *, complete: bool = False) -> None:
        """Tell the callback; call it for every chunk.

        Raises:
            TransferCancelled: Another file failed.
        """
        if self._cancelled.is_set() and not complete:
            raise TransferCancelled(path)
        if self._progress is not None:
            with self._lock:
                self._progress(TransferProgress(path, done, total, complete))

    def run(self, function: Callable[[T], None], items: Iterable[T], workers: int) -> None:
        """Call `function` for every item, on at most `workers` threads that take the items in order.

        The first error stops the others at their next chunk and is raised when they have ended.
        """
        queue = iter(items)
        first = list(islice(queue, 2))
        if workers == 1 or len(first) < 2:
            for item in chain(first, queue):
                function(item)
            return
        work = _SharedWork(function, chain(first, queue), self._cancelled)
        threads = [threading.Thread(target=work.run, name=f"holdall-transfer-{index}") for index in range(workers)]
        try:
            for thread in threads:
                thread.start()
                if work.taken_all:
                    break
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        except BaseException:
            self._cancelled.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        if work.error is not None:
            raise work.error


class _SharedWork(Generic[T]):
    """Items that several threads work off.

    Attributes:
        error: What the first failure raised.
        taken_all: No item is left.
    """

    def __init__(self, function: Callable[[T], None], items: Iterator[T], cancelled: threading.Event) -> None:
        self._function = function
        self._items = items
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        self.taken_all = False

    def run(self) -> None:
        """Work until nothing is left or somebody has failed."""
        try:
            for item in self._take():
                self._function(item)
        except TransferCancelled:
            pass  # the failure of another thread is the one to tell
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            with self._lock:
                self.error = self.error or error
            self._cancelled.set()

    def _take(self) -> Iterator[T]:
        while not self._cancelled.is_set():
            with self._lock:
                item = next(self._items, _NOTHING)
            if isinstance(item, _Nothing):
                self.taken_all = True
                return
            yield item


class _Nothing:
    """Stands for the end of the items."""


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """Something to upload.

    Attributes:
        path: POSIX path below the scanned folder.
        source: Where it is.
        is_dir: It is a folder.
        is_empty: It is a folder without anything in it.
    """

    path: str
    source: Path
    is_dir: bool = False
    is_empty: bool = False


def scan_folder(folder: Path) -> Iterator[LocalEntry]:
    """Everything in a local folder, links followed, hidden files included, sorted within each folder.

    Raises:
        InvalidParameterValue: A broken link, a link that leads back to a folder above it, a pipe, socket or device.
    """
    stack = [("", folder, frozenset({_identity(folder.stat())}))]
    while stack:
        prefix, current, above = stack.pop()
        for child in sorted(current.iterdir()):
            if child.name.startswith(PRIVATE_PREFIX):
                continue
            path = f"{prefix}{child.name}"
            status = _stat(child)
            if stat.S_ISREG(status.st_mode):
                yield LocalEntry(path, child)
            elif stat.S_ISDIR(status.st_mode) and _identity(status) not in above:
                yield LocalEntry(path, child, is_dir=True, is_empty=next(child.iterdir(), None) is None)
                stack.append((f"{path}/", child, above | {_identity(status)}))
            else:
                raise InvalidParameterValue(
                    f"Cannot upload {str(child)!r}: it is no file and no folder, or a link to a folder that holds it."
                )


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        raise InvalidParameterValue(
            f"Cannot upload {str(path)!r}: it is a link to nothing, or just vanished."
        ) from None
    except OSError as error:
        raise InvalidParameterValue(f"Cannot upload {str(path)!r}: {os.strerror(error.errno or 0)}.") from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
