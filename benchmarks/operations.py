"""What is measured, as data: how to prepare a round, how many calls it has, what is promised. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.sides.base import Side, Task
from benchmarks.workload import BATCH_LABELS, BATCH_METRICS, HISTORY_KEY, HISTORY_RUN, points, stored_runs

__all__ = ["OPERATIONS", "Operation"]

Tasks = list[Task[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table.

    Attributes:
        name: For `--only`, JSON and the protocol.
        title: For people.
        plan: Prepares the calls of a round, untimed, from a side and the number of calls.
        calls: Calls of a round; its time is their mean.
        rounds: Rounds; the median counts.
        times_mlflow: How many times faster than MLflow it must be, where that is promised.
        of_raw: What part of the raw driver's speed it must reach, where that is promised.
    """

    name: str
    title: str
    plan: Callable[[Side, int], Tasks]
    calls: int
    rounds: int
    times_mlflow: float | None = None
    of_raw: float | None = None


def _log_metric(side: Side, calls: int) -> Tasks:
    run_id = side.start_run()
    return [side.log_metric(run_id, point) for point in points(calls)]


def _log_param(side: Side, calls: int) -> Tasks:
    run_id = side.start_run()
    return [side.log_param(run_id, f"param_{number}", f"value {number}") for number in range(calls)]


def _set_tag(side: Side, calls: int) -> Tasks:
    run_id = side.start_run()
    return [side.set_tag(run_id, f"tag_{number}", f"value {number}") for number in range(calls)]


def _log_metrics(side: Side, calls: int) -> Tasks:
    run_id = side.start_run()
    steps = BATCH_METRICS // 10
    return [side.log_metrics(run_id, points(BATCH_METRICS, keys=10, first_step=call * steps)) for call in range(calls)]


def _log_labels(side: Side, calls: int) -> Tasks:
    labels = [(f"label_{number}", f"value {number}") for number in range(BATCH_LABELS)]
    return [side.log_labels(side.start_run(), labels, labels) for _ in range(calls)]


def _create_run(side: Side, calls: int) -> Tasks:
    return [side.create_run(f"run-{number}") for number in range(calls)]


def _get_run(side: Side, calls: int) -> Tasks:
    chosen = Random(calls).choices(stored_runs(side.scale.runs), k=calls)
    return [side.get_run(run.run_id) for run in chosen]


def _history(side: Side, calls: int) -> Tasks:
    return [side.history(HISTORY_RUN, HISTORY_KEY) for _ in range(calls)]


def _top_runs(side: Side, calls: int) -> Tasks:
    return [side.top_runs() for _ in range(calls)]


def _scan(side: Side, calls: int) -> Tasks:
    return [side.scan() for _ in range(calls)]


def _open_existing(side: Side, calls: int) -> Tasks:
    return [side.open_existing(side.fresh_copy()) for _ in range(calls)]


def _open_new(side: Side, calls: int) -> Tasks:
    return [side.open_new(side.fresh_path()) for _ in range(calls)]


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("log_metric", "log_metric", _log_metric, 100, 15, times_mlflow=25, of_raw=0.4),
        Operation("log_param", "log_param", _log_param, 100, 15, of_raw=0.4),
        Operation("set_tag", "set_tag", _set_tag, 100, 15, of_raw=0.4),
        Operation("log_metrics", "log_batch, 1,000 metrics", _log_metrics, 5, 15, times_mlflow=15, of_raw=0.6),
        Operation("log_labels", "log_batch, 100 params + 100 tags", _log_labels, 10, 15, of_raw=0.6),
        Operation("create_run", "create_run", _create_run, 50, 15, times_mlflow=20),
        Operation("get_run", "get_run", _get_run, 50, 15, times_mlflow=15),
        Operation("history", "history of a metric", _history, 1, 7),
        Operation("top_runs", "top 100 runs by metric, filtered", _top_runs, 3, 9, times_mlflow=20),
        Operation("scan", "read all runs", _scan, 1, 5, times_mlflow=15),
        Operation("open_existing", "open an existing store", _open_existing, 3, 9),
        Operation("open_new", "open a new store", _open_new, 1, 5),
    )
}
"""Every operation by name, in the order of the table."""
