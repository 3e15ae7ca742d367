"""Logged models, their params and tags: statements and rows.

A shelf is a set of tables with models. A database of MLflow 2 has holdall's own, made when they are needed; one of
MLflow 3 has MLflow's, and perhaps holdall's besides, with what it held before it was upgraded. A model is on one shelf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from holdall.backends.sql.database import Answer, Row, Session, by_key
from holdall.backends.sql.experiments import ExperimentRows, numeric_id
from holdall.backends.sql.model_points import BOTH_POINTS, MLFLOW_POINTS, OWN_POINTS, Metrics, PointRows, by_model
from holdall.backends.sql.schema import MLFLOW_MODELS, OWN_MODELS, ModelTables
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import LifecycleStage, LoggedModel, LoggedModelMetric, LoggedModelStatus
from holdall.stores.rules import (
    check_model_params,
    indistinct,
    model_artifact_location,
    model_not_found,
    tag_not_found,
)

__all__ = ["ALL", "MLFLOW", "OWN", "Held", "ModelRows", "Shelf", "model_of"]

_COLUMNS = (
    "model_id",
    "experiment_id",
    "name",
    "artifact_location",
    "creation_timestamp_ms",
    "last_updated_timestamp_ms",
    "status",
    "lifecycle_stage",
    "model_type",
    "source_run_id",
    "status_message",
)
_STATUSES = {status.value: status for status in LoggedModelStatus}


def model_of(row: Row, params: Mapping[str, str], tags: Mapping[str, str], metrics: Metrics) -> LoggedModel:
    """A model from a row of `Shelf.columns`."""
    model_id, number, name, location, created, updated, status, _, kind, source, message = row
    return LoggedModel(
        model_id=model_id,
        experiment_id=str(number),
        name=name,
        artifact_location=location,
        creation_timestamp=created,
        last_updated_timestamp=updated,
        status=_STATUSES.get(status, LoggedModelStatus.UNSPECIFIED),
        model_type=kind,
        source_run_id=source,
        status_message=message,
        params=by_key(params.items()),
        tags=by_key(tags.items()),
        metrics=metrics,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model that is asked for: its row, its params, its tags, its points."""

    row: Answer
    params: Answer
    tags: Answer
    points: Answer


class _Values:
    """Statements on the table of params or of tags."""

    def __init__(self, table: sa.Table, kind: str) -> None:
        key, value = f"{kind}_key", f"{kind}_value"
        columns = ("model_id", key, value, "experiment_id")
        self.of_one = Statement(
            lambda _: sa.select(table.c[key], table.c[value]).where(table.c.model_id == sa.bindparam("id")), "id"
        )
        self.of_many = Statement(
            lambda dialect: sa.select(table.c.model_id, table.c[key], table.c[value]).where(
                dialect.one_of(table.c.model_id, sa.bindparam("ids"))
            ),
            "ids",
        )
        self.insert = Bulk(
            lambda dialect, rows: dialect.insert_or_ignore(table, columns, rows=rows),
            [table.c[name] for name in columns],
        )
        self.upsert = Bulk(
            lambda dialect, rows: dialect.upsert(table, columns, ("model_id", key), rows=rows),
            [table.c[name] for name in columns],
        )
        self.delete = Statement(
            lambda _: sa.delete(table).where(
                table.c.model_id == sa.bindparam("id"), table.c[key] == sa.bindparam("wanted")
            ),
            "id",
            "wanted",
        )


class Shelf:
    """The models of one set of tables, within a transaction.

    Args:
        tables: The tables.
        points: The points of the models.

    Attributes:
        tables: The same.
        points: The same.
        columns: Those that `model_of` reads.
    """

    def __init__(self, tables: ModelTables, points: PointRows) -> None:
        models = tables.models
        self.tables = tables
        self.points = points
        self.columns = tuple(models.c[name] for name in _COLUMNS)
        self.params = _Values(tables.params, "param")
        self.tags = _Values(tables.tags, "tag")
        chosen = models.c.model_id == sa.bindparam("id")
        state = sa.select(models.c.experiment_id, models.c.lifecycle_stage).where(chosen)
        self._select = Statement(lambda _: sa.select(*self.columns).where(chosen), "id")
        self.hold = Statement(lambda _: state.with_for_update(read=True), "id")
        self.lock = Statement(lambda _: state.with_for_update(key_share=True), "id")
        self.insert = Statement(lambda dialect: dialect.insert_or_ignore(models, _COLUMNS), *_COLUMNS)
        self.set_status = Statement(
            lambda _: (
                sa.update(models)
                .where(chosen)
                .values(status=sa.bindparam("new_status"), last_updated_timestamp_ms=sa.bindparam("time"))
            ),
            "new_status",
            "time",
            "id",
        )
        self.set_stage = Statement(
            lambda _: (
                sa.update(models)
                .where(chosen)
                .values(lifecycle_stage=sa.bindparam("stage"), last_updated_timestamp_ms=sa.bindparam("time"))
            ),
            "stage",
            "time",
            "id",
        )

    def ask(self, session: Session, model_id: str) -> _Asked:
        """Ask for a model."""
        return _Asked(
            session.ask(self._select, model_id),
            session.ask(self.params.of_one, model_id),
            session.ask(self.tags.of_one, model_id),
            self.points.ask_of_one(session, model_id),
        )

    def many(self, session: Session, rows: Sequence[Row], *, last: bool) -> list[LoggedModel]:
        """Models from rows of `columns`, with their data, in the same order; `last` if nothing is asked after it."""
        if not rows:
            return []
        ids = session.dialect.bind_list([row[0] for row in rows])
        params, tags = session.ask(self.params.of_many, ids), session.ask(self.tags.of_many, ids)
        points = self.points.ask_of_many(session, ids)
        if last:
            session.last()
        params_of, tags_of, points_of = _by_owner(params), _by_owner(tags), by_model(points)
        return [
            model_of(row, params_of.get(row[0], {}), tags_of.get(row[0], {}), points_of.get(row[0], ())) for row in rows
        ]


OWN = Shelf(OWN_MODELS, OWN_POINTS)
"""Holdall's own tables."""

MLFLOW = Shelf(MLFLOW_MODELS, MLFLOW_POINTS)
"""MLflow's tables, in a database that has none of holdall's."""

ALL = (Shelf(MLFLOW_MODELS, BOTH_POINTS), OWN)
"""MLflow's tables and holdall's."""


def _by_owner(values: Answer) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for model_id, key, value in values.each():
        found.setdefault(model_id, {})[key] = value
    return found


def _found(asked: _Asked) -> LoggedModel | None:
    """The model that was asked for, deleted or not."""
    row = asked.row.first
    if row is None or row[7] == LifecycleStage.DELETED:
        return None
    points = by_model(asked.points).get(row[0], ())
    return model_of(row, dict(_pairs(asked.params)), dict(_pairs(asked.tags)), points)


def _pairs(values: Answer) -> list[tuple[str, str]]:
    return [(key, value) for key, value in values.rows]


@dataclass(frozen=True, slots=True)
class Held:
    """A model that is there and that nobody deletes until the end of the transaction.

    Attributes:
        shelf: Where it is.
        model_id: Its id.
        number: Its experiment.
    """

    shelf: Shelf
    model_id: str
    number: int


class ModelRows:
    """Reads and writes models within a transaction; `shelves` are those that the database has at the time."""

    def __init__(self, experiments: ExperimentRows) -> None:
        self._experiments = experiments

    def create(self, session: Session, shelf: Shelf, model: LoggedModel) -> LoggedModel:
        """Insert a model in an active experiment."""
        found = self._experiments.hold_stage(session, model.experiment_id)
        experiment = self._experiments.check_active(found, model.experiment_id)
        created = replace(
            model, artifact_location=model_artifact_location(experiment.artifact_location, model.model_id)
        )
        held = Held(shelf, model.model_id, numeric_id(model.experiment_id))
        session.do(
            shelf.insert,
            created.model_id,
            held.number,
            created.name,
            created.artifact_location,
            created.creation_timestamp,
            created.last_updated_timestamp,
            int(created.status),
            LifecycleStage.ACTIVE.value,
            created.model_type,
            created.source_run_id,
            created.status_message,
        )
        self._write(session, held, shelf.params.insert, created.params)
        self._write(session, held, shelf.tags.upsert, created.tags)
        self._check(session, held, created.params, created.tags)
        session.commit()
        return created

    def get(self, session: Session, shelves: Sequence[Shelf], model_id: str) -> LoggedModel | None:
        """The model, or None if there is none or it is deleted."""
        asked = [shelf.ask(session, model_id) for shelf in shelves]
        session.last()
        return next(filter(None, map(_found, asked)), None)

    def hold(self, session: Session, shelves: Sequence[Shelf], model_id: str) -> Held:
        """The model; others may hold it at the same time."""
        return self._held(model_id, [(shelf, session.ask(shelf.hold, model_id)) for shelf in shelves])

    def lock(self, session: Session, shelves: Sequence[Shelf], model_id: str) -> Held:
        """The model; nobody else changes it until the end of the transaction."""
        return self._held(model_id, [(shelf, session.ask(shelf.lock, model_id)) for shelf in shelves])

    def _held(self, model_id: str, asked: Sequence[tuple[Shelf, Answer]]) -> Held:
        for shelf, answer in asked:
            if answer.first is not None and answer.first[1] != LifecycleStage.DELETED:
                return Held(shelf, model_id, answer.first[0])
        raise model_not_found(model_id)

    def finalize(self, session: Session, held: Held, status: LoggedModelStatus, time: int) -> LoggedModel:
        """Set status and last update time; the model then."""
        session.do(held.shelf.set_status, int(status), time, held.model_id)
        asked = held.shelf.ask(session, held.model_id)
        model = _found(asked)
        assert model is not None
        return model

    def delete(self, session: Session, shelves: Sequence[Shelf], model_id: str, time: int) -> None:
        """Mark a model deleted, if it is not already."""
        for shelf in shelves:
            row = session.one(shelf.lock, model_id)
            if row is not None:
                if row[1] != LifecycleStage.DELETED:
                    session.do(shelf.set_stage, LifecycleStage.DELETED.value, time, model_id)
                return
        raise model_not_found(model_id)

    def log_data(self, session: Session, held: Held, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Add params and set tags of a model that is locked."""
        if params:
            known = dict(_pairs(session.ask(held.shelf.params.of_one, held.model_id)))
            params = check_model_params(held.model_id, known, params)
            self._write(session, held, held.shelf.params.insert, params)
        self._write(session, held, held.shelf.tags.upsert, tags)
        self._check(session, held, params, tags)

    def delete_tag(self, session: Session, held: Held, key: str) -> None:
        """Delete a tag; raises `NotFound`."""
        if session.run(held.shelf.tags.delete, held.model_id, key) == 0 and not session.repeated:
            raise tag_not_found(key, f"logged model {held.model_id!r}")

    def log_metrics(self, session: Session, held: Held, points: Sequence[LoggedModelMetric]) -> None:
        """Write points of a model that is held."""
        held.shelf.points.write(session, points, held.model_id, held.number)

    def _write(self, session: Session, held: Held, statement: Bulk, values: Mapping[str, str]) -> None:
        session.do_many(statement, [(held.model_id, key, values[key], held.number) for key in sorted(values)])

    def _check(self, session: Session, held: Held, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Refuse what a database with inexact keys has taken for another param or tag."""
        if session.dialect.exact_text:
            return
        for values, written, what in (
            (held.shelf.params, params, "models' params"),
            (held.shelf.tags, tags, "models' tags"),
        ):
            kept = {key for key, _ in session.all(values.of_one, held.model_id)} if written else set()
            lost = sorted(written.keys() - kept)
            if lost:
                raise indistinct(what, lost[0])
