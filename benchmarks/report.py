"""The table: medians, ratios, promises kept and broken; for a terminal, for the documentation, for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from benchmarks.measure import Result

__all__ = ["Report", "duration", "machine"]

_HEADINGS = (
    "operation",
    "holdall",
    "raw sqlite3",
    "MLflow",
    "× MLflow",
    "promised",
    "of raw speed",
    "promised",
    "kept",
)
_RULES = ("---", *("---:",) * 7, "---")
_RAW_COLUMNS = (2, 6, 7)

INDEX = "holdall_latest_metrics_by_value"
"""The index that finds the best runs."""


@dataclass(frozen=True, slots=True)
class Report:
    """All results, with what they were measured on.

    Attributes:
        results: In the order measured.
        versions: What each side is.
        scale: How much was stored, in words.
        raw: Whether the table has columns for the raw driver: files have none.
        plans: How a server carried out the search that is promised to use an index, by side.
    """

    results: Sequence[Result]
    versions: dict[str, str]
    scale: str
    raw: bool = True
    plans: dict[str, list[str]] = field(default_factory=dict)

    @property
    def missed(self) -> list[str]:
        """Promises that were not kept, in words."""
        missed = [line for result in self.results for line in _missed(result)]
        if "holdall" in self.plans and not any(INDEX in plan for plan in self.plans["holdall"]):
            missed.append(f"The search for the top 100 uses no index {INDEX}.")
        return missed

    @property
    def conditions(self) -> str:
        """One line on what was measured, and where."""
        return "; ".join([*self.versions.values(), self.scale, machine()])

    def table(self) -> Table:
        """For a terminal."""
        table = Table(caption=self.conditions, caption_justify="left")
        for heading, rule in zip(self._choose(_HEADINGS), self._choose(_RULES), strict=True):
            table.add_column(heading, justify="right" if rule.endswith(":") else "left", no_wrap=True)
        for result in self.results:
            table.add_row(*self._choose(_cells(result)))
        return table

    def markdown(self) -> str:
        """For the documentation."""
        rows = map(self._choose, [_HEADINGS, _RULES, *map(_cells, self.results)])
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        plans = ["```text", *self.plan_lines(), "```", ""] if self.plans else []
        return "\n".join([*lines, "", f"{self.conditions}. Median time of a call.", "", *plans])

    def plan_lines(self) -> Iterator[str]:
        """The plans, for a terminal and for the documentation."""
        for side, plans in self.plans.items():
            for plan in plans:
                yield f"{side}'s search for the top 100, as the server did it:"
                yield from plan.splitlines()
                yield ""

    def _choose(self, row: tuple[str, ...]) -> list[str]:
        """The columns of a full row that the table has."""
        return [cell for index, cell in enumerate(row) if self.raw or index not in _RAW_COLUMNS]

    def json(self) -> dict[str, object]:
        """For programs: seconds of every round, medians, ratios, promises."""
        return {
            "conditions": self.conditions,
            "versions": self.versions,
            "missed": self.missed,
            "plans": self.plans,
            "operations": [
                {
                    "name": result.operation.name,
                    "title": result.operation.title,
                    "median_seconds": {side: result.median(side) for side in result.seconds},
                    "seconds": result.seconds,
                    "times_mlflow": result.times_faster("mlflow"),
                    "times_mlflow_promised": result.operation.times_mlflow,
                    "of_raw": result.times_faster("raw"),
                    "of_raw_promised": result.operation.of_raw,
                }
                for result in self.results
            ],
        }


def _checks(result: Result) -> list[tuple[str, float | None, float | None]]:
    """What was promised in words, what was measured, what was promised."""
    operation = result.operation
    return [
        ("times as fast as MLflow", result.times_faster("mlflow"), operation.times_mlflow),
        ("of the raw driver's speed", result.times_faster("raw"), operation.of_raw),
    ]


def _missed(result: Result) -> list[str]:
    return [
        f"{result.operation.title}: {measured:.2f} {what}, promised {promised:g}"
        for what, measured, promised in _checks(result)
        if measured is not None and promised is not None and measured < promised
    ]


def _cells(result: Result) -> tuple[str, ...]:
    (_, times, times_promised), (_, share, share_promised) = _checks(result)
    checked = [measured for _, measured, promised in _checks(result) if measured is not None and promised is not None]
    return (
        result.operation.title,
        *(duration(result.median(side)) for side in ("holdall", "raw", "mlflow")),
        "–" if times is None else f"{times:.1f}×",
        "–" if times_promised is None else f"≥ {times_promised:g}×",
        "–" if share is None else f"{share:.2f}",
        "–" if share_promised is None else f"≥ {share_promised:g}",
        "–" if not checked else "no" if _missed(result) else "yes",
    )


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def duration(seconds: float | None) -> str:
    """A time with the unit that suits it."""
    if seconds is None:
        return "–"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs"
