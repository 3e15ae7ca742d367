"""The services that are reached through a `FaultyWire`, and what tests need to know of each."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol, cast
from xml.sax.saxutils import escape

from tests.artifacts.emulated import storage_server
from tests.artifacts.faulty_wire import Direction, FaultyWire, HttpRequest
from tests.artifacts.gcs_server import GcsServer, serving

from holdall.artifacts.remote import RemoteArtifactStore
from holdall.conformance_tests.emulators import RawPlace, StorageName, StorageServer, new_server
from holdall.stores import StoreURI, open_artifact_store
from holdall.stores.atomic_file import PRIVATE_PREFIX

__all__ = [
    "LAST_PART",
    "MIB",
    "MOTO",
    "RESTARTED",
    "SERVICES",
    "Listing",
    "Rig",
    "Service",
    "Traffic",
    "described",
    "files_of",
]

MIB = 1 << 20
LAST_PART = 300_000
"""Bytes of the last part of a large file."""


class Reachable(Protocol):
    """The part of a `StorageServer` that is needed."""

    @property
    def port(self) -> int: ...
    def create_place(self) -> str: ...
    def uri(self, place: str, *, port: int | None = None) -> str: ...
    def raw(self, place: str) -> RawPlace: ...


Matcher = Callable[[HttpRequest], bool]
Listing = Callable[[Sequence[str], str | None], bytes]
"""The body of an answer that lists names, as they are, and says where the listing goes on."""


@dataclass(frozen=True, eq=False)
class Service:
    """A service, on one of the servers that tests start.

    Attributes:
        name: For the ids of tests.
        connect: Lends the server.
        part_size: Bytes of the parts of an upload, as small as the service allows.
        kinds: Its requests by what they are for: `put` (a small file), `begin`, `part`, `finish`, `abort` (an upload in
            parts), `get`, `list`, `stat`; empty for what is no HTTP.
        listing: Of HTTP services.
        options: For the URI.
        keeps_parts_beside_file: Whether parts of an upload that failed are kept where there is a file of that name.
    """

    name: str
    connect: Callable[[], AbstractContextManager[Reachable]]
    part_size: int = MIB
    kinds: Mapping[str, Matcher] = field(default_factory=dict)
    listing: Listing | None = None
    options: tuple[tuple[str, str], ...] = ()
    keeps_parts_beside_file: bool = False

    def __str__(self) -> str:
        return self.name


def described(data: bytes) -> str:
    """Content as messages of failing tests can show it."""
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}"


def files_of(service: Service) -> dict[str, dict[str, bytes]]:
    """The files of two folders to move: `small` ones, and a `large` one of several parts."""
    chance = random.Random(service.name)
    small = {f"f{size}.bin": chance.randbytes(size) for size in (0, 1, 300, 5_000, 70_000, 200_000)}
    large = max(1, 2 * MIB // service.part_size) * service.part_size + LAST_PART
    return {"small": small, "large": {"large.bin": chance.randbytes(large)}}


@dataclass(frozen=True)
class Traffic:
    """What passes while nothing fails.

    Attributes:
        sizes: Bytes in either direction.
        counts: Requests by kind.
    """

    sizes: Mapping[Direction, int]
    counts: Mapping[str, int]


class Rig:
    """A place on a service, stores that reach it through a wire, and a way around that.

    Attributes:
        service: Which.
        raw: The place, past wire and store.
        wire: Between stores and server.
        folder: Of the present test.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.folder = ""
        self._end = ExitStack()
        self._server = self._end.enter_context(service.connect())
        self._place = self._server.create_place()
        self.raw = self._server.raw(self._place)
        self._end.callback(self.raw.remove)
        self.wire = self._end.enter_context(FaultyWire(self._server.port, http=bool(service.kinds)))
        self._stores: dict[tuple[tuple[str, str], ...], RemoteArtifactStore] = {}
        self._folders = count()
        self._traffic: dict[str, Traffic] = {}
        self._left_before: set[str] = set()

    def open(
        self, *, patience: float = 5.0, timeout: float = 10.0, part_size: int | None = None, profile: str = ""
    ) -> RemoteArtifactStore:
        """A store of the place, behind the wire; the same one when it is asked for again. It is connected.

        Args:
            patience: Seconds.
            timeout: Seconds.
            part_size: Bytes; of ranges of a download as well.
            profile: Where S3 finds credentials, if not in the URI.
        """
        options = (*self.service.options, ("patience", str(patience)), ("timeout", str(timeout)))
        options += (("profile", profile),) if profile else ()
        if options not in self._stores:
            uri = StoreURI.parse(self._server.uri(self._place, port=self.wire.port))
            if profile:
                uri = replace(uri, username=None, password=None)
            store = open_artifact_store(replace(uri, query=(*uri.query, *options)))
            store.exists("nothing")
            self._stores[options] = self._end.enter_context(cast(RemoteArtifactStore, store))
        found = self._stores[options]
        found._part_size = part_size or self.service.part_size
        return found

    def begin(self) -> None:
        """Go on with a folder of its own, on a wire without faults."""
        self.wire.reset()
        self.folder = f"folder-{next(self._folders):04}"
        self._left_before = {path for path in self.raw.list() if PRIVATE_PREFIX in path}

    def end(self) -> None:
        """Remove what is in the folder."""
        self.wire.reset()
        self.open().delete_artifacts(self.folder)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Put files into the folder, past wire and store."""
        for path, data in files.items():
            self.raw.write(f"{self.folder}/{path}", data)

    def stored(self, *, private: bool = True) -> dict[str, str]:
        """The files in the folder, described, past wire and store.

        Args:
            private: Also what this test has left under the private names of unfinished uploads.
        """
        start = f"{self.folder}/"
        found: dict[str, str] = {}
        for path in self.raw.list() - self._left_before:
            if path.startswith(start) if PRIVATE_PREFIX not in path else private:
                found[path.removeprefix(start)] = described(self.raw.read(path) or b"")
        return found

    def unfinished(self) -> list[str]:
        """Paths in the folder where uploads have left what the service keeps and does not show."""
        return [path for path in self.raw.unfinished() if path.startswith(f"{self.folder}/")]

    def traffic(self, name: str, action: Callable[[], object]) -> Traffic:
        """What passes while an action succeeds; found out once for each name, on a store that is connected."""
        if name not in self._traffic:
            action()  # connects as often as it needs to, which must not count
            self.wire.reset()
            action()
            counts = {kind: self.count(kind) for kind in self.service.kinds}
            self._traffic[name] = Traffic(self.wire.passed, counts)
            self.wire.reset()
        return self._traffic[name]

    def count(self, kind: str) -> int:
        """How many requests of a kind came by."""
        return sum(self.service.kinds[kind](request) for request in self.wire.requests)

    def restart(self) -> None:
        """Stop the server, which must be this rig's own, and start it again."""
        assert isinstance(self._server, StorageServer)
        self._server.stop()
        self._server.start()

    def close(self) -> None:
        """Close the stores and the wire, and remove the place."""
        self._end.close()


# S3


def _s3_listing(names: Sequence[str], token: str | None) -> bytes:
    objects = "".join(f"<Contents><Key>{escape(name)}</Key><Size>1</Size></Contents>" for name in names)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f"<ListBucketResult>{objects}{more}</ListBucketResult>".encode()


S3_KINDS: Mapping[str, Matcher] = {
    "put": lambda request: request.method == "PUT" and "partNumber" not in request.query,
    "begin": lambda request: request.method == "POST" and "uploads" in request.query,
    "part": lambda request: request.method == "PUT" and "partNumber" in request.query,
    "finish": lambda request: request.method == "POST" and "uploadId" in request.query,
    "abort": lambda request: request.method == "DELETE" and "uploadId" in request.query,
    "get": lambda request: request.method == "GET" and not request.query,
    "list": lambda request: request.method == "GET" and "list-type" in request.query,
    "stat": lambda request: request.method == "HEAD",
}


# GCS


def _gcs_listing(names: Sequence[str], token: str | None) -> bytes:
    listing: dict[str, object] = {"items": [{"name": name, "size": "1"} for name in names]}
    return json.dumps(listing | ({"nextPageToken": token} if token else {})).encode()


def _is_gcs_upload(request: HttpRequest, kind: str) -> bool:
    return request.method == "POST" and request.query.get("uploadType") == kind


def _is_piece(request: HttpRequest, *, last: bool) -> bool:
    """Whether it sends bytes of a resumable upload, and does not ask how far that is."""
    place, _, total = request.headers.get("content-range", "").partition("/")
    return request.method == "PUT" and not place.endswith("*") and (total != "*") == last


GCS_KINDS: Mapping[str, Matcher] = {
    "put": lambda request: _is_gcs_upload(request, "multipart"),
    "part": lambda request: _is_gcs_upload(request, "media"),
    "finish": lambda request: request.method == "POST" and request.path.endswith("/compose"),
    "abort": lambda request: request.method == "DELETE",
    "get": lambda request: request.method == "GET" and request.query.get("alt") == "media",
    "list": lambda request: request.method == "GET" and "maxResults" in request.query,
    "stat": lambda request: request.method == "GET" and "generation" in request.query.get("fields", "").split(","),
}

RESUMABLE_KINDS: Mapping[str, Matcher] = {
    "begin": lambda request: _is_gcs_upload(request, "resumable"),
    "part": lambda request: _is_piece(request, last=False),
    "finish": lambda request: _is_piece(request, last=True),
    "abort": lambda request: request.method == "DELETE" and "upload_id" in request.query,
}
"""Of files that are sent piece after piece, which the others are not."""


# Azure


def _azure_listing(names: Sequence[str], token: str | None) -> bytes:
    properties = "<Properties><Content-Length>1</Content-Length></Properties>"
    blobs = "".join(f"<Blob><Name>{escape(name)}</Name>{properties}</Blob>" for name in names)
    marker = f"<NextMarker>{token}</NextMarker>" if token else "<NextMarker/>"
    return f"<EnumerationResults><Blobs>{blobs}</Blobs>{marker}</EnumerationResults>".encode()


AZURE_KINDS: Mapping[str, Matcher] = {
    "put": lambda request: request.method == "PUT" and "comp" not in request.query,
    "part": lambda request: request.method == "PUT" and request.query.get("comp") == "block",
    "finish": lambda request: request.method == "PUT" and request.query.get("comp") == "blocklist",
    "abort": lambda request: request.method == "DELETE",
    "get": lambda request: request.method == "GET" and "comp" not in request.query,
    "list": lambda request: request.method == "GET" and request.query.get("comp") == "list",
    "stat": lambda request: request.method == "HEAD",
}


# The server of the tests that keeps to Google's documentation, since the emulator knows nothing of broken uploads


class _DocumentedGcs:
    def __init__(self, server: GcsServer) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    def create_place(self) -> str:
        return "bucket"

    def uri(self, place: str, *, port: int | None = None) -> str:
        return f"gs://{place}?endpoint_url=http://127.0.0.1:{port or self.port}&anonymous=true"

    def raw(self, place: str) -> RawPlace:
        return _DocumentedBucket(self._server)


class _DocumentedBucket(RawPlace):
    def __init__(self, server: GcsServer) -> None:
        self._server = server

    def write(self, path: str, data: bytes) -> None:
        self._server.put(path, data)

    def read(self, path: str) -> bytes | None:
        kept = self._server.objects.get(path)
        return kept.data if kept else None

    def unfinished(self) -> list[str]:
        return sorted(session.key for session in self._server.sessions.values() if session.data)

    def list(self) -> set[str]:
        return set(self._server.objects)

    def remove(self) -> None:
        self._server.objects.clear()
        self._server.sessions.clear()


@contextmanager
def _documented_gcs() -> Iterator[Reachable]:
    with serving() as server:
        yield _DocumentedGcs(server)


@contextmanager
def _own(name: StorageName) -> Iterator[Reachable]:
    server = new_server(name)
    server.start()
    yield server
    server.remove()


def _shared(name: str) -> Callable[[], AbstractContextManager[Reachable]]:
    return lambda: nullcontext(storage_server(name))


SERVICES: Sequence[Service] = (
    Service("seaweedfs", _shared("seaweedfs"), 5 * MIB, S3_KINDS, _s3_listing),
    Service("gcs", _shared("fake-gcs"), MIB, GCS_KINDS, _gcs_listing, (("composite", "true"),)),
    Service("gcs-resumable", _documented_gcs, MIB, RESUMABLE_KINDS, None, (("composite", "false"),)),
    Service("azurite", _shared("azurite"), MIB, AZURE_KINDS, _azure_listing, keeps_parts_beside_file=True),
    Service("sshd", _shared("sshd")),
)

MOTO = Service("moto", _shared("moto"), 5 * MIB, S3_KINDS, _s3_listing)
"""S3 that takes all credentials, and does not look at checksums."""

RESTARTED: Sequence[Service] = (
    Service("seaweedfs-own", lambda: _own("seaweedfs"), 5 * MIB, S3_KINDS),
    Service("sshd-own", lambda: _own("sshd")),
)
"""On servers of their own, which keep their data when they are started again."""
