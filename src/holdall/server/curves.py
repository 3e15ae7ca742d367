"""Endpoints that give the histories of a metric in many runs, for charts."""

from __future__ import annotations

from holdall.backends.http.codec import metric_json
from holdall.server.fields import INT64, TEXT, Arguments, many, optional, required
from holdall.server.routes import Access, Route
from holdall.server.service import Service
from holdall.stores.entities import Metric
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.points import evenly_spaced

__all__ = ["ROUTES"]

MOST_RUNS = 100
MOST_POINTS = 25_000
MOST_POINTS_OF_RUN = 2_500


def get_histories(service: Service, given: Arguments) -> object:
    """The first points of each run, of at most 25,000 in all; unknown runs have none."""
    left = _within(given.integer("max_results", MOST_POINTS), MOST_POINTS)
    found: list[dict[str, object]] = []
    run_ids = _run_ids(given.items("run_id", str), "run_id")
    share = left // max(1, len(run_ids))
    for run_id in run_ids:
        try:
            points = service.store.get_metric_history(run_id, given.text("metric_key"), max(1, share))
        except NotFound:
            continue
        found += [{**metric_json(point), "run_id": run_id} for point in points]
    return {"metrics": found[:left]}


def get_intervals(service: Service, given: Arguments) -> object:
    """Points of each run, spread evenly, the first and the last among them; between two steps, if they are given."""
    start, stop = given.maybe_integer("start_step"), given.maybe_integer("end_step")
    if (start is None) is not (stop is None):
        raise InvalidParameterValue("If either start_step or end_step is specified, both must be specified.")
    if start is not None and stop is not None and start > stop:
        raise InvalidParameterValue(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={stop}."
        )
    limit = _within(given.integer("max_results", MOST_POINTS_OF_RUN), MOST_POINTS_OF_RUN)
    found: list[dict[str, object]] = []
    for run_id in _run_ids(given.items("run_ids", str), "run_ids"):
        try:
            points = _sample(service, run_id, given.text("metric_key"), start, stop, limit)
        except NotFound:
            continue
        found += [{**metric_json(point), "run_id": run_id} for point in points]
    return {"metrics": found} if found else {}


def _sample(service: Service, run_id: str, key: str, start: int | None, stop: int | None, limit: int) -> list[Metric]:
    if start is None or stop is None:
        return service.store.sample_metric_history(run_id, key, limit)
    history = service.store.get_metric_history(run_id, key)
    return evenly_spaced([point for point in history if start <= point.step <= stop], limit)


def _run_ids(run_ids: list[str], name: str) -> list[str]:
    if not 0 < len(run_ids) <= MOST_RUNS:
        raise InvalidParameterValue(f"{name} must name 1 to {MOST_RUNS} runs, got {len(run_ids)}.")
    return run_ids


def _within(number: int, most: int) -> int:
    if not 0 < number <= most:
        raise InvalidParameterValue(f"max_results must be between 1 and {most}, got {number}.")
    return number


ROUTES = (
    Route(
        "GET",
        "/mlflow/metrics/get-history-bulk",
        Access.READ,
        get_histories,
        fields=(required("run_id", many(TEXT)), required("metric_key", TEXT), optional("max_results", INT64)),
        slow=True,
        answers=("metrics",),
    ),
    Route(
        "GET",
        "/mlflow/metrics/get-history-bulk-interval",
        Access.READ,
        get_intervals,
        fields=(
            required("run_ids", many(TEXT)),
            required("metric_key", TEXT),
            optional("start_step", INT64),
            optional("end_step", INT64),
            optional("max_results", INT64),
        ),
        slow=True,
        answers=("metrics",),
    ),
)
"""Below every prefix of the API."""
