"""`EmulatorHarness`: places on a storage server for the artifact suite."""

from __future__ import annotations

from holdall.conformance_tests.artifact_base import ArtifactHarness
from holdall.conformance_tests.emulators.storage import StorageServer
from holdall.stores import ArtifactStore, StoreURI, open_artifact_store

__all__ = ["EmulatorHarness"]


class EmulatorHarness(ArtifactHarness):
    """A new place on a storage server; raw access is by the service's own client library.

    Args:
        server: Where; started.
        prefix: Path of the store's root in the place, as it is; '' for the root of the place. A blank and a letter
            beyond ASCII, so that no test passes by luck.

    Attributes:
        uri: Of the store.
        raw_place: The whole place, what is outside the prefix included.
    """

    def __init__(self, server: StorageServer, prefix: str = "pre fix/näme") -> None:
        self.server, self.prefix = server, prefix
        place = server.create_place()
        self.uri = StoreURI.parse(server.uri(place)).join(*prefix.split("/") if prefix else ())
        self.raw_place = server.raw(place)

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self.uri, read_only=read_only)

    def another(self) -> EmulatorHarness:
        return type(self)(self.server, self.prefix)

    def raw_write(self, path: str, data: bytes) -> None:
        self.raw_place.write(self._inside(path), data)

    def raw_read(self, path: str) -> bytes | None:
        return self.raw_place.read(self._inside(path))

    def raw_list(self) -> set[str]:
        start = self._inside("")
        return {path.removeprefix(start) for path in self.raw_place.list() if path.startswith(start)}

    def raw_unfinished(self) -> list[str]:
        """Paths below the prefix of uploads that were begun and neither finished nor given up."""
        start = self._inside("")
        return [path.removeprefix(start) for path in self.raw_place.unfinished() if path.startswith(start)]

    def remove(self) -> None:
        self.raw_place.remove()

    def _inside(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path
