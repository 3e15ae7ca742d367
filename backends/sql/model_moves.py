"""What holdall kept of logged models in a database of MLflow 2, moved to MLflow's tables once that is one of MLflow 3.

Nothing depends on the move: models that cannot be moved, or not yet, are found where they are. Points stay there as
well, exactly as they are; MLflow's table gets of them what it can hold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ClauseElement

from holdall.backends.sql.database import Database, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.inputs import MODEL_INPUT, MODEL_OUTPUT, RUN_ENDS, STEP_TAG
from holdall.backends.sql.schema import (
    MLFLOW_MODELS,
    OWN_MODELS,
    experiments,
    input_tags,
    inputs,
    inputs_with_steps,
    runs,
)
from holdall.backends.sql.statements import Statement, compile_once
from holdall.stores.errors import AlreadyExists, InvalidParameterValue

__all__ = ["move_models"]

_log = logging.getLogger("holdall")

_own, _theirs = OWN_MODELS, MLFLOW_MODELS


def _fits(dialect: SqlDialect) -> sa.ColumnElement[bool]:
    """The models that MLflow's tables can hold."""
    models = _own.models
    return sa.and_(
        models.c.experiment_id.in_(sa.select(experiments.c.experiment_id)),
        models.c.experiment_id <= dialect.greatest_integer,
        sa.func.char_length(models.c.artifact_location) <= 1000,
        sa.func.char_length(sa.func.coalesce(models.c.source_run_id, "")) <= 32,
    )


_FIRST_TO_MOVE = Statement(lambda dialect: sa.select(_own.models.c.model_id).where(_fits(dialect)).limit(1))


def move_models(database: Database) -> None:
    """Move what there is to move, in one transaction."""
    if database.read(lambda session: session.one(_FIRST_TO_MOVE)) is None:
        return
    try:
        database.write(_move)
    except (AlreadyExists, InvalidParameterValue) as error:
        _log.warning("Logged models stay in holdall's tables, where MLflow does not see them: %s", error)


def _move(session: Session) -> None:
    for statement in _statements(session.dialect):
        session.do_text(*compile_once(statement, session.dialect))


def _statements(dialect: SqlDialect) -> Iterator[ClauseElement]:
    moved = sa.select(_theirs.models.c.model_id)
    # Others that do the same wait here, and find nothing to move then.
    yield sa.update(_own.models).values(status=_own.models.c.status)
    yield _copied(_theirs.models, _own.models, _fits(dialect), _lacks(_theirs.models, _own.models, "model_id"))
    for theirs, own, key in (
        (_theirs.params, _own.params, "param_key"),
        (_theirs.tags, _own.tags, "tag_key"),
    ):
        yield _copied(theirs, own, own.c.model_id.in_(moved), _lacks(theirs, own, "model_id", key))
        yield sa.delete(own).where(own.c.model_id.in_(moved))
    yield _points(moved)
    yield sa.delete(_own.models).where(_own.models.c.model_id.in_(moved))
    yield from _links()


def _copied(theirs: sa.Table, own: sa.Table, *conditions: sa.ColumnElement[bool]) -> ClauseElement:
    names = [column.name for column in theirs.columns]
    return sa.insert(theirs).from_select(names, sa.select(*(own.c[name] for name in names)).where(*conditions))


def _lacks(theirs: sa.Table, own: sa.Table, *key: str) -> sa.ColumnElement[bool]:
    same = [theirs.c[name] == own.c[name] for name in key]
    return ~sa.select(sa.literal_column("1")).select_from(theirs).where(*same).correlate(own).exists()


def _points(moved: sa.Select[Any]) -> ClauseElement:
    """The greatest value of each place of MLflow's table."""
    own, theirs = _own.metrics, _theirs.metrics
    place = ("model_id", "metric_name", "metric_timestamp_ms", "metric_step", "run_id")
    rank = sa.func.row_number().over(
        partition_by=[own.c[name] for name in place], order_by=[own.c.metric_value.desc(), own.c.is_nan]
    )
    ranked = (
        sa.select(*own.c, rank.label("place"))
        .where(own.c.model_id.in_(moved), own.c.run_id.in_(sa.select(runs.c.run_uuid)), _lacks(theirs, own, *place))
        .subquery()
    )
    names = [column.name for column in theirs.columns]
    chosen = sa.select(*(ranked.c[name] for name in names)).where(ranked.c.place == sa.literal_column("1"))
    return sa.insert(theirs).from_select(names, chosen)


def _links() -> Iterator[ClauseElement]:
    """Links begin at their runs, and steps become numbers."""
    ending = inputs.c.source_type.in_(list(RUN_ENDS))
    beginning = sa.case(
        (inputs.c.source_type == MODEL_INPUT, sa.literal_column(f"'{RUN_ENDS[MODEL_INPUT]}'")),
        else_=sa.literal_column(f"'{RUN_ENDS[MODEL_OUTPUT]}'"),
    )
    step = (
        sa.select(sa.cast(input_tags.c.value, sa.BigInteger()))
        .where(input_tags.c.input_uuid == inputs.c.input_uuid, input_tags.c.name == STEP_TAG)
        .correlate(inputs)
        .scalar_subquery()
    )
    names = ("source_type", "source_id", "destination_type", "destination_id", "input_uuid", "step")
    other = inputs_with_steps.alias("other")
    known = (
        sa.select(sa.literal_column("1"))
        .select_from(other)
        .where(
            other.c.source_id == inputs.c.destination_id,
            other.c.destination_type == inputs.c.source_type,
            other.c.destination_id == inputs.c.source_id,
        )
        .correlate(inputs)
        .exists()
    )
    yield sa.insert(inputs_with_steps).from_select(
        names,
        sa.select(
            beginning,
            inputs.c.destination_id,
            inputs.c.source_type,
            inputs.c.source_id,
            inputs.c.input_uuid,
            sa.func.coalesce(step, sa.literal_column("0")),
        ).where(ending, ~known),
    )
    yield sa.delete(inputs).where(ending)
    yield sa.delete(input_tags).where(input_tags.c.name == STEP_TAG)
