"""`FileBackendStore`: the contract over MLflow's `mlruns/` folder."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from holdall.backends.file.experiments import Experiments
from holdall.backends.file.files import translated
from holdall.backends.file.index_place import NoIndex
from holdall.backends.file.inspection import find_problems
from holdall.backends.file.locks import Locks
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
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.problems import Problem
from holdall.stores.queries import ExperimentQuery, HistoryQuery, RunQuery
from holdall.stores.search import experiment_sort_key, matches_experiment
from holdall.stores.uri import StoreURI

if TYPE_CHECKING:
    from holdall.backends.file.index import RunIndex

__all__ = ["FileBackendStore"]

logger = logging.getLogger("holdall")


class FileBackendStore(BackendStore):
    """Experiments and runs in a folder, in the layout of MLflow's file store.

    **URI.** A path, or `file:///absolute/path`. A missing or empty folder becomes a store; one that holds other things
    is refused.
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
        if uri.host or uri.query or not uri.path:
            raise InvalidParameterValue(f"Invalid store URI {uri}: write a path, or file:///absolute/path.")
        super().__init__(uri, artifact_root=artifact_root, read_only=read_only)
        self._root = os.path.abspath(uri.path)
        self._log = ProblemLog(str(self.uri))
        self._tree = Tree(self._root)
        self._locks = Locks(self._root)
        self._experiments = Experiments(self._tree, self._locks, self._log)
        self._runs = Runs(self._tree, self._experiments, self._locks, self._log, read_only=read_only)
        self._index_lock = threading.Lock()
        self._index: RunIndex | None = None
        self._use_index = use_index
        with self._translated("be opened"):
            if create and not read_only:
                location = self.artifact_root.join("0").render(hide_password=False)
                self.created = prepare(self._root, self.uri, self._locks, self._experiments, location)
            else:
                require_root(self._root, self.uri)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

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
            return find_problems(self._tree, self._experiments, self._runs)

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
