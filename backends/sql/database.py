"""Transactions: functions that are given a `Session` and run as a whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy.sql.elements import ClauseElement

from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.statements import Parameters, Statement, compile_once

__all__ = ["Cursor", "Database", "Row", "Session"]

T = TypeVar("T")

Row = tuple[Any, ...]
"""Columns of a statement; typed by the codec that reads them."""


class Cursor(Protocol):
    """What is used of a DBAPI cursor."""

    @property
    def rowcount(self) -> int: ...
    @property
    def lastrowid(self) -> int | None: ...
    def execute(self, sql: str, parameters: Any = ..., /) -> object: ...
    def executemany(self, sql: str, parameters: Any, /) -> object: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Session:
    """An open transaction.

    Args:
        dialect: Compiles the statements.
        cursor: Runs them.
    """

    __slots__ = ("cursor", "dialect")

    def __init__(self, dialect: SqlDialect, cursor: Cursor) -> None:
        self.dialect = dialect
        self.cursor = cursor

    def run(self, statement: Statement, *values: object) -> int:
        """Run a statement that returns no rows; how many it changed."""
        self._execute(statement, values)
        return self.cursor.rowcount

    def run_many(self, statement: Statement, rows: Sequence[Sequence[object]]) -> int:
        """Run a statement once for each row of values; how many rows it changed in all."""
        prepared = statement.on(self.dialect)
        self.cursor.executemany(prepared.sql, rows if prepared.bind is None else [prepared.bind(row) for row in rows])
        return self.cursor.rowcount

    def one(self, statement: Statement, *values: object) -> Row | None:
        """The first row of a query, or None."""
        self._execute(statement, values)
        row: Row | None = self.cursor.fetchone()
        return row

    def all(self, statement: Statement, *values: object) -> list[Row]:
        """All rows of a query."""
        self._execute(statement, values)
        return self.cursor.fetchall()

    def each(self, statement: Statement, *values: object) -> Iterator[Row]:
        """The rows of a query one by one, before the next statement: of many rows, none outlives its use."""
        self._execute(statement, values)
        return iter(self.cursor)

    def _execute(self, statement: Statement, values: Sequence[object]) -> None:
        prepared = statement.on(self.dialect)
        self.cursor.execute(prepared.sql, values if prepared.bind is None else prepared.bind(values))

    def search(self, query: ClauseElement) -> list[Row]:
        """All rows of a query that holds its values."""
        sql, parameters = compile_once(query, self.dialect)
        return self.text(sql, parameters)

    def text(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of compiled text."""
        self.cursor.execute(sql, parameters)
        return self.cursor.fetchall()


class Database(ABC):
    """A database that runs transactions, for any number of threads.

    Attributes:
        dialect: Its product.
    """

    dialect: SqlDialect

    @abstractmethod
    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` on a consistent view. It may be run again, so it must not have effects of its own.

        Raises:
            HoldallError: What `work` raised, or what a driver's error means.
        """

    @abstractmethod
    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` as one transaction, committed when it returns and rolled back when it raises.

        It may be run again, so it must not have effects of its own.

        Raises:
            HoldallError: What `work` raised, or what a driver's error means.
        """

    @abstractmethod
    def run(self, statement: Statement, *values: object) -> int:
        """Run one statement as a transaction of its own; how many rows it changed.

        Raises:
            HoldallError: What a driver's error means.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back all connections."""
