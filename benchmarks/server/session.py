"""One comparison from beginning to end: the servers with their runs, then round by round who answers how much."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.artifacts.processes import Watch, busy_seconds, processor_seconds
from benchmarks.databases import BenchmarkServer
from benchmarks.databases import serving as serving_database
from benchmarks.progress import Progress
from benchmarks.server.contestants import CONTESTANTS, Environment, serving
from benchmarks.server.load import Load, drive, percentile
from benchmarks.server.requests import Operation, Site

__all__ = ["Comparison", "Result", "Round"]

WARM_UP = 0.5
"""Seconds of asking before each round, so that connections, caches and plans are there."""

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Round:
    """What a server answered in one round.

    Attributes:
        rate: Requests per second.
        p50: Seconds within which half of the answers came.
        p99: Seconds within which 99 of 100 came.
        server_seconds: Processor time of all of the server's processes, for a request.
        client_seconds: Processor time of asking, for a request.
        others: Cores that others kept busy meanwhile.
    """

    rate: float
    p50: float
    p99: float
    server_seconds: float
    client_seconds: float
    others: float


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation came to.

    Attributes:
        operation: Which.
        rounds: By contestant.
    """

    operation: Operation
    rounds: dict[str, list[Round]]

    def rate(self, name: str) -> float:
        """A contestant's requests per second, the median over the rounds."""
        return median(each.rate for each in self.rounds[name])

    def time(self, name: str, share: float) -> float:
        """The time within which half (0.5) or 99 of 100 (0.99) of a contestant's answers came."""
        return median(each.p50 if share == 0.5 else each.p99 for each in self.rounds[name])

    def cost(self, name: str) -> tuple[float, float]:
        """Processor time of a request: a contestant's server's, and the asker's."""
        found = self.rounds[name]
        return median(each.server_seconds for each in found), median(each.client_seconds for each in found)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        store: Kind of database: `sqlite`, or one on a server.
        contestants: Who takes part.
        operations: What they are asked.
        environment: What they are started with.
        work: Folder for databases, deleted afterwards.
        rounds: How often.
        seconds: How long each is asked in a round.
        connections: From how many at once.
        calm: How many cores others may keep busy: waits for that, and repeats a round in which it was not so.
    """

    store: str
    contestants: Sequence[str]
    operations: Sequence[Operation]
    environment: Environment
    work: Path
    rounds: int = 3
    seconds: float = 3.0
    connections: int = 16
    calm: float = math.inf

    def run(self) -> tuple[list[Result], dict[str, str]]:
        """Do it; the results, and what each contestant is.

        Raises:
            BenchmarkError: A server does not start, or refuses what it is asked.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        steps = len(self.contestants) * (1 + self.rounds * len(self.operations))
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.work.resolve(), prefix="run-")))
            progress = stack.enter_context(Progress(steps))
            database = None
            if self.store != "sqlite":
                database = stack.enter_context(serving_database(self.store, far=False))
            sites = {}
            for name in self.contestants:
                progress.say(f"preparing {name}")
                uri = self._database(name, folder, database)
                started = serving(CONTESTANTS[name], self.environment, folder / name, uri, self.connections)
                sites[name] = stack.enter_context(started)
                progress.advance(f"preparing {name}")
            results = [self._compare(operation, sites, progress) for operation in self.operations]
        versions = {name: CONTESTANTS[name].version(self.environment) for name in self.contestants}
        return results, versions if database is None else {"database": self.store, **versions}

    def _database(self, name: str, folder: Path, server: BenchmarkServer | None) -> str:
        return f"sqlite:///{folder / name / 'tracking.db'}" if server is None else server.new_database()

    def _compare(self, operation: Operation, sites: dict[str, tuple[int, Site]], progress: Progress) -> Result:
        found: dict[str, list[Round]] = {name: [] for name in sites}
        for number in range(self.rounds):
            for name in self._turn(number):
                progress.say(f"{operation.title}: {name}")
                found[name].append(self._measure(operation, *sites[name], number))
                progress.advance(f"{operation.title}: {name}")
        return Result(operation, found)

    def _turn(self, number: int) -> Iterator[str]:
        turn = number % len(self.contestants)
        yield from (*self.contestants[turn:], *self.contestants[:turn])

    def _measure(self, operation: Operation, pid: int, site: Site, number: int) -> Round:
        best: Round | None = None
        for attempt in range(_ATTEMPTS if self.calm < math.inf else 1):
            base = (number * _ATTEMPTS + attempt) * 2  # every stream has steps of its own
            self._drive(operation, site, base, WARM_UP)
            measured = self._measure_once(operation, pid, site, base + 1)
            if best is None or measured.others < best.others:
                best = measured
            if measured.others <= self.calm:
                break
        assert best is not None
        return best

    def _measure_once(self, operation: Operation, pid: int, site: Site, stream: int) -> Round:
        start, busy = time.perf_counter(), busy_seconds()
        with Watch(pid, processor_seconds) as watch:
            load = self._drive(operation, site, stream, self.seconds)
        count, own = len(load.times), watch.growth + load.client_seconds
        return Round(
            rate=count / load.seconds,
            p50=percentile(load.times, 0.5),
            p99=percentile(load.times, 0.99),
            server_seconds=watch.growth / count,
            client_seconds=load.client_seconds / count,
            others=max(0.0, busy_seconds() - busy - own) / (time.perf_counter() - start),
        )

    def _drive(self, operation: Operation, site: Site, stream: int, seconds: float) -> Load:
        streams = (operation.requests(site, connection, stream) for connection in range(self.connections))
        return drive(site.port, streams, seconds)
