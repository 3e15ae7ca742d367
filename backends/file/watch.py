"""Being told of changes below folders on a local disk, by Linux's inotify.

The kernel notes a change before the call that made it returns, whoever made it, so that whoever asks afterwards is
told. Changes that another machine makes on a shared disk, and those through a memory map, are not noted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Watch", "WatchLost", "is_local_disk"]

T = TypeVar("T", bound=Hashable)

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x4000, 0x8000
_MASK = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | 0x02000000
"""All changes; links are not followed."""

_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 18
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_LOCAL = frozenset("bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split())
"""File systems that only this machine writes to."""


class WatchLost(Exception):
    """Changes can be watched no longer: too many folders, or the system does not offer it."""


class Watch(Generic[T]):
    """Watched files and folders, each with a token that says what it is of.

    Raises:
        WatchLost: The system does not offer it.
    """

    def __init__(self) -> None:
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._queue: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, AttributeError):
            raise WatchLost("the system offers no inotify") from None
        if self._queue < 0:
            raise WatchLost(f"inotify: {os.strerror(ctypes.get_errno())}")
        self._tokens: dict[int, T] = {}
        self._most = _half_of_the_limit()
        self.pid = os.getpid()

    def add(self, path: str, token: T) -> bool:
        """Watch a file, or a folder and what is directly in it; whether it is there.

        Raises:
            WatchLost: There are too many.
        """
        number: int = self._libc.inotify_add_watch(self._queue, os.fsencode(path), _MASK)
        if number >= 0:
            self._tokens[number] = token
            if len(self._tokens) > self._most:
                raise WatchLost(f"more than {self._most} folders would have to be watched")
            return True
        code = ctypes.get_errno()
        if code in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG):
            return False
        raise WatchLost(f"inotify: {os.strerror(code)}")

    def events(self) -> Iterator[tuple[T, str]]:
        """What has changed since the last time: token, and the name in the folder, '' for the thing itself.

        Raises:
            WatchLost: So much has changed that the kernel has lost count.
        """
        while True:
            try:
                data = os.read(self._queue, _BUFFER)
            except BlockingIOError:
                return
            position = 0
            while position < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size + length
                if mask & _OVERFLOW:
                    raise WatchLost("changes came faster than they were asked for")
                token = self._tokens.pop(number, None) if mask & _IGNORED else self._tokens.get(number)
                if token is not None:
                    yield token, os.fsdecode(data[position - length : position].rstrip(b"\0"))

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._queue)


def _half_of_the_limit() -> int:
    """The limit is the user's, for all programs together."""
    try:
        return int(_LIMIT.read_text("ascii")) // 2
    except (OSError, ValueError):
        return 4096


def is_local_disk(path: str) -> bool:
    """Whether a path is on a file system that only this machine writes to; False where that cannot be told."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        device = os.stat(path).st_dev
    except OSError:
        return False
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    real = os.path.realpath(path)
    found, longest = "", -1
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        _, _, number, _, point, *_ = fields.split(b" ")
        kind = rest.split(b" ", 1)[0].decode("ascii", "replace")
        place = os.fsdecode(point.decode("unicode_escape").encode("latin-1"))
        beneath = place == "/" or real == place or real.startswith(place.rstrip("/") + "/")
        if (number == wanted or kind in ("btrfs", "overlay")) and beneath and len(place) > longest:
            found, longest = kind, len(place)
    return found in _LOCAL
