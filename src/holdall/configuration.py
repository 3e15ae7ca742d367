"""The tracking configuration of this process: which store the fluent calls and `Client()` mean."""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from pathlib import Path
from threading import RLock

from holdall import environment
from holdall.connections import Connection
from holdall.defaults import REMEDY, Target, default_target
from holdall.stores.uri import StoreURI

__all__ = ["CONFIGURATION", "TrackingConfiguration"]

logger = logging.getLogger("holdall")

MAX_CONNECTIONS = 8


class TrackingConfiguration:
    """What is configured, and the connections that were opened for it; safe to share between threads.

    Switching back to a URI finds its store as it was left, which matters for `memory://`. Of the stores that can be
    opened again only the last few stay open, and those that a `Client` or an open run still uses.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._chosen: Target | None = None
        self._resolved: tuple[str | None, Target] | None = None
        self._connections: OrderedDict[Target, Connection] = OrderedDict()

    def set_uri(self, uri: str | Path | StoreURI | None) -> None:
        """Choose a store; None or `''` goes back to the environment and the defaults.

        Raises:
            InvalidParameterValue: The URI is malformed.
        """
        target = None if uri is None or uri == "" else Target.configured(uri)
        with self._lock:
            self._chosen, self._resolved = target, None

    def is_set(self) -> bool:
        """Whether a store was chosen, here or by `MLFLOW_TRACKING_URI`."""
        return self._chosen is not None or environment.tracking_uri() is not None

    def target(self) -> Target:
        """What the configuration means.

        Raises:
            InvalidParameterValue: `MLFLOW_TRACKING_URI` is malformed.
        """
        with self._lock:
            if self._chosen is not None:
                return self._chosen
            text = environment.tracking_uri()
            if self._resolved is None or self._resolved[0] != text:
                self._resolved = text, default_target(Path.cwd()) if text is None else Target.configured(text)
            return self._resolved[1]

    def connection(self) -> Connection:
        """The open store that the configuration means; a new database may come into being here.

        Raises:
            HoldallError: The store cannot be opened.
        """
        with self._lock:
            target = self.target()
            connection = self._connections.get(target)
            if connection is None:
                connection = self._connections[target] = Connection(target)
                _tell(connection)
                self._forget_surplus()
            self._connections.move_to_end(target)
            return connection

    def close(self) -> None:
        """Close all connections, also those in use, and forget what was configured."""
        with self._lock:
            connections = list(self._connections.values())
            self._connections.clear()
            self._chosen = self._resolved = None
        for connection in connections:
            connection.close()

    def _forget_surplus(self) -> None:
        """Drop the oldest ones that can be opened again; they close when nobody uses them."""
        surplus = len(self._connections) - MAX_CONNECTIONS
        persistent = [target for target, open_ in self._connections.items() if open_.store.capabilities.persistent]
        for target in persistent[: max(0, min(surplus, len(persistent) - 1))]:
            del self._connections[target]


def _tell(connection: Connection) -> None:
    """Say which store is used although nothing was configured: in the log or, where that is not shown, on stderr."""
    notice = connection.target.notice
    if notice is None:
        return
    store = connection.store
    how = "created" if store.created else "opened"
    message = f"{how} {store.uri}, artifacts of new experiments under {store.artifact_root} ({notice}; {REMEDY})"
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        logger.info("%s", message)
    elif sys.stderr is not None:
        sys.stderr.write(f"holdall: {message}\n")


CONFIGURATION = TrackingConfiguration()
"""The configuration of this process."""
