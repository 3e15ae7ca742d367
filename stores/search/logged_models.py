"""What searches of logged models take as lists of mappings: their orderings and their datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search.ast import DatasetSelector, EntityType, OrderBy, Ordering
from holdall.stores.search.kinds import LOGGED_MODELS
from holdall.stores.search.lexer import Lexer
from holdall.stores.search.parser import complete_ordering, resolve

__all__ = ["parse_dataset_selectors", "parse_logged_model_order_by"]

_DATASET_FIELDS = ("dataset_name", "dataset_digest")
_ORDER_FIELDS = ("field_name", "ascending", *_DATASET_FIELDS)


def parse_logged_model_order_by(clauses: Sequence[Mapping[str, object]] | None) -> Ordering:
    """Parse the `order_by` of a search of logged models into a complete ordering.

    Args:
        clauses: Such as `[{"field_name": "metrics.acc", "ascending": False, "dataset_name": "test"}]`. A field is an
            attribute or `metrics.<key>`, the key as it is or in quotes; only metrics take a dataset. None or empty: the
            newest first. Ties are broken by creation time, the newest first, then by model id.

    Raises:
        InvalidParameterValue: Something in the list is not a key to order logged models by, or it is not a list.
    """
    requested = [_parse_order(clause) for clause in _mappings(clauses, "order_by", _ORDER_FIELDS)]
    return complete_ordering(requested, LOGGED_MODELS) if requested else LOGGED_MODELS.default_order


def parse_dataset_selectors(datasets: Sequence[Mapping[str, object]] | None) -> tuple[DatasetSelector, ...]:
    """Parse the `datasets` of a search of logged models.

    Args:
        datasets: Such as `[{"dataset_name": "test", "dataset_digest": "1a2b"}]`; without a digest any will do.

    Raises:
        InvalidParameterValue: Something in the list names no dataset, or it is not a list.
    """
    selectors = (_parse_dataset(item, "datasets") for item in _mappings(datasets, "datasets", _DATASET_FIELDS))
    found = dict.fromkeys(selectors)
    if None in found:
        raise InvalidParameterValue("Invalid datasets: each needs a 'dataset_name'.")
    return tuple(selector for selector in found if selector is not None)


def _parse_order(clause: Mapping[str, object]) -> OrderBy:
    name, ascending = clause.get("field_name"), clause.get("ascending")
    if not isinstance(name, str):
        raise InvalidParameterValue(f"Invalid order_by {dict(clause)!r}: 'field_name' must be a text.")
    if not (ascending is None or isinstance(ascending, bool)):
        raise InvalidParameterValue(f"Invalid order_by {dict(clause)!r}: 'ascending' must be True or False.")
    lexer = Lexer(name, "order_by field")
    identifier, column = resolve(name, lexer, LOGGED_MODELS)
    if not column.sortable:
        raise lexer.error("logged models are ordered by metrics and attributes only")
    dataset = _parse_dataset(clause, "order_by")
    if dataset is not None and identifier.entity is not EntityType.METRIC:
        raise lexer.error("only metrics take a dataset")
    return OrderBy(replace(identifier, dataset=dataset), ascending is not False)


def _parse_dataset(item: Mapping[str, object], what: str) -> DatasetSelector | None:
    name, digest = item.get("dataset_name"), item.get("dataset_digest")
    match name, digest:
        case None, None:
            return None
        case str(), str() | None:
            for text in filter(None, (name, digest)):
                Lexer(text, what)  # refuses what is no text that a store can keep
            return DatasetSelector(name, digest)
    raise InvalidParameterValue(
        f"Invalid {what} {dict(item)!r}: a dataset has a name and perhaps a digest, both texts."
    )


def _mappings(items: object, what: str, fields: Iterable[str]) -> list[Mapping[str, object]]:
    """The items of an argument, each a mapping with no other keys than `fields`."""
    if items is None:
        return []
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise InvalidParameterValue(f"{what} must be a list of mappings, got {type(items).__name__}.")
    listed = list(items)
    for item in listed:
        if not isinstance(item, Mapping):
            raise InvalidParameterValue(f"{what} must hold mappings, got {type(item).__name__}.")
        unknown = [key for key in item if key not in fields]
        if unknown:
            raise InvalidParameterValue(f"Invalid {what}: unknown key {unknown[0]!r}, known ones: {', '.join(fields)}.")
    return listed
