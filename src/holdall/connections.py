"""Open stores: one backend store with the artifact stores of its runs."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from holdall.artifacts.http.addresses import locate_artifacts
from holdall.defaults import Target
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.backend import BackendStore
from holdall.stores.resolution import open_artifact_store, open_backend_store
from holdall.stores.uri import StoreURI

__all__ = ["ArtifactStores", "Connection"]

MAX_ARTIFACT_STORES = 16
MAX_ARTIFACT_URIS = 4096


@dataclass(slots=True)
class _Shared:
    store: ArtifactStore
    users: int = 0


class ArtifactStores:
    """Artifact stores by URI, opened when first used and shared between threads.

    Every run has a URI of its own, so the least recently used ones are closed, unless somebody is using them.

    Args:
        read_only: Open them read-only.
        keep: How many unused ones stay open.
        tracking: Of the store of the runs; if it is a tracking server, that moves their `mlflow-artifacts:`.
    """

    def __init__(
        self, *, read_only: bool = False, keep: int = MAX_ARTIFACT_STORES, tracking: StoreURI | None = None
    ) -> None:
        self.read_only = read_only
        self._tracking = tracking
        self._keep = keep
        self._lock = Lock()
        self._open: OrderedDict[str, _Shared] = OrderedDict()

    @contextmanager
    def lend(self, uri: str) -> Iterator[ArtifactStore]:
        """The store at a URI, which stays open at least until the `with` block ends.

        Args:
            uri: Artifact URI of a run.
        """
        with self._lock:
            shared = self._open.get(uri)
            if shared is None:
                shared = self._open[uri] = _Shared(self._opened(uri))
            shared.users += 1
            self._open.move_to_end(uri)
        try:
            yield shared.store
        finally:
            with self._lock:
                shared.users -= 1
                surplus = self._take_surplus()
            for store in surplus:
                store.close()

    def _opened(self, uri: str) -> ArtifactStore:
        located = locate_artifacts(StoreURI.parse(uri), self._tracking)
        return open_artifact_store(located, read_only=self.read_only)

    def _take_surplus(self) -> list[ArtifactStore]:
        idle = [uri for uri, shared in self._open.items() if not shared.users]
        return [self._open.pop(uri).store for uri in idle[: max(0, len(self._open) - self._keep)]]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            stores = [shared.store for shared in self._open.values()]
            self._open.clear()
        for store in stores:
            store.close()


class Connection:
    """An open backend store and the artifact stores of its runs, safe to share between threads.

    It is closed by `close`, when nothing refers to it any more, or when the interpreter exits, whichever comes first.

    Args:
        target: What to open.
        read_only: Refuse writes, and write nothing on opening.

    Attributes:
        target: What was opened.
        store: The backend store.
        artifacts: The artifact stores.
        table_lock: Held while rows are appended to a table.
    """

    def __init__(self, target: Target, *, read_only: bool = False) -> None:
        self.target = target
        self.store = open_backend_store(target.uri, artifact_root=target.artifact_root, read_only=read_only)
        self.artifacts = ArtifactStores(read_only=read_only, tracking=target.uri)
        self.table_lock = Lock()
        self._artifact_uris: dict[str, str] = {}
        self._closer = weakref.finalize(self, _close, self.store, self.artifacts)

    def artifact_uri(self, run_id: str) -> str:
        """Where a run keeps its artifacts; asked of the store once, as it never changes.

        Raises:
            NotFound: There is no such run.
        """
        uri = self._artifact_uris.get(run_id)
        if uri is None:
            if len(self._artifact_uris) >= MAX_ARTIFACT_URIS:
                self._artifact_uris.clear()
            uri = self._artifact_uris[run_id] = self.store.get_run(run_id).info.artifact_uri
        return uri

    def close(self) -> None:
        """Close everything; closing again does nothing."""
        self._closer()


def _close(store: BackendStore, artifacts: ArtifactStores) -> None:
    artifacts.close()
    store.close()
