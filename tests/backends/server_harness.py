"""Harness of stores on a database server that the tests start themselves; raw access goes past the store."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from holdall.conformance_tests import BackendHarness, RawAccess
from holdall.conformance_tests.emulators import DatabaseName, DatabaseServer, shared_server
from holdall.stores import BackendStore, Metric, open_backend_store

__all__ = ["ServerHarness", "SqlRawAccess", "held", "open_transactions", "server_harness", "until", "waiting"]

LARGEST = 1.7976931348623157e308
"""How the tables keep Inf."""

_shared: dict[tuple[object, ...], str] = {}
"""Databases that the tests of a class share; they end with their server."""


class SqlRawAccess(RawAccess):
    """The tables of a database, by statements of the server's own.

    Args:
        server: Where the database is.
        database: Its name.
    """

    def __init__(self, server: DatabaseServer, database: str) -> None:
        self._server, self._database = server, database
        self._mark = '"' if server.scheme == "postgresql" else "`"

    def metric_points(self, run_id: str) -> list[Metric]:
        columns = "metrics.key, value, timestamp, step, is_nan"
        rows = self._execute(f"SELECT {columns} FROM metrics WHERE run_uuid = %s", run_id)
        typed = cast(list[tuple[str, float, int, int, bool]], rows)
        return [Metric(key, _decode(value, is_nan), timestamp, step) for key, value, timestamp, step, is_nan in typed]

    def write_metric_point(self, run_id: str, metric: Metric) -> None:
        columns = f"({self._quoted('key')}, value, timestamp, step, run_uuid, is_nan)"
        row = (metric.key, _encode(metric.value), metric.timestamp, metric.step, run_id, math.isnan(metric.value))
        self._execute(f"INSERT INTO metrics {columns} VALUES (%s, %s, %s, %s, %s, %s)", *row)

    def params(self, run_id: str) -> dict[str, str]:
        return self._pairs("params", run_id)

    def tags(self, run_id: str) -> dict[str, str]:
        return self._pairs("tags", run_id)

    def counts(self) -> dict[str, int]:
        counting = [f"SELECT '{table}', count(*) FROM {self._quoted(table)}" for table in self._tables()]
        return dict(cast(list[tuple[str, int]], self._execute(" UNION ALL ".join(counting)) if counting else []))

    def digest(self) -> str:
        summary = hashlib.sha256()
        for table in self._tables():
            rows = self._execute(f"SELECT * FROM {self._quoted(table)}")
            summary.update("\n".join([table, *sorted(map(repr, rows)), ""]).encode())
        return summary.hexdigest()

    def _tables(self) -> list[str]:
        schema = "current_schema()" if self._server.scheme == "postgresql" else "database()"
        rows = self._execute(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}")
        return sorted(str(name) for (name,) in rows)

    def _pairs(self, table: str, run_id: str) -> dict[str, str]:
        rows = self._execute(f"SELECT {table}.key, value FROM {table} WHERE run_uuid = %s", run_id)
        return dict(cast(list[tuple[str, str]], rows))

    def _quoted(self, name: str) -> str:
        return f"{self._mark}{name}{self._mark}"

    def _execute(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        return self._server.execute(self._database, sql, parameters)


class ServerHarness(BackendHarness):
    """A store in a database of a server.

    Args:
        server: The server, running.
        folder: Artifacts go below it.
        database: Use this one, which others use too, instead of a fresh one.
        prototype: A database that fresh ones are copies of, such as one that MLflow made.
        options: Of the statements that create databases.
        scheme: Of the URI, if it is not the server's.

    Attributes:
        server: The server.
        database: Name of the database.
    """

    def __init__(
        self,
        server: DatabaseServer,
        folder: Path,
        *,
        database: str | None = None,
        prototype: str | None = None,
        options: str = "",
        scheme: str | None = None,
    ) -> None:
        self.server = server
        self.isolated = database is None
        self.database = database or server.create_database(template=prototype, options=options)
        self.uri = server.uri(self.database, scheme=scheme)
        if server.scheme == "mariadb":
            self.uri += "?ssl_disabled=true"  # the driver takes 20 ms to prepare for TLS, at every connection
        self.artifact_root = str(folder / "artifacts")
        self.raw = SqlRawAccess(server, self.database)
        self._folder, self._prototype, self._options, self._scheme = folder, prototype, options, scheme
        self._others: list[ServerHarness] = []

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        assert self.uri is not None
        return open_backend_store(self.uri, artifact_root=self.artifact_root, read_only=read_only, create=create)

    def another(self) -> ServerHarness:
        other = type(self)(
            self.server, self._folder, prototype=self._prototype, options=self._options, scheme=self._scheme
        )
        self._others.append(other)
        return other

    def remove(self) -> None:
        """Drop the databases that were made for this harness."""
        for other in self._others:
            other.remove()
        if self.isolated:
            self.server.drop_database(self.database)


def server_harness(
    request: pytest.FixtureRequest,
    folder: Path,
    scheme: DatabaseName,
    *,
    server: DatabaseServer | None = None,
    prototype: str | None = None,
    options: str = "",
    uri_scheme: str | None = None,
) -> Iterator[ServerHarness]:
    """What a fixture `harness` yields from: a database of its own for a test that needs one, else its class's.

    Args:
        request: Of the fixture.
        folder: Of the test.
        scheme: Which of the shared servers.
        server: Another server instead.
        prototype: A database that fresh ones are copies of.
        options: Of the statements that create databases.
        uri_scheme: Of the URI, if it is not the server's.
    """
    server = server or shared_server(scheme)
    database = None
    if not _needs_isolation(request):
        key = (request.cls, id(server), prototype, options)
        if key not in _shared:
            _shared[key] = server.create_database(template=prototype, options=options)
        database = _shared[key]
    harness = ServerHarness(server, folder, database=database, prototype=prototype, options=options, scheme=uri_scheme)
    yield harness
    harness.remove()


def _needs_isolation(request: pytest.FixtureRequest) -> bool:
    return any("isolated" in mark.args for mark in request.node.iter_markers("requires"))


def _encode(value: float) -> float:
    if math.isnan(value):
        return 0.0
    return math.copysign(LARGEST, value) if math.isinf(value) else value


def _decode(value: float, is_nan: bool) -> float:
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) == LARGEST else value


@contextmanager
def held(harness: ServerHarness, run_id: str) -> Iterator[None]:
    """Somebody else holds the row of a run, and whatever refers to it waits."""
    with closing(harness.server.connect(harness.database)) as other:
        cursor = other.cursor()
        cursor.execute("BEGIN")
        if harness.server.scheme == "postgresql":  # a new point needs no lock of its run there
            cursor.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        else:
            cursor.execute("SELECT * FROM runs WHERE run_uuid = %s FOR UPDATE", [run_id])
        yield
        cursor.execute("ROLLBACK")


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not become so"
        time.sleep(0.01)


def waiting(harness: ServerHarness) -> int:
    """How many statements of this database wait for a lock."""
    if harness.server.scheme == "postgresql":
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return int(str(harness.server.execute(harness.database, sql, [harness.database])[0][0]))
    # Not `information_schema.innodb_trx`: InnoDB renews it only when nobody has read it for 0.1 s, that is, never for
    # one who polls.
    sql = "SELECT id FROM information_schema.processlist WHERE db = %s"
    own = {int(str(row[0])) for row in harness.server.execute(harness.database, sql, [harness.database])}
    status = str(harness.server.execute(harness.database, "SHOW ENGINE INNODB STATUS")[0][2])
    found = [re.search(r"thread id (\d+)", part) for part in status.split("---TRANSACTION") if "LOCK WAIT" in part]
    return sum(one is not None and int(one[1]) in own for one in found)


def open_transactions(harness: ServerHarness) -> int:
    """How many transactions of this database are open without doing anything."""
    if harness.server.scheme == "postgresql":
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'"
    else:
        sql = (
            "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
            "ON trx_mysql_thread_id = id WHERE db = %s AND command = 'Sleep'"
        )
    return int(str(harness.server.execute(harness.database, sql, [harness.database])[0][0]))
