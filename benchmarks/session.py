"""One comparison from beginning to end: a server if there must be one, the sides, their rounds, their plans."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.databases import BenchmarkServer, serving
from benchmarks.environment import find_mlflow_python
from benchmarks.measure import Result, compare
from benchmarks.operations import Operation
from benchmarks.peer import Peer
from benchmarks.progress import Progress
from benchmarks.suites import Suite
from benchmarks.workload import Scale

__all__ = ["Comparison", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a comparison came to.

    Attributes:
        results: Of the operations, in their order.
        versions: What each side is; first the server, where there is one.
        plans: How the server carried out the search whose plan is promised to use an index, by side.
    """

    results: Sequence[Result]
    versions: dict[str, str]
    plans: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        suite: Kind of store.
        sides: Which take part.
        operations: What they do.
        scale: How much is stored before reading is measured.
        work: Folder for stores, deleted afterwards, and for MLflow's environment.
        rounds: Rounds of every operation, where it is not each one's own number.
        mlflow_python: Interpreter that has MLflow, where it is not found or made.
        synchronous: SQLite's setting.
        latency: Seconds that everything takes to the server, and back.
        plan_of: Operation whose plan is asked for.
    """

    suite: Suite
    sides: Sequence[str]
    operations: Sequence[Operation]
    scale: Scale
    work: Path
    rounds: int | None = None
    mlflow_python: Path | None = None
    synchronous: str = "NORMAL"
    latency: float = 0.0
    plan_of: Operation | None = None

    def run(self) -> Found:
        """Do it.

        Raises:
            BenchmarkError: A side or the server failed, or sides disagree.
        """
        work = self.work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work, prefix="run-")))
            rounds = sum(self.rounds or operation.rounds for operation in self.operations)
            progress = stack.enter_context(Progress(rounds))
            server = None
            if self.suite.on_server:
                progress.say(f"starting {self.suite.name}")
                server = stack.enter_context(serving(self.suite.name, far=self.latency > 0))
            databases = {name: server.new_database() if server else "" for name in self.sides}
            peers = [stack.enter_context(self._peer(name, work, folder, databases[name])) for name in self.sides]
            for peer in peers:
                progress.say(f"preparing {peer.name}")
                peer.wait_ready()
            plans = self._plans(server, peers, databases) if server and self.plan_of else {}
            if server is not None:
                server.move_away(self.latency)
            results = [compare(peers, operation, self.rounds, progress.advance) for operation in self.operations]
            versions = {"server": server.version} if server else {}
            return Found(results, versions | {peer.name: peer.version for peer in peers}, plans)

    def _peer(self, name: str, work: Path, folder: Path, database: str) -> Peer:
        python = find_mlflow_python(self.mlflow_python, work) if name == "mlflow" else Path(sys.executable)
        return Peer(self.suite.name, name, python, folder / name, self.scale, self.synchronous, database)

    def _plans(self, server: BenchmarkServer, peers: Sequence[Peer], databases: dict[str, str]) -> dict[str, list[str]]:
        assert self.plan_of is not None
        name = self.plan_of.name
        return {peer.name: server.plans(databases[peer.name], partial(peer.run, name, 1)) for peer in peers}
