"""What unmodified MLflow clients say in the course of the customer's lab is answered as it was, without MLflow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.server.live import live_server
from tests.server.recordings import FOLDER, Replay, load

pytestmark = pytest.mark.extras

RECORDED = sorted(file.stem for file in FOLDER.glob("*.jsonl"))
BACKENDS = {"memory": "memory://", "file": "mlruns", "sqlite": "sqlite:///runs.db"}


def test_look_for_recordings_finds_those_of_both_clients() -> None:
    assert RECORDED == ["mlflow-2.22.5", "mlflow-3.17.2"]


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_say_again_what_a_client_said_gets_the_same_answers(tmp_path: Path, name: str, backend: str) -> None:
    with live_server(tmp_path, backend=BACKENDS[backend]) as live:
        replay = Replay(live)
        for number, exchange in enumerate(load(name), start=1):
            differences = replay.differences(exchange)
            assert not differences, f"line {number}, {exchange.method} {exchange.target}: {differences}"


@pytest.mark.parametrize("name", RECORDED)
def test_read_a_recording_tells_nothing_of_the_machine_it_was_made_on(name: str) -> None:
    text = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
    assert re.findall(r"/(?:tmp|home|root|work|usr|var|private|Users)/[^\"]*|\broot\b", text) == []


@pytest.mark.parametrize("name", RECORDED)
def test_read_a_recording_shows_the_whole_workflow(name: str) -> None:
    calls = {exchange.call.removeprefix("POST /api/2.0/mlflow/") for exchange in load(name)}
    assert calls >= {
        "experiments/create",
        "experiments/delete",
        "experiments/restore",
        "experiments/search",
        "experiments/set-experiment-tag",
        "experiments/update",
        "runs/create",
        "runs/delete",
        "runs/delete-tag",
        "runs/log-batch",
        "runs/log-inputs",
        "runs/log-metric",
        "runs/log-parameter",
        "runs/restore",
        "runs/search",
        "runs/set-tag",
        "runs/update",
        "GET /api/2.0/mlflow-artifacts/artifacts",
        "GET /api/2.0/mlflow-artifacts/artifacts/*",
        "GET /api/2.0/mlflow/experiments/get",
        "GET /api/2.0/mlflow/experiments/get-by-name",
        "GET /api/2.0/mlflow/metrics/get-history",
        "GET /api/2.0/mlflow/runs/get",
        "PUT /api/2.0/mlflow-artifacts/artifacts/*",
    }
    newer = {"logged-models", "runs/outputs", "PATCH /api/2.0/mlflow/logged-models/*"}
    assert calls >= (newer if name == "mlflow-3.17.2" else {"runs/log-model"})
