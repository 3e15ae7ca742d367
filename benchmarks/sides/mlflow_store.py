"""MLflow's own stores, as its users have them: their defaults, their own tables and files, telemetry off.

Runs in MLflow's interpreter, and needs nothing of holdall.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # without it, this version refuses to open a folder

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.store.tracking.file_store import FileStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from benchmarks.sides.base import Answer, Side, Task
from benchmarks.sides.mlruns import MlrunsSide
from benchmarks.sides.server import ServerSide
from benchmarks.sides.sqlite import SqliteSide
from benchmarks.workload import EXPERIMENT, EXPERIMENT_ID, PAGE, START, TOP, Point, Search

__all__ = ["MLflowFileSide", "MLflowServerSide", "MLflowSqliteSide"]

_IDS = [str(EXPERIMENT_ID)]


class MLflowSide(Side):
    """Any store of MLflow, named by a path."""

    @abstractmethod
    def _open(self, path: Path) -> Any:
        """Open a store, or make it."""

    def _close(self, store: Any) -> None:
        """Let go of a store."""

    def open(self) -> None:
        self._log = self._open(self.log_path)
        self.open_read()

    def close(self) -> None:
        self._close(self._log)
        self.close_read()

    def open_read(self) -> None:
        self._read = self._open(self.read_path)

    def close_read(self) -> None:
        self._close(self._read)

    def start_run(self) -> str:
        return str(self._create_run("logged").info.run_id)

    def create_run(self, name: str) -> Task[Any]:
        return Task(partial(self._create_run, name))

    def _create_run(self, name: str) -> Any:
        experiment_id = str(self.log_experiment)
        return self._log.create_run(experiment_id, user_id="bench", start_time=START, tags=[], run_name=name)

    def log_metric(self, run_id: str, point: Point) -> Task[Any]:
        return Task(partial(self._log.log_metric, run_id, _metric(point)))

    def log_param(self, run_id: str, key: str, value: str) -> Task[Any]:
        return Task(partial(self._log.log_param, run_id, Param(key, value)))

    def set_tag(self, run_id: str, key: str, value: str) -> Task[Any]:
        return Task(partial(self._log.set_tag, run_id, RunTag(key, value)))

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> Task[Any]:
        return Task(partial(self._log.log_batch, run_id, [_metric(point) for point in points], [], []))

    def log_labels(self, run_id: str, params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]) -> Task[Any]:
        pairs = [Param(*param) for param in params]
        labels = [RunTag(*tag) for tag in tags]
        return Task(partial(self._log.log_batch, run_id, [], pairs, labels))

    def get_run(self, run_id: str) -> Task[Any]:
        return Task(partial(self._read.get_run, run_id), _run_answer)

    def history(self, run_id: str, key: str) -> Task[Any]:
        return Task(partial(self._read.get_metric_history, run_id, key), _history_answer)

    def top_runs(self) -> Task[Any]:
        return self.search(TOP)

    def search(self, search: Search) -> Task[Any]:
        return Task(partial(self._search, search), lambda runs: [run.info.run_id for run in runs])

    def _search(self, search: Search) -> Any:
        return self._read.search_runs(
            _IDS, search.filter, ViewType.ACTIVE_ONLY, max_results=search.limit, order_by=[search.order_by]
        )

    def scan(self, page: int = PAGE) -> Task[Any]:
        return Task(partial(self._scan, page), _scan_answer)

    def _scan(self, limit: int) -> list[Any]:
        ids = [str(self.scan_experiment)]
        page = self._read.search_runs(ids, "", ViewType.ACTIVE_ONLY, max_results=limit)
        runs = list(page)
        while page.token:
            page = self._read.search_runs(ids, "", ViewType.ACTIVE_ONLY, max_results=limit, page_token=page.token)
            runs.extend(page)
        return runs

    def open_existing(self, path: Path) -> Task[Any]:
        return Task(partial(self._open_and_look, path, EXPERIMENT), _opened_answer, self._close_opened)

    def open_new(self, path: Path) -> Task[Any]:
        return Task(partial(self._open_and_look, path, "Default"), _opened_answer, self._close_opened)

    def _open_and_look(self, path: Path, name: str) -> tuple[Any, Any]:
        store = self._open(path)
        return store, store.get_experiment_by_name(name)

    def _close_opened(self, opened: tuple[Any, Any]) -> None:
        self._close(opened[0])


class MLflowSqliteSide(MLflowSide, SqliteSide):
    """MLflow's SQLite store."""

    @property
    def version(self) -> str:
        return f"MLflow {mlflow.__version__} with its defaults"

    def create(self, path: Path) -> None:
        self._close(self._open(path))

    def _open(self, path: Path) -> Any:
        return SqlAlchemyStore(f"sqlite:///{path}", str(self.artifacts))

    def _close(self, store: Any) -> None:
        store.engine.dispose()


class MLflowFileSide(MLflowSide, MlrunsSide):
    """MLflow's file store."""

    @property
    def version(self) -> str:
        return f"MLflow {mlflow.__version__}, file store"

    def _open(self, path: Path) -> Any:
        return FileStore(str(path))

    def tag_stored_run(self, run_id: str, key: str, value: str) -> None:
        self._read.set_tag(run_id, RunTag(key, value))

    def top_runs_tagged(self, key: str) -> Task[Any]:
        return Task(partial(self._search, TOP), lambda runs: [[r.info.run_id, r.data.tags.get(key)] for r in runs])


class MLflowServerSide(MLflowSide, ServerSide):
    """MLflow's store on servers, by the drivers that its documentation names."""

    drivers: ClassVar[Mapping[str, str]] = {"postgresql": "psycopg2", "mariadb": "pymysql"}

    @property
    def version(self) -> str:
        return f"MLflow {mlflow.__version__} with {self.driver}"

    def create(self, path: Path) -> None:
        self._close(self._open(path))

    def _open(self, path: Path) -> Any:
        scheme = {"postgresql": "postgresql+psycopg2", "mariadb": "mysql+pymysql"}[self.product]
        return SqlAlchemyStore(urlsplit(self.database)._replace(scheme=scheme).geturl(), str(self.artifacts))

    def _close(self, store: Any) -> None:
        store.engine.dispose()


def _metric(point: Point) -> Any:
    return Metric(point.key, point.value, point.timestamp, point.step)


def _run_answer(run: Any) -> Answer:
    return [sorted(map(list, values.items())) for values in (run.data.metrics, run.data.params, run.data.tags)]


def _scan_answer(runs: list[Any]) -> Answer:
    columns = [(run.data.metrics, run.data.params, run.data.tags) for run in runs]
    return [len(runs), *(sum(map(len, column)) for column in zip(*columns, strict=True))]


def _history_answer(metrics: list[Any]) -> Answer:
    return [len(metrics), *([m.key, m.value, m.timestamp, m.step] for m in (metrics[0], metrics[-1]))]


def _opened_answer(opened: tuple[Any, Any]) -> Answer:
    return str(opened[1].experiment_id)
