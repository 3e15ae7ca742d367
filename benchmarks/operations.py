"""What is measured, as data: how to prepare a round, how many calls it has, what is promised. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import plans

__all__ = ["FILE_OPERATIONS", "SERVER_OPERATIONS", "SQLITE_OPERATIONS", "Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table.

    Attributes:
        name: For `--only`, JSON and the protocol.
        title: For people.
        plan: Prepares the calls of a round, untimed, from a side of its suite and the number of calls.
        calls: Calls of a round; its time is their mean.
        rounds: Rounds; the median counts.
        times_mlflow: How many times faster than MLflow it must be, where that is promised.
        of_raw: What part of the raw driver's speed it must reach, where that is promised.
        warm_up: Whether a round that does not count goes first.
        by_default: Whether it is measured where `--only` does not name it.
    """

    name: str
    title: str
    plan: Callable[[Any, int], plans.Tasks]
    calls: int
    rounds: int
    times_mlflow: float | None = None
    of_raw: float | None = None
    warm_up: bool = True
    by_default: bool = True


SQLITE_OPERATIONS = (
    Operation("log_metric", "log_metric", plans.log_metric, 100, 15, times_mlflow=25, of_raw=0.4),
    Operation("log_param", "log_param", plans.log_param, 100, 15, of_raw=0.4),
    Operation("set_tag", "set_tag", plans.set_tag, 100, 15, of_raw=0.4),
    Operation("log_metrics", "log_batch, 1,000 metrics", plans.log_metrics, 5, 15, times_mlflow=15, of_raw=0.6),
    Operation("log_labels", "log_batch, 100 params + 100 tags", plans.log_labels, 10, 15, of_raw=0.6),
    Operation("create_run", "create_run", plans.create_run, 50, 15, times_mlflow=20),
    Operation("get_run", "get_run", plans.get_run, 50, 15, times_mlflow=15),
    Operation("history", "history of a metric", plans.history, 1, 7),
    Operation("top_runs", "top 100 runs by metric, filtered", plans.top_runs, 3, 9, times_mlflow=20),
    Operation("scan", "read all runs", plans.scan, 1, 5, times_mlflow=15),
    Operation("open_existing", "open an existing store", plans.open_existing, 3, 9),
    Operation("open_new", "open a new store", plans.open_new, 1, 5),
)
"""Against MLflow's SQLite store and the raw driver, in the order of the table."""

FILE_OPERATIONS = (
    Operation("log_metric", "log_metric", plans.log_metric, 100, 15, times_mlflow=1),
    Operation("log_param", "log_param", plans.log_param, 100, 15),
    Operation("set_tag", "set_tag", plans.set_tag, 100, 15),
    Operation("log_metrics", "log_batch, 1,000 metrics", plans.log_metrics, 5, 9, times_mlflow=5),
    Operation("log_labels", "log_batch, 100 params + 100 tags", plans.log_labels, 10, 9, times_mlflow=5),
    Operation("create_run", "create_run", plans.create_run, 50, 15, times_mlflow=3),
    Operation("get_run", "get_run", plans.get_run, 50, 15),
    Operation("history", "history of a metric", plans.history, 1, 7),
    Operation(
        "first_top_runs",
        "top 100 by metric: first contact",
        plans.first_top_runs,
        1,
        3,
        times_mlflow=2,
        warm_up=False,
    ),
    Operation("top_runs", "top 100 by metric: again", plans.top_runs, 1, 3, times_mlflow=50),
    Operation("reopen_top_runs", "top 100 by metric: store opened again", plans.reopen_top_runs, 1, 3),
    Operation(
        "top_runs_after_write",
        "top 100 by metric: a run changed by others",
        plans.top_runs_after_write,
        1,
        3,
        times_mlflow=20,
    ),
    Operation(
        "top_runs_after_set_tag",
        "top 100 by metric: a run changed by the store",
        plans.top_runs_after_set_tag,
        1,
        3,
        times_mlflow=20,
    ),
    Operation("first_scan", "read all runs: first contact", plans.first_scan, 1, 3, times_mlflow=2, warm_up=False),
    Operation("scan", "read all runs: again", plans.scan_at_once, 1, 3, times_mlflow=50),
    Operation(
        "scan_pages",
        "read all runs: by pages of 1,000",
        plans.scan,
        1,
        1,
        warm_up=False,
        by_default=False,  # MLflow reads every run for every page
    ),
    Operation("open_existing", "open an existing store", plans.open_existing, 3, 9),
    Operation("open_new", "open a new store", plans.open_new, 1, 5),
)
"""Against MLflow's file store, in the order of the table. MLflow reads every run at every search: rounds are few."""

SERVER_OPERATIONS = (
    Operation("log_metric", "log_metric", plans.log_metric, 50, 9, times_mlflow=5),
    Operation("log_param", "log_param", plans.log_param, 50, 9),
    Operation("set_tag", "set_tag", plans.set_tag, 50, 9),
    Operation("log_metrics", "log_batch, 1,000 metrics", plans.log_metrics, 5, 7, times_mlflow=12),
    Operation("log_labels", "log_batch, 100 params + 100 tags", plans.log_labels, 5, 7),
    Operation("create_run", "create_run", plans.create_run, 25, 9, times_mlflow=5),
    Operation("get_run", "get_run", plans.get_run, 25, 9),
    Operation("history", "history of a metric", plans.history, 1, 5, times_mlflow=5),
    Operation("best_runs", "top 100 runs by metric", plans.best_runs, 3, 5, times_mlflow=20),
    Operation("top_runs", "top 100 runs by metric, filtered", plans.top_runs, 3, 5),
    Operation("first_page", "first 100 runs by start time", plans.first_page, 3, 5),
    Operation("by_param", "first 100 runs with a param", plans.by_param, 3, 5),
    Operation("scan", "read a tenth of the runs", plans.scan, 1, 3, times_mlflow=8),
    Operation("reopen_best_runs", "the plan of the top 100", plans.reopen_best_runs, 1, 1, by_default=False),
)
"""Against MLflow's store on the same database server, in the order of the table."""
