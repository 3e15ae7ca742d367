"""Experiments and their tags: statements and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from holdall.backends.sql.database import Row, Session
from holdall.backends.sql.schema import experiment_deletions, experiment_tags, experiments, runs
from holdall.backends.sql.statements import Statement
from holdall.stores.entities import Experiment, ExperimentTag, LifecycleStage
from holdall.stores.rules import (
    experiment_exists,
    require_active_experiment,
    require_experiment,
    tag_not_found,
)

__all__ = ["COLUMNS", "ExperimentRows", "numeric_id"]

COLUMNS = (
    experiments.c.experiment_id,
    experiments.c.name,
    experiments.c.artifact_location,
    experiments.c.lifecycle_stage,
    experiments.c.creation_time,
    experiments.c.last_update_time,
)

_ID = experiments.c.experiment_id == sa.bindparam("id")
_SELECT_BY_ID = Statement(lambda _: sa.select(*COLUMNS).where(_ID), "id")
_SELECT_BY_NAME = Statement(
    lambda _: (
        sa.select(*COLUMNS).where(experiments.c.name == sa.bindparam("wanted")).order_by(experiments.c.experiment_id)
    ),
    "wanted",
)
_SELECT_TAGS = Statement(
    lambda _: sa.select(experiment_tags.c.key, experiment_tags.c.value).where(
        experiment_tags.c.experiment_id == sa.bindparam("id")
    ),
    "id",
)
_SELECT_TAGS_OF_MANY = Statement(
    lambda dialect: sa.select(experiment_tags.c.experiment_id, experiment_tags.c.key, experiment_tags.c.value).where(
        dialect.one_of(experiment_tags.c.experiment_id, sa.bindparam("ids"))
    ),
    "ids",
)
_INSERT_COLUMNS = ("name", "lifecycle_stage", "creation_time", "last_update_time")
_INSERT = Statement(
    lambda dialect: dialect.insert_or_ignore(experiments, _INSERT_COLUMNS).returning(experiments.c.experiment_id),
    *_INSERT_COLUMNS,
)
_SET_LOCATION = Statement(
    lambda _: sa.update(experiments).where(_ID).values(artifact_location=sa.bindparam("location")), "location", "id"
)
_SET_NAME = Statement(
    lambda _: (
        sa.update(experiments).where(_ID).values(name=sa.bindparam("new_name"), last_update_time=sa.bindparam("time"))
    ),
    "new_name",
    "time",
    "id",
)
_SET_STAGE = Statement(
    lambda _: (
        sa.update(experiments)
        .where(_ID)
        .values(lifecycle_stage=sa.bindparam("stage"), last_update_time=sa.bindparam("time"))
    ),
    "stage",
    "time",
    "id",
)
_TOUCH = Statement(
    lambda _: sa.update(experiments).where(_ID).values(last_update_time=sa.bindparam("time")), "time", "id"
)
_UPSERT_TAG = Statement(
    lambda dialect: dialect.upsert(experiment_tags, ("experiment_id", "key", "value"), ("experiment_id", "key")),
    "experiment_id",
    "key",
    "value",
)
_DELETE_TAG = Statement(
    lambda _: sa.delete(experiment_tags).where(
        experiment_tags.c.experiment_id == sa.bindparam("id"), experiment_tags.c.key == sa.bindparam("tag")
    ),
    "id",
    "tag",
)

_RUN_STAGE = sa.update(runs).where(runs.c.experiment_id == sa.bindparam("id"))
_LAST_DELETION = Statement(
    lambda _: sa.select(sa.func.max(runs.c.deleted_time)).where(runs.c.experiment_id == sa.bindparam("id")), "id"
)
_DELETE_RUNS = Statement(
    lambda _: _RUN_STAGE.where(runs.c.lifecycle_stage == LifecycleStage.ACTIVE).values(
        lifecycle_stage=LifecycleStage.DELETED, deleted_time=sa.bindparam("time")
    ),
    "time",
    "id",
)
_RESTORE_ALL_RUNS = Statement(
    lambda _: _RUN_STAGE.where(runs.c.lifecycle_stage == LifecycleStage.DELETED).values(
        lifecycle_stage=LifecycleStage.ACTIVE, deleted_time=None
    ),
    "id",
)
_RESTORE_RUNS = Statement(
    lambda _: _RUN_STAGE.where(
        runs.c.lifecycle_stage == LifecycleStage.DELETED, runs.c.deleted_time == sa.bindparam("time")
    ).values(lifecycle_stage=LifecycleStage.ACTIVE, deleted_time=None),
    "id",
    "time",
)
_SELECT_DELETION = Statement(
    lambda _: sa.select(experiment_deletions.c.deleted_time).where(
        experiment_deletions.c.experiment_id == sa.bindparam("id")
    ),
    "id",
)
_UPSERT_DELETION = Statement(
    lambda dialect: dialect.upsert(experiment_deletions, ("experiment_id", "deleted_time"), ("experiment_id",)),
    "experiment_id",
    "deleted_time",
)
_FORGET_DELETION = Statement(
    lambda _: sa.delete(experiment_deletions).where(experiment_deletions.c.experiment_id == sa.bindparam("id")), "id"
)


def numeric_id(experiment_id: str) -> int:
    """The number of an id, or −1 for a text that no row can have: `abc`, `00`, 20 digits."""
    if experiment_id.isascii() and experiment_id.isdecimal() and len(experiment_id) <= 19:
        number = int(experiment_id)
        if number < 2**63 and str(number) == experiment_id:
            return number
    return -1


def _experiment(row: Row, tags: Mapping[str, str]) -> Experiment:
    number, name, location, stage, created, updated = row
    return Experiment(str(number), name, location or "", stage, dict(tags), created, updated)


class ExperimentRows:
    """Reads and writes experiments within a transaction."""

    def create(
        self, session: Session, name: str, locate: Callable[[str], str], tags: Mapping[str, str], time: int
    ) -> str:
        """Insert an experiment; raises `AlreadyExists`."""
        inserted = session.all(_INSERT, name, LifecycleStage.ACTIVE.value, time, time)
        if not inserted:
            raise self._name_taken(session, name)
        number = int(inserted[0][0])
        session.run(_SET_LOCATION, locate(str(number)), number)
        session.run_many(_UPSERT_TAG, [(number, key, tags[key]) for key in sorted(tags)])
        return str(number)

    def _name_taken(self, session: Session, name: str) -> Exception:
        row = session.one(_SELECT_BY_NAME, name)
        return experiment_exists(name, deleted=row is not None and row[3] == LifecycleStage.DELETED)

    def get(self, session: Session, experiment_id: str) -> Experiment | None:
        """The experiment, or None."""
        row = session.one(_SELECT_BY_ID, numeric_id(experiment_id))
        return None if row is None else self._complete(session, row)

    def get_by_name(self, session: Session, name: str) -> Experiment | None:
        """The experiment, or None."""
        row = session.one(_SELECT_BY_NAME, name)
        return None if row is None else self._complete(session, row)

    def _complete(self, session: Session, row: Row) -> Experiment:
        return _experiment(row, _values(session.all(_SELECT_TAGS, row[0])))

    def many(self, session: Session, rows: list[Row]) -> list[Experiment]:
        """Experiments from rows of `COLUMNS`, with their tags."""
        tags: dict[int, dict[str, str]] = {row[0]: {} for row in rows}
        ids = session.dialect.bind_list(list(tags))
        for number, key, value in session.all(_SELECT_TAGS_OF_MANY, ids):
            tags[number][key] = value or ""
        return [_experiment(row, tags[row[0]]) for row in rows]

    def active(self, session: Session, experiment_id: str) -> Experiment:
        """The experiment without tags, if it may be changed."""
        row = session.one(_SELECT_BY_ID, numeric_id(experiment_id))
        return require_active_experiment(None if row is None else _experiment(row, {}), experiment_id)

    def rename(self, session: Session, experiment_id: str, new_name: str, time: int) -> None:
        """Rename an active experiment; raises `AlreadyExists`."""
        experiment = self.active(session, experiment_id)
        if new_name != experiment.name and session.one(_SELECT_BY_NAME, new_name) is not None:
            raise self._name_taken(session, new_name)
        session.run(_SET_NAME, new_name, time, numeric_id(experiment_id))

    def delete(self, session: Session, experiment_id: str, time: int) -> None:
        """Mark an experiment and its active runs deleted, at a time that no run of it was deleted at before."""
        number = self._in_stage(session, experiment_id, LifecycleStage.ACTIVE)
        session.text(session.dialect.create_table_if_missing(experiment_deletions))
        (last,) = session.one(_LAST_DELETION, number) or (None,)
        when = time if last is None else max(time, last + 1)
        session.run(_DELETE_RUNS, when, number)
        session.run(_SET_STAGE, LifecycleStage.DELETED.value, when, number)
        session.run(_UPSERT_DELETION, number, when)

    def restore(self, session: Session, experiment_id: str, time: int) -> None:
        """Undo `delete`. Where MLflow deleted the experiment nothing says which runs went with it: all come back."""
        number = self._in_stage(session, experiment_id, LifecycleStage.DELETED)
        session.text(session.dialect.create_table_if_missing(experiment_deletions))
        deletion = session.one(_SELECT_DELETION, number)
        row = session.one(_SELECT_BY_ID, number)
        if deletion is not None and row is not None and row[5] == deletion[0]:
            session.run(_RESTORE_RUNS, number, deletion[0])
        else:
            session.run(_RESTORE_ALL_RUNS, number)
        session.run(_FORGET_DELETION, number)
        session.run(_SET_STAGE, LifecycleStage.ACTIVE.value, time, number)

    def _in_stage(self, session: Session, experiment_id: str, stage: LifecycleStage) -> int:
        number = numeric_id(experiment_id)
        row = session.one(_SELECT_BY_ID, number)
        require_experiment(None if row is None else _experiment(row, {}), experiment_id, stage)
        return number

    def set_tag(self, session: Session, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        """Set a tag of an active experiment."""
        self.active(session, experiment_id)
        session.run(_UPSERT_TAG, numeric_id(experiment_id), tag.key, tag.value)
        session.run(_TOUCH, time, numeric_id(experiment_id))

    def delete_tag(self, session: Session, experiment_id: str, key: str, time: int) -> None:
        """Delete a tag of an active experiment; raises `NotFound`."""
        self.active(session, experiment_id)
        if session.run(_DELETE_TAG, numeric_id(experiment_id), key) == 0:
            raise tag_not_found(key, f"experiment {experiment_id!r}")
        session.run(_TOUCH, time, numeric_id(experiment_id))


def _values(rows: list[Row]) -> dict[str, str]:
    return {key: value or "" for key, value in rows}
