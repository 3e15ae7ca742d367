"""What moves through an artifact store: digests, and the files that readers and writers hold.

For plugin authors: `OpenedArtifact` and `ArtifactWriter` are what the hooks of `ArtifactStore` return. For users:
`ArtifactReader` (inside a buffered reader) and `ArtifactUpload` are what `ArtifactStore.open` returns.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from holdall.stores.errors import (
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    TemporarilyUnavailable,
)
from holdall.stores.retries import RetryPolicy

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "CHUNK_SIZE",
    "DEFAULT_DIGEST",
    "ArtifactReader",
    "ArtifactUpload",
    "ArtifactWriter",
    "ByteSource",
    "Digest",
    "Digester",
    "Hash",
    "OpenedArtifact",
    "register_hash",
]

CHUNK_SIZE = 1 << 20
"""Bytes moved at a time."""

DEFAULT_DIGEST = "sha256"

NO_RETRIES = RetryPolicy(patience=0)


@dataclass(frozen=True, slots=True)
class Digest:
    """What identifies the content of a file.

    Attributes:
        algorithm: `crc32`, a name that `hashlib.new` knows, or one given to `register_hash`.
        value: Hexadecimal, lower case.
        size: Bytes.
    """

    algorithm: str
    value: str
    size: int


class Hash(Protocol):
    """The part of a `hashlib` object that digests need."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """The digest of all bytes so far, hexadecimal and lower case."""
        ...


class _Crc32:
    """The checksum of zlib, as a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_HASHES: dict[str, Callable[[], Hash]] = {"crc32": _Crc32}


def register_hash(algorithm: str, factory: Callable[[], Hash]) -> None:
    """Make a digest available that `hashlib` does not have.

    Args:
        algorithm: Its name, in lower case.
        factory: Gives a new hash.
    """
    _HASHES[algorithm] = factory


class Digester:
    """Computes the `Digest` of bytes as they pass."""

    def __init__(self, algorithm: str = DEFAULT_DIGEST) -> None:
        self._algorithm = algorithm
        factory = _HASHES.get(algorithm)
        self._hash: Hash = factory() if factory else hashlib.new(algorithm, usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(data)
        self.size += len(data)

    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest(self._algorithm, self._hash.hexdigest(), self.size)


class ByteSource(Protocol):
    """The part of a binary file that reading needs; HTTP responses and SDK streams have it too."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes; `b''` at the end."""

    def close(self) -> None:
        """Give back the connection or descriptor."""


@dataclass(frozen=True, slots=True)
class OpenedArtifact:
    """A file opened for reading, with what is known of that very content.

    Size and digest come from the same answer as the bytes, so a file that is replaced meanwhile is never checked
    against the size of its successor.

    Attributes:
        stream: The bytes from the offset asked for to the end, or as many as were asked for; more do no harm.
        size: Bytes of the whole file, whatever the range.
        digest: Of the whole file, where the service keeps one.
        version: What tells this content from others that had or will have its name (an ETag, a generation), if any.
    """

    stream: ByteSource
    size: int
    digest: Digest | None = None
    version: str | None = None


class ArtifactWriter(ABC):
    """One file on its way into a store; until `commit` nobody sees anything of it.

    Used by one thread at a time. The store calls `write` any number of times, then `commit` or `abort` once;
    if `write` or `commit` raised, `abort` follows.
    """

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Take all of `data`, or raise. `data` may be reused by the caller afterwards."""

    @abstractmethod
    def commit(self, expected: Digest) -> None:
        """Make the file appear, whole, in place of what was there; return when it is acknowledged.

        Args:
            expected: What the sender sent. Compare it with what arrived, by the best means the storage has.

        Raises:
            DataLoss: Size or digest differ; nothing may have appeared then.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop everything written so far and leave no trace. Called again, it does nothing."""


class ArtifactReader(io.RawIOBase):
    """A file of an artifact store, or a range of it, read in order or from any place.

    A seek opens the file anew at that offset, and so does a broken connection if it may be retried: what was read
    before is not fetched again. The end is believed only at the size that the store announced.

    Args:
        opener: Opens the file at an offset, for a number of bytes or to its end.
        path: For messages.
        check_digest: Compare with the digest that the service keeps, if it keeps one and all is read in order.
        retries: What to do when the connection breaks.
        start: Offset of the first byte to read.
        stop: Offset to end before; None for the end of the file.

    Attributes:
        size: Bytes of the whole file.
        digest: What the service says of the whole content, or None.

    Raises:
        DataLoss: By reads: bytes are missing or differ, or the file was replaced between two ranges.
    """

    def __init__(
        self,
        opener: Callable[[int, int | None], OpenedArtifact],
        path: str,
        *,
        check_digest: bool = True,
        retries: RetryPolicy = NO_RETRIES,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        super().__init__()
        self._opener = opener
        self._path = path
        self._retries = retries
        self._stop = stop
        self._stream: ByteSource = io.BytesIO()  # until there is one: an unfinished reader is closed as well
        self._position = start
        self._opened = retries.run(self._open)
        self.size, self.digest = self._opened.size, self._opened.digest
        self._digester = Digester(self.digest.algorithm) if self.digest and check_digest else None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an offset; the store is asked at the next read only."""
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise InvalidParameterValue(f"Cannot seek to offset {base + offset} of artifact {self._path!r}.")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` as far as the next bytes go; 0 at the end."""
        self._check_open()
        with memoryview(buffer).cast("B") as view:
            wanted = len(view) if self._stop is None else min(len(view), self._stop - self._position)
            if wanted <= 0 or self._position > self.size or self._at_end:
                return 0
            data = self._retries.run(lambda: self._read(wanted))
            view[: len(data)] = data
        self._verify(data)
        return len(data)

    @property
    def version(self) -> str | None:
        """What tells this content from others of the same name, if the store has such a thing."""
        return self._opened.version

    def require_same(self, other: ArtifactReader) -> None:
        """Refuse to be a range of another content than `other` is.

        Raises:
            DataLoss: The file was replaced between the two.
        """
        self._require_same(other._opened)

    def close(self) -> None:
        """Give back the stream."""
        if not self.closed:
            self._stream.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    @property
    def _at_end(self) -> bool:
        """Nothing is left, and no open stream could say otherwise."""
        return self._position == self.size != self._stream_position

    def _open(self) -> OpenedArtifact:
        length = None if self._stop is None else self._stop - self._position
        opened = self._opener(self._position, length)
        self._stream, self._stream_position = opened.stream, self._position
        return opened

    def _reopen(self) -> None:
        self._stream.close()
        self._require_same(self._open())

    def _require_same(self, opened: OpenedArtifact) -> None:
        first = self._opened
        # A service may keep a digest, and yet tell it only with the whole file.
        digests = {digest for digest in (first.digest, opened.digest) if digest is not None}
        if (opened.size, opened.version) != (first.size, first.version) or len(digests) > 1:
            raise DataLoss(f"Artifact {self._path!r} was replaced while it was being read; open it again.")

    def _read(self, size: int) -> bytes:
        try:
            if self._position != self._stream_position:
                self._reopen()
            data = self._stream.read(size) or b""
        except TemporarilyUnavailable:
            self._stream_position = -1
            raise
        except HoldallError:
            raise
        except OSError as error:
            raise InternalError(
                f"Reading artifact {self._path!r} failed after {self._position} of {self.size} bytes."
            ) from error
        self._stream_position += len(data)
        return data[:size]

    def _verify(self, data: bytes) -> None:
        start, self._position = self._position, self._position + len(data)
        if self._position > self.size:
            raise DataLoss(f"Artifact {self._path!r} is longer than the {self.size} bytes announced; open it again.")
        if not data and self._position < self.size:
            raise DataLoss(f"Artifact {self._path!r} ended after {self._position} of {self.size} bytes; read it again.")
        if self._digester is None or not data:
            return
        if self._digester.size != start:
            self._digester = None  # not in order: there is nothing to compare with
            return
        self._digester.update(data)
        if self._position == self.size and self._digester.digest() != self.digest:
            raise DataLoss(f"The bytes of artifact {self._path!r} do not match the digest that the store keeps.")


class ArtifactUpload(io.BufferedIOBase, BinaryIO):
    """A file being written into an artifact store: it appears whole when closed, or not at all.

    Leaving a `with` block by an exception, `abort()`, a failed write and forgetting the file (which warns) all drop it.
    A wrapper that closes it, such as `io.TextIOWrapper`, closes it for good: call `abort()` first if the text is not
    whole. Not for use by several threads at once.
    """

    def __init__(self, writer: ArtifactWriter, path: str, algorithm: str) -> None:
        super().__init__()
        self._writer = writer
        self._path = path
        self._digester = Digester(algorithm)
        self._buffer = bytearray()

    @property
    def name(self) -> str:
        """Path of the artifact."""
        return self._path

    @property
    def mode(self) -> str:
        """`wb`."""
        return "wb"

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        self._check_open()
        return self._digester.size + len(self._buffer)

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all of `data`.

        Raises:
            HoldallError: The store refused it; the upload is dropped.
        """
        self._check_open()
        with memoryview(data).cast("B") as view:
            if len(self._buffer) + len(view) > CHUNK_SIZE:
                self._send_buffer()
            if len(view) < CHUNK_SIZE:
                self._buffer += view
            else:
                for start in range(0, len(view), CHUNK_SIZE):
                    self._send(view[start : start + CHUNK_SIZE])
            return len(view)

    def digest(self) -> Digest:
        """Digest of what was written so far, of the kind that the store verifies with.

        Raises:
            HoldallError: The store refused what was still waiting; the upload is dropped.
        """
        self._check_open()
        self._send_buffer()
        return self._digester.digest()

    def close(self) -> None:
        """Make the file appear. Closing again does nothing.

        Raises:
            DataLoss: What arrived is not what was written; nothing appeared.
        """
        if self.closed:
            return
        self._send_buffer()
        try:
            self._writer.commit(self._digester.digest())
        except BaseException:
            self.abort()
            raise
        super().close()

    def abort(self) -> None:
        """Drop the file; nothing of it appears. After `close()` it does nothing."""
        if not self.closed:
            self._buffer.clear()
            super().close()
            self._writer.abort()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # The base class would close, and so publish half a file.
        if hasattr(self, "_buffer") and not self.closed:
            warnings.warn(
                f"upload of {self._path!r} was never closed; dropped", ResourceWarning, source=self, stacklevel=2
            )
            self.abort()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _send_buffer(self) -> None:
        if self._buffer:
            self._send(bytes(self._buffer))
            self._buffer.clear()

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._digester.update(data)
            self._writer.write(data)
        except BaseException:
            self.abort()
            raise
