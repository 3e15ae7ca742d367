"""One server of each kind for all tests of a process."""

from __future__ import annotations

import atexit
import os
import threading

from holdall.conformance_tests.emulators.mariadb import MariadbServer
from holdall.conformance_tests.emulators.postgresql import PostgresqlServer
from holdall.conformance_tests.emulators.server import DatabaseServer
from holdall.stores import InvalidParameterValue

__all__ = ["new_server", "shared_server"]

_KINDS: dict[str, type[DatabaseServer]] = {"mariadb": MariadbServer, "postgresql": PostgresqlServer}
_shared: dict[str, DatabaseServer] = {}
_lock = threading.Lock()


def new_server(scheme: str, *flags: str) -> DatabaseServer:
    """A server that is not started yet, and the caller's to remove.

    Args:
        scheme: `mariadb` or `postgresql`.
        flags: Further options of the server's command line.

    Raises:
        InvalidParameterValue: There is no such server.
    """
    if scheme not in _KINDS:
        raise InvalidParameterValue(f"Unknown server {scheme!r}; known are {', '.join(_KINDS)}.")
    return _KINDS[scheme](flags)


def shared_server(scheme: str) -> DatabaseServer:
    """The server that all of this process, and its forked children, share: started on first use, removed at exit.

    Args:
        scheme: `mariadb` or `postgresql`.

    Raises:
        InvalidParameterValue: There is no such server.
        MissingExtra: The server or its client library is not installed and cannot be from here.
        InternalError: It does not start.
    """
    with _lock:
        if scheme not in _shared:
            server = new_server(scheme)
            server.start()
            atexit.register(_remove, server, os.getpid())
            _shared[scheme] = server
        return _shared[scheme]


def _remove(server: DatabaseServer, starter: int) -> None:
    # A forked child has inherited this call, and leaves the server to the others.
    if os.getpid() == starter:
        server.remove()
