"""What is written and asked for, the same on every side. Standard library only: MLflow's interpreter imports this."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["EXPERIMENT", "TOP", "Point", "Scale", "StoredRun", "points", "stored_runs"]

EXPERIMENT = "bench"
"""Name of the experiment that all runs belong to."""

HISTORY_KEY = "loss"
HISTORY_RUN = "f" * 32
"""The run with a long metric history."""

START = 1_700_000_000_000
"""Milliseconds since the epoch at which everything begins."""

BATCH_METRICS = 1000
BATCH_LABELS = 100
PAGE = 1000
"""Rows of a page when all runs are read: what both search calls use by default."""


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
    """Runs of the populated database: the same list for the same count."""
    random = Random(20261122)
    runs = []
    for number in range(count):
        name = f"run-{number:06d}"
        labels = tuple((f"t{index}", f"team-{random.randrange(20)}") for index in range(4))
        runs.append(
            StoredRun(
                run_id=f"{random.getrandbits(128):032x}",
                name=name,
                start_time=START + 1000 * number,
                metrics=tuple((f"m{index}", random.random()) for index in range(5)),
                params=tuple((f"p{index}", f"v{random.randrange(10)}") for index in range(5)),
                tags=(("mlflow.runName", name), *labels),
            )
        )
    return runs


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
