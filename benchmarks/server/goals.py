"""What is promised of the server, and what was measured instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.server.session import Result

__all__ = ["Goal", "goals"]

_TIMES_MLFLOW = {"sqlite": 25.0, "postgresql": 10.0}
_TIMES_FASTTRACKML = {"log-metric": 3.0, "log-batch": 3.0, "get-run": 1.5, "create-run": 1.5, "search": 1.5}


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio, of holdall's to another's: how many times as good it is.

    Attributes:
        result: Where it was measured.
        what: Of what.
        rival: Whom holdall is compared with.
        promised: The least that it should be.
        measured: What it is.
    """

    result: Result
    what: str
    rival: str
    promised: float
    measured: float

    @property
    def kept(self) -> bool:
        """Whether it is enough."""
        return self.measured >= self.promised

    def __str__(self) -> str:
        return (
            f"{self.result.operation.title}: {self.what} {self.measured:.2f} × {self.rival}, promised {self.promised:g}"
        )


def goals(store: str, result: Result) -> Iterator[Goal]:
    """What is promised of a result; nothing where holdall or its rival did not take part."""
    if "holdall" not in result.rounds:
        return
    own = result.rate("holdall")
    if "mlflow" in result.rounds and store in _TIMES_MLFLOW:
        yield Goal(result, "requests", "mlflow", _TIMES_MLFLOW[store], own / result.rate("mlflow"))
    if "fasttrackml" in result.rounds:
        promised = _TIMES_FASTTRACKML[result.operation.name]
        yield Goal(result, "requests", "fasttrackml", promised, own / result.rate("fasttrackml"))
        p99 = result.time("fasttrackml", 0.99) / result.time("holdall", 0.99)
        yield Goal(result, "p99", "fasttrackml", 1.0, p99)
