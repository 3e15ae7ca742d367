"""`StorageServer`: what the servers of files and objects have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from holdall.conformance_tests.emulators.server import Server

__all__ = ["RawPlace", "StorageServer"]


class RawPlace(ABC):
    """A bucket, container or folder, reached by the service's own client library and past any store.

    Paths are taken as they are. Each call is a request of its own; the environment directs none of them elsewhere.
    """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Put a file there, with the folders it needs; replaces one that is there."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """The content of the file at a path, or None."""

    @abstractmethod
    def unfinished(self) -> list[str]:
        """Paths, sorted, where uploads have left what `list` does not show and the service keeps."""

    @abstractmethod
    def list(self) -> set[str]:
        """Paths of all files, hidden and temporary ones included."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the place with all that is in it, unfinished uploads too; it is no error if it is gone."""


class StorageServer(Server):
    """A server of files or objects.

    Attributes:
        gaps: Tests of the conformance suite that fail because of the server, whatever the store does → why.
    """

    gaps: ClassVar[Mapping[str, str]] = {}

    _account: ClassVar[str | None] = None  # others might not reach Python, Node.js and what is installed with them

    def new_uri(self) -> str:
        return self.uri(self.create_place())

    @abstractmethod
    def create_place(self) -> str:
        """Make a bucket, container or folder.

        Returns:
            Its name, which is new.
        """

    @abstractmethod
    def uri(self, place: str, *, port: int | None = None) -> str:
        """The URI of a place, which says all that a store needs to know, credentials included.

        Args:
            place: Its name.
            port: Another port, such as that of a proxy.
        """

    @abstractmethod
    def raw(self, place: str) -> RawPlace:
        """Access to a place past any store."""

    def _url(self, port: int | None = None) -> str:
        return f"http://{self.host}:{port or self.port}"

    def _says(self, text: str) -> bool:
        """Whether this server, and no other at its port, has printed a text since its start."""
        return text in self._started.log
