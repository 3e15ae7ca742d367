"""Runs, their params and tags: statements and rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from holdall.backends.sql import metrics
from holdall.backends.sql.database import Answer, Row, Session, by_key
from holdall.backends.sql.experiments import ExperimentRows, numeric_id
from holdall.backends.sql.inputs import NOTHING, InputRows
from holdall.backends.sql.schema import IS_ACTIVE, experiments, params, runs, tags
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import LifecycleStage, Param, Run, RunData, RunInfo, RunStatus
from holdall.stores.names import RUN_NAME_TAG
from holdall.stores.rules import (
    check_params,
    indistinct,
    require_active_run,
    run_artifact_uri,
    run_not_found,
    tag_not_found,
)

__all__ = ["COLUMNS", "INSERT_PARAM_OF_ACTIVE_RUN", "UPSERT_TAG_OF_ACTIVE_RUN", "RunRows"]

COLUMNS = (
    runs.c.run_uuid,
    runs.c.experiment_id,
    runs.c.name,
    runs.c.user_id,
    runs.c.status,
    runs.c.start_time,
    runs.c.end_time,
    runs.c.lifecycle_stage,
    runs.c.artifact_uri,
)

_ID = runs.c.run_uuid == sa.bindparam("id")
_SELECT = Statement(lambda _: sa.select(*COLUMNS).where(_ID), "id")
_SELECT_TO_CHANGE = Statement(lambda _: sa.select(*COLUMNS).where(_ID).with_for_update(key_share=True), "id")
_SELECT_STAGE = Statement(lambda _: sa.select(runs.c.lifecycle_stage).where(_ID), "id")
_HOLD_STAGE = Statement(lambda _: sa.select(runs.c.lifecycle_stage).where(_ID).with_for_update(read=True), "id")
_IS_ACTIVE_EXPERIMENT = (
    sa.select(sa.literal_column("1"))
    .where(
        experiments.c.experiment_id == sa.bindparam("number"),
        experiments.c.lifecycle_stage == sa.literal_column("'active'"),
    )
    .exists()
)
_INSERT_COLUMNS = (
    "run_uuid",
    "experiment_id",
    "name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "lifecycle_stage",
    "artifact_uri",
    "source_type",
    "source_name",
    "entry_point_name",
    "source_version",
)
_INSERT = Statement(
    lambda dialect: dialect.insert_or_ignore(runs, _INSERT_COLUMNS, when=_IS_ACTIVE_EXPERIMENT),
    *_INSERT_COLUMNS,
    "number",
)
"""The id is new: only the same insertion, repeated, finds it taken."""

_UPDATE = Statement(
    lambda _: (
        sa.update(runs)
        .where(_ID)
        .values(
            status=sa.func.coalesce(sa.bindparam("new_status"), runs.c.status),
            end_time=sa.func.coalesce(sa.bindparam("new_end"), runs.c.end_time),
            name=sa.func.coalesce(sa.bindparam("new_name"), runs.c.name),
        )
    ),
    "new_status",
    "new_end",
    "new_name",
    "id",
)
_SET_NAME = Statement(
    lambda _: (
        sa.update(runs)
        .where(_ID, runs.c.lifecycle_stage == sa.literal_column("'active'"))
        .values(name=sa.bindparam("new_name"))
    ),
    "new_name",
    "id",
)
_SET_STAGE = Statement(
    lambda _: (
        sa.update(runs).where(_ID).values(lifecycle_stage=sa.bindparam("stage"), deleted_time=sa.bindparam("time"))
    ),
    "stage",
    "time",
    "id",
)


_LAST_UPDATE_OF_EXPERIMENT = Statement(
    lambda _: (
        sa.select(experiments.c.last_update_time)
        .select_from(runs.join(experiments, experiments.c.experiment_id == runs.c.experiment_id))
        .where(_ID)
    ),
    "id",
)


def _values_of(table: sa.Table) -> Statement:
    return Statement(
        lambda _: sa.select(table.c.key, table.c.value).where(table.c.run_uuid == sa.bindparam("id")), "id"
    )


def _values_of_many(table: sa.Table) -> Statement:
    """One row per run: its id, and the text of a JSON object."""
    value = sa.func.coalesce(table.c.value, "")
    return Statement(
        lambda dialect: dialect.objects_of_each(table.c.run_uuid, table.c.key, value, sa.bindparam("ids")),
        "ids",
    )


_SELECT_PARAMS, _SELECT_PARAMS_OF_MANY = _values_of(params), _values_of_many(params)
_SELECT_TAGS, _SELECT_TAGS_OF_MANY = _values_of(tags), _values_of_many(tags)

_VALUE_COLUMNS = ("run_uuid", "key", "value")
_VALUE_KEY = ("run_uuid", "key")
INSERT_PARAM_OF_ACTIVE_RUN = Statement(
    lambda dialect: dialect.insert_or_ignore(params, _VALUE_COLUMNS, when=IS_ACTIVE), *_VALUE_COLUMNS, "id"
)
"""Changes no row if there is something to decide: the run is not active, or the param is known."""

UPSERT_TAG_OF_ACTIVE_RUN = Statement(
    lambda dialect: dialect.upsert(tags, _VALUE_COLUMNS, _VALUE_KEY, when=IS_ACTIVE), *_VALUE_COLUMNS, "id"
)
"""Changes no row if the run is not active, or, on some databases, if the tag has this value."""

_UPSERT_TAG = Statement(lambda dialect: dialect.upsert(tags, _VALUE_COLUMNS, _VALUE_KEY), *_VALUE_COLUMNS)
_INSERT_PARAMS = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(params, _VALUE_COLUMNS, rows=rows),
    [params.c[name] for name in _VALUE_COLUMNS],
)
_UPSERT_TAGS = Bulk(
    lambda dialect, rows: dialect.upsert(tags, _VALUE_COLUMNS, _VALUE_KEY, rows=rows, when=IS_ACTIVE if rows else None),
    [tags.c[name] for name in _VALUE_COLUMNS],
    "id",
)
_SELECT_SOME_PARAMS = Statement(
    lambda dialect: sa.select(params.c.key, params.c.value).where(
        params.c.run_uuid == sa.bindparam("id"), dialect.one_of(params.c.key, sa.bindparam("keys"))
    ),
    "id",
    "keys",
)
_SELECT_SOME_TAGS = Statement(
    lambda dialect: sa.select(tags.c.key).where(
        tags.c.run_uuid == sa.bindparam("id"), dialect.one_of(tags.c.key, sa.bindparam("keys"))
    ),
    "id",
    "keys",
)

_DELETE_TAG = Statement(
    lambda _: sa.delete(tags).where(tags.c.run_uuid == sa.bindparam("id"), tags.c.key == sa.bindparam("tag")),
    "id",
    "tag",
)


_decode = json.JSONDecoder().raw_decode
"""Without the search for blanks around it, which takes `json.loads` longer than a small object does."""


def _objects(session: Session, rows: Answer) -> dict[str, dict[str, str]]:
    found = {run_id: _decode(text)[0] for run_id, text in rows.each()}
    return (
        found
        if session.dialect.reads_in_key_order
        else {run_id: by_key(values.items()) for run_id, values in found.items()}
    )


def _info(row: Row) -> RunInfo:
    run_id, experiment_id, name, user, status, start, end, stage, uri = row
    return RunInfo(run_id, str(experiment_id), name or "", user or "", status, start, end, stage, uri or "")


class RunRows:
    """Reads and writes runs within a transaction."""

    def __init__(self, experiments: ExperimentRows, inputs: InputRows) -> None:
        self._experiments = experiments
        self._inputs = inputs

    def create(self, session: Session, run: Run) -> Run:
        """Insert a run and its tags.

        Where experiments keep artifacts never changes, so on a server it is recalled, and all takes one round trip.
        """
        info = run.info
        found = self._experiments.hold_stage(session, info.experiment_id)
        place = session.recall(
            ("artifact location", info.experiment_id),
            lambda: self._experiments.check_active(found, info.experiment_id).artifact_location,
        )
        location = run_artifact_uri(place, info.run_id)
        number = numeric_id(info.experiment_id)
        session.do(
            _INSERT,
            info.run_id,
            number,
            info.run_name,
            info.user_id,
            info.status,
            info.start_time,
            info.end_time,
            info.lifecycle_stage,
            location,
            "UNKNOWN",
            "",
            "",
            "",
            number,
        )
        self._write_tags(session, info.run_id, run.data.tags)
        session.commit()
        self._experiments.check_active(found, info.experiment_id)
        return replace(run, info=replace(info, artifact_uri=location))

    def get(self, session: Session, run_id: str) -> Run | None:
        """The run with its data, or None."""
        found = session.ask(_SELECT, run_id)
        known = session.ask(_SELECT_PARAMS, run_id)
        labels = session.ask(_SELECT_TAGS, run_id)
        latest = metrics.ask_latest(session, run_id)
        used = self._inputs.ask_of_run(session, run_id)
        session.last()
        row = found.first
        if row is None:
            return None
        values, points = metrics.latest_of(session, run_id, latest)
        data = RunData(values, by_key(known.rows), by_key((key, value or "") for key, value in labels.rows), points)
        return Run(_info(row), data, *self._inputs.of_run(run_id, used))

    def many(self, session: Session, rows: Sequence[Row]) -> list[Run]:
        """Runs from rows of `COLUMNS`, with their data, in the same order: four queries however many runs."""
        if not rows:
            return []
        ids = session.dialect.bind_list([row[0] for row in rows])
        known = session.ask(_SELECT_PARAMS_OF_MANY, ids)
        labels = session.ask(_SELECT_TAGS_OF_MANY, ids)
        latest = metrics.ask_latest_of_many(session, ids)
        used = self._inputs.ask_of_many(session, ids)
        session.last()
        params_of = _objects(session, known)
        tags_of = _objects(session, labels)
        values_of, points_of = metrics.latest_by_run(session, latest)
        uses_of = self._inputs.by_run(used)

        def run(row: Row) -> Run:
            run_id: str = row[0]
            data = RunData(
                values_of.get(run_id) or {},
                params_of.get(run_id) or {},
                tags_of.get(run_id) or {},
                points_of.get(run_id) or {},
            )
            return Run(_info(row), data, *uses_of.get(run_id, NOTHING))

        return [run(row) for row in rows]

    def ask_stage(self, session: Session, run_id: str) -> Answer:
        """Ask for what `check_active` needs."""
        return session.ask(_SELECT_STAGE, run_id)

    def hold_stage(self, session: Session, run_id: str) -> Answer:
        """The same; the stage stays what it is until the end of the transaction."""
        return session.ask(_HOLD_STAGE, run_id)

    def check_active(self, stage: Answer, run_id: str) -> None:
        """Check that the run may be changed."""
        row = stage.first
        require_active_run(None if row is None else row[0], run_id)

    def require_active(self, session: Session, run_id: str) -> RunInfo:
        """The run's info, if it may be changed; nobody else changes the row until the end of the transaction."""
        row = session.one(_SELECT_TO_CHANGE, run_id)
        require_active_run(None if row is None else row[7], run_id)
        assert row is not None
        return _info(row)

    def update(
        self, session: Session, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Set what is not None."""
        self.require_active(session, run_id)
        session.do(_UPDATE, None if status is None else status.value, end_time, run_name, run_id)
        if run_name is not None:
            session.do(_UPSERT_TAG, run_id, RUN_NAME_TAG, run_name)
        changed = session.ask(_SELECT, run_id)
        session.commit()
        assert changed.first is not None
        return _info(changed.first)

    def delete(self, session: Session, run_id: str, time: int) -> None:
        """Mark an active run deleted, at another time than the one that marks the deletion of its experiment."""
        if self._stage_to_change(session, run_id) == LifecycleStage.ACTIVE:
            (marked,) = session.one(_LAST_UPDATE_OF_EXPERIMENT, run_id) or (None,)
            session.do(_SET_STAGE, LifecycleStage.DELETED.value, time + 1 if time == marked else time, run_id)

    def restore(self, session: Session, run_id: str) -> None:
        """Mark a deleted run active."""
        if self._stage_to_change(session, run_id) != LifecycleStage.ACTIVE:
            session.do(_SET_STAGE, LifecycleStage.ACTIVE.value, None, run_id)

    def _stage_to_change(self, session: Session, run_id: str) -> str:
        row = session.one(_SELECT_TO_CHANGE, run_id)
        if row is None:
            raise run_not_found(run_id)
        return str(row[7])

    def write_params(self, session: Session, run_id: str, fresh: Sequence[Param]) -> None:
        """Insert params; raises if one would change. The usual case, all of them new, takes one statement."""
        rows = sorted((run_id, param.key, param.value) for param in fresh)
        inserted = session.do_many(_INSERT_PARAMS, rows)
        if inserted is None or inserted.count == len(rows):
            return
        known: dict[str, str] = dict(
            session.all(_SELECT_SOME_PARAMS, run_id, session.dialect.bind_list([row[1] for row in rows]))
        )
        unknown = check_params(run_id, known, fresh)
        if unknown:
            raise indistinct("params", unknown[0].key)

    def write_tags(self, session: Session, run_id: str, values: Mapping[str, str]) -> None:
        """Set tags, and the run's name with `mlflow.runName`."""
        name = values.get(RUN_NAME_TAG)
        if name is not None:  # before the tags, so that all who write this run lock its row first
            session.do(_SET_NAME, name, run_id)
        self._write_tags(session, run_id, values)

    def _write_tags(self, session: Session, run_id: str, values: Mapping[str, str]) -> None:
        session.do_many(_UPSERT_TAGS, [(run_id, key, values[key]) for key in sorted(values)], run_id)
        if values and not session.dialect.exact_text:
            keys = session.dialect.bind_list(sorted(values))
            kept = {key for (key,) in session.all(_SELECT_SOME_TAGS, run_id, keys)}
            lost = sorted(values.keys() - kept)
            if kept and lost:
                raise indistinct("tags", lost[0])

    def delete_tag(self, session: Session, run_id: str, key: str) -> None:
        """Delete a tag of an active run; raises `NotFound`."""
        self.require_active(session, run_id)
        if session.run(_DELETE_TAG, run_id, key) == 0 and not session.repeated:
            raise tag_not_found(key, f"run {run_id!r}")
