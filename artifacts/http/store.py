"""`ProxiedArtifactStore`: artifacts that a tracking server moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from holdall.artifacts.http.addresses import locate_artifacts
from holdall.artifacts.http.service import ProxiedArtifacts
from holdall.stores.artifact_io import ArtifactWriter, Digest, Digester, OpenedArtifact
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.entities import FileInfo
from holdall.stores.errors import (
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    Unauthenticated,
)
from holdall.stores.http_client import Body, HttpResponse, HttpUpload
from holdall.stores.representation import find_digest
from holdall.stores.transfers import Transfer
from holdall.stores.uri import StoreURI

__all__ = ["ProxiedArtifactStore"]

WHOLE_BYTES = 4 << 20
"""Files up to this size are sent in one request that can be repeated, the digest first."""

_SKIPPED_BLOCK = 1 << 20


class ProxiedArtifactStore(ArtifactStore):
    """Artifacts of a tracking server, holdall's or MLflow's, through its `mlflow-artifacts` routes.

    Everything `ArtifactStore` promises, as far as the server keeps it: what storage it uses, how durable that is and
    which names it has is the server's. holdall's servers keep all of it. Of MLflow's it is not promised that a file
    appears whole or not at all, nor that names with `#` and the like can be stored.

    **Verification.** Uploads go with their SHA-256, before small files and after large ones, and holdall's servers
    compare it before the file appears; with other servers the size is compared afterwards. Downloads are compared with
    the size, and with the digest if the server's storage keeps one.

    **Retries.** What is temporary is repeated, downloads from the byte that they have come to. Servers of MLflow 2 know
    no ranges: there, and only after a failure or a seek, what was read before is fetched again and passed over.

    **Credentials** are those of a tracking server: in the URI, else `MLFLOW_TRACKING_USERNAME` and `…_PASSWORD`, or
    `MLFLOW_TRACKING_TOKEN`. They are not sent to other hosts than that of the tracking URI.

    Args:
        uri: `mlflow-artifacts:/path`, below the server that `MLFLOW_TRACKING_URI` names; or
            `http[s]://host/api/2.0/mlflow-artifacts/artifacts/path`. In the query, `patience` is how many seconds
            temporary failures are borne.
        read_only: Refuse every write with `ReadOnly`.

    Raises:
        InvalidParameterValue: The URI is malformed, or the tracking server is not known.
    """

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        super().__init__(uri, read_only=read_only, max_workers=8)
        self._server = ProxiedArtifacts(locate_artifacts(uri))
        self._retries = self._server.settings.retries
        self._answers_head = True

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities()

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        try:
            response = self._server.get(path, offset, length)
        except (TemporarilyUnavailable, Unauthenticated, PermissionDenied):
            raise
        except HoldallError as error:
            info = self._find(path)
            if info is None:
                raise NotFound(f"There is no artifact {path!r} in {self.uri}.") from error
            if info.is_dir:
                raise InvalidParameterValue(
                    f"Artifact {path!r} is not a file; list it, or name a file in it."
                ) from error
            raise
        size = self._whole_size(response, path)
        kept = find_digest(response.headers.get("Repr-Digest", ""))
        digest = Digest(*kept, size) if kept is not None else None
        if offset and response.status == 200:
            _skip(response, offset)
        return OpenedArtifact(response, size, digest, response.headers.get("ETag"))

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return _Writer(self._server, path, self._find)

    def _stat(self, path: str) -> FileInfo | None:
        if self._answers_head:
            response = self._server.head(path)
            response.close()
            length = response.headers.get("Content-Length", "")
            if response.status == 200 and length.isdigit():
                return FileInfo(path, is_dir=False, file_size=int(length))
            if response.status not in (400, 404):
                self._answers_head = False  # servers of MLflow 2 fetch the file, and tell nothing of it
        return self._find(path)

    def _list(self, path: str) -> Iterable[FileInfo]:
        return self._server.list(path)

    def _delete(self, path: str) -> None:
        if path or self._server.root:
            self._server.delete(path)
            return
        for info in self._server.list(""):
            self._server.delete(info.path)

    def _upload_file(self, source: Path, path: str, transfer: Transfer) -> None:
        upload = super()._upload_file
        if source.stat().st_size <= WHOLE_BYTES:  # one request, which is repeated by itself
            upload(source, path, transfer)
        else:
            self._retries.run(lambda: upload(source, path, transfer))

    def _close(self) -> None:
        self._server.client.close()

    def _find(self, path: str) -> FileInfo | None:
        """A file or folder, as the folder above shows it."""
        return next((info for info in self._server.list(path.rpartition("/")[0]) if info.path == path), None)

    def _whole_size(self, response: HttpResponse, path: str) -> int:
        """Bytes of the whole file; servers of MLflow 2 tell them in listings only."""
        if response.status == 206:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
        else:
            total = response.headers.get("Content-Length", "")
        if total.isdigit():
            return int(total)
        info = self._find(path)
        if info is None or info.file_size is None:
            response.close()
            raise InternalError(f"The server does not say how large artifact {path!r} is.")
        return info.file_size


class _Writer(ArtifactWriter):
    """A file on its way: held until it is known to be small, else sent in chunks whose end comes with `commit`."""

    def __init__(self, server: ProxiedArtifacts, path: str, find: Callable[[str], FileInfo | None]) -> None:
        self._server, self._path, self._find = server, path, find
        self._digester = Digester()
        self._held = bytearray()
        self._upload: HttpUpload | None = None

    def write(self, data: bytes | memoryview) -> None:
        self._digester.update(data)
        if self._upload is None:
            if len(self._held) + len(data) <= WHOLE_BYTES:
                self._held += data
                return
            self._upload = self._server.begin_put(self._path)
            self._send(self._upload, self._held)
            self._held = bytearray()
        self._send(self._upload, data)

    def commit(self, expected: Digest) -> None:
        received = self._digester.digest()
        if received != expected:
            raise self._loss("it has changed on its way to the connection")
        if self._upload is None:
            response = self._server.put(self._path, self._held, received)
        else:
            response = self._server.finish_put(self._path, self._upload, received)
        kept = find_digest(response.headers.get("Repr-Digest", ""))
        if kept is not None and kept != (received.algorithm, received.value):
            raise self._loss("the server has received other bytes")
        if kept is None and ((info := self._find(self._path)) is None or info.file_size != received.size):
            raise self._loss("the server lists it with another size, or not at all")

    def abort(self) -> None:
        self._held = bytearray()
        if self._upload is not None:
            self._upload.abort()

    def _send(self, upload: HttpUpload, data: Body) -> None:
        if not upload.write(data):
            self._server.finish_put(self._path, upload, None)

    def _loss(self, reason: str) -> DataLoss:
        return DataLoss(f"Artifact {self._path!r} was not stored as it was sent: {reason}; try again.")


def _skip(response: HttpResponse, count: int) -> None:
    """Pass over what a server sends although it was not asked for."""
    while count > 0:
        data = response.read(min(count, _SKIPPED_BLOCK))
        if not data:
            return  # the reader sees that bytes are missing
        count -= len(data)
