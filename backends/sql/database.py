"""Transactions: functions that are given a `Session` and run as a whole or not at all.

A round trip to a server costs more than most statements do. So a session queues what it is asked and told, and sends
all of it when the first answer is looked at; `commit` and `last` send the end of the transaction along. A database in
this process answers at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.elements import ClauseElement

from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.statements import Bulk, Parameters, Statement, compile_once

__all__ = ["Answer", "Cursor", "Database", "Row", "Session", "by_key"]

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


class Answer(ABC):
    """What a statement gave, or will give when it is looked at."""

    __slots__ = ()

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """All rows of a query."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many rows the statement changed; 0 if it found what was to be written."""

    @property
    def first(self) -> Row | None:
        """The first row of a query, or None."""
        rows = self.rows
        return rows[0] if rows else None

    def each(self) -> Iterator[Row]:
        """The rows of a query one by one; of many rows, none need outlive its use."""
        return iter(self.rows)


class Session(ABC):
    """An open transaction.

    Attributes:
        dialect: Compiles the statements.
        queues: Whether answers come later, so that a check before a write costs a round trip.
        repeated: Whether the same work was committed before, perhaps: its acknowledgement was lost.
    """

    __slots__ = ("dialect", "repeated")

    queues = False

    def __init__(self, dialect: SqlDialect) -> None:
        self.dialect = dialect
        self.repeated = False

    @abstractmethod
    def ask_text(self, sql: str, parameters: Parameters = ()) -> Answer:
        """Ask compiled text."""

    @abstractmethod
    def do_text(self, sql: str, parameters: Parameters = ()) -> Answer:
        """Tell compiled text."""

    @abstractmethod
    def do_many(self, statement: Bulk, rows: Sequence[Sequence[object]], *values: object) -> Answer | None:
        """Write rows, in their order, with the values that the statement takes besides; None if there are none."""

    @abstractmethod
    def commit(self) -> None:
        """Commit, in the round trip of what is queued: the work does nothing after it but look at answers."""

    def last(self) -> None:  # noqa: B027 - a hint
        """Say that nothing will be asked after what is queued."""

    def recall(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` found not long ago; for what may be a little out of date."""
        return find()

    def ask(self, statement: Statement, *values: object) -> Answer:
        """Ask a query."""
        prepared = statement.on(self.dialect)
        return self.ask_text(prepared.sql, values if prepared.bind is None else prepared.bind(values))

    def do(self, statement: Statement, *values: object) -> Answer:
        """Tell a statement that returns no rows."""
        prepared = statement.on(self.dialect)
        return self.do_text(prepared.sql, values if prepared.bind is None else prepared.bind(values))

    def ask_search(self, query: ClauseElement) -> Answer:
        """Ask a query that holds its values."""
        return self.ask_text(*compile_once(query, self.dialect))

    def insert_for_id(self, statement: Statement, *values: object) -> int | None:
        """Insert a row; the id that the database made for it, or None if its key is taken."""
        row = self.one(statement, *values)
        return None if row is None else int(row[0])

    def skip_used_ids(self, column: sa.Column[int]) -> None:  # noqa: B027 - few databases need it
        """Make new ids of a column greater than those that are there."""

    def run(self, statement: Statement, *values: object) -> int:
        """Run a statement that returns no rows; how many it changed."""
        return self.do(statement, *values).count

    def one(self, statement: Statement, *values: object) -> Row | None:
        """The first row of a query, or None."""
        return self.ask(statement, *values).first

    def all(self, statement: Statement, *values: object) -> Sequence[Row]:
        """All rows of a query."""
        return self.ask(statement, *values).rows

    def text(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        """All rows of compiled text."""
        return self.ask_text(sql, parameters).rows


def by_key(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """A dict in the order of its keys, whatever order they were read in."""
    return dict(sorted(pairs))


class Database(ABC):
    """A database that runs transactions, for any number of threads."""

    @property
    @abstractmethod
    def dialect(self) -> SqlDialect:
        """Its product."""

    @abstractmethod
    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` on a consistent view. It may be run again, so it must not have effects of its own.

        Raises:
            HoldallError: What `work` raised, or what a driver's error means.
        """

    @abstractmethod
    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` as one transaction, committed when it returns and rolled back when it raises.

        It may be run again, also after it was committed without anybody learning of it: it must have no effects of its
        own, and do nothing wrong the second time.

        Raises:
            HoldallError: What `work` raised, or what a driver's error means.
        """

    def group(self) -> AbstractContextManager[None]:
        """Let what this thread does in the block become durable together, where that is quicker.

        Calls are done wholly or not at all, one by one, and see what those before them have done.

        Raises:
            HoldallError: At the end: nothing of it was written.
        """
        return nullcontext()

    @abstractmethod
    def run(self, statement: Statement, *values: object) -> int:
        """Run one statement as a transaction of its own; how many rows it changed.

        Raises:
            HoldallError: What a driver's error means.
        """

    @abstractmethod
    def one(self, statement: Statement, *values: object) -> Row | None:
        """Run one statement as a transaction of its own; the first row that it gives, or None.

        Raises:
            HoldallError: What a driver's error means.
        """

    @abstractmethod
    def has(self, table: sa.Table) -> bool:
        """Whether one of holdall's own tables is there by now; what was there once stays.

        Raises:
            HoldallError: What a driver's error means.
        """

    @abstractmethod
    def need(self, table: sa.Table) -> None:
        """Create one of holdall's own tables in a database that MLflow made, unless it is there.

        Raises:
            HoldallError: What a driver's error means.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back all connections."""
