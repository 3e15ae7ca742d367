"""How metric points are ordered, in histories and when the latest is chosen.

NaN has no order of its own. Tables keep it as the number 0 with a mark, so it ranks just above 0 everywhere: the order
stays total and does not depend on which point was logged first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from holdall.stores.entities import LoggedModelMetric, Metric

if TYPE_CHECKING:  # the evaluation of searches imports this module
    from holdall.stores.search.ast import SortKey

__all__ = [
    "evenly_spaced",
    "history_key",
    "latest_by_key",
    "latest_key",
    "latest_model_metrics",
    "model_point_key",
    "value_rank",
]


def value_rank(value: float) -> tuple[float, int]:
    """A metric value's place among the others: (number, 1 for NaN)."""
    return (0.0, 1) if math.isnan(value) else (value, 0)


def evenly_spaced(points: Sequence[Metric], count: int) -> list[Metric]:
    """At most `count` points of a history, the first and the last among them: of n, those at ⌊i(n−1)/(count−1)⌋."""
    if len(points) <= count:
        return list(points)
    if count == 1:
        return [points[-1]]
    return [points[place * (len(points) - 1) // (count - 1)] for place in range(count)]


def history_key(metric: Metric | LoggedModelMetric) -> SortKey:
    """Place of a point in its history: by timestamp, step, value. Equal keys are the same point."""
    number, is_nan = value_rank(metric.value)
    return (0, metric.timestamp), (0, metric.step), (0, number), (0, is_nan)


def model_point_key(metric: LoggedModelMetric) -> tuple[SortKey, str, str, str]:
    """What makes points of one metric of a logged model the same point."""
    return history_key(metric), metric.run_id, metric.dataset_name or "", metric.dataset_digest or ""


def latest_key(metric: Metric | LoggedModelMetric) -> tuple[int, int, float, int]:
    """Rank of a point when the latest is chosen: by step, timestamp, value."""
    return metric.step, metric.timestamp, *value_rank(metric.value)


def latest_by_key(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """The latest point of every key; of equal ones the first."""
    latest: dict[str, Metric] = {}
    for metric in metrics:
        known = latest.get(metric.key)
        if known is None or latest_key(metric) > latest_key(known):
            latest[metric.key] = metric
    return latest


def latest_model_metrics(metrics: Iterable[LoggedModelMetric]) -> tuple[LoggedModelMetric, ...]:
    """The latest point of every key on every dataset, as `LoggedModel.metrics` holds them.

    They come by key, dataset name, digest; values without a dataset come first. Of points that rank equal, that of the
    greatest run id counts.
    """
    latest: dict[tuple[str, str, str], LoggedModelMetric] = {}
    for metric in metrics:
        place = metric.key, metric.dataset_name or "", metric.dataset_digest or ""
        known = latest.get(place)
        if known is None or (latest_key(metric), metric.run_id) > (latest_key(known), known.run_id):
            latest[place] = metric
    return tuple(latest[place] for place in sorted(latest))
