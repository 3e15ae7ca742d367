"""One server of each kind for all tests of a process."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Literal, overload

from holdall.conformance_tests.emulators.azurite import AzuriteServer
from holdall.conformance_tests.emulators.database import DatabaseServer
from holdall.conformance_tests.emulators.fake_gcs import FakeGcsServer
from holdall.conformance_tests.emulators.mariadb import MariadbServer
from holdall.conformance_tests.emulators.moto import MotoServer
from holdall.conformance_tests.emulators.postgresql import PostgresqlServer
from holdall.conformance_tests.emulators.seaweedfs import SeaweedfsServer
from holdall.conformance_tests.emulators.server import Server
from holdall.conformance_tests.emulators.sshd import SshdServer
from holdall.conformance_tests.emulators.storage import StorageServer
from holdall.stores import InvalidParameterValue

__all__ = ["DatabaseName", "StorageName", "new_server", "shared_server"]

DatabaseName = Literal["mariadb", "postgresql"]
StorageName = Literal["azurite", "fake-gcs", "moto", "seaweedfs", "sshd"]

_KINDS: dict[str, type[Server]] = {
    kind.name: kind
    for kind in (
        AzuriteServer,
        FakeGcsServer,
        MariadbServer,
        MotoServer,
        PostgresqlServer,
        SeaweedfsServer,
        SshdServer,
    )
}
_shared: dict[str, Server] = {}
_lock = threading.Lock()


@overload
def new_server(name: DatabaseName, *flags: str) -> DatabaseServer: ...
@overload
def new_server(name: StorageName, *flags: str) -> StorageServer: ...
@overload
def new_server(name: str, *flags: str) -> Server: ...
def new_server(name: str, *flags: str) -> Server:
    """A server that is not started yet, and the caller's to remove.

    Args:
        name: `azurite`, `fake-gcs`, `mariadb`, `moto`, `postgresql`, `seaweedfs` or `sshd`.
        flags: Further options of the server's command line.

    Raises:
        InvalidParameterValue: There is no such server.
    """
    if name not in _KINDS:
        raise InvalidParameterValue(f"Unknown server {name!r}; known are {', '.join(_KINDS)}.")
    return _KINDS[name](flags)


@overload
def shared_server(name: DatabaseName) -> DatabaseServer: ...
@overload
def shared_server(name: StorageName) -> StorageServer: ...
@overload
def shared_server(name: str) -> Server: ...
def shared_server(name: str) -> Server:
    """The server that all of this process, and its forked children, share: started on first use, removed at exit.

    Args:
        name: As for `new_server`.

    Raises:
        InvalidParameterValue: There is no such server.
        MissingExtra: The server or its client library is not installed and cannot be from here.
        InternalError: It does not start.
    """
    with _lock:
        if name not in _shared:
            server = new_server(name)
            server.start()
            atexit.register(_remove, server, os.getpid())
            _shared[name] = server
        return _shared[name]


def _remove(server: Server, starter: int) -> None:
    # A forked child has inherited this call, and leaves the server to the others.
    if os.getpid() == starter:
        server.remove()
