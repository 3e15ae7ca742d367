"""Metric points: statements and rows.

A table cannot hold NaN in a key: it is kept as 0 with `is_nan`, and ±Inf as ±1.7976931348623157e308, as MLflow does.
Reads of runs and searches look at `latest_metrics` only, so both tables are always written together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from holdall.backends.sql.database import Answer, Database, Row, Session, by_key
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.schema import IS_ACTIVE, STAYS_ACTIVE, latest_metrics, metrics, runs
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import Metric
from holdall.stores.queries import HistoryQuery
from holdall.stores.rules import indistinct

__all__ = [
    "ask_history",
    "ask_latest",
    "ask_latest_of_many",
    "ask_sample",
    "history_of",
    "latest_by_run",
    "latest_of",
    "log_one",
    "stored_value",
    "value_of",
    "write",
    "write_one",
]

Values = dict[str, float]
"""Latest value by key."""

Points = dict[str, tuple[int, int]]
"""(timestamp, step) of the latest value by key."""

_LARGEST = 1.7976931348623157e308
_NAN = math.nan

_POINT = ("run_uuid", "key", "timestamp", "step", "value", "is_nan")
_LATEST = ("run_uuid", "key", "step", "timestamp", "value", "is_nan")
_LATEST_KEY = ("run_uuid", "key")
_NEWER_BY = ("step", "timestamp", "value", "is_nan")
_INSERT = Statement(lambda dialect: dialect.insert_or_ignore(metrics, _POINT, when=STAYS_ACTIVE), *_POINT, "id")
_UPSERT_LATEST = Statement(
    lambda dialect: dialect.upsert(latest_metrics, _LATEST, _LATEST_KEY, newer_by=_NEWER_BY, when=IS_ACTIVE),
    *_LATEST,
    "id",
)
_INSERT_MANY = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(metrics, _POINT, rows=rows, when=IS_ACTIVE if rows else None),
    [metrics.c[name] for name in _POINT],
    "id",
)
_UPSERT_LATEST_OF_MANY = Bulk(
    lambda dialect, rows: dialect.upsert(
        latest_metrics, _LATEST, _LATEST_KEY, newer_by=_NEWER_BY, rows=rows, when=IS_ACTIVE if rows else None
    ),
    [latest_metrics.c[name] for name in _LATEST],
    "id",
)
_LOG_ONE = Statement(lambda dialect: _combined(dialect), *_POINT, "id")  # noqa: PLW0108 - defined below
"""Writes a point if the run is active, in one statement; the run's stage."""

_SELECT_SOME_KEYS = Statement(
    lambda dialect: sa.select(latest_metrics.c.key).where(
        latest_metrics.c.run_uuid == sa.bindparam("id"), dialect.one_of(latest_metrics.c.key, sa.bindparam("keys"))
    ),
    "id",
    "keys",
)
_LATEST_COLUMNS = (
    latest_metrics.c.key,
    sa.case((latest_metrics.c.is_nan, sa.null()), else_=latest_metrics.c.value).label("value"),
    latest_metrics.c.timestamp,
    latest_metrics.c.step,
)
_SELECT_LATEST = Statement(
    lambda _: sa.select(*_LATEST_COLUMNS).where(latest_metrics.c.run_uuid == sa.bindparam("id")), "id"
)
_SELECT_LATEST_OF_MANY = Statement(
    lambda dialect: dialect.of_each(latest_metrics.c.run_uuid, _LATEST_COLUMNS, sa.bindparam("ids")),
    "ids",
)


def stored_value(value: float) -> float:
    """A number as tables keep it: NaN as 0, ±Inf as the largest finite double."""
    if value != value:
        return 0.0
    return max(-_LARGEST, min(_LARGEST, value)) if math.isinf(value) else value


def value_of(stored: float | None) -> float:
    """The number that a table keeps as `stored`, read as None where it is marked NaN."""
    if stored is None:
        return _NAN
    if stored >= _LARGEST:
        return math.inf
    return -math.inf if stored <= -_LARGEST else float(stored)


def _combined(dialect: SqlDialect) -> sa.Select[Any]:
    stage = sa.select(runs.c.lifecycle_stage).where(runs.c.run_uuid == sa.bindparam("id")).cte("stage")
    is_active = (
        sa.select(sa.literal_column("1")).where(stage.c.lifecycle_stage == sa.literal_column("'active'")).exists()
    )
    point = dialect.insert_or_ignore(metrics, _POINT, when=is_active)
    latest = dialect.upsert(latest_metrics, _LATEST, _LATEST_KEY, newer_by=_NEWER_BY, when=is_active)
    return sa.select(stage.c.lifecycle_stage).add_cte(point.cte("point"), latest.cte("latest"))


def log_one(database: Database, run_id: str, metric: Metric) -> Row | None:
    """Do what `write_one` does in a transaction of its own; the run's stage, or None if there is no such run.

    All of a statement sees one moment, so nothing is written in part; for databases that combine writes.
    """
    value, is_nan = stored_value(metric.value), metric.value != metric.value
    return database.one(_LOG_ONE, run_id, metric.key, metric.timestamp, metric.step, value, is_nan, run_id)


def write_one(session: Session, run_id: str, metric: Metric) -> Answer:
    """Insert a point if the run is active, and bring `latest_metrics` up to date; the answer counts new points."""
    value, is_nan = stored_value(metric.value), metric.value != metric.value
    written = session.do(_INSERT, run_id, metric.key, metric.timestamp, metric.step, value, is_nan, run_id)
    session.do(_UPSERT_LATEST, run_id, metric.key, metric.step, metric.timestamp, value, is_nan, run_id)
    _check_keys(session, run_id, [metric.key])
    return written


def write(session: Session, run_id: str, points: Iterable[Metric]) -> None:
    """Insert points, in the order of the key, so that concurrent batches lock rows in one order.

    On a server the run must be active for anything to be written.
    """
    rows: list[tuple[str, str, int, int, float, bool]] = []
    latest: dict[str, tuple[int, int, float, bool]] = {}
    for point in points:
        key, value, timestamp, step, is_nan = point.key, point.value, point.timestamp, point.step, False
        if not -_LARGEST < value < _LARGEST:
            value, is_nan = stored_value(value), value != value
        rows.append((run_id, key, timestamp, step, value, is_nan))
        rank = (step, timestamp, value, is_nan)
        if key not in latest or rank > latest[key]:
            latest[key] = rank
    rows.sort()
    session.do_many(_INSERT_MANY, rows, run_id)
    session.do_many(_UPSERT_LATEST_OF_MANY, [(run_id, key, *latest[key]) for key in sorted(latest)], run_id)
    _check_keys(session, run_id, sorted(latest))


def _check_keys(session: Session, run_id: str, keys: Sequence[str]) -> None:
    """Refuse what a database with inexact keys has taken for another metric."""
    if session.dialect.exact_text:
        return
    kept = {key for (key,) in session.all(_SELECT_SOME_KEYS, run_id, session.dialect.bind_list(keys))}
    for key in keys:
        if kept and key not in kept:
            raise indistinct("metrics", key)


def ask_latest(session: Session, run_id: str) -> Answer:
    """Ask for a run's latest values."""
    return session.ask(_SELECT_LATEST, run_id)


def latest_of(session: Session, run_id: str, latest: Answer) -> tuple[Values, Points]:
    """A run's latest values, and where they stand."""
    values, points = _by_run(session, [(run_id, *row) for row in latest.rows])
    return values.get(run_id, {}), points.get(run_id, {})


def ask_latest_of_many(session: Session, ids: object) -> Answer:
    """Ask for the latest values of several runs."""
    return session.ask(_SELECT_LATEST_OF_MANY, ids)


def latest_by_run(session: Session, latest: Answer) -> tuple[dict[str, Values], dict[str, Points]]:
    """The same for several runs, by run id; runs without metrics are absent."""
    return _by_run(session, latest.each())


def _by_run(session: Session, rows: Iterable[Row]) -> tuple[dict[str, Values], dict[str, Points]]:
    values: dict[str, Values] = {}
    points: dict[str, Points] = {}
    current, of_run, places = None, Values(), Points()
    for run_id, key, stored, timestamp, step in rows:
        if run_id != current:
            of_run, places = values.setdefault(run_id, {}), points.setdefault(run_id, {})
            current = run_id
        of_run[key] = stored if stored is not None and -_LARGEST < stored < _LARGEST else value_of(stored)
        places[key] = (timestamp or 0, step)
    if not session.dialect.reads_in_key_order:
        values = {run_id: by_key(found.items()) for run_id, found in values.items()}
        points = {run_id: by_key(found.items()) for run_id, found in points.items()}
    return values, points


def ask_sample(session: Session, run_id: str, key: str, count: int) -> Answer:
    """Ask for the points that `evenly_spaced` takes, chosen by the database."""
    place = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
    numbered = (
        sa.select(
            *place,
            (sa.func.row_number().over(order_by=place) - 1).label("position"),
            (sa.func.count().over() - 1).label("final"),
        )
        .where(metrics.c.run_uuid == run_id, metrics.c.key == key)
        .subquery()
    )
    position, final = numbered.c.position, numbered.c.final
    divide, gaps = session.dialect.divide, sa.literal(max(count - 1, 1), sa.BigInteger())
    # The first of the sample's places that is not before this row; it is this row if it leads back to it.
    nearest = divide(position * gaps + final - 1, sa.func.nullif(final, 0))
    chosen = divide(nearest * final, gaps) == position if count > 1 else position == final
    select = sa.select(*(numbered.c[column.name] for column in place)).where(sa.or_(final < count, chosen))
    return session.ask_search(select.order_by(position))


def ask_history(session: Session, query: HistoryQuery) -> Answer:
    """Ask for points of one metric by timestamp, step, value."""
    place = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
    select = (
        sa.select(*place)
        .where(metrics.c.run_uuid == query.run_id, metrics.c.key == query.key)
        .order_by(*place)
        .limit(query.limit)
    )
    if query.after is not None:
        timestamp, step, value, is_nan = (part for _, part in query.after)
        assert isinstance(value, int | float)
        bounds: Sequence[object] = (timestamp, step, stored_value(value), bool(is_nan))
        select = select.where(sa.tuple_(*place) > sa.tuple_(*map(sa.literal, bounds)), metrics.c.timestamp >= timestamp)
    return session.ask_search(select)


def history_of(key: str, points: Answer) -> list[Metric]:
    """The points."""
    return [
        Metric(
            key,
            stored if -_LARGEST < stored < _LARGEST and not is_nan else value_of(None if is_nan else stored),
            timestamp,
            step,
        )
        for timestamp, step, stored, is_nan in points.each()
    ]
