"""The most memory that transfers need: `python -m benchmarks.artifacts memory`.

A large sparse file and very many small files, both ways, each in a process of its own. Peak resident memory is promised
to stay below a limit, whatever is copied; MLflow's stands beside it. The servers for GCS and Azure keep everything in
memory: that for Azure takes about 6 GB, and the file for GCS is smaller because its server takes eight times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.artifacts.data import FileSet
from benchmarks.artifacts.goals import PEAK
from benchmarks.artifacts.program import Program
from benchmarks.artifacts.report import markdown_table, rich_table
from benchmarks.artifacts.session import Result
from benchmarks.report import duration, machine

__all__ = ["PROGRAM", "MemoryReport"]

_SETS = tuple(map(FileSet.parse, ("1x5GiB", "20000x4KiB")))
_HEADINGS = ("transfer", "by", "peak", "promised", "time")
_TEXTS = 2


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The peaks of one service.

    Attributes:
        service: Which.
        results: In the order measured.
        versions: What the server and the contestants are.
    """

    service: str
    results: Sequence[Result]
    versions: Mapping[str, str]

    @property
    def missed(self) -> list[str]:
        """Promises that were not kept, in words."""
        return [
            f"{result}: {_megabytes(result.peak('holdall'))} at most, promised under {_megabytes(PEAK)}"
            for result in self.results
            if "holdall" in result.rounds and result.peak("holdall") >= PEAK
        ]

    @property
    def conditions(self) -> str:
        """One line on what was measured, and where."""
        return "; ".join([*self.versions.values(), machine()])

    def table(self) -> Table:
        """For a terminal."""
        return rich_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def markdown(self) -> str:
        """For the documentation."""
        return markdown_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def json(self) -> dict[str, object]:
        """For programs."""
        transfers = [
            {"set": str(result.files), "direction": result.direction, "by": name, "peak": result.peak(name)}
            for result in self.results
            for name in result.rounds
        ]
        return {"service": self.service, "limit": PEAK, "missed": self.missed, "transfers": transfers}

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for result in self.results:
            for name in result.rounds:
                promised = f"< {_megabytes(PEAK)}" if name == "holdall" else "–"
                peak = _megabytes(result.peak(name))
                yield str(result), name, peak, promised, duration(result.net_seconds(name))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


PROGRAM = Program(
    name="python -m benchmarks.artifacts memory",
    description=__doc__,
    sets=_SETS,
    contestants=("holdall", "mlflow"),
    rounds=1,
    memory=True,
    report=MemoryReport,
)
"""The command line."""
