"""What is in a database that is being opened, and the creation of what must be."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from holdall.backends.sql.database import Session
from holdall.backends.sql.schema import METADATA, REVISION, alembic_version, experiments
from holdall.backends.sql.statements import Statement
from holdall.stores.entities import LifecycleStage
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.names import DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT_NAME
from holdall.stores.uri import StoreURI

__all__ = ["Schema", "check", "create", "inspect"]

_REVISIONS = {REVISION: "MLflow 2.22", "dc11669786a5": "MLflow 3.17"}
_NEEDED = (
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
_INSERT_REVISION = Statement(
    lambda _: sa.insert(alembic_version).values(version_num=sa.bindparam("version")), "version"
)
_INSERT_DEFAULT_COLUMNS = (
    "experiment_id",
    "name",
    "artifact_location",
    "lifecycle_stage",
    "creation_time",
    "last_update_time",
)
_INSERT_DEFAULT = Statement(
    lambda _: sa.insert(experiments).values({name: sa.bindparam(name) for name in _INSERT_DEFAULT_COLUMNS}),
    *_INSERT_DEFAULT_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has.

    Attributes:
        columns: Declared type by column by table.
        revision: MLflow's Alembic revision, or None.
    """

    columns: dict[str, dict[str, str]]
    revision: str | None

    @property
    def exact_doubles(self) -> bool:
        """Whether −0.0 keeps its sign."""
        return self.columns["metrics"]["value"] == "BLOB"

    def facts(self) -> dict[str, str]:
        """For people."""
        revision = self.revision or "none"
        known = _REVISIONS.get(revision)
        facts = {"schema": f"{revision} ({known})" if known else revision}
        facts["layout"] = "holdall" if self.exact_doubles else "MLflow"
        if not self.exact_doubles:
            facts["limits"] = "the sign of -0.0 is lost in MLflow's FLOAT columns"
        return facts


def inspect(session: Session) -> Schema | None:
    """What the database has; None if it has no tables at all."""
    tables = [
        name
        for (name,) in session.text(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
    ]
    if not tables:
        return None
    columns: dict[str, dict[str, str]] = {}
    for table, column, declared in session.text(
        "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    ):
        columns.setdefault(table, {})[column] = declared.upper()
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
    for table in _NEEDED:
        missing = {column.name for column in METADATA.tables[table].columns} - set(schema.columns.get(table, ()))
        if missing:
            what = f"table {table!r}" if table not in schema.columns else f"column {min(missing)!r} of table {table!r}"
            raise InvalidParameterValue(
                f"{uri} lacks the {what}: its schema is of revision {schema.revision}. Back it up and run "
                f"'mlflow db upgrade' with MLflow 2.22 or later, then open it again."
            )


def create(session: Session, default_location: str) -> bool:
    """Create the schema and experiment 0, unless another process has done so meanwhile; whether it was done now."""
    if inspect(session) is not None:
        return False
    dialect = session.dialect.sqlalchemy
    for table in METADATA.sorted_tables:
        session.text(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            session.text(str(CreateIndex(index).compile(dialect=dialect)))
    session.run(_INSERT_REVISION, REVISION)
    now = time.time_ns() // 1_000_000
    number, active = int(DEFAULT_EXPERIMENT_ID), LifecycleStage.ACTIVE.value
    session.run(_INSERT_DEFAULT, number, DEFAULT_EXPERIMENT_NAME, default_location, active, now, now)
    return True
