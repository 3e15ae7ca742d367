"""The raw `sqlite3` driver on holdall's own tables: the fewest statements that do the work, one transaction per call.

What it leaves out is what a store is for: it checks no argument, does not look whether the run is active, compares no
param with the one that is there already, and returns rows, not objects. Durability is the same: the same journal mode,
the same `synchronous`, a COMMIT before each call returns.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.sides.base import Answer, Task
from benchmarks.sides.sqlite import SqliteSide
from benchmarks.workload import EXPERIMENT, EXPERIMENT_ID, PAGE, START, TOP, Point
from holdall.stores import open_backend_store

__all__ = ["RawSide"]

Row = tuple[object, ...]
RunRows = tuple[Row, list[Row], list[Row], list[Row]]
"""The row of a run, its metrics, params, tags."""

_SETTINGS = ("journal_mode = WAL", "cache_size = -16000", "temp_store = MEMORY")
"""The same as the store's, besides `synchronous`."""

_INSERT_RUN = (
    "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
    " source_version, lifecycle_stage, artifact_uri, experiment_id)"
    " VALUES (?, ?, 'UNKNOWN', '', '', 'bench', 'RUNNING', ?, '', 'active', ?, ?)"
)
_INSERT_POINT = (
    "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    " ON CONFLICT DO NOTHING"
)
_INSERT_LATEST = (
    "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    " ON CONFLICT (run_uuid, key) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp,"
    " step = excluded.step, is_nan = excluded.is_nan"
    " WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)"
)
_INSERT_PARAM = "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)"
_INSERT_TAG = (
    "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)"
    " ON CONFLICT (run_uuid, key) DO UPDATE SET value = excluded.value"
)
_SELECT_RUN = "SELECT * FROM runs WHERE run_uuid = ?"
_SELECT_TOP = (  # in the order of joins that proved fastest; ids first, so that only they are sorted
    "SELECT p.run_uuid FROM params AS p"
    " CROSS JOIN latest_metrics AS m ON m.run_uuid = p.run_uuid AND m.key = 'm0' AND m.value > 0.25"
    " CROSS JOIN runs ON runs.run_uuid = p.run_uuid AND runs.experiment_id = ? AND runs.lifecycle_stage = 'active'"
    " WHERE p.key = 'p0' AND p.value = 'v3'"
    " ORDER BY m.value DESC, runs.start_time DESC, runs.run_uuid LIMIT ?"
)
_SELECT_LISTED = tuple(
    f"SELECT * FROM {table} WHERE run_uuid IN (SELECT value FROM json_each(?))"
    for table in ("runs", "latest_metrics", "params", "tags")
)
_SELECT_DATA = tuple(
    f"SELECT {columns} FROM {table} WHERE run_uuid = ?"
    for table, columns in (
        ("latest_metrics", "key, value, timestamp, step, is_nan"),
        ("params", "key, value"),
        ("tags", "key, value"),
    )
)
_SELECT_ALL_RUNS = (
    "SELECT * FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active' ORDER BY start_time DESC, run_uuid"
)
_SELECT_ALL_DATA = tuple(
    f"SELECT {table}.* FROM {table} JOIN runs USING (run_uuid) WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    for table in ("latest_metrics", "params", "tags")
)
_SELECT_HISTORY = (
    "SELECT key, value, timestamp, step FROM metrics WHERE run_uuid = ? AND key = ?"
    " ORDER BY timestamp, step, value, is_nan"
)


class RawSide(SqliteSide):
    """See the module."""

    @property
    def version(self) -> str:
        return f"sqlite3 {sqlite3.sqlite_version}, WAL, synchronous={self.synchronous}"

    def create(self, path: Path) -> None:
        with open_backend_store(f"sqlite:///{path}", artifact_root=self.artifacts):
            pass

    def open(self) -> None:
        self._log, self._read = self._connect(self.log_path), self._connect(self.read_path)
        self._schema = _schema(self.spare_path)

    def close(self) -> None:
        self._log.close()
        self._read.close()

    def _connect(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        for setting in (*_SETTINGS, f"synchronous = {self.synchronous}"):
            db.execute(f"PRAGMA {setting}")
        return db

    def start_run(self) -> str:
        return self._create_run("logged")

    def create_run(self, name: str) -> Task[str]:
        return Task(partial(self._create_run, name))

    def _create_run(self, name: str) -> str:
        run_id = uuid.uuid4().hex
        location = f"{self.artifacts}/{EXPERIMENT_ID}/{run_id}/artifacts"
        with _transaction(self._log) as db:
            db.execute(_INSERT_RUN, (run_id, name, START, location, EXPERIMENT_ID))
            db.execute(_INSERT_TAG, (run_id, "mlflow.runName", name))
        return run_id

    def log_metric(self, run_id: str, point: Point) -> Task[None]:
        return Task(partial(self._log_metric, (run_id, point.key, point.value, point.timestamp, point.step)))

    def _log_metric(self, row: Row) -> None:
        with _transaction(self._log) as db:
            db.execute(_INSERT_POINT, row)
            db.execute(_INSERT_LATEST, row)

    def log_param(self, run_id: str, key: str, value: str) -> Task[None]:
        return Task(partial(self._write, _INSERT_PARAM, (run_id, key, value)))

    def set_tag(self, run_id: str, key: str, value: str) -> Task[None]:
        return Task(partial(self._write, _INSERT_TAG, (run_id, key, value)))

    def _write(self, statement: str, row: Row) -> None:
        with _transaction(self._log) as db:
            db.execute(statement, row)

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> Task[None]:
        rows = [(run_id, point.key, point.value, point.timestamp, point.step) for point in points]
        return Task(partial(self._log_metrics, rows))

    def _log_metrics(self, rows: list[tuple[str, str, float, int, int]]) -> None:
        latest: dict[str, tuple[str, str, float, int, int]] = {}
        for row in rows:
            known = latest.get(row[1])
            if known is None or (row[4], row[3], row[2]) > (known[4], known[3], known[2]):
                latest[row[1]] = row
        with _transaction(self._log) as db:
            db.executemany(_INSERT_POINT, rows)
            db.executemany(_INSERT_LATEST, latest.values())

    def log_labels(self, run_id: str, params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]) -> Task[None]:
        param_rows = [(run_id, *param) for param in params]
        tag_rows = [(run_id, *tag) for tag in tags]
        return Task(partial(self._log_labels, param_rows, tag_rows))

    def _log_labels(self, params: list[tuple[str, str, str]], tags: list[tuple[str, str, str]]) -> None:
        with _transaction(self._log) as db:
            db.executemany(_INSERT_PARAM, params)
            db.executemany(_INSERT_TAG, tags)

    def get_run(self, run_id: str) -> Task[RunRows]:
        return Task(partial(self._get_run, run_id), _run_answer)

    def _get_run(self, run_id: str) -> RunRows:
        with _transaction(self._read, "BEGIN") as db:
            run: Row = db.execute(_SELECT_RUN, (run_id,)).fetchone()
            metrics, params, tags = (db.execute(statement, (run_id,)).fetchall() for statement in _SELECT_DATA)
        return run, metrics, params, tags

    def history(self, run_id: str, key: str) -> Task[list[Row]]:
        return Task(partial(self._history, run_id, key), _history_answer)

    def _history(self, run_id: str, key: str) -> list[Row]:
        return self._read.execute(_SELECT_HISTORY, (run_id, key)).fetchall()

    def top_runs(self) -> Task[tuple[list[str], list[list[Row]]]]:
        return Task(self._top_runs, lambda found: found[0])

    def _top_runs(self) -> tuple[list[str], list[list[Row]]]:
        with _transaction(self._read, "BEGIN") as db:
            ids = [row[0] for row in db.execute(_SELECT_TOP, (EXPERIMENT_ID, TOP.limit))]
            listed = json.dumps(ids)
            return ids, [db.execute(statement, (listed,)).fetchall() for statement in _SELECT_LISTED]

    def scan(self, page: int = PAGE) -> Task[list[list[Row]]]:
        return Task(self._scan, lambda tables: [len(rows) for rows in tables])

    def _scan(self) -> list[list[Row]]:
        with _transaction(self._read, "BEGIN") as db:
            statements = (_SELECT_ALL_RUNS, *_SELECT_ALL_DATA)
            return [db.execute(statement, (EXPERIMENT_ID,)).fetchall() for statement in statements]

    def open_existing(self, path: Path) -> Task[tuple[sqlite3.Connection, str]]:
        return Task(partial(self._open_existing, path), _opened_answer, _close_opened)

    def _open_existing(self, path: Path) -> tuple[sqlite3.Connection, str]:
        db = self._connect(path)
        db.execute("SELECT version_num FROM alembic_version").fetchone()
        return db, _find_experiment(db, EXPERIMENT)

    def open_new(self, path: Path) -> Task[tuple[sqlite3.Connection, str]]:
        return Task(partial(self._open_new, path), _opened_answer, _close_opened)

    def _open_new(self, path: Path) -> tuple[sqlite3.Connection, str]:
        db = self._connect(path)
        db.executescript(self._schema)
        return db, _find_experiment(db, "Default")


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    db.execute(begin)
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _schema(path: Path) -> str:
    """A script that makes the tables of a store, with its revision and its default experiment, in one transaction."""
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        revision = db.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    stamp = f"INSERT INTO alembic_version (version_num) VALUES ('{revision}')"
    columns = "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
    default = f"INSERT INTO experiments ({columns}) VALUES (0, 'Default', 'artifacts/0', 'active', {START}, {START})"
    return ";\n".join(["BEGIN IMMEDIATE", *tables, stamp, default, "COMMIT;"])


def _find_experiment(db: sqlite3.Connection, name: str) -> str:
    row = db.execute("SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (name,)).fetchone()
    return str(row[0])


def _run_answer(run: RunRows) -> Answer:
    return [sorted([row[0], row[1]] for row in rows) for rows in run[1:]]


def _history_answer(rows: list[Row]) -> Answer:
    return [len(rows), list(rows[0]), list(rows[-1])]


def _opened_answer(opened: tuple[sqlite3.Connection, str]) -> Answer:
    return opened[1]


def _close_opened(opened: tuple[sqlite3.Connection, str]) -> None:
    opened[0].close()
