"""The same calls through a server over each kind of store give the same answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.server.calls import Caller
from tests.server.live import live_server

pytestmark = pytest.mark.extras

BACKENDS = {"memory": "memory://", "file": "mlruns", "sqlite": "sqlite:///runs.db"}

POINTS = [
    {"key": "loss", "value": value, "timestamp": timestamp, "step": step}
    for value, timestamp, step in ((0.5, 10, 0), (0.25, 20, 1), ("NaN", 30, 2), ("Infinity", 30, -3), (-0.0, 40, 1))
]


def _use(api: Caller) -> list[object]:
    """Do a little of everything; what was answered."""
    answers: list[object] = []

    def note(method: str, endpoint: str, *, query: object = None, **body: object) -> Any:
        reply = api.reply(method, endpoint, None if method == "GET" else body, query)
        document = reply.json()
        known = {"error_code": document["error_code"]} if reply.status != 200 else document
        answers.append((method, endpoint, reply.status, known))
        return document

    tag = {"key": "team", "value": "größe"}
    experiment_id = note("POST", "experiments/create", name="first", tags=[tag])["experiment_id"]
    note("POST", "experiments/create", name="first")
    mine = {"experiment_id": experiment_id}
    note("POST", "experiments/set-experiment-tag", **mine, key="a/b", value="")
    run_ids = []
    for number in range(4):
        first = {"run_name": f"run {number}", "start_time": number, "user_id": "ann", "tags": [tag]}
        run_ids.append(note("POST", "runs/create", **mine, **first)["run"]["info"]["run_id"])
    run_id = run_ids[0]
    run = {"run_id": run_id}
    note(
        "POST",
        "runs/log-batch",
        **run,
        metrics=POINTS,
        params=[{"key": "a", "value": "1"}, {"key": "a/b", "value": ""}],
    )
    note("POST", "runs/log-batch", **run, params=[{"key": "new", "value": "1"}, {"key": "a", "value": "2"}])
    note("POST", "runs/log-metric", **run, **POINTS[0])
    note("POST", "runs/log-parameter", **run, key="a", value="1")
    note("POST", "runs/delete-tag", **run, key="team")
    note("POST", "runs/delete-tag", **run, key="team")
    dataset = {"name": "digits", "digest": "abc", "source_type": "code", "source": "{}", "schema": "{}"}
    context = [{"key": "mlflow.data.context", "value": "training"}]
    note("POST", "runs/log-inputs", **run, datasets=[{"dataset": dataset, "tags": context}])
    note("POST", "runs/update", **run, status="FINISHED", end_time=99, run_name="renamed")
    note("GET", "runs/get", query=run)
    note("GET", "metrics/get-history", query={**run, "metric_key": "loss"})
    note("GET", "metrics/get-history", query={**run, "metric_key": "loss", "max_results": 2})
    note("GET", "metrics/get-history-bulk", query={"run_id": run_ids, "metric_key": "loss"})
    note("GET", "metrics/get-history-bulk-interval", query={"run_ids": run_ids, "metric_key": "loss", "max_results": 3})
    note("POST", "experiments/search-datasets", experiment_ids=[experiment_id])
    note("POST", "runs/delete", run_id=run_ids[1])
    note("POST", "runs/set-tag", run_id=run_ids[1], key="k", value="v")
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        note("POST", "runs/search", experiment_ids=[experiment_id], run_view_type=view, max_results=2)
    note("POST", "runs/search", experiment_ids=[experiment_id], filter="metrics.loss > 0", order_by=["params.a DESC"])
    note("POST", "experiments/delete", **mine)
    note("POST", "runs/create", **mine)
    note("GET", "experiments/get-by-name", query={"experiment_name": "first"})
    note("POST", "experiments/search", filter="name = 'first'", view_type="ALL")
    note("POST", "experiments/restore", **mine)
    note("POST", "runs/search", experiment_ids=[experiment_id], run_view_type="ALL", order_by=["start_time ASC"])
    note("GET", "runs/get", query={"run_id": "0" * 32})
    note("GET", "experiments/get", query={"experiment_id": "77777"})
    return [_normal(answer, experiment_id, run_ids) for answer in answers]


def _normal(value: object, experiment_id: str, run_ids: list[str]) -> object:
    """An answer without what differs from one time to the next: ids, times of the server, tokens; sorted by key."""
    match value:
        case dict():
            hidden = {"creation_time", "last_update_time", "next_page_token", "experiment_id"}
            return {
                key: type(item) if key in hidden else _normal(item, experiment_id, run_ids)
                for key, item in sorted(value.items())
            }
        case list() | tuple():
            items = [_normal(item, experiment_id, run_ids) for item in value]
            keyed = all(isinstance(item, dict) and set(item) == {"key", "value"} for item in items)
            return sorted(items, key=str) if keyed else items
        case str():
            for number, run_id in enumerate(run_ids):
                value = value.replace(run_id, f"<run {number}>")
            return re.sub(rf"/{experiment_id}(?=/|$)", "/<experiment>", value)  # in locations
        case _:
            return repr(value)


def test_use_a_server_over_any_store_gives_the_same_answers(tmp_path: Path) -> None:
    found = {}
    for name, backend in BACKENDS.items():
        (folder := tmp_path / name).mkdir()
        with live_server(folder, backend=backend) as live:
            found[name] = _use(Caller(live))
    for first, second, third in zip(*found.values(), strict=True):
        assert first == second == third
