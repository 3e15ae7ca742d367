"""`SqlBackendStore`: the contract over a `Database`, one transaction per call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from holdall.backends.sql import metrics as metric_rows
from holdall.backends.sql.administration import Administration, OnStep
from holdall.backends.sql.database import Database, Session
from holdall.backends.sql.experiments import ExperimentRows
from holdall.backends.sql.inputs import IN_MLFLOW_2, IN_MLFLOW_3
from holdall.backends.sql.model_moves import move_models
from holdall.backends.sql.model_search import search_models
from holdall.backends.sql.models import ALL, MLFLOW, OWN, ModelRows, Shelf
from holdall.backends.sql.opening import Schema
from holdall.backends.sql.runs import INSERT_PARAM_OF_ACTIVE_RUN, UPSERT_TAG_OF_ACTIVE_RUN, RunRows
from holdall.backends.sql.schema import OWN_MODELS, experiment_deletions
from holdall.backends.sql.search import search_experiments, search_runs
from holdall.stores.backend import BackendStore
from holdall.stores.databases import DatabaseReport, DatabaseStore, TuningPlan
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LoggedModel,
    LoggedModelMetric,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
)
from holdall.stores.logged_models import LoggedModelStore
from holdall.stores.names import RUN_NAME_TAG
from holdall.stores.queries import ExperimentQuery, HistoryQuery, LoggedModelQuery, RunQuery
from holdall.stores.rules import require_active_run
from holdall.stores.uri import StoreURI

__all__ = ["SqlBackendStore"]


class SqlBackendStore(BackendStore, LoggedModelStore, DatabaseStore):
    """Experiments, runs and logged models, in MLflow's tables as far as the database has them.

    Every call is one transaction. Subclasses open a database and pass it on; what else they promise is in their
    docstring.

    Args:
        uri: What was opened.
        database: Runs the transactions; closed with the store.
        artifact_root: Under which new experiments keep artifacts.
        read_only: Refuse writes.
    """

    def __init__(
        self, uri: StoreURI, database: Database, *, artifact_root: StoreURI | None = None, read_only: bool = False
    ) -> None:
        super().__init__(uri, artifact_root=artifact_root, read_only=read_only)
        self._database = database
        self._experiments = ExperimentRows()
        self._models = ModelRows(self._experiments)

    def _settle(self, schema: Schema) -> None:
        """Say what the database has; a subclass does before anything is asked of the store."""
        self._has_mlflow_models = schema.has_logged_models
        self._inputs = IN_MLFLOW_3 if self._has_mlflow_models else IN_MLFLOW_2
        self._runs = RunRows(self._experiments, self._inputs)
        if self._has_mlflow_models and not self.read_only and self._database.has(_LAST_MODEL_TABLE):
            move_models(self._database)

    def _close(self) -> None:
        self._database.close()

    def group_calls(self) -> AbstractContextManager[None]:
        return self._database.group()

    @property
    @abstractmethod
    def _administration(self) -> Administration:
        """How this product is checked and tuned."""

    def _inspect_database(self, on_check: Callable[[str], None]) -> DatabaseReport:
        return self._administration.inspect(on_check)

    def _plan_tuning(self, undo: bool) -> TuningPlan:
        return self._administration.plan(undo)

    def _tune_database(self, undo: bool, on_step: OnStep) -> TuningPlan:
        return self._administration.tune(undo, on_step)

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        return self._database.write(lambda session: self._experiments.create(session, name, locate, tags, time))

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        return self._database.read(lambda session: self._experiments.get(session, experiment_id))

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        return self._database.read(lambda session: self._experiments.get_by_name(session, name))

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        self._database.write(lambda session: self._experiments.rename(session, experiment_id, new_name, time))

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        self._database.need(experiment_deletions)
        self._database.write(lambda session: self._experiments.delete(session, experiment_id, time))

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        self._database.need(experiment_deletions)
        self._database.write(lambda session: self._experiments.restore(session, experiment_id, time))

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        self._database.write(lambda session: self._experiments.set_tag(session, experiment_id, tag, time))

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        self._database.write(lambda session: self._experiments.delete_tag(session, experiment_id, key, time))

    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        return self._database.read(lambda session: self._experiments.many(session, search_experiments(session, query)))

    def _create_run(self, run: Run) -> Run:
        return self._database.write(lambda session: self._runs.create(session, run))

    def _get_run(self, run_id: str) -> Run | None:
        return self._database.read(lambda session: self._runs.get(session, run_id))

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        return self._database.write(lambda session: self._runs.update(session, run_id, status, end_time, run_name))

    def _delete_run(self, run_id: str, time: int) -> None:
        self._database.write(lambda session: self._runs.delete(session, run_id, time))

    def _restore_run(self, run_id: str) -> None:
        self._database.write(lambda session: self._runs.restore(session, run_id))

    def _search_runs(self, query: RunQuery) -> list[Run]:
        return self._database.read(lambda session: self._runs.many(session, search_runs(session, query)))

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        def work(session: Session) -> None:
            if params or RUN_NAME_TAG in tags:  # two that share a lock could not both go on to change the row
                self._runs.require_active(session, run_id)
                self._runs.write_params(session, run_id, params)
            stage = self._runs.hold_stage(session, run_id)
            if not session.queues:
                self._runs.check_active(stage, run_id)
            if tags:
                self._runs.write_tags(session, run_id, tags)
            if metrics:
                metric_rows.write(session, run_id, metrics)
            session.commit()
            self._runs.check_active(stage, run_id)

        self._database.write(work)

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        if self._database.dialect.combines_writes:
            row = metric_rows.log_one(self._database, run_id, metric)
            require_active_run(None if row is None else row[0], run_id)
        elif not self._log_new_point(run_id, metric):
            self._log_batch(run_id, [metric], [], {})

    def _log_new_point(self, run_id: str, metric: Metric) -> bool:
        """Write a point of an active run; False if nothing was new: the run is not active, or has the point."""

        def work(session: Session) -> bool:
            written = metric_rows.write_one(session, run_id, metric)
            session.commit()
            return written.count > 0

        return self._database.write(work)

    def _log_param(self, run_id: str, param: Param) -> None:
        if self._database.run(INSERT_PARAM_OF_ACTIVE_RUN, run_id, param.key, param.value, run_id) == 0:
            self._log_batch(run_id, [], [param], {})

    def _set_tag(self, run_id: str, tag: RunTag) -> None:
        alone = tag.key != RUN_NAME_TAG and self._database.dialect.exact_text
        if not alone or self._database.run(UPSERT_TAG_OF_ACTIVE_RUN, run_id, tag.key, tag.value, run_id) == 0:
            self._log_batch(run_id, [], [], {tag.key: tag.value})

    def _delete_tag(self, run_id: str, key: str) -> None:
        self._database.write(lambda session: self._runs.delete_tag(session, run_id, key))

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        def work(session: Session) -> None:
            self._runs.require_active(session, run_id)
            self._inputs.write(session, run_id, datasets)

        self._database.write(work)

    def _sample_metric_history(self, run_id: str, key: str, max_points: int) -> list[Metric] | None:
        def work(session: Session) -> list[Metric] | None:
            points = metric_rows.ask_sample(session, run_id, key, max_points)
            stage = self._runs.ask_stage(session, run_id)
            session.last()
            found = metric_rows.history_of(key, points)
            return found if found or stage.first else None

        return self._database.read(work)

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        def work(session: Session) -> list[Metric] | None:
            points = metric_rows.ask_history(session, query)
            stage = self._runs.ask_stage(session, query.run_id)
            session.last()
            found = metric_rows.history_of(query.key, points)
            return found if found or stage.first else None

        return self._database.read(work)

    # Logged models

    def _shelves(self) -> Sequence[Shelf]:
        """Where there may be models."""
        has_own = self._database.has(_LAST_MODEL_TABLE)
        if self._has_mlflow_models:
            return ALL if has_own else (MLFLOW,)
        return (OWN,) if has_own else ()

    def _need_model_tables(self) -> None:
        for table in OWN_MODELS.all:
            self._database.need(table)

    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        if not self._has_mlflow_models:
            self._need_model_tables()
        shelf = self._shelves()[0]
        return self._database.write(lambda session: self._models.create(session, shelf, model))

    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        shelves = self._shelves()
        return self._database.read(lambda session: self._models.get(session, shelves, model_id)) if shelves else None

    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        shelves = self._shelves()

        def work(session: Session) -> LoggedModel:
            held = self._models.lock(session, shelves, model_id)
            return self._models.finalize(session, held, status, time)

        return self._database.write(work)

    def _delete_logged_model(self, model_id: str, time: int) -> None:
        shelves = self._shelves()
        self._database.write(lambda session: self._models.delete(session, shelves, model_id, time))

    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        shelves = self._shelves()

        def work(session: Session) -> None:
            held = self._models.lock(session, shelves, model_id)
            self._models.log_data(session, held, params, tags)

        self._database.write(work)

    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        shelves = self._shelves()

        def work(session: Session) -> None:
            self._models.delete_tag(session, self._models.lock(session, shelves, model_id), key)

        self._database.write(work)

    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        shelves = self._shelves()
        return self._database.read(lambda session: search_models(session, shelves, query)) if shelves else []

    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        if self._has_mlflow_models:  # whose tables cannot hold every point
            self._need_model_tables()
        shelves = self._shelves()
        points = [
            LoggedModelMetric(point.key, point.value, point.timestamp, point.step, run_id, dataset_name, dataset_digest)
            for point in metrics
        ]

        def work(session: Session) -> None:
            stage = self._runs.hold_stage(session, run_id)
            held = self._models.hold(session, shelves, model_id)
            self._runs.check_active(stage, run_id)
            if metrics:
                metric_rows.write(session, run_id, metrics)
                self._models.log_metrics(session, held, points)

        self._database.write(work)

    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        def work(session: Session) -> None:
            self._runs.require_active(session, run_id)
            self._inputs.link_models(session, run_id, inputs, outputs)

        self._database.write(work)


_LAST_MODEL_TABLE = OWN_MODELS.all[-1]
"""That which is made after the others."""
