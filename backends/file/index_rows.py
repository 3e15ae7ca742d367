"""The tables of an index: those of the SQL backend that searches need, and each run as it is handed out.

So a search of a folder is compiled and answered as one of a database is, and means the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from sqlalchemy.schema import CreateIndex, CreateTable

from holdall.backends.sql.database import Session
from holdall.backends.sql.metrics import stored_value
from holdall.backends.sql.schema import datasets, input_tags, inputs, latest_metrics, params, runs, tags
from holdall.stores.entities import Dataset, DatasetInput, InputTag, Run, RunData, RunInfo, RunInputs

__all__ = ["bodies_of", "create_tables", "delete_runs", "has_tables", "write_runs"]

_SEARCHED = (runs, params, tags, latest_metrics, datasets, inputs, input_tags)
_OWN = (
    "CREATE TABLE entries (run_id TEXT PRIMARY KEY, experiment TEXT NOT NULL, signature BLOB, body TEXT NOT NULL)",
    "CREATE INDEX entries_by_experiment ON entries (experiment, run_id, signature)",
    "CREATE TABLE experiments (number INTEGER PRIMARY KEY, experiment TEXT NOT NULL UNIQUE, facts TEXT NOT NULL)",
)
_OF_RUNS = (
    ("runs", "run_uuid"),
    ("params", "run_uuid"),
    ("tags", "run_uuid"),
    ("latest_metrics", "run_uuid"),
    ("inputs", "destination_id"),
    ("entries", "run_id"),
)
"""Tables that have rows of runs, and by what."""

Entry = tuple[Run, bytes | None]
"""A run and the signature of its files; None if they may have changed since without a trace."""


def has_tables(session: Session) -> bool:
    """Whether the database is an index already."""
    return bool(session.text("SELECT 1 FROM sqlite_master WHERE name = 'entries'"))


def create_tables(session: Session) -> None:
    """Make a new database an index, unless another process has done so meanwhile."""
    if has_tables(session):
        return
    dialect = session.dialect.sqlalchemy
    for table in _SEARCHED:
        session.text(str(CreateTable(table).compile(dialect=dialect)))
        for index in table.indexes:
            session.text(str(CreateIndex(index).compile(dialect=dialect)))
    for statement in _OWN:
        session.text(statement)


def delete_runs(session: Session, run_ids: Iterable[str]) -> None:
    """Remove all rows of runs."""
    rows = [(run_id,) for run_id in run_ids]
    if rows:
        for table, column in _OF_RUNS:
            session.cursor.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608 - constants
        # Links are named by run, a blank, and a number; "!" comes after the blank.
        links = [(f"{run_id} ", f"{run_id}!") for (run_id,) in rows]
        session.cursor.executemany("DELETE FROM input_tags WHERE input_uuid > ? AND input_uuid < ?", links)


def write_runs(session: Session, number: int, entries: Sequence[Entry]) -> None:
    """Insert runs that have no rows.

    Args:
        session: A transaction.
        number: Of their experiment.
        entries: The runs.
    """
    insert = session.cursor.executemany
    insert(
        "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, "
        "experiment_id) VALUES (?,?,?,?,?,?,?,?,?)",
        [
            (
                i.run_id,
                i.run_name,
                i.user_id,
                i.status,
                i.start_time,
                i.end_time,
                i.lifecycle_stage,
                i.artifact_uri,
                number,
            )
            for i in (run.info for run, _ in entries)
        ],
    )
    for table, values in (
        ("params", [(run.info.run_id, *item) for run, _ in entries for item in run.data.params.items()]),
        ("tags", [(run.info.run_id, *item) for run, _ in entries for item in run.data.tags.items()]),
    ):
        insert(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?,?,?)", values)  # noqa: S608 - constants
    insert(
        "INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?,?,?,?,?,?)",
        [row for run, _ in entries for row in _metric_rows(run)],
    )
    for run, _ in entries:
        if run.inputs.dataset_inputs:
            _write_inputs(session, number, run)
    insert(
        "INSERT INTO entries (run_id, experiment, signature, body) VALUES (?,?,?,?)",
        [(run.info.run_id, run.info.experiment_id, signature, _encode(run)) for run, signature in entries],
    )


def _metric_rows(run: Run) -> Iterable[tuple[object, ...]]:
    run_id, places = run.info.run_id, run.data.metric_points
    for key, value in run.data.metrics.items():
        timestamp, step = places[key]
        yield run_id, key, step, timestamp, stored_value(value), math.isnan(value)


def _write_inputs(session: Session, number: int, run: Run) -> None:
    run_id, execute = run.info.run_id, session.cursor.execute
    for place, used in enumerate(run.inputs.dataset_inputs):
        source, link = f"{number} {used.dataset.name}\n{used.dataset.digest}", f"{run_id} {place}"
        row = source, number, used.dataset.name, used.dataset.digest, used.dataset.source_type, ""
        execute(
            "INSERT OR REPLACE INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, "
            "dataset_source) VALUES (?,?,?,?,?,?)",
            row,
        )
        execute("INSERT INTO inputs VALUES (?, 'DATASET', ?, 'RUN', ?)", (link, source, run_id))
        for tag in used.tags:
            execute("INSERT INTO input_tags VALUES (?,?,?)", (link, tag.key, tag.value))


def bodies_of(session: Session, run_ids: Sequence[str]) -> list[Run]:
    """The runs with these ids, in their order; those that are gone are left out."""
    rows: dict[str, str] = dict(
        session.text(
            "SELECT run_id, body FROM entries WHERE run_id IN (SELECT value FROM json_each(?))", (json.dumps(run_ids),)
        )
    )
    return [_decode(run_id, rows[run_id]) for run_id in run_ids if run_id in rows]


def _encode(run: Run) -> str:
    info, data = run.info, run.data
    links = [
        [d.name, d.digest, d.source_type, d.source, d.schema, d.profile, [[tag.key, tag.value] for tag in used.tags]]
        for used in run.inputs.dataset_inputs
        for d in (used.dataset,)
    ]
    fields = [
        info.experiment_id,
        info.run_name,
        info.user_id,
        info.status,
        info.start_time,
        info.end_time,
        info.lifecycle_stage,
        info.artifact_uri,
    ]
    return json.dumps([fields, data.metrics, data.params, data.tags, list(data.metric_points.values()), links])


def _decode(run_id: str, body: str) -> Run:
    fields, metrics, params, tags, places, links = json.loads(body)
    data = RunData(metrics, params, tags, dict(zip(metrics, map(tuple, places), strict=True)))
    info = RunInfo(run_id, *fields)
    if not links:
        return Run(info, data)
    used = tuple(
        DatasetInput(Dataset(*values), tuple(InputTag(key, value) for key, value in labels))
        for *values, labels in links
    )
    return Run(info, data, RunInputs(used))
