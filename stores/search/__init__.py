"""The search language: filters and orderings as text, as data, and evaluated.

`parse_*` turn text into the values of `holdall.stores.search.ast`; SQL backends compile these, the others evaluate them
with `matches_*` and `*_sort_key`. What can be searched is a table per kind, in `holdall.stores.search.kinds`.
"""

from holdall.stores.search.ast import (
    Comparator,
    Comparison,
    EntityType,
    Filter,
    Identifier,
    OrderBy,
    Ordering,
    SortKey,
    SortValue,
)
from holdall.stores.search.evaluate import (
    compare_keys,
    experiment_sort_key,
    is_after,
    matches_experiment,
    matches_run,
    run_sort_key,
    sorting_key,
)
from holdall.stores.search.kinds import EXPERIMENTS, RUNS, Column, Entity, SearchKind, ValueType
from holdall.stores.search.parser import (
    parse_experiment_filter,
    parse_experiment_order_by,
    parse_filter,
    parse_order_by,
    parse_run_filter,
    parse_run_order_by,
)

__all__ = [
    "EXPERIMENTS",
    "RUNS",
    "Column",
    "Comparator",
    "Comparison",
    "Entity",
    "EntityType",
    "Filter",
    "Identifier",
    "OrderBy",
    "Ordering",
    "SearchKind",
    "SortKey",
    "SortValue",
    "ValueType",
    "compare_keys",
    "experiment_sort_key",
    "is_after",
    "matches_experiment",
    "matches_run",
    "parse_experiment_filter",
    "parse_experiment_order_by",
    "parse_filter",
    "parse_order_by",
    "parse_run_filter",
    "parse_run_order_by",
    "run_sort_key",
    "sorting_key",
]
