"""Databases that holdall and MLflow share, of whatever product."""

from __future__ import annotations

import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.interop.peers import Peer, Place
from tests.interop.snapshot import FIXTURES
from tests.interop.steps import ROOT, Search, Step
from tests.interop.workload import REGISTER, WRITE, searches, without_twins

from holdall.conformance_tests.emulators import DatabaseServer
from holdall.stores import BackendStore, open_backend_store

__all__ = ["Databases", "ServerDatabases", "SharedDatabase", "SqliteDatabases"]


@dataclass(frozen=True, slots=True)
class SharedDatabase:
    """One database.

    Attributes:
        place: Where MLflow finds it.
        uri: Where holdall finds it.
        revision: Gives its Alembic revision; fails if the database is damaged.
    """

    place: Place
    uri: str
    revision: Callable[[], str]

    def open(self) -> BackendStore:
        """Open it by holdall."""
        return open_backend_store(self.uri, artifact_root=ROOT)


class Databases(ABC):
    """Makes databases."""

    @abstractmethod
    def fresh(self) -> SharedDatabase:
        """A database with nothing in it."""

    @abstractmethod
    def filled(self, version: str) -> SharedDatabase:
        """A database that MLflow `version` made and wrote the workload to, models included."""

    def searches(self, version: str) -> list[Search]:
        """Those in which MLflow `version` and holdall agree."""
        return searches(f"mlflow-{version}")

    def possible(self, steps: Sequence[Step]) -> list[Step]:
        """The same steps within what MLflow can do in a database that it made."""
        return list(steps)


class SqliteDatabases(Databases):
    """SQLite files; the filled ones are the fixtures.

    Args:
        folder: Where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self) -> SharedDatabase:
        return self._at(self._folder / "fresh.db")

    def filled(self, version: str) -> SharedDatabase:
        return self._at(Path(shutil.copyfile(FIXTURES / f"mlflow-{version}.db", self._folder / "filled.db")))

    def _at(self, file: Path) -> SharedDatabase:
        return SharedDatabase(file, f"sqlite:///{file}", partial(_sqlite_revision, file))


@dataclass(frozen=True, slots=True)
class ServerDatabases(Databases):
    """Databases of a server that the tests start.

    Attributes:
        server: The server.
        exact: Whether names that differ in letter case only may stand side by side in MLflow's tables.
    """

    server: DatabaseServer
    exact: bool

    def fresh(self) -> SharedDatabase:
        return self._at(self.server.create_database())

    def filled(self, version: str) -> SharedDatabase:
        return self._at(self.server.create_database(template=_filled(self, version)))

    def searches(self, version: str) -> list[Search]:
        asked = searches(f"mlflow-{version}", server=True)
        return [search for search in asked if self.exact or "tags.t" not in search[1]]  # MLflow sorts by the collation

    def possible(self, steps: Sequence[Step]) -> list[Step]:
        return list(steps) if self.exact else without_twins(steps)

    def _at(self, name: str) -> SharedDatabase:
        uri = self.server.uri(name)
        return SharedDatabase(uri, uri, partial(_server_revision, self.server, name))


@cache
def _filled(databases: ServerDatabases, version: str) -> str:
    fresh = databases.fresh()
    Peer.of(version).use(fresh.place, [*databases.possible(WRITE), REGISTER])
    return fresh.uri.rpartition("/")[2]


def _sqlite_revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return str(revision)


def _server_revision(server: DatabaseServer, name: str) -> str:
    [(revision,)] = server.execute(name, "SELECT version_num FROM alembic_version")
    return str(revision)
