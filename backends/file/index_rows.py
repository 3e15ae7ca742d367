"""The tables of an index: those of the SQL backend that searches need, and each run as it is handed out.

So a search of a folder is compiled and answered as one of a database is, and means the same.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import starmap
from operator import attrgetter
from typing import Any

from sqlalchemy.schema import CreateIndex, CreateTable

from holdall.backends.sql.metrics import stored_value
from holdall.backends.sql.schema import datasets, input_tags, inputs, latest_metrics, params, runs, tags
from holdall.backends.sql.sqlite import SqliteSession
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
)

__all__ = ["boot_of", "collector_paused", "create_tables", "delete_runs", "runs_of", "write_runs"]

_SEARCHED = (runs, params, tags, latest_metrics, datasets, inputs, input_tags)
_INFO = "experiment, name, user_id, status, start_time, end_time, stage, artifact_uri"
"""Columns of an entry in the order of the fields of `RunInfo`, after the run's id."""

_OWN = (
    f"CREATE TABLE entries (run_id TEXT PRIMARY KEY, {_INFO}, data, signature)",
    "CREATE INDEX entries_by_experiment ON entries (experiment, run_id, signature)",
    "CREATE TABLE origin (boot TEXT NOT NULL)",
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

_info_row = attrgetter(*(field.name for field in fields(RunInfo)))

Entry = tuple[Run, bytes | None]
"""A run and the signature of its files; None if they may have changed since without a trace."""


def boot_of(session: SqliteSession) -> str | None:
    """The start of the machine since which an index is kept; None if the database is no index yet."""
    if not session.text("SELECT 1 FROM sqlite_master WHERE name = 'origin'"):
        return None
    return str(session.text("SELECT boot FROM origin")[0][0])


def create_tables(boot: str, session: SqliteSession) -> None:
    """Make a new database an index, unless another process has done so meanwhile."""
    if boot_of(session) is not None:
        return
    dialect = session.dialect.sqlalchemy
    for table in _SEARCHED:
        session.text(str(CreateTable(table).compile(dialect=dialect)))
        for index in table.indexes:
            session.text(str(CreateIndex(index).compile(dialect=dialect)))
    for statement in _OWN:
        session.text(statement)
    session.text("INSERT INTO origin VALUES (?)", (boot,))


def delete_runs(session: SqliteSession, run_ids: Iterable[str]) -> None:
    """Remove all rows of runs, of those that have any."""
    wanted = json.dumps(list(run_ids))
    rows = session.text("SELECT run_id FROM entries WHERE run_id IN (SELECT value FROM json_each(?))", (wanted,))
    if rows:
        for table, column in _OF_RUNS:
            session.cursor.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608 - constants
        # Links are named by run, a blank, and a number; "!" comes after the blank.
        links = [(f"{run_id} ", f"{run_id}!") for (run_id,) in rows]
        session.cursor.executemany("DELETE FROM input_tags WHERE input_uuid > ? AND input_uuid < ?", links)


def write_runs(session: SqliteSession, number: int, entries: Sequence[Entry]) -> None:
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
        f"INSERT INTO entries (run_id, {_INFO}, data, signature) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        [(*_info_row(run.info), _encode(run), signature) for run, signature in entries],
    )


def _metric_rows(run: Run) -> Iterable[tuple[object, ...]]:
    run_id, places = run.info.run_id, run.data.metric_points
    for key, value in run.data.metrics.items():
        timestamp, step = places[key]
        yield run_id, key, step, timestamp, stored_value(value), math.isnan(value)


def _write_inputs(session: SqliteSession, number: int, run: Run) -> None:
    run_id, execute = run.info.run_id, session.cursor.execute
    for place, used in enumerate(run.inputs.dataset_inputs):
        source, link = f"{number} {used.dataset.name}\n{used.dataset.digest}", f"{run_id} {place}"
        row = source, number, used.dataset.name, used.dataset.digest, used.dataset.source_type, ""
        execute(
            "INSERT OR REPLACE INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, "
            "dataset_source) VALUES (?,?,?,?,?,?)",
            row,
        )
        execute(
            "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id) "
            "VALUES (?, 'DATASET', ?, 'RUN', ?)",
            (link, source, run_id),
        )
        for tag in used.tags:
            execute("INSERT INTO input_tags VALUES (?,?,?)", (link, tag.key, tag.value))


def runs_of(session: SqliteSession, run_ids: Sequence[str]) -> list[Run]:
    """The runs with these ids, in their order; those that are gone are left out."""
    with collector_paused():
        return _read_runs(session, run_ids)


def _read_runs(session: SqliteSession, run_ids: Sequence[str]) -> list[Run]:
    rows = session.text(
        f"SELECT data, run_id, {_INFO} FROM json_each(?) j JOIN entries ON run_id = j.value ORDER BY j.key",  # noqa: S608
        (json.dumps(run_ids),),
    )
    values = json.loads(f"[{','.join([row[0] for row in rows])}]")  # one text is read faster than many
    return [_decode(RunInfo(*row[1:]), data) for row, data in zip(rows, values, strict=True)]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from running while many objects are made, none of which is garbage.

    It would look at all of them again and again, which takes as long as making them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _encode(run: Run) -> str:
    data = run.data
    timestamps, steps = zip(*data.metric_points.values(), strict=True) if data.metric_points else ((), ())
    links = [
        [d.name, d.digest, d.source_type, d.source, d.schema, d.profile, [[tag.key, tag.value] for tag in used.tags]]
        for used in run.inputs.dataset_inputs
        for d in (used.dataset,)
    ]
    used = [model.model_id for model in run.inputs.model_inputs]
    made = [[model.model_id, model.step] for model in run.outputs.model_outputs]
    values = [data.metrics, timestamps, steps, data.params, data.tags]
    return json.dumps([*values, [links, used, made] if links or used or made else []], separators=(",", ":"))


def _decode(info: RunInfo, data: list[Any]) -> Run:
    metrics, timestamps, steps, params, tags, links = data
    values = RunData(metrics, params, tags, dict(zip(metrics, zip(timestamps, steps, strict=True), strict=True)))
    return Run(info, values, *_decode_links(*links)) if links else Run(info, values)


def _decode_links(links: list[Any], used: list[str], made: list[tuple[str, int]]) -> tuple[RunInputs, RunOutputs]:
    sources = tuple(
        DatasetInput(Dataset(*fields), tuple(InputTag(key, value) for key, value in labels))
        for *fields, labels in links
    )
    return RunInputs(sources, tuple(map(LoggedModelInput, used))), RunOutputs(tuple(starmap(LoggedModelOutput, made)))
