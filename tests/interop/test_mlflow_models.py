"""Logged models in one folder, used by holdall and MLflow 3 in turns; MLflow 2 knows none and reads the rest."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.interop.folders import differences
from tests.interop.peers import Peer, peer_python

from holdall.backends.file.store import FileBackendStore
from holdall.stores import LoggedModel, LoggedModelInput, LoggedModelOutput, Metric, Run, RunTag, StoreURI, ViewType

pytestmark = pytest.mark.interop

JSON = dict[str, Any]
Step = tuple[str, JSON]

_SCRIPT = Path(__file__).with_name("models_script.py")
_VERSION = "3.17.2"


def test_extend_models_in_turns_agrees_at_every_turn(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        _apply(store, _steps("by holdall", run))
        assert _not_agreed(folder, store) == []
    theirs = _use(folder, [*_steps("by mlflow", run), *_more("by holdall", run)])
    with _open(folder) as store:
        assert differences(theirs, _snapshot(store)) == []
        _apply(store, _more("by mlflow", run))
        assert _not_agreed(folder, store) == []
        assert store.find_problems() == []


def test_read_names_of_datasets_that_mlflow_cannot_read_encodes_them_for_it(tmp_path: Path) -> None:
    """MLflow takes lines apart at blanks: what it writes of such a dataset it does not read."""
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        _apply(store, [_create("net", None)])
        for name, value in (("my own data", 1.0), ("a\nb", 2.0), ("100%", 3.0)):
            store.log_model_metrics(_id(store, "net"), run, [Metric("m", value, 1)], name, "d 1")
        theirs = _use(folder)["models"]["net"]["metrics"]
        assert [(name, value) for _, name, _, value, *_ in theirs] == [
            ("100%25", "3.0"),
            ("a%0Ab", "2.0"),
            ("my%20own%20data", "1.0"),
        ]
        found = store.get_logged_model(_id(store, "net")).metrics
        assert [(point.dataset_name, point.dataset_digest) for point in found] == [
            ("100%", "d 1"),
            ("a\nb", "d 1"),
            ("my own data", "d 1"),
        ]


def test_read_dataset_with_blanks_that_mlflow_wrote_gives_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        _apply(store, [_create("net", None)])
        point = {"name": "net", "run": run, "key": "m", "point": [0.5, 1, 3], "dataset": ["my own data", "d1"]}
        assert "malformed" in _failure(folder, [("measure", point)])
        [found] = store.get_logged_model(_id(store, "net")).metrics
        assert (found.value, found.step, found.dataset_name, found.dataset_digest) == (0.5, 3, "my own data", "d1")
        assert store.get_metric_history(run, "m") == [Metric("m", 0.5, 1, 3)]
        assert store.find_problems() == []


def test_read_folder_with_models_by_mlflow_2_sees_the_runs(tmp_path: Path) -> None:
    """As long as no run has used a model: such links MLflow 2 does not read."""
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        _apply(store, [step for step in _steps("net", run) if step[0] != "link"])
        store.log_outputs(run, [LoggedModelOutput(_id(store, "net"), 1)])
        store.set_tag(run, RunTag("ref", run))
        theirs, _ = Peer.of("2.22.5").use(folder)
        assert set(theirs["runs"]) == {run}
        metrics = store.get_run(run).data.metrics
        assert {key: float(value) for key, value in theirs["runs"][run]["metrics"].items()} == metrics


def _create(name: str, run: str | None, **values: Any) -> Step:
    fields: JSON = {"name": name, "experiment": "0", "run": run, "tags": {}, "params": {}, "model_type": None}
    return "create", fields | values


def _measure(name: str, run: str, key: str, value: float, step: int, *dataset: str) -> Step:
    """With a dataset at step 0, since MLflow 3.17 reads that from the run's file, whatever the step was."""
    fields = {"name": name, "run": run, "key": key, "point": [value, 1_700_000_000_000 + step, step]}
    return "measure", fields | {"dataset": list(dataset) or None}


def _steps(name: str, run: str) -> list[Step]:
    """A model that has everything, one that has nothing, and one that is deleted."""
    return [
        _create(name, run, tags={"t/ü": "größe\n", "gone": "1"}, params={"lr": "0.1", "a b": ""}, model_type="sklearn"),
        _create(f"{name}, empty", None),
        _create(f"{name}, deleted", None),
        _measure(name, run, f"acc {name}", 0.5, 3),
        _measure(name, run, f"acc {name}", 0.75, -2),
        _measure(name, run, f"val/loss {name}", 1e-300, 0, "digits", "abc"),
        _measure(name, run, f"val/loss {name}", 0.1, 0, "größe%20", "1/2"),
        _measure(f"{name}, deleted", run, f"of the deleted {name}", 1.0, 0),
        ("tag", {"name": name, "tags": {"t/ü": "2", "more": "3"}}),
        ("untag", {"name": name, "key": "gone"}),
        ("link", {"name": name, "run": run, "step": 7}),
        ("finalize", {"name": name, "status": "READY"}),
        ("delete", {"name": f"{name}, deleted"}),
    ]


def _more(name: str, run: str) -> list[Step]:
    """What is done to a model that the other one made."""
    return [
        _measure(name, run, f"acc {name}", -1.0, 4),
        _measure(name, run, f"val/loss {name}", 0.2, 0, "digits", "abc"),
        _measure(name, run, f"new {name}", 0.3, 0),
        ("tag", {"name": name, "tags": {"more": "4", "new": "5"}}),
        ("untag", {"name": name, "key": "t/ü"}),
        ("link", {"name": name, "run": run, "step": 9}),
        ("finalize", {"name": name, "status": "FAILED"}),
        ("delete", {"name": f"{name}, empty"}),
    ]


# holdall


def _open(folder: Path) -> FileBackendStore:
    return FileBackendStore(StoreURI.parse(str(folder)))


def _apply(store: FileBackendStore, steps: Sequence[Step]) -> None:
    writer = _Writer(store)
    for method, arguments in steps:
        step: Callable[..., object] = getattr(writer, method)
        step(**arguments)


class _Writer:
    """A store opened by holdall, with one method for every step, as in `models_script.py`."""

    def __init__(self, store: FileBackendStore) -> None:
        self.store = store

    def create(self, name: str, experiment: str, run: str | None, tags: JSON, params: JSON, model_type: str) -> None:
        self.store.create_logged_model(experiment, name, run, tags, params, model_type)

    def measure(self, name: str, run: str, key: str, point: list[Any], dataset: list[str] | None) -> None:
        self.store.log_model_metrics(_id(self.store, name), run, [Metric(key, *point)], *(dataset or ()))

    def finalize(self, name: str, status: str) -> None:
        self.store.finalize_logged_model(_id(self.store, name), status)

    def tag(self, name: str, tags: JSON) -> None:
        self.store.set_logged_model_tags(_id(self.store, name), tags)

    def untag(self, name: str, key: str) -> None:
        self.store.delete_logged_model_tag(_id(self.store, name), key)

    def delete(self, name: str) -> None:
        self.store.delete_logged_model(_id(self.store, name))

    def link(self, name: str, run: str, step: int) -> None:
        self.store.log_model_inputs(run, [LoggedModelInput(_id(self.store, name))])
        self.store.log_outputs(run, [LoggedModelOutput(_id(self.store, name), step)])


def _id(store: FileBackendStore, name: str) -> str:
    [found] = store.search_logged_models(["0"], f"name = '{name}'")
    return found.model_id


def _snapshot(store: FileBackendStore) -> JSON:
    models = store.search_logged_models(["0"])
    assert models == [store.get_logged_model(model.model_id) for model in models]
    runs = store.search_runs(["0"], run_view_type=ViewType.ALL)
    assert runs == [store.get_run(run.info.run_id) for run in runs]
    return {
        "models": {model.name: _model(model) for model in models},
        "runs": {run.info.run_id: _run(store, run) for run in runs},
    }


def _run(store: FileBackendStore, run: Run) -> JSON:
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


# MLflow


def _not_agreed(folder: Path, store: FileBackendStore) -> list[str]:
    return differences(_use(folder), _snapshot(store))


def _use(folder: Path, steps: Sequence[Step] = ()) -> JSON:
    """Take steps; everything that is there then."""
    done = _ask(folder, steps)
    assert done.returncode == 0, f"the peer failed:\n{done.stderr[-4000:]}"
    result: JSON = json.loads(done.stdout)
    return result


def _failure(folder: Path, steps: Sequence[Step]) -> str:
    """What MLflow says when it cannot read what it has just written."""
    done = _ask(folder, steps)
    assert done.returncode != 0
    return done.stderr


def _ask(folder: Path, steps: Sequence[Step]) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHON", "MLFLOW", "COV_", "COVERAGE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    settings = {"PYTHONUTF8": "1", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ALLOW_FILE_STORE": "true"}
    return subprocess.run(
        [str(peer_python(_VERSION)), str(_SCRIPT)],
        input=json.dumps({"uri": str(folder), "steps": steps}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder.parent,
        env=environment | settings,
        check=False,
    )
