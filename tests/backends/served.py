"""The backend suite through a running server."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from holdall.conformance_tests import BackendHarness, BackendStoreSuite, RawAccess
from holdall.stores import BackendStore, open_backend_store

__all__ = ["ServedHarness", "ServedSuite", "server"]


class ServedHarness(BackendHarness):
    """The store at a running server, which all tests of a class share.

    Args:
        url: Of the server.
        raw: Access to the storage behind it.
    """

    isolated = False

    def __init__(self, url: str, raw: RawAccess | None = None) -> None:
        self.uri = self._url = url
        self.raw = raw or RawAccess()

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        return open_backend_store(self._url, read_only=read_only, create=create)


class ServedSuite(BackendStoreSuite):
    """The suite through a server."""

    @classmethod
    @abstractmethod
    def serve(cls, folder: Path) -> AbstractContextManager[str]:
        """A server that runs in a folder while the context lasts; its URL."""

    @classmethod
    def raw(cls, folder: Path) -> RawAccess:  # noqa: ARG003
        """Access to the storage behind the server in a folder."""
        return RawAccess()

    @pytest.fixture
    def harness(self, server: ServedHarness) -> BackendHarness:
        return server


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHarness]:
    """The server of a class."""
    suite, folder = request.cls, tmp_path_factory.mktemp("server")
    assert suite is not None
    assert issubclass(suite, ServedSuite)
    with suite.serve(folder) as url:
        yield ServedHarness(url, suite.raw(folder))
