"""MySQL 8 and MariaDB 10.6 and later: their dialect, their drivers, and the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import BinaryExpression, ColumnClause
from sqlalchemy.sql.selectable import TableClause
from sqlalchemy.sql.visitors import InternalTraversal

from holdall.backends.sql import opening
from holdall.backends.sql.database import Session
from holdall.backends.sql.dialect import OrderedJoin, Rows, fold_by_replacing
from holdall.backends.sql.mysql_administration import MysqlAdministration
from holdall.backends.sql.schema import HOLDALL_TABLES, MARIADB_COLLATION, MYSQL_COLLATION
from holdall.backends.sql.server import (
    Call,
    Driver,
    ServerDatabase,
    ServerDialect,
    ServerSession,
    Trouble,
    import_driver,
)
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

__all__ = ["MysqlBackendStore", "MysqlDialect"]

_EXACT = frozenset({MYSQL_COLLATION, MARIADB_COLLATION})

_CONFLICTS = frozenset({1213, 1205, 1020, 1412, 1452, 1451})
"""Deadlock, lock timeout, row or table changed since the view; a foreign key whose other end just came or went."""

_LOST = frozenset({0, 1053, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""Server shutting down, connection killed, refused, gone, lost."""

_BUSY = frozenset({1040, 1203})
"""Too many connections."""

_LOCK_SECONDS = 120

_MODES = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO"
"""Nothing is cut short, and experiment 0 gets the id 0."""

_MULTI_STATEMENTS = (1 << 16) | (1 << 17)
"""Flags of the protocol: several statements in one text, several results."""

_SESSION = (
    f"SET SESSION sql_mode = '{_MODES}', autocommit = 1 /*M! , optimizer_switch = 'exists_to_in=off' */",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
"""What every connection begins with, whatever the server's defaults are.

MariaDB must not start a search at the rows that a filter finds, when it is to walk an index in order.
"""


@compiles(OrderedJoin, "mysql", "mariadb")
def _compile_straight_join(join: OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    left, right = compiler.process(join.left, **options), compiler.process(join.right, **options)
    assert join.onclause is not None
    return f"{left} STRAIGHT_JOIN {right} ON {compiler.process(join.onclause, **options)}"


class _JsonTable(TableClause):
    """The rows of a JSON array of arrays, given as one parameter."""

    inherit_cache = False

    def __init__(self, parameter: sa.BindParameter[str], columns: Sequence[tuple[str, str]]) -> None:
        super().__init__("given", *(sa.column(name) for name, _ in columns))
        self.parameter = parameter
        self.types = columns


@compiles(_JsonTable)
def _compile_json_table(table: _JsonTable, compiler: SQLCompiler, asfrom: bool = False, **options: Any) -> str:
    if not asfrom:
        return "given"
    columns = ", ".join(f"{name} {kind} PATH '$[{place}]'" for place, (name, kind) in enumerate(table.types))
    return f"JSON_TABLE({compiler.process(table.parameter, **options)}, '$[*]' COLUMNS ({columns})) given"


class _Json(str):
    """A text that is long, and that is written out in a quicker way than others."""

    __slots__ = ()


def _write_json(text: str, _: object = None) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class MysqlDialect(ServerDialect):
    """MySQL and MariaDB.

    Args:
        flavour: `mysql` or `mariadb`.
        driver: The DBAPI module that statements are compiled for.
        exact: Whether all text columns tell all texts apart. Where they do not, comparisons with a value say it twice:
            as the database's indexes need it, and exactly.
    """

    returns_ids = False
    sorts_runs_of_equals = False
    keeps_negative_zero = False
    current_schema = "database"
    begin_read = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    begin_write = ("START TRANSACTION",)

    def __init__(self, flavour: str, driver: str, *, exact: bool) -> None:
        self.key = f"{flavour}+{driver}" + ("" if exact else " inexact")
        self.flavour = flavour
        self.driver = driver
        self.exact_text = exact
        self.sqlalchemy = make_url(f"{flavour}+{driver}://").get_dialect()()
        self._collation = MARIADB_COLLATION if flavour == "mariadb" else MYSQL_COLLATION
        if not exact:
            base: type[SQLCompiler] = self.sqlalchemy.statement_compiler
            collation = self._collation

            class ExactCompiler(base):  # type: ignore[misc, valid-type]  # the base differs by driver
                def visit_eq_binary(self, binary: BinaryExpression[bool], operator: object, **options: Any) -> str:
                    left, right = self.process(binary.left, **options), self.process(binary.right, **options)
                    if not _compares_text(binary):
                        return f"{left} = {right}"
                    again = self.process(binary.right, **options)
                    return f"({left} = {right} AND CONVERT({left} USING utf8mb4) COLLATE {collation} = {again})"

            self.sqlalchemy.statement_compiler = ExactCompiler

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        types = [(f"given_{column.name}", _json_type(column)) for column in columns]
        source = _JsonTable(sa.bindparam("given_rows", type_=sa.Text()), types)
        return Rows(source, ["given_rows"], lambda rows: [_Json(json.dumps(rows, ensure_ascii=False))])

    def insert_or_ignore(
        self,
        table: sa.Table,
        columns: Sequence[str],
        *,
        when: sa.ColumnElement[bool] | None = None,
        rows: Rows | None = None,
    ) -> Insert:
        # INSERT IGNORE would cut values short instead of refusing them.
        same = next(iter(table.primary_key.columns)).name
        insert = self._insert(mysql.insert(table), columns, when, rows)
        assert isinstance(insert, mysql.Insert)
        return insert.on_duplicate_key_update({same: table.c[same]})

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
        insert = self._insert(mysql.insert(table), columns, when, rows)
        assert isinstance(insert, mysql.Insert)
        condition = _is_newer(table, newer_by) if newer_by else None
        texts = [column for column in key if isinstance(table.c[column].type, sa.String)]
        if not self.exact_text:
            for column in texts:
                same = self.by_code_point(table.c[column]) == self.by_code_point(_fresh(column))
                condition = same if condition is None else sa.and_(same, condition)
        # A column set before is seen as new by what follows it, so the most significant comes last.
        order = [*(column for column in columns if column not in key and column not in newer_by), *reversed(newer_by)]
        changed = [
            (name, _fresh(name) if condition is None else sa.func.if_(condition, _fresh(name), table.c[name]))
            for name in order
        ]
        return insert.on_duplicate_key_update(changed)

    def one_of(self, column: sa.ColumnElement[Any], items: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        return column.op("IN", is_comparison=True, return_type=sa.Boolean())(sa.type_coerce(items, sa.Text()))

    def bind_list(self, values: Sequence[str] | Sequence[int]) -> object:
        return tuple(values) or (None,)  # drivers write a list out; it must not be empty

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if self.exact_text and isinstance(column, ColumnClause):  # others have the connection's collation
            return column
        return sa.collate(_Utf8(column), self._collation)

    def object_of(self, key: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        return sa.func.json_objectagg(key, value)

    def missing_last(self, column: sa.ColumnElement[Any], *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        return [column.is_(None).asc(), column.asc()] if ascending else [column.desc()]

    def divide(self, dividend: sa.ColumnElement[int], divisor: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return dividend.op("DIV", precedence=9, return_type=sa.BigInteger())(divisor)

    def like(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        return _like(self.by_code_point(column), pattern)

    def ilike(self, column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
        folding = folding_for(pattern)
        return _like(fold_by_replacing(self.by_code_point(column), folding), folding.pattern)

    def trouble(self, error: Exception) -> Trouble:
        code = _number(error)
        if code in _CONFLICTS:
            return Trouble.CONFLICT
        if code in _BUSY:
            return Trouble.BUSY
        return Trouble.LOST if code in _LOST else Trouble.NONE

    def translate(self, error: Exception) -> HoldallError:
        code = _number(error)
        kind, text = _MEANINGS.get(code or -1, (InternalError, ""))
        return kind(text or f"The MySQL server failed ({code or type(error).__name__}).")


def _fresh(name: str) -> sa.ColumnElement[Any]:
    """What an insertion gives for a column, where a row with its key is there."""
    return sa.func.values(sa.column(name))


def _is_newer(table: sa.Table, by: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether the new row is greater, without a comparison of rows: MySQL takes no VALUES() in one."""
    newer: sa.ColumnElement[bool] = sa.false()
    for name in reversed(by):
        known = sa.func.coalesce(table.c[name], -1) if table.c[name].nullable else table.c[name]
        newer = sa.or_(_fresh(name) > known, sa.and_(_fresh(name) == known, newer))
    return newer


def _like(column: sa.ColumnElement[Any], pattern: str) -> sa.ColumnElement[bool]:
    """LIKE without a character that escapes: an empty one means the backslash to MySQL.

    The column is hidden from indexes, whose range for a pattern ends before the characters beyond the basic plane.
    """
    return sa.func.concat(column).like(pattern.replace("|", "||"), escape="|")


class _Utf8(sa.sql.expression.ColumnElement[str]):
    """`CONVERT(… USING utf8mb4)`, which collations of utf8mb4 need."""

    _traverse_internals = [("column", InternalTraversal.dp_clauseelement)]  # noqa: RUF012 - SQLAlchemy's own way
    inherit_cache = True
    type = sa.Text()

    def __init__(self, column: sa.ColumnElement[Any]) -> None:
        self.column = column

    @property
    def _from_objects(self) -> Any:
        return self.column._from_objects


@compiles(_Utf8)
def _compile_utf8(element: _Utf8, compiler: SQLCompiler, **options: Any) -> str:
    return f"CONVERT({compiler.process(element.column, **options)} USING utf8mb4)"


def _compares_text(binary: BinaryExpression[bool]) -> bool:
    """Whether a column is compared with a value, and not yet exactly."""
    return (
        isinstance(binary.left, ColumnClause)
        and isinstance(binary.left.type, sa.String)
        and isinstance(binary.right, sa.BindParameter)
    )


def _json_type(column: sa.Column[Any]) -> str:
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return "TINYINT"
    if isinstance(kind, sa.Integer):
        return "BIGINT"
    if isinstance(kind, sa.Float):
        return "DOUBLE"
    length = getattr(kind, "length", None)
    # A little longer than the column, so that what is too long is refused there instead of being NULL here.
    return f"VARCHAR({length + 1}) CHARACTER SET utf8mb4" if length else "LONGTEXT CHARACTER SET utf8mb4"


def _number(error: Exception) -> int | None:
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) else None


_MEANINGS: Mapping[int, tuple[type[HoldallError], str]] = {
    1044: (Unauthenticated, "The MySQL user may not use this database; grant it ALL on the database."),
    1045: (Unauthenticated, "The MySQL server does not accept the user or the password."),
    1698: (Unauthenticated, "The MySQL server does not accept the user or the password."),
    1049: (NotFound, "The MySQL server has no such database; create it with CREATE DATABASE."),
    1062: (AlreadyExists, "Another writer has just created the same thing. Nothing was written."),
    1114: (InternalError, "The MySQL server's table or disk is full. Nothing was written."),
    1021: (InternalError, "The disk of the MySQL server is full. Nothing was written."),
    1142: (ReadOnly, "The MySQL user may not do this; grant it ALL on the database."),
    1143: (ReadOnly, "The MySQL user may not do this; grant it ALL on the database."),
    1264: (InvalidParameterValue, "A number is greater than this database's column takes. Nothing was written."),
    1290: (ReadOnly, "The MySQL server takes no writes: it is a replica, or set read-only."),
    1792: (ReadOnly, "The MySQL server takes no writes: it is a replica, or set read-only."),
    1836: (ReadOnly, "The MySQL server takes no writes: it is a replica, or set read-only."),
    1366: (
        InvalidParameterValue,
        "A text is too long, or its column cannot hold a character. Nothing was written.",
    ),
    1406: (InvalidParameterValue, "A text is longer than this database's column takes. Nothing was written."),
    1153: (InvalidParameterValue, "The batch is greater than the MySQL server's max_allowed_packet; raise it there."),
    1040: (TemporarilyUnavailable, "The MySQL server has too many connections; lower pool_size in the URIs."),
    1203: (TemporarilyUnavailable, "The MySQL user has too many connections; lower pool_size in the URIs."),
    1969: (TemporarilyUnavailable, "The MySQL server cancelled the statement: it took longer than allowed."),
    3024: (TemporarilyUnavailable, "The MySQL server cancelled the statement: it took longer than allowed."),
}
"""What error numbers mean (MySQL and MariaDB documentation, server error codes)."""


def _text(_: str, value: str) -> object:
    return value


def _count(name: str, value: str) -> object:
    return whole(name, value, 0, 2**31 - 1)


def _charset(name: str, value: str) -> object:
    if value.lower() != "utf8mb4":
        raise InvalidParameterValue(f"Invalid value {value!r} for option {name}; only utf8mb4 holds every character.")
    return "utf8mb4"


def _id_width(name: str, value: str) -> object:
    if value.lower() not in ("bigint", "integer"):
        raise InvalidParameterValue(f"Invalid value {value!r} for option {name}; give bigint or integer.")
    return value.upper()


_OPTIONS: Mapping[str, Callable[[str, str], object]] = {
    "charset": _charset,
    "connect_timeout": _count,
    "experiment_ids": _id_width,
    "init_command": _text,
    "read_timeout": _count,
    "ssl_ca": _text,
    "ssl_cert": _text,
    "ssl_disabled": flag,
    "ssl_key": _text,
    "ssl_verify_cert": flag,
    "ssl_verify_identity": flag,
    "unix_socket": _text,
    "write_timeout": _count,
}


class _MysqlDriver(Driver):
    """PyMySQL, or mysqlclient which behaves alike: statements are written out and sent as one text.

    Args:
        uri: Where to connect to.
        options: Of the connection.
        name: The driver.
    """

    def __init__(self, uri: StoreURI, options: ServerOptions, name: str) -> None:
        database = uri.path.removeprefix("/")
        if not database or "/" in database:
            raise InvalidParameterValue(f"{uri} names no database; write mysql://user@host/database.")
        self._arguments: dict[str, Any] = {"connect_timeout": 10, "charset": "utf8mb4", **options.driver}
        if name == "pymysql":
            module = import_driver(name, uri, "holdall[mysql]")
            self._arguments["conv"] = {**module.converters.conversions, _Json: _write_json}
        else:
            module = import_driver("MySQLdb", uri, "mysqlclient")
            self._arguments["ssl"] = _ssl(self._arguments)
        self.errors = (module.MySQLError,)
        self._connect: Callable[..., Any] = module.connect if name != "pymysql" else _with_one_context(module)
        self._arguments |= {
            "host": uri.host or None,
            "user": uri.username,
            "database": database,
            "client_flag": _MULTI_STATEMENTS,
        }
        if uri.port is not None:
            self._arguments["port"] = uri.port
        self._arguments = {name: value for name, value in self._arguments.items() if value is not None}
        self._takes_bytes = name == "pymysql"

    def connect(self, password: str | None) -> Any:
        # PyMySQL would write text in Latin-1.
        secret = password.encode() if self._takes_bytes and password is not None else password
        connection = self._connect(**self._arguments, **({} if secret is None else {"password": secret}))
        try:
            self.send(connection, [Call(None, statement, None) for statement in _SESSION])
        except BaseException:
            connection.close()
            raise
        return connection

    def send(self, connection: Any, calls: Sequence[Call]) -> None:
        cursor = connection.cursor()
        if len(calls) == 1:
            cursor.execute(calls[0].sql, calls[0].parameters)
            _fill(calls[0], cursor)
            return
        cursor.execute(";".join(_written(cursor, call) for call in calls))
        for place, call in enumerate(calls):
            if place:
                cursor.nextset()
            _fill(call, cursor)

    def is_usable(self, connection: Any) -> bool:
        return bool(connection.open)


_TLS_CONTEXTS: dict[str, Any] = {}
"""By what they were made of; they may be shared between connections and threads."""


def _with_one_context(pymysql: Any) -> Any:
    """PyMySQL's connection, which reads the machine's certificates once instead of for each: that takes 20 ms."""

    class Connection(pymysql.connections.Connection):  # type: ignore[misc]  # drivers are untyped here
        def _create_ssl_ctx(self, sslp: dict[str, Any]) -> Any:
            key = repr(sslp)
            if key not in _TLS_CONTEXTS:
                _TLS_CONTEXTS[key] = super()._create_ssl_ctx(sslp)
            return _TLS_CONTEXTS[key]

    return Connection


def _written(cursor: Any, call: Call) -> str:
    if call.parameters is None:
        return call.sql
    text = cursor.mogrify(call.sql, call.parameters)
    return text.decode("utf-8") if isinstance(text, bytes) else str(text)


def _ssl(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Mysqlclient takes its TLS options in a dict."""
    names = {"ssl_ca": "ca", "ssl_cert": "cert", "ssl_key": "key"}
    given = {short: arguments.pop(name) for name, short in names.items() if name in arguments}
    for name in ("ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"):
        if name in arguments:
            raise InvalidParameterValue(f"mysqlclient does not know the option {name}; leave out '+mysqldb'.")
    return given or None


def _fill(call: Call, cursor: Any) -> None:
    call.fill(cursor.fetchall() if cursor.description else (), cursor.rowcount, cursor.lastrowid)


_DRIVERS = ("pymysql", "mysqldb")


class MysqlBackendStore(ServerBackendStore):
    """A MySQL or MariaDB database, `mysql://user@host/database` or `mariadb://…`: whichever it is, is found out.

    **Threads and processes** share the database freely, on any number of machines. Each call takes a connection from a
    pool and gives it back at once.

    **Ordering and visibility**: every call is one transaction. What it wrote is seen by every call that begins after it
    returned, on whatever connection to the same server; a replica may lag behind. Reads see one moment of the database.

    **Durability** is the server's: what a call acknowledged is committed, and survives a crash of this process and of
    the server unless `innodb_flush_log_at_trx_commit` is off there.

    **Retries**: deadlocks are run again by themselves, and so are calls whose connection broke, for `retry_timeout`
    seconds. Running a call again changes nothing.

    **Names** are exact in databases that holdall made: case, accents, trailing blanks. In databases of MLflow with
    another collation they are found exactly, but two that the collation takes for one cannot be kept side by side: the
    second is refused. The sign of −0.0 is lost in all.

    **Databases of MLflow** 2.22 and 3.x are opened in place, without a migration. Their columns are narrower (names of
    experiments, artifact locations) and keep 32-bit experiment ids; longer values are refused.

    **Read-only** opening creates nothing and begins read-only transactions.
    """

    def _connect(self, uri: StoreURI) -> ServerDatabase:
        name = uri.driver or _DRIVERS[0]
        if name not in _DRIVERS:
            raise InvalidParameterValue(f"Unknown driver {name!r} in {uri}; known drivers: {', '.join(_DRIVERS)}.")
        options = ServerOptions(uri, _OPTIONS)
        self._id_width = options.driver.pop("experiment_ids", "BIGINT")
        return ServerDatabase(MysqlDialect("mysql", name, exact=False), _MysqlDriver(uri, options, name), options)

    @property
    def _administration(self) -> MysqlAdministration:
        return MysqlAdministration(self._database, self._schema, own=self._is_own)

    def _columns(self, session: Session) -> opening.Columns:
        columns: opening.Columns = {}
        for table, column, kind, length, collation in session.text(
            "SELECT table_name, column_name, data_type, character_maximum_length, collation_name "
            "FROM information_schema.columns WHERE table_schema = DATABASE()"
        ):
            columns.setdefault(table, {})[column] = opening.ColumnFacts(kind.upper(), length, collation)
        return columns

    def _facts(self, session: Session) -> dict[str, str]:
        ((version, charset, collation),) = session.text(
            "SELECT VERSION(), @@character_set_database, @@collation_database"
        )
        product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        return {product: version.partition("-")[0], "encoding": charset, "collation": collation}

    def _check_server(self, facts: dict[str, str]) -> None:
        product = "MariaDB" if "MariaDB" in facts else "MySQL"
        version = tuple(map(int, facts[product].split(".")[:2]))
        needed = (10, 6) if product == "MariaDB" else (8, 0)
        if version < needed:
            raise InvalidParameterValue(
                f"{self.uri} is {product} {facts[product]}; {'.'.join(map(str, needed))} or later is needed."
            )
        old = self._database.dialect
        assert isinstance(old, MysqlDialect)
        self._database.dialect = MysqlDialect(product.lower(), old.driver, exact=False)

    def _open(self, database: ServerDatabase, *, create: bool) -> tuple[opening.Schema, dict[str, str]]:
        schema, facts = super()._open(database, create=create)
        dialect = database.dialect
        assert isinstance(dialect, MysqlDialect)
        database.dialect = MysqlDialect(dialect.flavour, dialect.driver, exact=_is_exact(schema))
        return schema, facts

    def _limits(self, facts: dict[str, str]) -> list[str]:
        sets = {
            column.collation.partition("_")[0]
            for table in self._schema.columns.values()
            for column in table.values()
            if column.collation is not None
        }
        poor = sorted(sets - {"utf8mb4"})
        return [f"the character set {', '.join(poor)} cannot hold every character"] if poor else []

    def _is_unfinished(self, schema: opening.Schema) -> bool:
        """Tables are created one by one, the first of them holdall's own; the revision is written last."""
        return schema.revision is None and HOLDALL_TABLES[0].name in schema.columns

    def _create(self, database: ServerDatabase) -> bool:
        """MySQL commits every definition by itself: a lock keeps others out, and what is there is left as it is."""

        def work(session: ServerSession) -> bool:
            name = "CONCAT('holdall ', LEFT(SHA1(DATABASE()), 40))"
            ((locked,),) = session.text(f"SELECT GET_LOCK({name}, {_LOCK_SECONDS})")
            if locked != 1:
                raise TemporarilyUnavailable(
                    f"Another process has been creating the tables of {self.uri} for {_LOCK_SECONDS} s; try again."
                )
            try:
                schema = opening.inspect(session, self._columns(session))
                if schema is not None and not self._is_unfinished(schema):
                    return False
                self._define(database, session)
                return True
            finally:
                if session.is_in_sync:  # else the connection is closed, and the lock with it
                    session.text(f"SELECT RELEASE_LOCK({name})")

        return database.alone(work)

    def _define(self, database: ServerDatabase, session: ServerSession) -> None:
        collation = MARIADB_COLLATION if "mariadb" in database.dialect.key else MYSQL_COLLATION
        # Tables that MLflow adds later take the database's collation, and their foreign keys need ours.
        session.do_text(f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {collation}", None)
        existing = session.text(
            "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() "
            "UNION SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        for statement in opening.definitions(database.dialect.sqlalchemy, [name for (name,) in existing]):
            session.do_text(statement.replace("experiment_id BIGINT", f"experiment_id {self._id_width}"), None)
        session.flush()
        session.do_text("START TRANSACTION", None)
        opening.fill(session, self._default_location())
        session.commit()


def _is_exact(schema: opening.Schema) -> bool:
    return all(
        column.collation is None or column.collation in _EXACT
        for table in opening.NEEDED
        for column in schema.columns[table].values()
    )
