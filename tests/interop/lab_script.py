"""The customer's lab with MLflow's own client, unmodified, against the server that it is pointed at.

Run by an interpreter that has MLflow, scikit-learn and matplotlib, and not holdall. It checks what it sees, and tells
what it left behind. Request on stdin and answer on stdout:

    {"uri": tracking URI}
    {"experiment": id, "parent": run id, "best": run id, "points": number, "models": [...], "autologged": run id, ...}
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import mlflow  # pyright: ignore[reportMissingImports]
from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
from mlflow.entities import Metric, Param, RunTag, ViewType  # pyright: ignore[reportMissingImports]
from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

EXPERIMENT = "digits-lab-classification"
NEWER = int(mlflow.__version__.split(".")[0]) >= 3
EPOCHS = 5
CANDIDATES = {"small": 0.1, "large": 0.01}
MANY = 1100


def expect_refusal(code: str, call: Any, *arguments: Any, **named: Any) -> str:
    """Call what must fail with this code; the message."""
    refusal: MlflowException | None = None
    try:
        call(*arguments, **named)
    except MlflowException as error:
        refusal = error
    assert refusal is not None, f"{call} was not refused"
    assert refusal.error_code == code, (refusal.error_code, str(refusal))
    return str(refusal)


# Lab 1 and 2: params, metrics by epoch, tags, nested runs, artifacts


def train(name: str, rate: float) -> str:
    """A nested run for one candidate."""
    with mlflow.start_run(run_name=f"mlp-{name}-1", nested=True, tags={"model_family": "mlp"}) as run:
        mlflow.log_param("learning_rate", rate)
        mlflow.log_params({"hidden_units": 32, "activation": "relu", "größe/a b": ""})
        for epoch in range(EPOCHS):
            mlflow.log_metric("loss", 1 / (epoch + 1) + rate, step=epoch)
            mlflow.log_metrics({"accuracy": 0.9 - rate / (epoch + 1), "val/accuracy": 0.5}, step=epoch)
        mlflow.set_tag("status", "trained")
        mlflow.set_tags({"priority": 1, "temporary": "x"})
        mlflow.delete_tag("temporary")
        log_artifacts(name)
    return str(run.info.run_id)


def log_artifacts(name: str) -> None:
    """Files of every kind that the lab shows."""
    config = {"name": name, "layers": [32, 10]}
    mlflow.log_dict(config, artifact_file="config/hyperparameters.json")
    mlflow.log_dict(config, artifact_file="config/hyperparameters.yaml")
    mlflow.log_text("größe\n", artifact_file="models/model metadata.txt")
    figure = drawn()
    mlflow.log_figure(figure, artifact_file="plots/loss_curve.png")
    Path("outputs/plots/deep").mkdir(parents=True, exist_ok=True)
    Path("outputs/plots/one.csv").write_text("a,b\n1,2\n")
    Path("outputs/plots/deep/two.bin").write_bytes(bytes(range(256)) * 4096)
    Path("outputs/plots/empty").write_bytes(b"")
    mlflow.log_artifact("outputs/plots/one.csv")
    mlflow.log_artifact("outputs/plots/one.csv", artifact_path="copies/of it")
    mlflow.log_artifacts("outputs/plots", artifact_path="visualizations")


def drawn() -> Any:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(2, 2))
    axes.plot([1, 0.5, 0.3])
    plt.close(figure)
    return figure


def sweep() -> tuple[str, list[str]]:
    """A parent run with one nested run per candidate, one run that fails, and one that is opened and ended by hand."""
    with mlflow.start_run(run_name="sweep-grid-1", description="all candidates") as parent:
        mlflow.log_params({"seed": 7, "candidates": len(CANDIDATES)})
        children = [train(name, rate) for name, rate in CANDIDATES.items()]
    try:
        with mlflow.start_run(run_name="mlp-broken-1"):
            raise ValueError("the training broke")
    except ValueError:
        pass
    assert mlflow.last_active_run().info.status == "FAILED"
    mlflow.start_run(run_name="by-hand-1")
    mlflow.end_run("KILLED")
    with mlflow.start_run(run_id=parent.info.run_id):
        mlflow.log_metric("resumed", 1)
    return parent.info.run_id, children


def check_runs(client: MlflowClient, parent: str, children: list[str]) -> None:
    run = client.get_run(children[0])
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time > 0
    assert run.data.params == {"learning_rate": "0.1", "hidden_units": "32", "activation": "relu", "größe/a b": ""}
    assert run.data.metrics["loss"] == 1 / EPOCHS + 0.1
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["priority"] == "1"
    assert "temporary" not in run.data.tags
    assert client.get_run(parent).data.tags["mlflow.note.content"] == "all candidates"
    history = client.get_metric_history(children[0], "loss")
    assert [(point.step, point.value) for point in history] == [(n, 1 / (n + 1) + 0.1) for n in range(EPOCHS)]
    expect_refusal("INVALID_PARAMETER_VALUE", client.log_param, children[0], "activation", "tanh")
    expect_refusal("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)
    expect_refusal("RESOURCE_DOES_NOT_EXIST", client.delete_tag, children[0], "temporary")


# Artifacts, read back


def check_artifacts(client: MlflowClient, run_id: str) -> None:
    def paths(folder: str | None = None) -> list[tuple[str, bool, int | None]]:
        return [(file.path, file.is_dir, file.file_size) for file in client.list_artifacts(run_id, folder)]

    assert [path for path, is_dir, _ in paths() if is_dir] == ["config", "copies", "models", "plots", "visualizations"]
    assert ("one.csv", False, 8) in paths()
    assert paths("visualizations") == [
        ("visualizations/deep", True, None),
        ("visualizations/empty", False, paths("visualizations")[1][2]),
        ("visualizations/one.csv", False, 8),
    ]
    assert paths("one.csv") == paths("nothing") == []
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/models/model metadata.txt") == "größe\n"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/config/hyperparameters.json")["layers"] == [32, 10]
    assert "layers" in mlflow.artifacts.load_text(f"runs:/{run_id}/config/hyperparameters.yaml")
    folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/visualizations", dst_path="downloaded"))
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert found == {"deep/two.bin": bytes(range(256)) * 4096, "empty": b"", "one.csv": b"a,b\n1,2\n"}
    picture = Path(client.download_artifacts(run_id, "plots/loss_curve.png", "downloaded"))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# Lab 6: queries


def check_searches(client: MlflowClient, experiment_id: str, parent: str, children: list[str]) -> str:
    nested = f"tags.mlflow.parentRunId = '{parent}'"
    best_first = mlflow.search_runs([experiment_id], nested, order_by=["metrics.accuracy DESC"])
    assert list(best_first["run_id"]) == children[::-1]
    assert list(best_first["params.learning_rate"]) == ["0.01", "0.1"]
    assert math.isnan(best_first["metrics.resumed"][0]) if "metrics.resumed" in best_first else True
    one = mlflow.search_runs([experiment_id], f"{nested} and params.learning_rate = '0.1'", output_format="list")
    assert [run.info.run_id for run in one] == children[:1]
    failed = client.search_runs([experiment_id], "attributes.status = 'FAILED'")
    assert [run.info.run_name for run in failed] == ["mlp-broken-1"]
    assert len(client.search_runs([experiment_id], "metrics.loss < 0.5 AND tags.status LIKE 'train%'")) == 2
    seen: list[str] = []
    page = client.search_runs([experiment_id], max_results=2, order_by=["attributes.start_time ASC"])
    while True:
        seen += [run.info.run_name for run in page]
        if not page.token:
            break
        page = client.search_runs(
            [experiment_id], max_results=2, order_by=["attributes.start_time ASC"], page_token=page.token
        )
    assert seen == ["sweep-grid-1", "mlp-small-1", "mlp-large-1", "mlp-broken-1", "by-hand-1"]
    expect_refusal("INVALID_PARAMETER_VALUE", client.search_runs, [experiment_id], "metrics.loss >")
    return children[1]


# The client's own calls


def use_client(client: MlflowClient) -> str:
    """A run made by hand, with batches larger than a request may be; its id."""
    experiment_id = client.create_experiment("by hand", tags={"team": "a"})
    expect_refusal("RESOURCE_ALREADY_EXISTS", client.create_experiment, "by hand")
    client.set_experiment_tag(experiment_id, "team", "b")
    client.rename_experiment(experiment_id, "by hand, renamed")
    assert client.get_experiment(experiment_id).tags["team"] == "b"
    assert client.get_experiment_by_name("by hand, renamed").experiment_id == experiment_id
    assert client.get_experiment_by_name("nobody") is None
    if NEWER:
        client.delete_experiment_tag(experiment_id, "team")
        assert "team" not in client.get_experiment(experiment_id).tags
    run_id = client.create_run(experiment_id, start_time=1000, tags={"a": "1"}, run_name="first").info.run_id
    client.log_batch(
        run_id,
        metrics=[Metric("curve", float(step), 1000 + step, step) for step in range(MANY)],
        params=[Param(f"p{number}", str(number)) for number in range(150)],
        tags=[RunTag(f"t{number}", str(number)) for number in range(150)],
    )
    client.log_metric(run_id, "special", float("nan"), timestamp=1)
    client.log_metric(run_id, "special", float("inf"), timestamp=2, step=-1)
    client.log_metric(run_id, "infinite", float("-inf"))
    client.update_run(run_id, status="SCHEDULED", name="renamed")
    client.set_terminated(run_id, status="FINISHED", end_time=2000)
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status, run.info.end_time) == ("renamed", "FINISHED", 2000)
    assert math.isnan(run.data.metrics["special"])
    assert run.data.metrics["infinite"] == float("-inf")
    assert len(run.data.params) == 150
    points = client.get_metric_history(run_id, "curve")
    assert [point.step for point in points] == list(range(MANY))
    delete_and_restore(client, experiment_id, run_id)
    return str(run_id)


def delete_and_restore(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    client.delete_run(run_id)
    expect_refusal("INVALID_PARAMETER_VALUE", client.set_tag, run_id, "k", "v")
    assert [run.info.run_id for run in client.search_runs([experiment_id], "", ViewType.DELETED_ONLY)] == [run_id]
    client.restore_run(run_id)
    client.delete_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
    deleted = client.search_experiments(ViewType.DELETED_ONLY, filter_string="name LIKE 'by hand%'")
    assert [experiment.experiment_id for experiment in deleted] == [experiment_id]
    expect_refusal("INVALID_PARAMETER_VALUE", client.create_run, experiment_id)
    client.restore_experiment(experiment_id)
    assert client.get_run(run_id).info.lifecycle_stage == "active"


# Datasets and models


def log_input() -> str:
    import numpy as np
    import pandas as pd

    with mlflow.start_run(run_name="with-input-1") as run:
        frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
        mlflow.log_input(mlflow.data.from_pandas(frame, name="frame", targets="y"), context="training")
        mlflow.log_input(mlflow.data.from_numpy(np.arange(4.0), name="array"), context="testing", tags={"part": "1"})
    inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    found = {item.dataset.name: {tag.key: tag.value for tag in item.tags} for item in inputs}
    assert found == {
        "frame": {"mlflow.data.context": "training"},
        "array": {"mlflow.data.context": "testing", "part": "1"},
    }
    return str(run.info.run_id)


class Doubler(mlflow.pyfunc.PythonModel):  # type: ignore[misc] # MLflow is not there where types are checked
    """A model of pure Python."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow makes a schema of types
        return [2 * value for value in model_input]


def log_models() -> tuple[str, list[str]]:
    """A run with a model of Python and one of scikit-learn; its id, and the URIs by which they were loaded again."""
    from sklearn.linear_model import LogisticRegression

    where = {"name": "doubler"} if NEWER else {"artifact_path": "doubler"}
    with mlflow.start_run(run_name="with-models-1") as run:
        python = mlflow.pyfunc.log_model(**where, python_model=Doubler(), pip_requirements=["mlflow"])
        fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        where = {"name": "logistic"} if NEWER else {"artifact_path": "logistic"}
        learned = mlflow.sklearn.log_model(fitted, **where, pip_requirements=["scikit-learn"])
    run_id = run.info.run_id
    assert mlflow.pyfunc.load_model(python.model_uri).predict([1, 2]) == [2, 4]
    assert mlflow.pyfunc.load_model(f"runs:/{run_id}/doubler").predict([3]) == [6]
    assert list(mlflow.sklearn.load_model(learned.model_uri).predict([[-5.0], [5.0]])) == [0, 1]
    if NEWER:
        check_logged_models(run_id, python.model_id)
    else:
        history = json.loads(mlflow.get_run(run_id).data.tags["mlflow.log-model.history"])
        assert [model["artifact_path"] for model in history] == ["doubler", "logistic"]
    return run_id, [python.model_uri, learned.model_uri]


def check_logged_models(run_id: str, model_id: str) -> None:
    experiment_id = mlflow.get_run(run_id).info.experiment_id
    found = mlflow.search_logged_models([experiment_id], f"source_run_id = '{run_id}'", output_format="list")
    assert {model.name for model in found} == {"doubler", "logistic"}
    model = mlflow.get_logged_model(model_id)
    assert (model.name, model.status.name, model.source_run_id) == ("doubler", "READY", run_id)
    mlflow.set_logged_model_tags(model_id, {"stage": "candidate", "gone": "x"})
    mlflow.delete_logged_model_tag(model_id, "gone")
    mlflow.log_metric("score", 0.5, run_id=run_id, model_id=model_id)
    model = mlflow.get_logged_model(model_id)
    assert model.tags["stage"] == "candidate"
    assert [(metric.key, metric.value) for metric in model.metrics] == [("score", 0.5)]
    outputs = mlflow.get_run(run_id).outputs.model_outputs
    assert model_id in {output.model_id for output in outputs}


def autolog() -> str:
    """Lab 3: everything is logged by itself; the run's id."""
    import pandas as pd
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_input_examples=False, log_model_signatures=True, silent=True)
    features, target = load_iris(return_X_y=True, as_frame=True)
    assert isinstance(features, pd.DataFrame)
    LogisticRegression(max_iter=200).fit(features, target)
    mlflow.sklearn.autolog(disable=True)
    run = mlflow.last_active_run()
    assert run.info.status == "FINISHED"
    assert run.data.params["max_iter"] == "200"
    assert run.data.metrics["training_accuracy_score"] > 0.9
    assert run.data.tags["mlflow.autologging"] == "sklearn"
    assert len(run.inputs.dataset_inputs) == 1
    files = [file.path for file in MlflowClient().list_artifacts(run.info.run_id)]
    assert "training_confusion_matrix.png" in files
    uri = f"models:/{run.outputs.model_outputs[0].model_id}" if NEWER else f"runs:/{run.info.run_id}/model"
    assert len(mlflow.pyfunc.load_model(uri).predict(features)) == 150
    return str(run.info.run_id)


def do_lab(uri: str) -> dict[str, Any]:
    """All of it, against a server; what it left behind."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    start = time.monotonic()
    experiment = mlflow.set_experiment(EXPERIMENT)
    assert mlflow.set_experiment(EXPERIMENT).experiment_id == experiment.experiment_id
    parent, children = sweep()
    check_runs(client, parent, children)
    for run_id in children:
        check_artifacts(client, run_id)
    best = check_searches(client, experiment.experiment_id, parent, children)
    by_hand = use_client(client)
    with_input = log_input()
    with_models, models = log_models()
    autologged = autolog()
    return {
        "version": mlflow.__version__,
        "experiment": experiment.experiment_id,
        "parent": parent,
        "children": children,
        "best": best,
        "by_hand": by_hand,
        "with_input": with_input,
        "with_models": with_models,
        "models": models,
        "autologged": autologged,
        "seconds": time.monotonic() - start,
    }


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):  # MLflow prints links to the server's page
        answer = do_lab(request["uri"])
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
