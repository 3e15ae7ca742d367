"""The meaning of filters and orderings, for stores that evaluate them in Python.

The other stores compile them and must give the same answers:

- A missing key matches nothing, `!=` and NOT IN included; only IS NULL finds it. The empty text is not missing.
- NaN matches `!=` only; the infinities compare as such. Integers and fractions compare exactly.
- Text compares code point by code point, nothing folded, nothing trimmed.
- A clause on datasets holds if any input satisfies it; each clause looks for its own input. The context of an input is
  its tag `mlflow.data.context`.
- A clause on a metric of a logged model holds if its latest value on any dataset satisfies it; each clause looks for
  a value of its own.
- Orderings put numbers before NaN before missing ones, whatever the direction.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdall.stores.entities import DatasetInput, Experiment, LoggedModel, LoggedModelMetric, LoggedModelStatus, Run
from holdall.stores.points import latest_key
from holdall.stores.search.ast import (
    Comparator,
    Comparison,
    DatasetSelector,
    EntityType,
    Filter,
    Identifier,
    Ordering,
    SortKey,
    SortValue,
)
from holdall.stores.search.like import ilike, like

__all__ = [
    "compare_keys",
    "experiment_sort_key",
    "is_after",
    "logged_model_sort_key",
    "matches_experiment",
    "matches_logged_model",
    "matches_run",
    "run_sort_key",
    "sorting_key",
]

_Value = str | int | float | None

_CONTEXT_TAG = "mlflow.data.context"
_NAN: SortValue = (1, None)
_MISSING: SortValue = (2, None)
# The ids that an integer column keeps apart: no leading zeros, at most 19 digits.
_NUMERIC_ID = re.compile(r"0|[1-9][0-9]{0,18}")

# Both sides are of one type: the parser accepts no value that does not fit its column.
_TESTS: dict[Comparator, Callable[[Any, Any], bool]] = {
    Comparator.EQ: operator.eq,
    Comparator.NE: operator.ne,
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
    Comparator.LIKE: lambda value, pattern: like(pattern, value),
    Comparator.ILIKE: lambda value, pattern: ilike(pattern, value),
    Comparator.IN: lambda value, values: value in values,
    Comparator.NOT_IN: lambda value, values: value not in values,
    Comparator.IS_NULL: lambda value, nothing: False,
    Comparator.IS_NOT_NULL: lambda value, nothing: True,
}


def matches_run(run: Run, clauses: Filter) -> bool:
    """Whether a run satisfies every clause of a filter for runs."""
    return all(_run_satisfies(run, clause) for clause in clauses)


def matches_experiment(experiment: Experiment, clauses: Filter) -> bool:
    """Whether an experiment satisfies every clause of a filter for experiments."""
    return all(_holds(_experiment_value(experiment, clause.identifier), clause) for clause in clauses)


def matches_logged_model(model: LoggedModel, clauses: Filter, datasets: Sequence[DatasetSelector] = ()) -> bool:
    """Whether a logged model satisfies every clause of a filter for logged models.

    Args:
        model: The model, with its latest metrics.
        clauses: The filter.
        datasets: On which clauses on metrics see values, and the model must have one; empty for all.
    """
    metrics = [metric for metric in model.metrics if not datasets or _is_on(metric, datasets)]
    if datasets and not metrics:
        return False
    return all(_model_satisfies(model, metrics, clause) for clause in clauses)


def run_sort_key(run: Run, ordering: Ordering) -> SortKey:
    """The place of a run in an ordering of runs."""
    return tuple([_sort_value(_run_value(run, order.identifier)) for order in ordering])


def experiment_sort_key(experiment: Experiment, ordering: Ordering) -> SortKey:
    """The place of an experiment in an ordering of experiments.

    Ids that are plain decimal numbers sort as numbers, before all other ids in either direction.
    """
    return tuple(
        _id_sort_value(experiment.experiment_id)
        if order.identifier.key == "experiment_id"
        else _sort_value(_experiment_value(experiment, order.identifier))
        for order in ordering
    )


def logged_model_sort_key(model: LoggedModel, ordering: Ordering) -> SortKey:
    """The place of a logged model in an ordering of logged models.

    Of a metric the latest value counts, of those on the datasets that the ordering names. A status sorts as its name.
    """
    return tuple([_sort_value(_model_value(model, order.identifier)) for order in ordering])


def sorting_key(ordering: Ordering) -> Callable[[SortKey], tuple[tuple[Any, ...], ...]]:
    """What to sort the keys of an ordering by: `sorted(keys, key=sorting_key(ordering))` puts them in order."""
    directions = tuple(order.ascending for order in ordering)

    def key(place: SortKey) -> tuple[tuple[Any, ...], ...]:
        pairs = zip(place, directions, strict=True)
        return tuple([value if ascending else _reversed(value) for value, ascending in pairs])

    return key


def compare_keys(a: SortKey, b: SortKey, ordering: Ordering) -> int:
    """-1, 0 or 1 as `a` comes before, with or after `b`."""
    key = sorting_key(ordering)
    left, right = key(a), key(b)
    return (left > right) - (left < right)


def is_after(key: SortKey, cursor: SortKey, ordering: Ordering) -> bool:
    """Whether `key` belongs on a page that starts behind `cursor`, the last key of the page before."""
    return compare_keys(key, cursor, ordering) > 0


class _Reversed:
    """A text that sorts against its nature."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __lt__(self, other: _Reversed) -> bool:
        return self._text > other._text


def _reversed(place: SortValue) -> tuple[Any, ...]:
    group, value = place
    if value is None:
        return place
    return group, _Reversed(value) if isinstance(value, str) else -value


def _sort_value(value: _Value) -> SortValue:
    if value is None:
        return _MISSING
    return _NAN if isinstance(value, float) and math.isnan(value) else (0, value)


def _id_sort_value(experiment_id: str) -> SortValue:
    return (0, int(experiment_id)) if _NUMERIC_ID.fullmatch(experiment_id) else (1, experiment_id)


def _holds(value: _Value, clause: Comparison) -> bool:
    if value is None:
        return clause.comparator is Comparator.IS_NULL
    return _TESTS[clause.comparator](value, clause.value)


def _run_satisfies(run: Run, clause: Comparison) -> bool:
    identifier = clause.identifier
    if identifier.entity is EntityType.DATASET:
        return any(_holds(_dataset_value(used, identifier.key), clause) for used in run.inputs.dataset_inputs)
    return _holds(_run_value(run, identifier), clause)


def _run_value(run: Run, identifier: Identifier) -> _Value:
    key = identifier.key
    match identifier.entity:
        case EntityType.METRIC:
            return run.data.metrics.get(key)
        case EntityType.PARAM:
            return run.data.params.get(key)
        case EntityType.TAG:
            return run.data.tags.get(key)
        case EntityType.ATTRIBUTE:
            value: _Value = getattr(run.info, key)
            return value
        case EntityType.DATASET:
            raise ValueError("a run may have several datasets: they have no place in an ordering")


def _experiment_value(experiment: Experiment, identifier: Identifier) -> _Value:
    if identifier.entity is EntityType.TAG:
        return experiment.tags.get(identifier.key)
    value: _Value = getattr(experiment, identifier.key)
    return value


def _dataset_value(used: DatasetInput, key: str) -> str | None:
    if key == "context":
        return next((tag.value for tag in used.tags if tag.key == _CONTEXT_TAG), None)
    return used.dataset.name if key == "name" else used.dataset.digest


def _is_on(metric: LoggedModelMetric, datasets: Iterable[DatasetSelector]) -> bool:
    return any(dataset.admits(metric.dataset_name, metric.dataset_digest) for dataset in datasets)


def _model_satisfies(model: LoggedModel, metrics: Iterable[LoggedModelMetric], clause: Comparison) -> bool:
    identifier = clause.identifier
    if identifier.entity is EntityType.METRIC:
        return any(_holds(metric.value, clause) for metric in metrics if metric.key == identifier.key)
    return _holds(_model_value(model, identifier), clause)


def _model_value(model: LoggedModel, identifier: Identifier) -> _Value:
    key = identifier.key
    match identifier.entity:
        case EntityType.METRIC:
            return _latest_value(model, identifier)
        case EntityType.PARAM:
            return model.params.get(key)
        case EntityType.TAG:
            return model.tags.get(key)
        case EntityType.ATTRIBUTE:
            value: _Value = getattr(model, key)
            return value.name if isinstance(value, LoggedModelStatus) else value
        case EntityType.DATASET:
            raise ValueError("a filter of logged models has no clauses on datasets")


def _latest_value(model: LoggedModel, identifier: Identifier) -> float | None:
    chosen = () if identifier.dataset is None else (identifier.dataset,)
    candidates = [
        metric for metric in model.metrics if metric.key == identifier.key and (not chosen or _is_on(metric, chosen))
    ]
    return max(candidates, key=latest_key).value if candidates else None
