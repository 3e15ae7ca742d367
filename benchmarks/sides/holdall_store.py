"""holdall's own stores, through their public interface."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import holdall
from benchmarks.sides.base import Answer, Side, Task
from benchmarks.sides.mlruns import MlrunsSide
from benchmarks.sides.server import ServerSide
from benchmarks.sides.sqlite import SqliteSide
from benchmarks.workload import EXPERIMENT, EXPERIMENT_ID, PAGE, START, TOP, Point, Search
from holdall.stores import Experiment, Metric, Param, Run, RunTag, open_backend_store
from holdall.stores.backend import BackendStore

__all__ = ["HoldallFileSide", "HoldallServerSide", "HoldallSqliteSide"]

_IDS = (str(EXPERIMENT_ID),)


class HoldallSide(Side):
    """Any store of holdall, named by a path."""

    @abstractmethod
    def _open(self, path: Path) -> BackendStore:
        """Open a store, or make it."""

    def open(self) -> None:
        self._log = self._open(self.log_path)
        self.open_read()

    def close(self) -> None:
        self._log.close()
        self.close_read()

    def open_read(self) -> None:
        self._read = self._open(self.read_path)

    def close_read(self) -> None:
        self._read.close()

    def start_run(self) -> str:
        return self._create_run("logged").info.run_id

    def create_run(self, name: str) -> Task[Run]:
        return Task(partial(self._create_run, name))

    def _create_run(self, name: str) -> Run:
        return self._log.create_run(str(self.log_experiment), user_id="bench", start_time=START, run_name=name)

    def log_metric(self, run_id: str, point: Point) -> Task[None]:
        return Task(partial(self._log.log_metric, run_id, _metric(point)))

    def log_param(self, run_id: str, key: str, value: str) -> Task[None]:
        return Task(partial(self._log.log_param, run_id, Param(key, value)))

    def set_tag(self, run_id: str, key: str, value: str) -> Task[None]:
        return Task(partial(self._log.set_tag, run_id, RunTag(key, value)))

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> Task[None]:
        return Task(partial(self._log.log_batch, run_id, metrics=[_metric(point) for point in points]))

    def log_labels(self, run_id: str, params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]) -> Task[None]:
        pairs = [Param(*param) for param in params]
        labels = [RunTag(*tag) for tag in tags]
        return Task(partial(self._log.log_batch, run_id, params=pairs, tags=labels))

    def get_run(self, run_id: str) -> Task[Run]:
        return Task(partial(self._read.get_run, run_id), _run_answer)

    def history(self, run_id: str, key: str) -> Task[list[Metric]]:
        return Task(partial(self._read.get_metric_history, run_id, key), _history_answer)

    def top_runs(self) -> Task[list[Run]]:
        return self.search(TOP)

    def search(self, search: Search) -> Task[list[Run]]:
        return Task(partial(self._search, search), lambda runs: [run.info.run_id for run in runs])

    def _search(self, search: Search) -> list[Run]:
        return self._read.search_runs(_IDS, search.filter, max_results=search.limit, order_by=[search.order_by])

    def scan(self, page: int = PAGE) -> Task[list[Run]]:
        return Task(partial(self._scan, page), _scan_answer)

    def _scan(self, limit: int) -> list[Run]:
        ids = (str(self.scan_experiment),)
        page = self._read.search_runs(ids, max_results=limit)
        runs: list[Run] = list(page)
        while page.token is not None:
            page = self._read.search_runs(ids, max_results=limit, page_token=page.token)
            runs.extend(page)
        return runs

    def open_existing(self, path: Path) -> Task[tuple[BackendStore, Experiment | None]]:
        return Task(partial(self._open_and_look, path, EXPERIMENT), _opened_answer, _close_opened)

    def open_new(self, path: Path) -> Task[tuple[BackendStore, Experiment | None]]:
        return Task(partial(self._open_and_look, path, "Default"), _opened_answer, _close_opened)

    def _open_and_look(self, path: Path, name: str) -> tuple[BackendStore, Experiment | None]:
        store = self._open(path)
        return store, store.get_experiment_by_name(name)


class HoldallSqliteSide(HoldallSide, SqliteSide):
    """holdall's SQLite store."""

    @property
    def version(self) -> str:
        return f"holdall {holdall.__version__}, synchronous={self.synchronous}"

    def create(self, path: Path) -> None:
        self._open(path).close()

    def _open(self, path: Path) -> BackendStore:
        return open_backend_store(f"sqlite:///{path}?synchronous={self.synchronous}", artifact_root=self.artifacts)


class HoldallFileSide(HoldallSide, MlrunsSide):
    """holdall's file store, with the index that it keeps by itself."""

    @property
    def version(self) -> str:
        return f"holdall {holdall.__version__}, file store"

    def _open(self, path: Path) -> BackendStore:
        return open_backend_store(str(path))

    def forget(self) -> None:
        for file in self.read_path.glob(".holdall-index*"):
            file.unlink()
        shutil.rmtree(self.caches, ignore_errors=True)

    def tag_stored_run(self, run_id: str, key: str, value: str) -> None:
        self._read.set_tag(run_id, RunTag(key, value))

    def top_runs_tagged(self, key: str) -> Task[list[Run]]:
        return Task(partial(self._search, TOP), lambda runs: [[r.info.run_id, r.data.tags.get(key)] for r in runs])


class HoldallServerSide(HoldallSide, ServerSide):
    """holdall's stores on servers."""

    drivers: ClassVar[Mapping[str, str]] = {"postgresql": "psycopg", "mariadb": "pymysql"}

    @property
    def version(self) -> str:
        return f"holdall {holdall.__version__}"

    def create(self, path: Path) -> None:
        self._open(path).close()

    def _open(self, path: Path) -> BackendStore:
        return open_backend_store(self.database, artifact_root=self.artifacts)


def _metric(point: Point) -> Metric:
    return Metric(point.key, point.value, point.timestamp, point.step)


def _run_answer(run: Run) -> Answer:
    return [sorted(map(list, values.items())) for values in (run.data.metrics, run.data.params, run.data.tags)]


def _scan_answer(runs: list[Run]) -> Answer:
    columns = [(run.data.metrics, run.data.params, run.data.tags) for run in runs]
    return [len(runs), *(sum(map(len, column)) for column in zip(*columns, strict=True))]


def _history_answer(metrics: list[Metric]) -> Answer:
    return [len(metrics), *([m.key, m.value, m.timestamp, m.step] for m in (metrics[0], metrics[-1]))]


def _opened_answer(opened: tuple[BackendStore, Experiment | None]) -> Answer:
    return opened[1].experiment_id if opened[1] else None


def _close_opened(opened: tuple[BackendStore, Experiment | None]) -> None:
    opened[0].close()
