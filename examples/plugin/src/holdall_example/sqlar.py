"""`sqlar://`: artifacts in an SQLite archive, one file that `sqlite3 -A` opens."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from holdall.stores import (
    ArtifactCapabilities,
    ArtifactStore,
    DataLoss,
    FileInfo,
    InternalError,
    InvalidParameterValue,
    NotFound,
    StoreURI,
    TemporarilyUnavailable,
)
from holdall.stores.artifact_io import CHUNK_SIZE, DEFAULT_DIGEST, ArtifactWriter, Digest, Digester, OpenedArtifact

__all__ = ["SqlarArtifactStore"]

MAX_SIZE = 1_000_000_000
"""Bytes of the largest file: SQLite's limit for one value."""

BUSY_TIMEOUT = 60.0
"""Seconds to wait for other writers."""

_SCHEMA = "CREATE TABLE IF NOT EXISTS sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"
_IS_ARCHIVE = "SELECT 1 FROM sqlite_master WHERE name = 'sqlar'"
_BELOW = "name >= ? || '/' AND name < ? || '0'"
"""What lies in a folder: `0` is the character after `/`."""


class SqlarArtifactStore(ArtifactStore):
    """Artifacts in an SQLite archive.

    Everything `ArtifactStore` promises, and:

    **Threads and processes.** Any number of either; writers take turns and wait up to a minute for each other. Readers
    see the archive as it was when they opened a file.

    **Files** are gathered in a temporary file first and copied into the archive in one transaction, so they need their
    size twice while they are written. A file holds at most 1,000,000,000 bytes; a larger one is refused.

    **Durability.** What a call wrote survives a power failure too (`synchronous=FULL`).

    **Not promised.** Speed: the archive has one writer at a time. Space: what is deleted is used again, not given back.

    Args:
        uri: `sqlar:///folder/file.sqlar`; the first write makes the file.
        read_only: Refuse every write.

    Raises:
        InvalidParameterValue: The URI has a host or options.
    """

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        super().__init__(uri, read_only=read_only)
        uri.options()
        if uri.host or uri.path in ("", "/"):
            raise InvalidParameterValue(f"Invalid store URI {uri}: write sqlar:///folder/file.sqlar.")
        self._file = Path(uri.path)

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities()

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        connection = self._connect()
        try:
            row = None if connection is None else self._find(connection, path)
            if connection is None or row is None:
                raise NotFound(f"There is no artifact {path!r}.")
            return OpenedArtifact(_BlobSource(connection, row[0], offset), row[1])
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    def _find(self, connection: sqlite3.Connection, path: str) -> tuple[int, int] | None:
        """Row id and size of a file, in a transaction that sees nothing later; refuses folders."""
        with _translated(path):
            connection.execute("BEGIN")
            row: tuple[int, int] | None = connection.execute(
                "SELECT rowid, sz FROM sqlar WHERE name = ?", [path]
            ).fetchone()
            if row is None and _is_folder(connection, path):
                raise InvalidParameterValue(f"Artifact {path!r} is a folder; list it, or name a file in it.")
            return row

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        if size is not None:
            _check_size(path, size)
        connection = self._connect()
        if connection is not None:
            with closing(connection), _translated(path):
                _refuse_taken(connection, path)
        return _Writer(self, path)

    def _stat(self, path: str) -> FileInfo | None:
        connection = self._connect()
        if connection is None:
            return None
        with closing(connection), _translated(path):
            row = connection.execute("SELECT sz FROM sqlar WHERE name = ?", [path]).fetchone()
            if row is not None:
                return FileInfo(path, is_dir=False, file_size=row[0])
            return FileInfo(path, is_dir=True) if _is_folder(connection, path) else None

    def _list(self, path: str) -> list[FileInfo]:
        connection = self._connect()
        if connection is None:
            return []
        with closing(connection), _translated(path):
            condition, values = (_BELOW, [path, path]) if path else ("true", [])
            rows = connection.execute(f"SELECT name, sz FROM sqlar WHERE {condition}", values).fetchall()
        start = len(path) + 1 if path else 0
        found = {}
        for name, size in rows:
            head, slash, _ = name[start:].partition("/")
            child = name[:start] + head
            found[child] = FileInfo(child, is_dir=True) if slash else FileInfo(child, is_dir=False, file_size=size)
        return list(found.values())

    def _delete(self, path: str) -> None:
        connection = self._connect()
        if connection is None:
            return
        with closing(connection), _translated(path):
            if path:
                connection.execute(f"DELETE FROM sqlar WHERE name = ? OR ({_BELOW})", [path, path, path])
            else:
                connection.execute("DELETE FROM sqlar")

    def _insert(self, path: str, content: BinaryIO, size: int) -> None:
        """Copy a file into the archive in one transaction."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect(create=True)
        assert connection is not None
        with closing(connection), _translated(path):
            connection.execute("BEGIN IMMEDIATE")
            _refuse_taken(connection, path)
            connection.execute("DELETE FROM sqlar WHERE name = ?", [path])
            values = [path, 0o100644, int(time.time()), size, size]
            row = connection.execute("INSERT INTO sqlar VALUES (?, ?, ?, ?, zeroblob(?))", values).lastrowid
            assert row is not None
            if size:
                with connection.blobopen("sqlar", "data", row) as blob:
                    while chunk := content.read(CHUNK_SIZE):
                        blob.write(chunk)
            connection.execute("COMMIT")

    def _connect(self, *, create: bool = False) -> sqlite3.Connection | None:
        """A connection of the calling operation; None if there is no archive and none is to be made."""
        if not create and not self._file.is_file():
            return None
        mode = "ro" if self.read_only else "rwc" if create else "rw"
        uri = f"file:{quote(str(self._file))}?mode={mode}"
        with _translated(str(self.uri)):
            connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            try:
                if not self.read_only:
                    connection.execute("PRAGMA synchronous = FULL")
                if not connection.execute(_IS_ARCHIVE).fetchone():
                    if not create:
                        connection.close()
                        return None
                    _begin_archive(connection)
            except BaseException:
                connection.close()
                raise
        return connection


class _BlobSource:
    """The bytes of a file from an offset on, as they were when it was opened."""

    def __init__(self, connection: sqlite3.Connection, row: int, offset: int) -> None:
        self._connection = connection
        self._blob = connection.blobopen("sqlar", "data", row, readonly=True)
        self._blob.seek(min(offset, len(self._blob)))

    def read(self, size: int, /) -> bytes:
        with _translated("the file being read"):
            return self._blob.read(size)

    def close(self) -> None:
        self._blob.close()
        self._connection.close()


class _Writer(ArtifactWriter):
    """A file on its way into the archive, in a temporary file that has no name."""

    def __init__(self, store: SqlarArtifactStore, path: str) -> None:
        self._store, self._path = store, path
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by commit or abort
        self._digester = Digester(DEFAULT_DIGEST)

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digester.update(data)
        _check_size(self._path, self._digester.size)

    def commit(self, expected: Digest) -> None:
        arrived = self._digester.digest()
        if arrived != expected:
            raise DataLoss(
                f"Artifact {self._path!r} did not arrive as it was sent; nothing was written. Send it again."
            )
        self._file.seek(0)
        self._store._insert(self._path, self._file, arrived.size)
        self._file.close()

    def abort(self) -> None:
        self._file.close()


def _begin_archive(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.OperationalError):  # busy: another one is doing it, or readers will have to wait
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(_SCHEMA)


def _is_folder(connection: sqlite3.Connection, path: str) -> bool:
    return connection.execute(f"SELECT 1 FROM sqlar WHERE {_BELOW} LIMIT 1", [path, path]).fetchone() is not None


def _refuse_taken(connection: sqlite3.Connection, path: str) -> None:
    """Refuse to put a file where a folder is, or below a file."""
    if _is_folder(connection, path):
        raise InvalidParameterValue(f"Artifact {path!r} is a folder; delete it first, or choose another name.")
    parts = path.split("/")
    for end in range(1, len(parts)):
        above = "/".join(parts[:end])
        if connection.execute("SELECT 1 FROM sqlar WHERE name = ?", [above]).fetchone():
            raise InvalidParameterValue(f"Artifact {above!r} is a file, so {path!r} cannot be in it.")


def _check_size(path: str, size: int) -> None:
    if size > MAX_SIZE:
        raise InvalidParameterValue(
            f"Artifact {path!r} is larger than {MAX_SIZE} bytes, the most that an archive takes."
        )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the errors of SQLite into those of holdall, without their text."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise TemporarilyUnavailable(
                f"The archive stayed locked by another writer: {what!r}; try again."
            ) from error
        raise InternalError(f"The archive could not be used for {what!r}.") from error
    except sqlite3.DatabaseError as error:
        raise InvalidParameterValue(f"The file is no SQLite archive: {what!r}.") from error
