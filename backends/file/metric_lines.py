"""Metric files: a line for each point.

Those of a run have `timestamp value step`, and what MLflow 3 may add behind them; those of a logged model have more
(`holdall.backends.file.model_lines`). A last line may lack its newline and counts all the same, as for MLflow. What a
writer of ours was killed in the middle of is told from it by the journal, which has the whole line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from holdall.backends.file.keyed import Reporter
from holdall.backends.file.layout import METRICS
from holdall.stores.entities import LoggedModelMetric, Metric
from holdall.stores.points import latest_key
from holdall.stores.problems import ProblemKind

__all__ = [
    "RUN_LINES",
    "LineFormat",
    "MetricFile",
    "P",
    "parse_numbers",
    "read_latest",
    "read_points",
    "without_torn_line",
]

P = TypeVar("P", Metric, LoggedModelMetric)
"""The points of runs, or those of logged models."""

_LEAST, _GREATEST = -(2**63), 2**63 - 1
_NOT_A_POINT = (0, 1, 4)
"""Numbers of fields that no line has: 2 are a point without a step, 3 the usual one, 5 and more name a dataset too."""


@dataclass(frozen=True, slots=True)
class MetricFile(Generic[P]):
    """What a metric file holds.

    Attributes:
        points: Each point once, by what makes points the same point, in the order of the file.
        repeated: How many lines repeat a point.
    """

    points: dict[object, P]
    repeated: int


@dataclass(frozen=True, slots=True)
class LineFormat(Generic[P]):
    """How points of one kind are written and read.

    Attributes:
        format: The line of a point, without a newline.
        parse: The point of the metric of this key that a line holds, or ValueError.
        identity: Equal for points of a metric that are the same point.
    """

    format: Callable[[P], str]
    parse: Callable[[str, bytes], P]
    identity: Callable[[P], object]

    def points(self, key: str, data: bytes, report: Reporter) -> Iterator[P]:
        """The point of every line of a file; what is none is reported."""
        lines = data.split(b"\n")
        if not data:
            report(ProblemKind.MALFORMED, f"{METRICS}/{key}", "is empty: the metric has no points")
        if not lines[-1]:
            lines.pop()
        parse = self.parse
        for number, line in enumerate(lines, start=1):
            try:
                yield parse(key, line)
            except ValueError:
                message = f"line {number} is not a metric point, and does not count"
                report(ProblemKind.MALFORMED, f"{METRICS}/{key}", message)

    def read(self, key: str, data: bytes, report: Reporter) -> MetricFile[P]:
        """All points of a file."""
        points: dict[object, P] = {}
        lines = 0
        for point in self.points(key, data, report):
            points.setdefault(self.identity(point), point)
            lines += 1
        return MetricFile(points, lines - len(points))


def parse_numbers(fields: Sequence[bytes]) -> tuple[int, float, int]:
    """Timestamp, value and step, with which every line begins; a line of two fields has step 0.

    Raises:
        ValueError: They are no numbers, or out of range.
    """
    timestamp, step = int(fields[0]), int(fields[2]) if len(fields) > 2 else 0
    if _LEAST <= timestamp <= _GREATEST and _LEAST <= step <= _GREATEST:
        return timestamp, float(fields[1]), step
    raise ValueError


def without_torn_line(data: bytes, pending: Sequence[str], size: int) -> bytes:
    """A file without the beginning of a line at its end.

    Args:
        data: The file.
        pending: Lines that were being appended to it.
        size: How long it was before; a last line that begins there or before is another writer's.
    """
    whole = data.rfind(b"\n") + 1
    torn = data[whole:]
    if not torn or whole < size:
        return data
    return data[:whole] if any(line.encode().startswith(torn) for line in pending) else data


def _format(metric: Metric) -> str:
    return f"{metric.timestamp} {metric.value!r} {metric.step}"


def _parse(key: str, line: bytes) -> Metric:
    fields = line.split(b" ")
    if len(fields) in _NOT_A_POINT:
        raise ValueError
    timestamp, value, step = parse_numbers(fields)
    return Metric(key, value, timestamp, step)


def _identity(point: Metric) -> tuple[int, int, float, int]:
    """The parts of its `history_key`, which sort as that does; a history has very many of them."""
    value = point.value
    return (point.timestamp, point.step, value, 0) if value == value else (point.timestamp, point.step, 0.0, 1)


RUN_LINES: LineFormat[Metric] = LineFormat(_format, _parse, _identity)
"""Lines of the metrics of runs."""


def read_points(key: str, data: bytes, report: Reporter) -> MetricFile[Metric]:
    """All points of a file of a run."""
    return RUN_LINES.read(key, data, report)


def read_latest(key: str, data: bytes, report: Reporter) -> Metric | None:
    """The latest point of a file of a run, by step, timestamp, value; of equal ones the first."""
    latest: Metric | None = None
    for point in RUN_LINES.points(key, data, report):
        if (
            latest is None
            or point.step > latest.step
            or (point.step == latest.step and latest_key(point) > latest_key(latest))
        ):
            latest = point
    return latest
