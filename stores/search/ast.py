"""The search language as data: what a filter and an ordering mean, without their spelling.

SQL backends compile these values; the others evaluate them with `holdall.stores.search.evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Comparator",
    "Comparison",
    "DatasetSelector",
    "EntityType",
    "Filter",
    "Identifier",
    "OrderBy",
    "Ordering",
    "SortKey",
    "SortValue",
]


class EntityType(StrEnum):
    """What an identifier refers to."""

    ATTRIBUTE = "attribute"
    METRIC = "metric"
    PARAM = "parameter"
    TAG = "tag"
    DATASET = "dataset"


class Comparator(StrEnum):
    """Operators of the filter language."""

    EQ = "="
    NE = "!="
    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


@dataclass(frozen=True, slots=True)
class DatasetSelector:
    """Datasets of this name, with this digest or, if that is None, with any."""

    name: str
    digest: str | None = None

    def admits(self, name: str | None, digest: str | None) -> bool:
        """Whether a dataset is one of these."""
        return name == self.name and self.digest in (None, digest)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A column of the language.

    Attributes:
        entity: What the key belongs to.
        key: In canonical spelling: `Created` is `start_time`.
        dataset: In orderings of logged models by a metric: on which datasets its values count; None for all.
    """

    entity: EntityType
    key: str
    dataset: DatasetSelector | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One clause.

    Attributes:
        identifier: Left side.
        comparator: Operator.
        value: Right side: text for text columns, int or float for numeric ones, a tuple of texts for IN and NOT IN,
            None for IS [NOT] NULL.
    """

    identifier: Identifier
    comparator: Comparator
    value: str | int | float | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One key of an ordering."""

    identifier: Identifier
    ascending: bool = True


Filter = tuple[Comparison, ...]
"""Clauses that must all hold; empty means everything."""

Ordering = tuple[OrderBy, ...]
"""Sort keys, the most significant first; always ends in a unique one."""

SortValue = tuple[int, str | int | float | None]
"""(class, value): class 0 an ordinary value, 1 NaN, 2 missing. A higher class comes later, whatever the direction."""

SortKey = tuple[SortValue, ...]
"""Place of a row in an ordering: one `SortValue` for each `OrderBy`."""
