"""`MariadbServer`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from holdall.conformance_tests.emulators.database import Connection, DatabaseServer
from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.server import new_name

if TYPE_CHECKING:
    from pymysql.connections import Connection as DriverConnection
    from pymysql.cursors import Cursor

__all__ = ["MariadbServer"]

_SETTINGS = {
    "character-set-server": "utf8mb4",  # as distributions configure it; the server's own default is latin1
    "collation-server": "utf8mb4_general_ci",
    "innodb-buffer-pool-size": "64M",
    "innodb-doublewrite": "OFF",
    "innodb-file-per-table": "OFF",  # tables are made in two thirds of the time
    "innodb-flush-log-at-trx-commit": "2",  # survives `kill`
    "innodb-flush-method": "nosync",
    "max-allowed-packet": "64M",
    "max-connections": "300",
    "performance-schema": "OFF",
    "sync-binlog": "0",
}
_COPY_MODES = "SET foreign_key_checks = 0, unique_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"


class MariadbServer(DatabaseServer):
    """MariaDB with the character set utf8mb4 and native passwords."""

    name = scheme = "mariadb"
    _modules = (("pymysql", "holdall[mysql]"),)

    def create_database(self, *, template: str | None = None, options: str = "") -> str:
        name = new_name()
        if template is not None and not options:
            options = self._options_of(template)
        self.execute("", f"CREATE DATABASE `{name}` {options}")
        if template is not None:
            self._copy(template, name)
        return name

    def drop_database(self, name: str) -> None:
        import pymysql

        with closing(self._connect("")) as connection, connection.cursor() as cursor:
            # A transaction left open would keep its tables, and DROP waiting.
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [name])
            for (number,) in cursor.fetchall():
                with suppress(pymysql.err.OperationalError):  # gone already
                    cursor.execute(f"KILL {number}")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def connect(self, database: str) -> Connection:
        return cast(Connection, self._connect(database))  # overloads hide that it fits

    def load(self, database: str, script: Path) -> None:
        self._run_client("mariadb", [database], script.read_bytes())

    def dump(self, database: str) -> str:
        options = ["--single-transaction", "--hex-blob", "--skip-dump-date", "--order-by-primary"]
        return self._run_client("mariadb-dump", [*options, database])

    def _initialise(self, process: ServerProcess) -> None:
        # root@localhost exists, for the system's root at a socket alone; who is let in comes from this file.
        account = f"'{self.user}'@'%'"
        statements = [
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{self.password}';",
            f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION;",
        ]
        (process.folder / "init.sql").write_text("\n".join(statements) + "\n", encoding="ascii")
        options = [f"--datadir={process.folder / 'data'}", "--skip-test-db", "--skip-name-resolve"]
        process.run([self._program("mariadb-install-db"), "--no-defaults", *options])

    def _command(self, folder: Path) -> list[str | Path]:
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        files = [f"--datadir={folder / 'data'}", f"--init-file={folder / 'init.sql'}"]
        files.append(f"--tmpdir={folder}")  # else a server that starts deletes the temporary tables of the others
        # Relative to the data folder: the path of a socket would have to be short.
        where = [f"--bind-address={self.host}", f"--port={self.port}", "--socket=socket", "--skip-name-resolve"]
        return [self._program("mariadbd"), "--no-defaults", *files, *where, *settings, *self._flags]

    def _answers(self) -> bool:
        import pymysql

        try:
            self._connect("").close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _connect(self, database: str, client_flag: int = 0) -> DriverConnection[Cursor]:
        import pymysql

        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database or None,
            charset="utf8mb4",
            connect_timeout=10,
            autocommit=True,
            client_flag=client_flag,
            ssl_disabled=True,  # loading certificates takes 20 ms
        )

    def _options_of(self, database: str) -> str:
        query = (
            "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
            " WHERE schema_name = %s"
        )
        [(character_set, collation)] = self.execute("", query, [database])
        return f"CHARACTER SET {character_set} COLLATE {collation}"

    def _copy(self, source: str, target: str) -> None:
        """Copy all tables, in one round trip and within the server: much faster than a dump."""
        from pymysql.constants import CLIENT

        with closing(self._connect(source)) as connection, connection.cursor() as cursor:
            statements = list(_copying_statements(cursor, source, target))
        with closing(self._connect(target, CLIENT.MULTI_STATEMENTS)) as connection, connection.cursor() as cursor:
            cursor.execute(";".join([_COPY_MODES, *statements]))
            while cursor.nextset():
                pass

    def _run_client(self, name: str, arguments: list[str], script: bytes = b"") -> str:
        account = [f"--host={self.host}", f"--port={self.port}", f"--user={self.user}", "--protocol=tcp"]
        options = ["--no-defaults", *account, "--default-character-set=utf8mb4", *arguments]
        return self._run_tool(name, options, {"MYSQL_PWD": self.password}, script)


def _copying_statements(cursor: Cursor, source: str, target: str) -> Iterator[str]:
    cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
    for table in [str(row[0]) for row in cursor.fetchall()]:
        cursor.execute(f"SHOW CREATE TABLE `{table}`")
        [(_, statement)] = cursor.fetchall()
        yield str(statement)
        cursor.execute(f"SELECT 1 FROM `{table}` LIMIT 1")
        if cursor.fetchall():
            yield f"INSERT INTO `{target}`.`{table}` SELECT * FROM `{source}`.`{table}`"
