"""The metric points of logged models: statements and rows.

MLflow 3's table has one place for each model, metric, time, step and run: neither a second value nor the same one on
another dataset fits in, and NaN is 0 there. What does not fit is in holdall's table besides, exactly; both are read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import sqlalchemy as sa

from holdall.backends.sql.database import Answer, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.metrics import stored_value, value_of
from holdall.backends.sql.schema import MLFLOW_MODELS, OWN_MODELS
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import LoggedModelMetric
from holdall.stores.points import latest_model_metrics

__all__ = ["BOTH_POINTS", "MLFLOW_POINTS", "OWN_POINTS", "Metrics", "PointRows", "by_model"]

Metrics = tuple[LoggedModelMetric, ...]

_THEIRS, _OURS = MLFLOW_MODELS.metrics, OWN_MODELS.metrics

_COLUMNS = (
    "model_id",
    "metric_name",
    "metric_timestamp_ms",
    "metric_step",
    "metric_value",
    "run_id",
    "experiment_id",
    "dataset_name",
    "dataset_digest",
)
_OWN_COLUMNS = (*_COLUMNS, "dataset_mark", "is_nan")
_INSERT_THEIRS = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(_THEIRS, _COLUMNS, rows=rows), [_THEIRS.c[name] for name in _COLUMNS]
)
_INSERT_OURS = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(_OURS, _OWN_COLUMNS, rows=rows),
    [_OURS.c[name] for name in _OWN_COLUMNS],
)
_SELECT_THEIRS = Statement(
    lambda _: sa.select(*(_THEIRS.c[name] for name in _COLUMNS)).where(
        _THEIRS.c.model_id == sa.bindparam("id"),
        _THEIRS.c.run_id == sa.bindparam("run"),
        _THEIRS.c.metric_timestamp_ms.between(sa.bindparam("first"), sa.bindparam("last")),
    ),
    "id",
    "run",
    "first",
    "last",
)
_READ = (
    "model_id",
    "metric_name",
    "metric_value",
    "is_nan",
    "metric_timestamp_ms",
    "metric_step",
    "run_id",
    "dataset_name",
    "dataset_digest",
)
_GREATEST_FIRST = ("metric_step", "metric_timestamp_ms", "metric_value", "is_nan", "run_id", "is_ours")

Choice = Callable[[sa.Column[Any]], sa.ColumnElement[bool]]


class PointRows:
    """Reads and writes the points of models within a transaction.

    Args:
        tables: Where they are.
    """

    def __init__(self, *tables: sa.Table) -> None:
        self._tables = tables
        self._of_one = Statement(
            lambda dialect: _latest(dialect, tables, lambda owner: owner == sa.bindparam("id")), "id"
        )
        self._of_many = Statement(
            lambda dialect: _latest(dialect, tables, lambda owner: dialect.one_of(owner, sa.bindparam("ids"))), "ids"
        )

    def ask_of_one(self, session: Session, model_id: str) -> Answer:
        """Ask for the latest points of a model."""
        return session.ask(self._of_one, model_id)

    def ask_of_many(self, session: Session, ids: object) -> Answer:
        """Ask for the latest points of several models."""
        return session.ask(self._of_many, ids)

    def write(self, session: Session, points: Iterable[LoggedModelMetric], model_id: str, experiment: int) -> None:
        """Write points; those that are there change nothing."""
        rows = sorted({_row(point, model_id, experiment) for point in points})
        if self._tables[0] is _THEIRS:
            rows = _without_what_fits(session, rows)
        session.do_many(_INSERT_OURS, rows)


OWN_POINTS = PointRows(_OURS)
MLFLOW_POINTS = PointRows(_THEIRS)
BOTH_POINTS = PointRows(_THEIRS, _OURS)


def by_model(points: Answer) -> dict[str, Metrics]:
    """The latest points of several models; those that have none are absent."""
    found: dict[str, list[LoggedModelMetric]] = {}
    for model_id, key, value, is_nan, timestamp, step, run_id, name, digest in points.each():
        number = value_of(None if is_nan else value)
        point = LoggedModelMetric(key, number, timestamp, step, run_id, name, digest)
        found.setdefault(model_id, []).append(point)
    return {model_id: latest_model_metrics(listed) for model_id, listed in found.items()}


def _latest(dialect: SqlDialect, tables: Iterable[sa.Table], choose: Choice) -> sa.Select[Any]:
    """The latest points of some models: of each key on each dataset one, as `latest_model_metrics` selects it."""
    points = sa.union_all(*(_points(dialect, table).where(choose(table.c.model_id)) for table in tables)).subquery()
    rank = sa.func.row_number().over(
        partition_by=[points.c[name] for name in ("model_id", "metric_name", "dataset_name", "dataset_digest")],
        order_by=[points.c[name].desc() for name in _GREATEST_FIRST],
    )
    ranked = sa.select(*points.c, rank.label("place")).subquery()
    read = sa.select(*(ranked.c[name] for name in _READ)).where(ranked.c.place == sa.literal_column("1"))
    return cast("sa.Select[Any]", read)


def _points(dialect: SqlDialect, table: sa.Table) -> sa.Select[Any]:
    """The points of a table, with texts that compare exactly whatever its collation, also to those of the other one."""
    is_ours = table is _OURS
    texts = ("model_id", "metric_name", "run_id", "dataset_name", "dataset_digest")
    columns: list[sa.ColumnElement[Any]] = [
        *(dialect.by_code_point(table.c[name]).label(name) for name in texts),
        table.c.metric_timestamp_ms,
        table.c.metric_step,
        sa.func.coalesce(table.c.metric_value, sa.literal_column("0")).label("metric_value"),
        (table.c.is_nan if is_ours else table.c.metric_value.is_(None)).label("is_nan"),
        sa.literal_column("1" if is_ours else "0").label("is_ours"),
    ]
    return sa.select(*columns)


_Row = tuple[Any, ...]
"""Values of `_OWN_COLUMNS`, those of `_COLUMNS` first."""


def _row(point: LoggedModelMetric, model_id: str, experiment: int) -> _Row:
    name, digest = point.dataset_name, point.dataset_digest
    mark = "" if name is None else hashlib.blake2b(f"{name}\0{digest}".encode(), digest_size=16).hexdigest()
    value, is_nan = stored_value(point.value), math.isnan(point.value)
    place = (model_id, point.key, point.timestamp, point.step, value, point.run_id, experiment)
    return (*place, name, digest, mark, is_nan)


def _without_what_fits(session: Session, rows: list[_Row]) -> list[_Row]:
    """Write points to MLflow's table, and give those that it cannot hold as they are."""
    written = session.do_many(_INSERT_THEIRS, [row[: len(_COLUMNS)] for row in rows])
    inexact = [row for row in rows if row[-1] or (row[4] == 0 and math.copysign(1, row[4]) < 0)]
    if written is None or written.count == len(rows):
        return inexact
    model_id, run_id, times = rows[0][0], rows[0][5], [row[2] for row in rows]
    known = {_identity(row) for row in session.all(_SELECT_THEIRS, model_id, run_id, min(times), max(times))}
    return sorted({*inexact, *(row for row in rows if _identity(row) not in known)})


def _identity(row: Sequence[Any]) -> tuple[Any, ...]:
    """What tells the points apart that a run measured of a model."""
    _, key, timestamp, step, value, _, _, name, digest, *_ = row
    return key, timestamp, step, value, name, digest
