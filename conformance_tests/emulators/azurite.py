"""`AzuriteServer`."""

from __future__ import annotations

import base64
import os
import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from holdall.conformance_tests.emulators.node import find_azurite, find_node
from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.server import new_name
from holdall.conformance_tests.emulators.storage import RawPlace, StorageServer
from holdall.stores import StoreURI

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient, ContainerClient

__all__ = ["AzuriteServer"]


class AzuriteServer(StorageServer):
    """Azurite: the blobs of Azure Storage, in memory.

    Attributes:
        account: Of Azurite's name for it.
        account_key: Of that account; random, so that no other test run is taken for this server.
    """

    name = "azurite"
    scheme = "wasbs"
    keeps_data = False
    gaps: ClassVar[Mapping[str, str]] = {  # Azure's own
        "test_keep_strange_name_of_file_and_folder[backslash]": "Azure makes a slash of a backslash",
        "test_find_strange_names_written_by_others": "Azure makes a slash of a backslash",
    }
    _stop_signal = signal.SIGKILL  # it would wait for its clients, and has nothing to save
    account: str = "devstoreaccount1"
    _modules = (("azure.storage.blob", "azure-storage-blob"),)

    def __init__(self, flags: Sequence[str] = ()) -> None:
        super().__init__(flags)
        self.account_key = base64.b64encode(secrets.token_bytes(64)).decode()

    def create_place(self) -> str:
        name = new_name().replace("_", "-")
        self._client().create_container(name)
        return name

    def uri(self, place: str, *, port: int | None = None) -> str:
        options = (("endpoint_url", f"{self._url(port)}/{self.account}"), ("account_key", self.account_key))
        host = f"{self.account}.blob.core.windows.net"
        return StoreURI(self.scheme, username=place, host=host, query=options).render(hide_password=False)

    def raw(self, place: str) -> RawPlace:
        return _Container(self._client().get_container_client(place))

    def _client(self) -> BlobServiceClient:
        return _new_client(f"{self._url()}/{self.account}", self.account, self.account_key, os.getpid())

    def _initialise(self, process: ServerProcess) -> None:
        pass

    def _command(self, folder: Path) -> list[str | Path]:
        accounts = f"AZURITE_ACCOUNTS={self.account}:{self.account_key}"
        where = ["--blobHost", self.host, "--blobPort", str(self.port), "--inMemoryPersistence"]
        # The client library is newer than what Azurite says it knows.
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        return ["/usr/bin/env", accounts, find_node(), find_azurite(), *where, *options, *self._flags]

    def _answers(self) -> bool:
        return self._says(f"successfully listens on {self._url()}")


class _Container(RawPlace):
    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    def write(self, path: str, data: bytes) -> None:
        self._client.upload_blob(path, data, overwrite=True)

    def read(self, path: str) -> bytes | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._client.download_blob(path).readall()
        except ResourceNotFoundError:
            return None

    def unfinished(self) -> list[str]:
        return sorted(name for name in self._names() if self._has_uncommitted(name))

    def list(self) -> set[str]:
        return {blob.name for blob in self._client.list_blobs()}

    def remove(self) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            self._client.delete_container()

    def _names(self) -> Iterator[str]:
        """Of all blobs of blocks, also those that no block was committed to."""
        for blob in self._client.list_blobs(include=["uncommittedblobs"]):
            if blob.blob_type == "BlockBlob":
                yield blob.name

    def _has_uncommitted(self, name: str) -> bool:
        _, uncommitted = self._client.get_blob_client(name).get_block_list("all")
        return bool(uncommitted)


@lru_cache(maxsize=16)
def _new_client(url: str, account: str, key: str, process: int) -> BlobServiceClient:
    """A client for all threads of a process, whose connections no forked child may use."""
    from azure.storage.blob import BlobServiceClient

    credential = {"account_name": account, "account_key": key}
    return BlobServiceClient(url, credential, use_env_settings=False)
