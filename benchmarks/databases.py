"""The database server that all sides of a benchmark use, with the durability that its makers chose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from tests.backends.wire import Wire

from benchmarks.peer import BenchmarkError
from holdall.conformance_tests.emulators import DatabaseServer, new_server
from holdall.stores import HoldallError

__all__ = ["BenchmarkServer", "serving"]

_DEFAULTS = {
    "postgresql": {
        "fsync": "on",
        "full_page_writes": "on",
        "max_connections": "100",
        "shared_buffers": "1GB",
        "synchronous_commit": "on",
    },
    "mariadb": {
        "innodb-buffer-pool-size": "1G",
        "innodb-doublewrite": "ON",
        "innodb-file-per-table": "ON",
        "innodb-flush-log-at-trx-commit": "1",
        "innodb-flush-method": "O_DIRECT",
        "max-allowed-packet": "16M",
        "max-connections": "151",
    },
}
"""The defaults of PostgreSQL 15 and MariaDB 10.11, which the servers of tests do without; memory as a server has it."""

_SHOWN = {
    "postgresql": "SELECT concat('PostgreSQL ', split_part(current_setting('server_version'), ' ', 1), ', fsync=',"
    " current_setting('fsync'), ', synchronous_commit=', current_setting('synchronous_commit'), ', shared_buffers=',"
    " current_setting('shared_buffers'))",
    "mariadb": "SELECT concat('MariaDB ', substring_index(version(), '-', 1), ', innodb_flush_log_at_trx_commit=',"
    " @@innodb_flush_log_at_trx_commit, ', innodb_buffer_pool_size=', @@innodb_buffer_pool_size >> 20, 'M')",
}


class BenchmarkServer:
    """A running server.

    Args:
        server: The server.
        wire: What sides speak to instead, where they are to be far away.
    """

    def __init__(self, server: DatabaseServer, wire: Wire | None) -> None:
        self._server = server
        self._wire = wire

    @property
    def version(self) -> str:
        """What it is, and the settings that matter most."""
        return str(self._execute(_SHOWN[self._server.scheme])[0][0])

    def new_database(self) -> str:
        """The URI of an empty database."""
        port = None if self._wire is None else self._wire.port
        return self._server.uri(self._server.create_database(), port=port)

    def move_away(self, latency: float) -> None:
        """From now on, let everything take so many seconds more each way."""
        if self._wire is not None:
            self._wire.latency = latency

    def plans(self, database: str, call: Callable[[], object]) -> list[str]:
        """How the server carries out the searches that a call makes on new connections.

        The server itself says which they are: PostgreSQL notes in its log how it did them, with rows and times;
        MariaDB notes their texts, and is then asked how it does them.
        """
        name = urlsplit(database).path.removeprefix("/")
        explain = self._plans_of_postgresql if self._server.scheme == "postgresql" else self._plans_of_mariadb
        return explain(name, call)

    def _plans_of_postgresql(self, name: str, call: Callable[[], object]) -> list[str]:
        # The emulator lets the server print to a file beside its data.
        log = "current_setting('data_directory') || '/../log'"
        [(start,)] = self._execute(f"SELECT size FROM pg_stat_file({log})")
        for setting in (
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
        ):
            self._execute(f'ALTER DATABASE "{name}" SET {setting}')
        call()
        self._execute(f'ALTER DATABASE "{name}" RESET ALL')
        [(text,)] = self._execute(f"SELECT pg_read_file({log}, {start}, 100000000)")
        entries = re.split(r"\n(?!\t)", str(text))  # continued lines begin with a tab
        plans = [entry.partition("plan:\n\t")[2].replace("\n\t", "\n") for entry in entries]
        return [plan for plan in plans if _is_search(plan)]

    def _plans_of_mariadb(self, name: str, call: Callable[[], object]) -> list[str]:
        self._execute("SET GLOBAL log_output = 'TABLE'")
        self._execute("TRUNCATE mysql.general_log")
        self._execute("SET GLOBAL general_log = ON")
        call()
        self._execute("SET GLOBAL general_log = OFF")
        asked = self._execute("SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log ORDER BY event_time")
        # Several statements may have come in one text.
        statements = dict.fromkeys(part.strip() for (text,) in asked for part in str(text).split(";"))
        searches = [statement for statement in statements if _is_search(statement)]
        return [f"{search}\n{self._analyse(name, search)}" for search in searches]

    def _analyse(self, name: str, search: str) -> str:
        rows = self._server.execute(name, f"ANALYZE {search}")
        columns = ("table", "access", "key", "rows", "really", "extra")
        chosen = [[str(row[place]) for place in (2, 3, 5, 8, 9, -1)] for row in rows]
        return "\n".join(
            "  ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True)) for row in chosen
        )

    def _execute(self, sql: str) -> list[tuple[object, ...]]:
        return self._server.execute("postgres" if self._server.scheme == "postgresql" else "", sql)


def _is_search(text: str) -> bool:
    return "latest_metrics" in text and "ORDER BY" in text and "SELECT" in text


@contextmanager
def serving(product: str, *, far: bool) -> Iterator[BenchmarkServer]:
    """A new server, until the end of the block.

    Args:
        product: Which.
        far: Whether it will be moved away.

    Raises:
        BenchmarkError: It cannot be started.
    """
    server = new_server(product, *(f"--{name}={value}" for name, value in _DEFAULTS[product].items()))
    assert isinstance(server, DatabaseServer)
    with ExitStack() as stack:
        stack.callback(server.remove)
        try:
            server.start()
        except HoldallError as error:
            raise BenchmarkError(str(error)) from error
        yield BenchmarkServer(server, stack.enter_context(Wire(server.port)) if far else None)
