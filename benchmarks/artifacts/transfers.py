"""`Course`: one server, one set of files, on which contestants are measured one after the other."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.artifacts.contestants import UPLOAD, command, rclone
from benchmarks.artifacts.data import FileSet
from benchmarks.artifacts.processes import Cost, Watch, busy_seconds, processor_seconds, run
from benchmarks.artifacts.sites import Site
from benchmarks.peer import BenchmarkError, import_path

__all__ = ["ATTEMPTS", "DOWNLOAD", "Course", "Round"]

DOWNLOAD = "download"
ATTEMPTS = 4
_PATIENCE = 60.0
_REFERENCE = "reference"
_WARM_UP = FileSet(100, 4096)


@dataclass(frozen=True, slots=True)
class Round:
    """One transfer.

    Attributes:
        cost: Of the contestant.
        server_seconds: Processor time of the server meanwhile.
        others: How many cores were kept busy by whatever else ran on the machine.
    """

    cost: Cost
    server_seconds: float
    others: float


@dataclass(frozen=True, slots=True)
class Course:
    """Where contestants are measured.

    Everything but the measured transfer is done by rclone: it stores what is downloaded, and lists what was uploaded.

    Attributes:
        site: The place.
        files: What is copied.
        source: The folder that holds it.
        direction: `upload` or `download`.
        mlflow_python: Interpreter that has MLflow, if it takes part.
        memory: Whether memory is watched.
        calm: How many cores others may keep busy during a transfer: it waits for that, and is measured up to `ATTEMPTS`
            times until there were no more.
    """

    site: Site
    files: FileSet
    source: Path
    direction: str
    mlflow_python: Path | None = None
    memory: bool = False
    calm: float = math.inf

    def prepare(self) -> None:
        """Let the server work a little, and for downloads store what they fetch."""
        small = self.source.with_name("warm-up")
        _WARM_UP.make(small)
        self._rclone("copy", str(small), self._there(small.name))
        shutil.rmtree(small)
        self._rclone("purge", self._there(small.name))
        if self.direction == DOWNLOAD:
            self._rclone("copy", str(self.source), self._there(_REFERENCE))

    def measure(self, name: str) -> Round:
        """Let a contestant copy, and check the copy.

        Raises:
            BenchmarkError: It failed, or the copy is not right.
        """
        rounds = []
        for _ in range(ATTEMPTS):
            self._wait()
            rounds.append(self._measure_once(name))
            if rounds[-1].others <= self.calm:
                break
        return min(rounds, key=lambda each: each.others)

    def _measure_once(self, name: str) -> Round:
        whose = f"The {self.direction} by {name}"
        if self.direction == UPLOAD:
            far = f"of-{name}-{secrets.token_hex(4)}"
            measured = self._time(name, self.source, far)
            self.files.check_listing(self._list(far), whose)
            if not self.files.small:  # what takes no room may stay: servers are slow to delete many files
                self._rclone("purge", self._there(far))
            return measured
        copies = self.source.with_name("copies")
        copies.mkdir()
        try:
            measured = self._time(name, copies / _REFERENCE, _REFERENCE)
            self.files.check_copy(self.source, copies / _REFERENCE, whose)
        finally:
            shutil.rmtree(copies)
        return measured

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self.calm < math.inf and time.monotonic() < deadline:
            before = busy_seconds()
            time.sleep(1)
            if busy_seconds() - before <= self.calm:
                return

    def _time(self, name: str, folder: Path, far: str) -> Round:
        task = command(name, self.site, self.direction, folder, far, self.mlflow_python)
        environment = self.site.environment | {"PYTHONPATH": import_path()}
        os.sync()  # nobody waits for what others have written
        with nullcontext() if self.site.pid is None else Watch(self.site.pid, processor_seconds) as server:
            before = busy_seconds()
            cost = run(task.words, environment, stdin=task.stdin, memory=self.memory)
            busy = busy_seconds() - before
        server_seconds = 0.0 if server is None else server.growth
        return Round(cost, server_seconds, max(0.0, busy - cost.cpu_seconds - server_seconds) / cost.seconds)

    def _there(self, name: str) -> str:
        return f"{self.site.roots['rclone']}/{name}"

    def _list(self, name: str) -> dict[str, int]:
        listed = self._rclone("lsjson", "-R", "--files-only", "--no-modtime", "--no-mimetype", self._there(name))
        return {item["Path"]: item["Size"] for item in json.loads(listed)}

    def _rclone(self, *arguments: str) -> str:
        words: Sequence[str | Path] = rclone(self.site, *arguments)
        done = subprocess.run(words, env=self.site.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"rclone {arguments[0]} failed:\n{done.stderr[-3000:]}")
        return done.stdout
