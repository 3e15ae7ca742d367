"""Small files, many in one round trip.

A request costs Python several times as much when a thread waits for its answer alone. So small files of a folder are
moved in groups. What goes wrong with one of them is nobody's business here: the group is undone, or left out, and its
files are moved one by one, which tells what is wrong with which, and goes on where a connection broke.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from holdall.artifacts.sftp.protocol import (
    CREATE_NEW,
    READ,
    WRITE,
    Refused,
    Request,
    attributes_of,
    close,
    data_of,
    extended,
    handle_of,
    lstat,
    open_file,
    read,
    remove,
    require_ok,
    stat_handle,
    write,
)
from holdall.artifacts.sftp.session import Session
from holdall.artifacts.sftp.tree import Tree, if_there, parent_of
from holdall.artifacts.sftp.writing import FSYNC, POSIX_RENAME, Server
from holdall.stores.artifact_io import OpenedArtifact
from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.errors import DataLoss, HoldallError, InvalidParameterValue
from holdall.stores.transfers import LocalEntry

__all__ = ["fetch_together", "grouped", "upload_together"]

T = TypeVar("T")

SMALL = 1 << 16
"""Bytes of the largest file that is moved in a group."""

FILES_AT_ONCE = 32
BYTES_AT_ONCE = 1 << 18
"""Bytes of a group at most. The more OpenSSH's server must buffer, the longer it takes over it."""


def grouped(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in groups: as many small files as make a good one, or a single large file."""
    group: list[T] = []
    room = BYTES_AT_ONCE
    for item in items:
        size = size_of(item)
        if size > SMALL:
            yield [item]
            continue
        if len(group) == FILES_AT_ONCE or size > room:
            yield group
            group, room = [], BYTES_AT_ONCE
        group.append(item)
        room -= size
    if group:
        yield group


@dataclass(slots=True)
class _Upload:
    """A small file on its way.

    Attributes:
        data: All of it.
        real: Its path without links.
        private: What it is called until it is whole.
        handle: Of the open file.
    """

    data: bytes
    real: str
    private: bytes
    handle: bytes | None = None


def upload_together(server: Server, session: Session, entries: Sequence[LocalEntry]) -> list[int]:
    """Upload small files in three round trips: all are begun, then written, flushed and closed, then named.

    Returns:
        Their sizes, if all of them are there. Otherwise nothing; some may be there, and nothing unfinished is left.
    """
    if POSIX_RENAME not in session.extensions:
        return []
    uploads: list[_Upload] = []
    try:
        for entry in entries:
            real = _real_path(server.tree, session, entry.path, make=True)
            private = server.tree.at(PRIVATE_PREFIX + secrets.token_hex(12))
            uploads.append(_Upload(_content(entry), real, private))
        _begin(server.tree, session, uploads)
        _finish(session, uploads)
        names = [extended(POSIX_RENAME, upload.private, server.tree.at(upload.real)) for upload in uploads]
        for reply in session.ask(*names):
            require_ok(reply)
    except (Refused, HoldallError, OSError):
        _undo(server, session, uploads)
        return []
    return [len(upload.data) for upload in uploads]


def _content(entry: LocalEntry) -> bytes:
    file = os.open(entry.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = os.fstat(file)
        data = os.read(file, before.st_size + 1)
        after = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(before.st_mode) or len(data) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise DataLoss(f"{str(entry.source)!r} is being written to.")
    return data


def _real_path(tree: Tree, session: Session, path: str, *, make: bool = False) -> str:
    """The path of a file whose own name is no link."""
    folder = parent_of(path)
    if not tree.trusts(folder):
        place = tree.locate(session, folder)
        if make and place.attributes is None and not place.blocked:
            tree.make_folders(session, place.real)
        elif not place.is_folder:
            raise InvalidParameterValue(f"{folder!r} is not a folder.")
        name = path[len(folder) + 1 :]
        return f"{place.real}/{name}" if place.real else name
    return path


def _begin(tree: Tree, session: Session, uploads: Sequence[_Upload]) -> None:
    looks = [lstat(tree.at(upload.real)) for upload in uploads]
    replies = session.ask(*looks, *(open_file(upload.private, WRITE | CREATE_NEW) for upload in uploads))
    problem: Refused | None = None
    for upload, reply in zip(uploads, replies[len(uploads) :], strict=True):
        try:
            upload.handle = handle_of(reply)
        except Refused as refusal:
            problem = refusal
    if problem is not None:
        raise problem
    for reply in replies[: len(uploads)]:
        there = if_there(attributes_of, reply)
        if there is not None and not there.is_file:
            raise InvalidParameterValue("Something is in the place of a file.")


def _finish(session: Session, uploads: Sequence[_Upload]) -> None:
    requests: list[Request] = []
    for upload in uploads:
        handle, upload.handle = upload.handle or b"", None
        requests += [write(handle, 0, upload.data)] if upload.data else []
        requests += [extended(FSYNC, handle)] if FSYNC in session.extensions else []
        requests += [stat_handle(handle), close(handle)]
    replies = iter(session.ask(*requests))
    for upload in uploads:
        for _ in range(bool(upload.data) + (FSYNC in session.extensions)):
            require_ok(next(replies))
        if attributes_of(next(replies)).size != len(upload.data):
            raise DataLoss("A file has another size on the server.")
        require_ok(next(replies))


def _undo(server: Server, session: Session, uploads: Sequence[_Upload]) -> None:
    private = [upload.private for upload in uploads]
    try:
        if session.alive:
            session.ask(*(close(upload.handle) for upload in uploads if upload.handle), *map(remove, private))
        else:
            server.connections.session().ask(*map(remove, private))
    except HoldallError:
        server.litter.extend(private)


def fetch_together(tree: Tree, session: Session, paths: Sequence[str]) -> dict[str, OpenedArtifact]:
    """Read small files in three round trips: what they are, then opened, then read and closed.

    Returns:
        By path, those with which nothing was out of the ordinary.
    """
    try:
        found = {path: tree.at(_real_path(tree, session, path)) for path in paths}
        looks = session.ask(*map(lstat, found.values()))
        seen = {path: if_there(attributes_of, look) for path, look in zip(found, looks, strict=True)}
        files = {path: there.size for path, there in seen.items() if there is not None and there.is_file and there.size}
        opened = session.ask(*(open_file(found[path], READ) for path in files))
        handles = {path: handle_of(reply) for path, reply in zip(files, opened, strict=True)}
        return dict(_read(session, handles, files))
    except (Refused, HoldallError):
        return {}


def _read(session: Session, handles: dict[str, bytes], sizes: dict[str, int]) -> Iterator[tuple[str, OpenedArtifact]]:
    requests: list[Request] = []
    for path, handle in handles.items():
        requests += [stat_handle(handle), read(handle, 0, min(sizes[path], SMALL) + 1), close(handle)]
    replies = iter(session.ask(*requests))
    for path in handles:
        there, data = attributes_of(next(replies)), data_of(next(replies))
        next(replies)
        if there.size == len(data):
            yield path, OpenedArtifact(io.BytesIO(data), len(data), version=str(there.modified))
