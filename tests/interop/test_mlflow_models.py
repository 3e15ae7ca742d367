"""Logged models in one folder, used by holdall and MLflow 3 in turns; MLflow 2 knows none and reads the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop.folders import differences
from tests.interop.model_steps import Step, apply, create, failure, id_of, measure, snapshot, use
from tests.interop.peers import Peer

from holdall.backends.file.store import FileBackendStore
from holdall.stores import LoggedModelOutput, Metric, RunTag, StoreURI

pytestmark = pytest.mark.interop


def test_extend_models_in_turns_agrees_at_every_turn(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        apply(store, _steps("by holdall", run))
        assert _not_agreed(folder, store) == []
    theirs = use(folder, [*_steps("by mlflow", run), *_more("by holdall", run)])
    with _open(folder) as store:
        assert differences(theirs, snapshot(store)) == []
        apply(store, _more("by mlflow", run))
        assert _not_agreed(folder, store) == []
        assert store.find_problems() == []


def test_read_names_of_datasets_that_mlflow_cannot_read_encodes_them_for_it(tmp_path: Path) -> None:
    """MLflow takes lines apart at blanks: what it writes of such a dataset it does not read."""
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        apply(store, [create("net", None)])
        for name, value in (("my own data", 1.0), ("a\nb", 2.0), ("100%", 3.0)):
            store.log_model_metrics(id_of(store, "net"), run, [Metric("m", value, 1)], name, "d 1")
        theirs = use(folder)["models"]["net"]["metrics"]
        assert [(name, value) for _, name, _, value, *_ in theirs] == [
            ("100%25", "3.0"),
            ("a%0Ab", "2.0"),
            ("my%20own%20data", "1.0"),
        ]
        found = store.get_logged_model(id_of(store, "net")).metrics
        assert [(point.dataset_name, point.dataset_digest) for point in found] == [
            ("100%", "d 1"),
            ("a\nb", "d 1"),
            ("my own data", "d 1"),
        ]


def test_read_dataset_with_blanks_that_mlflow_wrote_gives_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        apply(store, [create("net", None)])
        point = {"name": "net", "run": run, "key": "m", "point": [0.5, 1, 3], "dataset": ["my own data", "d1"]}
        assert "malformed" in failure(folder, [("measure", point)])
        [found] = store.get_logged_model(id_of(store, "net")).metrics
        assert (found.value, found.step, found.dataset_name, found.dataset_digest) == (0.5, 3, "my own data", "d1")
        assert store.get_metric_history(run, "m") == [Metric("m", 0.5, 1, 3)]
        assert store.find_problems() == []


def test_read_folder_with_models_by_mlflow_2_sees_the_runs(tmp_path: Path) -> None:
    """As long as no run has used a model: such links MLflow 2 does not read."""
    folder = tmp_path / "mlruns"
    with _open(folder) as store:
        run = store.create_run("0").info.run_id
        apply(store, [step for step in _steps("net", run) if step[0] != "link"])
        store.log_outputs(run, [LoggedModelOutput(id_of(store, "net"), 1)])
        store.set_tag(run, RunTag("ref", run))
        theirs, _ = Peer.of("2.22.5").use(folder)
        assert set(theirs["runs"]) == {run}
        metrics = store.get_run(run).data.metrics
        assert {key: float(value) for key, value in theirs["runs"][run]["metrics"].items()} == metrics


def _steps(name: str, run: str) -> list[Step]:
    """A model that has everything, one that has nothing, and one that is deleted."""
    return [
        create(name, run, tags={"t/ü": "größe\n", "gone": "1"}, params={"lr": "0.1", "a b": ""}, model_type="sklearn"),
        create(f"{name}, empty", None),
        create(f"{name}, deleted", None),
        measure(name, run, f"acc {name}", 0.5, 3),
        measure(name, run, f"acc {name}", 0.75, -2),
        measure(name, run, f"val/loss {name}", 1e-300, 0, "digits", "abc"),
        measure(name, run, f"val/loss {name}", 0.1, 0, "größe%20", "1/2"),
        measure(f"{name}, deleted", run, f"of the deleted {name}", 1.0, 0),
        ("tag", {"name": name, "tags": {"t/ü": "2", "more": "3"}}),
        ("untag", {"name": name, "key": "gone"}),
        ("link", {"name": name, "run": run, "step": 7}),
        ("finalize", {"name": name, "status": "READY"}),
        ("delete", {"name": f"{name}, deleted"}),
    ]


def _more(name: str, run: str) -> list[Step]:
    """What is done to a model that the other one made."""
    return [
        measure(name, run, f"acc {name}", -1.0, 4),
        measure(name, run, f"val/loss {name}", 0.2, 0, "digits", "abc"),
        measure(name, run, f"new {name}", 0.3, 0),
        ("tag", {"name": name, "tags": {"more": "4", "new": "5"}}),
        ("untag", {"name": name, "key": "t/ü"}),
        ("link", {"name": name, "run": run, "step": 9}),
        ("finalize", {"name": name, "status": "FAILED"}),
        ("delete", {"name": f"{name}, empty"}),
    ]


def _open(folder: Path) -> FileBackendStore:
    return FileBackendStore(StoreURI.parse(str(folder)))


def _not_agreed(folder: Path, store: FileBackendStore) -> list[str]:
    return differences(use(folder), snapshot(store))
