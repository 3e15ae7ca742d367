"""Experiments and their tags: statements and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.sql.dml import Insert

from holdall.backends.sql.database import Answer, Row, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.schema import experiment_deletions, experiment_tags, experiments, runs
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import Experiment, ExperimentTag, LifecycleStage
from holdall.stores.errors import AlreadyExists, InternalError
from holdall.stores.rules import (
    experiment_exists,
    indistinct,
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
_SELECT_TO_USE = Statement(lambda _: sa.select(*COLUMNS).where(_ID).with_for_update(read=True), "id")
_SELECT_TO_CHANGE = Statement(lambda _: sa.select(*COLUMNS).where(_ID).with_for_update(), "id")
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


def _returning_id(dialect: SqlDialect) -> Insert:
    insert = dialect.insert_or_ignore(experiments, _INSERT_COLUMNS)
    return insert.returning(experiments.c.experiment_id) if dialect.returns_ids else insert


_INSERT = Statement(_returning_id, *_INSERT_COLUMNS)
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
_TAG_COLUMNS = ("experiment_id", "key", "value")
_UPSERT_TAGS = Bulk(
    lambda dialect, rows: dialect.upsert(experiment_tags, _TAG_COLUMNS, ("experiment_id", "key"), rows=rows),
    [experiment_tags.c[name] for name in _TAG_COLUMNS],
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


_ATTEMPTS = 8
"""To insert an experiment; each can be lost to another writer only."""


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
        number = self._insert(session, name, time)
        session.do(_SET_LOCATION, locate(str(number)), number)
        session.do_many(_UPSERT_TAGS, [(number, key, tags[key]) for key in sorted(tags)])
        session.commit()
        return str(number)

    def _insert(self, session: Session, name: str, time: int) -> int:
        for _ in range(_ATTEMPTS):
            number = session.insert_for_id(_INSERT, name, LifecycleStage.ACTIVE.value, time, time)
            if number is not None:
                return number
            row = session.one(_SELECT_BY_NAME, name)
            if row is None and not session.dialect.exact_text:
                raise AlreadyExists(
                    f"An experiment whose name this database does not tell from {name!r} already exists: letter case, "
                    "accents and trailing blanks are one to it. Choose another name."
                )
            if row is None:  # the id was taken: explicit ids do not advance a sequence
                session.skip_used_ids(experiments.c.experiment_id)
            elif session.repeated and row[4] == time:
                return int(row[0])
            else:
                raise experiment_exists(name, deleted=row[3] == LifecycleStage.DELETED)
        raise InternalError(f"No id was found for the experiment {name!r}: its name or id is taken again and again.")

    def _name_taken(self, session: Session, name: str) -> Exception:
        row = session.one(_SELECT_BY_NAME, name)
        return experiment_exists(name, deleted=row is not None and row[3] == LifecycleStage.DELETED)

    def get(self, session: Session, experiment_id: str) -> Experiment | None:
        """The experiment, or None."""
        number = numeric_id(experiment_id)
        found, tags = session.ask(_SELECT_BY_ID, number), session.ask(_SELECT_TAGS, number)
        session.last()
        return None if found.first is None else _experiment(found.first, _values(tags.rows))

    def get_by_name(self, session: Session, name: str) -> Experiment | None:
        """The experiment, or None."""
        row = session.one(_SELECT_BY_NAME, name)
        if row is None:
            return None
        tags = session.ask(_SELECT_TAGS, row[0])
        session.last()
        return _experiment(row, _values(tags.rows))

    def many(self, session: Session, rows: Sequence[Row]) -> list[Experiment]:
        """Experiments from rows of `COLUMNS`, with their tags."""
        if not rows:
            return []
        tags: dict[int, dict[str, str]] = {row[0]: {} for row in rows}
        found = session.ask(_SELECT_TAGS_OF_MANY, session.dialect.bind_list(list(tags)))
        session.last()
        for number, key, value in found.rows:
            tags[number][key] = value or ""
        return [_experiment(row, tags[row[0]]) for row in rows]

    def hold_stage(self, session: Session, experiment_id: str) -> Answer:
        """Ask for what `check_active` needs; the stage stays what it is until the end of the transaction."""
        return session.ask(_SELECT_TO_USE, numeric_id(experiment_id))

    def check_active(self, found: Answer, experiment_id: str) -> Experiment:
        """The experiment without tags, if it is active."""
        row = found.first
        return require_active_experiment(None if row is None else _experiment(row, {}), experiment_id)

    def to_change(self, session: Session, experiment_id: str) -> Experiment:
        """The same; nobody else changes its row until then."""
        row = session.one(_SELECT_TO_CHANGE, numeric_id(experiment_id))
        return require_active_experiment(None if row is None else _experiment(row, {}), experiment_id)

    def rename(self, session: Session, experiment_id: str, new_name: str, time: int) -> None:
        """Rename an active experiment; raises `AlreadyExists`."""
        experiment = self.to_change(session, experiment_id)
        if new_name != experiment.name and session.one(_SELECT_BY_NAME, new_name) is not None:
            raise self._name_taken(session, new_name)
        session.do(_SET_NAME, new_name, time, numeric_id(experiment_id))
        session.commit()

    def delete(self, session: Session, experiment_id: str, time: int) -> None:
        """Mark an experiment and its active runs deleted, at a time that no run of it was deleted at before."""
        number = self._in_stage(session, experiment_id, LifecycleStage.ACTIVE)
        if number is None:
            return
        (last,) = session.one(_LAST_DELETION, number) or (None,)
        when = time if last is None else max(time, last + 1)
        session.do(_DELETE_RUNS, when, number)
        session.do(_SET_STAGE, LifecycleStage.DELETED.value, when, number)
        session.do(_UPSERT_DELETION, number, when)
        session.commit()

    def restore(self, session: Session, experiment_id: str, time: int) -> None:
        """Undo `delete`. Where MLflow deleted the experiment nothing says which runs went with it: all come back."""
        number = self._in_stage(session, experiment_id, LifecycleStage.DELETED)
        if number is None:
            return
        deletion, row = session.ask(_SELECT_DELETION, number).first, session.one(_SELECT_BY_ID, number)
        if deletion is not None and row is not None and row[5] == deletion[0]:
            session.do(_RESTORE_RUNS, number, deletion[0])
        else:
            session.do(_RESTORE_ALL_RUNS, number)
        session.do(_FORGET_DELETION, number)
        session.do(_SET_STAGE, LifecycleStage.ACTIVE.value, time, number)
        session.commit()

    def _in_stage(self, session: Session, experiment_id: str, stage: LifecycleStage) -> int | None:
        """The number of an experiment in this stage; None if the same call has taken it out of that stage before."""
        number = numeric_id(experiment_id)
        row = session.one(_SELECT_TO_CHANGE, number)
        if session.repeated and row is not None and row[3] != stage:
            return None
        require_experiment(None if row is None else _experiment(row, {}), experiment_id, stage)
        return number

    def set_tag(self, session: Session, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        """Set a tag of an active experiment."""
        self.to_change(session, experiment_id)
        number = numeric_id(experiment_id)
        session.do_many(_UPSERT_TAGS, [(number, tag.key, tag.value)])
        if not session.dialect.exact_text and tag.key not in _values(session.all(_SELECT_TAGS, number)):
            raise indistinct("experiment tags", tag.key)
        session.do(_TOUCH, time, number)
        session.commit()

    def delete_tag(self, session: Session, experiment_id: str, key: str, time: int) -> None:
        """Delete a tag of an active experiment; raises `NotFound`."""
        self.to_change(session, experiment_id)
        if session.run(_DELETE_TAG, numeric_id(experiment_id), key) == 0 and not session.repeated:
            raise tag_not_found(key, f"experiment {experiment_id!r}")
        session.do(_TOUCH, time, numeric_id(experiment_id))
        session.commit()


def _values(rows: Sequence[Row]) -> dict[str, str]:
    return {key: value or "" for key, value in rows}
