"""An artifact store in memory that behaves like a service of objects: digests are kept, empty folders are not."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterable

from holdall.stores import ArtifactCapabilities, ArtifactStore, FileInfo, InvalidParameterValue, NotFound, StoreURI
from holdall.stores.artifact_io import ArtifactWriter, Digest, Digester, OpenedArtifact

__all__ = ["MemoryArtifactStore"]


class MemoryArtifactStore(ArtifactStore):
    """Objects of a bucket, for `objects://bucket/prefix`; stores of one bucket share them.

    Attributes:
        buckets: Bucket → key → content. Tests change it behind the back of stores.
        digests: What is announced of a content other than its own digest.
        unfinished: Uploads that were begun and neither committed nor aborted.
    """

    buckets: dict[str, dict[str, bytes]] = {}  # noqa: RUF012 - as a service, there is one for all
    digests: dict[bytes, str] = {}  # noqa: RUF012

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        super().__init__(uri, read_only=read_only)
        self.objects = self.buckets.setdefault(uri.host, {})
        self.unfinished = 0
        self.lock = threading.Lock()
        folder = uri.path.strip("/")
        self._prefix = f"{folder}/" if folder else ""

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(native_digests=True)

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        data = self.objects.get(self._prefix + path)
        if data is None:
            raise NotFound(f"There is no artifact {path!r}.")
        value = self.digests.get(data) or hashlib.sha256(data).hexdigest()
        return OpenedArtifact(io.BytesIO(data[offset:]), len(data), Digest("sha256", value, len(data)))

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return _Writer(self, self._prefix + path)

    def _stat(self, path: str) -> FileInfo | None:
        data = self.objects.get(self._prefix + path)
        if data is not None:
            return FileInfo(path, is_dir=False, file_size=len(data))
        return FileInfo(path, is_dir=True) if any(self._list(path)) else None

    def _list(self, path: str) -> Iterable[FileInfo]:
        start = f"{self._prefix}{path}/" if path else self._prefix
        found = {}
        for key, data in list(self.objects.items()):
            if key.startswith(start):
                name, slash, _ = key[len(start) :].partition("/")
                child = f"{path}/{name}" if path else name
                found[child, bool(slash)] = FileInfo(child, bool(slash), None if slash else len(data))
        return found.values()

    def _delete(self, path: str) -> None:
        key = self._prefix + path
        for name in list(self.objects):
            if name == key or name.startswith(f"{key}/" if path else key):
                del self.objects[name]


class _Writer(ArtifactWriter):
    def __init__(self, store: MemoryArtifactStore, key: str) -> None:
        self._store, self._key = store, key
        self._data = bytearray()
        self._digester = Digester()
        self._open = True
        self._count(1)

    def write(self, data: bytes | memoryview) -> None:
        self._data += data
        self._digester.update(data)

    def commit(self, expected: Digest) -> None:
        if self._digester.digest() != expected:
            raise InvalidParameterValue("What arrived is not what was sent.")
        self._store.objects[self._key] = bytes(self._data)
        self.abort()

    def abort(self) -> None:
        if self._open:
            self._open = False
            self._count(-1)

    def _count(self, number: int) -> None:
        with self._store.lock:
            self._store.unfinished += number
