"""SQLite: its dialect, its connections, and the store on a file or in memory."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc, pool
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from holdall.backends.sql import opening
from holdall.backends.sql.database import Answer, Cursor, Database, Row, Session
from holdall.backends.sql.dialect import OnConflictDialect, OnConflictInsert, OrderedJoin, Rows, SqlDialect
from holdall.backends.sql.sqlite_administration import SqliteAdministration
from holdall.backends.sql.sqlite_groups import WriteGroup
from holdall.backends.sql.statements import Bulk, Parameters, Statement
from holdall.backends.sql.store import SqlBackendStore
from holdall.stores.capabilities import Capabilities
from holdall.stores.errors import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    TemporarilyUnavailable,
)
from holdall.stores.search.like import ilike
from holdall.stores.uri import StoreURI

__all__ = ["SqliteBackendStore", "SqliteDatabase", "SqliteDialect", "open_database"]

T = TypeVar("T")

_SYNCHRONOUS = ("off", "normal", "full", "extra")
_JOURNALS = ("wal", "delete")
_MEMORY = ("", ":memory:")

_LOG_PAGES = 16_000
"""Pages of the write-ahead log (64 MB) from which on they are moved to their places. Runs that log many metrics change
the same pages again and again: with SQLite's own 1,000, that moves each of them many more times."""


@compiles(OrderedJoin, "sqlite")
def _compile_cross_join(join: OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    """`CROSS JOIN`, which SQLite's planner never reorders."""
    left, right = compiler.process(join.left, **options), compiler.process(join.right, **options)
    assert join.onclause is not None
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **options)}"


class SqliteDialect(OnConflictDialect):
    """SQLite 3.35 and later."""

    key = "sqlite"
    greatest_integer = 2**63 - 1

    def __init__(self) -> None:
        self.sqlalchemy = sqlite.dialect()

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows | None:
        return None

    def _insert_into(self, table: sa.Table) -> OnConflictInsert:
        return sqlite.insert(table)

    def one_of(self, column: sa.ColumnElement[Any], items: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        listed = sa.func.json_each(items).table_valued("value")
        return column.in_(sa.select(listed.c.value))

    def bind_list(self, values: Sequence[str] | Sequence[int]) -> object:
        return json.dumps(values)

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return column

    def object_of(self, key: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        return sa.func.json_group_object(key, value)

    def missing_last(self, column: sa.ColumnElement[Any], *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        return [sa.nulls_last(column.asc() if ascending else column.desc())]

    def divide(self, dividend: sa.ColumnElement[int], divisor: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return dividend.op("/", precedence=9, return_type=sa.BigInteger())(divisor)

    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return column.like(pattern)

    def ilike(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return sa.func.holdall_ilike(pattern, column) == sa.literal_column("1")

    def translate(self, error: Exception) -> HoldallError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or isinstance(error, exc.TimeoutError):
            return TemporarilyUnavailable(
                "The SQLite database stayed locked by another writer; try again, or raise busy_timeout in its URI."
            )
        if primary == sqlite3.SQLITE_READONLY:
            return ReadOnly("The SQLite database is read-only: check the permissions of the file and its folder.")
        if primary == sqlite3.SQLITE_FULL:
            return InternalError("The disk of the SQLite database is full; nothing was written.")
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return InternalError(
                "The file is not an SQLite database, or it is damaged; check it with 'PRAGMA integrity_check'."
            )
        if primary == sqlite3.SQLITE_CANTOPEN:
            return InvalidParameterValue(
                "The SQLite database cannot be opened: check that its folder exists and may be written to."
            )
        return InternalError(
            f"The SQLite database failed ({getattr(error, 'sqlite_errorname', type(error).__name__)})."
        )


class _Done(Answer):
    """What a statement gave."""

    __slots__ = ("_count", "_rows")

    def __init__(self, rows: Sequence[Row], count: int) -> None:
        self._rows = rows
        self._count = count

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def count(self) -> int:
        return self._count


class _Asked(Answer):
    """A query that is run when its answer is looked at, once: several need not be held in memory at once."""

    __slots__ = ("_cursor", "_parameters", "_sql")

    def __init__(self, cursor: Cursor, sql: str, parameters: Parameters) -> None:
        self._cursor = cursor
        self._sql = sql
        self._parameters = parameters

    @property
    def rows(self) -> Sequence[Row]:
        self._cursor.execute(self._sql, self._parameters)
        return self._cursor.fetchall()

    @property
    def count(self) -> int:
        return 0

    def each(self) -> Iterator[Row]:
        self._cursor.execute(self._sql, self._parameters)
        return iter(self._cursor)


class SqliteSession(Session):
    """A transaction in this process: statements are run at once.

    Args:
        dialect: Compiles the statements.
        cursor: Runs them.
        reads: Whether nothing can change meanwhile, so that queries may wait.
        grouped: Whether others go on with the transaction, and commit it.
    """

    __slots__ = ("_grouped", "_reads", "cursor")

    def __init__(self, dialect: SqlDialect, cursor: Cursor, *, reads: bool = False, grouped: bool = False) -> None:
        super().__init__(dialect)
        self.cursor = cursor
        self._reads = reads
        self._grouped = grouped

    def ask_text(self, sql: str, parameters: Parameters = ()) -> Answer:
        if self._reads:
            return _Asked(self.cursor, sql, parameters)
        self.cursor.execute(sql, parameters)
        return _Done(self.cursor.fetchall(), 0)

    def do_text(self, sql: str, parameters: Parameters = ()) -> Answer:
        self.cursor.execute(sql, parameters)
        return _Done((), self.cursor.rowcount)

    def do_many(self, statement: Bulk, rows: Sequence[Sequence[object]], *values: object) -> Answer | None:
        if not rows:
            return None
        prepared, _ = statement.on(self.dialect)
        bound = rows if prepared.bind is None else [prepared.bind(row) for row in rows]
        if len(bound) == 1:
            self.cursor.execute(prepared.sql, bound[0])
        else:
            self.cursor.executemany(prepared.sql, bound)
        return _Done((), self.cursor.rowcount)

    def commit(self) -> None:
        if not self._grouped:
            self.cursor.execute("COMMIT")


class _Options:
    """Options of the URI's query."""

    def __init__(self, uri: StoreURI) -> None:
        given = uri.options("synchronous", "busy_timeout", "journal_mode")
        self.synchronous = _one_of(given.get("synchronous", "normal"), _SYNCHRONOUS, "synchronous")
        self.journal = _one_of(given.get("journal_mode", "wal"), _JOURNALS, "journal_mode")
        self.busy_timeout = _seconds(given.get("busy_timeout", "60"))


def _one_of(value: str, known: Sequence[str], name: str) -> str:
    if value.lower() not in known:
        raise InvalidParameterValue(f"Invalid value {value!r} for option {name}; known values: {', '.join(known)}.")
    return value.lower()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise InvalidParameterValue(f"Invalid value {text!r} for option busy_timeout; give seconds, 0 … 86400.")
    return seconds


class _Connections:
    """The connections of one process: a writer behind a lock, and a pool of readers.

    One writer at a time per process keeps threads from fighting over the file's lock, whose waiting is neither fair nor
    quick. Other processes wait in SQLite's own busy handler.
    """

    def __init__(self, connect: Callable[[], Any], *, shared: bool) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self._connect = connect
        self._writer: sqlite3.Connection | None = None
        self._readers = None if shared else pool.QueuePool(connect, pool_size=8, max_overflow=56, reset_on_return=None)
        _OPEN.add(self)

    def writer(self) -> sqlite3.Connection:
        """The writing connection; hold `lock`."""
        connection: sqlite3.Connection = self._writer or self._connect()
        self._writer = connection
        return connection

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Lend a reading connection; a database in memory has but one connection, for everything."""
        if self._readers is None:
            with self.lock:
                return work(self.writer())
        lent = self._readers.connect()
        try:
            connection: Any = lent.dbapi_connection
            return work(connection)
        finally:
            lent.close()

    def forget_readers(self) -> None:
        """Close idle readers, so that the next ones open anew."""
        if self._readers is not None:
            self._readers.dispose()
            self._readers = self._readers.recreate()

    def close(self) -> None:
        """Close all."""
        with self.lock:
            self.forget_readers()
            if self._writer is not None:
                self._writer.close()
                self._writer = None


_OPEN: weakref.WeakSet[_Connections] = weakref.WeakSet()
_held: list[threading.Lock] = []


def _hold_writers() -> None:
    """Let no thread be inside SQLite with a write while the process forks: the child could never use SQLite again."""
    _held.extend(connections.lock for connections in list(_OPEN) if connections.lock.acquire(timeout=5))


def _release_writers() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_writers, after_in_parent=_release_writers, after_in_child=_release_writers)


class _Mine(threading.local):
    """The group of writes that a thread is in."""

    group: WriteGroup | None = None


class SqliteDatabase(Database):
    """An SQLite file, or a database in memory that all threads of the store share.

    Attributes:
        path: The file, or None for a database in memory.
        may_create: Whether a missing file is created; off once the store is open, when a file that is gone is an error.
    """

    def __init__(self, path: str | None, options: _Options, *, read_only: bool) -> None:
        self._dialect = SqliteDialect()
        self.path = path
        self._options = options
        self._read_only = read_only
        self.may_create = not read_only
        self._immutable: tuple[object, ...] | None = None
        self._tables: set[str] = set()
        self._mine = _Mine()
        self._connections = self._new_connections()

    @property
    def dialect(self) -> SqliteDialect:
        return self._dialect

    def _new_connections(self) -> _Connections:
        return _Connections(self._connect, shared=self.path is None)

    def _here(self) -> _Connections:
        """This process's connections: those to a file that were inherited through a fork must not be used."""
        if self.path is not None and self._connections.pid != os.getpid():
            self._connections = self._new_connections()
        return self._connections

    def _connect(self) -> sqlite3.Connection:
        target = ":memory:"
        if self.path is not None:
            target = f"file:{quote(self.path)}?{self._mode()}"
        connection = sqlite3.connect(
            target,
            timeout=self._options.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
            cached_statements=256,
        )
        try:
            connection.create_function("holdall_ilike", 2, _ilike, deterministic=True)
            connection.execute("PRAGMA case_sensitive_like=ON")
            connection.execute(f"PRAGMA synchronous={self._options.synchronous}")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("PRAGMA cache_size=-16000")
            connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _mode(self) -> str:
        """How to open the file. Reading a WAL database that nobody writes to would create files beside it."""
        if not self._read_only:
            return "mode=rwc" if self.may_create else "mode=rw"
        self._immutable = self._stamp() if self._is_quiet_wal() else None
        return "mode=ro&immutable=1" if self._immutable else "mode=ro"

    def _is_quiet_wal(self) -> bool:
        assert self.path is not None
        with open(self.path, "rb") as file:
            header = file.read(20)
        return header[18:19] == b"\2" and not os.path.exists(self.path + "-wal")

    def _stamp(self) -> tuple[object, ...]:
        assert self.path is not None
        stat = os.stat(self.path)
        return stat.st_mtime_ns, stat.st_size, stat.st_ino, os.path.exists(self.path + "-wal")

    def read(self, work: Callable[[SqliteSession], T]) -> T:
        def transaction(connection: sqlite3.Connection) -> T:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            try:
                return work(SqliteSession(self.dialect, cursor, reads=True))
            finally:
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")

        group = self._mine.group
        if group is not None and group.begun:
            try:
                return work(SqliteSession(self.dialect, group.cursor()))
            except sqlite3.Error as error:
                raise self.dialect.translate(error) from error
        while True:
            here = self._here()
            seen = self._immutable
            try:
                result = here.read(transaction)
            except (sqlite3.Error, exc.TimeoutError) as error:
                if self._still_is(seen):
                    raise self.dialect.translate(error) from error
            else:
                if self._still_is(seen):
                    return result
            if seen is not None:
                here.forget_readers()

    def _still_is(self, seen: tuple[object, ...] | None) -> bool:
        """Whether the file is what it was opened as: a writer may come to one that was taken for unchanging."""
        return self._immutable is None or (seen == self._immutable == self._stamp())

    def write(self, work: Callable[[SqliteSession], T]) -> T:
        here = self._here()
        group = self._mine.group
        try:
            if group is not None:
                return group.call(lambda cursor: work(SqliteSession(self.dialect, cursor, grouped=True)))
            with here.lock:
                cursor = here.writer().cursor()
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    result = work(SqliteSession(self.dialect, cursor))
                    if cursor.connection.in_transaction:
                        cursor.execute("COMMIT")
                except BaseException:
                    if cursor.connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    raise
                return result
        except sqlite3.Error as error:
            raise self.dialect.translate(error) from error

    def run(self, statement: Statement, *values: object) -> int:
        here = self._here()
        group = self._mine.group
        try:
            if group is not None:
                return SqliteSession(self.dialect, group.cursor()).run(statement, *values)
            with here.lock:  # outside a transaction, SQLite makes one of a statement
                return SqliteSession(self.dialect, here.writer().cursor()).run(statement, *values)
        except sqlite3.Error as error:
            raise self.dialect.translate(error) from error

    @contextmanager
    def group(self) -> Iterator[None]:
        if self.path is None or self._read_only or self._mine.group is not None:
            yield
            return
        here = self._here()
        group = self._mine.group = WriteGroup(here.lock, here.writer)
        done = False
        try:
            yield
            done = True
        finally:
            self._mine.group = None
            try:
                group.end(commit=done)
            except sqlite3.Error as error:
                self._tables.clear()
                raise self.dialect.translate(error) from error

    def one(self, statement: Statement, *values: object) -> Row | None:
        return self.write(lambda session: session.one(statement, *values))

    def has(self, table: sa.Table) -> bool:
        if table.name not in self._tables:
            found = self.read(lambda session: session.text("SELECT 1 FROM sqlite_master WHERE name = ?", (table.name,)))
            self._tables.update([table.name] if found else [])
        return table.name in self._tables

    def need(self, table: sa.Table) -> None:
        if not self.has(table):
            statement = str(CreateTable(table, if_not_exists=True).compile(dialect=self.dialect.sqlalchemy))
            self.write(lambda session: session.do_text(statement))
            self._tables.add(table.name)

    def use_journal(self) -> None:
        """Switch to the journal mode asked for; where another program holds the file, leave it as it is."""
        deadline = time.monotonic() + min(self._options.busy_timeout, 5)
        with self._here().lock:
            connection = self._here().writer()
            connection.execute("PRAGMA busy_timeout=0")  # one attempt must not wait longer than all may
            while _is_busy_switching(connection, self._options.journal) and time.monotonic() < deadline:
                time.sleep(0.01)
            connection.execute(f"PRAGMA busy_timeout={round(self._options.busy_timeout * 1000)}")

    def facts(self) -> dict[str, str]:
        """What there is to say about the opened database."""

        def work(connection: sqlite3.Connection) -> dict[str, str]:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # notices a switch of the journal
            (number,) = connection.execute("PRAGMA synchronous").fetchone()
            return {
                "SQLite": sqlite3.sqlite_version,
                # SQLite says "delete" of what it was told is immutable.
                "journal": "wal" if self._immutable else _journal_mode(connection),
                "synchronous": _SYNCHRONOUS[number],
            }

        return self._here().read(work)

    def close(self) -> None:
        if self._connections.pid == os.getpid():
            self._connections.close()


def open_database(path: str) -> SqliteDatabase:
    """A database file for what can be made again, created if it is missing; what is in it is the caller's.

    It never waits for the disk: what it holds is worth nothing after the machine has crashed.

    Raises:
        HoldallError: The file cannot be opened, or is no database.
    """
    database = SqliteDatabase(
        path, _Options(StoreURI("sqlite", path=path, query=(("synchronous", "off"),))), read_only=False
    )
    try:
        database.use_journal()
    except sqlite3.Error as error:
        database.close()
        raise database.dialect.translate(error) from error
    return database


def _is_busy_switching(connection: sqlite3.Connection, mode: str) -> bool:
    """Try to switch the journal mode; whether it is worth trying again. What else forbids it, writes will tell."""
    try:
        connection.execute(f"PRAGMA journal_mode={mode}")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False


def _journal_mode(connection: sqlite3.Connection) -> str:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


def _ilike(pattern: str, value: object) -> bool | None:
    return ilike(pattern, value) if isinstance(value, str) else None


class SqliteBackendStore(SqlBackendStore):
    """Experiments, runs and logged models in an SQLite file, or in memory.

    **URI.** `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite:///:memory:`; options `synchronous` (`off`,
    `normal`, `full`, `extra`; default `normal`), `busy_timeout` (seconds to wait for other writers, default 60) and
    `journal_mode` (`wal`, or `delete` for disks that WAL does not work on, such as network ones).

    **Threads and processes.** Any number of both, on one machine, also when they open the same new file at once.
    Readers never wait for writers. Writers wait for each other. A process may fork, and go on on both sides.

    **Durability.** With WAL and `synchronous=normal` what a call wrote survives `kill -9` of any process once the call
    has returned. A power failure may lose the last calls, never the file's consistency; with `synchronous=full` it
    loses nothing. The default in-memory database lives as long as the store.

    **Databases of MLflow** 2.22 and 3.x are opened in place, without a migration. Their FLOAT columns lose the sign of
    −0.0.

    **Read-only** opening creates and changes no file. Where a crashed writer left a write-ahead log, SQLite needs to
    create its index file beside it.
    """

    def __init__(
        self, uri: StoreURI, *, artifact_root: StoreURI | None = None, read_only: bool = False, create: bool = True
    ) -> None:
        if uri.driver not in (None, "pysqlite"):
            raise InvalidParameterValue(f"Unknown driver in {uri}; write sqlite:///…")
        options = _Options(uri)
        path = None if uri.path in _MEMORY else os.path.abspath(uri.path)
        if path is not None:
            _check_file(path, must_exist=read_only or not create)
        elif read_only:
            raise InvalidParameterValue(f"{uri} cannot be opened read-only: a new database in memory holds nothing.")
        database = SqliteDatabase(path, options, read_only=read_only)
        try:
            super().__init__(uri, database, artifact_root=artifact_root, read_only=read_only)
            self._sqlite = database
            self._schema = self._open(database, create=create and not read_only)
            self._settle(self._schema)
            database.may_create = False
        except BaseException:
            database.close()
            raise

    def _open(self, database: SqliteDatabase, *, create: bool) -> opening.Schema:
        schema = database.read(_inspect)
        if schema is not None:
            opening.check(schema, self.uri)
            if not self.read_only:
                database.use_journal()
            return schema
        if not create:
            raise NotFound(f"There is no store in {self.uri}: the database is empty.")
        database.use_journal()
        self.created = database.write(lambda session: _create(session, self._default_location()))
        schema = database.read(_inspect)
        assert schema is not None
        opening.check(schema, self.uri)
        return schema

    def _default_location(self) -> str:
        return self.artifact_root.join("0").render(hide_password=False)

    def _default_artifact_root(self) -> StoreURI:
        """`mlartifacts` beside the file; in the working directory for a database in memory."""
        if self.uri.path in _MEMORY:
            return super()._default_artifact_root()
        return StoreURI.parse(self.uri.local_path.parent / "mlartifacts")

    @property
    def capabilities(self) -> Capabilities:
        on_disk = self._sqlite.path is not None
        return Capabilities(
            persistent=on_disk,
            multi_process=on_disk,
            crash_safe=on_disk,
            concurrent_creation=on_disk,
            negative_zero=_keeps_negative_zero(self._schema),
            logged_models=True,
            database=True,
        )

    @property
    def _administration(self) -> SqliteAdministration:
        return SqliteAdministration(self._sqlite, self._schema, own=_keeps_negative_zero(self._schema))

    def describe(self) -> dict[str, str]:
        facts = {**super().describe(), **self._sqlite.facts(), **self._schema.facts()}
        if _keeps_negative_zero(self._schema):
            return {**facts, "layout": "holdall"}
        return {**facts, "layout": "MLflow", "limits": "the sign of -0.0 is lost in MLflow's FLOAT columns"}


def _inspect(session: SqliteSession) -> opening.Schema | None:
    columns: opening.Columns = {}
    for table, column, declared in session.text(
        "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c "
        "WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ):
        columns.setdefault(table, {})[column] = opening.ColumnFacts(declared.upper())
    return opening.inspect(session, columns)


def _create(session: SqliteSession, default_location: str) -> bool:
    """Create the schema and experiment 0, unless another process has done so meanwhile; whether it was done now."""
    if _inspect(session) is not None:
        return False
    for statement in opening.definitions(session.dialect.sqlalchemy):
        session.do_text(statement)
    opening.fill(session, default_location)
    return True


def _keeps_negative_zero(schema: opening.Schema) -> bool:
    """Whether metric values are in columns without affinity, as holdall makes them."""
    return schema.columns["metrics"]["value"].type == "BLOB"


def _check_file(path: str, *, must_exist: bool) -> None:
    file = Path(path)
    if file.is_dir():
        raise InvalidParameterValue(
            f"{path} is a folder; name a file in it, such as sqlite:///{path.rstrip('/')}/mlflow.db"
        )
    if must_exist and not file.exists():
        raise NotFound(f"There is no database {path}.")
    if not file.parent.is_dir():
        raise InvalidParameterValue(f"The folder {file.parent} does not exist; create it first.")
