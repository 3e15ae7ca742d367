"""Unmodified MLflow clients run the customer's lab against a holdall server, over every backend; nothing is patched."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.interop.lab import run_lab
from tests.interop.peers import VERSIONS
from tests.interop.recorder import recorder
from tests.server.calls import Caller, pairs
from tests.server.live import live_server
from tests.server.recordings import load

from holdall.conformance_tests.emulators import shared_server
from holdall.stores import open_artifact_store

pytestmark = [pytest.mark.interop, pytest.mark.extras]

BACKENDS = ("memory", "file", "sqlite", "postgresql", "mariadb")
CURVE_POINTS = 1100
BINARY = bytes(range(256)) * 4096

LOCAL = {"memory": "memory://", "file": "mlruns", "sqlite": "sqlite:///runs.db"}


def backend_uri(name: str) -> str:
    """A new store of a kind."""
    if name in LOCAL:
        return LOCAL[name]
    return shared_server("postgresql" if name == "postgresql" else "mariadb").new_uri()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_run_the_lab_by_a_client_of_mlflow_leaves_everything_there(tmp_path: Path, backend: str, version: str) -> None:
    with live_server(tmp_path, backend=backend_uri(backend)) as live, recorder(live.url) as heard:
        left = run_lab(version, heard.url)
        check_what_was_left(Caller(live), left)
        check_files(str(tmp_path / "mlartifacts"), left)
        assert live.log.read_text() == ""
    calls = {exchange.call for exchange in heard.exchanges}
    recorded = {exchange.call for exchange in load(f"mlflow-{version}")}
    assert calls == recorded, "the lab has changed: record it anew, as make_recordings.py says"


@pytest.mark.parametrize("version", VERSIONS)
def test_run_the_lab_with_artifacts_in_s3_leaves_them_there(tmp_path: Path, version: str) -> None:
    storage = shared_server("moto")
    destination = storage.uri(storage.create_place())
    with live_server(tmp_path, "--artifacts-destination", destination) as live:
        left = run_lab(version, live.url)
        check_what_was_left(Caller(live), left)
    check_files(destination, left)
    assert not (tmp_path / "mlartifacts").exists()


def check_what_was_left(api: Caller, left: dict[str, Any]) -> None:
    """Look with plain requests at what the client left."""
    run = api.run(left["children"][0])
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["artifact_uri"] == f"mlflow-artifacts:/{left['experiment']}/{left['children'][0]}/artifacts"
    tags = pairs(run["data"]["tags"])
    assert (tags["mlflow.user"], tags["mlflow.source.name"]) == ("ann", "lab_script.py")
    assert tags["mlflow.parentRunId"] == left["parent"]
    assert pairs(run["data"]["params"])["größe/a b"] == ""
    by_hand = api.run(left["by_hand"])
    special = {metric["key"]: metric["value"] for metric in by_hand["data"]["metrics"]}
    assert (special["special"], special["infinite"]) == ("NaN", "-Infinity")
    assert len(api.points(left["by_hand"], "curve")) == CURVE_POINTS
    inputs = api.run(left["with_input"])["inputs"]["dataset_inputs"]
    assert {item["dataset"]["name"] for item in inputs} == {"frame", "array"}
    datasets = api.post("experiments/search-datasets", experiment_ids=[left["experiment"]])["dataset_summaries"]
    assert {item["name"] for item in datasets} >= {"frame", "array"}


def check_files(destination: str, left: dict[str, Any]) -> None:
    """Look past the server at the files that the client sent through it."""
    with open_artifact_store(destination, read_only=True) as artifacts:
        for run_id in left["children"]:
            with artifacts.open(f"{left['experiment']}/{run_id}/artifacts/visualizations/deep/two.bin") as file:
                assert hashlib.sha256(file.read()).digest() == hashlib.sha256(BINARY).digest()
        files = [info.path for info in artifacts.walk() if not info.is_dir]
    assert sum(path.endswith("/MLmodel") for path in files) == 3
    assert any(path.endswith("/training_confusion_matrix.png") for path in files)
