"""Fill a database with runs: the same rows for every side. Standard library only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.workload import (
    EXPERIMENT,
    EXPERIMENT_ID,
    HISTORY_RUN,
    START,
    Scale,
    StoredRun,
    points,
    stored_runs,
)

__all__ = ["count_rows", "insert_experiment", "populate"]

COUNTED = ("runs", "metrics", "latest_metrics", "params", "tags")


def insert_experiment(path: Path, artifacts: Path) -> None:
    """Add the experiment of the benchmark to an empty store."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO experiments"
            " (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
            " VALUES (?, ?, ?, 'active', ?, ?)",
            (EXPERIMENT_ID, EXPERIMENT, str(artifacts / str(EXPERIMENT_ID)), START, START),
        )


def populate(path: Path, artifacts: Path, scale: Scale) -> None:
    """Add the runs that searches go through, and the run with the long history."""
    runs = stored_runs(scale.runs)
    with closing(sqlite3.connect(path)) as db, db:
        _insert_runs(db, artifacts, ((run.run_id, run.name, run.start_time) for run in runs), "active")
        # Deleted, so that searches do not meet it.
        _insert_runs(db, artifacts, [(HISTORY_RUN, "history", START)], "deleted")
        for table, pairs in (("params", _params(runs)), ("tags", _tags(runs))):
            db.executemany(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)", pairs)
        for table in ("metrics", "latest_metrics"):
            _insert_points(db, table, _metrics(runs))
        _insert_points(
            db, "metrics", ((HISTORY_RUN, p.key, p.value, p.timestamp, p.step) for p in points(scale.points))
        )
        last = points(1, first_step=scale.points - 1)
        _insert_points(db, "latest_metrics", ((HISTORY_RUN, p.key, p.value, p.timestamp, p.step) for p in last))


def count_rows(path: Path) -> list[int]:
    """Rows of the tables that logging fills."""
    with closing(sqlite3.connect(path)) as db:
        return [int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in COUNTED]


def _insert_runs(db: sqlite3.Connection, artifacts: Path, runs: Iterable[tuple[str, str, int]], stage: str) -> None:
    root = artifacts / str(EXPERIMENT_ID)
    db.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
        " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, ?, 'UNKNOWN', '', '', 'bench', 'FINISHED', ?, ?, '', ?, ?, ?)",
        (
            (run_id, name, start, start + 500, stage, f"{root}/{run_id}/artifacts", EXPERIMENT_ID)
            for run_id, name, start in runs
        ),
    )


def _insert_points(db: sqlite3.Connection, table: str, rows: Iterable[tuple[str, str, float, int, int]]) -> None:
    db.executemany(
        f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)", rows
    )


def _params(runs: list[StoredRun]) -> Iterator[tuple[str, str, str]]:
    return ((run.run_id, key, value) for run in runs for key, value in run.params)


def _tags(runs: list[StoredRun]) -> Iterator[tuple[str, str, str]]:
    return ((run.run_id, key, value) for run in runs for key, value in run.tags)


def _metrics(runs: list[StoredRun]) -> Iterator[tuple[str, str, float, int, int]]:
    return ((run.run_id, key, value, run.start_time, 0) for run in runs for key, value in run.metrics)
