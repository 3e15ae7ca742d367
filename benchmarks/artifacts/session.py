"""One comparison from beginning to end: the data, a server for each round, the contestants in turn."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.artifacts.contestants import UPLOAD
from benchmarks.artifacts.data import FileSet
from benchmarks.artifacts.services import serving
from benchmarks.artifacts.transfers import DOWNLOAD, Course, Round
from benchmarks.progress import Progress

__all__ = ["DIRECTIONS", "Comparison", "Result"]

DIRECTIONS = (UPLOAD, DOWNLOAD)


@dataclass(frozen=True, slots=True)
class Result:
    """What the transfers of one set in one direction came to.

    Attributes:
        files: The set.
        direction: `upload` or `download`.
        rounds: By contestant.
    """

    files: FileSet
    direction: str
    rounds: Mapping[str, Sequence[Round]]

    def __str__(self) -> str:
        return f"{self.files} {self.direction}"

    def seconds(self, name: str) -> float:
        """A contestant's time from start to end, the median over the rounds."""
        return median(each.cost.seconds for each in self.rounds[name])

    def net_seconds(self, name: str) -> float:
        """A contestant's time for the transfer alone."""
        return median(each.cost.net_seconds for each in self.rounds[name])

    def client_seconds(self, name: str) -> float:
        """A contestant's processor time for the transfer alone."""
        return median(each.cost.net_cpu_seconds for each in self.rounds[name])

    def server_seconds(self, name: str) -> float:
        """The server's processor time."""
        return median(each.server_seconds for each in self.rounds[name])

    def peak(self, name: str) -> int:
        """A contestant's memory in bytes, the most of all rounds."""
        return max(each.cost.peak for each in self.rounds[name])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        server: What serves.
        contestants: Who takes part.
        sets: What is copied.
        directions: Which ways.
        rounds: How often.
        work: Folder for data and copies, which are deleted afterwards.
        mlflow_python: Interpreter that has MLflow, if it takes part.
        memory: Whether memory is watched.
        calm: How many cores others may keep busy, as for `Course`.
    """

    server: str
    contestants: Sequence[str]
    sets: Sequence[FileSet]
    directions: Sequence[str] = DIRECTIONS
    rounds: int = 1
    work: Path = Path("build")
    mlflow_python: Path | None = None
    memory: bool = False
    calm: float = math.inf

    def run(self) -> list[Result]:
        """Do it.

        Raises:
            BenchmarkError: A contestant or the server failed, or a copy is not right.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        transfers = len(self.sets) * len(self.directions) * self.rounds * len(self.contestants)
        with (
            tempfile.TemporaryDirectory(dir=self.work.resolve(), prefix="run-") as folder,
            Progress(transfers) as progress,
        ):
            return [result for files in self.sets for result in self._compare(files, Path(folder), progress)]

    def _compare(self, files: FileSet, folder: Path, progress: Progress) -> Iterator[Result]:
        progress.say(f"preparing {files}")
        source = folder / "source"
        files.make(source, sparse=self.memory and not files.small)
        for direction in self.directions:
            found: dict[str, list[Round]] = {name: [] for name in self.contestants}
            for number in range(self.rounds):
                for name, measured in self._measure_round(files, source, direction, number, progress):
                    found[name].append(measured)
            yield Result(files, direction, found)
        shutil.rmtree(source)

    def _measure_round(
        self, files: FileSet, source: Path, direction: str, number: int, progress: Progress
    ) -> Iterator[tuple[str, Round]]:
        turn = number % len(self.contestants)
        with serving(self.server, source.parent) as site:
            course = Course(site, files, source, direction, self.mlflow_python, self.memory, self.calm)
            course.prepare()
            for name in (*self.contestants[turn:], *self.contestants[:turn]):
                progress.say(f"{files} {direction}: {name}")
                yield name, course.measure(name)
                progress.advance(f"{files} {direction}: {name}")
