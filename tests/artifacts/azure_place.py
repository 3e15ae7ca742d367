"""Containers on Azurite, and what tests do there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from tests.artifacts.emulated import storage_server
from tests.artifacts.faulty_services import AZURE_KINDS
from tests.artifacts.faulty_wire import FaultyWire

from holdall.conformance_tests.emulators import AzuriteServer
from holdall.stores import ArtifactStore, StoreURI, open_artifact_store

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

    from holdall.artifacts.azure.store import AzureArtifactStore

__all__ = ["MIB", "Place", "new_place", "open_store", "put", "read"]

MIB = 1 << 20


@dataclass
class Place:
    """A new container, reached by a store through a wire and by the client library past both."""

    server: AzuriteServer
    name: str
    wire: FaultyWire

    @property
    def client(self) -> ContainerClient:
        return self.server._client().get_container_client(self.name)

    @property
    def account(self) -> str:
        return self.server.account

    def open(self, *, read_only: bool = False, direct: bool = False, **options: str) -> AzureArtifactStore:
        """A store with parts of a mebibyte; by the account's key unless options name other credentials."""
        uri = StoreURI.parse(self.server.uri(self.name, port=None if direct else self.wire.port))
        query = dict(uri.query)
        if options.keys() & {"account_key", "sas_token", "anonymous"}:
            del query["account_key"]
        query = {"patience": "1", **query, **options}
        return open_store(replace(uri, query=tuple(query.items())), read_only=read_only)

    def sas(self, permission: str, *, expires: timedelta = timedelta(hours=1)) -> str:
        """A shared access signature for the container."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        return generate_container_sas(
            self.account,
            self.name,
            self.server.account_key,
            permission=ContainerSasPermissions.from_string(permission),
            expiry=datetime.now(UTC) + expires,
        )

    def content(self) -> dict[str, bytes]:
        """All blobs."""
        raw = self.server.raw(self.name)
        return {name: raw.read(name) or b"" for name in raw.list()}

    def unfinished(self) -> list[str]:
        """Blobs with blocks that are no part of them."""
        return self.server.raw(self.name).unfinished()

    def blocks(self) -> list[str]:
        """Ids of the blocks that were sent since the last reset of the wire, in order."""
        return [request.query["blockid"] for request in self.wire.requests if AZURE_KINDS["part"](request)]

    def deletions(self) -> int:
        """How many requests since the last reset of the wire would delete a blob."""
        return sum(AZURE_KINDS["abort"](request) for request in self.wire.requests)

    def wait_for_blocks(self, number: int) -> None:
        """Wait until so many blocks are on their way."""
        deadline = time.monotonic() + 30
        while len(self.blocks()) < number:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@contextmanager
def new_place() -> Iterator[Place]:
    """A new container, which is removed afterwards."""
    server = storage_server("azurite")
    assert isinstance(server, AzuriteServer)
    with FaultyWire(server.port, http=True) as wire:
        place = Place(server, server.create_place(), wire)
        yield place
        server.raw(place.name).remove()


def open_store(uri: StoreURI, *, read_only: bool = False) -> AzureArtifactStore:
    """A store with parts of a mebibyte."""
    store = cast("AzureArtifactStore", open_artifact_store(uri, read_only=read_only))
    store._part_size = MIB
    return store


def put(store: ArtifactStore, path: str, data: bytes) -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def read(store: ArtifactStore, path: str) -> bytes:
    with store.open(path) as reader:
        return reader.read()
