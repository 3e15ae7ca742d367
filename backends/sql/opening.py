"""What is in a database that is being opened, and the creation of what must be."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from holdall.backends.sql.database import Session
from holdall.backends.sql.schema import (
    HOLDALL_TABLES,
    METADATA,
    MLFLOW_MODELS,
    REVISION,
    alembic_version,
    experiments,
)
from holdall.backends.sql.statements import Statement
from holdall.stores.entities import LifecycleStage
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.names import DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT_NAME
from holdall.stores.uri import StoreURI

__all__ = ["NEEDED", "ColumnFacts", "Columns", "Schema", "check", "definitions", "fill", "inspect"]

_REVISIONS = {REVISION: "MLflow 2.22", "dc11669786a5": "MLflow 3.17"}
NEEDED = (
    "experiments",
    "experiment_tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "latest_metrics",
    "datasets",
    "inputs",
    "input_tags",
)
_SELECT_REVISION = Statement(lambda _: sa.select(alembic_version.c.version_num))
_INSERT_REVISION = Statement(lambda dialect: dialect.insert_or_ignore(alembic_version, ["version_num"]), "version_num")
_INSERT_DEFAULT_COLUMNS = (
    "experiment_id",
    "name",
    "artifact_location",
    "lifecycle_stage",
    "creation_time",
    "last_update_time",
)
_INSERT_DEFAULT = Statement(
    lambda dialect: dialect.insert_or_ignore(experiments, _INSERT_DEFAULT_COLUMNS), *_INSERT_DEFAULT_COLUMNS
)


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """How a column was declared.

    Attributes:
        type: Upper case, without its length.
        length: Greatest number of characters, or None.
        collation: How its texts compare, or None where that is not the column's own matter.
    """

    type: str
    length: int | None = None
    collation: str | None = None


Columns = dict[str, dict[str, ColumnFacts]]
"""Columns by name by table."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has.

    Attributes:
        columns: Its columns.
        revision: MLflow's Alembic revision, or None.
    """

    columns: Columns
    revision: str | None

    @property
    def has_logged_models(self) -> bool:
        """Whether it has the tables in which MLflow 3 keeps logged models and their links to runs."""
        return "step" in self.columns["inputs"] and all(table.name in self.columns for table in MLFLOW_MODELS.all)

    def facts(self) -> dict[str, str]:
        """For people."""
        revision = self.revision or "none"
        known = _REVISIONS.get(revision)
        return {"schema": f"{revision} ({known})" if known else revision}


def inspect(session: Session, columns: Columns) -> Schema | None:
    """What the database has, its columns being known; None if it has no tables at all."""
    if not columns:
        return None
    row = session.one(_SELECT_REVISION) if "alembic_version" in columns else None
    return Schema(columns, None if row is None else row[0])


def check(schema: Schema, uri: StoreURI) -> None:
    """Refuse a database that is not a tracking store, or one that lacks what is needed.

    Raises:
        InvalidParameterValue: Says what is missing and what to do; nothing was changed.
    """
    if "experiments" not in schema.columns and "runs" not in schema.columns:
        others = ", ".join(sorted(schema.columns)[:5])
        raise InvalidParameterValue(f"{uri} holds other tables ({others} …), no tracking store; choose another file.")
    for table in NEEDED:
        missing = {column.name for column in METADATA.tables[table].columns} - set(schema.columns.get(table, ()))
        if missing:
            what = f"table {table!r}" if table not in schema.columns else f"column {min(missing)!r} of table {table!r}"
            raise InvalidParameterValue(
                f"{uri} lacks the {what}: its schema is of revision {schema.revision}. Back it up and run "
                f"'mlflow db upgrade' with MLflow 2.22 or later, then open it again."
            )


def definitions(dialect: Dialect, existing: Collection[str] = ()) -> list[str]:
    """The statements that create all tables and indexes but the `existing` ones, holdall's own tables first."""
    statements = []
    for table in [*HOLDALL_TABLES, *(table for table in METADATA.sorted_tables if table not in HOLDALL_TABLES)]:
        if table.name not in existing:
            statements.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        fresh = [index for index in indexes if index.name not in existing]
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in fresh]
    return statements


def fill(session: Session, default_location: str) -> None:
    """Insert what a new database has: its revision, which says that it is whole, and experiment 0."""
    now = time.time_ns() // 1_000_000
    number, active = int(DEFAULT_EXPERIMENT_ID), LifecycleStage.ACTIVE.value
    session.do(_INSERT_DEFAULT, number, DEFAULT_EXPERIMENT_NAME, default_location, active, now, now)
    session.do(_INSERT_REVISION, REVISION)
