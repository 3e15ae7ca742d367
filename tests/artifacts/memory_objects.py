"""A store of objects in memory: what the transfer engine needs of a service, with nothing in between."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from holdall.artifacts.objects import ListedObject, ObjectArtifactStore, ObjectPage
from holdall.artifacts.parts import PartedUpload
from holdall.stores import ArtifactCapabilities, Digest, OpenedArtifact, StoreURI
from holdall.stores.http_client import Body
from holdall.stores.retries import RetryPolicy

__all__ = ["Bucket", "MemoryObjectStore"]


def nothing(*_: object) -> None:
    """Does nothing."""


@dataclass
class Bucket:
    """Objects by key, and what happens around requests.

    Attributes:
        objects: Content by key.
        versions: How often each key was written.
        unfinished: Keys of uploads in parts that were begun and not ended.
        sent: Key and number of every part that arrived, in order.
        before_part: Called with key and number before a part is taken; may raise.
        before_get: Called with key and offset before a range is opened; may raise.
        page: Objects of one page.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    sent: list[tuple[str, int, int]] = field(default_factory=list)
    before_part: Callable[[str, int], None] = nothing
    before_get: Callable[[str, int], None] = nothing
    page: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock)

    def write(self, key: str, data: bytes) -> None:
        with self.lock:
            self.objects[key] = data
            self.versions[key] = self.versions.get(key, 0) + 1


class MemoryObjectStore(ObjectArtifactStore):
    """See `Bucket`, of which each host has one."""

    _digest_algorithm = "crc32"
    buckets: ClassVar[dict[str, Bucket]] = {}

    def __init__(self, uri: StoreURI, *, read_only: bool = False, patience: float = 0.2) -> None:
        super().__init__(uri, read_only=read_only, retries=RetryPolicy(patience, first_wait=0.001))
        self.bucket = self.buckets.setdefault(uri.host, Bucket())

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(native_digests=True)

    def _get_object(self, key: str, offset: int, length: int | None) -> OpenedArtifact | None:
        self.bucket.before_get(key, offset)
        with self.bucket.lock:
            data = self.bucket.objects.get(key)
            if data is None:
                return None
            version = str(self.bucket.versions[key])
        stop = len(data) if length is None else offset + length
        return OpenedArtifact(io.BytesIO(data[offset:stop]), len(data), _digest(data), version)

    def _head_object(self, key: str) -> int | None:
        data = self.bucket.objects.get(key)
        return None if data is None else len(data)

    def _put_object(self, key: str, data: Body, digest: Digest) -> None:
        self.bucket.write(key, bytes(data))

    def _begin_object(self, key: str, size: int | None) -> PartedUpload:
        self.bucket.unfinished.append(key)
        return _Upload(self, key)

    def _list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        with self.bucket.lock:
            sizes = {key: len(data) for key, data in self.bucket.objects.items() if key.startswith(prefix)}
        found = sorted({key if deep else prefix + _cut(key[len(prefix) :]) for key in sizes})
        size = limit or self.bucket.page
        page = [key for key in found if key > (token or "")][:size]
        more = bool(page) and page[-1] != found[-1]
        prefixes = [key for key in page if not deep and key.endswith("/") and key != prefix]
        objects = [ListedObject(key, sizes[key]) for key in page if key not in prefixes]
        return ObjectPage(objects, prefixes, page[-1] if more else None)

    def _delete_objects(self, keys: list[str]) -> None:
        with self.bucket.lock:
            for key in keys:
                self.bucket.objects.pop(key, None)


class _Upload(PartedUpload):
    def __init__(self, store: MemoryObjectStore, key: str) -> None:
        self._store, self._key = store, key
        self._parts: dict[int, bytes] = {}

    def send(self, number: int, data: Body) -> None:
        self._store._retry(lambda: self._store.bucket.before_part(self._key, number))
        with self._store.bucket.lock:
            self._parts[number] = bytes(data)
            self._store.bucket.sent.append((self._key, number, len(data)))

    def finish(self, parts: int, digest: Digest) -> None:
        data = b"".join(self._parts[number] for number in range(1, parts + 1))
        assert _digest(data) == digest
        self._store.bucket.write(self._key, data)
        self._store.bucket.unfinished.remove(self._key)

    def cancel(self) -> None:
        self._store.bucket.unfinished.remove(self._key)


def _digest(data: bytes) -> Digest:
    return Digest("crc32", f"{zlib.crc32(data):08x}", len(data))


def _cut(rest: str) -> str:
    name, slash, _ = rest.partition("/")
    return name + slash
