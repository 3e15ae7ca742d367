"""What differs between databases, in one place each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import FromClause, Join

from holdall.stores.errors import HoldallError
from holdall.stores.search.like import Folding

__all__ = ["OnConflictDialect", "OnConflictInsert", "OrderedJoin", "Rows", "SqlDialect", "fold_by_replacing"]


class OrderedJoin(Join):
    """A join whose left side is read first, whatever the planner thinks; each dialect compiles it as it can."""

    inherit_cache = True


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows given as parameters.

    Attributes:
        source: What to select them from, with the columns in order.
        names: The parameters.
        bind: From rows to the values of the parameters.
    """

    source: FromClause
    names: Sequence[str]
    bind: Callable[[Sequence[Sequence[object]]], Sequence[object]]

    @property
    def columns(self) -> list[sa.ColumnElement[Any]]:
        """The columns of a row."""
        return list(self.source.c)


class SqlDialect(ABC):
    """A database product, as far as statements and errors go.

    Attributes:
        key: Tells dialects apart that compile statements differently.
        sqlalchemy: Compiles constructs.
        returns_ids: Whether an insertion can return the id that it made; else the driver is asked for it.
        sorts_runs_of_equals: Whether an index on the leading key saves sorting all rows where more keys follow.
        plans_by_statistics: Whether the planner is to choose how to find the best runs.
        joins_planned: How many conditions on other tables the planner may turn into joins; with more, it takes longer
            to plan a search than to look at its rows. None where it does not.
        reads_in_key_order: Whether rows come in the order of the key if nothing else is asked.
        combines_writes: Whether one statement can write to several tables and read another.
        keeps_negative_zero: Whether a number column keeps the sign of −0.0.
        exact_text: Whether texts that differ are different for the database, so that its keys are exact.
        greatest_integer: Greatest number in a column of type INTEGER.
    """

    key: str
    sqlalchemy: Dialect
    returns_ids: bool = True
    sorts_runs_of_equals: bool = True
    plans_by_statistics: bool = False
    exact_text: bool = True
    keeps_negative_zero: bool = True
    reads_in_key_order: bool = True
    joins_planned: int | None = None
    combines_writes: bool = False
    greatest_integer: int = 2**31 - 1

    @abstractmethod
    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows | None:
        """Rows of these columns' types, or None where a statement is better run for each row."""

    @abstractmethod
    def insert_or_ignore(
        self,
        table: sa.Table,
        columns: Sequence[str],
        *,
        when: sa.ColumnElement[bool] | None = None,
        rows: Rows | None = None,
    ) -> Insert:
        """Insert a row unless one with its key is there.

        Args:
            table: The table.
            columns: Columns given, as parameters of the same names.
            when: Insert only if this holds.
            rows: Insert these rows instead, of all columns but the first, which stays a parameter.
        """

    @abstractmethod
    def upsert(
        self,
        table: sa.Table,
        columns: Sequence[str],
        key: Sequence[str],
        *,
        newer_by: Sequence[str] = (),
        when: sa.ColumnElement[bool] | None = None,
        rows: Rows | None = None,
    ) -> Insert:
        """Insert a row, or overwrite the one with its key.

        Args:
            table: The table.
            columns: Columns given, as parameters of the same names.
            key: Those that identify the row.
            newer_by: Overwrite only if the new row is greater by these columns, the most significant first.
            when: Insert or overwrite only if this holds.
            rows: Insert these rows of the columns instead.
        """

    @abstractmethod
    def one_of(self, column: sa.ColumnElement[Any], items: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """`column` is among the items of a list, which is one parameter as `bind_list` gives it."""

    def one_of_values(
        self, column: sa.ColumnElement[Any], values: Sequence[str] | Sequence[int]
    ) -> sa.ColumnElement[bool]:
        """`column` is among `values`."""
        return self.one_of(column, sa.bindparam(None, self.bind_list(values), unique=True))

    @abstractmethod
    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A text column that compares and sorts by code point, whatever the database's collation."""

    @abstractmethod
    def bind_list(self, values: Sequence[str] | Sequence[int]) -> object:
        """The parameter for `one_of`."""

    @abstractmethod
    def object_of(self, key: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        """Aggregate: the text of a JSON object with a member for each row. One row per run is read in half the time."""

    def join_in_order(self, outer: FromClause, inner: FromClause, on: sa.ColumnElement[bool]) -> FromClause:
        """A join that looks up `inner` for each row of `outer`, where the planner would not find that by itself."""
        return OrderedJoin(outer, inner, on)

    def of_each(
        self, owner: sa.Column[Any], columns: Sequence[sa.ColumnElement[Any]], owners: sa.BindParameter[Any]
    ) -> ClauseElement:
        """Select owner and columns of the rows that belong to the items of a list."""
        return sa.select(owner, *columns).where(self.one_of(owner, owners))

    def objects_of_each(
        self,
        owner: sa.Column[Any],
        key: sa.ColumnElement[Any],
        value: sa.ColumnElement[Any],
        owners: sa.BindParameter[Any],
    ) -> ClauseElement:
        """Select each owner in a list and the text of a JSON object of its rows; owners without rows are absent."""
        return sa.select(owner, self.object_of(key, value)).where(self.one_of(owner, owners)).group_by(owner)

    @abstractmethod
    def missing_last(self, column: sa.ColumnElement[Any], *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        """What to sort by so that NULL comes after all values."""

    @abstractmethod
    def divide(self, dividend: sa.ColumnElement[int], divisor: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        """Whole quotient of two numbers that are not negative."""

    @abstractmethod
    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """`column` matches a case-sensitive LIKE pattern in which a backslash is literal."""

    @abstractmethod
    def ilike(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """`column` matches a pattern after Unicode case folding."""

    @abstractmethod
    def translate(self, error: Exception) -> HoldallError:
        """What a driver's error means; without its text, which may hold values and passwords."""

    def _insert(
        self,
        insert: Insert,
        columns: Sequence[str],
        when: sa.ColumnElement[bool] | None,
        rows: Rows | None,
    ) -> Insert:
        """The insertion of parameters or rows, before it is said what happens to rows that are there."""
        if when is None and rows is None:
            return insert.values({column: sa.bindparam(column) for column in columns})
        table = insert.table
        parameters = [sa.bindparam(column, type_=table.c[column].type) for column in columns]
        if rows is None:
            select: sa.Select[Any] = sa.select(*parameters)
        else:
            select = sa.select(parameters[0], *rows.columns).select_from(rows.source)
        # Without a condition, SQLite takes what follows the selection for a part of it.
        return insert.from_select(list(columns), select.where(sa.true() if when is None else when))


OnConflictInsert = postgresql.Insert | sqlite.Insert
"""An insertion with `ON CONFLICT`."""


class OnConflictDialect(SqlDialect):
    """A database that says `ON CONFLICT`."""

    @abstractmethod
    def _insert_into(self, table: sa.Table) -> OnConflictInsert:
        """An insertion in the database's own way."""

    def insert_or_ignore(
        self,
        table: sa.Table,
        columns: Sequence[str],
        *,
        when: sa.ColumnElement[bool] | None = None,
        rows: Rows | None = None,
    ) -> Insert:
        return self._insert(self._insert_into(table).on_conflict_do_nothing(), columns, when, rows)

    def upsert(
        self,
        table: sa.Table,
        columns: Sequence[str],
        key: Sequence[str],
        *,
        newer_by: Sequence[str] = (),
        when: sa.ColumnElement[bool] | None = None,
        rows: Rows | None = None,
    ) -> Insert:
        insert = self._insert_into(table)
        changed = {column: insert.excluded[column] for column in columns if column not in key}
        newer = _is_newer(table, insert.excluded, newer_by) if newer_by else None
        updating = insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=newer)
        return self._insert(updating, columns, when, rows)


def _is_newer(table: sa.Table, fresh: ReadOnlyColumnCollection[str, Any], by: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a new row is greater than the one in `table`; a missing number there is less than all."""
    known = [sa.func.coalesce(table.c[name], -1) if table.c[name].nullable else table.c[name] for name in by]
    return sa.tuple_(*(fresh[name] for name in by)) > sa.tuple_(*known)


def fold_by_replacing(
    text: sa.ColumnElement[str], folding: Folding, *, characters: bool = True
) -> sa.ColumnElement[str]:
    """`text` folded as far as matters to a pattern, by functions that every database has."""
    for source, target in folding.replacements:
        if characters or len(target) > 1:
            text = sa.func.replace(text, source, target)
    return text
