"""Searches as backends receive them: validated, parsed, with the page to return."""

from __future__ import annotations

from dataclasses import dataclass

from holdall.stores.entities import ViewType
from holdall.stores.search.ast import Filter, Ordering, SortKey

__all__ = ["ExperimentQuery", "HistoryQuery", "RunQuery"]


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
