"""What is asked, as it goes over the wire."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["OPERATIONS", "Operation", "Site", "post"]

_START = 1_700_000_000_000
_API = "/api/2.0/mlflow"
_BATCH = 100
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Site:
    """A server with its runs.

    Attributes:
        port: On the loopback.
        experiment_id: Of the runs that are searched.
        run_ids: Those.
        busy_experiment_id: Of the runs that are made and logged to.
        busy_run_ids: One for each connection that logs.
    """

    port: int
    experiment_id: str
    run_ids: list[str]
    busy_experiment_id: str
    busy_run_ids: list[str]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something to ask for.

    Attributes:
        name: As it is chosen by.
        title: For people.
        requests: The requests of one connection, by its number and that of the round, without an end.
    """

    name: str
    title: str
    requests: Callable[[Site, int, int], Iterator[bytes]]


def post(port: int, endpoint: str, body: object) -> bytes:
    """A request with a body."""
    return _post(port, endpoint, json.dumps(body))


def _post(port: int, endpoint: str, text: str) -> bytes:
    data = text.encode()
    head = f"POST {_API}/{endpoint} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _get(port: int, path: str) -> bytes:
    return f"GET {_API}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def _numbered(template: bytes, round_number: int) -> Iterator[bytes]:
    """Requests that differ in the number of their step, whose digits are always as many."""
    for step in itertools.count(1_000_000_000 + round_number * 10_000_000):
        yield template.replace(b"1234567890", b"%d" % step)


def _log_metric(site: Site, connection: int, round_number: int) -> Iterator[bytes]:
    point = {"key": "loss", "value": 0.123456789, "timestamp": _START, "step": 1234567890}
    template = post(site.port, "runs/log-metric", {"run_id": site.busy_run_ids[connection], **point})
    return _numbered(template, round_number)


def _log_batch(site: Site, connection: int, round_number: int) -> Iterator[bytes]:
    points = [
        {"key": f"metric_{number:02}", "value": 0.5 + number, "timestamp": _START + number, "step": 1234567890}
        for number in range(_BATCH)
    ]
    body = {"run_id": site.busy_run_ids[connection], "metrics": points, "params": [], "tags": []}
    return _numbered(post(site.port, "runs/log-batch", body), round_number)


def _get_run(site: Site, connection: int, round_number: int) -> Iterator[bytes]:
    chosen = random.Random(connection * 1000 + round_number)
    requests = [_get(site.port, f"runs/get?run_uuid={run_id}&run_id={run_id}") for run_id in site.run_ids]
    while True:
        yield chosen.choice(requests)


def _create_run(site: Site, connection: int, round_number: int) -> Iterator[bytes]:
    tags = [{"key": "mlflow.user", "value": "ada"}, {"key": "mlflow.source.name", "value": "train.py"}]
    body = {
        "experiment_id": site.busy_experiment_id,
        "user_id": "ada",
        "run_name": f"run-{connection}-{round_number}",
        "start_time": _START,
        "tags": tags,
    }
    return itertools.repeat(post(site.port, "runs/create", body))


def _search(site: Site, _connection: int, _round: int) -> Iterator[bytes]:
    body = {
        "experiment_ids": [site.experiment_id],
        "order_by": ["metrics.loss ASC"],
        "max_results": _PAGE,
        "run_view_type": "ACTIVE_ONLY",
    }
    return itertools.repeat(post(site.port, "runs/search", body))


OPERATIONS = (
    Operation("log-metric", "log-metric", _log_metric),
    Operation("log-batch", f"log-batch, {_BATCH} metrics", _log_batch),
    Operation("get-run", "runs/get", _get_run),
    Operation("create-run", "runs/create", _create_run),
    Operation("search", f"runs/search, a page of {_PAGE}", _search),
)
