"""Searches as backends receive them: validated, parsed, with the page to return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdall.stores.entities import LoggedModel, ViewType
from holdall.stores.search import is_after, logged_model_sort_key, matches_logged_model, sorting_key
from holdall.stores.search.ast import DatasetSelector, Filter, Ordering, SortKey

__all__ = ["ExperimentQuery", "HistoryQuery", "LoggedModelQuery", "RunQuery", "select_logged_models"]


@dataclass(frozen=True, slots=True)
class RunQuery:
    """A search for runs.

    Attributes:
        experiment_ids: Where to look, without repetitions; unknown ones hold nothing.
        filter: Clauses that must all hold.
        order_by: Complete ordering, ending in the run id.
        view: Lifecycle stages to look at.
        limit: Greatest number of runs to return.
        after: Return only runs that come after this place in the ordering; None for the first page.
    """

    experiment_ids: tuple[str, ...]
    filter: Filter
    order_by: Ordering
    view: ViewType
    limit: int
    after: SortKey | None = None


@dataclass(frozen=True, slots=True)
class ExperimentQuery:
    """A search for experiments; attributes as in `RunQuery`."""

    filter: Filter
    order_by: Ordering
    view: ViewType
    limit: int
    after: SortKey | None = None


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The points of one metric of one run.

    Attributes:
        run_id: The run.
        key: The metric.
        limit: Greatest number of points to return; None for all.
        after: Return only points after this `history_key`; None for the first page.
    """

    run_id: str
    key: str
    limit: int | None = None
    after: SortKey | None = None


@dataclass(frozen=True, slots=True)
class LoggedModelQuery:
    """A search for logged models that are not deleted.

    Attributes:
        experiment_ids: Where to look, without repetitions; unknown ones hold nothing.
        filter: Clauses that must all hold.
        datasets: On which clauses on metrics see values, and a model must have one; empty for all.
        order_by: Complete ordering, ending in the model id.
        limit: Greatest number of models to return.
        after: Return only models that come after this place in the ordering; None for the first page.
    """

    experiment_ids: tuple[str, ...]
    filter: Filter
    datasets: tuple[DatasetSelector, ...]
    order_by: Ordering
    limit: int
    after: SortKey | None = None


def select_logged_models(models: Iterable[LoggedModel], query: LoggedModelQuery) -> list[LoggedModel]:
    """The answer to a query, for stores that look at every model.

    Args:
        models: All models of the experiments named, without deleted ones.
        query: The query.
    """
    rows = [
        (logged_model_sort_key(model, query.order_by), model)
        for model in models
        if matches_logged_model(model, query.filter, query.datasets)
    ]
    place = sorting_key(query.order_by)
    later = [row for row in rows if query.after is None or is_after(row[0], query.after, query.order_by)]
    later.sort(key=lambda row: place(row[0]))
    return [model for _, model in later[: query.limit]]
