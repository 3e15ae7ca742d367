"""holdall's own fluent calls and command line against a server: as against a store of one's own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.calls import Caller, pairs
from tests.server.live import LiveServer, live_server
from typer.testing import CliRunner

import holdall
from holdall.cli import app
from holdall.demo.location import EXPERIMENT
from holdall.session import SESSION
from holdall.stores.errors import AlreadyExists, InvalidParameterValue, NotFound, TemporarilyUnavailable

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with nothing configured."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    SESSION.close()
    yield tmp_path
    SESSION.close()


@pytest.fixture
def api(server: LiveServer) -> Caller:
    return Caller(server)


def run_command(*words: str, code: int = 0) -> str:
    """Standard output of a command that ends with this exit code."""
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.stdout if code == 0 else result.stderr


# The fluent calls


def test_log_a_run_through_a_server_keeps_everything(server: LiveServer, api: Caller, folder: Path) -> None:
    holdall.set_tracking_uri(server.url)
    experiment = holdall.set_experiment("fluent")
    (folder / "report.txt").write_text("größe\n")
    with holdall.start_run(run_name="outer", tags={"team": "a"}) as outer:
        holdall.log_params({"rate": 0.1, "größe/a b": ""})
        for step in range(3):
            holdall.log_metric("loss", 1 / (step + 1), step=step)
        holdall.log_metrics({"nan": math.nan, "inf": math.inf})
        holdall.log_artifact("report.txt", artifact_path="texts/a b")
        holdall.log_dict({"a": 1}, "config.json")
        with holdall.start_run(run_name="inner", nested=True) as inner:
            holdall.set_tag("status", "done")
    run = api.run(outer.info.run_id)
    assert run["info"]["experiment_id"] == experiment.experiment_id
    assert (run["info"]["run_name"], run["info"]["status"]) == ("outer", "FINISHED")
    assert pairs(run["data"]["params"]) == {"rate": "0.1", "größe/a b": ""}
    assert {metric["key"]: metric["value"] for metric in run["data"]["metrics"]} == {
        "loss": 1 / 3,
        "nan": "NaN",
        "inf": "Infinity",
    }
    assert pairs(api.run(inner.info.run_id)["data"]["tags"])["mlflow.parentRunId"] == outer.info.run_id
    kept = server.log.parent / "mlartifacts" / experiment.experiment_id / outer.info.run_id / "artifacts"
    assert (kept / "texts" / "a b" / "report.txt").read_text() == "größe\n"
    assert json.loads((kept / "config.json").read_text()) == {"a": 1}


def test_search_through_a_server_finds_runs_and_their_files(server: LiveServer, folder: Path) -> None:
    holdall.set_tracking_uri(server.url)
    experiment = holdall.set_experiment("searched")
    for number in range(5):
        with holdall.start_run(run_name=f"run {number}"):
            holdall.log_metric("score", number)
            holdall.log_text(str(number), "number.txt")
    found = holdall.search_runs(
        experiment_ids=[experiment.experiment_id],
        filter_string="metrics.score >= 2",
        order_by=["metrics.score DESC"],
        output_format="list",
    )
    assert [run.info.run_name for run in found] == ["run 4", "run 3", "run 2"]
    frame: Any = holdall.search_runs(experiment_names=["searched"])
    assert sorted(frame["metrics.score"]) == [0, 1, 2, 3, 4]
    with holdall.Client() as client:
        best = found[0].info.run_id
        assert [file.path for file in client.list_artifacts(best)] == ["number.txt"]
        downloaded = Path(client.download_artifacts(best, "number.txt", str(folder / "down")))
        assert downloaded.read_text() == "4"
        assert [point.value for point in client.get_metric_history(best, "score")] == [4.0]


def test_do_what_a_server_refuses_raises_as_a_store_does(server: LiveServer) -> None:
    with holdall.Client(server.url) as client:
        with pytest.raises(NotFound, match="77777"):
            client.get_experiment("77777")
        client.create_experiment("taken")
        with pytest.raises(AlreadyExists, match="taken"):
            client.create_experiment("taken")
        run_id = client.create_run("0").info.run_id
        client.log_param(run_id, "p", "1")
        with pytest.raises(InvalidParameterValue, match="'p'"):
            client.log_param(run_id, "p", "2")
        client.delete_run(run_id)
        with pytest.raises(InvalidParameterValue, match="deleted"):
            client.set_tag(run_id, "k", "v")


# The command line


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A server to which `holdall demo` has logged, and what that printed."""
    here = os.getcwd()
    with live_server(tmp_path_factory.mktemp("demo")) as live:
        os.chdir(tmp_path_factory.mktemp("elsewhere"))
        SESSION.close()
        try:
            yield live, run_command("demo", "--quick", "--store", live.url)
        finally:
            SESSION.close()
            os.chdir(here)


@pytest.fixture
def best(demonstrated: tuple[LiveServer, str]) -> dict[str, Any]:
    """The best run of the demo."""
    api = Caller(demonstrated[0])
    experiment = api.get("experiments/get-by-name", experiment_name=EXPERIMENT)["experiment"]
    query = {"filter": "metrics.test_accuracy > 0", "order_by": ["metrics.val_accuracy DESC"]}
    run: dict[str, Any] = api.post("runs/search", experiment_ids=[experiment["experiment_id"]], **query)["runs"][0]
    return run


def test_run_the_demo_on_a_server_logs_the_whole_sweep_there(
    demonstrated: tuple[LiveServer, str], best: dict[str, Any]
) -> None:
    live, out = demonstrated
    assert best["info"]["run_id"] in out
    assert live.url in out
    kept = live.log.parent / "mlartifacts" / best["info"]["experiment_id"] / best["info"]["run_id"] / "artifacts"
    assert {str(file.relative_to(kept)) for file in kept.rglob("*.*")} >= {
        "config/hyperparameters.json",
        "model/model.pkl",
        "plots/confusion_matrix.png",
        "plots/loss_curve.png",
    }


def test_look_at_a_server_with_the_command_line_shows_what_is_there(
    demonstrated: tuple[LiveServer, str], best: dict[str, Any], folder: Path
) -> None:
    store, run_id, name = ("--store", demonstrated[0].url), best["info"]["run_id"], best["info"]["run_name"]
    assert EXPERIMENT in run_command("experiments", "list", *store)
    assert name in run_command("runs", "list", *store)
    shown = json.loads(run_command("runs", "search", "metrics.val_accuracy > 0.5", "--json", *store))
    assert run_id in json.dumps(shown)
    assert name in run_command("runs", "show", run_id, *store)
    assert run_command("runs", "show", run_id, "--history", "val_loss", *store).startswith("step")
    assert "plots/confusion_matrix.png" in run_command("artifacts", "ls", run_id, "--recursive", *store)
    run_command("artifacts", "get", run_id, "plots/confusion_matrix.png", *store)
    assert (folder / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    info = json.loads(run_command("info", demonstrated[0].url, "--json"))
    assert demonstrated[0].url in json.dumps(info)


def test_name_the_server_in_the_environment_is_understood(
    demonstrated: tuple[LiveServer, str], best: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", demonstrated[0].url)
    assert best["info"]["run_name"] in run_command("runs", "list")
    assert "model/model.pkl" in run_command("artifacts", "ls", best["info"]["run_id"], "--recursive")


def test_ask_for_a_server_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = "http://127.0.0.1:9"
    with pytest.raises(TemporarilyUnavailable, match=r"127\.0\.0\.1"), holdall.Client(gone) as client:
        client.get_experiment("0")
    assert "127.0.0.1:9" in run_command("runs", "list", "--store", gone, code=1)
