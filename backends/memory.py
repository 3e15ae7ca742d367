"""`memory://`: the reference model that the conformance suite compares every other store with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

from holdall.backends.memory_models import ModelShelf
from holdall.stores.backend import BackendStore
from holdall.stores.capabilities import Capabilities
from holdall.stores.clock import now_ms
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.logged_models import LoggedModelStore
from holdall.stores.names import DEFAULT_EXPERIMENT_NAME, RUN_NAME_TAG
from holdall.stores.points import history_key, latest_by_key
from holdall.stores.queries import ExperimentQuery, HistoryQuery, LoggedModelQuery, RunQuery
from holdall.stores.rules import (
    check_params,
    experiment_exists,
    model_artifact_location,
    require_active_experiment,
    require_active_run,
    require_experiment,
    run_artifact_uri,
    run_not_found,
    tag_not_found,
)
from holdall.stores.search import (
    experiment_sort_key,
    is_after,
    matches_experiment,
    matches_run,
    run_sort_key,
    sorting_key,
)
from holdall.stores.search.ast import SortKey
from holdall.stores.uri import StoreURI

__all__ = ["MemoryBackendStore"]


@dataclass(slots=True)
class _ExperimentRecord:
    """What is kept of an experiment; `entity.tags` is never handed out or changed in place."""

    entity: Experiment
    datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)


@dataclass(slots=True)
class _RunRecord:
    """What is kept of a run.

    Attributes:
        info: The run's fields.
        metrics: Points by key, then by `history_key`, which is what makes a point the same point.
        latest: Latest point by key.
        params: Value by key.
        tags: Value by key.
        inputs: Dataset uses by (name, digest).
        model_inputs: Uses of models by their id.
        model_outputs: Models made, by their id.
        deleted_with_experiment: Whether the deletion of its experiment deleted it, so that restoring that restores it.
    """

    info: RunInfo
    metrics: dict[str, dict[SortKey, Metric]] = field(default_factory=dict)
    latest: dict[str, Metric] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: dict[tuple[str, str], DatasetInput] = field(default_factory=dict)
    model_inputs: dict[str, LoggedModelInput] = field(default_factory=dict)
    model_outputs: dict[str, LoggedModelOutput] = field(default_factory=dict)
    deleted_with_experiment: bool = False

    def as_run(self) -> Run:
        """A copy that later writes do not change."""
        data = RunData(
            metrics={key: metric.value for key, metric in self.latest.items()},
            params=dict(self.params),
            tags=dict(self.tags),
            metric_points={key: (metric.timestamp, metric.step) for key, metric in self.latest.items()},
        )
        inputs = RunInputs(tuple(self.inputs.values()), tuple(self.model_inputs.values()))
        return Run(self.info, data, inputs, RunOutputs(tuple(self.model_outputs.values())))


class MemoryBackendStore(BackendStore, LoggedModelStore):
    """Experiments, runs and logged models in the memory of this process, for tests and examples.

    **Identity.** Each `memory://` that is opened is a new store of its own, holding the experiment `Default` with id
    `0`. There is nothing to find again, so `create` makes no difference; a read-only one stays empty.

    **Threads and processes.** One lock makes every call atomic; any number of threads may share the store. Other
    processes do not see it, and a forked child has a copy that goes its own way.

    **Ordering and visibility.** Calls take effect one after the other; a call sees all that finished before it. What
    is handed out is a copy that later writes do not change.

    **Durability.** None: the data is gone when the store is closed or the process ends.

    **Not promised.** Speed: searches look at every run or model of the experiments named, and sort what they find.

    Args:
        uri: `memory://` and nothing after it.
        artifact_root: Under which new experiments keep artifacts; by default `./mlartifacts`.
        read_only: Refuse every write.
        create: Accepted and not needed.
        creation_time: Of the experiment `Default`, in milliseconds; now by default.

    Raises:
        InvalidParameterValue: Something follows `memory://`.
    """

    def __init__(
        self,
        uri: StoreURI,
        *,
        artifact_root: StoreURI | None = None,
        read_only: bool = False,
        create: bool = True,
        creation_time: int | None = None,
    ) -> None:
        if uri != StoreURI(uri.scheme):
            raise InvalidParameterValue(
                f"Invalid store URI {uri}: write {uri.scheme}:// alone; each one opened is a store of its own."
            )
        super().__init__(uri, artifact_root=artifact_root, read_only=read_only)
        self._lock = RLock()
        self._experiments: dict[str, _ExperimentRecord] = {}
        self._runs: dict[str, _RunRecord] = {}
        self._models = ModelShelf()
        now = now_ms() if creation_time is None else creation_time
        self._create_experiment(DEFAULT_EXPERIMENT_NAME, self._locate, {}, now)
        self.created = True

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            persistent=False, multi_process=False, crash_safe=False, concurrent_creation=False, logged_models=True
        )

    def _close(self) -> None:
        with self._lock:
            self._experiments.clear()
            self._runs.clear()
            self._models.clear()

    def next_experiment_id(self) -> str:
        """The id that the next new experiment will get; for stores that use this one as their model."""
        with self._lock:
            return str(len(self._experiments))

    # Experiments

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        with self._lock:
            self._require_free(name)
            experiment_id = self.next_experiment_id()
            entity = Experiment(
                experiment_id,
                name,
                locate(experiment_id),
                tags=tags,
                creation_time=time,
                last_update_time=time,
            )
            self._experiments[experiment_id] = _ExperimentRecord(entity)
            return experiment_id

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        with self._lock:
            record = self._experiments.get(experiment_id)
            return None if record is None else _copy(record.entity)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._lock:
            return next(
                (_copy(record.entity) for record in self._experiments.values() if record.entity.name == name), None
            )

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        with self._lock:
            record = self._writable_experiment(experiment_id)
            if record.entity.name != new_name:
                self._require_free(new_name)
            record.entity = replace(record.entity, name=new_name, last_update_time=time)

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        with self._lock:
            self._move_experiment(experiment_id, LifecycleStage.ACTIVE, LifecycleStage.DELETED, time)
            for run in self._runs.values():
                if run.info.experiment_id == experiment_id and run.info.lifecycle_stage == LifecycleStage.ACTIVE:
                    run.info = replace(run.info, lifecycle_stage=LifecycleStage.DELETED)
                    run.deleted_with_experiment = True

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        with self._lock:
            self._move_experiment(experiment_id, LifecycleStage.DELETED, LifecycleStage.ACTIVE, time)
            for run in self._runs.values():
                if run.info.experiment_id == experiment_id and run.deleted_with_experiment:
                    run.info = replace(run.info, lifecycle_stage=LifecycleStage.ACTIVE)
                    run.deleted_with_experiment = False

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        with self._lock:
            record = self._writable_experiment(experiment_id)
            tags = {**record.entity.tags, tag.key: tag.value}
            record.entity = replace(record.entity, tags=tags, last_update_time=time)

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        with self._lock:
            record = self._writable_experiment(experiment_id)
            if key not in record.entity.tags:
                raise tag_not_found(key, f"experiment {experiment_id!r}")
            tags = {name: value for name, value in record.entity.tags.items() if name != key}
            record.entity = replace(record.entity, tags=tags, last_update_time=time)

    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        with self._lock:
            found = [
                (experiment_sort_key(record.entity, query.order_by), _copy(record.entity))
                for record in self._experiments.values()
                if query.view.admits(record.entity.lifecycle_stage) and matches_experiment(record.entity, query.filter)
            ]
        rows = [row for row in found if query.after is None or is_after(row[0], query.after, query.order_by)]
        place = sorting_key(query.order_by)
        rows.sort(key=lambda row: place(row[0]))
        return [experiment for _, experiment in rows[: query.limit]]

    def _require_free(self, name: str) -> None:
        holder = self._get_experiment_by_name(name)
        if holder is not None:
            raise experiment_exists(name, deleted=holder.lifecycle_stage == LifecycleStage.DELETED)

    def _writable_experiment(self, experiment_id: str) -> _ExperimentRecord:
        require_active_experiment(self._get_experiment(experiment_id), experiment_id)
        return self._experiments[experiment_id]

    def _move_experiment(self, experiment_id: str, source: LifecycleStage, target: LifecycleStage, time: int) -> None:
        require_experiment(self._get_experiment(experiment_id), experiment_id, source)
        record = self._experiments[experiment_id]
        record.entity = replace(record.entity, lifecycle_stage=target, last_update_time=time)

    def _locate(self, experiment_id: str) -> str:
        return self.artifact_root.join(experiment_id).render(hide_password=False)

    # Runs

    def _create_run(self, run: Run) -> Run:
        with self._lock:
            experiment = self._writable_experiment(run.info.experiment_id).entity
            info = replace(run.info, artifact_uri=run_artifact_uri(experiment.artifact_location, run.info.run_id))
            record = _RunRecord(info, tags=dict(run.data.tags))
            self._runs[info.run_id] = record
            return record.as_run()

    def _get_run(self, run_id: str) -> Run | None:
        with self._lock:
            record = self._runs.get(run_id)
            return None if record is None else record.as_run()

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        with self._lock:
            record = self._writable_run(run_id)
            if status is not None:
                record.info = replace(record.info, status=status)
            if end_time is not None:
                record.info = replace(record.info, end_time=end_time)
            if run_name is not None:
                self._set_tags(record, {RUN_NAME_TAG: run_name})
            return record.info

    def _delete_run(self, run_id: str, time: int) -> None:
        with self._lock:
            record = self._known_run(run_id)
            record.info = replace(record.info, lifecycle_stage=LifecycleStage.DELETED)

    def _restore_run(self, run_id: str) -> None:
        with self._lock:
            record = self._known_run(run_id)
            record.info = replace(record.info, lifecycle_stage=LifecycleStage.ACTIVE)
            record.deleted_with_experiment = False

    def _search_runs(self, query: RunQuery) -> list[Run]:
        with self._lock:
            runs = [
                record.as_run()
                for record in self._runs.values()
                if record.info.experiment_id in query.experiment_ids and query.view.admits(record.info.lifecycle_stage)
            ]
        found = [(run_sort_key(run, query.order_by), run) for run in runs if matches_run(run, query.filter)]
        rows = [row for row in found if query.after is None or is_after(row[0], query.after, query.order_by)]
        place = sorting_key(query.order_by)
        rows.sort(key=lambda row: place(row[0]))
        return [run for _, run in rows[: query.limit]]

    def _known_run(self, run_id: str) -> _RunRecord:
        record = self._runs.get(run_id)
        if record is None:
            raise run_not_found(run_id)
        return record

    def _writable_run(self, run_id: str) -> _RunRecord:
        record = self._known_run(run_id)
        require_active_run(record.info.lifecycle_stage, run_id)
        return record

    # The data of runs

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        with self._lock:
            record = self._writable_run(run_id)
            fresh = check_params(run_id, record.params, params)
            for metric in metrics:
                record.metrics.setdefault(metric.key, {}).setdefault(history_key(metric), metric)
            record.latest = latest_by_key([*record.latest.values(), *metrics])
            record.params.update((param.key, param.value) for param in fresh)
            self._set_tags(record, tags)

    def _set_tags(self, record: _RunRecord, tags: dict[str, str]) -> None:
        record.tags.update(tags)
        if RUN_NAME_TAG in tags:
            record.info = replace(record.info, run_name=tags[RUN_NAME_TAG])

    def _delete_tag(self, run_id: str, key: str) -> None:
        with self._lock:
            record = self._writable_run(run_id)
            if key not in record.tags:
                raise tag_not_found(key, f"run {run_id!r}")
            del record.tags[key]

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        with self._lock:
            record = self._writable_run(run_id)
            known = self._experiments[record.info.experiment_id].datasets
            for item in datasets:
                identity = item.dataset.name, item.dataset.digest
                dataset = known.setdefault(identity, item.dataset)
                record.inputs.setdefault(identity, DatasetInput(dataset, item.tags))

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        with self._lock:
            record = self._runs.get(query.run_id)
            if record is None:
                return None
            points = record.metrics.get(query.key, {})
            places = sorted(place for place in points if query.after is None or place > query.after)
            return [points[place] for place in places[: query.limit]]

    # Logged models

    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        with self._lock:
            experiment = self._writable_experiment(model.experiment_id).entity
            location = model_artifact_location(experiment.artifact_location, model.model_id)
            return self._models.add(replace(model, artifact_location=location))

    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        with self._lock:
            return self._models.get(model_id)

    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        with self._lock:
            return self._models.finalize(model_id, status, time)

    def _delete_logged_model(self, model_id: str, time: int) -> None:
        with self._lock:
            self._models.delete(model_id, time)

    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        with self._lock:
            self._models.log_data(model_id, params, tags)

    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        with self._lock:
            self._models.delete_tag(model_id, key)

    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        with self._lock:
            return self._models.search(query)

    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        with self._lock:
            self._models.require(model_id)
            self._log_batch(run_id, metrics, [], {})
            self._models.log_metrics(
                model_id,
                [
                    LoggedModelMetric(
                        point.key, point.value, point.timestamp, point.step, run_id, dataset_name, dataset_digest
                    )
                    for point in metrics
                ],
            )

    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        with self._lock:
            record = self._writable_run(run_id)
            for model_id in inputs:
                record.model_inputs.setdefault(model_id, LoggedModelInput(model_id))
            for model_id, step in outputs.items():
                record.model_outputs.setdefault(model_id, LoggedModelOutput(model_id, step))


def _copy(experiment: Experiment) -> Experiment:
    """An experiment that callers may keep: its dict of tags is their own."""
    return replace(experiment, tags=dict(experiment.tags))
