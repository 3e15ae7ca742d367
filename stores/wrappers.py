"""Stores around stores: read-only views, added latency, planned faults.

They see every operation that a store is asked for, after validation, so they work with any backend.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count

from holdall.stores.artifact_io import ArtifactWriter, OpenedArtifact
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.backend import BackendStore
from holdall.stores.capabilities import ArtifactCapabilities, Capabilities
from holdall.stores.databases import DatabaseReport, DatabaseStore, TuningPlan, TuningStep, as_database_store
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    FileInfo,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
)
from holdall.stores.logged_models import LoggedModelStore, as_logged_model_store
from holdall.stores.problems import Problem
from holdall.stores.queries import ExperimentQuery, HistoryQuery, LoggedModelQuery, RunQuery

__all__ = [
    "FaultyArtifactStore",
    "FaultyBackendStore",
    "LatencyArtifactStore",
    "LatencyBackendStore",
    "ReadOnlyArtifactStore",
    "ReadOnlyBackendStore",
    "WrapperArtifactStore",
    "WrapperBackendStore",
    "delayed",
    "failing",
    "undisturbed",
]


Around = Callable[[str], AbstractContextManager[None]]
"""Entered for each operation, such as `log_batch`, with its name; may raise before or after it."""

Plan = Callable[[str, int], Exception | None]
"""What to raise for an operation, by its name and its number from 0; None to let it pass."""


def undisturbed(_operation: str) -> AbstractContextManager[None]:
    """Nothing happens around an operation."""
    return nullcontext()


def delayed(seconds: float) -> Around:
    """Every operation takes `seconds` longer, as if the store were at a distance."""

    @contextmanager
    def around(_operation: str) -> Iterator[None]:
        clock.sleep(seconds)
        yield

    return around


def failing(*, before: Plan | None = None, after: Plan | None = None) -> Around:
    """Operations fail according to plan.

    Args:
        before: What to raise instead of an operation: the request is lost.
        after: What to raise although the operation was done: the answer is lost.
    """
    numbers = count()

    @contextmanager
    def around(operation: str) -> Iterator[None]:
        number = next(numbers)
        if before is not None and (fault := before(operation, number)) is not None:
            raise fault
        yield
        if after is not None and (fault := after(operation, number)) is not None:
            raise fault

    return around


class WrapperBackendStore(BackendStore, LoggedModelStore, DatabaseStore):
    """A backend store that passes every operation on to another one, which it closes with itself.

    Promises are those of the wrapped store; if that keeps no logged models or is no database, operations on these are
    `Unsupported`.

    Args:
        inner: The wrapped store.
        around: What happens around each operation.
        read_only: Refuse writes even if the wrapped store would take them; None for what it does.
    """

    def __init__(self, inner: BackendStore, around: Around = undisturbed, *, read_only: bool | None = None) -> None:
        read_only = inner.read_only if read_only is None else read_only
        super().__init__(inner.uri, artifact_root=inner.artifact_root, read_only=read_only)
        self.inner = inner
        self.created = inner.created
        self._around = around

    @property
    def capabilities(self) -> Capabilities:
        """Those of the wrapped store."""
        return self.inner.capabilities

    def describe(self) -> dict[str, str]:
        """Facts about the wrapped store, and which wrapper this is."""
        return {**self.inner.describe(), "wrapper": type(self).__name__}

    def _close(self) -> None:
        self.inner.close()

    def _find_problems(self) -> list[Problem]:
        with self._around("find_problems"):
            return self.inner._find_problems()

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        with self._around("create_experiment"):
            return self.inner._create_experiment(name, locate, tags, time)

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        with self._around("get_experiment"):
            return self.inner._get_experiment(experiment_id)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._around("get_experiment_by_name"):
            return self.inner._get_experiment_by_name(name)

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        with self._around("rename_experiment"):
            self.inner._rename_experiment(experiment_id, new_name, time)

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        with self._around("delete_experiment"):
            self.inner._delete_experiment(experiment_id, time)

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        with self._around("restore_experiment"):
            self.inner._restore_experiment(experiment_id, time)

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        with self._around("set_experiment_tag"):
            self.inner._set_experiment_tag(experiment_id, tag, time)

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        with self._around("delete_experiment_tag"):
            self.inner._delete_experiment_tag(experiment_id, key, time)

    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        with self._around("search_experiments"):
            return self.inner._search_experiments(query)

    def _create_run(self, run: Run) -> Run:
        with self._around("create_run"):
            return self.inner._create_run(run)

    def _get_run(self, run_id: str) -> Run | None:
        with self._around("get_run"):
            return self.inner._get_run(run_id)

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        with self._around("update_run_info"):
            return self.inner._update_run_info(run_id, status, end_time, run_name)

    def _delete_run(self, run_id: str, time: int) -> None:
        with self._around("delete_run"):
            self.inner._delete_run(run_id, time)

    def _restore_run(self, run_id: str) -> None:
        with self._around("restore_run"):
            self.inner._restore_run(run_id)

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        with self._around("log_batch"):
            self.inner._log_batch(run_id, metrics, params, tags)

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        with self._around("log_metric"):
            self.inner._log_metric(run_id, metric)

    def _log_param(self, run_id: str, param: Param) -> None:
        with self._around("log_param"):
            self.inner._log_param(run_id, param)

    def _set_tag(self, run_id: str, tag: RunTag) -> None:
        with self._around("set_tag"):
            self.inner._set_tag(run_id, tag)

    def _delete_tag(self, run_id: str, key: str) -> None:
        with self._around("delete_tag"):
            self.inner._delete_tag(run_id, key)

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        with self._around("log_inputs"):
            self.inner._log_inputs(run_id, datasets)

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        with self._around("get_metric_history"):
            return self.inner._get_metric_history(query)

    def _sample_metric_history(self, run_id: str, key: str, max_points: int) -> list[Metric] | None:
        with self._around("sample_metric_history"):
            return self.inner._sample_metric_history(run_id, key, max_points)

    def _search_runs(self, query: RunQuery) -> list[Run]:
        with self._around("search_runs"):
            return self.inner._search_runs(query)

    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        with self._around("create_logged_model"):
            return as_logged_model_store(self.inner)._create_logged_model(model)

    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        with self._around("get_logged_model"):
            return as_logged_model_store(self.inner)._get_logged_model(model_id)

    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        with self._around("finalize_logged_model"):
            return as_logged_model_store(self.inner)._finalize_logged_model(model_id, status, time)

    def _delete_logged_model(self, model_id: str, time: int) -> None:
        with self._around("delete_logged_model"):
            as_logged_model_store(self.inner)._delete_logged_model(model_id, time)

    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        with self._around("log_logged_model_data"):
            as_logged_model_store(self.inner)._log_logged_model_data(model_id, params, tags)

    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        with self._around("delete_logged_model_tag"):
            as_logged_model_store(self.inner)._delete_logged_model_tag(model_id, key)

    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        with self._around("search_logged_models"):
            return as_logged_model_store(self.inner)._search_logged_models(query)

    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        models = as_logged_model_store(self.inner)
        with self._around("log_model_metrics"):
            models._log_model_metrics(model_id, run_id, metrics, dataset_name, dataset_digest)

    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        with self._around("link_models"):
            as_logged_model_store(self.inner)._link_models(run_id, inputs, outputs)

    def _inspect_database(self, on_check: Callable[[str], None]) -> DatabaseReport:
        with self._around("inspect_database"):
            return as_database_store(self.inner)._inspect_database(on_check)

    def _plan_tuning(self, undo: bool) -> TuningPlan:
        with self._around("plan_tuning"):
            return as_database_store(self.inner)._plan_tuning(undo)

    def _tune_database(self, undo: bool, on_step: Callable[[TuningStep], None]) -> TuningPlan:
        with self._around("tune_database"):
            return as_database_store(self.inner)._tune_database(undo, on_step)


class ReadOnlyBackendStore(WrapperBackendStore):
    """A view of a store through which nothing can be written."""

    def __init__(self, inner: BackendStore) -> None:
        super().__init__(inner, read_only=True)


class LatencyBackendStore(WrapperBackendStore):
    """A store at a distance: every operation takes `seconds` longer."""

    def __init__(self, inner: BackendStore, seconds: float) -> None:
        super().__init__(inner, delayed(seconds))


class FaultyBackendStore(WrapperBackendStore):
    """A store that fails according to the plans of `failing`."""

    def __init__(self, inner: BackendStore, *, before: Plan | None = None, after: Plan | None = None) -> None:
        super().__init__(inner, failing(before=before, after=after))


class WrapperArtifactStore(ArtifactStore):
    """An artifact store that passes every operation on to another one, which it closes with itself.

    Files and folders are moved by the derived methods, so that each stream passes through the wrapper.

    Args:
        inner: The wrapped store.
        around: What happens around each operation: `open_reader`, `open_writer`, `stat`, `list`, `delete`,
            `make_directory`.
        read_only: Refuse writes even if the wrapped store would take them; None for what it does.
    """

    def __init__(self, inner: ArtifactStore, around: Around = undisturbed, *, read_only: bool | None = None) -> None:
        read_only = inner.read_only if read_only is None else read_only
        super().__init__(inner.uri, read_only=read_only, max_workers=inner.max_workers)
        self.inner = inner
        self._digest_algorithm = inner._digest_algorithm
        self._around = around

    @property
    def capabilities(self) -> ArtifactCapabilities:
        """Those of the wrapped store."""
        return self.inner.capabilities

    def describe(self) -> dict[str, str]:
        """Facts about the wrapped store, and which wrapper this is."""
        return {**self.inner.describe(), "wrapper": type(self).__name__}

    def _close(self) -> None:
        self.inner.close()

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        with self._around("open_reader"):
            return self.inner._open_reader(path, offset, length)

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        with self._around("open_writer"):
            return self.inner._open_writer(path, size)

    def _stat(self, path: str) -> FileInfo | None:
        with self._around("stat"):
            return self.inner._stat(path)

    def _list(self, path: str) -> Iterable[FileInfo]:
        with self._around("list"):
            return self.inner._list(path)

    def _delete(self, path: str) -> None:
        with self._around("delete"):
            self.inner._delete(path)

    def _make_directory(self, path: str) -> None:
        with self._around("make_directory"):
            self.inner._make_directory(path)


class ReadOnlyArtifactStore(WrapperArtifactStore):
    """A view of a store through which nothing can be written."""

    def __init__(self, inner: ArtifactStore) -> None:
        super().__init__(inner, read_only=True)


class LatencyArtifactStore(WrapperArtifactStore):
    """A store at a distance: every operation takes `seconds` longer."""

    def __init__(self, inner: ArtifactStore, seconds: float) -> None:
        super().__init__(inner, delayed(seconds))


class FaultyArtifactStore(WrapperArtifactStore):
    """A store that fails according to the plans of `failing`."""

    def __init__(self, inner: ArtifactStore, *, before: Plan | None = None, after: Plan | None = None) -> None:
        super().__init__(inner, failing(before=before, after=after))
