"""A file of JSON lines that processes append to one at a time and read at any time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Event", "Journal"]

Event = dict[str, object]
"""One line: what happened, as JSON can express it. Python's JSON keeps NaN, ±Infinity and −0.0."""


class Journal:
    """An append-only file of events.

    An event is there when its line ends in a newline: a writer that died in the middle of a line has written nothing,
    and the next writer removes the remains.

    Args:
        file: The file.
        read_only: Open it for reading; it must exist then.
    """

    def __init__(self, file: Path, *, read_only: bool) -> None:
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        self._descriptor = os.open(file, flags | os.O_CLOEXEC, 0o666)
        self._position = 0

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other writers out, of this process and of others."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def read_new(self) -> list[Event]:
        """Events that were not read yet."""
        size = os.fstat(self._descriptor).st_size
        if size <= self._position:
            return []
        data = os.pread(self._descriptor, size - self._position, self._position)
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, event: Event) -> None:
        """Write an event; only inside `exclusive`, and when everything before it has been read.

        Raises:
            OSError: It could not be written; it will not be there.
        """
        line = json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n"
        os.ftruncate(self._descriptor, self._position)
        written = os.pwrite(self._descriptor, line, self._position)
        if written < len(line):
            os.ftruncate(self._descriptor, self._position)
            raise OSError(f"wrote {written} of {len(line)} bytes")
        self._position += len(line)

    def close(self) -> None:
        """Give back the file."""
        os.close(self._descriptor)
