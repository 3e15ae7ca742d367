"""`DatabaseServer`: what the database servers of the tests have in common."""

from __future__ import annotations

import secrets
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import quote

from holdall.conformance_tests.emulators.installation import find_program
from holdall.conformance_tests.emulators.process import ServerProcess, environment_of_tools, free_port
from holdall.stores import InternalError, MissingExtra

__all__ = ["Connection", "Cursor", "DatabaseServer", "new_name"]

_READY_SECONDS = 60.0
_ATTEMPTS = 20


class Cursor(Protocol):
    """What the tests use of a client library's cursor."""

    @property
    def description(self) -> object:
        """The columns of the rows; None if the statement gave none."""
        ...

    def execute(self, sql: str, parameters: Sequence[object] | None = None, /) -> object:
        """Run a statement."""
        ...

    def fetchall(self) -> Sequence[tuple[object, ...]]:
        """The rows of the last statement."""
        ...


class Connection(Protocol):
    """What the tests use of a client library's connection."""

    def cursor(self) -> Cursor:
        """A new cursor."""
        ...

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        ...


class DatabaseServer(ABC):
    """A database server of its own, in a temporary folder and at a free port of 127.0.0.1.

    Fast and forgetful by default: what it acknowledged may be lost when the machine stops, though not when the server
    is killed. It does not outlive the process that made it. Its databases may be used by any process and thread; the
    methods are safe for threads except those that start and end the server.

    Args:
        flags: Further options of the server's command line; they win over those set here.

    Attributes:
        scheme: Of its URIs.
        host: Where it listens.
        port: Where it listens; 0 before the first start, then always the same.
        user: A superuser.
        password: Of that user; random, so that no other test run is taken for this server.
    """

    scheme: ClassVar[str]
    host: str = "127.0.0.1"
    user: str = "holdall"

    _driver: ClassVar[tuple[str, str]]
    """Its client library, and the extra that brings it."""

    _pid_file: ClassVar[str]
    _stop_signal: ClassVar[signal.Signals]

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.port = 0
        self.password = secrets.token_hex(8)
        self._flags = tuple(flags)
        self._process: ServerProcess | None = None

    @property
    def folder(self) -> Path:
        """Where a started server keeps everything, until `remove`."""
        if self._process is None:
            raise InternalError(f"The {self.scheme} server of the tests was not started.")
        return self._process.folder

    def start(self) -> None:
        """Start the server and wait until it answers; again on the same data and port after `stop` or `kill`.

        Raises:
            MissingExtra: The server or its client library is not installed and cannot be from here.
            InternalError: It does not answer; the message holds its log.
        """
        if self._process is None:
            module, extra = self._driver
            if find_spec(module) is None:
                raise MissingExtra(f"{module} is not installed; install it with: pip install 'holdall[{extra}]'")
            self._process = self._new_process()
        elif self._process.running:
            return
        first = self.port == 0
        for _ in range(_ATTEMPTS):
            if first:
                self.port = free_port()
            self._process.launch(self._command(self._process.folder))
            if self._becomes_ready(self._process):
                return
            if not first:
                time.sleep(0.2)  # the children of a killed server end after it
        log = self._process.log
        self.remove()
        raise InternalError(f"The {self.scheme} server of the tests ends at once; it says:\n{log}")

    def stop(self) -> None:
        """End the server in order, without waiting for its clients; does nothing if it is not running."""
        if self._process is not None:
            self._process.stop(self._stop_signal)

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        if self._process is not None:
            self._process.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and delete its data; a later start begins with an empty server at another port."""
        if self._process is not None:
            self.stop()
            self._process.remove()
            self._process = None
            self.port = 0

    def uri(self, database: str, *, scheme: str | None = None, port: int | None = None) -> str:
        """The URI of a database, password included.

        Args:
            database: Its name.
            scheme: Another scheme, such as `mysql` or `postgresql+psycopg`.
            port: Another port, such as that of a proxy.
        """
        account = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{scheme or self.scheme}://{account}@{self.host}:{port or self.port}/{quote(database, safe='')}"

    @abstractmethod
    def create_database(self, *, template: str | None = None, options: str = "") -> str:
        """Create a database with a new name.

        Args:
            template: A database whose content it starts with. Nobody may write there meanwhile.
            options: What follows in the CREATE DATABASE statement.

        Returns:
            Its name.
        """

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, ending the connections to it."""

    @abstractmethod
    def connect(self, database: str) -> Connection:
        """A connection of the server's client library, past any store; every statement commits until one is `BEGIN`.

        The caller closes it.
        """

    def execute(self, database: str, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run one statement and commit, on a connection of its own.

        Args:
            database: Where.
            sql: The statement; `%s` stands for a parameter, and if there are any, `%%` for a percent sign.
            parameters: In order.

        Returns:
            The rows; none for a statement that gives none.
        """
        with closing(self.connect(database)) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, list(parameters) or None)
            return [] if cursor.description is None else list(cursor.fetchall())

    @abstractmethod
    def load(self, database: str, script: Path) -> None:
        """Run a file of SQL, such as a dump, by the server's own command line client."""

    @abstractmethod
    def dump(self, database: str) -> str:
        """Schema and data as SQL, by the server's own tool; the same text for the same content."""

    @abstractmethod
    def _initialise(self, process: ServerProcess) -> None:
        """Make the data folder of a new server."""

    @abstractmethod
    def _command(self, folder: Path) -> list[str | Path]:
        """The command line of the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server, and no other at this port, answers."""

    def _new_process(self) -> ServerProcess:
        process = ServerProcess(self.scheme, self._pid_file)
        try:
            self._initialise(process)
        except BaseException:
            process.remove()
            raise
        return process

    def _becomes_ready(self, process: ServerProcess) -> bool:
        """Wait until the server answers; False if it ends instead."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._answers() and process.running:
                return True
            if not process.running:
                return False
            time.sleep(0.01)
        log = process.log
        self.remove()
        raise InternalError(f"The {self.scheme} server of the tests is not ready in {_READY_SECONDS:.0f} s:\n{log}")

    def _program(self, name: str) -> Path:
        return find_program(self.scheme, name)

    def _run_tool(self, name: str, arguments: Sequence[str], secret: Mapping[str, str], script: bytes = b"") -> str:
        """Run a command line client with the password in its environment, and return what it prints."""
        done = subprocess.run(
            [self._program(name), *arguments],
            env=environment_of_tools() | dict(secret),
            input=script,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise InternalError(f"{name} failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()


def new_name() -> str:
    """A name for a database that no other has."""
    return f"test_{secrets.token_hex(8)}"
