"""What calls cost on a server, in round trips at the socket: the network is what most of them are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from tests.backends.server_harness import ServerHarness
from tests.backends.wire import Wire

from holdall.backends.sql import server
from holdall.conformance_tests.emulators import shared_server
from holdall.stores import (
    BackendStore,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    as_logged_model_store,
    open_backend_store,
)

pytestmark = pytest.mark.extras

MANY = 2100
"""Runs of an experiment that is not looked at run by run."""


@pytest.fixture(params=["postgresql", "mariadb"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerHarness]:
    harness = ServerHarness(shared_server(request.param), tmp_path)
    yield harness
    harness.remove()


@pytest.fixture
def wire(harness: ServerHarness) -> Iterator[Wire]:
    with Wire(harness.server.port) as wire:
        yield wire


@pytest.fixture
def store(harness: ServerHarness, wire: Wire) -> Iterator[BackendStore]:
    with open_backend_store(harness.server.uri(harness.database, port=wire.port)) as opened:
        opened.get_experiment("0")
        yield opened


@pytest.fixture
def run_id(store: BackendStore) -> str:
    return store.create_run("0").info.run_id


def _spent(wire: Wire, call: Callable[[], object]) -> int:
    connections, wire.round_trips = wire.connections, 0
    call()
    assert wire.connections == connections, "a call found no connection to use again"
    return wire.round_trips


def test_log_one_value_takes_one_round_trip(store: BackendStore, run_id: str, wire: Wire) -> None:
    for step in range(10):
        assert _spent(wire, partial(store.log_metric, run_id, Metric("m", 1.0, 1, step))) == 1
        assert _spent(wire, partial(store.log_param, run_id, Param(f"p{step}", "1"))) == 1
        assert _spent(wire, partial(store.set_tag, run_id, RunTag("t", str(step)))) == 1


@pytest.mark.parametrize(
    ("metrics", "params", "tags"), [(1, 0, 0), (1000, 0, 0), (0, 100, 0), (0, 0, 100), (800, 100, 100)]
)
def test_log_batch_of_any_size_takes_few_round_trips(
    store: BackendStore, run_id: str, wire: Wire, metrics: int, params: int, tags: int
) -> None:
    for turn in range(3):
        points = [Metric(f"{'key' * 20}{index}", 1.0, 1, turn) for index in range(metrics)]
        inputs = [Param(f"p{index}", "1") for index in range(params)]
        labels = [RunTag(f"t{index}", str(turn)) for index in range(tags)]
        assert _spent(wire, partial(store.log_batch, run_id, points, inputs, labels)) <= (4 if params else 1)
    data = store.get_run(run_id).data
    assert (len(data.metrics), len(data.params)) == (metrics, params)


def test_repeat_batch_after_long_history_costs_what_it_cost_at_first(
    store: BackendStore, run_id: str, wire: Wire, harness: ServerHarness
) -> None:
    """A lost answer is followed by the same request: it must not read the history (mlflow#24577)."""
    batch = [Metric("loss", float(step), step, step) for step in range(500)]
    first = _spent(wire, lambda: store.log_batch(run_id, batch))
    for start in range(500, 5500, 1000):
        store.log_batch(run_id, [Metric("loss", 1.0, step, step) for step in range(start, start + 1000)])
    before = wire.answered_bytes
    assert _spent(wire, lambda: store.log_batch(run_id, batch)) == first == 1
    assert wire.answered_bytes - before < 1000
    assert len(harness.raw.metric_points(run_id)) == 5500


def test_create_run_takes_at_most_two_round_trips(store: BackendStore, wire: Wire) -> None:
    tags = [RunTag(f"t{index}", "v") for index in range(50)]
    for _ in range(8):
        assert _spent(wire, lambda: store.create_run("0", tags=tags, run_name="a name")) <= 2


def test_use_logged_model_takes_few_round_trips(store: BackendStore, run_id: str, wire: Wire) -> None:
    models = as_logged_model_store(store)
    model = models.create_logged_model("0", params={"p": "1"}, tags={"t": "1"}).model_id
    for step in range(10):
        points = [Metric(f"m{index}", 1.0, step, step) for index in range(1000)]
        assert _spent(wire, partial(models.log_model_metrics, model, run_id, points)) <= 3
        assert _spent(wire, partial(models.log_outputs, run_id, [LoggedModelOutput(f"m-{step}", step)])) <= 4
        assert _spent(wire, partial(models.finalize_logged_model, model, "READY")) <= 3
        assert _spent(wire, partial(models.create_logged_model, "0", tags={"t": "1"})) <= 3
        # A long answer may begin before the last question is on the wire.
        assert _spent(wire, partial(store.get_run, run_id)) <= 2


def test_read_run_or_history_takes_one_round_trip(store: BackendStore, run_id: str, wire: Wire) -> None:
    points = [Metric(f"m{index % 20}", 1.0, index, index) for index in range(1000)]
    store.log_batch(run_id, points)
    store.log_batch(run_id, [], [Param("p", "1")], [RunTag("t", "1")])
    models = as_logged_model_store(store)
    model = models.create_logged_model("0").model_id
    models.log_model_metrics(model, run_id, points[:20])
    models.log_outputs(run_id, [LoggedModelOutput(model)])
    for _ in range(8):
        assert _spent(wire, lambda: store.get_run(run_id)) == 1
        assert _spent(wire, lambda: models.get_logged_model(model)) == 1
        assert _spent(wire, lambda: models.search_logged_models(["0"], max_results=5)) <= 3
        assert _spent(wire, lambda: store.get_metric_history(run_id, "m0")) == 1
        assert _spent(wire, lambda: store.get_metric_history(run_id, "absent")) == 1
        assert _spent(wire, lambda: store.get_experiment("0")) == 1
        assert _spent(wire, lambda: store.get_experiment_by_name("Default")) <= 2


ORDERS: list[list[str]] = [
    [],
    ["start_time DESC"],
    ["params.p ASC"],
    ["metrics.acc DESC"],
    ["metrics.acc ASC", "start_time"],
    ["metrics.some DESC"],
    ["metrics.absent DESC"],
]


@pytest.mark.parametrize("runs", [0, 20, MANY])
def test_search_page_takes_at_most_three_round_trips(
    store: BackendStore, wire: Wire, harness: ServerHarness, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    """However many runs there are, in whatever order, with a page that is full or not.

    The first search in an experiment may take one more, to learn how many runs it has, and so may one half a minute
    later. Pages are small: the server begins to send a great one while it is still being asked for more of it, and the
    wire takes that for round trips.
    """
    monkeypatch.setattr(server, "_FRESH", 3600.0)
    experiment = store.create_experiment("searched")
    _fill(harness, experiment, runs)
    store.search_runs([experiment], order_by=["metrics.acc DESC"], max_results=5)
    for order, size, filter_string in product(ORDERS, (5, 20), ("", "metrics.acc < 3 AND params.p != 'x'")):
        search = partial(store.search_runs, [experiment], filter_string, max_results=size, order_by=order)
        costs = [_spent(wire, search) for _ in range(2)]
        assert max(costs) <= 3, (order, size, filter_string, costs)
    page = store.search_runs([experiment], max_results=5, order_by=["metrics.acc DESC"])
    assert len(page) == min(runs, 5)
    assert _spent(wire, lambda: _next(store, experiment, page.token)) <= 3


@pytest.mark.parametrize("runs", [0, 20, MANY])
def test_first_search_by_metric_takes_at_most_four_round_trips(
    store: BackendStore, wire: Wire, harness: ServerHarness, runs: int
) -> None:
    experiment = store.create_experiment("searched")
    _fill(harness, experiment, runs)
    assert _spent(wire, partial(store.search_runs, [experiment], order_by=["metrics.acc DESC"], max_results=100)) <= 4


def _next(store: BackendStore, experiment: str, token: str | None) -> None:
    store.search_runs([experiment], max_results=5, order_by=["metrics.acc DESC"], page_token=token)


def test_search_experiments_takes_two_round_trips(store: BackendStore, wire: Wire) -> None:
    for number in range(20):
        store.create_experiment(f"experiment {number}")
    for _ in range(8):
        assert _spent(wire, lambda: store.search_experiments(filter_string="name LIKE '%1%'", max_results=5)) <= 2


def _fill(harness: ServerHarness, experiment: str, runs: int) -> None:
    """Runs with a metric each, some with another, straight into the tables."""
    if not runs:
        return
    key = '"key"' if harness.server.scheme == "postgresql" else "`key`"
    ids = [f"{number:032x}" for number in range(runs)]
    _insert(
        harness,
        "runs (run_uuid, experiment_id, name, status, start_time, lifecycle_stage, artifact_uri)",
        [f"('{run_id}', {experiment}, 'r', 'FINISHED', {place}, 'active', '/a')" for place, run_id in enumerate(ids)],
    )
    values = [f"('{run_id}', 'acc', {place}.5, 1, 0, false)" for place, run_id in enumerate(ids)]
    values += [f"('{run_id}', 'some', 1.0, 1, 0, false)" for run_id in ids[:3]]
    _insert(harness, f"latest_metrics (run_uuid, {key}, value, timestamp, step, is_nan)", values)
    _insert(harness, f"params (run_uuid, {key}, value)", [f"('{run_id}', 'p', 'v')" for run_id in ids])


def _insert(harness: ServerHarness, columns: str, rows: list[str]) -> None:
    harness.server.execute(harness.database, f"INSERT INTO {columns} VALUES {', '.join(rows)}")
