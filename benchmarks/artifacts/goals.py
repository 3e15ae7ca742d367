"""What is promised of transfers, and what was measured instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.artifacts.contestants import UPLOAD
from benchmarks.artifacts.session import Result

__all__ = ["PEAK", "Goal", "goals"]

PEAK = 250_000_000
"""Bytes under which the memory of a transfer is promised to stay, whatever is copied."""

_MLFLOW_SERVICES = ("s3", "gcs", "azure")
_TOOLS = ("s5cmd", "rclone", "obstore", "sftp")


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of throughputs, holdall's to another's.

    Attributes:
        result: Where it was measured.
        rival: Whom holdall is compared with.
        promised: The least that it should be.
        measured: What it is.
    """

    result: Result
    rival: str
    promised: float
    measured: float

    @property
    def kept(self) -> bool:
        """Whether it is enough."""
        return self.measured >= self.promised

    def __str__(self) -> str:
        return f"{self.result}: {self.measured:.2f} × {self.rival}, promised {self.promised:g}"


def goals(service: str, result: Result) -> Iterator[Goal]:
    """What is promised of a result; nothing where holdall or its rival did not take part."""
    if "holdall" not in result.rounds:
        return
    for rival, promised in _promises(service, result):
        yield Goal(result, rival, promised, result.net_seconds(rival) / result.net_seconds("holdall"))


def _promises(service: str, result: Result) -> Iterator[tuple[str, float]]:
    small = result.files.small
    if service in _MLFLOW_SERVICES and "mlflow" in result.rounds:
        yield "mlflow", (3.0 if result.direction == UPLOAD else 4.0) if small else 1.0
    tools = [name for name in _TOOLS if name in result.rounds]
    if service != "local" and not small and tools:
        yield min(tools, key=result.net_seconds), 0.9
    if small and "s5cmd" in result.rounds:
        yield "s5cmd", 0.8
