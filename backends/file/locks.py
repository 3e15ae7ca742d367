"""Locks between processes, made of nothing but files, so that they work wherever the files do.

A lock is held by whoever made the file of its name. Making it is one `link` of a file that says who the process is: it
either succeeds or finds the name taken, on local disks, NFS and Lustre alike, where `flock` and SQLite's locks may be
local to a machine or missing. Threads of one store queue up in the process first.

A process that dies leaves its lock behind. On the same machine the others see at once that it is dead, and take the
lock away; for that they hold the lock's own lock, so that none takes away what another has just made. A lock from
another machine counts as abandoned when it has not changed for `ABANDONED_SECONDS` while somebody waited for it. A
holder that needs longer takes other locks meanwhile, and being links of one file they all change with each of them.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from holdall.backends.file.files import Folder
from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["ABANDONED_SECONDS", "IDENTITY_PREFIX", "Locks", "Owner", "boot_id"]

T = TypeVar("T")

ABANDONED_SECONDS = 30.0
"""For so long a waiter must have seen the same lock of another machine before taking it away."""

IDENTITY_PREFIX = ".holdall-process-"
"""How the file begins that says who a process is; it lies in the root, where MLflow passes over files."""

_FIRST_WAIT, _LONGEST_WAIT = 0.0002, 0.01


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, as far as others can tell whether it lives.

    Attributes:
        host: Name of its machine.
        boot: Which start of that machine.
        space: Its space of process ids; ids of another space say nothing here.
        pid: Process id.
        started: Clock ticks from the machine's start to the process's, which tells it from a later one of the same id.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), boot_id(), _pid_space(), pid, _started(pid))

    def is_near(self) -> bool:
        """Whether this process can tell if that one lives: same machine, and same space of process ids if it is up."""
        here = Owner.here()
        return self.host == here.host and (self.boot != here.boot or self.space == here.space)

    def is_dead(self) -> bool:
        """Whether a process that is near has ended."""
        return self.is_near() and (self.boot != boot_id() or _started(self.pid) != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def encode(self) -> bytes:
        """As the identity file holds it."""
        return json.dumps([self.host, self.boot, self.space, self.pid, self.started]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Owner | None:
        """From an identity file; None if it is none."""
        try:
            match json.loads(data):
                case [str(host), str(boot), str(space), int(pid), str(started)]:
                    return cls(host, boot, space, pid, started)
        except (ValueError, RecursionError):
            pass
        return None


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a lock's file is a link of."""

    pid: int
    path: str
    inode: int
    owner: Owner

    @property
    def content(self) -> bytes:
        return self.owner.encode()


class Locks:
    """Holds locks on behalf of one store in one process; safe to share between threads.

    Args:
        root: The store's root folder.
        timeout: Seconds after which waiting for a lock is given up; well over `ABANDONED_SECONDS`.
    """

    def __init__(self, root: str, timeout: float = 90.0) -> None:
        self._root = root
        self._timeout = timeout
        self._guard = threading.Lock()
        self._queues: dict[tuple[int, str], tuple[threading.Lock, int]] = {}
        self._identity: _Identity | None = None

    @contextmanager
    def hold(self, folder: Folder, name: str, what: str) -> Iterator[None]:
        """Hold the lock `name` in a folder.

        Args:
            folder: Where the lock's file is made.
            name: Its name.
            what: What is locked, for the message.

        Raises:
            TemporarilyUnavailable: Somebody else held it all the time; the message says who.
            OSError: The folder cannot be written to.
        """
        deadline = time.monotonic() + self._timeout
        place = os.fstat(folder.fd).st_ino, name
        queue = self._queue(place)
        try:
            if not queue.acquire(timeout=self._timeout):
                raise TemporarilyUnavailable(f"{what} is locked by another thread of this process; try again.")
            try:
                self._acquire(folder, name, what, deadline)
                try:
                    yield
                finally:
                    self._release(folder, name)
            finally:
                queue.release()
        finally:
            self._leave(place)

    def during(self, folder: Folder, name: str, what: str) -> Callable[[Callable[[], T]], T]:
        """A function that does something while the lock is held; arguments as for `hold`."""

        def locked(act: Callable[[], T]) -> T:
            with self.hold(folder, name, what):
                return act()

        return locked

    def close(self) -> None:
        """Remove this process's identity file."""
        with self._guard:
            if self._identity is not None and self._identity.pid == os.getpid():
                Path(self._identity.path).unlink(missing_ok=True)
            self._identity = None

    def _queue(self, place: tuple[int, str]) -> threading.Lock:
        with self._guard:
            lock, users = self._queues.get(place) or (threading.Lock(), 0)
            self._queues[place] = lock, users + 1
            return lock

    def _leave(self, place: tuple[int, str]) -> None:
        with self._guard:
            lock, users = self._queues.pop(place)
            if users > 1:
                self._queues[place] = lock, users - 1

    def _acquire(self, folder: Folder, name: str, what: str, deadline: float) -> None:
        if self._make(folder, name):
            return
        wait, seen, since = _FIRST_WAIT, None, time.monotonic()
        while True:
            holder, mark = _look(folder, name)
            now = time.monotonic()
            if mark != seen:
                seen, since = mark, now
            if mark is not None and _is_gone(holder, now - since):
                self._take_away(folder, name, what, deadline, mark)
            elif now > deadline:
                who = "an unknown process" if holder is None else str(holder)
                raise TemporarilyUnavailable(
                    f"{what} is locked by {who} and did not become free within {self._timeout:g} seconds; "
                    f"try again, or end that process if it hangs."
                )
            elif mark is not None:
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            if self._make(folder, name):
                return

    def _take_away(self, folder: Folder, name: str, what: str, deadline: float, mark: tuple[int, int]) -> None:
        """Remove the lock of a process that is gone, unless somebody else has done so meanwhile."""
        breaking = f"{name}.break"
        self._acquire(folder, breaking, what, deadline)
        try:
            if _look(folder, name)[1] == mark:
                folder.remove(name)
        finally:
            folder.remove(breaking)

    def _make(self, folder: Folder, name: str) -> bool:
        """Make the lock's file; whether it was not there before."""
        identity = self._own_identity()
        try:
            place, own_name = folder.at(name)
            os.link(identity.path, own_name, dst_dir_fd=place)
        except FileExistsError:
            return False
        except OSError:  # no folder for locks yet; another disk, or one without links
            folder.make(name.rpartition("/")[0] or ".")
            return _create_exclusively(folder, name, identity.content)
        return True

    def _release(self, folder: Folder, name: str) -> None:
        """Remove the lock's file, unless somebody took it away and made another."""
        identity, status = self._own_identity(), folder.stat(name)
        if status is None:
            return
        if status.st_ino == identity.inode or _look(folder, name)[0] == identity.owner:
            folder.remove(name)

    def _own_identity(self) -> _Identity:
        """The identity of this process, written at its first lock; a forked child has its own."""
        identity = self._identity
        if identity is not None and identity.pid == os.getpid():
            return identity
        with self._guard:
            if self._identity is None or self._identity.pid != os.getpid():
                self._identity = self._new_identity()
            return self._identity

    def _new_identity(self) -> _Identity:
        owner = Owner.here()
        name = f"{IDENTITY_PREFIX}{owner.pid}-{secrets.token_hex(6)}"
        with Folder(f"{self._root}/.") as root:
            _remove_identities_of_the_dead(root)
            root.create(name, owner.encode())
            status = root.stat(name)
        return _Identity(owner.pid, f"{self._root}/{name}", -1 if status is None else status.st_ino, owner)


def _remove_identities_of_the_dead(root: Folder) -> None:
    for name in root.names():
        if name.startswith(IDENTITY_PREFIX):
            try:
                data = root.read(name)
            except OSError:
                continue  # not ours to judge
            owner = None if data is None else Owner.decode(data)
            if owner is not None and owner.is_dead():
                root.remove(name)


def _create_exclusively(folder: Folder, name: str, content: bytes) -> bool:
    try:
        place, own_name = folder.at(name)
        file = os.open(own_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=place)
    except FileExistsError:
        return False
    try:
        os.write(file, content)
    finally:
        os.close(file)
    return True


def _look(folder: Folder, name: str) -> tuple[Owner | None, tuple[int, int] | None]:
    """Who holds a lock, as far as can be read, and what tells it from the next one; (None, None) if nobody."""
    status = folder.stat(name)
    if status is None:
        return None, None
    try:
        data = folder.read(name)
    except OSError:
        data = None
    return None if data is None else Owner.decode(data), (status.st_ino, status.st_ctime_ns)


def _is_gone(holder: Owner | None, unchanged: float) -> bool:
    """Whether a lock that has not changed for so many seconds may be taken away."""
    if holder is not None and holder.is_near():
        return holder.is_dead()
    return unchanged > ABANDONED_SECONDS


def boot_id() -> str:
    """Which start of the machine this is; '' where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _pid_space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, '' if there is none, where the system tells; else only whether there is one."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except FileNotFoundError:
        return "" if os.path.isdir("/proc/self") else _exists(pid)
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _exists(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
