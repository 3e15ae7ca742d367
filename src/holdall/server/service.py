"""What a worker holds: the opened stores, and the threads that call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from holdall.connections import ArtifactStores
from holdall.server.lanes import Lane
from holdall.server.meters import MeterTable
from holdall.server.options import ServerOptions
from holdall.stores import open_artifact_store, open_backend_store
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.backend import BackendStore
from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["Service"]

T = TypeVar("T")

REMOTE_THREADS = 16
"""Calls at once to a store that is reached through a network, whose calls wait most of their time."""

SLOW_THREADS = 4
TRANSFER_THREADS = 16


class Service:
    """The stores that a worker serves. To be made in its event loop.

    Args:
        options: Of the server.
        meters: Of all workers.

    Attributes:
        options: Of the server.
        meters: Of all workers.
        store: Experiments and runs.
        artifacts: Where served artifacts are; None if none are.
        run_artifacts: Opened artifact stores of runs that keep theirs elsewhere.
        transfers: Threads that move files.
    """

    def __init__(self, options: ServerOptions, meters: MeterTable) -> None:
        self.options = options
        self.meters = meters
        self.store: BackendStore = open_backend_store(
            options.backend_store, artifact_root=options.artifact_root, read_only=options.read_only
        )
        self.artifacts: ArtifactStore | None = None
        if options.serve_artifacts:
            self.artifacts = open_artifact_store(options.artifacts_destination, read_only=options.read_only)
        self.run_artifacts = ArtifactStores(read_only=options.read_only)
        remote = self.store.capabilities.remote
        self._quick = Lane(
            "quick", REMOTE_THREADS if remote else 1, options.max_waiting, 1 if remote else 16, self.store.group_calls
        )
        self._slow = Lane("slow", REMOTE_THREADS if remote else SLOW_THREADS, options.max_waiting, batch=1)
        self.transfers = Lane("transfers", TRANSFER_THREADS, options.max_waiting, batch=1)

    @property
    def waiting(self) -> int:
        """Calls that have been begun or wait for a thread."""
        return self._quick.waiting + self._slow.waiting + self.transfers.waiting

    async def run(self, work: Callable[[], T], *, slow: bool) -> T:
        """Run a call to the store in a thread."""
        return await (self._slow if slow else self._quick).run(work)

    def require_ready(self) -> None:
        """Raise `TemporarilyUnavailable` unless the store answers."""
        try:
            self.store.search_experiments(max_results=1)
        except Exception as error:
            raise TemporarilyUnavailable("The store does not answer.") from error

    def close(self) -> None:
        """Finish what was begun, and close the stores."""
        for lane in (self._quick, self._slow, self.transfers):
            lane.close()
        self.run_artifacts.close()
        if self.artifacts is not None:
            self.artifacts.close()
        self.store.close()
