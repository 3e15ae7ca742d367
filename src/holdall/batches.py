"""More than one request may hold, split up without giving up more atomicity than it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdall.stores import validation
from holdall.stores.backend import BackendStore
from holdall.stores.entities import Metric, Param, RunTag
from holdall.stores.rules import check_params

__all__ = ["log_all"]


def log_all(
    store: BackendStore,
    run_id: str,
    metrics: Iterable[Metric] = (),
    params: Iterable[Param] = (),
    tags: Iterable[RunTag] = (),
) -> None:
    """Log any number of metrics, params and tags.

    What fits into one request (1000 entities, 100 of them params and 100 tags) is written as a whole or not at all.
    More is checked as a whole first: if an entity breaks a rule or a param would change, nothing is written. Only a
    failure of the store itself, or somebody who logs other params meanwhile, can leave the first requests alone.

    Raises:
        InvalidParameterValue: A param would change, the run is deleted, or an entity breaks the rules.
        NotFound: There is no such run.
    """
    metrics, params, tags = list(metrics), list(params), list(tags)
    groups = list(_groups(metrics, params, tags))
    if len(groups) > 1:
        validation.validate_metrics(metrics)
        validation.validate_params(params)
        validation.validate_run_tags(tags)
        check_params(run_id, store.get_run(run_id).data.params, params)
    for group in groups:
        store.log_batch(run_id, *group)


def _groups(
    metrics: list[Metric], params: list[Param], tags: list[RunTag]
) -> Iterator[tuple[list[Metric], list[Param], list[RunTag]]]:
    """Requests within the limits, params and tags first."""
    at_metric, at_other = 0, 0
    while at_metric < len(metrics) or at_other < max(len(params), len(tags)):
        end = at_other + min(validation.MAX_BATCH_PARAMS, validation.MAX_BATCH_TAGS)
        some_params, some_tags = params[at_other:end], tags[at_other:end]
        room = min(validation.MAX_BATCH_METRICS, validation.MAX_BATCH_ENTITIES - len(some_params) - len(some_tags))
        yield metrics[at_metric : at_metric + room], some_params, some_tags
        at_metric, at_other = at_metric + room, end
