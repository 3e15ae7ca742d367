"""The search language: filters and orderings as text, as data, and evaluated.

`parse_*` turn text into the values of `holdall.stores.search.ast`; SQL backends compile these, the others evaluate them
with `matches_*` and `*_sort_key`. What can be searched is a table per kind, in `holdall.stores.search.kinds`.
"""

from holdall.stores.search.ast import (
    Comparator,
    Comparison,
    DatasetSelector,
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
    logged_model_sort_key,
    matches_experiment,
    matches_logged_model,
    matches_run,
    run_sort_key,
    sorting_key,
)
from holdall.stores.search.kinds import EXPERIMENTS, LOGGED_MODELS, RUNS, Column, Entity, SearchKind, ValueType
from holdall.stores.search.logged_models import parse_dataset_selectors, parse_logged_model_order_by
from holdall.stores.search.parser import (
    parse_experiment_filter,
    parse_experiment_order_by,
    parse_filter,
    parse_logged_model_filter,
    parse_order_by,
    parse_run_filter,
    parse_run_order_by,
)

__all__ = [
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "RUNS",
    "Column",
    "Comparator",
    "Comparison",
    "DatasetSelector",
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
    "logged_model_sort_key",
    "matches_experiment",
    "matches_logged_model",
    "matches_run",
    "parse_dataset_selectors",
    "parse_experiment_filter",
    "parse_experiment_order_by",
    "parse_filter",
    "parse_logged_model_filter",
    "parse_logged_model_order_by",
    "parse_order_by",
    "parse_run_filter",
    "parse_run_order_by",
    "run_sort_key",
    "sorting_key",
]
