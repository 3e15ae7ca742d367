"""Local files that appear under their name whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path

from holdall.stores.artifact_io import Digest, Digester
from holdall.stores.errors import DataLoss

__all__ = ["PRIVATE_PREFIX", "AtomicFile", "remove_stale_files"]

PRIVATE_PREFIX = ".holdall%00"
"""How names of unfinished files begin. The path validator refuses `%00`, so no artifact can have such a name."""

STALE_SECONDS = 24 * 60 * 60
"""Age since the last write at which an unfinished file is taken for the remains of a process that died."""


class AtomicFile:
    """A file written under a private name and renamed when it is whole.

    With `flush` before the rename, a power failure shows the old file or the new one, never a short one; the rename
    itself is left to the file system, so the last files may be missing then. Until `replace`, a killed process leaves
    only the private name, which `remove_stale_files` clears later.

    Args:
        folder: Where to write; on the same file system as where the file will be.
        algorithm: Of the digest that `flush` compares; None if it will not be called.

    Attributes:
        size: Bytes appended so far.
    """

    def __init__(self, folder: str | Path, algorithm: str | None = None) -> None:
        self._digester = Digester(algorithm) if algorithm else None
        self.size = 0
        self._name = PRIVATE_PREFIX + secrets.token_hex(12)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(self._name, flags, 0o666, dir_fd=self._folder)
        except BaseException:
            os.close(self._folder)
            raise
        self._open = True

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.write(self._file, view[written:])
            if self._digester is not None:
                self._digester.update(view)
            self.size += written

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at an offset; for threads that fill different parts of the file."""
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.pwrite(self._file, view[written:], offset + written)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Read back what was written; the number of bytes put into `buffer`."""
        return os.preadv(self._file, [buffer], offset)

    def flush(self, expected: Digest) -> None:
        """Check what was written and send it to the disk.

        Raises:
            DataLoss: Size or digest differ from what was expected.
        """
        received = self._digester.digest() if self._digester else None
        size = os.fstat(self._file).st_size
        if received != expected or size != expected.size:
            raise DataLoss(
                f"{expected.size} bytes were sent and {size} arrived, or they differ; nothing was kept, try again."
            )
        os.fsync(self._file)

    def replace(self, name: str, folder: int | None = None) -> None:
        """Give the file its name, in place of what was there, and close it.

        Args:
            name: Final name.
            folder: Descriptor of the folder it belongs in; the folder it was written in if None.
        """
        target = self._folder if folder is None else folder
        os.replace(self._name, name, src_dir_fd=self._folder, dst_dir_fd=target)
        self._close()

    def discard(self) -> None:
        """Remove what was written, unless the file has its name already."""
        if self._open:
            try:
                os.unlink(self._name, dir_fd=self._folder)
            except FileNotFoundError:
                pass  # somebody tidied up before us
            finally:
                self._close()

    def _close(self) -> None:
        self._open = False
        os.close(self._file)
        os.close(self._folder)


def remove_stale_files(folder: str | Path) -> None:
    """Remove unfinished files that nobody has written to for `STALE_SECONDS` from a folder."""
    oldest = time.time() - STALE_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(PRIVATE_PREFIX):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
                    Path(entry.path).unlink()
            except FileNotFoundError:
                continue  # finished or removed meanwhile
