"""Databases behind a socket: connections, round trips, and what is done when either fails.

Every call is one transaction on a connection of its own from a pool. A transaction that the server gave up for another
one's sake is run again, and so is one whose connection broke: all work is such that running it twice changes nothing.
"""

from __future__ import annotations

import enum
import importlib
import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc, pool
from sqlalchemy.schema import CreateTable

from holdall.backends.sql.database import Answer, Database, Row, Session
from holdall.backends.sql.dialect import SqlDialect
from holdall.backends.sql.server_options import ServerOptions
from holdall.backends.sql.statements import Bulk, Parameters, Statement
from holdall.stores.errors import HoldallError, InternalError, MissingExtra, TemporarilyUnavailable
from holdall.stores.uri import StoreURI

__all__ = ["Call", "Driver", "ServerDatabase", "ServerDialect", "ServerSession", "Trouble", "import_driver"]

T = TypeVar("T")

_FRESH = 30.0
"""Seconds for which `Session.recall` takes an old answer."""

_CONFLICT_PATIENCE = 60.0
"""Seconds for which transactions are run again that others got in the way of."""


class Trouble(enum.Enum):
    """What an error of a driver says about the transaction."""

    NONE = "the request itself is wrong, or the server refuses it"
    CONFLICT = "rolled back for another transaction's sake"
    LOST = "the connection is gone, or none could be made"
    BUSY = "the server takes no connection for now"


class ServerDialect(SqlDialect):
    """A database product that runs as a server.

    Attributes:
        begin_read: Statements that begin a transaction on one consistent view.
        begin_write: Statements that begin one that writes.
        skip_used_ids: Statement that makes the next id of an experiment a new one; None where that needs no help.
        current_schema: The function that names where tables are made.
    """

    reads_in_key_order = False
    begin_read: Sequence[str]
    begin_write: Sequence[str]
    skip_used_ids: str | None = None
    current_schema: str = "current_schema"

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble:
        """What the error means for the transaction."""


_HAS_TABLE = Statement(lambda dialect: _look_up_table(dialect), "wanted")  # noqa: PLW0108 - defined below


def _look_up_table(dialect: SqlDialect) -> sa.Select[Any]:
    assert isinstance(dialect, ServerDialect)
    here = getattr(sa.func, dialect.current_schema)()
    tables = sa.table("tables", sa.column("table_name"), sa.column("table_schema"), schema="information_schema")
    found: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(tables)
    return found.where(tables.c.table_name == sa.bindparam("wanted", type_=sa.Text()), tables.c.table_schema == here)


class Call(Answer):
    """A statement on its way, and later what it gave.

    Attributes:
        sql: Text for the driver.
        parameters: None if the text is to be sent as it is.
        last_id: The id that an insertion made.
    """

    __slots__ = ("_count", "_rows", "_session", "last_id", "parameters", "sql")

    def __init__(self, session: ServerSession | None, sql: str, parameters: Parameters | None) -> None:
        self._session = session
        self._rows: Sequence[Row] | None = None
        self._count = 0
        self.last_id = 0
        self.sql = sql
        self.parameters = parameters

    def fill(self, rows: Sequence[Row], count: int, last_id: int | None = None) -> None:
        """Keep what the statement gave."""
        self._rows = rows
        self._count = count
        self.last_id = last_id or 0

    @property
    def rows(self) -> Sequence[Row]:
        if self._rows is None:
            assert self._session is not None
            self._session.flush()
            assert self._rows is not None, "asked after the end of the transaction"
        return self._rows

    @property
    def count(self) -> int:
        return self._count if self.rows is not None else 0


class Driver(ABC):
    """A DBAPI module, as far as this package needs to know it.

    Attributes:
        errors: What it raises.
        sends_transactions: Whether what it sends in one round trip is a transaction without being told.
    """

    errors: tuple[type[Exception], ...]
    sends_transactions = False

    @abstractmethod
    def connect(self, password: str | None) -> Any:
        """A new connection, without transactions of its own accord. Called by the pool, any number of times."""

    @abstractmethod
    def send(self, connection: Any, calls: Sequence[Call]) -> None:
        """Run statements in one round trip if the driver can, and fill them. After one that fails, none is run."""

    @abstractmethod
    def is_usable(self, connection: Any) -> bool:
        """Whether a connection is in sync with the server, so that another transaction may use it."""


def import_driver(module: str, uri: StoreURI, install: str) -> Any:
    """A DBAPI module, untyped as they all are.

    Args:
        module: Its name.
        uri: For which it is needed.
        install: What brings it.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module:
            raise
        raise MissingExtra(f"{uri.scheme}:// needs {module}; install it with: pip install '{install}'") from error


class _State(enum.Enum):
    NEW = 0
    OPEN = 1
    COMMITTING = 2
    DONE = 3


class ServerSession(Session):
    """A transaction on a server.

    Args:
        database: Remembers what is recalled.
        connection: The driver's.
        begin: Statements that begin the transaction; none for a single statement that is one by itself.
        reads: Whether the transaction writes nothing.
    """

    __slots__ = (
        "_begins",
        "_connection",
        "_database",
        "_is_sending",
        "_queue",
        "_reads",
        "_sends_transactions",
        "_state",
    )

    queues = True

    def __init__(self, database: ServerDatabase, connection: Any, begin: Sequence[str], *, reads: bool) -> None:
        super().__init__(database.dialect)
        self._database = database
        self._connection = connection
        self._reads = reads
        self._is_sending = False
        self._state = _State.NEW
        self._queue: list[Call] = [Call(None, sql, None) for sql in begin]
        self._begins = len(begin)
        self._sends_transactions = database.driver.sends_transactions and not reads

    @property
    def is_open(self) -> bool:
        """Whether the server has a transaction that is neither committed nor rolled back."""
        return self._begins > 0 and self._state in (_State.OPEN, _State.COMMITTING)

    @property
    def is_in_sync(self) -> bool:
        """Whether all that was sent is answered, so that more may be sent."""
        return not self._is_sending and self._database.driver.is_usable(self._connection)

    @property
    def may_be_committed(self) -> bool:
        """Whether the end of the transaction was sent."""
        return self._state in (_State.COMMITTING, _State.DONE) and not self._reads

    def ask_text(self, sql: str, parameters: Parameters | None = ()) -> Answer:
        return self._add(sql, parameters)

    def do_text(self, sql: str, parameters: Parameters | None = ()) -> Answer:
        return self._add(sql, parameters)

    def _add(self, sql: str, parameters: Parameters | None) -> Call:
        call = Call(self, sql, parameters)
        self._queue.append(call)
        return call

    def do_many(self, statement: Bulk, rows: Sequence[Sequence[object]], *values: object) -> Answer | None:
        if not rows:
            return None
        prepared, source = statement.on(self.dialect)
        assert source is not None
        given = [rows[0][0], *source.bind([row[1:] for row in rows]), *values]
        return self._add(prepared.sql, given if prepared.bind is None else prepared.bind(given))

    def insert_for_id(self, statement: Statement, *values: object) -> int | None:
        if self.dialect.returns_ids:
            return super().insert_for_id(statement, *values)
        prepared = statement.on(self.dialect)
        call = self._add(prepared.sql, values if prepared.bind is None else prepared.bind(values))
        return call.last_id if call.count == 1 else None

    def skip_used_ids(self, column: sa.Column[int]) -> None:
        statement = self._database.dialect.skip_used_ids
        if statement is not None:
            self.do_text(statement, None)

    def recall(self, key: Hashable, find: Callable[[], T]) -> T:
        return self._database.recall(key, find)

    def flush(self, *, end: bool = False) -> None:
        """Send what is queued, and the end of the transaction with it if wanted."""
        calls, self._queue = self._queue, []
        if end and self._state is _State.NEW and self._sends_transactions:
            calls = calls[self._begins :]
        elif end:
            calls.append(Call(None, "COMMIT", None))
        if not calls:
            return
        self._state = _State.COMMITTING if end else _State.OPEN
        driver = self._database.driver
        self._is_sending = True  # and stays so if somebody else interrupts the driver: part of an answer may be waiting
        try:
            driver.send(self._connection, calls)
        except driver.errors:
            self._is_sending = False
            raise
        self._is_sending = False
        if end:
            self._state = _State.DONE

    def last(self) -> None:
        if self._reads:
            self.flush(end=True)

    def commit(self) -> None:
        self.flush(end=True)

    def finish(self) -> None:
        """End the transaction if the work has not done so itself; one that sent nothing is none."""
        if self._state is _State.OPEN or (self._state is _State.NEW and not self._reads):
            self.flush(end=True)

    def roll_back(self) -> None:
        """Undo what was sent."""
        self._queue.clear()
        if self.is_open:
            self._queue.append(Call(None, "ROLLBACK", None))
            self.flush()
            self._state = _State.DONE


class ServerDatabase(Database):
    """A database on a server.

    Args:
        dialect: Its product.
        driver: Speaks to it.
        options: Of its connections.
    """

    def __init__(self, dialect: ServerDialect, driver: Driver, options: ServerOptions) -> None:
        self._dialect = dialect
        self.driver = driver
        self.patience = 0.0  # while it is being opened, an address that is wrong is said to be so at once
        self._options = options
        self._recalled: dict[Hashable, tuple[float, object]] = {}
        self._tables: set[str] = set()
        self._lost_at = 0.0
        self._pools: dict[int, pool.QueuePool] = {}

    def _new_pool(self) -> pool.QueuePool:
        options = self._options
        return pool.QueuePool(
            lambda: self.driver.connect(options.password()),
            pool_size=options.pool_size,
            max_overflow=options.max_overflow,
            timeout=options.pool_timeout,
            recycle=options.pool_recycle,
            reset_on_return=None,
            use_lifo=True,  # a few connections that are busy know their statements better than many that take turns
        )

    @property
    def dialect(self) -> ServerDialect:
        return self._dialect

    @dialect.setter
    def dialect(self, dialect: ServerDialect) -> None:
        self._dialect = dialect

    def settle(self, tables: Sequence[str]) -> None:
        """Say that the database is open and has these tables: from now on, failures are waited out."""
        self._tables.update(tables)
        self.patience = self._options.retry_timeout

    def recall(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` found within the last half minute."""
        now = time.monotonic()
        known = self._recalled.get(key)
        if known is not None and now - known[0] < _FRESH:
            return known[1]  # type: ignore[return-value]  # a key stands for one `find`
        found = find()
        if len(self._recalled) > 1000:
            self._recalled.clear()
        self._recalled[key] = now, found
        return found

    def read(self, work: Callable[[Session], T]) -> T:
        return self._transact(work, self.dialect.begin_read, reads=True)

    def write(self, work: Callable[[Session], T]) -> T:
        return self._transact(work, self.dialect.begin_write, reads=False)

    def run(self, statement: Statement, *values: object) -> int:
        return self.alone(lambda session: session.run(statement, *values))

    def one(self, statement: Statement, *values: object) -> Row | None:
        return self.alone(lambda session: session.one(statement, *values))

    def has(self, table: sa.Table) -> bool:
        if table.name not in self._tables and self.one(_HAS_TABLE, table.name) is not None:
            self._tables.add(table.name)
        return table.name in self._tables

    def need(self, table: sa.Table) -> None:
        if table.name not in self._tables:
            statement = str(CreateTable(table, if_not_exists=True).compile(dialect=self.dialect.sqlalchemy))
            self.alone(lambda session: session.do_text(statement, None).count)
            self._tables.add(table.name)

    def alone(self, work: Callable[[ServerSession], T]) -> T:
        """Run `work` without a transaction around it, each statement for itself."""
        return self._again(lambda: self._lend(work, (), reads=True))

    def _transact(self, work: Callable[[ServerSession], T], begin: Sequence[str], *, reads: bool) -> T:
        repeated = False

        def attempt(session: ServerSession) -> T:
            nonlocal repeated
            session.repeated = repeated
            try:
                result = work(session)
                session.finish()
            except Exception:  # an interruption waits for no answer; its connection is closed
                repeated = repeated or session.may_be_committed
                if session.is_open and session.is_in_sync:
                    session.roll_back()
                raise
            return result

        return self._again(lambda: self._lend(attempt, begin, reads=reads))

    def _again(self, attempt: Callable[[], T]) -> T:
        """Try until it is done, refused, or patience is at an end."""
        started = time.monotonic()
        for count in range(1_000_000):
            try:
                return attempt()
            except self.driver.errors as error:
                trouble = self.dialect.trouble(error)
                waited = time.monotonic() - started
                if trouble is Trouble.NONE:
                    raise self._translate(error) from error
                if waited > (_CONFLICT_PATIENCE if trouble is Trouble.CONFLICT else self.patience):
                    raise self._give_up(trouble, error, waited) from error
                self._pause(trouble, count)
        raise AssertionError

    def _give_up(self, trouble: Trouble, error: Exception, waited: float) -> HoldallError:
        if trouble is Trouble.CONFLICT:
            return TemporarilyUnavailable(
                f"Other transactions on {self._options.uri} got in the way of this one for {waited:.0f} s; try again. "
                "Nothing was written."
            )
        translated = self._translate(error)
        if not isinstance(translated, InternalError):
            return translated
        return TemporarilyUnavailable(
            f"{self._options.uri} cannot be reached, or broke the connection; tried for {waited:.0f} s. Check that the "
            "server runs at this address, then try again. If the connection broke, the change may have been made."
        )

    def _translate(self, error: Exception) -> HoldallError:
        translated = self.dialect.translate(error)
        return type(translated)(f"{self._options.uri}: {translated.message}")

    def _pause(self, trouble: Trouble, count: int) -> None:
        if trouble is Trouble.CONFLICT:
            time.sleep(random.uniform(0, min(0.5, 0.002 * 2 ** min(count, 10))))
        elif count:  # the first time, only a connection that had been idle may have died
            time.sleep(random.uniform(0.5, 1) * min(1.0, 0.02 * 2 ** min(count, 10)))

    def _lend(self, work: Callable[[ServerSession], T], begin: Sequence[str], *, reads: bool) -> T:
        with self._lent() as lent:
            session = ServerSession(self, lent.dbapi_connection, begin, reads=reads)
            try:
                return work(session)
            except BaseException as error:
                lost = isinstance(error, self.driver.errors) and self.dialect.trouble(error) is Trouble.LOST
                if lost:
                    self._lost_at = time.monotonic()
                if lost or session.is_open or not session.is_in_sync:
                    lent.invalidate()
                raise

    @contextmanager
    def _lent(self) -> Iterator[pool.PoolProxiedConnection]:
        """A connection that was made since the server was last seen to go away."""
        lent = self._take()
        try:
            while self._is_stale(lent):
                lent.invalidate()
                lent.close()
                lent = self._take()
            yield lent
        finally:
            lent.close()

    def _take(self) -> pool.PoolProxiedConnection:
        try:
            return self._here().connect()
        except exc.TimeoutError as error:
            options = self._options
            raise TemporarilyUnavailable(
                f"All {options.pool_size + options.max_overflow} connections to {options.uri} stayed in use for "
                f"{options.pool_timeout:g} s. Raise pool_size or max_overflow in the URI (?pool_size=20), or use fewer "
                "threads."
            ) from error

    def _is_stale(self, lent: pool.PoolProxiedConnection) -> bool:
        now = time.monotonic()
        opened = lent.info.setdefault("opened", now)
        if opened < self._lost_at:
            return True
        if not self._options.pool_pre_ping or opened == now:
            return False
        try:
            self.driver.send(lent.dbapi_connection, [Call(None, "SELECT 1", None)])
        except self.driver.errors:
            return True
        except BaseException:
            lent.invalidate()
            raise
        return False

    def _here(self) -> pool.QueuePool:
        """This process's pool: connections that were inherited through a fork belong to the parent, and stay open.

        No lock, which another thread might hold while the process forks.
        """
        known = self._pools.get(os.getpid())
        return known if known is not None else self._pools.setdefault(os.getpid(), self._new_pool())

    def close(self) -> None:
        self._here().dispose()
