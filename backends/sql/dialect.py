"""What differs between databases, in one place each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.selectable import FromClause

from holdall.stores.errors import HoldallError

__all__ = ["SqlDialect"]


class SqlDialect(ABC):
    """A database product, as far as statements and errors go.

    Attributes:
        name: SQLAlchemy's name of the dialect.
        sqlalchemy: Compiles constructs.
    """

    name: str
    sqlalchemy: Dialect

    @abstractmethod
    def insert_or_ignore(
        self, table: sa.Table, columns: Sequence[str], *, when: sa.ColumnElement[bool] | None = None
    ) -> Insert:
        """Insert a row unless one with its key is there.

        Args:
            table: The table.
            columns: Columns given, as parameters of the same names.
            when: Insert only if this holds.
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
    ) -> Insert:
        """Insert a row, or overwrite the one with its key.

        Args:
            table: The table.
            columns: Columns given, as parameters of the same names.
            key: Those that identify the row.
            newer_by: Overwrite only if the new row is greater by these columns, the most significant first.
            when: Insert or overwrite only if this holds.
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

    @abstractmethod
    def join_in_order(self, outer: FromClause, inner: sa.Table, on: sa.ColumnElement[bool]) -> FromClause:
        """A join that looks up `inner` for each row of `outer`, where the planner would not find that by itself."""

    @abstractmethod
    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """`column` matches a case-sensitive LIKE pattern in which a backslash is literal."""

    @abstractmethod
    def ilike(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        """`column` matches a pattern after Unicode case folding."""

    @abstractmethod
    def create_table_if_missing(self, table: sa.Table) -> str:
        """Text of the statement that creates one table."""

    @abstractmethod
    def translate(self, error: Exception) -> HoldallError:
        """What a driver's error means; without its text, which may hold values and passwords."""
