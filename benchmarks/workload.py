"""What is written and asked for, the same on every side. Standard library only: MLflow's interpreter imports this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

__all__ = [
    "BATCH_LABELS",
    "BATCH_METRICS",
    "BEST",
    "BY_PARAM",
    "EXPERIMENT",
    "EXPERIMENT_ID",
    "FIRST_PAGE",
    "HISTORY_KEY",
    "HISTORY_RUN",
    "LOG_EXPERIMENT_ID",
    "ONE_PAGE",
    "PAGE",
    "SCAN_EXPERIMENT_ID",
    "START",
    "TOP",
    "Point",
    "Scale",
    "Search",
    "StoredRun",
    "iterate_runs",
    "leading_run",
    "points",
    "stored_runs",
]

EXPERIMENT = "bench"
"""Name of the experiment that all runs belong to."""

EXPERIMENT_ID = 1
"""Its id, which is also the name of its folder where a store keeps folders."""

SCAN_EXPERIMENT_ID = 2
"""The experiment of the runs that are all read, where they are not those that are searched."""

LOG_EXPERIMENT_ID = 3
"""The experiment that is logged to, where that is not a store of its own."""

HISTORY_KEY = "loss"
HISTORY_RUN = "f" * 32
"""The run with a long metric history."""

START = 1_700_000_000_000
"""Milliseconds since the epoch at which everything begins."""

BATCH_METRICS = 1000
BATCH_LABELS = 100
PAGE = 1000
"""Rows of a page when all runs are read: what both search calls use by default."""

ONE_PAGE = 50_000
"""Rows of a page that holds all runs: the most that both search calls take."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is stored before reading is measured.

    Attributes:
        runs: Runs that searches go through, each with 5 metrics, 5 params and 5 tags.
        points: Points of the one long metric history.
    """

    runs: int = 10_000
    points: int = 100_000


@dataclass(frozen=True, slots=True)
class Search:
    """A search, in the filter language that MLflow and holdall share."""

    filter: str
    order_by: str
    limit: int


TOP = Search("metrics.m0 > 0.25 and params.p0 = 'v3'", "metrics.m0 DESC", 100)
BEST = Search("", "metrics.m0 DESC", 100)
FIRST_PAGE = Search("", "attributes.start_time DESC", 100)
BY_PARAM = Search("params.p0 = 'v3'", "attributes.start_time DESC", 100)


@dataclass(frozen=True, slots=True)
class Point:
    """A metric point, not yet an object of any side."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that is there before reading is measured."""

    run_id: str
    name: str
    start_time: int
    metrics: tuple[tuple[str, float], ...]
    params: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...]


def stored_runs(count: int) -> list[StoredRun]:
    """Runs of a populated store: the same list for the same count."""
    return list(iterate_runs(count))


def iterate_runs(count: int) -> Iterator[StoredRun]:
    """Runs of a populated store one by one, for those who cannot hold them all."""
    random = Random(20261122)
    for number in range(count):
        name = f"run-{number:06d}"
        labels = tuple((f"t{index}", f"team-{random.randrange(20)}") for index in range(4))
        yield StoredRun(
            run_id=f"{random.getrandbits(128):032x}",
            name=name,
            start_time=START + 1000 * number,
            metrics=tuple((f"m{index}", random.random()) for index in range(5)),
            params=tuple((f"p{index}", f"v{random.randrange(10)}") for index in range(5)),
            tags=(("mlflow.runName", name), *labels),
        )


def leading_run(count: int) -> StoredRun:
    """The run that a search for `TOP` finds first; where it finds none, any."""
    runs = stored_runs(count)
    found = [run for run in runs if dict(run.params)["p0"] == "v3"]
    return max(found or runs, key=lambda run: dict(run.metrics)["m0"])


def points(count: int, keys: int = 1, first_step: int = 0) -> list[Point]:
    """Points as a training loop logs them: every key once a step."""
    return [
        Point(
            key=HISTORY_KEY if keys == 1 else f"metric_{number % keys}",
            value=1.0 / (1 + first_step + number // keys),
            timestamp=START + first_step + number // keys,
            step=first_step + number // keys,
        )
        for number in range(count)
    ]
