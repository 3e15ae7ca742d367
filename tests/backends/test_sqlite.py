"""`sqlite://` passes the conformance suite, on files and in memory; raw access goes through the standard library."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdall.conformance_tests import BackendStoreSuite, RawAccess, UriHarness
from holdall.stores import Metric

LARGEST = 1.7976931348623157e308
"""How the tables keep Inf."""


class SqliteRawAccess(RawAccess):
    """The tables of a database file, by statements of the standard library.

    Args:
        file: The database.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=30)) as connection, connection:
            yield connection

    def metric_points(self, run_id: str) -> list[Metric]:
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?", [run_id]
            ).fetchall()
        return [Metric(key, _decode(value, is_nan), timestamp, step) for key, value, timestamp, step, is_nan in rows]

    def write_metric_point(self, run_id: str, metric: Metric) -> None:
        row = [metric.key, metric.value, metric.timestamp, metric.step, run_id, False]
        columns = "(key, value, timestamp, step, run_uuid, is_nan)"
        with self._connect() as connection:
            connection.execute(f"INSERT INTO metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", row)

    def params(self, run_id: str) -> dict[str, str]:
        return self._pairs("params", run_id)

    def tags(self, run_id: str) -> dict[str, str]:
        return self._pairs("tags", run_id)

    def _pairs(self, table: str, run_id: str) -> dict[str, str]:
        with self._connect() as connection:
            return dict(connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", [run_id]))

    def counts(self) -> dict[str, int]:
        with self._connect() as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}

    def digest(self) -> str:
        summary = hashlib.sha256()
        for file in sorted(self._file.parent.glob(f"{self._file.name}*")):
            summary.update(
                f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode() + file.read_bytes()
            )
        return summary.hexdigest()


def _decode(value: float, is_nan: int) -> float:
    if is_nan:
        return float("nan")
    return float("inf") * (1 if value > 0 else -1) if abs(value) == LARGEST else value


class TestSqliteFile(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        harness = UriHarness("sqlite:///{tmp}/runs.db", tmp_path)
        harness.raw = SqliteRawAccess(tmp_path / "runs.db")
        return harness


class TestSqliteMemory(BackendStoreSuite):
    uri = "sqlite:///:memory:"
