"""`PostgresqlServer`."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import cast

from holdall.conformance_tests.emulators.database import Connection, DatabaseServer
from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.server import new_name

__all__ = ["PostgresqlServer"]

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",  # whose path would have to be short
}
_ADMIN = "postgres"
_RESTRICTIONS = re.compile(r"^\\(un)?restrict \w+\n", re.MULTILINE)
"""Lines with a random key that newer dumps begin and end with."""

_TEMPLATE_SECONDS = 10.0


class PostgresqlServer(DatabaseServer):
    """PostgreSQL in UTF-8 with the locale C.UTF-8 and SCRAM passwords."""

    name = scheme = "postgresql"
    _modules = (("psycopg", "holdall[postgres]"),)
    _stop_signal = signal.SIGINT  # PostgreSQL's fast shutdown
    _stop_seconds = 10.0  # a client that connects meanwhile and says nothing would keep it for a minute

    def create_database(self, *, template: str | None = None, options: str = "") -> str:
        import psycopg

        # Encoding and collation may differ from those of template0 alone.
        name, source = new_name(), template or ("template0" if options else "template1")
        deadline = time.monotonic() + _TEMPLATE_SECONDS
        while True:
            try:
                self.execute(_ADMIN, f'CREATE DATABASE "{name}" TEMPLATE "{source}" {options}')
            except psycopg.errors.ObjectInUse:
                # A client of the template has closed its connection, and the server has not noticed yet.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return name

    def drop_database(self, name: str) -> None:
        self.execute(_ADMIN, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def connect(self, database: str) -> Connection:
        import psycopg

        connection = psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )
        return cast(Connection, connection)  # it takes literal text alone, says its type

    def load(self, database: str, script: Path) -> None:
        options = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", f"--file={script}"]
        self._run_client("psql", [*options, database])

    def dump(self, database: str) -> str:
        return _RESTRICTIONS.sub("", self._run_client("pg_dump", ["--no-owner", "--no-privileges", database]))

    def _initialise(self, process: ServerProcess) -> None:
        secret = process.folder / "password"
        secret.write_text(self.password, encoding="ascii")
        secret.chmod(0o644)  # the folder keeps others out
        account = [f"--username={self.user}", f"--pwfile={secret}", "--auth=scram-sha-256"]
        where = [f"--pgdata={process.folder / 'data'}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        process.run([self._program("initdb"), *where, *account])

    def _command(self, folder: Path) -> list[str | Path]:
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        where: list[str | Path] = ["-D", folder / "data", "-h", self.host, "-p", str(self.port)]
        return [self._program("postgres"), *where, *settings, *self._flags]

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect(_ADMIN).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run_client(self, name: str, arguments: list[str]) -> str:
        account = [f"--host={self.host}", f"--port={self.port}", f"--username={self.user}", "--no-password"]
        return self._run_tool(name, [*account, *arguments], {"PGPASSWORD": self.password})
