"""`FileBackendStore`: the contract over MLflow's `mlruns/` folder."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from holdall.backends.file.experiments import Experiments
from holdall.backends.file.files import translated
from holdall.backends.file.index_place import NoIndex
from holdall.backends.file.inspection import find_problems
from holdall.backends.file.locks import Locks
from holdall.backends.file.models import Models
from holdall.backends.file.opening import prepare, require_root
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.runs import Runs
from holdall.backends.file.scan import scan_runs, select
from holdall.backends.file.tree import Tree
from holdall.backends.file.watch import is_local_disk
from holdall.stores.backend import BackendStore
from holdall.stores.capabilities import Capabilities
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.logged_models import LoggedModelStore
from holdall.stores.problems import Problem
from holdall.stores.queries import (
    ExperimentQuery,
    HistoryQuery,
    LoggedModelQuery,
    RunQuery,
    select_logged_models,
)
from holdall.stores.search import experiment_sort_key, matches_experiment
from holdall.stores.uri import StoreURI

if TYPE_CHECKING:
    from holdall.backends.file.index import RunIndex

__all__ = ["FileBackendStore"]

logger = logging.getLogger("holdall")


class FileBackendStore(BackendStore, LoggedModelStore):
    """Experiments, runs and logged models in a folder, in the layout of MLflow's file store.

    **URI.** A path, or `file:///absolute/path`. A missing or empty folder becomes a store; one that holds other things
    is refused. MLflow 2 and 3 read and extend what is written here, at the same time too.

    **Threads and processes.** Any number of both, on any number of machines that share the folder, also when they open
    the same new one at once. A run is written to by one at a time; locks are files, made by `link`. Readers wait for
    nobody. A process may fork, and go on on both sides.

    **Ordering and visibility.** A reader of a run sees it as it was at one moment between calls. A search sees each run
    so, and different runs at slightly different moments. What another machine wrote is seen when the disk's client
    shows it.

    **Durability.** What a call wrote survives `kill -9` once the call has returned; one that was interrupted is wholly
    there or not at all. Nothing is flushed to the disk: what a power failure leaves is up to the file system.

    **Bad items** are passed over, with a warning once, and are never changed; `find_problems` lists them. Links are not
    followed.

    **The index** of searches is derived from the files, disposable and brought up to date before each search. Opened
    read-only, the store writes nothing into the folder, and keeps the index in the user's cache.

    **Not promised.** One moment for several runs; that MLflow, which takes no locks, sees whole batches; that MLflow
    sees the key `a/b` beside `a`, which its layout has no place for.

    Args:
        uri: A path, or a `file` URI without host.
        artifact_root: Under which new experiments keep artifacts; the folder itself by default.
        read_only: Refuse writes, and change nothing in the folder.
        create: Make a store where there is none.
        use_index: Whether searches use the index; without it they read every run.

    Raises:
        InvalidParameterValue: The URI names no folder, or one that holds other things.
        NotFound: There is no store, and none was to be made.
    """

    def __init__(
        self,
        uri: StoreURI,
        *,
        artifact_root: StoreURI | None = None,
        read_only: bool = False,
        create: bool = True,
        use_index: bool = True,
    ) -> None:
        if uri.query or not uri.path:
            raise InvalidParameterValue(f"Invalid store URI {uri}: write a path, or file:///absolute/path.")
        super().__init__(uri, artifact_root=artifact_root, read_only=read_only)
        self._root = os.path.abspath(uri.path)
        self._use_index = use_index
        self._build()
        _OPEN.add(self)
        with self._translated("be opened"):
            if create and not read_only:
                location = self.artifact_root.join("0").render(hide_password=False)
                self.created = prepare(self._root, self.uri, self._locks, self._experiments, location)
            else:
                require_root(self._root, self.uri)

    def _build(self) -> None:
        """Make the parts anew: at first, and in a forked child, where threads that are gone may hold their locks."""
        self._log = ProblemLog(str(self.uri))
        self._tree = Tree(self._root)
        self._locks = Locks(self._root)
        self._experiments = Experiments(self._tree, self._locks, self._log)
        self._runs = Runs(self._tree, self._experiments, self._locks, self._log, read_only=self.read_only)
        self._models = Models(
            self._tree, self._experiments, self._runs, self._locks, self._log, read_only=self.read_only
        )
        self._index_lock = threading.Lock()
        self._index: RunIndex | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(logged_models=True)

    def _default_artifact_root(self) -> StoreURI:
        """The folder itself: artifacts lie beside what they belong to, as MLflow has it."""
        return self.uri

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
        self._locks.close()

    def describe(self) -> dict[str, str]:
        facts = {**super().describe(), "disk": "local" if is_local_disk(self._root) else "shared, or unknown"}
        with self._translated("be read"):
            index = self._open_index()
            try:
                return facts | ({"index": "none"} if index is None else index.facts())
            except NoIndex:
                return facts | {"index": "none"}

    def _find_problems(self) -> list[Problem]:
        with self._translated("be read"):
            return find_problems(self._tree, self._experiments, self._runs, self._models)

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return translated(f"The store {self.uri} cannot {what}")

    # Experiments

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        with self._translated("be written to"):
            return self._experiments.create(name, locate, tags, time)

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        with self._translated("be read"):
            return self._experiments.get(experiment_id)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._translated("be read"):
            return self._experiments.get_by_name(name)

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        with self._translated("be written to"):
            self._experiments.rename(experiment_id, new_name, time)

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        with self._translated("be written to"):
            self._experiments.delete(experiment_id, time)

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        with self._translated("be written to"):
            self._experiments.restore(experiment_id, time)

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        with self._translated("be written to"):
            self._experiments.set_tag(experiment_id, tag, time)

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        with self._translated("be written to"):
            self._experiments.delete_tag(experiment_id, key, time)

    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        with self._translated("be read"):
            found = [
                experiment
                for experiment in self._experiments.all()
                if query.view.admits(experiment.lifecycle_stage) and matches_experiment(experiment, query.filter)
            ]
        return select(found, query, experiment_sort_key)

    # Runs

    def _create_run(self, run: Run) -> Run:
        with self._translated("be written to"):
            return self._runs.create(run)

    def _get_run(self, run_id: str) -> Run | None:
        with self._translated("be read"):
            return self._runs.get(run_id)

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        with self._translated("be written to"):
            return self._runs.update(run_id, status, end_time, run_name)

    def _delete_run(self, run_id: str, time: int) -> None:
        with self._translated("be written to"):
            self._runs.delete(run_id, time)

    def _restore_run(self, run_id: str) -> None:
        with self._translated("be written to"):
            self._runs.restore(run_id)

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        with self._translated("be written to"):
            self._runs.log_batch(run_id, metrics, params, tags)

    def _delete_tag(self, run_id: str, key: str) -> None:
        with self._translated("be written to"):
            self._runs.delete_tag(run_id, key)

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        with self._translated("be written to"):
            self._runs.log_inputs(run_id, datasets)

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        with self._translated("be read"):
            return self._runs.history(query)

    def _search_runs(self, query: RunQuery) -> list[Run]:
        with self._translated("be read"):
            index = self._open_index()
            if index is not None:
                try:
                    return index.search(query)
                except NoIndex:
                    logger.warning("%s: searched without an index, since none can be kept anywhere", self.uri)
                    self._use_index = False
            return scan_runs(self._tree, self._experiments, self._runs, query)

    def _open_index(self) -> RunIndex | None:
        """The index, made at the first search: whoever only logs pays nothing for it, SQLAlchemy's import included."""
        if not self._use_index:
            return None
        with self._index_lock:
            if self._index is None:
                from holdall.backends.file.index import RunIndex

                self._index = RunIndex(self._tree, self._experiments, self._runs, read_only=self.read_only)
            return self._index

    # Logged models

    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        with self._translated("be written to"):
            return self._models.create(model)

    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        with self._translated("be read"):
            return self._models.get(model_id)

    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        with self._translated("be written to"):
            return self._models.finalize(model_id, status, time)

    def _delete_logged_model(self, model_id: str, time: int) -> None:
        with self._translated("be written to"):
            self._models.delete(model_id, time)

    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        with self._translated("be written to"):
            self._models.log_data(model_id, params, tags)

    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        with self._translated("be written to"):
            self._models.delete_tag(model_id, key)

    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        with self._translated("be read"):
            return select_logged_models(self._models.all(query.experiment_ids), query)

    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        with self._translated("be written to"):
            self._models.log_metrics(model_id, run_id, metrics, dataset_name, dataset_digest)

    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        with self._translated("be written to"):
            self._runs.link_models(run_id, inputs, outputs)


_OPEN: weakref.WeakSet[FileBackendStore] = weakref.WeakSet()


def _rebuild_after_fork() -> None:
    for store in list(_OPEN):
        store._build()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rebuild_after_fork)
