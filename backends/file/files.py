"""Files and folders below a store's root, reached by descriptors and never through links.

A folder is opened once and everything in it is named relative to it, so that moving it (as the deletion of an
experiment does) pulls nothing away from whoever is at work in it, and no link put in the way leads elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from holdall.stores.errors import HoldallError, InternalError, ReadOnly, TemporarilyUnavailable

__all__ = [
    "CLOSED_DOORS",
    "CREATE_FLAGS",
    "FOLDER_FLAGS",
    "READ_FLAGS",
    "Folder",
    "Stamp",
    "read_all",
    "stamp_of",
    "translate",
    "translated",
    "write_all",
]

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""For files that anybody may have put there: no link is followed, and a pipe does not block."""
_WRITE_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE_FLAGS = _WRITE_FLAGS | os.O_CREAT | os.O_EXCL
_CHUNK = 1 << 16

Stamp = tuple[int, int, int, int]
"""What tells one state of a file from another: size, time of change of its contents and of its entry, inode."""

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
CLOSED_DOORS = (FileNotFoundError, NotADirectoryError, PermissionError)
"""Errors of opening a folder that is not there, is none, or may not be entered."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_GONE = frozenset({errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ENODEV})


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_all(file: int, size: int) -> bytes:
    """The contents of an open file that was `size` bytes long a moment ago."""
    data = os.read(file, size + 1)
    if len(data) == size and size:
        return data
    parts = [data]
    while data := os.read(file, _CHUNK):
        parts.append(data)
    return b"".join(parts)


class Folder:
    """An open folder.

    Args:
        path: Where it is, from `parent` if that is given.
        parent: The folder that `path` is relative to.

    Raises:
        OSError: There is no such folder, or it is a link.
    """

    __slots__ = ("_entered", "fd")
    fd: int

    def __init__(self, path: str, parent: Folder | None = None) -> None:
        self._entered: dict[str, int] = {}
        place, name = (None, path) if parent is None else parent.at(path)
        self.fd = os.open(name, FOLDER_FLAGS, dir_fd=place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back its descriptor, and those of the folders in it."""
        self._leave()
        os.close(self.fd)

    def at(self, path: str) -> tuple[int, str]:
        """The descriptor of the folder that something is in, reached through no link, and its name there.

        Raises:
            OSError: There is no such folder, or it is a link.
        """
        parent, slash, name = path.rpartition("/")
        if name in ("", "..") or "\0" in name:
            raise NotADirectoryError(errno.ENOTDIR, "no name of a file", path)
        if not slash:
            return self.fd, path
        folder = self._entered.get(parent)
        if folder is None:
            place, own_name = self.at(parent)
            folder = self._entered[parent] = os.open(own_name, FOLDER_FLAGS, dir_fd=place)
        return folder, name

    def _leave(self) -> None:
        """Close the folders in it that were entered."""
        while self._entered:
            os.close(self._entered.popitem()[1])

    def open(self, name: str) -> Folder:
        """A folder in it."""
        return Folder(name, self)

    def try_open(self, name: str) -> Folder | None:
        """A folder in it; None if it is not there or may not be entered."""
        try:
            return self.open(name)
        except CLOSED_DOORS:
            return None

    def make(self, name: str) -> None:
        """Make a folder in it, and those on the way, where they are missing."""
        try:
            self._make(name)
        except FileNotFoundError:
            parent, slash, _ = name.rpartition("/")
            if not slash:
                raise
            self._leave()  # one that was entered may have been removed since
            self.make(parent)
            self._make(name)

    def _make(self, name: str) -> None:
        place, own_name = self.at(name)
        with suppress(FileExistsError):
            os.mkdir(own_name, dir_fd=place)

    def require_writable(self, name: str) -> None:
        """Find out whether files can be made in a folder in it, if that is there.

        Raises:
            OSError: They cannot, or it is no folder.
        """
        status = self.stat(name)
        if status is None:
            return
        place, own_name = self.at(name)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        if not os.access(own_name, os.W_OK | os.X_OK, dir_fd=place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    def names(self) -> list[str]:
        """Names of what is in it, in no order."""
        return os.listdir(self.fd)

    def folders(self) -> list[str]:
        """Names of the folders in it, in order; links are none."""
        with os.scandir(self.fd) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def stat(self, name: str) -> os.stat_result | None:
        """The status of something in it; None if it is not there."""
        try:
            place, own_name = self.at(name)
            return os.stat(own_name, dir_fd=place, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise

    def stat_file(self, name: str) -> os.stat_result | None:
        """The status of a file in it; None if there is none."""
        status = self.stat(name)
        return status if status is not None and stat.S_ISREG(status.st_mode) else None

    def read(self, name: str) -> bytes | None:
        """The contents of a file in it; None if there is no such file.

        Raises:
            OSError: It cannot be read, or is a link or no file.
        """
        found = self.read_with_status(name)
        return None if found is None else found[0]

    def read_with_status(self, name: str) -> tuple[bytes, os.stat_result] | None:
        """The same, and the file's status before it was read."""
        try:
            place, own_name = self.at(name)
            file = os.open(own_name, READ_FLAGS, dir_fd=place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "not a regular file", name)
            return read_all(file, status.st_size), status
        finally:
            os.close(file)

    def replace(self, name: str, data: bytes, spare: str) -> None:
        """Write a file whole: under the name `spare` first, which then becomes `name`, in place of what was there.

        Raises:
            OSError: It cannot be written; `spare` is removed.
        """
        self.create(spare, data)
        try:
            self.rename(spare, name)
        except OSError:
            self.remove(spare)
            raise

    def rename(self, name: str, new_name: str) -> None:
        """Give something in it another name, in place of the file that has it."""
        place, own_name = self.at(name)
        new_place, new_own_name = self.at(new_name)
        os.rename(own_name, new_own_name, src_dir_fd=place, dst_dir_fd=new_place)

    def create(self, name: str, data: bytes) -> None:
        """Write a new file; one that is there is removed, not written to, since other names may lead to it."""
        place, own_name = self.at(name)
        try:
            file = os.open(own_name, CREATE_FLAGS, 0o666, dir_fd=place)
        except FileExistsError:
            os.unlink(own_name, dir_fd=place)
            file = os.open(own_name, CREATE_FLAGS, 0o666, dir_fd=place)
        try:
            write_all(file, data)
        finally:
            os.close(file)

    def put_if_missing(self, name: str, data: bytes, spare: str) -> None:
        """Write a file whole, unless there is one: of several writers the first one's stays."""
        self.create(spare, data)
        try:
            (place, own_name), (spare_place, spare_name) = self.at(name), self.at(spare)
            os.link(spare_name, own_name, src_dir_fd=spare_place, dst_dir_fd=place)
        except FileExistsError:
            pass
        except OSError:  # a disk without links
            if self.stat(name) is None:
                self.rename(spare, name)
        finally:
            self.remove(spare)

    def append(self, name: str, data: bytes) -> os.stat_result:
        """Append to a file, which is created if missing; its status then."""
        place, own_name = self.at(name)
        file = os.open(own_name, _WRITE_FLAGS | os.O_NONBLOCK | os.O_CREAT | os.O_APPEND, 0o666, dir_fd=place)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
            write_all(file, data)
            return os.fstat(file)
        finally:
            os.close(file)

    def cut(self, name: str, size: int) -> None:
        """Shorten a file."""
        place, own_name = self.at(name)
        file = os.open(own_name, _WRITE_FLAGS, dir_fd=place)
        try:
            os.ftruncate(file, size)
        finally:
            os.close(file)

    def remove(self, name: str) -> bool:
        """Remove a file; whether it was there."""
        try:
            place, own_name = self.at(name)
            os.unlink(own_name, dir_fd=place)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def write_all(file: int, data: bytes) -> None:
    """Write all of `data` to an open file."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


def translate(error: OSError, what: str) -> HoldallError:
    """What an error of the operating system means; `what` could not be done."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    what = f"{what}: {error.filename}" if isinstance(error.filename, str) else what
    if error.errno in _REFUSED:
        return ReadOnly(f"{what}: {reason}; check who owns it and its permissions.")
    if error.errno in _FULL:
        return InternalError(f"{what}: {reason}; make room and try again.")
    if error.errno in _GONE:
        return TemporarilyUnavailable(f"{what}: {reason}; was it moved, or its disk unmounted?")
    return InternalError(f"{what}: {reason}.")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of the operating system within the block into a `HoldallError` that says what failed."""
    try:
        yield
    except OSError as error:
        if isinstance(error, HoldallError):
            raise
        raise translate(error, what) from error
