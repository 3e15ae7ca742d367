"""MLflow's own SQLite store, as its users have it: its defaults, its own tables, telemetry off.

Runs in MLflow's interpreter, and needs nothing of holdall.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from benchmarks.populate import EXPERIMENT_ID
from benchmarks.sides.base import Answer, Side, Task
from benchmarks.workload import EXPERIMENT, PAGE, START, TOP, Point

__all__ = ["MLflowSide"]

_IDS = [str(EXPERIMENT_ID)]


class MLflowSide(Side):
    """See the module."""

    @property
    def version(self) -> str:
        return f"MLflow {mlflow.__version__} with its defaults"

    def create(self, path: Path) -> None:
        _dispose(self._open(path))

    def open(self) -> None:
        self._log, self._read = self._open(self.log_path), self._open(self.read_path)

    def close(self) -> None:
        _dispose(self._log)
        _dispose(self._read)

    def _open(self, path: Path) -> Any:
        return SqlAlchemyStore(f"sqlite:///{path}", str(self.artifacts))

    def start_run(self) -> str:
        return str(self._create_run("logged").info.run_id)

    def create_run(self, name: str) -> Task[Any]:
        return Task(partial(self._create_run, name))

    def _create_run(self, name: str) -> Any:
        return self._log.create_run(_IDS[0], user_id="bench", start_time=START, tags=[], run_name=name)

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
        return Task(self._top_runs, lambda runs: [run.info.run_id for run in runs])

    def _top_runs(self) -> Any:
        return self._read.search_runs(
            _IDS, TOP.filter, ViewType.ACTIVE_ONLY, max_results=TOP.limit, order_by=[TOP.order_by]
        )

    def scan(self) -> Task[Any]:
        return Task(self._scan, _scan_answer)

    def _scan(self) -> list[Any]:
        page = self._read.search_runs(_IDS, "", ViewType.ACTIVE_ONLY, max_results=PAGE)
        runs = list(page)
        while page.token:
            page = self._read.search_runs(_IDS, "", ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=page.token)
            runs.extend(page)
        return runs

    def open_existing(self, path: Path) -> Task[Any]:
        return Task(partial(self._open_and_look, path, EXPERIMENT), _opened_answer, _close_opened)

    def open_new(self, path: Path) -> Task[Any]:
        return Task(partial(self._open_and_look, path, "Default"), _opened_answer, _close_opened)

    def _open_and_look(self, path: Path, name: str) -> tuple[Any, Any]:
        store = self._open(path)
        return store, store.get_experiment_by_name(name)


def _dispose(store: Any) -> None:
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


def _close_opened(opened: tuple[Any, Any]) -> None:
    _dispose(opened[0])
