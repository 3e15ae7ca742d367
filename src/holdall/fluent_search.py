"""Fluent search for runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

from holdall.client import Client
from holdall.frames import runs_to_frame
from holdall.pages import collect
from holdall.session import SESSION
from holdall.stores.entities import Run, ViewType
from holdall.stores.errors import InvalidParameterValue

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["search_runs"]

logger = logging.getLogger("holdall")


@overload
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: ViewType = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> pd.DataFrame: ...
@overload
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: ViewType = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> list[Run]: ...
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: ViewType = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: str = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> pd.DataFrame | list[Run]:
    """All runs that a filter finds.

    Args:
        experiment_ids: Where to look; by default, if no names are given either, in the current experiment.
        filter_string: In the filter language, such as `metrics.loss < 0.5 AND params.kernel = 'rbf'`.
        run_view_type: Lifecycle stages to look at.
        max_results: Most runs wanted.
        order_by: Clauses such as `metrics.loss ASC`; by default the latest start first.
        output_format: `pandas` for a data frame, `list` for `Run` objects.
        search_all_experiments: Look in all active experiments, if neither ids nor names are given.
        experiment_names: Where to look, instead of ids; names that do not exist are warned about.

    Returns:
        A data frame with one row for each run (see `holdall.frames.runs_to_frame`), or a list.

    Raises:
        InvalidParameterValue: An argument is malformed, or both ids and names are given.
        MissingExtra: A data frame is asked for, and pandas is not installed.
    """
    if output_format not in ("pandas", "list"):
        raise InvalidParameterValue(f"Unknown output_format {output_format!r}; use 'pandas' or 'list'.")
    client = SESSION.client()
    scope = _scope(client, experiment_ids, experiment_names, search_all_experiments)
    runs = collect(
        lambda size, token: client.search_runs(scope, filter_string, run_view_type, size, order_by, token), max_results
    )
    return runs if output_format == "list" else runs_to_frame(runs)


def _scope(client: Client, ids: Sequence[str] | None, names: Sequence[str] | None, search_all: bool) -> Sequence[str]:
    """Ids of the experiments to look in."""
    if ids and names:
        raise InvalidParameterValue("search_runs takes experiment_ids or experiment_names, not both.")
    if ids:
        return ids
    if names:
        return _ids_by_name(client, names)
    if search_all:
        found = collect(lambda size, token: client.search_experiments(max_results=size, page_token=token), None)
        return [experiment.experiment_id for experiment in found]
    return [SESSION.experiment_id(client)]


def _ids_by_name(client: Client, names: Sequence[str]) -> list[str]:
    ids = []
    for name in [names] if isinstance(names, str) else names:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            logger.warning("There is no experiment %r to search; it was skipped", name)
        else:
            ids.append(experiment.experiment_id)
    return ids
