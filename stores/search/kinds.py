"""What may be searched and how: one table for each kind of search.

A table says which entities a search knows, under which spellings, which keys they have, how each key compares, and in
which order results come. The parser holds no such knowledge, so another kind of search is another table here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from holdall.stores.entities import LoggedModelStatus
from holdall.stores.search.ast import Comparator, EntityType, Identifier, OrderBy, Ordering

__all__ = ["EXPERIMENTS", "LOGGED_MODELS", "RUNS", "Column", "Entity", "SearchKind", "ValueType"]


class ValueType(Enum):
    """What a column holds, and so what may stand on the right of its comparators."""

    TEXT = auto()
    INTEGER = auto()
    DOUBLE = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """How one key, or every key of an entity, behaves.

    Attributes:
        type: Type of the values.
        comparators: Operators that filters may use; none if the key serves ordering only.
        key: Canonical spelling; None if it is the spelling used.
        sortable: Whether `order_by` takes it in this spelling.
        quotable: Whether a number may also be written in quotes.
        names: Of a text column that others keep as a number: the texts that 0, 1, … stand for, in quotes or without.
    """

    type: ValueType
    comparators: frozenset[Comparator]
    key: str | None = None
    sortable: bool = True
    quotable: bool = False
    names: tuple[str, ...] = ()

    def canonical(self, text: str) -> str:
        """The text that a value means where it may also be given as a number."""
        return next((name for number, name in enumerate(self.names) if text == str(number)), text)


@dataclass(frozen=True, slots=True)
class Entity:
    """A group of columns.

    Attributes:
        type: Its place in the syntax tree.
        columns: Columns by the spelling of their keys.
        any_key: Column for all other keys; None if there are no others.
    """

    type: EntityType
    columns: Mapping[str, Column] = field(default_factory=dict)
    any_key: Column | None = None

    def column(self, key: str) -> Column | None:
        """The column that `key` names, or None."""
        return self.columns.get(key, self.any_key)


@dataclass(frozen=True, slots=True, eq=False)
class SearchKind:
    """The dialect of one search.

    Attributes:
        name: Plural of what is searched, for messages.
        entities: Entities by the spelling of their prefix; the empty spelling is for keys without a prefix.
        default_order: Complete ordering for an empty `order_by`.
        tie_break: Appended to every other `order_by`.
        unique: Columns that together identify a row; an ordering is complete once it has them all.
    """

    name: str
    entities: Mapping[str, Entity]
    default_order: Ordering
    tie_break: Ordering
    unique: frozenset[Identifier]


_EQUALITY = frozenset({Comparator.EQ, Comparator.NE})
_ORDER = _EQUALITY | {Comparator.GT, Comparator.GE, Comparator.LT, Comparator.LE}
_MATCH = _EQUALITY | {Comparator.LIKE, Comparator.ILIKE}
_MEMBERSHIP = _MATCH | {Comparator.IN, Comparator.NOT_IN}
_OPTIONAL = _MATCH | {Comparator.IS_NULL, Comparator.IS_NOT_NULL}

_TEXT = Column(ValueType.TEXT, _MATCH)
_LISTED_TEXT = Column(ValueType.TEXT, _MEMBERSHIP)
_OPTIONAL_TEXT = Column(ValueType.TEXT, _OPTIONAL)
_TIME = Column(ValueType.INTEGER, _ORDER)
_DOUBLE = Column(ValueType.DOUBLE, _ORDER)

_RUN_PREFIXES = ("", "attribute", "attributes", "attr", "run")
_METRIC_PREFIXES = ("metric", "metrics")
_PARAM_PREFIXES = ("parameter", "parameters", "param", "params")
_TAG_PREFIXES = ("tag", "tags")


def _attribute(key: str, ascending: bool = True) -> OrderBy:
    return OrderBy(Identifier(EntityType.ATTRIBUTE, key), ascending)


def _entities(*spelled: tuple[Entity, tuple[str, ...]]) -> dict[str, Entity]:
    return {spelling: entity for entity, spellings in spelled for spelling in spellings}


_RUN_NAME_ALIAS = replace(_TEXT, key="run_name", sortable=False)
_START_TIME_ALIAS = replace(_TIME, key="start_time")
_RUN_ATTRIBUTES = Entity(
    EntityType.ATTRIBUTE,
    {
        "run_id": _LISTED_TEXT,
        "run_name": _TEXT,
        "run name": _RUN_NAME_ALIAS,
        "Run name": _RUN_NAME_ALIAS,
        "Run Name": _RUN_NAME_ALIAS,
        "status": _TEXT,
        "user_id": _TEXT,
        "artifact_uri": _TEXT,
        "start_time": _TIME,
        "created": _START_TIME_ALIAS,
        "Created": _START_TIME_ALIAS,
        "end_time": _TIME,
    },
)
_DATASETS = Entity(
    EntityType.DATASET, dict.fromkeys(("name", "digest", "context"), replace(_LISTED_TEXT, sortable=False))
)
_RUN_TIE_BREAK = (_attribute("start_time", ascending=False), _attribute("run_id"))

RUNS = SearchKind(
    name="runs",
    entities=_entities(
        (_RUN_ATTRIBUTES, _RUN_PREFIXES),
        (Entity(EntityType.METRIC, any_key=_DOUBLE), _METRIC_PREFIXES),
        (Entity(EntityType.PARAM, any_key=_OPTIONAL_TEXT), _PARAM_PREFIXES),
        (Entity(EntityType.TAG, any_key=_OPTIONAL_TEXT), _TAG_PREFIXES),
        (_DATASETS, ("dataset", "datasets")),
    ),
    default_order=_RUN_TIE_BREAK,
    tie_break=_RUN_TIE_BREAK,
    unique=frozenset({Identifier(EntityType.ATTRIBUTE, "run_id")}),
)
"""Search of runs."""

_EXPERIMENT_ATTRIBUTES = Entity(
    EntityType.ATTRIBUTE,
    {"name": _TEXT, "experiment_id": _LISTED_TEXT, "creation_time": _TIME, "last_update_time": _TIME},
)

EXPERIMENTS = SearchKind(
    name="experiments",
    entities=_entities(
        (_EXPERIMENT_ATTRIBUTES, ("", "attribute", "attributes")),
        (Entity(EntityType.TAG, any_key=replace(_OPTIONAL_TEXT, sortable=False)), _TAG_PREFIXES),
    ),
    default_order=(_attribute("creation_time", ascending=False), _attribute("experiment_id")),
    tie_break=(_attribute("experiment_id", ascending=False),),
    unique=frozenset({Identifier(EntityType.ATTRIBUTE, "experiment_id")}),
)
"""Search of experiments."""

_CREATION_TIME_ALIAS = replace(_TIME, key="creation_timestamp")
_LAST_UPDATE_ALIAS = replace(_TIME, key="last_updated_timestamp")
_MODEL_ATTRIBUTES = Entity(
    EntityType.ATTRIBUTE,
    {
        "name": _LISTED_TEXT,
        "model_id": _LISTED_TEXT,
        "model_type": _LISTED_TEXT,
        "status": replace(_LISTED_TEXT, names=tuple(status.name for status in LoggedModelStatus)),
        "source_run_id": _LISTED_TEXT,
        "experiment_id": _LISTED_TEXT,
        "artifact_location": _LISTED_TEXT,
        "status_message": _LISTED_TEXT,
        "creation_timestamp": _TIME,
        "creation_time": _CREATION_TIME_ALIAS,
        "creation_timestamp_ms": _CREATION_TIME_ALIAS,
        "last_updated_timestamp": _TIME,
        "last_updated_timestamp_ms": _LAST_UPDATE_ALIAS,
    },
)
_UNSORTED_TEXT = replace(_LISTED_TEXT, sortable=False)
_MODEL_TIE_BREAK = (_attribute("creation_timestamp", ascending=False), _attribute("model_id"))

LOGGED_MODELS = SearchKind(
    name="logged models",
    entities=_entities(
        (_MODEL_ATTRIBUTES, _RUN_PREFIXES),
        (Entity(EntityType.METRIC, any_key=_DOUBLE), _METRIC_PREFIXES),
        (Entity(EntityType.PARAM, any_key=_UNSORTED_TEXT), _PARAM_PREFIXES),
        (Entity(EntityType.TAG, any_key=_UNSORTED_TEXT), _TAG_PREFIXES),
    ),
    default_order=_MODEL_TIE_BREAK,
    tie_break=_MODEL_TIE_BREAK,
    unique=frozenset({Identifier(EntityType.ATTRIBUTE, "model_id")}),
)
"""Search of logged models. Its orderings come as mappings: `parse_logged_model_order_by`."""
