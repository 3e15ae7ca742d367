"""`/metrics`: what is counted, by whichever worker, in Prometheus' text format."""

from __future__ import annotations

import re
from pathlib import Path

from tests.server.live import LiveServer, live_server

from holdall.server.endpoints import all_routes
from holdall.server.meters import MeterTable, exposition

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)*)\})? ([0-9.e+-]+)')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of an exposition, which must be well-formed: each once, its family's kind before it."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            family = match[1] if match[1] in kinds else re.sub("_(bucket|sum|count)$", "", match[1])
            assert family in kinds, line
            key = match[1], frozenset(re.findall(r'([a-z]+)="([^"]*)"', match[2] or ""))
            assert key not in found, line
            found[key] = float(match[3])
    return found


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


def read(server: LiveServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    reply = server.ask("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(reply.body.decode())


def test_read_metrics_counts_requests_of_all_workers_by_route_and_status(tmp_path: Path) -> None:
    with live_server(tmp_path, "--workers", "2") as server:
        for number in range(30):  # each on a connection of its own: both workers get some
            server.api("POST", "experiments/create", {"name": f"e{number}"})
        assert server.ask("POST", "/ajax-api/2.0/mlflow/experiments/create", {"name": "e0"}).status == 400
        assert server.ask("GET", "/nowhere").status == 404
        for _ in range(5):
            found = read(server)
            created = {"method": "POST", "route": "/mlflow/experiments/create"}
            assert found["holdall_requests_total", labels(**created, status="200")] == 30
            assert found["holdall_requests_total", labels(**created, status="400")] == 1
            assert found["holdall_requests_total", labels(method="", route="unknown", status="404")] == 1
            assert found["holdall_request_duration_seconds_count", labels(**created)] == 31
            assert found["holdall_workers", labels()] == 2
            assert found["holdall_requests_in_flight", labels()] == 1


def test_read_metrics_has_cumulative_buckets_and_the_sum_of_times() -> None:
    table = MeterTable(all_routes(), workers=2)
    route = next(route for route in all_routes() if route.path == "/health")
    for number, seconds in ((0, 0.0), (0, 0.003), (1, 100.0)):
        meter = table.meter(number)
        meter.end(meter.row_of(route), 200, meter.begin() - seconds, 0)
    found = samples(exposition(table))
    name, health = "holdall_request_duration_seconds", {"method": "GET", "route": "/health"}
    assert found[f"{name}_bucket", labels(**health, le="0.001")] == 1
    assert found[f"{name}_bucket", labels(**health, le="0.005")] == 2
    assert found[f"{name}_bucket", labels(**health, le="10.0")] == 2
    assert found[f"{name}_bucket", labels(**health, le="+Inf")] == 3
    assert found[f"{name}_count", labels(**health)] == 3
    assert 100.0 < found[f"{name}_sum", labels(**health)] < 101.0


def test_replace_worker_keeps_its_counts_and_forgets_what_it_had_in_hand() -> None:
    table = MeterTable(all_routes())
    route = next(route for route in all_routes() if route.path == "/health")
    first = table.meter(0)
    first.end(first.row_of(route), 503, first.begin(), 7)
    first.begin()
    table.meter(0)
    found = samples(exposition(table))
    assert found["holdall_requests_total", labels(method="GET", route="/health", status="503")] == 1
    assert found["holdall_requests_in_flight", labels()] == 0
    assert found["holdall_calls_waiting", labels()] == 0


def test_count_status_of_no_column_is_other() -> None:
    table = MeterTable(all_routes())
    route = next(route for route in all_routes() if route.path == "/health")
    meter = table.meter(0)
    meter.end(meter.row_of(route), 418, meter.begin(), 0)
    found = samples(exposition(table))
    assert found["holdall_requests_total", labels(method="GET", route="/health", status="other")] == 1
