"""Places of stores that scenarios press on: how to open one, and what it means that it is whole."""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from tests.backends.folders import torn_files

from holdall.conformance_tests.emulators import DatabaseName, DatabaseServer, shared_server
from holdall.stores import BackendStore, ProblemKind, ViewType, open_backend_store

__all__ = ["KINDS", "FolderPlace", "MariadbPlace", "Place", "PostgresqlPlace", "ServerPlace", "SqlitePlace"]

_OWN = re.compile(r"(^|/)(\.holdall|spare)")


class Place(ABC):
    """Where a store is.

    Args:
        path: Path without an ending.
    """

    ending = ""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + self.ending)

    @property
    @abstractmethod
    def uri(self) -> str:
        """What any process opens it by."""

    def open(self, *, read_only: bool = False) -> BackendStore:
        """Open the store."""
        return open_backend_store(self.uri, read_only=read_only)

    @abstractmethod
    def integrity(self) -> str:
        """`ok`, or what is wrong with the storage; asked when a write has followed whatever happened."""


class SqlitePlace(Place):
    """An SQLite file."""

    ending = ".db"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.path}"

    def integrity(self) -> str:
        with closing(sqlite3.connect(self.path)) as connection:
            return "; ".join(line for (line,) in connection.execute("PRAGMA integrity_check"))


class FolderPlace(Place):
    """A folder in MLflow's layout."""

    @property
    def uri(self) -> str:
        return str(self.path)

    def integrity(self) -> str:
        """No problem but what a dead writer did not finish, no file of a writer's own taken for data, no torn line."""
        with self.open(read_only=True) as store:
            wrong = [str(problem) for problem in store.find_problems() if problem.kind is not ProblemKind.UNFINISHED]
            ids = [experiment.experiment_id for experiment in store.search_experiments(ViewType.ALL)]
            for run in store.search_runs(ids, run_view_type=ViewType.ALL, max_results=50000):
                data = run.data
                keys = [key for key in (*data.params, *data.tags, *data.metrics) if _OWN.search(key)]
                wrong += [f"{run.info.run_id} has {key}" for key in keys]
        wrong += torn_files(self.path)
        return "; ".join(wrong) or "ok"


class ServerPlace(Place):
    """A database of a server; the same path is the same database.

    Args:
        path: Stands for the database.
        server: Where it is, instead of the server that all share.
    """

    scheme: ClassVar[DatabaseName]
    _databases: ClassVar[dict[tuple[DatabaseServer, Path], str]] = {}

    def __init__(self, path: Path, server: DatabaseServer | None = None) -> None:
        super().__init__(path)
        self.server = server or shared_server(self.scheme)
        key = self.server, path
        self.database = self._databases.get(key) or self._databases.setdefault(key, self.server.create_database())

    @property
    def uri(self) -> str:
        return self.server.uri(self.database)

    def integrity(self) -> str:
        """No latest value without its point, no metric without a latest value."""
        same = "m.run_uuid = l.run_uuid AND m.key = l.key"
        point = f"{same} AND m.step = l.step AND m.timestamp = l.timestamp AND m.value = l.value"
        stray = f"SELECT count(*) FROM latest_metrics l WHERE NOT EXISTS (SELECT 1 FROM metrics m WHERE {point})"
        bare = f"SELECT count(*) FROM metrics m WHERE NOT EXISTS (SELECT 1 FROM latest_metrics l WHERE {same})"
        found = [self.server.execute(self.database, sql)[0][0] for sql in (stray, bare)]
        return "ok" if found == [0, 0] else f"latest values without points, points without latest values: {found}"


class PostgresqlPlace(ServerPlace):
    """A PostgreSQL database."""

    scheme = "postgresql"


class MariadbPlace(ServerPlace):
    """A MariaDB database."""

    scheme = "mariadb"


KINDS: dict[str, type[Place]] = {
    "sqlite": SqlitePlace,
    "file": FolderPlace,
    "postgresql": PostgresqlPlace,
    "mariadb": MariadbPlace,
}
