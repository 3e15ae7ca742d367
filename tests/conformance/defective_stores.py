"""Stores with one planted defect each, and the suite on each of them; `test_defects.py` runs it and expects failures.

Every store stands before a memory store that is right, and spoils one thing on the way.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from holdall.conformance_tests import BackendHarness, BackendStoreSuite, RawAccess
from holdall.stores import (
    BackendStore,
    Capabilities,
    DatasetInput,
    Experiment,
    InvalidParameterValue,
    LifecycleStage,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    NotFound,
    PagedList,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
    as_logged_model_store,
    open_backend_store,
)
from holdall.stores.points import history_key
from holdall.stores.queries import ExperimentQuery, HistoryQuery, LoggedModelQuery, RunQuery
from holdall.stores.search import Comparator, EntityType, matches_run, run_sort_key
from holdall.stores.wrappers import WrapperBackendStore

_LARGEST = 1.7976931348623157e308


class Undamaged(WrapperBackendStore):
    """A memory store that outlives its closing, so that the tests of persistence are asked of it."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(multi_process=False, crash_safe=False, concurrent_creation=False, logged_models=True)

    def _around(self, operation: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _close(self) -> None:
        """The memory store stays open for the next time."""


class DropsMetric(Undamaged):
    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        super()._log_batch(run_id, metrics[:999], params, tags)


class RoundsValues(Undamaged):
    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        rounded = [replace(metric, value=float(f"{metric.value:.14g}")) for metric in metrics]
        super()._log_batch(run_id, rounded, params, tags)


class LosesNegativeZero(Undamaged):
    def _log_metric(self, run_id: str, metric: Metric) -> None:
        super()._log_metric(run_id, replace(metric, value=metric.value + 0.0))


class CapsInfinity(Undamaged):
    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        found = super()._get_metric_history(query)
        return found and [
            replace(metric, value=math.copysign(_LARGEST, metric.value)) if math.isinf(metric.value) else metric
            for metric in found
        ]


class IgnoresKeyCase(Undamaged):
    def _log_metric(self, run_id: str, metric: Metric) -> None:
        super()._log_metric(run_id, replace(metric, key=metric.key.lower()))

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        return super()._get_metric_history(replace(query, key=query.key.lower()))


class NormalizesNames(Undamaged):
    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        return super()._create_experiment(unicodedata.normalize("NFC", name), locate, tags, time)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        return super()._get_experiment_by_name(unicodedata.normalize("NFC", name))


class TruncatesValues(Undamaged):
    def _log_param(self, run_id: str, param: Param) -> None:
        super()._log_param(run_id, replace(param, value=param.value[:5000]))


class TrimsTags(Undamaged):
    def _set_tag(self, run_id: str, tag: RunTag) -> None:
        super()._set_tag(run_id, replace(tag, value=tag.value.strip()))


class ReordersHistory(Undamaged):
    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        found = super()._get_metric_history(query)
        return found and sorted(found, key=lambda metric: (metric.step, history_key(metric)))


class KeepsDoubles(Undamaged):
    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        found = super()._get_metric_history(query)
        return found and [metric for metric in found for _ in range(1 + math.isnan(metric.value))]


class SplitsBatches(Undamaged):
    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        super()._log_batch(run_id, metrics, [], {})
        super()._log_batch(run_id, [], params, tags)


class AcceptsChangedParam(Undamaged):
    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        known = self.inner.get_run(run_id).data.params
        fresh = [param for param in params if param.key not in known]
        super()._log_batch(run_id, metrics, fresh, tags)

    def _log_param(self, run_id: str, param: Param) -> None:
        self._log_batch(run_id, [], [param], {})


class SkipsPageRow(Undamaged):
    def _search_runs(self, query: RunQuery) -> list[Run]:
        found = super()._search_runs(query)
        return found if query.after is None else found[1:]


class RepeatsPageRow(Undamaged):
    def _search_runs(self, query: RunQuery) -> list[Run]:
        found = super()._search_runs(replace(query, after=None, limit=50001))
        first = query.after is None
        later = [run for run in found if first or run_sort_key(run, query.order_by) == query.after]
        return found[: query.limit] if first else (later + super()._search_runs(query))[: query.limit]


class SkipsHistoryRow(Undamaged):
    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        found = super()._get_metric_history(query)
        last = None if query.after is None else query.after[0]
        return found and [metric for metric in found if last is None or (0, metric.timestamp) > last]


class TakesNanForZero(Undamaged):
    def _search_runs(self, query: RunQuery) -> list[Run]:
        everything = super()._search_runs(replace(query, filter=(), limit=50001))
        return [run for run in everything if matches_run(_without_nan(run), query.filter)][: query.limit]


def _without_nan(run: Run) -> Run:
    metrics = {key: 0.0 if math.isnan(value) else value for key, value in run.data.metrics.items()}
    return replace(run, data=replace(run.data, metrics=metrics))


class LetsMissingDiffer(Undamaged):
    def _search_runs(self, query: RunQuery) -> list[Run]:
        kept = tuple(clause for clause in query.filter if clause.comparator is not Comparator.NE)
        found = super()._search_runs(replace(query, filter=kept, limit=50001))
        others = [clause for clause in query.filter if clause.comparator is Comparator.NE]
        tags = [clause for clause in others if clause.identifier.entity is EntityType.TAG]
        rest = tuple(clause for clause in others if clause not in tags)
        return [
            run
            for run in found
            if matches_run(run, rest)
            and all(run.data.tags.get(clause.identifier.key) != clause.value for clause in tags)
        ][: query.limit]


class PutsMissingFirst(Undamaged):
    def _search_runs(self, query: RunQuery) -> list[Run]:
        found = super()._search_runs(query)
        return sorted(found, key=lambda run: run_sort_key(run, query.order_by)[0][0] != 2)


class FoldsCaseInSearch(Undamaged):
    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        folded = tuple(
            replace(clause, comparator=Comparator.ILIKE) if clause.comparator is Comparator.EQ else clause
            for clause in query.filter
        )
        return super()._search_experiments(replace(query, filter=folded))


class RestoresTooManyRuns(Undamaged):
    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        super()._restore_experiment(experiment_id, time)
        for run in self.inner.search_runs([experiment_id], run_view_type=ViewType.ALL):
            self.inner.restore_run(run.info.run_id)


class ShowsLastLogged(Undamaged):
    def _get_run(self, run_id: str) -> Run | None:
        run = super()._get_run(run_id)
        if run is None:
            return None
        latest = {key: max(self.inner.get_metric_history(run_id, key), key=_time) for key in run.data.metrics}
        metrics = {key: metric.value for key, metric in latest.items()}
        points = {key: (metric.timestamp, metric.step) for key, metric in latest.items()}
        return replace(run, data=replace(run.data, metrics=metrics, metric_points=points))


def _time(metric: Metric) -> int:
    return metric.timestamp


class WritesThoughReadOnly(Undamaged):
    def _check_writable(self) -> None:
        self._check_open()


class WritesToDeletedRun(Undamaged):
    def _log_metric(self, run_id: str, metric: Metric) -> None:
        was_deleted = self.inner.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED
        self.inner.restore_run(run_id)
        super()._log_metric(run_id, metric)
        if was_deleted:
            self.inner.delete_run(run_id)


class ForgivesMissingTag(Undamaged):
    def _delete_tag(self, run_id: str, key: str) -> None:
        run = self.inner.get_run(run_id)
        if key in run.data.tags or run.info.lifecycle_stage == LifecycleStage.DELETED:
            super()._delete_tag(run_id, key)


class FreesDeletedNames(Undamaged):
    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        holder = self.inner.get_experiment_by_name(name)
        if holder is not None and holder.lifecycle_stage == LifecycleStage.DELETED:
            self.inner.restore_experiment(holder.experiment_id)
            self.inner.rename_experiment(holder.experiment_id, f"{name} (deleted {time})")
            self.inner.delete_experiment(holder.experiment_id)
        return super()._create_experiment(name, locate, tags, time)


class CountsBytes(Undamaged):
    def _log_param(self, run_id: str, param: Param) -> None:
        if len(param.value.encode()) > 6000:
            raise InvalidParameterValue("param.value exceeds the maximum length of 6000.")
        super()._log_param(run_id, param)


class LeaksDriverText(Undamaged):
    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        try:
            return super()._create_experiment(name, locate, tags, time)
        except Exception as error:
            raise type(error)("(sqlite3.IntegrityError) UNIQUE constraint failed: experiments.name") from error


class WritesLate(Undamaged):
    """Single points wait until somebody reads through this store."""

    def __init__(self, inner: BackendStore, *, read_only: bool | None = None) -> None:
        super().__init__(inner, read_only=read_only)
        self._waiting: list[tuple[str, Metric]] = []

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        self._waiting.append((run_id, metric))

    def _get_run(self, run_id: str) -> Run | None:
        self._write()
        return super()._get_run(run_id)

    def _write(self) -> None:
        for run_id, metric in self._waiting:
            super()._log_metric(run_id, metric)
        self._waiting.clear()


class CachesRuns(Undamaged):
    """Runs are read once and then remembered until this store writes to them."""

    def __init__(self, inner: BackendStore, *, read_only: bool | None = None) -> None:
        super().__init__(inner, read_only=read_only)
        self._runs: dict[str, Run] = {}

    def _get_run(self, run_id: str) -> Run | None:
        if run_id not in self._runs:
            run = super()._get_run(run_id)
            if run is None:
                return None
            self._runs[run_id] = run
        return self._runs[run_id]

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        self._runs.pop(run_id, None)
        super()._log_metric(run_id, metric)


class ForgetsNameTag(Undamaged):
    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        before = self.inner.get_run(run_id).data.tags.get("mlflow.runName")
        info = super()._update_run_info(run_id, status, end_time, run_name)
        if run_name is not None and before is not None:
            self._names = getattr(self, "_names", {}) | {run_id: before}
        return info

    def _get_run(self, run_id: str) -> Run | None:
        run = super()._get_run(run_id)
        stale: dict[str, str] = getattr(self, "_names", {})
        if run is None or run_id not in stale:
            return run
        return replace(run, data=replace(run.data, tags={**run.data.tags, "mlflow.runName": stale[run_id]}))


class OverwritesDatasets(Undamaged):
    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        marked = [replace(item, dataset=replace(item.dataset, schema=item.dataset.schema or "")) for item in datasets]
        super()._log_inputs(run_id, marked)


class TakesAnyToken(Undamaged):
    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        try:
            return super().get_metric_history(run_id, key, max_results, page_token)
        except InvalidParameterValue:
            return super().get_metric_history(run_id, key, max_results)


class AnswersWhenClosed(Undamaged):
    def _check_open(self) -> None:
        """Never closed."""


class AcceptsChangedModelParam(Undamaged):
    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        known = as_logged_model_store(self.inner).get_logged_model(model_id).params
        super()._log_logged_model_data(model_id, {key: params[key] for key in params.keys() - known.keys()}, tags)


class WritesRunBeforeModel(Undamaged):
    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        self._log_batch(run_id, metrics, [], {})
        super()._log_model_metrics(model_id, run_id, metrics, dataset_name, dataset_digest)


class ForgetsDatasetOfModelMetric(Undamaged):
    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        super()._log_model_metrics(model_id, run_id, metrics, None, None)


class LosesModelDataWhenFinal(Undamaged):
    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        model = super()._finalize_logged_model(model_id, status, time)
        return replace(model, tags={})


class SkipsPageModel(Undamaged):
    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        found = super()._search_logged_models(query)
        return found if query.after is None else found[1:]


class HidesModelsOfDeletedExperiments(Undamaged):
    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        found = super()._search_logged_models(query)
        stages = {model.model_id: self.inner.get_experiment(model.experiment_id).lifecycle_stage for model in found}
        return [model for model in found if stages[model.model_id] == LifecycleStage.ACTIVE]


class MixesLinks(Undamaged):
    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        super()._link_models(run_id, [*inputs, *outputs], outputs)


class MemoryRawAccess(RawAccess):
    """The memory store itself, which the defect stands before."""

    def __init__(self, inner: BackendStore) -> None:
        self._inner = inner

    def metric_points(self, run_id: str) -> list[Metric]:
        keys = self._inner.get_run(run_id).data.metrics
        return [point for key in keys for point in self._inner.get_metric_history(run_id, key)]

    def params(self, run_id: str) -> dict[str, str]:
        return self._inner.get_run(run_id).data.params

    def tags(self, run_id: str) -> dict[str, str]:
        return self._inner.get_run(run_id).data.tags

    def counts(self) -> dict[str, int]:
        runs = self._all_runs()
        return {
            "experiments": len(self._inner.search_experiments(ViewType.ALL)),
            "runs": len(runs),
            "points": sum(len(self.metric_points(run.info.run_id)) for run in runs),
            "params": sum(len(run.data.params) for run in runs),
            "tags": sum(len(run.data.tags) for run in runs),
        }

    def digest(self) -> str:
        experiments = self._inner.search_experiments(ViewType.ALL)
        ids = [experiment.experiment_id for experiment in experiments]
        models = as_logged_model_store(self._inner).search_logged_models(ids)
        everything = experiments, self._all_runs(), models
        return hashlib.sha256(repr(everything).encode()).hexdigest()

    def _all_runs(self) -> list[Run]:
        ids = [experiment.experiment_id for experiment in self._inner.search_experiments(ViewType.ALL)]
        return list(self._inner.search_runs(ids, run_view_type=ViewType.ALL))


class DefectHarness(BackendHarness):
    """One memory store, opened through a defect as often as is asked.

    Args:
        kind: The defect.
    """

    def __init__(self, kind: type[Undamaged]) -> None:
        self._kind = kind
        self._inner = open_backend_store("memory://")
        self._exists = False
        self.raw = MemoryRawAccess(self._inner)

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        missing, self._exists = not self._exists, self._exists or (create and not read_only)
        if not self._exists:
            raise NotFound("There is no store here.")
        store = self._kind(self._inner, read_only=read_only)
        store.created = missing
        return store

    def another(self) -> DefectHarness:
        return DefectHarness(self._kind)


DEFECTS: dict[type[Undamaged], tuple[str, ...]] = {
    DropsMetric: ("test_log_batch_at_its_limits_is_accepted",),
    RoundsValues: ("test_log_batch_with_any_double_keeps_every_bit",),
    LosesNegativeZero: ("test_log_metric_with_negative_zero_keeps_the_sign",),
    CapsInfinity: ("test_log_metric_with_any_double_keeps_every_bit",),
    IgnoresKeyCase: ("test_log_metric_with_similar_keys_keeps_them_apart",),
    NormalizesNames: ("test_create_experiment_with_similar_name_is_another_one",),
    TruncatesValues: ("test_log_param_at_length_limit_is_kept_whole",),
    TrimsTags: ("test_set_tag_to_unusual_value_keeps_it_exactly",),
    ReordersHistory: ("test_get_history_of_shuffled_points_is_in_order",),
    KeepsDoubles: ("test_log_metric_with_same_point_again_changes_nothing",),
    SplitsBatches: (
        "test_log_batch_with_changed_param_writes_nothing",
        "test_log_batch_with_changed_param_leaves_no_trace_in_storage",
    ),
    AcceptsChangedParam: ("test_log_param_with_another_value_is_refused",),
    SkipsPageRow: ("test_search_runs_with_order_sorts_and_pages_alike",),
    RepeatsPageRow: ("test_search_runs_with_order_sorts_and_pages_alike",),
    SkipsHistoryRow: ("test_page_history_with_ties_gives_every_point_once",),
    TakesNanForZero: ("test_search_runs_with_filter_finds_what_it_means",),
    LetsMissingDiffer: ("test_search_runs_with_filter_finds_what_it_means",),
    PutsMissingFirst: ("test_search_runs_with_order_sorts_and_pages_alike",),
    FoldsCaseInSearch: ("test_search_experiments_by_name_finds_exact_matches",),
    RestoresTooManyRuns: ("test_restore_experiment_leaves_runs_deleted_by_hand",),
    ShowsLastLogged: ("test_log_metrics_in_any_order_shows_greatest_as_latest",),
    WritesThoughReadOnly: ("test_write_to_read_only_store_is_refused_and_changes_nothing",),
    WritesToDeletedRun: ("test_write_to_deleted_run_is_refused",),
    ForgivesMissingTag: ("test_delete_tag_removes_it",),
    FreesDeletedNames: ("test_delete_experiment_keeps_its_name_taken",),
    CountsBytes: ("test_log_param_at_length_limit_is_kept_whole",),
    LeaksDriverText: ("test_create_experiment_with_taken_name_is_refused",),
    WritesLate: ("test_log_metric_seen_behind_the_store_is_there_once",),
    CachesRuns: ("test_open_store_twice_shows_the_same",),
    ForgetsNameTag: ("test_rename_run_keeps_name_and_tag_equal",),
    OverwritesDatasets: ("test_log_inputs_keeps_datasets_and_tags",),
    TakesAnyToken: ("test_get_history_with_garbage_token_is_refused",),
    AnswersWhenClosed: ("test_use_closed_store_is_refused",),
    AcceptsChangedModelParam: ("test_log_model_param_with_another_value_writes_nothing",),
    WritesRunBeforeModel: ("test_log_model_metrics_to_missing_model_leaves_the_run_alone",),
    ForgetsDatasetOfModelMetric: (
        "test_log_model_metrics_on_datasets_keeps_the_latest_of_each",
        "test_search_models_on_datasets_finds_what_was_measured_there",
    ),
    LosesModelDataWhenFinal: ("test_finalize_model_moves_from_any_status_to_any",),
    SkipsPageModel: ("test_search_models_with_order_sorts_and_pages_alike",),
    HidesModelsOfDeletedExperiments: ("test_delete_and_restore_experiment_leaves_models_alone",),
    MixesLinks: ("test_link_models_to_run_shows_inputs_and_outputs",),
}
"""Defect → tests that must fail on it, each by itself."""


def _suite(kind: type[Undamaged]) -> type[BackendStoreSuite]:
    @pytest.fixture
    def harness(self: BackendStoreSuite) -> DefectHarness:
        return DefectHarness(kind)

    return type(f"Test{kind.__name__}", (BackendStoreSuite,), {"harness": harness, "__module__": __name__})


TestUndamaged = _suite(Undamaged)
globals().update({f"Test{defect.__name__}": _suite(defect) for defect in DEFECTS})
