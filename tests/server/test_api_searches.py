"""Searches of runs, and histories of metrics, with their pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.server.calls import Caller, created_experiment, created_run
from tests.server.live import live_server

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield Caller(live)


@pytest.fixture(scope="module")
def experiment_id(api: Caller) -> str:
    """An experiment with ten runs, `run 0` to `run 9`, in the order of their start."""
    experiment_id = created_experiment(api)
    for number in range(10):
        run_id = created_run(api, experiment_id, run_name=f"run {number}", start_time=1000 + number)
        api.post(
            "runs/log-batch",
            run_id=run_id,
            metrics=[{"key": "loss", "value": [0.5, "NaN", "Infinity", "-Infinity", 0.1][number % 5], "timestamp": 1}],
            params=[{"key": "depth", "value": str(number)}, {"key": "odd name", "value": "x"}],
            tags=[{"key": "team", "value": "a" if number < 5 else "b"}],
        )
    return experiment_id


def numbers(found: dict[str, Any]) -> list[int]:
    return [int(run["info"]["run_name"].removeprefix("run ")) for run in found.get("runs", [])]


# Searches


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("tags.team = 'a'", [4, 3, 2, 1, 0]),
        ("params.depth = '3'", [3]),
        ("params.`odd name` = 'x' AND params.depth LIKE '_' AND params.depth != '3' AND tags.team = 'a'", [4, 2, 1, 0]),
        ("metrics.loss > 0.3", [7, 5, 2, 0]),
        ("metrics.loss < 0.3", [9, 8, 4, 3]),
        ("attributes.run_name LIKE 'run %' AND attributes.start_time <= 1002", [2, 1, 0]),
        ("status = 'RUNNING' and tags.team != 'a'", [9, 8, 7, 6, 5]),
        ("tags.team = 'nobody'", []),
    ],
)
def test_search_by_a_filter_finds_those(
    api: Caller, experiment_id: str, filter_string: str, expected: list[int]
) -> None:
    assert numbers(api.post("runs/search", experiment_ids=[experiment_id], filter=filter_string)) == expected


def test_search_gives_runs_as_getting_them_does(api: Caller, experiment_id: str) -> None:
    for run in api.post("runs/search", experiment_ids=[experiment_id])["runs"]:
        assert run == api.run(run["info"]["run_id"])


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (["start_time ASC"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (["metrics.loss ASC", "start_time DESC"], [8, 3, 9, 4, 5, 0, 7, 2, 6, 1]),
        (["metrics.loss DESC", "start_time ASC"], [2, 7, 0, 5, 4, 9, 3, 8, 1, 6]),
        (["tags.team DESC", "params.depth ASC"], [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]),
        (["attributes.run_name"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_search_in_an_order_gives_it_page_by_page(
    api: Caller, experiment_id: str, order_by: list[str], expected: list[int]
) -> None:
    query: dict[str, Any] = {"experiment_ids": [experiment_id], "order_by": order_by}
    assert numbers(api.post("runs/search", **query)) == expected
    for size in (1, 3, 10):
        seen: list[int] = []
        token: str | None = None
        while token is not None or not seen:
            found = api.post("runs/search", **query, max_results=size, page_token=token)
            assert len(numbers(found)) <= size
            seen += numbers(found)
            token = found.get("next_page_token")
        assert seen == expected


def test_search_while_runs_come_and_go_repeats_and_misses_none(api: Caller) -> None:
    experiment_id = created_experiment(api)
    for number in range(6):
        created_run(api, experiment_id, run_name=f"run {number}", start_time=1000 + number)
    query: dict[str, Any] = {"experiment_ids": [experiment_id], "max_results": 2}
    seen: list[int] = []
    token: str | None = None
    for page in range(3):
        found = api.post("runs/search", **query, page_token=token)
        seen += numbers(found)
        token = found.get("next_page_token")
        created_run(api, experiment_id, run_name=f"run {10 + page}", start_time=5000 + page)
    assert (seen, token) == ([5, 4, 3, 2, 1, 0], None)


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "metrics.loss >"},
        {"filter": "metrics.loss = 'text'"},
        {"filter": "params.depth > '1'"},
        {"filter": "nothing.x = '1'"},
        {"filter": "a" * 100_000},
        {"filter": "tags.`" + "x" * 100 + "` = 'a' AND " * 5000},
        {"filter": "tags.a = '\u0000'; DROP TABLE runs"},
        {"order_by": ["loss"]},
        {"order_by": [""]},
        {"max_results": 0},
        {"max_results": -5},
        {"max_results": 50001},
        {"page_token": "abc"},
        {"page_token": "WyIiLFtdXQ=="},
        {"experiment_ids": ["../etc"]},
        {"experiment_ids": [""]},
    ],
    ids=lambda query: str(query)[:40],
)
def test_search_with_a_malformed_question_is_refused(api: Caller, experiment_id: str, query: dict[str, object]) -> None:
    message = api.refused("runs/search", {"experiment_ids": [experiment_id]} | query)
    assert len(message) < 1200


def test_search_in_no_experiment_finds_nothing(api: Caller, experiment_id: str) -> None:
    assert api.post("runs/search", experiment_ids=[]) == {}
    assert api.post("runs/search") == {}
    assert api.post("runs/search", experiment_ids=["99999"]) == {}
    assert len(numbers(api.post("runs/search", experiment_ids=["99999", experiment_id, experiment_id]))) == 10


# Histories


@pytest.fixture(scope="module")
def measured(api: Caller) -> str:
    """A run whose metric `m` has points of steps 0 to 2999 by time, and `other` one."""
    run_id = created_run(api)
    for start in range(0, 3000, 1000):
        points = [
            {"key": "m", "value": step / 7, "timestamp": step, "step": step} for step in range(start, start + 1000)
        ]
        api.post("runs/log-batch", run_id=run_id, metrics=points)
    api.post("runs/log-metric", run_id=run_id, key="other", value=1.0, timestamp=1)
    return run_id


def steps(points: list[dict[str, Any]]) -> list[int]:
    return [point["step"] for point in points]


def test_get_a_history_gives_all_points_by_time_step_and_value(api: Caller) -> None:
    run_id = created_run(api)
    for value, timestamp, step in ((1.0, 5, 1), (3.0, 1, 9), ("NaN", 1, 2), (2.0, 1, 2), ("-Infinity", 1, 2)):
        api.post("runs/log-metric", run_id=run_id, key="m", value=value, timestamp=timestamp, step=step)
    points = api.points(run_id, "m")
    assert [(point["timestamp"], point["step"]) for point in points] == [(1, 2), (1, 2), (1, 2), (1, 9), (5, 1)]
    assert {key: type(value) for key, value in points[-1].items()} == {
        "key": str,
        "value": float,
        "timestamp": int,
        "step": int,
    }
    assert api.get("metrics/get-history", run_id=run_id, metric_key="none") == {}


def test_get_a_history_by_pages_gives_each_point_once(api: Caller, measured: str) -> None:
    assert steps(api.points(measured, "m")) == list(range(3000))
    seen: list[int] = []
    query: dict[str, object] = {"run_id": measured, "metric_key": "m", "max_results": 1300}
    found = api.get("metrics/get-history", **query)
    while "next_page_token" in found:
        seen += steps(found["metrics"])
        found = api.get("metrics/get-history", **query, page_token=found["next_page_token"])
    assert len(found["metrics"]) == 400
    assert seen + steps(found["metrics"]) == list(range(3000))


@pytest.mark.parametrize(
    "query",
    [{"max_results": 0}, {"max_results": -1}, {"max_results": "x"}, {"page_token": "x"}, {"metric_key": "a//b"}],
    ids=str,
)
def test_get_a_history_with_a_malformed_question_is_refused(
    api: Caller, measured: str, query: dict[str, object]
) -> None:
    api.refused_get("metrics/get-history", {"run_id": measured, "metric_key": "m"} | query)


def test_get_histories_of_several_runs_gives_those_that_there_are(api: Caller, measured: str) -> None:
    other = created_run(api)
    api.post("runs/log-metric", run_id=other, key="m", value=5.0, timestamp=7, step=3)
    query = {"run_id": [measured, other, "0" * 32], "metric_key": "m"}
    found = api.get("metrics/get-history-bulk", **query)["metrics"]
    assert [point["run_id"] for point in found] == [measured] * 3000 + [other]
    assert found[-1] == {"key": "m", "run_id": other, "value": 5.0, "timestamp": 7, "step": 3}
    assert len(api.get("metrics/get-history-bulk", **query, max_results=30)["metrics"]) <= 30
    assert api.get("metrics/get-history-bulk", run_id=other, metric_key="none") == {"metrics": []}


def test_get_intervals_spreads_points_over_the_steps(api: Caller, measured: str) -> None:
    found = steps(
        api.get("metrics/get-history-bulk-interval", run_ids=measured, metric_key="m", max_results=10)["metrics"]
    )
    assert (found[0], found[-1]) == (0, 2999)
    assert len(found) == 10
    assert max(later - earlier for earlier, later in pairwise(found)) < 600
    whole = api.get("metrics/get-history-bulk-interval", run_ids=measured, metric_key="m")["metrics"]
    assert len(whole) == 2500
    assert whole[0]["run_id"] == measured


def test_get_intervals_between_steps_stays_there(api: Caller, measured: str) -> None:
    query = {"run_ids": [measured, "0" * 32], "metric_key": "m", "max_results": 5}
    found = api.get("metrics/get-history-bulk-interval", **query, start_step=100, end_step=200)["metrics"]
    assert (steps(found)[0], steps(found)[-1], len(found)) == (100, 200, 5)
    assert api.get("metrics/get-history-bulk-interval", **query, start_step=5000, end_step=6000) == {}
    same = api.get("metrics/get-history-bulk-interval", **query, start_step=7, end_step=7)["metrics"]
    assert steps(same) == [7]


@pytest.mark.parametrize(
    "query",
    [
        {"start_step": 1},
        {"end_step": 1},
        {"start_step": 2, "end_step": 1},
        {"max_results": 0},
        {"max_results": 2501},
        {"run_ids": ["0" * 32] * 101},
        {"run_ids": ["../x"]},
    ],
    ids=lambda query: str(query)[:40],
)
def test_get_intervals_with_a_malformed_question_is_refused(
    api: Caller, measured: str, query: dict[str, object]
) -> None:
    api.refused_get("metrics/get-history-bulk-interval", {"run_ids": [measured], "metric_key": "m"} | query)


@pytest.mark.parametrize(
    "query",
    [{"run_id": ["0" * 32] * 101}, {"max_results": 0}, {"max_results": 25001}, {"run_id": ["a b"]}],
    ids=lambda query: str(query)[:40],
)
def test_get_histories_with_a_malformed_question_is_refused(
    api: Caller, measured: str, query: dict[str, object]
) -> None:
    api.refused_get("metrics/get-history-bulk", {"run_id": [measured], "metric_key": "m"} | query)
