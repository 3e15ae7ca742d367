"""`http://` passes the conformance suite, through live servers of holdall over stores of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from tests.backends.served import ServedSuite, server  # noqa: F401 - a fixture
from tests.backends.test_file import FolderRawAccess
from tests.backends.test_sqlite import SqliteRawAccess
from tests.server.live import live_server

from holdall.conformance_tests import RawAccess
from holdall.conformance_tests.emulators import DatabaseName, shared_server

pytestmark = pytest.mark.extras


class HoldallSuite(ServedSuite):
    """The suite through `holdall server`."""

    exclusions: ClassVar[Mapping[str, str]] = {
        "test_create_model_in_experiment_with_location_keeps_files_there": "a server takes no options of storage from "
        "those who create experiments: they would be used with its own credentials",
    }


class TestServedMemory(HoldallSuite):
    @classmethod
    @contextmanager
    def serve(cls, folder: Path) -> Iterator[str]:
        with live_server(folder, backend="memory://") as live:
            yield live.url


class TestServedFolder(HoldallSuite):
    @classmethod
    @contextmanager
    def serve(cls, folder: Path) -> Iterator[str]:
        with live_server(folder, backend="./mlruns") as live:
            yield live.url

    @classmethod
    def raw(cls, folder: Path) -> RawAccess:
        return FolderRawAccess(folder / "mlruns")


class TestServedSqlite(HoldallSuite):
    @classmethod
    @contextmanager
    def serve(cls, folder: Path) -> Iterator[str]:
        with live_server(folder, backend="sqlite:///runs.db") as live:
            yield live.url

    @classmethod
    def raw(cls, folder: Path) -> RawAccess:
        return SqliteRawAccess(folder / "runs.db")


@contextmanager
def serve_database(folder: Path, name: DatabaseName) -> Iterator[str]:
    """A server whose store is a new database on a database server."""
    database = shared_server(name)
    with live_server(folder, backend=database.uri(database.create_database())) as live:
        yield live.url


class TestServedPostgresql(HoldallSuite):
    @classmethod
    def serve(cls, folder: Path) -> AbstractContextManager[str]:
        return serve_database(folder, "postgresql")


class TestServedMariadb(HoldallSuite):
    @classmethod
    def serve(cls, folder: Path) -> AbstractContextManager[str]:
        return serve_database(folder, "mariadb")
