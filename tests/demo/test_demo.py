"""`holdall demo --quick`: the whole sweep in small."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import holdall
from holdall.cli import app
from holdall.demo.grid import Grid
from holdall.demo.location import EXPERIMENT, select_experiment
from holdall.session import SESSION
from holdall.stores import open_artifact_store, open_backend_store

pytestmark = pytest.mark.extras

FILES = [
    "config",
    "config/hyperparameters.json",
    "environment",
    "environment/python.txt",
    "environment/requirements.txt",
    "model",
    "model/metadata.json",
    "model/model.pkl",
    "plots",
    "plots/confusion_matrix.png",
    "plots/loss_curve.png",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with nothing configured."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    SESSION.close()
    yield tmp_path
    SESSION.close()


def run_demo(*options: str) -> str:
    """Standard output of a successful demo."""
    result = CliRunner().invoke(app, ["demo", "--quick", *options])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def test_run_demo_on_named_stores_logs_a_whole_sweep_there(folder: Path) -> None:
    out = run_demo("--store", "sqlite:///demo.db", "--artifacts", "kept")
    with open_backend_store("sqlite:///demo.db", read_only=True) as store:
        experiment = store.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        assert experiment.artifact_location == str(folder / "kept" / EXPERIMENT)
        [parent] = store.search_runs([experiment.experiment_id], "params.candidates = '2'")
        children = store.search_runs(
            [experiment.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
            order_by=["metrics.val_accuracy DESC"],
        )
        history = store.get_metric_history(children[0].info.run_id, "val_loss")
    assert [run.info.status for run in [parent, *children]] == ["FINISHED"] * 3
    assert [point.step for point in history] == list(range(1, Grid.quick().epochs + 1))
    assert parent.data.tags["best_run_id"] == children[0].info.run_id
    assert all(run.data.metrics["test_accuracy"] > 0.8 for run in children)
    for expected in (children[0].info.run_id, "demo.db", str(folder / "kept"), "holdall runs search"):
        assert expected in out
    with open_artifact_store(children[0].info.artifact_uri, read_only=True) as artifacts:
        assert [info.path for info in artifacts.walk()] == FILES
        with artifacts.open("model/model.pkl") as file:
            model = pickle.load(file)  # noqa: S301 - written a moment ago
        with artifacts.open("plots/confusion_matrix.png") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    assert model.n_features_in_ == 64


def test_run_demo_twice_finds_the_same_results(folder: Path) -> None:
    for _ in range(2):
        run_demo("--store", "sqlite:///demo.db")
    with open_backend_store("sqlite:///demo.db", read_only=True) as store:
        found = store.search_runs(["1"], "params.model = 'mlp'")
    first, second = ({k: v for k, v in run.data.metrics.items() if k != "training_seconds"} for run in found)
    assert first == second


def test_run_demo_with_nothing_named_uses_the_default_store(folder: Path) -> None:
    run_demo()
    assert (folder / "mlflow.db").is_file()
    assert (folder / "mlartifacts").is_dir()


def test_run_demo_in_memory_says_that_nothing_stays(folder: Path) -> None:
    out = run_demo("--store", "memory://", "--artifacts", "kept")
    assert "Leaderboard" in out
    assert "lives in memory" in out


def test_run_demo_without_matplotlib_says_what_to_install_and_touches_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, ["demo", "--quick"])
    assert result.exit_code == 1
    assert "holdall[client-extras]" in result.stderr
    assert list(folder.iterdir()) == []


def test_select_experiment_with_other_artifact_location_takes_the_next_name() -> None:
    holdall.set_tracking_uri("memory://")
    names = [select_experiment(place).name for place in ("one", "one", "two", None)]
    assert names == [EXPERIMENT, EXPERIMENT, f"{EXPERIMENT}-2", EXPERIMENT]


def test_select_experiment_that_was_deleted_takes_the_next_name() -> None:
    holdall.set_tracking_uri("memory://")
    holdall.delete_experiment(select_experiment(None).experiment_id)
    assert select_experiment(None).name == f"{EXPERIMENT}-2"
