"""Metric files: a line for each point, `timestamp value step`, and what MLflow 3 may add behind them.

A last line may lack its newline and counts all the same, as for MLflow. What a writer of ours was killed in the middle
of is told from it by the journal, which has the whole line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdall.backends.file.keyed import Reporter
from holdall.backends.file.layout import METRICS
from holdall.stores.entities import Metric
from holdall.stores.points import history_key, latest_key
from holdall.stores.problems import ProblemKind
from holdall.stores.search.ast import SortKey

__all__ = ["MetricFile", "format_line", "read_latest", "read_points", "without_torn_line"]

_INT64 = range(-(2**63), 2**63)
_NOT_A_POINT = (0, 1, 4)
"""Numbers of fields that no line has: 2 are a point without a step, 3 the usual one, 5 and more name a dataset too."""


@dataclass(frozen=True, slots=True)
class MetricFile:
    """What a metric file holds.

    Attributes:
        points: Each point once, by its `history_key`, in the order of the file.
        repeated: How many lines repeat a point.
    """

    points: dict[SortKey, Metric]
    repeated: int


def format_line(metric: Metric) -> str:
    """The line of a point, without a newline."""
    return f"{metric.timestamp} {metric.value!r} {metric.step}"


def without_torn_line(data: bytes, pending: Sequence[str]) -> bytes:
    """A file without the beginning of a line at its end.

    Args:
        data: The file.
        pending: Lines that were being appended to it.
    """
    if not data or data.endswith(b"\n"):
        return data
    whole = data.rfind(b"\n") + 1
    torn = data[whole:].decode("ascii", "replace")
    return data[:whole] if any(line.startswith(torn) for line in pending) else data


def read_points(key: str, data: bytes, report: Reporter) -> MetricFile:
    """All points of a file."""
    points: dict[SortKey, Metric] = {}
    lines = 0
    for point in _points(key, data, report):
        points.setdefault(history_key(point), point)
        lines += 1
    return MetricFile(points, lines - len(points))


def read_latest(key: str, data: bytes, report: Reporter) -> Metric | None:
    """The latest point of a file, by step, timestamp, value; of equal ones the first."""
    if data.count(b"\n") == 1 and data.endswith(b"\n"):  # the usual file of a finished run
        return _point(key, data[:-1], 1, report)
    latest: Metric | None = None
    for point in _points(key, data, report):
        if (
            latest is None
            or point.step > latest.step
            or (point.step == latest.step and latest_key(point) > latest_key(latest))
        ):
            latest = point
    return latest


def _points(key: str, data: bytes, report: Reporter) -> Iterable[Metric]:
    lines = data.split(b"\n")
    if not data:
        report(ProblemKind.MALFORMED, f"{METRICS}/{key}", "is empty: the metric has no points")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        point = _point(key, line, number, report)
        if point is not None:
            yield point


def _point(key: str, line: bytes, number: int, report: Reporter) -> Metric | None:
    fields = line.split(b" ")
    count = len(fields)
    try:
        if count in _NOT_A_POINT:
            raise ValueError
        timestamp, step = int(fields[0]), int(fields[2]) if count > 2 else 0
        if timestamp not in _INT64 or step not in _INT64:
            raise ValueError
        return Metric(key, float(fields[1]), timestamp, step)
    except ValueError:
        report(ProblemKind.MALFORMED, f"{METRICS}/{key}", f"line {number} is not a metric point, and does not count")
        return None
