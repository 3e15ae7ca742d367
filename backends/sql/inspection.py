"""What can be wrong with the data and the columns of a database, whichever product it is; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from holdall.backends.sql.database import Row, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.opening import NEEDED, Schema
from holdall.backends.sql.schema import (
    METADATA,
    datasets,
    experiment_tags,
    experiments,
    input_tags,
    inputs,
    latest_metrics,
    metrics,
    params,
    runs,
    tags,
)
from holdall.stores.databases import Finding, FindingKind
from holdall.stores.validation import MAX_EXPERIMENT_TAG_LENGTH

__all__ = ["Check", "column_checks", "data_checks", "narrow_ids"]

Examples = sa.Select[Any]
"""What a check looks for: a row for each find, whose columns fill in the example."""

_RUN_SUFFIX = len("/" + 32 * "x" + "/artifacts")
"""Characters of a run's location beyond that of its experiment."""

_RISK = 0.9
"""Share of a column's width from which a value is said to be long."""

_ALLOWED = {
    ("experiment_tags", "value"): MAX_EXPERIMENT_TAG_LENGTH,
    ("datasets", "dataset_source"): 65535,
    ("datasets", "dataset_schema"): 1048575,
    ("datasets", "dataset_profile"): 16777215,
}
"""Characters that holdall allows where its own columns have no limit."""


@dataclass(frozen=True, slots=True)
class Check:
    """A query for what should not be there.

    Attributes:
        kind: What sort of find it is.
        place: Where it looks.
        message: What a find means.
        example: Names one by the columns of its row.
        remedy: What to do.
        build: Makes the query for a dialect.
    """

    kind: FindingKind
    place: str
    message: str
    example: str
    remedy: str
    build: Callable[[SqlDialect], Examples] = field(repr=False)

    def look(self, session: Session) -> Iterator[Finding]:
        """The finding, if there is one."""
        count, number = sa.func.count().over(), sa.func.row_number().over()
        found = self.build(session.dialect).add_columns(count.label("finds"), number.label("number")).subquery()
        # Not LIMIT 1: planners would look for a way to the first quickly, although all are counted.
        columns = [column for column in found.columns if column is not found.c.number]
        row: Row | None = session.ask_search(sa.select(*columns).where(found.c.number == 1)).first
        if row is not None:
            *example, count = row
            yield Finding(self.kind, self.place, self.message, count, self.example.format(*example), self.remedy)


def data_checks(dialect: SqlDialect) -> list[Check]:
    """Checks of rows that belong to each other."""
    return [
        *_ORPHANS,
        Check(
            FindingKind.INVISIBLE_METRIC,
            "latest_metrics",
            "metrics have points but no latest value: neither runs nor searches show them",
            _METRIC,
            "log the greatest point of each again with holdall; that changes nothing else",
            lambda _: _compared(latest_metrics.c.run_uuid.is_(None)),
        ),
        Check(
            FindingKind.WRONG_LATEST,
            "latest_metrics",
            "metrics show another value than that of their greatest point by step, time and value",
            _METRIC,
            "log the greatest point of each again with holdall; that changes nothing else",
            lambda _: _compared(_place(metrics) > _place(latest_metrics)),
        ),
        Check(
            FindingKind.WRONG_LATEST,
            "latest_metrics",
            "metrics show a value that none of their points has",
            _METRIC,
            "delete these rows of latest_metrics, then log the greatest point of each again with holdall",
            _unfounded,
        ),
        *([] if dialect.exact_text else [_MIXED_NAMES]),
        Check(
            FindingKind.SAME_NAME,
            "experiments.name",
            "names belong to several experiments, such as those of different workspaces; by name one of them is found",
            "{!r}",
            "rename all but one by their ids, or refer to them by id only",
            lambda _: sa.select(experiments.c.name).group_by(experiments.c.name).having(sa.func.count() > 1),
        ),
    ]


def column_checks(schema: Schema, dialect: SqlDialect) -> Iterator[Check | Finding]:
    """Columns that take less than holdall allows, and checks of what is in them; for products that mind widths."""
    for column, width, allowed in _narrow_columns(schema, dialect):
        yield Finding(
            FindingKind.NARROW_COLUMN,
            str(column),
            f"holdall allows {allowed} characters, the column takes {width}; longer values are refused",
            1,
            str(column),
            f"keep values short, or widen the column to {allowed} characters with the database's own ALTER TABLE",
        )
        yield _long_value(column, width)
    room = schema.columns["runs"]["artifact_uri"].length
    if room is not None:
        yield _long_location(room)


def narrow_ids(schema: Schema) -> Iterator[Finding]:
    """Columns that take ids of 32 bits; for products that have such."""
    narrow = [
        f"{table}.experiment_id"
        for table in NEEDED
        if "experiment_id" in schema.columns[table] and schema.columns[table]["experiment_id"].type != "BIGINT"
    ]
    if narrow:
        yield Finding(
            FindingKind.NARROW_IDS,
            narrow[0],
            f"columns take experiment ids up to {2**31 - 1}; those of folders have 18 digits",
            len(narrow),
            ", ".join(narrow),
            "nothing, unless experiments of a folder are to keep their ids here: use a database that holdall created",
        )


def _lacking(child: sa.Column[Any], parent: sa.Column[Any], *, when: sa.ColumnElement[bool] | None = None) -> Any:
    """Build a query for the values of `child` that `parent` lacks."""

    def build(dialect: SqlDialect) -> Examples:
        # PostgreSQL joins the one and looks through all rows for the other; the others do it the other way round.
        exists = sa.select(sa.literal_column("1")).select_from(parent.table).where(parent == child).exists()
        lacks = ~exists if dialect.plans_by_statistics else child.not_in(sa.select(parent))
        lacks = sa.or_(child.is_(None), lacks) if child.nullable else lacks
        return sa.select(child).where(lacks if when is None else sa.and_(when, lacks))

    return build


def _orphans(child: sa.Column[Any], parent: sa.Column[Any], what: str, when: tuple[str, str] | None = None) -> Check:
    table = child.table
    alone = f"{child.name} NOT IN (SELECT {parent.name} FROM {parent.table})"  # noqa: S608 - names of our own
    condition = alone if when is None else f"{when[0]} = '{when[1]}' AND {alone}"
    return Check(
        FindingKind.ORPHAN,
        str(table),
        f"rows belong to {what} that are gone",
        f"{child.name} {{}}",
        f"back up, then DELETE FROM {table} WHERE {condition}",  # noqa: S608 - for people
        _lacking(child, parent, when=None if when is None else table.c[when[0]] == when[1]),
    )


_ORPHANS = (
    *(_orphans(table.c.run_uuid, runs.c.run_uuid, "runs") for table in (metrics, latest_metrics, params, tags)),
    _orphans(inputs.c.destination_id, runs.c.run_uuid, "runs", ("destination_type", "RUN")),
    _orphans(inputs.c.source_id, datasets.c.dataset_uuid, "datasets", ("source_type", "DATASET")),
    _orphans(input_tags.c.input_uuid, inputs.c.input_uuid, "uses of datasets"),
    *(
        _orphans(table.c.experiment_id, experiments.c.experiment_id, "experiments")
        for table in (experiment_tags, runs, datasets)
    ),
)

_METRIC = "run {}, metric {!r}"


def _place(table: sa.Table) -> sa.Tuple:
    """What the greatest point is the greatest by. A missing time is less than all; MLflow does not look at `is_nan`."""
    time = sa.func.coalesce(table.c.timestamp, -1) if table.c.timestamp.nullable else table.c.timestamp
    return sa.tuple_(table.c.step, time, table.c.value)


def _of_known_run(table: sa.Table) -> sa.ColumnElement[bool]:
    """Rows of other runs are orphans, which is enough to say of them."""
    return sa.select(sa.literal_column("1")).where(runs.c.run_uuid == table.c.run_uuid).exists()


def _name(table: sa.Table) -> Sequence[sa.Column[Any]]:
    """What tells metrics apart."""
    return [table.c.run_uuid, table.c.key]


def _same_metric() -> sa.ColumnElement[bool]:
    return sa.and_(latest_metrics.c.run_uuid == metrics.c.run_uuid, latest_metrics.c.key == metrics.c.key)


def _compared(condition: sa.ColumnElement[bool]) -> Examples:
    """Metrics of which a point and the latest value stand like this to each other."""
    joined = metrics.outerjoin(latest_metrics, _same_metric())
    found = sa.select(*_name(metrics)).select_from(joined)
    return found.where(condition, _of_known_run(metrics)).group_by(*_name(metrics))


def _unfounded(dialect: SqlDialect) -> Examples:
    def has_no_point(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return ~sa.select(sa.literal_column("1")).select_from(metrics).where(_same_metric(), *conditions).exists()

    if dialect.plans_by_statistics:  # it reads both tables once
        unfounded = has_no_point(_place(metrics) >= _place(latest_metrics))
    else:  # a key is looked up for each row, and the history of those only that lack it
        same = [metrics.c[name] == latest_metrics.c[name] for name in ("step", "timestamp", "value", "is_nan")]
        unfounded = sa.and_(has_no_point(*same), has_no_point(_place(metrics) > _place(latest_metrics)))
    return sa.select(*_name(latest_metrics)).where(
        latest_metrics.c.timestamp.is_not(None),
        unfounded,
        _of_known_run(latest_metrics),
    )


def _mixed_names(dialect: SqlDialect) -> Examples:
    names = sa.func.count(sa.distinct(dialect.by_code_point(metrics.c.key)))
    return sa.select(*_name(metrics)).group_by(*_name(metrics)).having(names > 1)


_MIXED_NAMES = Check(
    FindingKind.MIXED_NAMES,
    "metrics.key",
    "metrics of a run have names that are one to the database's collation; one latest value stands for both",
    _METRIC,
    "give one of them another name, or copy the data into a database whose collation tells them apart",
    _mixed_names,
)


def _narrow_columns(schema: Schema, dialect: SqlDialect) -> Iterator[tuple[sa.Column[Any], int, int]]:
    """Columns, with the characters that they take and those that they should."""
    for table in NEEDED:
        for column in METADATA.tables[table].columns:
            width = schema.columns[table][column.name].length
            if not isinstance(column.type, sa.String) or width is None:
                continue
            kind = column.type.dialect_impl(dialect.sqlalchemy)
            allowed = _ALLOWED.get((table, column.name)) or getattr(kind, "length", None) or 0
            if width < allowed:
                yield column, width, allowed


def _long_value(column: sa.Column[Any], width: int) -> Check:
    return Check(
        FindingKind.LONG_VALUE,
        str(column),
        f"values have {_RISK:.0%} or more of the {width} characters that the column takes",
        "one of {} characters",
        "make room before longer ones are refused: widen the column",
        lambda _: sa.select(sa.func.char_length(column)).where(sa.func.char_length(column) >= round(width * _RISK)),
    )


def _long_location(width: int) -> Check:
    location = experiments.c.artifact_location
    return Check(
        FindingKind.LONG_LOCATION,
        str(location),
        f"experiments take no new runs: those of their runs would exceed the {width} characters of runs.artifact_uri",
        "experiment {}",
        f"widen runs.artifact_uri, or use locations of at most {width - _RUN_SUFFIX} characters",
        lambda _: sa.select(experiments.c.experiment_id).where(
            sa.func.char_length(location) > width - _RUN_SUFFIX, experiments.c.lifecycle_stage == "active"
        ),
    )
