"""Steps that make and change logged models, taken by holdall and by MLflow 3 alike, and what is there afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.interop.peers import Place, peer_python, peer_uri

from holdall.stores import (
    BackendStore,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Run,
    ViewType,
    as_logged_model_store,
)

__all__ = ["JSON", "Step", "apply", "create", "failure", "id_of", "measure", "snapshot", "use"]

JSON = dict[str, Any]
Step = tuple[str, JSON]

_SCRIPT = Path(__file__).with_name("models_script.py")
_VERSION = "3.17.2"


def create(name: str, run: str | None, **values: Any) -> Step:
    """Create a model in experiment 0."""
    fields: JSON = {"name": name, "experiment": "0", "run": run, "tags": {}, "params": {}, "model_type": None}
    return "create", fields | values


def measure(name: str, run: str, key: str, value: float, step: int, *dataset: str) -> Step:
    """Log a metric of a model. In a folder with a dataset at step 0: MLflow 3.17 reads that, whatever was written."""
    fields = {"name": name, "run": run, "key": key, "point": [value, 1_700_000_000_000 + step, step]}
    return "measure", fields | {"dataset": list(dataset) or None}


def apply(store: BackendStore, steps: Sequence[Step]) -> None:
    """Take steps by holdall."""
    writer = _Writer(store)
    for method, arguments in steps:
        step: Callable[..., object] = getattr(writer, method)
        step(**arguments)


class _Writer:
    """A store opened by holdall, with one method for every step, as in `models_script.py`."""

    def __init__(self, store: BackendStore) -> None:
        self.store = store
        self.models = as_logged_model_store(store)

    def create(self, name: str, experiment: str, run: str | None, tags: JSON, params: JSON, model_type: str) -> None:
        self.models.create_logged_model(experiment, name, run, tags, params, model_type)

    def measure(self, name: str, run: str, key: str, point: list[Any], dataset: list[str] | None) -> None:
        self.models.log_model_metrics(id_of(self.store, name), run, [Metric(key, *point)], *(dataset or ()))

    def finalize(self, name: str, status: str) -> None:
        self.models.finalize_logged_model(id_of(self.store, name), status)

    def tag(self, name: str, tags: JSON) -> None:
        self.models.set_logged_model_tags(id_of(self.store, name), tags)

    def untag(self, name: str, key: str) -> None:
        self.models.delete_logged_model_tag(id_of(self.store, name), key)

    def delete(self, name: str) -> None:
        self.models.delete_logged_model(id_of(self.store, name))

    def link(self, name: str, run: str, step: int) -> None:
        self.models.log_model_inputs(run, [LoggedModelInput(id_of(self.store, name))])
        self.models.log_outputs(run, [LoggedModelOutput(id_of(self.store, name), step)])


def id_of(store: BackendStore, name: str) -> str:
    """The id of the model with this name in experiment 0."""
    [found] = as_logged_model_store(store).search_logged_models(["0"], f"name = '{name}'")
    return found.model_id


def snapshot(store: BackendStore) -> JSON:
    """Everything about models, read by holdall."""
    keeper = as_logged_model_store(store)
    models = keeper.search_logged_models(["0"])
    assert models == [keeper.get_logged_model(model.model_id) for model in models]
    runs = store.search_runs(["0"], run_view_type=ViewType.ALL)
    assert runs == [store.get_run(run.info.run_id) for run in runs]
    return {
        "models": {model.name: _model(model) for model in models},
        "runs": {run.info.run_id: _run(store, run) for run in runs},
    }


def _run(store: BackendStore, run: Run) -> JSON:
    metrics = run.data.metrics
    return {
        "metrics": {key: repr(value) for key, value in sorted(metrics.items())},
        "points": {key: len(store.get_metric_history(run.info.run_id, key)) for key in sorted(metrics)},
        "inputs": sorted(model.model_id for model in run.inputs.model_inputs),
        "outputs": sorted([model.model_id, model.step] for model in run.outputs.model_outputs),
    }


def _model(model: LoggedModel) -> JSON:
    fields = ("model_id", "experiment_id", "artifact_location", "creation_timestamp", "last_updated_timestamp")
    points = [
        [m.key, m.dataset_name or "", m.dataset_digest or "", repr(m.value), m.timestamp, m.step, m.run_id]
        for m in model.metrics
    ]
    return {field: getattr(model, field) for field in fields} | {
        "status": model.status.name,
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "status_message": model.status_message,
        "tags": model.tags,
        "params": model.params,
        "metrics": sorted(points),
    }


def use(place: Place, steps: Sequence[Step] = ()) -> JSON:
    """Take steps by MLflow; everything that is there then, read by it."""
    done = _ask(place, steps)
    assert done.returncode == 0, f"the peer failed:\n{done.stderr[-4000:]}"
    result: JSON = json.loads(done.stdout)
    return result


def failure(place: Place, steps: Sequence[Step]) -> str:
    """What MLflow says when it cannot read what it has just written."""
    done = _ask(place, steps)
    assert done.returncode != 0
    return done.stderr


def _ask(place: Place, steps: Sequence[Step]) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHON", "MLFLOW", "COV_", "COVERAGE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    settings = {"PYTHONUTF8": "1", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ALLOW_FILE_STORE": "true"}
    with tempfile.TemporaryDirectory() as folder:  # MLflow writes where it works
        return subprocess.run(
            [str(peer_python(_VERSION)), str(_SCRIPT)],
            input=json.dumps({"uri": peer_uri(place), "steps": steps}),
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=folder,
            env=environment | settings,
            check=False,
        )
