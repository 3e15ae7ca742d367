"""How the calls of a round are prepared, untimed: from a side and the number of calls. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from random import Random
from typing import Any

from benchmarks.populate.mlruns import write_tag
from benchmarks.sides.base import Side, Task
from benchmarks.sides.mlruns import MlrunsSide
from benchmarks.sides.server import ServerSide
from benchmarks.workload import (
    BATCH_LABELS,
    BATCH_METRICS,
    BEST,
    BY_PARAM,
    FIRST_PAGE,
    HISTORY_KEY,
    HISTORY_RUN,
    ONE_PAGE,
    Search,
    leading_run,
    points,
)

__all__ = [
    "Tasks",
    "best_runs",
    "by_param",
    "create_run",
    "first_page",
    "first_scan",
    "first_top_runs",
    "get_run",
    "history",
    "log_labels",
    "log_metric",
    "log_metrics",
    "log_param",
    "open_existing",
    "open_new",
    "reopen_best_runs",
    "reopen_top_runs",
    "scan",
    "scan_at_once",
    "set_tag",
    "top_runs",
    "top_runs_after_set_tag",
    "top_runs_after_write",
]

Tasks = list[Task[Any]]

CHANGED = "changed"
"""Tag that says what was written to a run last."""


def log_metric(side: Side, calls: int) -> Tasks:
    """Points of one metric, one by one."""
    run_id = side.start_run()
    return [side.log_metric(run_id, point) for point in points(calls)]


def log_param(side: Side, calls: int) -> Tasks:
    """Params of one run, one by one."""
    run_id = side.start_run()
    return [side.log_param(run_id, f"param_{number}", f"value {number}") for number in range(calls)]


def set_tag(side: Side, calls: int) -> Tasks:
    """Tags of one run, one by one."""
    run_id = side.start_run()
    return [side.set_tag(run_id, f"tag_{number}", f"value {number}") for number in range(calls)]


def log_metrics(side: Side, calls: int) -> Tasks:
    """Batches of points of ten metrics."""
    run_id = side.start_run()
    steps = BATCH_METRICS // 10
    return [side.log_metrics(run_id, points(BATCH_METRICS, keys=10, first_step=call * steps)) for call in range(calls)]


def log_labels(side: Side, calls: int) -> Tasks:
    """A batch of params and tags for a run each."""
    labels = [(f"label_{number}", f"value {number}") for number in range(BATCH_LABELS)]
    return [side.log_labels(side.start_run(), labels, labels) for _ in range(calls)]


def create_run(side: Side, calls: int) -> Tasks:
    """Named runs."""
    return [side.create_run(f"run-{number}") for number in range(calls)]


def get_run(side: Side, calls: int) -> Tasks:
    """Runs picked at random."""
    return [side.get_run(run_id) for run_id in Random(calls).choices(side.stored_ids(), k=calls)]


def history(side: Side, calls: int) -> Tasks:
    """The long history."""
    return [side.history(HISTORY_RUN, HISTORY_KEY) for _ in range(calls)]


def top_runs(side: Side, calls: int) -> Tasks:
    """The search for `TOP`."""
    return [side.top_runs() for _ in range(calls)]


def best_runs(side: ServerSide, calls: int) -> Tasks:
    """The search for `BEST`."""
    return _searches(side, calls, BEST)


def first_page(side: ServerSide, calls: int) -> Tasks:
    """The search for `FIRST_PAGE`."""
    return _searches(side, calls, FIRST_PAGE)


def by_param(side: ServerSide, calls: int) -> Tasks:
    """The search for `BY_PARAM`."""
    return _searches(side, calls, BY_PARAM)


def reopen_best_runs(side: ServerSide, calls: int) -> Tasks:
    """The search for `BEST`, by a store that has new connections."""
    side.close_read()
    side.open_read()
    return _searches(side, calls, BEST)


def _searches(side: ServerSide, calls: int, search: Search) -> Tasks:
    return [side.search(search) for _ in range(calls)]


def scan(side: Side, calls: int) -> Tasks:
    """All runs, page by page."""
    return [side.scan() for _ in range(calls)]


def open_existing(side: Side, calls: int) -> Tasks:
    """Stores that this process has not opened."""
    return [side.open_existing(side.fresh_copy()) for _ in range(calls)]


def open_new(side: Side, calls: int) -> Tasks:
    """Stores that are not there yet."""
    return [side.open_new(side.fresh_path()) for _ in range(calls)]


def scan_at_once(side: Side, calls: int) -> Tasks:
    """All runs, in one page."""
    return [side.scan(ONE_PAGE) for _ in range(calls)]


def _single(plan: Callable[[MlrunsSide], Task[Any]]) -> Callable[[MlrunsSide, int], Tasks]:
    """A plan for rounds of one call, which needs the side in a state of its own."""

    @wraps(plan)
    def plan_round(side: MlrunsSide, calls: int) -> Tasks:
        if calls != 1:
            raise ValueError(f"{plan.__name__}: a round has one call, not {calls}")
        return [plan(side)]

    return plan_round


@_single
def reopen_top_runs(side: MlrunsSide) -> Task[Any]:
    """The search for `TOP`, opening included, by a store that others have used before."""
    side.close_read()
    return _opening(side, side.top_runs())


@_single
def first_top_runs(side: MlrunsSide) -> Task[Any]:
    """The search for `TOP`, opening included, of runs that no store has met."""
    side.close_read()
    side.forget()
    return _opening(side, side.top_runs())


@_single
def first_scan(side: MlrunsSide) -> Task[Any]:
    """All runs in one page, opening included, of runs that no store has met."""
    side.close_read()
    side.forget()
    return _opening(side, side.scan(ONE_PAGE))


@_single
def top_runs_after_write(side: MlrunsSide) -> Task[Any]:
    """The search for `TOP` after someone else wrote to a run that it finds; the answer has what was written."""
    write_tag(side.read_path, leading_run(side.scale.runs).run_id, CHANGED, f"write {next(side.numbers)}")
    return side.top_runs_tagged(CHANGED)


@_single
def top_runs_after_set_tag(side: MlrunsSide) -> Task[Any]:
    """The search for `TOP` after the store itself wrote to a run that it finds; the answer has what was written."""
    side.tag_stored_run(leading_run(side.scale.runs).run_id, CHANGED, f"set {next(side.numbers)}")
    return side.top_runs_tagged(CHANGED)


def _opening(side: MlrunsSide, task: Task[Any]) -> Task[Any]:
    """A call that opens the store that is read before it does the call of a task."""

    def call() -> Any:
        side.open_read()
        return task.call()

    return Task(call, task.answer, task.finish)
