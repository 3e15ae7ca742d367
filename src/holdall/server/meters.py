"""What is counted, for Prometheus: a table in memory that all workers share, in which each has a part of its own.

Counting a request is a few additions in place; whichever worker is asked adds up the parts. A worker that takes the
place of another one goes on with its part, so no count ever goes down.
"""

from __future__ import annotations

import multiprocessing
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from ctypes import c_double
from typing import TYPE_CHECKING

import holdall
from holdall.server.messages import Answer, Request
from holdall.server.routes import API_PREFIXES, Access, Route
from holdall.stores.errors import HTTP_STATUS

if TYPE_CHECKING:
    from holdall.server.service import Service

__all__ = ["ROUTES", "UNKNOWN", "Meter", "MeterTable", "exposition", "label_of"]

STATUSES = tuple(sorted({200, 206, 304, 405, 413, 416, *HTTP_STATUS.values()}))
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the histogram of times, in seconds."""

_COLUMN_OF = {status: column for column, status in enumerate(STATUSES)}
_OTHER = len(STATUSES)
_FIRST_BUCKET = _OTHER + 1
_SUM = _FIRST_BUCKET + len(BOUNDS) + 1
_WIDTH = _SUM + 1
_IN_FLIGHT, _WAITING, _REPLACED = range(3)
_HEAD = 3

UNKNOWN = 0
"""The row of requests that no route answers."""

_TEXT = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


def label_of(route: Route) -> str:
    """What a route is called: its path, without the prefix of the API, which makes no difference."""
    for prefix in API_PREFIXES:
        if route.path.startswith(f"{prefix}/"):
            return route.path[len(prefix) :]
    return route.path


def _labels(routes: Iterable[Route]) -> list[tuple[str, str]]:
    """Method and name of each row."""
    return [("", "unknown"), *dict.fromkeys((route.method, label_of(route)) for route in routes)]


class MeterTable:
    """The table. It goes to workers as an argument of the function that they run.

    Args:
        routes: All that there are.
        workers: How many parts it has.
    """

    def __init__(self, routes: Iterable[Route], workers: int = 1) -> None:
        self.labels = _labels(routes)
        self.workers = workers
        self._part = _HEAD + len(self.labels) * _WIDTH
        # Memory that belongs to no name in any folder: it is gone with the last process that has it.
        self._memory = multiprocessing.get_context("spawn").RawArray(c_double, workers * self._part)

    def meter(self, number: int) -> Meter:
        """The part of a worker."""
        return Meter(self, self._cells()[number * self._part : (number + 1) * self._part])

    def note_replacement(self) -> None:
        """Count that a worker has been replaced; for the process that watches over them."""
        self._cells()[_REPLACED] += 1

    def totals(self) -> list[float]:
        """The sum of all parts."""
        cells, part = self._cells(), self._part
        parts = [cells[start : start + part] for start in range(0, len(cells), part)]
        return [sum(column) for column in zip(*parts, strict=True)]

    def _cells(self) -> memoryview[float]:
        return memoryview(self._memory).cast("B").cast("d")


class Meter:
    """Counts what one worker does; to be used in its event loop alone.

    Args:
        table: Of all workers.
        cells: This one's part.
    """

    def __init__(self, table: MeterTable, cells: memoryview[float]) -> None:
        self.table = table
        self._cells = cells
        self._row_of = {label: row for row, label in enumerate(table.labels)}
        cells[_IN_FLIGHT] = cells[_WAITING] = 0.0  # the worker whose place this one takes has answered no more

    def row_of(self, route: Route) -> int:
        """The row of a route."""
        return self._row_of[route.method, label_of(route)]

    def begin(self) -> float:
        """Count a request that has come; when that was."""
        self._cells[_IN_FLIGHT] += 1
        return time.perf_counter()

    def end(self, row: int, status: int, begun: float, waiting: int) -> None:
        """Count what has become of it.

        Args:
            row: Of its route.
            status: Of the answer.
            begun: What `begin` has returned.
            waiting: Calls that wait for the store now.
        """
        seconds = time.perf_counter() - begun
        cells, start = self._cells, _HEAD + row * _WIDTH
        cells[_IN_FLIGHT] -= 1
        cells[_WAITING] = waiting
        cells[start + _COLUMN_OF.get(status, _OTHER)] += 1
        cells[start + _FIRST_BUCKET + bisect_left(BOUNDS, seconds)] += 1
        cells[start + _SUM] += seconds


def exposition(table: MeterTable) -> str:
    """All counts in Prometheus' text format, routes without a request left out."""
    totals = table.totals()
    rows = [totals[start : start + _WIDTH] for start in range(_HEAD, len(totals), _WIDTH)]
    used = [
        (f'method="{method}",route="{route}"', row)
        for (method, route), row in zip(table.labels, rows, strict=True)
        if any(row)
    ]
    lines = [
        *_family("holdall_info", "gauge", "The version.", [(f'version="{holdall.__version__}"', 1.0)]),
        *_family("holdall_workers", "gauge", "Processes that serve.", [("", float(table.workers))]),
        *_family("holdall_workers_replaced_total", "counter", "Workers that ended.", [("", totals[_REPLACED])]),
        *_family("holdall_requests_in_flight", "gauge", "Requests being answered.", [("", totals[_IN_FLIGHT])]),
        *_family("holdall_calls_waiting", "gauge", "Calls that wait for the store.", [("", totals[_WAITING])]),
        *_family("holdall_requests_total", "counter", "Requests by route and status.", _counts(used)),
        *_histogram(used),
    ]
    return "\n".join([*lines, ""])


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value:.0f}" if labels else f"{name} {value:.0f}"


def _counts(used: Sequence[tuple[str, Sequence[float]]]) -> Iterator[tuple[str, float]]:
    statuses = [*map(str, STATUSES), "other"]
    for labels, row in used:
        for status, count in zip(statuses, row[:_FIRST_BUCKET], strict=True):
            if count:
                yield f'{labels},status="{status}"', count


def _histogram(used: Sequence[tuple[str, Sequence[float]]]) -> Iterator[str]:
    name = "holdall_request_duration_seconds"
    yield f"# HELP {name} Time from a request's head to the end of its answer."
    yield f"# TYPE {name} histogram"
    for labels, row in used:
        count = 0.0
        for bound, more in zip([*map(str, BOUNDS), "+Inf"], row[_FIRST_BUCKET:_SUM], strict=True):
            count += more
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count:.0f}'
        yield f"{name}_sum{{{labels}}} {row[_SUM]!r}"
        yield f"{name}_count{{{labels}}} {count:.0f}"


async def metrics(service: Service, _request: Request) -> Answer:
    """What all workers have counted."""
    return Answer(headers=_TEXT, body=exposition(service.meters).encode())


ROUTES = (Route("GET", "/metrics", Access.READ, serve=metrics),)
"""With its whole path."""
