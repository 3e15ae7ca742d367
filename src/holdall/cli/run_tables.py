"""Runs for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from holdall.cli.output import (
    make_table,
    print_facts,
    print_json,
    print_table,
    shown,
    shown_duration,
    shown_number,
    shown_time,
)
from holdall.stores.entities import Metric, Run
from holdall.stores.errors import InvalidParameterValue

__all__ = ["print_history", "print_run", "print_runs"]

FIXED = ("run id", "name", "experiment", "status", "started (UTC)", "duration")
WHOLE = ("run id", "status")
KINDS = {
    "metrics": "metrics",
    "metric": "metrics",
    "params": "params",
    "param": "params",
    "tags": "tags",
    "tag": "tags",
}
CHOSEN = 3
"""Metrics and params that are shown if nobody says which."""

Column = tuple[str, str]
"""`metrics`, `params` or `tags`, and a key."""


def print_runs(runs: Sequence[Run], columns: Sequence[str]) -> None:
    """Print a table of runs.

    Args:
        runs: In the order to print.
        columns: Metrics, params and tags to show, such as `metrics.loss`; the most common ones if empty.

    Raises:
        InvalidParameterValue: A column is named otherwise.
    """
    chosen = [_parse_column(column) for column in columns] or _common_columns(runs)
    headings = [shown(f"{kind}.{key}") for kind, key in chosen]
    numeric = [heading for heading, (kind, _) in zip(headings, chosen, strict=True) if kind == "metrics"]
    table = make_table(*FIXED, *headings, right=["experiment", "duration", *numeric], whole=WHOLE)
    for run in runs:
        info = run.info
        stage = "" if info.lifecycle_stage == "active" else f" ({info.lifecycle_stage})"
        times = shown_time(info.start_time), shown_duration(info.start_time, info.end_time)
        cells = (_cell(run, column) for column in chosen)
        table.add_row(info.run_id, shown(info.run_name), info.experiment_id, info.status + stage, *times, *cells)
    print_table(table)


def print_run(run: Run) -> None:
    """Print everything about one run."""
    info = run.info
    facts = {
        "name": info.run_name,
        "run id": info.run_id,
        "experiment id": info.experiment_id,
        "status": info.status,
        "stage": info.lifecycle_stage,
        "user": info.user_id,
        "started": f"{shown_time(info.start_time)} UTC",
        "duration": shown_duration(info.start_time, info.end_time),
        "artifacts": info.artifact_uri,
    }
    print_facts("run", {name: value for name, value in facts.items() if value})
    print_facts("params", dict(sorted(run.data.params.items())))
    print_facts("metrics (latest)", {point.key: _latest(point) for point in sorted(run.data.latest_metrics, key=_key)})
    print_facts("tags", dict(sorted(run.data.tags.items())))
    datasets = {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs}
    print_facts("datasets", datasets)


def print_history(run_id: str, points: Sequence[Metric], *, as_json: bool) -> None:
    """Print the points of one metric."""
    if as_json:
        rows = [{"value": p.value, "step": p.step, "timestamp": p.timestamp} for p in points]
        print_json({"run_id": run_id, "points": rows})
        return
    table = make_table("step", "time (UTC)", "value", right=["step", "value"])
    for point in points:
        table.add_row(str(point.step), shown_time(point.timestamp), repr(point.value))
    print_table(table)


def _parse_column(text: str) -> Column:
    kind, dot, key = text.partition(".")
    if not dot or not key or kind not in KINDS:
        raise InvalidParameterValue(f"Invalid column {text!r}: write metrics.KEY, params.KEY or tags.KEY.")
    return KINDS[kind], key


def _common_columns(runs: Sequence[Run]) -> list[Column]:
    """The metrics and params that most of the runs have, in alphabetical order."""
    metrics = Counter(key for run in runs for key in run.data.metrics)
    params = Counter(key for run in runs for key in run.data.params)
    chosen: list[Column] = []
    for kind, keys in (("metrics", metrics), ("params", params)):
        ranked = sorted(keys, key=lambda key: (-keys[key], key))
        chosen += [(kind, key) for key in sorted(ranked[:CHOSEN])]
    return chosen


def _cell(run: Run, column: Column) -> str:
    kind, key = column
    if kind == "metrics":
        return shown_number(run.data.metrics.get(key))
    return shown((run.data.params if kind == "params" else run.data.tags).get(key, ""))


def _latest(point: Metric) -> str:
    return f"{point.value!r}  (step {point.step})"


def _key(point: Metric) -> str:
    return point.key
