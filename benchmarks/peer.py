"""`Peer`: a worker process, as the process that compares them sees it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.worker import DATABASE
from benchmarks.workload import Scale

__all__ = ["BenchmarkError", "Measurement", "Peer"]

ROOT = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one round of one side came to.

    Attributes:
        seconds: Mean time of a call.
        answer: What the last call answered.
        rows: Rows in the tables that were logged to.
    """

    seconds: float
    answer: object
    rows: object


class Peer:
    """A side in a process of its own.

    Args:
        suite: Name of what is measured.
        name: The side.
        python: Interpreter to play it with.
        folder: Where its stores, its caches and its log lie.
        scale: How much is stored before reading is measured.
        synchronous: SQLite's setting, for the sides that let one choose.
        database: URI of its database, where stores are on a server.

    Attributes:
        version: What is measured, once `wait_ready` has returned.
    """

    def __init__(
        self,
        suite: str,
        name: str,
        python: Path,
        folder: Path,
        scale: Scale,
        synchronous: str,
        database: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.version = ""
        self._log = folder / "worker.log"
        arguments = [suite, name, str(folder), str(scale.runs), str(scale.points), synchronous]
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": import_path(),
                    "XDG_CACHE_HOME": str(folder / "caches"),
                    DATABASE: database,
                },
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def wait_ready(self) -> None:
        """Wait until the stores are filled."""
        self.version = str(self._read()["version"])

    def run(self, operation: str, calls: int) -> Measurement:
        """Do one round."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"operation": operation, "calls": calls}) + "\n")
        self._process.stdin.flush()
        reply = self._read()
        return Measurement(float(str(reply["seconds"])) / calls, reply["answer"], reply["rows"])

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log.read_text(encoding="utf-8").splitlines()[-15:])
            raise BenchmarkError(f"The side {self.name!r} ended with exit code {self._process.wait()}:\n{tail}")
        reply: dict[str, object] = json.loads(line)
        return reply


def import_path() -> str:
    """The folder above this one first, then what is set, absolute as the worker has another working directory."""
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(ROOT), *map(os.path.abspath, inherited)])
