"""The labs of the course that need no server, autolog or registry, with holdall in place of MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

import holdall
import holdall.tracking

MODULES = pytest.mark.parametrize("mlflow", [holdall, holdall.tracking], ids=["holdall", "holdall.tracking"])


@pytest.mark.usefixtures("store")
@MODULES
def test_follow_lab_1_basic_tracking(mlflow: ModuleType, folder: Path) -> None:
    experiment = mlflow.set_experiment("churn-lab-classification")
    with mlflow.start_run(run_name="logreg-baseline-2026-01-01") as run:
        mlflow.log_param("learning_rate", 0.01)
        mlflow.log_params({"batch_size": 32, "optimizer": "adam"})
        mlflow.log_metric("accuracy", 0.95)
        mlflow.log_metrics({"precision": 0.9, "recall": 0.8})
        mlflow.set_tag("developer", "ada")
        mlflow.set_tags({"environment": "dev", "priority": "high"})
        (folder / "model.pkl").write_bytes(b"model")
        mlflow.log_artifact("model.pkl", artifact_path="models")
    found = mlflow.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"learning_rate": "0.01", "batch_size": "32", "optimizer": "adam"}
    assert found.data.metrics == {"accuracy": 0.95, "precision": 0.9, "recall": 0.8}
    assert found.data.tags["developer"] == "ada"
    assert found.data.tags["mlflow.source.type"] == "LOCAL"
    selected = mlflow.get_experiment_by_name("churn-lab-classification")
    assert selected.experiment_id == experiment.experiment_id == found.info.experiment_id
    assert selected.lifecycle_stage == "active"
    assert Path(mlflow.get_experiment(experiment.experiment_id).artifact_location).is_dir()


@pytest.mark.extras
@pytest.mark.usefixtures("store")
@MODULES
def test_follow_lab_2_training_loop_with_curve(mlflow: ModuleType, folder: Path) -> None:
    from matplotlib.figure import Figure

    losses = [1.0 / (epoch + 1) for epoch in range(10)]
    mlflow.set_experiment("mnist-lab-training")
    run = mlflow.start_run()
    for epoch, loss in enumerate(losses):
        mlflow.log_metric("train_loss", loss, step=epoch)
        mlflow.log_metrics({"val_loss": loss * 1.1, "val_accuracy": 1 - loss}, step=epoch)
    figure = Figure()
    figure.add_subplot().plot(losses)
    mlflow.log_figure(figure, artifact_file="plots/loss_curve.png")
    mlflow.end_run()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == list(enumerate(losses))
    curve = mlflow.MlflowClient().download_artifacts(run.info.run_id, "plots/loss_curve.png")
    assert Path(curve).read_bytes().startswith(b"\x89PNG")


@pytest.mark.extras
@pytest.mark.usefixtures("store")
@MODULES
def test_follow_lab_5_custom_artifacts(mlflow: ModuleType, folder: Path) -> None:
    plots = folder / "outputs" / "plots"
    plots.mkdir(parents=True)
    (plots / "confusion_matrix.png").write_bytes(b"\x89PNG")
    config = {"learning_rate": 0.01, "layers": [64, 32]}
    with mlflow.start_run() as run:
        mlflow.log_dict(config, artifact_file="config/hyperparameters.json")
        mlflow.log_dict(config, artifact_file="config/hyperparameters.yaml")
        mlflow.log_text("trained on a laptop", artifact_file="models/model_metadata.txt")
        mlflow.log_artifacts("./outputs/plots")
        mlflow.log_artifacts("./outputs/plots", artifact_path="visualizations")
        mlflow.log_table({"feature": ["a", "b"], "importance": [0.7, 0.3]}, "importance.json")
        root = Path(mlflow.get_artifact_uri())
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert files == [
        "config/hyperparameters.json",
        "config/hyperparameters.yaml",
        "confusion_matrix.png",
        "importance.json",
        "models/model_metadata.txt",
        "visualizations/confusion_matrix.png",
    ]
    assert json.loads((root / "config" / "hyperparameters.json").read_text()) == config
    assert [info.path for info in mlflow.Client().list_artifacts(run.info.run_id, "config")] == files[:2]


@pytest.mark.extras
@pytest.mark.usefixtures("store")
@MODULES
def test_follow_lab_6_query_and_compare(mlflow: ModuleType) -> None:
    mlflow.set_experiment("digits-lab-search")
    with mlflow.start_run(run_name="sweep"):
        for rate in (0.1, 0.01, 0.001):
            with mlflow.start_run(run_name=f"lr-{rate}", nested=True):
                mlflow.log_param("lr", rate)
                mlflow.log_metric("accuracy", 1 - rate)
    best = mlflow.search_runs(
        filter_string="metrics.accuracy > 0.95 and params.lr != '0.1'", order_by=["metrics.accuracy DESC"]
    )
    assert best["params.lr"].tolist() == ["0.001", "0.01"]
    assert best["tags.mlflow.runName"].tolist() == ["lr-0.001", "lr-0.01"]
    [first] = mlflow.search_runs(order_by=["metrics.accuracy DESC"], max_results=1, output_format="list")
    assert first.data.metrics["accuracy"] == 0.999
    parents = mlflow.search_runs(filter_string="attributes.run_name = 'sweep'")
    children = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{parents['run_id'][0]}'")
    assert len(children) == 3
    assert children["metrics.accuracy"].max() == 0.999
