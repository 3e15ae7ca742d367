"""One description of a piece of work for every writer: steps, and the functions that build them.

A step is the name of a method of a writer and its arguments, plain enough for JSON. Experiments are named by their
current name; a run by its tag `ref`, since ids are the writer's own.
"""

from __future__ import annotations

import math
import sys

__all__ = [
    "INF",
    "LARGEST",
    "NAN",
    "ROOT",
    "T0",
    "Point",
    "Search",
    "Step",
    "curve",
    "dataset",
    "end",
    "experiment",
    "log",
    "run",
]

Step = tuple[str, dict[str, object]]
Point = tuple[str, float, int, int]
"""Key, value, timestamp, step."""
Search = tuple[str, list[str]]
"""Filter and order, for runs of the experiment `search`."""

ROOT = "/srv/artifacts"
T0 = 1_700_000_000_000
NAN, INF = math.nan, math.inf
LARGEST = sys.float_info.max


def run(experiment: str, ref: str, name: str, start: int = T0, user: str | None = None, **tags: str) -> Step:
    """Create a run."""
    named = tags if user is None else tags | {"mlflow.user": user}
    arguments = {"experiment": experiment, "ref": ref, "name": name, "start_time": start, "tags": named}
    return "create_run", arguments


def log(ref: str, *points: Point, params: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> Step:
    """Log one batch."""
    return "log_batch", {"ref": ref, "metrics": list(points), "params": params or {}, "tags": tags or {}}


def end(ref: str, status: str, end_time: int = T0 + 60_000) -> Step:
    """End a run."""
    return "end_run", {"ref": ref, "status": status, "end_time": end_time}


def experiment(name: str, location: str | None, **tags: str) -> Step:
    """Create an experiment with artifacts at `location` under `ROOT`; None leaves the place to the store."""
    place = None if location is None else f"{ROOT}/{location}"
    return "create_experiment", {"name": name, "artifact_location": place, "tags": tags}


def dataset(name: str, digest: str, context: str | None = None, **details: str) -> dict[str, object]:
    """A dataset as the step `log_inputs` takes it."""
    tags = {} if context is None else {"mlflow.data.context": context}
    source = {"source_type": "local", "source": '{"uri": "/data"}'}
    return {"name": name, "digest": digest, "tags": tags, **source, **details}


def curve(key: str, count: int, start: int = 0) -> list[Point]:
    """A falling loss; every third step has the timestamp of the one before."""
    return [(key, 1 / (7 + step), T0 + 1000 * (step - (step % 3 == 2)), step) for step in range(start, start + count)]
