"""Searches compiled to SQL.

The leading key of an ordering is taken apart: first the rows that have a value, then those with NaN, then those
without. Each part is a query of its own whose order an index can give, so a page of the best runs stops after as many
rows as it needs, however many runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.selectable import FromClause

from holdall.backends.sql import experiments as experiment_rows
from holdall.backends.sql import runs as run_rows
from holdall.backends.sql.database import Answer, Row, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.experiments import numeric_id
from holdall.backends.sql.inputs import DATASET_LINK
from holdall.backends.sql.metrics import stored_value
from holdall.backends.sql.schema import (
    datasets,
    experiment_tags,
    experiments,
    input_tags,
    inputs,
    latest_metrics,
    params,
    runs,
    tags,
)
from holdall.backends.sql.statements import Parameters, Statement, compile_once
from holdall.stores.entities import LifecycleStage, ViewType
from holdall.stores.names import DATASET_CONTEXT_TAG
from holdall.stores.queries import ExperimentQuery, LoggedModelQuery, RunQuery
from holdall.stores.search.ast import (
    Comparator,
    Comparison,
    EntityType,
    Identifier,
    Ordering,
    SortKey,
    SortValue,
)

__all__ = [
    "Keyed",
    "Kind",
    "matching",
    "search",
    "search_experiments",
    "search_run_ids",
    "search_runs",
]

Condition = sa.ColumnElement[bool]
Column = sa.ColumnElement[Any]
Query = RunQuery | ExperimentQuery | LoggedModelQuery

_VALUE, _NAN, _MISSING = 0, 1, 2
_NUMERIC = frozenset(
    {
        "start_time",
        "end_time",
        "creation_time",
        "last_update_time",
        "creation_timestamp",
        "last_updated_timestamp",
    }
)


def search_runs(session: Session, query: RunQuery) -> list[Row]:
    """Rows of `runs.COLUMNS`: at most `query.limit` of them, in order."""
    return search(session, _RUNS, query)


def search_run_ids(session: Session, query: RunQuery) -> list[str]:
    """Ids of the same runs."""
    return [run_id for (run_id,) in search(session, _RUN_IDS, query)]


def search_experiments(session: Session, query: ExperimentQuery) -> list[Row]:
    """Rows of `experiments.COLUMNS`: at most `query.limit` of them, in order."""
    return search(session, _EXPERIMENTS, query)


class Keyed(NamedTuple):
    """A table of values by key, and its columns."""

    table: sa.Table
    owner: str
    key: str = "key"
    value: str = "value"


@dataclass(frozen=True, eq=False)
class Kind:
    """What is searched: its table, its columns by attribute, the tables of its keyed values."""

    table: sa.Table
    columns: Sequence[Column]
    owner: Column
    attributes: dict[str, Column]
    keyed: dict[EntityType, Keyed]

    def keyed_table(self, identifier: Identifier) -> tuple[FromClause, Condition]:
        """A fresh alias of the table of a metric, param or tag, and what joins it."""
        keyed = self.keyed[identifier.entity]
        alias = keyed.table.alias()
        return alias, sa.and_(alias.c[keyed.owner] == self.owner, alias.c[keyed.key] == identifier.key)


_RUNS = Kind(
    runs,
    run_rows.COLUMNS,
    runs.c.run_uuid,
    {
        "run_id": runs.c.run_uuid,
        "run_name": runs.c.name,
        "status": runs.c.status,
        "user_id": runs.c.user_id,
        "artifact_uri": runs.c.artifact_uri,
        "start_time": runs.c.start_time,
        "end_time": runs.c.end_time,
    },
    {
        EntityType.METRIC: Keyed(latest_metrics, "run_uuid"),
        EntityType.PARAM: Keyed(params, "run_uuid"),
        EntityType.TAG: Keyed(tags, "run_uuid"),
    },
)
_RUN_IDS = replace(_RUNS, columns=(runs.c.run_uuid,))
_EXPERIMENTS = Kind(
    experiments,
    experiment_rows.COLUMNS,
    experiments.c.experiment_id,
    {
        "experiment_id": experiments.c.experiment_id,
        "name": experiments.c.name,
        "creation_time": experiments.c.creation_time,
        "last_update_time": experiments.c.last_update_time,
    },
    {EntityType.TAG: Keyed(experiment_tags, "experiment_id")},
)


def search(session: Session, kind: Kind, query: Query) -> list[Row]:
    """Rows of a kind's columns: at most `query.limit` of them, in order. Logged models by no metric."""
    ranks = list(_classes(kind, query))
    if not ranks:
        return []
    part = partial(_compiled, session.dialect, kind, query, look_up=_is_small(session, query))
    first, waiting = part(ranks[0]), ranks[1:]
    asked: list[Answer] = []
    if ranks[0] == _VALUE and not part.keywords["look_up"] and not session.dialect.sorts_runs_of_equals:
        edge = session.text(*part(_VALUE, only_edge=True))
        if edge:
            first = part(_VALUE, edge=edge[0][0])
        else:  # the page takes all that have a value, and more
            asked, waiting = [session.ask_text(*first), *(session.ask_text(*part(rank)) for rank in waiting)], []
    rows: list[Row] = []
    for answer in asked or [session.ask_text(*first)]:
        rows += answer.each() if len(rows) < query.limit else ()
    if len(rows) < query.limit:
        for answer in [session.ask_text(*part(rank)) for rank in waiting]:
            rows += answer.each() if len(rows) < query.limit else ()
    return rows[: query.limit]


@lru_cache(maxsize=256)
def _compiled(
    dialect: SqlDialect,
    kind: Kind,
    query: Query,
    rank: int,
    *,
    look_up: bool,
    only_edge: bool = False,
    edge: float | None = None,
) -> tuple[str, Parameters]:
    """One part of a search as text; cached, since pages are polled and building it takes longer than running it.

    Args:
        dialect: Of the database.
        kind: What is searched.
        query: The search.
        rank: The class of the leading key.
        look_up: See `_Part`.
        only_edge: Select the leading value of the page's last row; an index gives it without a sort.
        edge: That value, beyond which nothing is wanted.
    """
    compiler = _Filter(dialect, kind)
    part = _Part(dialect, kind, rank, look_up, query.order_by[0].identifier)
    conditions = [
        compiler.condition(clause, part.keyed if clause.identifier == part.identifier else None)
        for clause in query.filter
    ]
    conditions += _scope(dialect, kind, query)
    if only_edge:
        found = part.select_edge(query.order_by, query.after).offset(query.limit - 1).limit(1)
    else:
        found = part.select(query.order_by, query.after, edge).limit(query.limit)
    return compile_once(found.where(*conditions), dialect)


def matching(session: Session, kind: Kind, query: Query) -> Answer:
    """Ask for the rows of a kind's columns that fulfil all clauses of a query, in no order."""
    compiler = _Filter(session.dialect, kind)
    clauses = [compiler.condition(clause) for clause in query.filter]
    return session.ask_search(sa.select(*kind.columns).where(*clauses, *_scope(session.dialect, kind, query)))


def _scope(dialect: SqlDialect, kind: Kind, query: Query) -> Iterator[Condition]:
    """The stage and the experiments that a query looks at."""
    view = ViewType.ACTIVE_ONLY if isinstance(query, LoggedModelQuery) else query.view
    if view is not ViewType.ALL:
        stage = LifecycleStage.ACTIVE if view is ViewType.ACTIVE_ONLY else LifecycleStage.DELETED
        yield kind.table.c.lifecycle_stage == stage.value
    if not isinstance(query, ExperimentQuery):
        yield _in_experiments(dialect, kind.table.c.experiment_id, query.experiment_ids)


def _in_experiments(dialect: SqlDialect, column: sa.Column[int], experiment_ids: Sequence[str]) -> Condition:
    numbers = [numeric_id(experiment_id) for experiment_id in experiment_ids]
    if len(numbers) == 1:
        return column == numbers[0]
    return dialect.one_of_values(column, numbers)


_FEW = 2000
"""So many runs are looked at one by one; among more, the index on the leading metric finds the best ones first."""

_COUNT = Statement(
    lambda dialect: sa.select(sa.func.count()).select_from(
        sa.select(sa.literal_column("1"))
        .select_from(runs)
        .where(dialect.one_of(runs.c.experiment_id, sa.bindparam("ids")))
        .limit(_FEW + 1)
        .subquery()
    ),
    "ids",
)


def _is_small(session: Session, query: Query) -> bool:
    """Whether looking at each row in scope is quicker than walking an index of all."""
    if not isinstance(query, RunQuery) or query.order_by[0].identifier.entity is not EntityType.METRIC:
        return True
    if session.dialect.plans_by_statistics:
        return False
    numbers = [numeric_id(experiment_id) for experiment_id in query.experiment_ids]

    def count() -> int:
        row = session.one(_COUNT, session.dialect.bind_list(numbers))
        return 0 if row is None else int(row[0])

    return session.recall(("runs", *numbers), count) <= _FEW


# Filters


class _Filter:
    """Compiles clauses to conditions on rows of a kind."""

    def __init__(self, dialect: SqlDialect, kind: Kind) -> None:
        self._dialect = dialect
        self._kind = kind
        self._joined = 0

    def condition(self, clause: Comparison, joined: FromClause | None = None) -> Condition:
        """What a clause asks of a row; `joined` is the table of its values, if the row is joined to its own already."""
        entity, key = clause.identifier.entity, clause.identifier.key
        if entity is EntityType.DATASET:
            return self._dataset(key, clause)
        if entity is not EntityType.ATTRIBUTE:
            return self._keyed(clause, joined)
        column = self._kind.attributes[key]
        if key == "experiment_id":
            return self._text(sa.cast(column, sa.String(32)), clause)
        return self._number(column, clause) if key in _NUMERIC else self._text(column, clause)

    def _keyed(self, clause: Comparison, joined: FromClause | None) -> Condition:
        value = self._kind.keyed[clause.identifier.entity].value
        test = self._metric if clause.identifier.entity is EntityType.METRIC else partial(self._text_of, value)
        if joined is not None:
            match clause.comparator:
                case Comparator.IS_NULL:
                    return sa.false()
                case Comparator.IS_NOT_NULL:
                    return sa.true()
            return test(joined, clause)
        table, join = self._kind.keyed_table(clause.identifier)
        found: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(table).where(join)
        self._joined += 1
        if self._dialect.joins_planned is not None and self._joined > self._dialect.joins_planned:
            found = found.offset(0)  # planners make no join of a selection that has an offset
        if clause.comparator is Comparator.IS_NULL:
            return ~found.exists()
        if clause.comparator is not Comparator.IS_NOT_NULL:
            found = found.where(test(table, clause))
        return found.exists()

    def _text_of(self, value: str, table: FromClause, clause: Comparison) -> Condition:
        return self._text(table.c[value], clause)

    def _metric(self, table: FromClause, clause: Comparison) -> Condition:
        wanted = clause.value
        assert isinstance(wanted, int | float)
        test = _compare(table.c.value, clause.comparator, stored_value(float(wanted)))
        is_nan = table.c.is_nan == sa.true()
        return sa.or_(is_nan, test) if clause.comparator is Comparator.NE else sa.and_(~is_nan, test)

    def _number(self, column: Column, clause: Comparison) -> Condition:
        wanted = clause.value
        if isinstance(wanted, int) and not -(2**63) <= wanted < 2**63:
            wanted = float(wanted)
        return _compare(column, clause.comparator, stored_value(wanted) if isinstance(wanted, float) else wanted)

    def _text(self, column: Column, clause: Comparison) -> Condition:
        wanted = clause.value
        match clause.comparator:
            case Comparator.LIKE:
                return self._dialect.like(column, str(wanted))
            case Comparator.ILIKE:
                return self._dialect.ilike(column, str(wanted))
            case Comparator.IN | Comparator.NOT_IN:
                assert isinstance(wanted, tuple)
                among = self._dialect.one_of_values(self._dialect.by_code_point(column), wanted)
                return among if clause.comparator is Comparator.IN else sa.and_(column.is_not(None), ~among)
        return _compare(self._dialect.by_code_point(column), clause.comparator, wanted)

    def _dataset(self, key: str, clause: Comparison) -> Condition:
        link = sa.and_(inputs.c.destination_id == runs.c.run_uuid, DATASET_LINK)
        if key == "context":
            joined = inputs.join(input_tags, input_tags.c.input_uuid == inputs.c.input_uuid)
            column: Column = input_tags.c.value
            link = sa.and_(link, input_tags.c.name == DATASET_CONTEXT_TAG)
        else:
            joined = inputs.join(datasets, datasets.c.dataset_uuid == inputs.c.source_id)
            column = datasets.c[key]
        found: sa.Select[Any] = (
            sa.select(sa.literal_column("1")).select_from(joined).where(link, self._text(column, clause))
        )
        return found.correlate(runs).exists()


def _compare(column: Column, comparator: Comparator, value: object) -> Condition:
    return _OPERATORS[comparator](column, sa.literal(value))


_OPERATORS: dict[Comparator, Callable[[Column, Column], Condition]] = {
    Comparator.EQ: lambda column, value: column == value,
    Comparator.NE: lambda column, value: column != value,
    Comparator.GT: lambda column, value: column > value,
    Comparator.GE: lambda column, value: column >= value,
    Comparator.LT: lambda column, value: column < value,
    Comparator.LE: lambda column, value: column <= value,
}


# Orderings


def _classes(kind: Kind, query: Query) -> Iterator[int]:
    """Classes of the leading key that rows of the page can be in."""
    lead = query.order_by[0].identifier
    first = query.after[0][0] if query.after else _VALUE
    asked = [clause.comparator for clause in query.filter if clause.identifier == lead]
    must_have = any(comparator is not Comparator.IS_NULL for comparator in asked)
    is_metric = lead.entity is EntityType.METRIC
    if first <= _VALUE:
        yield _VALUE
    if first <= _NAN and is_metric and all(comparator is Comparator.NE for comparator in asked):
        yield _NAN
    if not must_have and not _never_missing(kind, lead):
        yield _MISSING


def _never_missing(kind: Kind, identifier: Identifier) -> bool:
    column = kind.attributes[identifier.key] if identifier.entity is EntityType.ATTRIBUTE else None
    return isinstance(column, sa.Column) and not column.nullable


class _Part:
    """The rows of one class of the leading key, in order.

    Args:
        dialect: Of the database.
        kind: What is searched.
        rank: The class.
        look_up: Look up the leading value of each row in scope, instead of walking the index of values.
        identifier: The leading key.

    Attributes:
        identifier: The same.
        keyed: The table that has the leading value of each row of the part; None if none has.
    """

    def __init__(self, dialect: SqlDialect, kind: Kind, rank: int, look_up: bool, identifier: Identifier) -> None:
        self.identifier = identifier
        self.keyed: FromClause | None = None
        if identifier.entity is not EntityType.ATTRIBUTE and rank != _MISSING:
            self.keyed, self._on = kind.keyed_table(identifier)
        self._dialect = dialect
        self._kind = kind
        self._rank = rank
        self._look_up = look_up

    def select(self, ordering: Ordering, after: SortKey | None, edge: float | None = None) -> sa.Select[Any]:
        """The part, beginning after a place, and up to a leading value."""
        found, value, orders = self._select(ordering, after)
        if value is not None and edge is not None:
            found = found.where(value <= sa.literal(edge) if ordering[0].ascending else value >= sa.literal(edge))
        return found.add_columns(*self._kind.columns).order_by(*orders)

    def select_edge(self, ordering: Ordering, after: SortKey | None) -> sa.Select[Any]:
        """The leading values of the part."""
        found, value, orders = self._select(ordering, after)
        assert value is not None
        return found.add_columns(value).order_by(orders[0])

    def _select(
        self, ordering: Ordering, after: SortKey | None
    ) -> tuple[sa.Select[Any], Column | None, Sequence[Column]]:
        source, value, condition = self._lead()
        ascending = ordering[0].ascending
        rest = [_Later.of(self._dialect, self._kind, key.identifier, key.ascending) for key in ordering[1:]]
        for later in rest:
            source = later.join(source)
        orders = [order for later in rest for order in later.order()]
        if value is not None:
            orders.insert(0, value.asc() if ascending else value.desc())
        found: sa.Select[Any] = sa.select().select_from(source).where(condition)
        if after is not None and self._rank == after[0][0]:
            found = found.where(_beyond(value, ascending, after[0][1], _after(rest, after[1:])))
        return found, value, orders

    def _lead(self) -> tuple[FromClause, Column | None, Condition]:
        """Where the rows of the class are, the column to sort them by, and what selects them."""
        table, identifier = self._kind.table, self.identifier
        if identifier.entity is EntityType.ATTRIBUTE:
            column = _attribute(self._dialect, self._kind, identifier.key)
            if self._rank == _MISSING:
                return table, None, column.is_(None)
            return table, column, sa.true() if _never_missing(self._kind, identifier) else column.is_not(None)
        if self.keyed is None:
            keyed, on = self._kind.keyed_table(identifier)
            return table, None, ~sa.select(sa.literal_column("1")).select_from(keyed).where(on).exists()
        keyed, on = self.keyed, self._on
        if identifier.entity is not EntityType.METRIC:
            return table.join(keyed, on), self._dialect.by_code_point(keyed.c.value), sa.true()
        condition = keyed.c.is_nan == (sa.true() if self._rank == _NAN else sa.false())
        outer, inner = (table, keyed) if self._look_up else (keyed, table)
        source = self._dialect.join_in_order(outer, inner, on)
        return source, None if self._rank == _NAN else keyed.c.value, condition


def _beyond(value: Column | None, ascending: bool, bound: object, rest: Condition) -> Condition:
    """Rows after a place within one part; the first condition says again what follows, for the index."""
    if value is None:
        return rest
    edge = sa.literal(stored_value(bound) if isinstance(bound, float) else bound)
    further = value > edge if ascending else value < edge
    return sa.and_(value >= edge if ascending else value <= edge, sa.or_(further, rest))


def _after(keys: Sequence[_Later], place: SortKey) -> Condition:
    """Rows that come after a place by these keys: further by one of them, equal by those before it."""
    condition: Condition = sa.false()
    for key, value in zip(reversed(keys), reversed(place), strict=True):
        condition = sa.or_(key.after(value), sa.and_(key.equals(value), condition))
    return condition


def _attribute(dialect: SqlDialect, kind: Kind, key: str) -> Column:
    column = kind.attributes[key]
    return column if key in _NUMERIC or key == "experiment_id" else dialect.by_code_point(column)


class _Later:
    """A key after the leading one: a value, and whether it counts as NaN."""

    def __init__(
        self, dialect: SqlDialect, value: Column, is_nan: Column | None, ascending: bool, *, may_miss: bool = True
    ) -> None:
        self._may_miss = may_miss
        self._dialect = dialect
        self._value = value
        self._is_nan = is_nan
        self._ascending = ascending

    @classmethod
    def of(cls, dialect: SqlDialect, kind: Kind, identifier: Identifier, ascending: bool) -> _Later:
        """The key for an identifier."""
        if identifier.entity is EntityType.ATTRIBUTE:
            column = _attribute(dialect, kind, identifier.key)
            return cls(dialect, column, None, ascending, may_miss=not _never_missing(kind, identifier))
        return _LaterKeyed(dialect, kind, identifier, ascending)

    def join(self, source: FromClause) -> FromClause:
        """The rows with what the key needs."""
        return source

    def order(self) -> list[Column]:
        """What to sort by."""
        if not self._may_miss:  # an index must be able to give the order
            return [self._value.asc() if self._ascending else self._value.desc()]
        orders = self._dialect.missing_last(self._value, ascending=self._ascending)
        return orders if self._is_nan is None else [*self._dialect.missing_last(self._is_nan, ascending=True), *orders]

    def equals(self, place: SortValue) -> Condition:
        """Rows at this value."""
        rank, value = place
        if rank == _MISSING:
            return self._value.is_(None)
        if self._is_nan is None:
            return self._value == sa.literal(value)
        return (
            self._is_nan == sa.true()
            if rank == _NAN
            else sa.and_(self._is_nan == sa.false(), self._value == _edge(value))
        )

    def after(self, place: SortValue) -> Condition:
        """Rows after this value."""
        rank, value = place
        if rank == _MISSING:
            return sa.false()
        missing = self._value.is_(None)
        if rank == _NAN:
            return missing
        further = self._value > _edge(value) if self._ascending else self._value < _edge(value)
        if self._is_nan is None:
            return sa.or_(further, missing)
        return sa.or_(sa.and_(self._is_nan == sa.false(), further), self._is_nan == sa.true(), missing)


class _LaterKeyed(_Later):
    def __init__(self, dialect: SqlDialect, kind: Kind, identifier: Identifier, ascending: bool) -> None:
        self._table, self._on = kind.keyed_table(identifier)
        is_metric = identifier.entity is EntityType.METRIC
        value = self._table.c.value if is_metric else dialect.by_code_point(self._table.c.value)
        super().__init__(dialect, value, self._table.c.is_nan if is_metric else None, ascending)

    def join(self, source: FromClause) -> FromClause:
        return source.outerjoin(self._table, self._on)


def _edge(value: object) -> Column:
    return sa.literal(stored_value(value) if isinstance(value, float) else value)
