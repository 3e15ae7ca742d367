"""Results of a conformance run, as data: what passed where, and what was not asked of the store.

Also the collector that the pytest plugin registers: it gathers the results of a run, prints the matrix at its end, and
writes them as JSON lines for whoever started it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import pytest

__all__ = ["Collector", "ConformanceReport", "SectionSummary", "TestRecord", "summarize"]

SECTION, REQUIRES, SUITE = "holdall_section", "holdall_requires", "holdall_suite"
"""Names of the properties that mark a test report as one of the suite's."""


@dataclass(frozen=True, slots=True)
class TestRecord:
    """The result of one test.

    Attributes:
        test: Name of the test, parameters included.
        suite: Class that was run.
        section: Section of the suite: `runs`, `history`, ….
        requires: Capabilities that select the test.
        outcome: `passed`, `failed`, `skipped`, or `excluded` for a declared exclusion that failed as expected.
        reason: Why it was skipped or excluded; the end of the failure otherwise.
        seconds: Time taken.
    """

    __test__ = False

    test: str
    suite: str
    section: str
    requires: tuple[str, ...]
    outcome: str
    reason: str = ""
    seconds: float = 0.0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> TestRecord:
        """The value of a line that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "requires": tuple(values["requires"])})


@dataclass(frozen=True, slots=True)
class SectionSummary:
    """A row of the matrix.

    Attributes:
        name: Section or capability.
        passed: Number of tests.
        failed: Number of tests.
        skipped: Number of tests that were not asked of the store.
        excluded: Number of declared exclusions.
        reasons: Why tests were skipped or excluded → how many.
    """

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    excluded: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`failed`, `passed`, or `skipped` if nothing was asked."""
        return "failed" if self.failed else "passed" if self.passed else "skipped"


def summarize(name: str, records: Iterable[TestRecord]) -> SectionSummary:
    """Count records into a row."""
    listed = list(records)
    counts = Counter(record.outcome for record in listed)
    reasons = Counter(record.reason for record in listed if record.outcome in ("skipped", "excluded"))
    return SectionSummary(
        name, counts["passed"], counts["failed"], counts["skipped"], counts["excluded"], dict(reasons)
    )


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What a conformance run found.

    Attributes:
        backend_uri: The backend that was tested, without its password, or None.
        artifact_uri: The artifact store that was tested, or None.
        records: Result of every test.
        exit_code: What pytest ended with.
        output: What pytest printed, for the details of failures.
    """

    backend_uri: str | None
    artifact_uri: str | None
    records: tuple[TestRecord, ...]
    exit_code: int
    output: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether tests ran and none failed."""
        return self.exit_code == 0 and any(record.outcome == "passed" for record in self.records)

    def failures(self) -> list[TestRecord]:
        """The tests that failed."""
        return [record for record in self.records if record.outcome == "failed"]

    def sections(self) -> list[SectionSummary]:
        """A row for each section, in the order in which they ran."""
        names = dict.fromkeys(record.section for record in self.records)
        return [summarize(name, (record for record in self.records if record.section == name)) for name in names]

    def capabilities(self) -> list[SectionSummary]:
        """A row for each capability that selects tests, by name; a test that needs several counts for each."""
        names = sorted({name for record in self.records for name in record.requires})
        return [summarize(name, (record for record in self.records if name in record.requires)) for name in names]

    def total(self) -> SectionSummary:
        """All tests in one row."""
        return summarize("total", self.records)

    def to_dict(self) -> dict[str, object]:
        """Everything but the output, as JSON can express it."""
        return {
            "backend_uri": self.backend_uri,
            "artifact_uri": self.artifact_uri,
            "ok": self.ok,
            "sections": [asdict(row) for row in self.sections()],
            "capabilities": [asdict(row) for row in self.capabilities()],
            "total": asdict(self.total()),
            "records": [asdict(record) for record in self.records],
        }

    def render(self) -> str:
        """The matrix as plain text."""
        blocks = [_table("section", self.sections()), _table("capability", self.capabilities())]
        reasons = [f"not asked, {count}: {reason}" for reason, count in sorted(self.total().reasons.items())]
        return "\n\n".join(filter(None, [*blocks, "\n".join(reasons), _table("", [self.total()])]))


def _table(title: str, rows: list[SectionSummary]) -> str:
    if not rows:
        return ""
    width = max(len(title), *(len(row.name) for row in rows))
    lines = [f"{title:<{width}}  {'passed':>7} {'failed':>7} {'skipped':>8} {'excluded':>9}"]
    lines += [
        f"{row.name:<{width}}  {row.passed:>7} {row.failed:>7} {row.skipped:>8} {row.excluded:>9}" for row in rows
    ]
    return "\n".join(lines)


class Collector:
    """Gathers the results of the suite's tests during a pytest run.

    Args:
        stream: Where to write each result as a line of JSON; None for nowhere.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.records: dict[str, TestRecord] = {}
        self._stream = stream

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Turn the reports of a test's phases into one record."""
        properties = dict(report.user_properties)
        if SECTION not in properties:
            return
        outcome = _outcome(report)
        if outcome is None:
            return
        known = self.records.get(report.nodeid)
        if known is not None and (known.outcome == "failed" or outcome != "failed"):
            return
        record = TestRecord(
            test=report.nodeid.rpartition("::")[2],
            suite=str(properties[SUITE]),
            section=str(properties[SECTION]),
            requires=tuple(filter(None, str(properties[REQUIRES]).split(","))),
            outcome=outcome,
            reason=_reason(report, outcome),
            seconds=report.duration,
        )
        self.records[report.nodeid] = record
        if self._stream is not None:
            self._stream.write(record.to_json() + "\n")
            self._stream.flush()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a matrix for each suite that ran."""
        for suite in dict.fromkeys(record.suite for record in self.records.values()):
            records = tuple(record for record in self.records.values() if record.suite == suite)
            terminalreporter.write_sep("-", f"holdall conformance: {suite}")
            terminalreporter.write_line(ConformanceReport(None, None, records, 0).render())


def _outcome(report: pytest.TestReport) -> str | None:
    """What a phase says about its test; None for the phases of a test that goes well."""
    if report.failed:
        return "failed"
    if report.skipped:
        return "excluded" if hasattr(report, "wasxfail") else "skipped"
    return "passed" if report.when == "call" else None


def _reason(report: pytest.TestReport, outcome: str) -> str:
    if outcome == "excluded":
        return str(getattr(report, "wasxfail", ""))
    if outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    if outcome == "failed":
        return report.longreprtext[-2000:]
    return ""
