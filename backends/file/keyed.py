"""Values by key: params, tags and metrics, each key a file.

The file of `a/b` is `b` in the folder `a`, as MLflow has it. Where no such file can be, since `a` is a file already or
a name is longer than the file system takes, the key's file lies under `.holdall` instead, named by a digest of the key
and beginning with a line that holds the key. MLflow does not see those keys, and reads all others.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from holdall.backends.file.files import CREATE_FLAGS, READ_FLAGS, Folder, Stamp, read_all, stamp_of, write_all
from holdall.backends.file.layout import METRICS, OWN
from holdall.stores.problems import ProblemKind
from holdall.stores.validation import is_valid_key

__all__ = [
    "Reporter",
    "Stamps",
    "append_lines",
    "ignore_problems",
    "own_path",
    "put_new_values",
    "put_value",
    "read_everything",
    "read_one",
    "read_own",
    "remove_value",
    "stamp_everything",
]

T = TypeVar("T")

Reporter = Callable[[ProblemKind, str, str], None]
"""Told of what is wrong: kind, path from the folder, message."""


def ignore_problems(kind: ProblemKind, path: str, message: str) -> None:
    """Reports to nobody."""


Stamps = list[tuple[str, Stamp]]
"""Every file that was read, by path."""

_IMPOSSIBLE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EEXIST})
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR})
_FRESH_NS = 100_000_000
_DEEPEST = 250


def read_everything(folder: Folder, kind: str, stamps: Stamps, report: Reporter, *, own: bool) -> dict[str, bytes]:
    """The contents of all files of a kind, by key.

    Args:
        folder: Of a run or an experiment.
        kind: `params`, `tags` or `metrics`.
        stamps: Gets a stamp for every file.
        report: Told of what is not read.
        own: Whether there may be keys under `.holdall`.
    """
    found: dict[str, bytes] = {}
    if own:
        for path, data in _collect(folder, f"{OWN}/{kind}", stamps, report).items():
            _keep_own(found, kind, path, data, report)
    for path, data in _collect(folder, kind, stamps, report).items():
        if is_valid_key(path):
            found[path] = _both(data, found[path]) if kind == METRICS and path in found else data
        else:
            report(ProblemKind.MALFORMED, f"{kind}/{path}", f"is no name for one of the {kind}, and does not count")
    return found


def _both(data: bytes, more: bytes) -> bytes:
    """The lines of two files of one metric."""
    return data + (b"" if data.endswith(b"\n") else b"\n") + more


def stamp_everything(folder: Folder, kind: str, stamps: Stamps) -> None:
    """The stamps that `read_everything` would give, without reading."""
    for top in (f"{OWN}/{kind}", kind):
        try:
            place, name = folder.at(top)
            file = os.open(name, READ_FLAGS | os.O_DIRECTORY, dir_fd=place)
        except OSError:
            continue
        try:
            _stamp(file, f"{top}/", stamps)
        finally:
            os.close(file)


def _stamp(parent: int, prefix: str, stamps: Stamps) -> None:
    with os.scandir(parent) as entries:
        for entry in entries:
            path = prefix + entry.name
            try:
                stamps.append((path, stamp_of(entry.stat(follow_symlinks=False))))
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                file = os.open(entry.name, READ_FLAGS | os.O_DIRECTORY, dir_fd=parent)
                try:
                    _stamp(file, f"{path}/", stamps)
                finally:
                    os.close(file)


def read_one(folder: Folder, kind: str, key: str, report: Reporter | None = None) -> list[bytes]:
    """The contents of the files of a key: none, one, or where another program came in between, the plain one first.

    Args:
        folder: Of a run, a model or an experiment.
        kind: `params`, `tags` or `metrics`.
        key: The key.
        report: Told of a file that cannot be read, which is then passed over; without it, that is an error.

    Raises:
        OSError: A file cannot be read, or is a link, and `report` is None.
    """
    found: list[bytes | None] = []
    try:
        found.append(_read_plain(folder, f"{kind}/{key}"))
    except OSError as error:
        if report is None:
            raise
        report(ProblemKind.UNREADABLE, f"{kind}/{key}", f"cannot be read, and does not count: {_reason(error)}")
    found.append(read_own(folder, kind, key))
    return [data for data in found if data is not None]


def read_own(folder: Folder, kind: str, key: str) -> bytes | None:
    """What lies under `.holdall` for a key; None if nothing does."""
    data = folder.read(own_path(kind, key))
    head = _header(key)
    return data[len(head) :] if data is not None and data.startswith(head) else None


def put_new_values(folder: Folder, kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """Write the files of those keys that have none, in their place, which is half the work of putting them there whole.

    For values that the journal has: whoever finds such a file half written has the value from there.

    Args:
        folder: Of a run or a model.
        kind: `params` or `tags`.
        values: Text by key.

    Returns:
        Those that are still to be written.
    """
    rest: dict[str, str] = {}
    try:
        place, _ = folder.at(f"{kind}/.")
    except FileNotFoundError:
        return dict(values)
    for key, value in values.items():
        if "/" in key:
            rest[key] = value
            continue
        try:
            file = os.open(key, CREATE_FLAGS, 0o666, dir_fd=place)
        except OSError:  # there is one, or none can be
            rest[key] = value
            continue
        try:
            write_all(file, value.encode("utf-8"))
        finally:
            os.close(file)
    return rest


def put_value(folder: Folder, kind: str, key: str, data: bytes, spare: str) -> None:
    """Write the file of a key, whole."""
    try:
        _in_folders(folder, f"{kind}/{key}", lambda path: folder.replace(path, data, spare))
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        _in_folders(folder, own_path(kind, key), lambda path: folder.replace(path, _header(key) + data, spare))
        return
    if folder.stat(f"{OWN}/{kind}") is not None:
        folder.remove(own_path(kind, key))


def append_lines(folder: Folder, kind: str, key: str, data: bytes, spare: str) -> os.stat_result | None:
    """Append to the file of a key: its status then, or None if it lies under `.holdall`."""
    path = f"{kind}/{key}"
    try:
        return _in_folders(folder, path, lambda path: folder.append(path, data))
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
    path = own_path(kind, key)
    if folder.stat(path) is not None:
        folder.append(path, data)
    else:
        _in_folders(folder, path, lambda path: folder.replace(path, _header(key) + data, spare))
    return None


def remove_value(folder: Folder, kind: str, key: str) -> bool:
    """Remove the files of a key, and folders that are empty then; whether there was one."""
    removed = _remove_plain(folder, f"{kind}/{key}")
    return folder.remove(own_path(kind, key)) or removed


def _remove_plain(folder: Folder, path: str) -> bool:
    try:
        if not folder.remove(path):
            return False
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            return False
        raise
    while (path := path.rpartition("/")[0]).count("/"):
        try:
            place, name = folder.at(path)
            os.rmdir(name, dir_fd=place)
        except OSError:  # not empty: the usual case
            break
    return True


def _in_folders(folder: Folder, path: str, act: Callable[[str], T]) -> T:
    """Do something with a path, in folders that are made if they are missing."""
    try:
        return act(path)
    except FileNotFoundError:
        folder.make(path.rpartition("/")[0])
        folder.make(OWN)
        return act(path)


def own_path(kind: str, key: str) -> str:
    """Where a key lies under `.holdall`."""
    return f"{OWN}/{kind}/{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def _header(key: str) -> bytes:
    return json.dumps(key).encode() + b"\n"


def _read_plain(folder: Folder, path: str) -> bytes | None:
    try:
        return folder.read(path)
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            return None
        raise


def _keep_own(found: dict[str, bytes], kind: str, path: str, data: bytes, report: Reporter) -> None:
    head, newline, rest = data.partition(b"\n")
    try:
        key: object = json.loads(head) if newline else None
    except (ValueError, RecursionError):
        key = None
    if isinstance(key, str) and is_valid_key(key) and own_path(kind, key) == f"{OWN}/{kind}/{path}":
        found[key] = rest
    else:
        report(ProblemKind.MALFORMED, f"{OWN}/{kind}/{path}", "does not begin with its key, and does not count")


def _collect(folder: Folder, top: str, stamps: Stamps, report: Reporter) -> dict[str, bytes]:
    """The contents of all files under a folder `top`, by path from there."""
    found: dict[str, bytes] = {}
    try:
        place, name = folder.at(top)
        file = os.open(name, READ_FLAGS | os.O_DIRECTORY, dir_fd=place)
    except OSError as error:
        if error.errno != errno.ENOENT:
            report(ProblemKind.UNREADABLE, top, f"cannot be read: {_reason(error)}")
        return found
    try:
        _read_folder(file, top, "", found, stamps, report)
    finally:
        os.close(file)
    return found


def _read_folder(parent: int, top: str, prefix: str, found: dict[str, bytes], stamps: Stamps, report: Reporter) -> None:
    """Read what is in a folder; written for speed, since a first search does this for every file there is."""
    for name in os.listdir(parent):
        key = prefix + name
        path = f"{top}/{key}"
        try:
            file = os.open(name, READ_FLAGS, dir_fd=parent)
        except OSError as error:
            _report_unreadable(error, path, stamps, report)
            continue
        try:
            status = os.fstat(file)
            size, mode = status.st_size, status.st_mode
            stamps.append((path, (size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)))
            if stat.S_ISREG(mode):
                data = os.read(file, size + 1)
                if len(data) != size or not size:
                    data += read_all(file, 0) or (b"" if data else _read_settled(file, status))
                found[key] = data
            elif stat.S_ISDIR(mode) and prefix.count("/") < _DEEPEST:
                _read_folder(file, top, f"{key}/", found, stamps, report)
            else:
                report(ProblemKind.UNREADABLE, path, "is neither a file nor a folder, and is not read")
        except OSError as error:
            _report_unreadable(error, path, stamps, report)
        finally:
            os.close(file)


def _read_settled(file: int, status: os.stat_result) -> bytes:
    """The contents of an empty file that MLflow may be writing this moment: it empties a file before it fills it."""
    for _ in range(2):
        if time.time_ns() - status.st_mtime_ns > _FRESH_NS:
            break
        time.sleep(0.001)
        if data := read_all(file, 0):
            return data
    return b""


def _report_unreadable(error: OSError, path: str, stamps: Stamps, report: Reporter) -> None:
    if error.errno in _VANISHED:
        return
    stamps.append((path, (-1, error.errno or 0, 0, 0)))
    report(ProblemKind.UNREADABLE, path, f"cannot be read, and does not count: {_reason(error)}")


def _reason(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
