"""Searches that look at everything: what the index is measured against, and what is done where there can be none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from holdall.backends.file.experiments import Experiments
from holdall.backends.file.runs import Runs
from holdall.backends.file.tree import Tree
from holdall.stores.entities import Run
from holdall.stores.queries import ExperimentQuery, RunQuery
from holdall.stores.search import is_after, matches_run, run_sort_key, sorting_key
from holdall.stores.search.ast import Ordering, SortKey

__all__ = ["scan_runs", "select"]

T = TypeVar("T")


def select(found: Sequence[T], query: RunQuery | ExperimentQuery, key: Callable[[T, Ordering], SortKey]) -> list[T]:
    """The page of a query out of everything that its filter finds."""
    rows = [(key(item, query.order_by), item) for item in found]
    if query.after is not None:
        rows = [row for row in rows if is_after(row[0], query.after, query.order_by)]
    place = sorting_key(query.order_by)
    rows.sort(key=lambda row: place(row[0]))
    return [item for _, item in rows[: query.limit]]


def scan_runs(tree: Tree, experiments: Experiments, runs: Runs, query: RunQuery) -> list[Run]:
    """Read every run in scope and pick those that a query finds."""
    found: list[Run] = []
    for experiment_id in query.experiment_ids:
        with tree.experiment(experiment_id) as opened:
            record = None if opened is None else experiments.try_brief(*opened, experiment_id)
            if opened is None or record is None:
                continue
            for run_id in tree.run_ids(opened[0]):
                run = runs.read(opened[0], run_id, record).run
                if run is not None and query.view.admits(run.info.lifecycle_stage) and matches_run(run, query.filter):
                    found.append(run)
    return select(found, query, run_sort_key)
