"""Interleave the sides round by round, and insist that they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.operations import Operation
from benchmarks.peer import BenchmarkError, Measurement, Peer

__all__ = ["Result", "compare"]


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation came to.

    Attributes:
        operation: Which one.
        seconds: Mean time of a call in each round, by side.
    """

    operation: Operation
    seconds: dict[str, list[float]]

    def median(self, side: str) -> float | None:
        """Median over the rounds, in seconds; None for a side that did not take part."""
        return median(self.seconds[side]) if side in self.seconds else None

    def times_faster(self, side: str) -> float | None:
        """How many times faster holdall is than a side; below 1 it is slower. None without both."""
        own, other = self.median("holdall"), self.median(side)
        return other / own if own and other else None


def compare(peers: Sequence[Peer], operation: Operation, rounds: int | None, progress: Callable[[str], None]) -> Result:
    """Measure an operation on all sides.

    Args:
        peers: The sides.
        operation: What to measure.
        rounds: Rounds; by default the operation's own number.
        progress: Told the operation's title after each round.

    Raises:
        BenchmarkError: Two sides answered differently, or wrote different numbers of rows.
    """
    if operation.warm_up:
        _measure_round(peers, operation)
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(rounds or operation.rounds):
        turn = number % len(peers)
        found = _measure_round([*peers[turn:], *peers[:turn]], operation)
        for name, measurement in found.items():
            seconds[name].append(measurement.seconds)
        progress(operation.title)
    return Result(operation, seconds)


def _measure_round(peers: Sequence[Peer], operation: Operation) -> dict[str, Measurement]:
    found = {peer.name: peer.run(operation.name, operation.calls) for peer in peers}
    (first, expected), *others = found.items()
    for name, measurement in others:
        for what, one, other in (
            ("answers", expected.answer, measurement.answer),
            ("numbers of rows", expected.rows, measurement.rows),
        ):
            if one != other:
                raise BenchmarkError(
                    f"{operation.title}: {first} and {name} have different {what}: {_short(one)}, {_short(other)}"
                )
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else text[:300] + "…"
