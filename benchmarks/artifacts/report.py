"""The tables of transfers: for a terminal, for the documentation, for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rich.table import Table

from benchmarks.artifacts.data import GIB
from benchmarks.artifacts.goals import Goal, goals
from benchmarks.artifacts.session import Result
from benchmarks.report import duration, machine

__all__ = ["Report", "markdown_table", "rich_table"]

_HEADINGS = (
    "transfer",
    "by",
    "time",
    "with start-up",
    "throughput",
    "client's CPU",
    "server's CPU",
    "cores busy",  # the client's and the server's
    "holdall is",
    "promised",
)
_TEXTS = 2
"""The columns before those of numbers."""


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one service.

    Attributes:
        service: Which.
        results: In the order measured.
        versions: What the server and the contestants are.
    """

    service: str
    results: Sequence[Result]
    versions: Mapping[str, str]

    @property
    def goals(self) -> list[Goal]:
        """Everything that is promised of these results."""
        return [goal for result in self.results for goal in goals(self.service, result)]

    @property
    def missed(self) -> list[str]:
        """Promises that were not kept, in words."""
        return [str(goal) for goal in self.goals if not goal.kept]

    @property
    def conditions(self) -> str:
        """One line on what was measured, and where."""
        rounds = max(len(found) for result in self.results for found in result.rounds.values())
        medians = f"medians of {rounds} rounds" if rounds > 1 else "one round"
        others = median(each.others for result in self.results for found in result.rounds.values() for each in found)
        shared = f"others kept {others:.1f} cores busy meanwhile"
        return "; ".join([*self.versions.values(), medians, machine(), shared])

    def table(self) -> Table:
        """For a terminal."""
        return rich_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def markdown(self) -> str:
        """For the documentation."""
        return markdown_table(_HEADINGS, _TEXTS, self._rows(), self.conditions)

    def json(self) -> dict[str, object]:
        """For programs: every round, and what was promised."""
        return {
            "service": self.service,
            "conditions": self.conditions,
            "versions": dict(self.versions),
            "missed": self.missed,
            "goals": [
                {
                    "transfer": str(goal.result),
                    "rival": goal.rival,
                    "promised": goal.promised,
                    "measured": goal.measured,
                }
                for goal in self.goals
            ],
            "transfers": [_plain(result) for result in self.results],
        }

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for result in self.results:
            promised = {goal.rival: goal for goal in goals(self.service, result)}
            for name in result.rounds:
                yield _cells(result, name, promised.get(name))


def rich_table(headings: Sequence[str], texts: int, rows: Iterator[tuple[str, ...]], caption: str) -> Table:
    """A table for a terminal, whose first columns are texts and the others numbers."""
    table = Table(caption=caption, caption_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < texts else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(headings: Sequence[str], texts: int, rows: Iterator[tuple[str, ...]], caption: str) -> str:
    """The same for the documentation."""
    rules = ("---" if place < texts else "---:" for place in range(len(headings)))
    lines = ["| " + " | ".join(row) + " |" for row in (headings, tuple(rules), *rows)]
    return "\n".join([*lines, "", f"{caption}.", ""])


def _plain(result: Result) -> dict[str, object]:
    rounds = {name: [asdict(each) for each in found] for name, found in result.rounds.items()}
    return {"set": str(result.files), "direction": result.direction, "rounds": rounds}


def _cells(result: Result, name: str, goal: Goal | None) -> tuple[str, ...]:
    seconds, net = result.seconds(name), result.net_seconds(name)
    files = result.files
    client, server = result.client_seconds(name), result.server_seconds(name)
    units = files.count / 1000 if files.small else files.total / GIB
    per = "/1,000" if files.small else "/GiB"
    times = "–"
    if "holdall" in result.rounds and name != "holdall":
        times = f"{net / result.net_seconds('holdall'):.2f}×"
    return (
        str(result),
        name,
        duration(net),
        duration(seconds),
        f"{files.count / net:,.0f} files/s" if files.small else f"{files.total / net / 1e6:,.0f} MB/s",
        f"{client / units:.2f} s{per}",
        f"{server / units:.2f} s{per}",
        f"{client / net:.1f} + {server / net:.1f}",
        times,
        "–" if goal is None else f"≥ {goal.promised:g}×{'' if goal.kept else ', missed'}",
    )
