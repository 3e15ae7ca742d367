"""Both stores pass the conformance suite, with raw access behind their backs."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdall.conformance_tests import BackendStoreSuite, RawAccess, UriHarness
from holdall.conformance_tests.artifacts import ArtifactHarness, ArtifactStoreSuite
from holdall.stores import ArtifactStore, Metric, open_artifact_store


class JournalRawAccess(RawAccess):
    """The journal itself, read and written as text."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def metric_points(self, run_id: str) -> list[Metric]:
        points = [tuple(point) for event in self._batches(run_id) for point in event["metrics"]]
        return [Metric(*point) for point in {repr(point): point for point in points}.values()]

    def write_metric_point(self, run_id: str, metric: Metric) -> None:
        point = [metric.key, metric.value, metric.timestamp, metric.step]
        event = {"do": "log_batch", "run_id": run_id, "metrics": [point], "params": [], "tags": {}}
        with self._file.open("a", encoding="ascii") as journal:
            journal.write(json.dumps(event) + "\n")

    def params(self, run_id: str) -> dict[str, str]:
        return dict(pair for event in self._batches(run_id) for pair in event["params"])

    def tags(self, run_id: str) -> dict[str, str]:
        return {key: value for event in self._batches(run_id) for key, value in event["tags"].items()}

    def counts(self) -> dict[str, int]:
        return {"lines": len(self._events())}

    def digest(self) -> str:
        return hashlib.sha256(self._file.read_bytes() + str(self._file.stat().st_mtime_ns).encode()).hexdigest()

    def _batches(self, run_id: str) -> Iterator[dict[str, Any]]:
        return (event for event in self._events() if event["do"] == "log_batch" and event["run_id"] == run_id)

    def _events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text("ascii").splitlines()]


class TestJsonlBackendStore(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        harness = UriHarness("jsonl://{tmp}/runs", tmp_path)
        harness.raw = JournalRawAccess(tmp_path / "runs" / "journal.jsonl")
        return harness


class SqlarHarness(ArtifactHarness):
    """An archive in a folder; raw access by statements of the standard library."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "files.sqlar"
        self._others = 0

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(f"sqlar://{self._file}", read_only=read_only)

    def another(self) -> ArtifactHarness:
        self._others += 1
        folder = self._folder / f"another-{self._others}"
        folder.mkdir()
        return SqlarHarness(folder)

    def raw_write(self, path: str, data: bytes) -> None:
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)"
            )
            connection.execute("REPLACE INTO sqlar VALUES (?, 33188, 0, ?, ?)", [path, len(data), data])

    def raw_read(self, path: str) -> bytes | None:
        rows = self._rows("SELECT data FROM sqlar WHERE name = ?", path)
        return rows[0][0] if rows else None

    def raw_list(self) -> set[str]:
        return {name for (name,) in self._rows("SELECT name FROM sqlar")}

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        if not self._file.is_file():
            return []
        with closing(sqlite3.connect(self._file)) as connection:
            return connection.execute(statement, values).fetchall()


class TestSqlarArtifactStore(ArtifactStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SqlarHarness:
        folder = tmp_path / "place"
        folder.mkdir()
        return SqlarHarness(folder)
