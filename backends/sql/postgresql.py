"""PostgreSQL 13 and later: its dialect, its drivers, and the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.sql.elements import ClauseElement

from holdall.backends.sql import opening
from holdall.backends.sql.database import Session
from holdall.backends.sql.dialect import OnConflictDialect, OnConflictInsert, Rows, fold_by_replacing
from holdall.backends.sql.postgresql_administration import PostgresqlAdministration
from holdall.backends.sql.server import Call, Driver, ServerDatabase, ServerDialect, Trouble, import_driver
from holdall.backends.sql.server_options import ServerOptions, flag, whole
from holdall.backends.sql.server_store import ServerBackendStore
from holdall.stores.errors import (
    AlreadyExists,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    TemporarilyUnavailable,
    Unauthenticated,
)
from holdall.stores.search.like import folding_for
from holdall.stores.uri import StoreURI

__all__ = ["PostgresqlBackendStore", "PostgresqlDialect"]

_LOCK = 4_850_915_203_117
"""Key of the advisory lock under which a schema is created; any number that is always the same."""

_CONFLICTS = frozenset({"40001", "40P01", "55P03", "23503"})
"""Serialization failure, deadlock, lock timeout; a foreign key whose other end was just deleted or created."""

_BUSY = frozenset({"53300", "57P03"})
"""Too many connections; starting up."""


class PostgresqlDialect(OnConflictDialect, ServerDialect):
    """PostgreSQL.

    Args:
        driver: The DBAPI module that statements are compiled for.
    """

    plans_by_statistics = True
    joins_planned = 6
    combines_writes = True
    begin_read = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    begin_write = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",)
    skip_used_ids = (
        "SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), max(experiment_id)) "
        "FROM experiments WHERE experiment_id < 1000000000000000"  # those from elsewhere have 18 digits
    )

    def __init__(self, driver: str) -> None:
        self.key = f"postgresql+{driver}"
        self.sqlalchemy = make_url(f"postgresql+{driver}://").get_dialect()()

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        names = [f"rows_{column.name}" for column in columns]
        arrays = [
            sa.cast(sa.bindparam(name, type_=sa.Text()), postgresql.ARRAY(_plain(column.type)))
            for name, column in zip(names, columns, strict=True)
        ]
        source = sa.func.unnest(*arrays).table_valued(*(f"given_{column.name}" for column in columns))
        return Rows(source.render_derived(), names, lambda rows: [_array(values) for values in zip(*rows, strict=True)])

    def _insert_into(self, table: sa.Table) -> OnConflictInsert:
        return postgresql.insert(table)

    def one_of(self, column: sa.ColumnElement[Any], items: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        element = sa.BigInteger() if isinstance(column.type, sa.Integer) else sa.Text()
        # Unlike `= ANY`, this is never a comparison of each row with each item, even while there are no statistics.
        listed = sa.cast(sa.type_coerce(items, sa.Text()), postgresql.ARRAY(element))
        return column.in_(sa.select(sa.func.unnest(listed, type_=element)))

    def bind_list(self, values: Sequence[str] | Sequence[int]) -> object:
        return _array(values)

    def of_each(
        self, owner: sa.Column[Any], columns: Sequence[sa.ColumnElement[Any]], owners: sa.BindParameter[Any]
    ) -> ClauseElement:
        # The offset keeps the planner from reading all of a table for the rows of a few owners.
        wanted = _unnested(owners)
        rows = sa.select(*columns).where(owner == wanted.c.owner).offset(0).lateral("rows_of_owner")
        return sa.select(wanted.c.owner, *rows.c).select_from(wanted.join(rows, sa.true()))

    def objects_of_each(
        self,
        owner: sa.Column[Any],
        key: sa.ColumnElement[Any],
        value: sa.ColumnElement[Any],
        owners: sa.BindParameter[Any],
    ) -> ClauseElement:
        wanted = _unnested(owners)
        found = sa.select(self.object_of(key, value).label("text")).where(owner == wanted.c.owner).offset(0)
        rows = found.lateral("object_of_owner")
        joined = wanted.join(rows, sa.true())
        return sa.select(wanted.c.owner, rows.c.text).select_from(joined).where(rows.c.text.is_not(None))

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.collate(column, "C")

    def object_of(self, key: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        return sa.cast(sa.func.json_object_agg(key, value), sa.Text())

    def missing_last(self, column: sa.ColumnElement[Any], *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        return [sa.nulls_last(column.asc() if ascending else column.desc())]

    def divide(self, dividend: sa.ColumnElement[int], divisor: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return dividend.op("/", precedence=9, return_type=sa.BigInteger())(divisor)

    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return self.by_code_point(column).like(pattern, escape="")

    def ilike(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        folding = folding_for(pattern)
        text = self.by_code_point(column)
        single = [pair for pair in folding.replacements if len(pair[1]) == 1]
        if single:
            sources, targets = ("".join(part) for part in zip(*single, strict=True))
            text = sa.func.translate(text, sources, targets)
        folded = fold_by_replacing(text, folding, characters=False)
        return self.by_code_point(folded).like(folding.pattern, escape="")

    def trouble(self, error: Exception) -> Trouble:
        code = _state(error)
        if code in _CONFLICTS:
            return Trouble.CONFLICT
        if code in _BUSY:
            return Trouble.BUSY
        if code is None:
            return Trouble.LOST if type(error).__name__ in ("OperationalError", "InterfaceError") else Trouble.NONE
        return Trouble.LOST if code.startswith(("08", "57P")) else Trouble.NONE

    def translate(self, error: Exception) -> HoldallError:
        code = _state(error) or ""
        kind, text = _MEANINGS.get(code) or _MEANINGS.get(code[:2]) or (InternalError, "")
        return kind(text or f"The PostgreSQL server failed ({code or type(error).__name__}).")


_MEANINGS: Mapping[str, tuple[type[HoldallError], str]] = {
    "22001": (InvalidParameterValue, "A text is longer than this database's column takes. Nothing was written."),
    "22003": (InvalidParameterValue, "A number is greater than this database's column takes. Nothing was written."),
    "22P05": (InvalidParameterValue, "The database is not in UTF-8 and cannot hold a character. Nothing was written."),
    "23505": (AlreadyExists, "Another writer has just created the same thing. Nothing was written."),
    "25006": (ReadOnly, "The PostgreSQL server takes no writes: it is a replica, or set read-only."),
    "28": (Unauthenticated, "The PostgreSQL server does not accept the user or the password."),
    "3D000": (NotFound, "The PostgreSQL server has no such database; create it with CREATE DATABASE."),
    "42501": (ReadOnly, "The PostgreSQL user may not do this; grant it CREATE on the schema and DML on its tables."),
    "53100": (InternalError, "The disk of the PostgreSQL server is full. Nothing was written."),
    "57014": (TemporarilyUnavailable, "The PostgreSQL server cancelled the statement: it took longer than allowed."),
    "53300": (TemporarilyUnavailable, "The PostgreSQL server has too many connections; lower pool_size in the URIs."),
    "57P03": (TemporarilyUnavailable, "The PostgreSQL server is starting up or shutting down; try again."),
}
"""What SQLSTATEs mean, by code or class (PostgreSQL documentation, appendix A)."""


_REFUSALS = (
    ("the database system is", "57P03"),  # starting up, shutting down, in recovery
    ("authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("role", "28000"),
    ("database", "3D000"),
    ("too many clients", "53300"),
    ("connection slots", "53300"),
)
"""What libpq says of a connection that was refused, for which drivers give no code."""


def _state(error: Exception) -> str | None:
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if code is not None or type(error).__name__ != "OperationalError":
        return None if code is None else str(code)
    said = str(error)
    return next((code for words, code in _REFUSALS if words in said), None) if _is_refusal(said) else None


def _is_refusal(said: str) -> bool:
    """Whether the server itself answered: what it says begins so; a password that is missing is noticed before."""
    return "FATAL:" in said or "no password supplied" in said


def _unnested(texts: sa.BindParameter[Any]) -> sa.TableValuedAlias:
    listed = sa.cast(sa.type_coerce(texts, sa.Text()), postgresql.ARRAY(sa.Text()))
    return (
        sa.func.unnest(listed, type_=sa.Text())
        .table_valued(sa.column("owner", sa.Text()), name="wanted")
        .render_derived()
    )


def _plain(column: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    return sa.Text() if isinstance(column, sa.String) else column


def _array(values: Sequence[object]) -> str:
    """The text of an array: the server reads it faster than drivers write their own."""
    if values and isinstance(values[0], str | None):
        return "{" + ",".join(map(_quoted, values)) + "}"
    return "{" + str(list(values))[1:-1] + "}"


def _quoted(text: object) -> str:
    if text is None:
        return "NULL"
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(_: str, value: str) -> object:
    return value


def _count(name: str, value: str) -> object:
    return whole(name, value, 0, 2**31 - 1)


_LIBPQ: Mapping[str, Callable[[str, str], object]] = {
    **dict.fromkeys(
        (
            "application_name",
            "channel_binding",
            "gssencmode",
            "host",
            "options",
            "passfile",
            "sslcert",
            "sslcrl",
            "sslkey",
            "sslmode",
            "sslrootcert",
            "target_session_attrs",
        ),
        _text,
    ),
    **dict.fromkeys(
        (
            "connect_timeout",
            "keepalives",
            "keepalives_count",
            "keepalives_idle",
            "keepalives_interval",
            "tcp_user_timeout",
        ),
        _count,
    ),
}


class _PostgresqlDriver(Driver):
    """What both drivers share.

    Args:
        uri: Where to connect to.
        options: Of the connection.
    """

    def __init__(self, uri: StoreURI, options: ServerOptions) -> None:
        database = uri.path.removeprefix("/")
        if not database or "/" in database:
            raise InvalidParameterValue(f"{uri} names no database; write postgresql://user@host/database.")
        given: dict[str, object] = {
            "host": uri.host,
            "port": uri.port,
            "user": uri.username,
            "dbname": database,
            "connect_timeout": 10,
            "application_name": "holdall",
            "client_encoding": "utf8",
            **options.driver,
        }
        self._arguments = {name: value for name, value in given.items() if value not in (None, "")}


class _Psycopg(_PostgresqlDriver):
    """Psycopg 3: several statements go out in one round trip, in its pipeline mode, as one implicit transaction."""

    sends_transactions = True

    def __init__(self, uri: StoreURI, options: ServerOptions) -> None:
        super().__init__(uri, options)
        psycopg = import_driver("psycopg", uri, "holdall[postgres]")
        self.errors = (psycopg.Error,)
        self._connect: Callable[..., Any] = psycopg.connect
        self._prepare = self._arguments.pop("prepare_threshold", 5)

    def connect(self, password: str | None) -> Any:
        arguments: dict[str, Any] = {**self._arguments, "prepare_threshold": self._prepare or None}
        return self._connect(**arguments, **({} if password is None else {"password": password}), autocommit=True)

    def send(self, connection: Any, calls: Sequence[Call]) -> None:
        if len(calls) == 1 and not calls[0].parameters:
            _fill(calls[0], connection.execute(calls[0].sql, prepare=False, binary=True))
            return
        with connection.pipeline():  # also for one: to prepare it would be a round trip of its own
            cursors = [
                connection.execute(call.sql, call.parameters, prepare=None if call.parameters else False, binary=True)
                for call in calls
            ]
        for call, cursor in zip(calls, cursors, strict=True):
            _fill(call, cursor)

    def is_usable(self, connection: Any) -> bool:
        status = connection.info.transaction_status
        return not connection.closed and connection.pgconn.pipeline_status == 0 and status.name != "ACTIVE"


class _Psycopg2(_PostgresqlDriver):
    """Psycopg 2: each statement is a round trip."""

    def __init__(self, uri: StoreURI, options: ServerOptions) -> None:
        super().__init__(uri, options)
        psycopg2 = import_driver("psycopg2", uri, "psycopg2-binary")
        self.errors = (psycopg2.Error,)
        self._connect: Callable[..., Any] = psycopg2.connect
        self._arguments.pop("prepare_threshold", None)

    def connect(self, password: str | None) -> Any:
        arguments: dict[str, Any] = dict(self._arguments)
        connection = self._connect(**arguments, **({} if password is None else {"password": password}))
        connection.autocommit = True
        return connection

    def send(self, connection: Any, calls: Sequence[Call]) -> None:
        for call in calls:
            cursor = connection.cursor()
            cursor.execute(call.sql, call.parameters)
            _fill(call, cursor)

    def is_usable(self, connection: Any) -> bool:
        return not connection.closed


def _fill(call: Call, cursor: Any) -> None:
    call.fill(cursor.fetchall() if cursor.description else (), cursor.rowcount)


_DRIVERS: Mapping[str, type[_PostgresqlDriver]] = {"psycopg": _Psycopg, "psycopg2": _Psycopg2}


class PostgresqlBackendStore(ServerBackendStore):
    """A PostgreSQL database, `postgresql://user@host/database`: where a team outgrows one machine.

    **Threads and processes** share the database freely, on any number of machines. Each call takes a connection from a
    pool and gives it back at once.

    **Ordering and visibility**: every call is one transaction. What it wrote is seen by every call that begins after it
    returned, on whatever connection to the same server; a replica may lag behind. Reads see one moment of the database.

    **Durability** is the server's: what a call acknowledged is committed, and survives a crash of this process and of
    the server unless `synchronous_commit` or `fsync` is off there.

    **Retries**: deadlocks and serialization failures are run again by themselves, and so are calls whose connection
    broke, for `retry_timeout` seconds. Running a call again changes nothing.

    **Databases of MLflow** 2.22 and 3.x are opened in place, without a migration, in whatever collation. Their columns
    are narrower (names of experiments, artifact locations) and keep 32-bit experiment ids; longer values are refused.

    **Read-only** opening creates nothing and begins read-only transactions.
    """

    def _connect(self, uri: StoreURI) -> ServerDatabase:
        name = uri.driver or "psycopg"
        if name not in _DRIVERS:
            raise InvalidParameterValue(f"Unknown driver {name!r} in {uri}; known drivers: {', '.join(_DRIVERS)}.")
        options = ServerOptions(uri, {**_LIBPQ, "prepare_threshold": _count, "keepalives": flag})
        return ServerDatabase(PostgresqlDialect(name), _DRIVERS[name](uri, options), options)

    @property
    def _administration(self) -> PostgresqlAdministration:
        return PostgresqlAdministration(self._database, self._schema, own=self._is_own)

    def _columns(self, session: Session) -> opening.Columns:
        columns: opening.Columns = {}
        for table, column, kind, length, collation in session.text(
            "SELECT t.relname, a.attname, format_type(a.atttypid, NULL), "
            "CASE WHEN a.atttypmod > 4 THEN a.atttypmod - 4 END, l.collname "
            "FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "LEFT JOIN pg_collation l ON l.oid = a.attcollation "
            "WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p', 'v', 'm')"
        ):
            columns.setdefault(table, {})[column] = opening.ColumnFacts(kind.upper(), length, collation)
        return columns

    def _facts(self, session: Session) -> dict[str, str]:
        ((version, encoding, collation),) = session.text(
            "SELECT current_setting('server_version'), current_setting('server_encoding'), datcollate "
            "FROM pg_database WHERE datname = current_database()"
        )
        return {"PostgreSQL": version.partition(" ")[0], "encoding": encoding, "collation": collation}

    def _check_server(self, facts: dict[str, str]) -> None:
        if int(facts["PostgreSQL"].partition(".")[0]) < 13:
            raise InvalidParameterValue(f"{self.uri} is PostgreSQL {facts['PostgreSQL']}; 13 or later is needed.")

    def _limits(self, facts: dict[str, str]) -> list[str]:
        return [] if facts["encoding"] == "UTF8" else [f"the encoding {facts['encoding']} cannot hold every character"]

    def _create(self, database: ServerDatabase) -> bool:
        def work(session: Session) -> bool:
            session.do_text(f"SELECT pg_advisory_xact_lock({_LOCK})")
            if self._columns(session):
                return False
            for statement in opening.definitions(database.dialect.sqlalchemy):
                session.do_text(statement)
            opening.fill(session, self._default_location())
            return True

        return database.write(work)
