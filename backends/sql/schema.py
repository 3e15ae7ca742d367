"""The tables: those of MLflow's revision `0584bdc529eb`, and holdall's own.

MLflow 2.22 opens a database that has exactly these names; MLflow 3.x takes it over with `mlflow db upgrade`, which
needs the names of the registry's primary keys and of `fk_trace_info_experiment_id`. Key order, `WITHOUT ROWID` and
indexes are ours: everything of a run lies together, so that a batch touches few pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import UserDefinedType

__all__ = [
    "HOLDALL_TABLES",
    "IS_ACTIVE",
    "MARIADB_COLLATION",
    "METADATA",
    "MLFLOW_MODELS",
    "MYSQL_COLLATION",
    "OWN_MODELS",
    "REVISION",
    "STAYS_ACTIVE",
    "ModelTables",
    "alembic_version",
    "datasets",
    "experiment_deletions",
    "experiment_tags",
    "experiments",
    "input_tags",
    "inputs",
    "inputs_with_steps",
    "latest_metrics",
    "metrics",
    "params",
    "runs",
    "tags",
]

REVISION = "0584bdc529eb"
"""Alembic revision of MLflow 2.22, which a new database has."""

METADATA = sa.MetaData()
_MLFLOW_3 = sa.MetaData()
"""What later revisions have besides, or otherwise; holdall creates none of it."""


class _ExactDouble(UserDefinedType[float]):
    """A column without affinity on SQLite, where a FLOAT column would lose the sign of −0.0."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "BLOB"


_DOUBLE: sa.types.TypeEngine[float] = sa.Double().with_variant(_ExactDouble(), "sqlite")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")

MYSQL_COLLATION = "utf8mb4_0900_bin"
MARIADB_COLLATION = "utf8mb4_nopad_bin"
"""Collations that tell all texts apart: case, accents, trailing blanks."""


def _table(name: str, *items: sa.schema.SchemaItem) -> sa.Table:
    """A table clustered by its primary key."""
    return _new_table(name, *items, sqlite_with_rowid=False)


def _new_table(name: str, *items: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    return sa.Table(
        name,
        METADATA,
        *items,
        mysql_engine="InnoDB",
        mysql_collate=MYSQL_COLLATION,
        mariadb_engine="InnoDB",
        mariadb_collate=MARIADB_COLLATION,
        **options,
    )


def _text(name: str, length: int, *, null: bool = True, wide: int | None = None) -> sa.Column[str]:
    """A text column.

    Args:
        name: The column.
        length: Its greatest length in MLflow's tables, which SQLite does not look at.
        null: Whether it may be NULL.
        wide: Its greatest length on servers, where holdall promises more than MLflow.
    """
    exact = sa.String(wide or length, collation="C")
    kind = sa.String(length).with_variant(exact, "postgresql")
    return sa.Column(
        name, kind if wide is None else kind.with_variant(sa.String(wide), "mysql", "mariadb"), nullable=null
    )


def _big(name: str, *, null: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _key(*columns: str, name: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=name)


alembic_version = _table(
    "alembic_version", _text("version_num", 32, null=False), _key("version_num", name="alembic_version_pkc")
)

experiments = _new_table(
    "experiments",
    sa.Column("experiment_id", _BIG, nullable=False, autoincrement=True),
    _text("name", 256, null=False, wide=500),
    _text("artifact_location", 256, wide=2048),
    _text("lifecycle_stage", 32),
    _big("creation_time"),
    _big("last_update_time"),
    _key("experiment_id", name="experiment_pk"),
    sa.UniqueConstraint("name"),
)

experiment_tags = _table(
    "experiment_tags",
    _text("key", 250, null=False),
    sa.Column("value", _LONG_TEXT),
    sa.Column("experiment_id", _BIG, nullable=False),
    _key("experiment_id", "key", name="experiment_tag_pk"),
)

runs = _table(
    "runs",
    _text("run_uuid", 32, null=False),
    _text("name", 250),
    _text("source_type", 20),
    _text("source_name", 500),
    _text("entry_point_name", 50),
    _text("user_id", 256),
    _text("status", 9),
    _big("start_time"),
    _big("end_time"),
    _text("source_version", 50),
    _text("lifecycle_stage", 20),
    _text("artifact_uri", 200, wide=2200),
    sa.Column("experiment_id", _BIG),
    _big("deleted_time"),
    _key("run_uuid", name="run_pk"),
)
sa.Index(
    "holdall_runs_by_start", runs.c.experiment_id, runs.c.lifecycle_stage, runs.c.start_time.desc(), runs.c.run_uuid
)

IS_ACTIVE = (
    sa.select(sa.literal_column("1"))
    .where(runs.c.run_uuid == sa.bindparam("id"), runs.c.lifecycle_stage == sa.literal_column("'active'"))
    .exists()
)
"""Whether the run whose id is the parameter `id` may be changed."""

STAYS_ACTIVE = (
    sa.select(sa.literal_column("1"))
    .where(runs.c.run_uuid == sa.bindparam("id"), runs.c.lifecycle_stage == sa.literal_column("'active'"))
    .with_for_update(read=True)
    .exists()
)
"""The same; and it may be until the end of the transaction."""

params = _table(
    "params",
    _text("run_uuid", 32, null=False),
    _text("key", 250, null=False),
    _text("value", 8000, null=False),
    _key("run_uuid", "key", name="param_pk"),
)

tags = _table(
    "tags",
    _text("run_uuid", 32, null=False),
    _text("key", 250, null=False),
    _text("value", 8000),
    _key("run_uuid", "key", name="tag_pk"),
)

metrics = _table(
    "metrics",
    _text("run_uuid", 32, null=False),
    _text("key", 250, null=False),
    _big("timestamp", null=False),
    sa.Column("step", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("value", _DOUBLE, nullable=False),
    sa.Column("is_nan", sa.Boolean(), nullable=False, server_default=sa.false()),
    _key("run_uuid", "key", "timestamp", "step", "value", "is_nan", name="metric_pk"),
)

latest_metrics = _table(
    "latest_metrics",
    _text("run_uuid", 32, null=False),
    _text("key", 250, null=False),
    _big("step", null=False),
    _big("timestamp"),
    sa.Column("value", _DOUBLE),
    sa.Column("is_nan", sa.Boolean(), nullable=False),
    _key("run_uuid", "key", name="latest_metric_pk"),
)
sa.Index("holdall_latest_metrics_by_value", latest_metrics.c.key, latest_metrics.c.is_nan, latest_metrics.c.value)

datasets = _table(
    "datasets",
    _text("dataset_uuid", 36, null=False),
    sa.Column("experiment_id", _BIG, nullable=False),
    _text("name", 500, null=False),
    _text("digest", 36, null=False),
    _text("dataset_source_type", 36, null=False),
    sa.Column("dataset_source", _LONG_TEXT, nullable=False),
    sa.Column("dataset_schema", _LONG_TEXT),
    sa.Column("dataset_profile", _LONG_TEXT),
    _key("experiment_id", "name", "digest", name="dataset_pk"),
)
sa.Index("index_datasets_dataset_uuid", datasets.c.dataset_uuid)

inputs = _table(
    "inputs",
    _text("source_type", 36, null=False),
    _text("source_id", 36, null=False),
    _text("destination_type", 36, null=False),
    _text("destination_id", 36, null=False),
    _text("input_uuid", 36, null=False),  # not the first: SQLite 3.40's integrity_check would take it for NULL
    _key("destination_id", "destination_type", "source_type", "source_id", name="inputs_pk"),
)

input_tags = _table(
    "input_tags",
    _text("input_uuid", 36, null=False),
    _text("name", 255, null=False),
    _text("value", 500, null=False),
    _key("input_uuid", "name", name="input_tags_pk"),
)

_table(
    "registered_models",
    _text("name", 256, null=False),
    _big("creation_time"),
    _big("last_updated_time"),
    _text("description", 5000),
    _key("name", name="registered_model_pk"),
)
_table(
    "registered_model_tags",
    _text("key", 250, null=False),
    _text("value", 5000),
    _text("name", 256, null=False),
    _key("key", "name", name="registered_model_tag_pk"),
    sa.ForeignKeyConstraint(["name"], ["registered_models.name"], onupdate="CASCADE"),
)
_table(
    "registered_model_aliases",
    _text("alias", 256, null=False),
    sa.Column("version", sa.Integer(), nullable=False),
    _text("name", 256, null=False),
    _key("name", "alias", name="registered_model_alias_pk"),
    sa.ForeignKeyConstraint(
        ["name"],
        ["registered_models.name"],
        name="registered_model_alias_name_fkey",
        onupdate="CASCADE",
        ondelete="CASCADE",
    ),
)
_table(
    "model_versions",
    _text("name", 256, null=False),
    sa.Column("version", sa.Integer(), nullable=False),
    _big("creation_time"),
    _big("last_updated_time"),
    _text("description", 5000),
    _text("user_id", 256),
    _text("current_stage", 20),
    _text("source", 500),
    _text("run_id", 32),
    _text("status", 20),
    _text("status_message", 500),
    _text("run_link", 500),
    _text("storage_location", 500),
    _key("name", "version", name="model_version_pk"),
    sa.ForeignKeyConstraint(["name"], ["registered_models.name"], onupdate="CASCADE"),
)
_table(
    "model_version_tags",
    _text("key", 250, null=False),
    _text("value", 5000),
    _text("name", 256, null=False),
    sa.Column("version", sa.Integer(), nullable=False),
    _key("key", "name", "version", name="model_version_tag_pk"),
    sa.ForeignKeyConstraint(["name", "version"], ["model_versions.name", "model_versions.version"], onupdate="CASCADE"),
)

_table(
    "trace_info",
    _text("request_id", 50, null=False),
    sa.Column("experiment_id", _BIG, nullable=False),
    _big("timestamp_ms", null=False),
    _big("execution_time_ms"),
    _text("status", 50, null=False),
    _key("request_id", name="trace_info_pk"),
    sa.ForeignKeyConstraint(["experiment_id"], ["experiments.experiment_id"], name="fk_trace_info_experiment_id"),
)
for _name, _constraint in (("trace_request_metadata", "trace_request_metadata"), ("trace_tags", "trace_tag")):
    _table(
        _name,
        _text("key", 250, null=False),
        _text("value", 8000),
        _text("request_id", 50, null=False),
        _key("key", "request_id", name=f"{_constraint}_pk"),
        sa.ForeignKeyConstraint(
            ["request_id"], ["trace_info.request_id"], name=f"fk_{_name}_request_id", ondelete="CASCADE"
        ),
    )

experiment_deletions = _table(
    "holdall_experiment_deletions",
    sa.Column("experiment_id", _BIG, nullable=False, autoincrement=False),
    _big("deleted_time", null=False),
    _key("experiment_id", name="holdall_experiment_deletions_pk"),
)
"""When holdall deleted an experiment; the runs deleted with it carry the same `deleted_time`."""


@dataclass(frozen=True, slots=True)
class ModelTables:
    """Tables of logged models.

    Attributes:
        models: A row for each.
        params: By `param_key`.
        tags: By `tag_key`.
        metrics: Points.
    """

    models: sa.Table
    params: sa.Table
    tags: sa.Table
    metrics: sa.Table

    @property
    def all(self) -> Sequence[sa.Table]:
        """The tables, in the order in which they are made."""
        return self.models, self.params, self.tags, self.metrics


_Number = sa.types.TypeEngine[int]


def _model_columns(number: _Number, location: int, run_id: int) -> list[sa.Column[Any]]:
    return [
        _text("model_id", 36, null=False),
        sa.Column("experiment_id", number, nullable=False),
        _text("name", 500, null=False),
        _text("artifact_location", location, null=False),
        _big("creation_timestamp_ms", null=False),
        _big("last_updated_timestamp_ms", null=False),
        sa.Column("status", sa.Integer(), nullable=False),
        _text("lifecycle_stage", 32),
        _text("model_type", 500),
        _text("source_run_id", run_id),
        _text("status_message", 1000),
    ]


def _value_columns(kind: str, number: _Number) -> list[sa.Column[Any]]:
    return [
        _text("model_id", 36, null=False),
        _text(f"{kind}_key", 255, null=False),
        sa.Column(f"{kind}_value", _LONG_TEXT, nullable=False),
        sa.Column("experiment_id", number, nullable=False),
    ]


def _place_columns(key: int) -> list[sa.Column[Any]]:
    return [
        _text("model_id", 36, null=False),
        _text("metric_name", key, null=False),
        _big("metric_timestamp_ms", null=False),
        _big("metric_step", null=False),
        _text("run_id", 32, null=False),
    ]


def _point_columns(number: _Number) -> list[sa.Column[Any]]:
    return [
        sa.Column("experiment_id", number, nullable=False),
        _text("dataset_name", 500),
        _text("dataset_digest", 36),
    ]


def _mlflow_values(kind: str) -> sa.Table:
    name = f"logged_model_{kind}s"
    columns = _value_columns(kind, sa.Integer())
    return sa.Table(name, _MLFLOW_3, *columns, _key("model_id", f"{kind}_key", name=f"{name}_pk"))


def _own_values(kind: str) -> sa.Table:
    name = f"holdall_logged_model_{kind}s"
    return _table(name, *_value_columns(kind, _BIG), _key("model_id", f"{kind}_key", name=f"{name}_pk"))


MLFLOW_MODELS = ModelTables(
    sa.Table(
        "logged_models", _MLFLOW_3, *_model_columns(sa.Integer(), 1000, 32), _key("model_id", name="logged_models_pk")
    ),
    _mlflow_values("param"),
    _mlflow_values("tag"),
    sa.Table(
        "logged_model_metrics",
        _MLFLOW_3,
        *_place_columns(500),
        sa.Column("metric_value", _DOUBLE),
        *_point_columns(sa.Integer()),
        _key(
            "model_id",
            "metric_name",
            "metric_timestamp_ms",
            "metric_step",
            "run_id",
            name="logged_model_metrics_pk",
        ),
    ),
)
"""Those of MLflow 3. A point has no place for NaN, and one value at a time, whatever the dataset."""

inputs_with_steps = sa.Table(
    "inputs",
    _MLFLOW_3,
    *(sa.Column(column.name, column.type, nullable=False) for column in inputs.columns),
    sa.Column("step", sa.BigInteger(), nullable=False, server_default="0"),
    _key("source_type", "source_id", "destination_type", "destination_id", name="inputs_pk"),
)
"""`inputs` as MLflow 3 has it."""

OWN_MODELS = ModelTables(
    _table(
        "holdall_logged_models",
        *_model_columns(_BIG, 2200, 256),
        _key("model_id", name="holdall_logged_models_pk"),
        sa.UniqueConstraint("experiment_id", "model_id", name="holdall_logged_models_by_experiment"),
    ),
    _own_values("param"),
    _own_values("tag"),
    _table(
        "holdall_logged_model_metrics",
        *_place_columns(250),
        _text("dataset_mark", 32, null=False),
        sa.Column("metric_value", _DOUBLE, nullable=False),
        sa.Column("is_nan", sa.Boolean(), nullable=False),
        *_point_columns(_BIG),
        _key(
            "model_id",
            "metric_name",
            "metric_timestamp_ms",
            "metric_step",
            "run_id",
            "dataset_mark",
            "metric_value",
            "is_nan",
            name="holdall_logged_model_metrics_pk",
        ),
    ),
)
"""Where a database of MLflow 2 keeps logged models, and one of MLflow 3 the points that MLflow's table cannot hold.

`dataset_mark` stands for a dataset in the key, which MySQL does not let be as long as names are.
"""

HOLDALL_TABLES = (experiment_deletions, *OWN_MODELS.all)
"""Tables that MLflow does not have: no views on its tables, no foreign keys into them."""
