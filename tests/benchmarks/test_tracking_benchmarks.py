"""The benchmark of tracking servers: it asks, it counts, it judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.server.__main__ import main
from benchmarks.server.goals import goals
from benchmarks.server.load import percentile
from benchmarks.server.requests import OPERATIONS
from benchmarks.server.session import Result, Round

pytest.importorskip("uvicorn")


def test_run_benchmark_of_own_server_writes_what_it_measured(tmp_path: Path) -> None:
    words = ["--sides", "holdall", "--workers", "1", "--rounds", "1", "--seconds", "0.3"]
    found, table = tmp_path / "found.json", tmp_path / "table.md"
    assert main([*words, "--work-dir", str(tmp_path), "--json", str(found), "--markdown", str(table), "--check"]) == 0
    document = json.loads(found.read_text())
    assert [each["name"] for each in document["requests"]] == [operation.name for operation in OPERATIONS]
    for request in document["requests"]:
        [measured] = request["rounds"]["holdall"]
        assert measured["rate"] > 0
        assert 0 < measured["p50"] <= measured["p99"]
        assert measured["server_seconds"] > 0
    assert table.read_text().count("\n| ") == len(OPERATIONS) + 1


def test_judge_result_compares_requests_and_slow_answers() -> None:
    rounds = {
        "holdall": [Round(3000, 0.001, 0.02, 1e-4, 1e-5, 0)],
        "mlflow": [Round(100, 0.1, 1, 1e-2, 1e-4, 0)],
        "fasttrackml": [Round(1500, 0.002, 0.01, 1e-3, 1e-5, 0)],
    }
    found = {(goal.what, goal.rival): goal for goal in goals("sqlite", Result(OPERATIONS[0], rounds))}
    assert {key: goal.kept for key, goal in found.items()} == {
        ("requests", "mlflow"): True,
        ("requests", "fasttrackml"): False,
        ("p99", "fasttrackml"): False,
    }
    assert found["requests", "mlflow"].measured == pytest.approx(30)


def test_take_percentile_of_few_times_is_one_of_them() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0
