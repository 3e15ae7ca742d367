"""The table of servers: for a terminal, for the documentation, for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rich.table import Table

from benchmarks.artifacts.report import markdown_table, rich_table
from benchmarks.report import duration, machine
from benchmarks.server.contestants import RUNS, VALUES
from benchmarks.server.goals import Goal, goals
from benchmarks.server.session import Comparison, Result

__all__ = ["Report"]

_HEADINGS = (
    "request",
    "server",
    "requests/s",
    "p50",
    "p99",
    "server's CPU /1,000",
    "asking's CPU /1,000",
    "holdall is",
    "promised",
)
_TEXTS = 2


@dataclass(frozen=True, slots=True)
class Report:
    """All results.

    Attributes:
        comparison: What was compared.
        results: In the order measured.
        versions: What each server is.
    """

    comparison: Comparison
    results: Sequence[Result]
    versions: Mapping[str, str]

    @property
    def goals(self) -> list[Goal]:
        """Everything that is promised of these results."""
        return [goal for result in self.results for goal in goals(self.comparison.store, result)]

    @property
    def missed(self) -> list[str]:
        """Promises that were not kept, in words."""
        return [str(goal) for goal in self.goals if not goal.kept]

    @property
    def conditions(self) -> str:
        """One line on what was measured, and where."""
        others = median(each.others for result in self.results for found in result.rounds.values() for each in found)
        comparison = self.comparison
        return "; ".join(
            [
                *self.versions.values(),
                f"{comparison.connections} connections, {RUNS:,} runs with {VALUES} metrics, params and tags each",
                f"medians of {comparison.rounds} rounds of {comparison.seconds:g} s",
                machine(),
                f"others kept {others:.1f} cores busy meanwhile",
            ]
        )

    def table(self) -> Table:
        """For a terminal."""
        return rich_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def markdown(self) -> str:
        """For the documentation."""
        return markdown_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def json(self) -> dict[str, object]:
        """For programs: every round, and what was promised."""
        return {
            "store": self.comparison.store,
            "conditions": self.conditions,
            "versions": dict(self.versions),
            "missed": self.missed,
            "goals": [
                {
                    "request": goal.result.operation.name,
                    "what": goal.what,
                    "rival": goal.rival,
                    "promised": goal.promised,
                    "measured": goal.measured,
                }
                for goal in self.goals
            ],
            "requests": [
                {
                    "name": result.operation.name,
                    "rounds": {name: [asdict(each) for each in found] for name, found in result.rounds.items()},
                }
                for result in self.results
            ],
        }

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for result in self.results:
            promised = {goal.rival: goal for goal in goals(self.comparison.store, result) if goal.what == "requests"}
            for name in result.rounds:
                yield _cells(result, name, promised.get(name))


def _cells(result: Result, name: str, goal: Goal | None) -> tuple[str, ...]:
    server, client = result.cost(name)
    times = "–"
    if "holdall" in result.rounds and name != "holdall":
        times = f"{result.rate('holdall') / result.rate(name):.1f}×"
    return (
        result.operation.title,
        name,
        f"{result.rate(name):,.0f}",
        duration(result.time(name, 0.5)),
        duration(result.time(name, 0.99)),
        f"{server * 1000:.2f} s",
        f"{client * 1000:.3f} s",
        times,
        "–" if goal is None else f"≥ {goal.promised:g}×{'' if goal.kept else ', missed'}",
    )
