"""SFTP version 3, which all servers speak: requests and answers as bytes. Nothing here sends anything."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from holdall.stores.errors import InternalError

__all__ = [
    "CREATE",
    "CREATE_NEW",
    "READ",
    "VERSION",
    "WRITE",
    "Attributes",
    "Decoder",
    "ListedName",
    "Refused",
    "Reply",
    "Request",
    "attributes_of",
    "checksum_of",
    "close",
    "data_of",
    "encode",
    "extended",
    "extensions_of",
    "handle_of",
    "hello",
    "lstat",
    "mkdir",
    "names_of",
    "open_file",
    "open_folder",
    "read",
    "read_folder",
    "readlink",
    "realpath",
    "remove",
    "rename",
    "require_ok",
    "rmdir",
    "sizes_of",
    "stat_handle",
    "stat_path",
    "write",
]

VERSION: Final = 3

INIT: Final = 1
VERSION_REPLY: Final = 2
OPEN: Final = 3
CLOSE: Final = 4
READ_DATA: Final = 5
WRITE_DATA: Final = 6
LSTAT: Final = 7
FSTAT: Final = 8
OPENDIR: Final = 11
READDIR: Final = 12
REMOVE: Final = 13
MKDIR: Final = 14
RMDIR: Final = 15
REALPATH: Final = 16
STAT: Final = 17
RENAME: Final = 18
READLINK: Final = 19
STATUS: Final = 101
HANDLE: Final = 102
DATA: Final = 103
NAME: Final = 104
ATTRS: Final = 105
EXTENDED: Final = 200
EXTENDED_REPLY: Final = 201

READ: Final = 0x01
WRITE: Final = 0x02
CREATE: Final = 0x08
CREATE_NEW: Final = CREATE | 0x20

OK: Final = 0
EOF: Final = 1
NO_SUCH_FILE: Final = 2
PERMISSION_DENIED: Final = 3
FAILURE: Final = 4
BAD_MESSAGE: Final = 5
NO_CONNECTION: Final = 6
CONNECTION_LOST: Final = 7
UNSUPPORTED: Final = 8

LONGEST_PACKET: Final = 1 << 20
"""Bytes of an answer above which the other end is taken for no SFTP server; OpenSSH's limit is a quarter of that."""


class Request(NamedTuple):
    """Something to ask the server, before it has a number.

    Attributes:
        kind: Of the packet.
        body: What follows the number.
        data: What follows that; apart, so that it need not be copied.
    """

    kind: int
    body: bytes
    data: bytes = b""


class Reply(NamedTuple):
    """What the server answers: kind of the packet and what follows its number, without the length of what was read."""

    kind: int
    body: bytes


class Refused(Exception):
    """The server answers a request with an error. Never reaches a caller of the store.

    Attributes:
        code: `NO_SUCH_FILE`, `FAILURE`, ….
        text: The server's explanation, made printable.
    """

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server tells about a file; None where it does not.

    Attributes:
        size: Bytes.
        mode: Type and permissions.
        modified: Seconds since the epoch.
    """

    size: int | None = None
    mode: int | None = None
    modified: int | None = None

    @property
    def is_folder(self) -> bool:
        """A folder, not a link to one."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return self.mode is not None and stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """A regular file: what a server that tells no types lists is taken for one, unless it is too short for that."""
        return stat.S_ISREG(self.mode) if self.mode is not None else self.size is not None


class ListedName(NamedTuple):
    """An entry of a folder: its name as it is, and what is told about it without following it."""

    name: bytes
    attributes: Attributes


# Requests


def hello() -> bytes:
    """What opens the conversation."""
    return struct.pack(">IBI", 5, INIT, VERSION)


def encode(request: Request, number: int) -> tuple[bytes, bytes, bytes]:
    """The packet of a request, in pieces that are to be joined."""
    length = 5 + len(request.body) + len(request.data)
    return struct.pack(">IBI", length, request.kind, number), request.body, request.data


def open_file(path: bytes, flags: int) -> Request:
    """Open a file; the permissions of a new one are left to the server."""
    return Request(OPEN, _string(path) + struct.pack(">II", flags, 0))


def close(handle: bytes) -> Request:
    """Close a file or folder."""
    return Request(CLOSE, _string(handle))


def read(handle: bytes, offset: int, length: int) -> Request:
    """Read at most `length` bytes."""
    return Request(READ_DATA, _string(handle) + struct.pack(">QI", offset, length))


def write(handle: bytes, offset: int, data: bytes) -> Request:
    """Write all of `data`."""
    return Request(WRITE_DATA, _string(handle) + struct.pack(">QI", offset, len(data)), data)


def lstat(path: bytes) -> Request:
    """Attributes of what is there, a link not followed."""
    return Request(LSTAT, _string(path))


def stat_path(path: bytes) -> Request:
    """Attributes of what is there, links followed."""
    return Request(STAT, _string(path))


def stat_handle(handle: bytes) -> Request:
    """Attributes of an open file."""
    return Request(FSTAT, _string(handle))


def open_folder(path: bytes) -> Request:
    """Open a folder for listing."""
    return Request(OPENDIR, _string(path))


def read_folder(handle: bytes) -> Request:
    """The next entries of a folder."""
    return Request(READDIR, _string(handle))


def remove(path: bytes) -> Request:
    """Remove a file or link."""
    return Request(REMOVE, _string(path))


def mkdir(path: bytes) -> Request:
    """Make a folder; its permissions are left to the server."""
    return Request(MKDIR, _string(path) + struct.pack(">I", 0))


def rmdir(path: bytes) -> Request:
    """Remove an empty folder."""
    return Request(RMDIR, _string(path))


def realpath(path: bytes) -> Request:
    """The absolute path, links resolved where the server can."""
    return Request(REALPATH, _string(path))


def readlink(path: bytes) -> Request:
    """Where a link leads."""
    return Request(READLINK, _string(path))


def rename(old: bytes, new: bytes) -> Request:
    """Rename; most servers refuse if `new` exists."""
    return Request(RENAME, _string(old) + _string(new))


def extended(name: str, *strings: bytes, tail: bytes = b"") -> Request:
    """A request of a protocol extension, with strings and then other arguments."""
    return Request(EXTENDED, b"".join(map(_string, (name.encode(), *strings))) + tail)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


# Answers


def require_ok(reply: Reply) -> None:
    """Raise `Refused` unless the answer is that it was done."""
    _expect(reply, STATUS)


def handle_of(reply: Reply) -> bytes:
    """The handle of what was opened."""
    return _Unpacker(_expect(reply, HANDLE)).string()


def attributes_of(reply: Reply) -> Attributes:
    """The attributes of a file or folder."""
    return _Unpacker(_expect(reply, ATTRS)).attributes()


def names_of(reply: Reply) -> list[ListedName]:
    """Entries of a folder, or a single path."""
    unpacker = _Unpacker(_expect(reply, NAME))
    return list(unpacker.names())


def data_of(reply: Reply) -> bytes:
    """The bytes that were read; none at the end of the file."""
    try:
        return _expect(reply, DATA)
    except Refused as refusal:
        if refusal.code == EOF:
            return b""
        raise


def extensions_of(reply: Reply) -> dict[str, bytes]:
    """What a server announces in its answer to `hello`."""
    unpacker = _Unpacker(_expect(reply, VERSION_REPLY))
    found = {}
    while unpacker.left:
        name = unpacker.string().decode("utf-8", "replace")
        found[name] = unpacker.string()
    return found


def checksum_of(reply: Reply) -> tuple[str, bytes]:
    """Kind and value of the digest in the answer to `check-file`; some servers repeat that name before them."""
    unpacker = _Unpacker(_expect(reply, EXTENDED_REPLY))
    name = unpacker.string()
    if name == b"check-file":
        name = unpacker.string()
    return name.decode("ascii", "replace"), unpacker.rest()


def sizes_of(reply: Reply) -> list[int]:
    """The 64-bit numbers in the answer to an extended request."""
    unpacker = _Unpacker(_expect(reply, EXTENDED_REPLY))
    return [unpacker.large_number() for _ in range(unpacker.left // 8)]


def _expect(reply: Reply, kind: int) -> bytes:
    if reply.kind == STATUS:
        unpacker = _Unpacker(reply.body)
        code = unpacker.number()
        if code != OK or kind != STATUS:
            text = unpacker.string().decode("utf-8", "replace") if unpacker.left else ""
            raise Refused(code, "".join(letter if letter.isprintable() else "?" for letter in text[:200]))
    elif reply.kind != kind:
        raise _malformed()
    return reply.body


class _Unpacker:
    """The fields of an answer, in order; one that is cut short is an error, not a field of zeros."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._body) - self._position

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def large_number(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def rest(self) -> bytes:
        return self._take(self.left)

    def attributes(self) -> Attributes:
        flags = self.number()
        size = self.large_number() if flags & 0x1 else None
        if flags & 0x2:
            self._take(8)  # user and group
        mode = self.number() if flags & 0x4 else None
        modified = None
        if flags & 0x8:
            self.number()  # last access
            modified = self.number()
        if flags & 0x8000_0000:
            for _ in range(self.number()):
                self.string()
                self.string()
        return Attributes(size, mode, modified)

    def names(self) -> Iterator[ListedName]:
        for _ in range(self.number()):
            name = self.string()
            self.string()  # the line that `ls -l` would print
            yield ListedName(name, self.attributes())

    def _take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > len(self._body):
            raise _malformed()
        return self._body[start : self._position]


class Decoder:
    """Cuts the stream of bytes from a server into answers."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 4

    def feed(self, data: bytes) -> Iterator[tuple[int, Reply]]:
        """Take the next bytes; the answers that they complete, each with its number.

        Raises:
            InternalError: This is no stream of SFTP.
        """
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        stream = data if len(self._parts) == 1 else b"".join(self._parts)
        start, self._need = 0, 4
        while start + 4 <= len(stream):
            length = int.from_bytes(stream[start : start + 4], "big")
            if not 5 <= length <= LONGEST_PACKET:
                raise InternalError("The server does not speak SFTP here; it may print a greeting where it should not.")
            end = start + 4 + length
            if end > len(stream):
                self._need = 4 + length
                break
            kind = stream[start + 4]
            # What was read begins with its length, which is known already; left out here, it need not be copied away.
            body = stream[start + (13 if kind == DATA else 9) : end]
            yield int.from_bytes(stream[start + 5 : start + 9], "big"), Reply(kind, body)
            start = end
        rest = stream[start:]
        self._parts, self._have = [rest] if rest else [], len(rest)


def _malformed() -> InternalError:
    return InternalError("The SFTP server sent a malformed answer.")
