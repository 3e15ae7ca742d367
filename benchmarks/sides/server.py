"""What all sides have in common whose stores are databases on servers. Standard library only."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from benchmarks.populate.server import analysing, counting, filling, run_id
from benchmarks.sides.base import Side, Task
from benchmarks.workload import LOG_EXPERIMENT_ID, SCAN_EXPERIMENT_ID, Scale, Search

__all__ = ["ServerSide"]


class ServerSide(Side):
    """A side that keeps one store, to log to and to read, in the database that it is given.

    Attributes:
        drivers: The driver that the store uses, by product.
        product: The scheme of the database's URI.
        driver: The driver for it.
    """

    log_experiment: ClassVar[int] = LOG_EXPERIMENT_ID
    scan_experiment: ClassVar[int] = SCAN_EXPERIMENT_ID
    drivers: ClassVar[Mapping[str, str]]

    def __init__(self, folder: Path, scale: Scale, synchronous: str, database: str = "") -> None:
        super().__init__(folder, scale, synchronous, database)
        self.product = urlsplit(database).scheme
        self.driver = self.drivers[self.product]

    def prepare(self) -> None:
        self.create(self.read_path)
        self.fill(self.read_path)
        self.open()

    def add_experiment(self, path: Path) -> None:
        raise NotImplementedError("`fill` adds all experiments")

    def fill(self, path: Path) -> None:
        self._run(filling(self.product, self.artifacts, self.scale))
        self._run(analysing(self.product))

    def count_rows(self) -> list[int]:
        return [int(rows[0][0]) for rows in self._run(counting())]

    def stored_ids(self) -> Sequence[str]:
        return list(map(run_id, range(self.scale.runs)))

    def fresh_copy(self) -> Path:
        raise NotImplementedError("opening is not measured")

    @abstractmethod
    def open_read(self) -> None:
        """Open the store that is read."""

    @abstractmethod
    def close_read(self) -> None:
        """Let go of the store that is read, with its connections."""

    @abstractmethod
    def search(self, search: Search) -> Task[Any]:
        """Search; the answer is the run ids."""

    def _run(self, statements: Iterable[str]) -> list[Sequence[Any]]:
        """Run statements behind the store's back, on one connection; the rows of each."""
        with closing(self._connect()) as connection:
            cursor = connection.cursor()
            found: list[Sequence[Any]] = []
            for statement in statements:
                cursor.execute(statement)
                found.append(cursor.fetchall() if cursor.description else [])
            return found

    def _connect(self) -> Any:
        uri = urlsplit(self.database)
        driver = importlib.import_module(self.driver)
        account = {
            "host": uri.hostname,
            "port": uri.port,
            "user": uri.username,
            "password": unquote(uri.password or ""),
            "database" if self.product == "mariadb" else "dbname": uri.path.removeprefix("/"),
        }
        if self.product == "mariadb":
            return driver.connect(**account, autocommit=True)
        connection = driver.connect(**account)
        connection.autocommit = True
        return connection
