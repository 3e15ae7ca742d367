"""`DatabaseServer`: what the database servers of the tests have in common."""

from __future__ import annotations

import secrets
import subprocess
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from holdall.conformance_tests.emulators.process import environment_of_tools
from holdall.conformance_tests.emulators.server import Server
from holdall.stores import InternalError

__all__ = ["Connection", "Cursor", "DatabaseServer"]


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


class DatabaseServer(Server):
    """A database server.

    Fast and forgetful by default: what it acknowledged may be lost when the machine stops, though not when the server
    is killed.

    Attributes:
        user: A superuser.
        password: Of that user; random, so that no other test run is taken for this server.
    """

    user: str = "holdall"

    _account = "nobody"  # some refuse to run as root

    def __init__(self, flags: Sequence[str] = ()) -> None:
        super().__init__(flags)
        self.password = secrets.token_hex(8)

    def new_uri(self) -> str:
        return self.uri(self.create_database())

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
