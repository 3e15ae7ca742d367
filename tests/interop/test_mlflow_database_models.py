"""Logged models in one database, used by holdall and MLflow 3 in turns, and carried over from one of MLflow 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.interop.databases import Databases, ServerDatabases, SharedDatabase, SqliteDatabases
from tests.interop.folders import differences
from tests.interop.model_steps import JSON, Step, apply, create, id_of, measure, snapshot, use
from tests.interop.peers import Peer

from holdall.conformance_tests.emulators import shared_server
from holdall.stores import (
    BackendStore,
    LoggedModelOutput,
    Metric,
    RunTag,
    as_logged_model_store,
    open_backend_store,
)

pytestmark = pytest.mark.interop


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    if request.param == "sqlite":
        return SqliteDatabases(tmp_path)
    return ServerDatabases(shared_server(request.param), exact=request.param == "postgresql")


@pytest.fixture
def database(databases: Databases) -> SharedDatabase:
    """A database that MLflow 3 has just made."""
    fresh = databases.fresh()
    use(fresh.place)
    return fresh


def test_extend_models_in_turns_agrees_at_every_turn(database: SharedDatabase) -> None:
    with database.open() as store:
        run = store.create_run("0").info.run_id
        apply(store, _steps("by holdall", run))
        assert differences(_used(database), snapshot(store)) == []
    use(database.place, [*_steps("by mlflow", run), *_more("by holdall", run)])
    with database.open() as store:
        assert differences(_used(database), snapshot(store)) == []
        apply(store, [*_more("by mlflow", run), _link("by mlflow", run, 9)])
        assert differences(_used(database), snapshot(store)) == []


def test_log_points_that_mlflow_cannot_hold_keeps_them_for_holdall(database: SharedDatabase) -> None:
    """MLflow's table has one value for each time and step, whatever the dataset, and 0 for NaN."""
    with database.open() as store:
        models, run = as_logged_model_store(store), store.create_run("0").info.run_id
        model = models.create_logged_model("0", "net").model_id
        for value, dataset in ((0.5, ("a", "1")), (0.25, ("b", "1")), (float("nan"), ("c", "1"))):
            models.log_model_metrics(model, run, [Metric("m", value, 1, 1)], *dataset)
        models.log_model_metrics(model, run, [Metric("alone", float("nan"), 1)])
        found = models.get_logged_model(model).metrics
        assert [(point.key, repr(point.value), point.dataset_name) for point in found] == [
            ("alone", "nan", None),
            ("m", "0.5", "a"),
            ("m", "0.25", "b"),
            ("m", "nan", "c"),
        ]
    theirs = use(database.place)["models"]["net"]["metrics"]
    assert [(key, value, dataset) for key, dataset, _, value, *_ in theirs] == [("alone", "0.0", ""), ("m", "0.5", "a")]
    with database.open() as store:
        assert as_logged_model_store(store).get_logged_model(model).metrics == pytest.approx(found, nan_ok=True)


def test_read_models_of_mlflow_2_database_by_mlflow_2_sees_the_runs(databases: Databases) -> None:
    database = databases.fresh()
    older = Peer.of("2.22.5")
    older.use(database.place)
    with database.open() as store:
        run = _filled(store)
        before = snapshot(store)
    theirs, _ = older.use(database.place)
    assert set(theirs["runs"]) == {run}
    assert {key: repr(float(value)) for key, value in theirs["runs"][run]["metrics"].items()} == before["runs"][run][
        "metrics"
    ]
    with database.open() as store:
        assert snapshot(store) == before


def test_upgrade_mlflow_2_database_with_models_gives_them_to_mlflow_3(databases: Databases) -> None:
    """At the next opening that may write; until then they are read where they are."""
    database = databases.fresh()
    Peer.of("2.22.5").use(database.place)
    with database.open() as store:
        run = _filled(store)
        before = snapshot(store)
    Peer.of("3.17.2").upgrade(database.place)
    assert use(database.place)["models"] == {}
    with open_backend_store(database.uri, read_only=True) as store:
        assert snapshot(store) == before
    with database.open() as store:
        assert snapshot(store) == before
        assert differences(_used(database), before) == []
        apply(store, _more("by holdall", run))
        apply(store, _steps("after", run))
        assert differences(_used(database), snapshot(store)) == []


def test_upgrade_holdall_database_with_models_gives_them_to_mlflow_3(tmp_path: Path) -> None:
    database = SqliteDatabases(tmp_path).fresh()
    with database.open() as store:
        _filled(store)
        before = snapshot(store)
    Peer.of("3.17.2").upgrade(database.place)
    for _ in range(2):
        with database.open() as store:
            assert snapshot(store) == before
        assert differences(_used(database), before) == []
    assert database.revision() == "dc11669786a5"


def _filled(store: BackendStore) -> str:
    """Models, and the run that made and measured them."""
    run = store.create_run("0", run_name="of the models").info.run_id
    apply(store, _steps("by holdall", run))
    as_logged_model_store(store).log_outputs(run, [LoggedModelOutput(id_of(store, "by holdall, empty"), -3)])
    store.set_tag(run, RunTag("ref", run))
    return run


def _used(database: SharedDatabase) -> JSON:
    """What MLflow reads, of the points that it shows of a model those that holdall does."""
    theirs = use(database.place)
    for model in theirs["models"].values():
        latest: dict[tuple[str, str, str], list[Any]] = {}
        for point in sorted(model["metrics"], key=lambda point: (point[5], point[4], float(point[3]))):
            latest[point[0], point[1], point[2]] = point
        model["metrics"] = sorted(latest.values())
    return theirs


def _link(name: str, run: str, step: int) -> Step:
    return "link", {"name": name, "run": run, "step": step}


def _steps(name: str, run: str) -> list[Step]:
    """A model that has everything, one that has nothing, and one that is deleted."""
    return [
        create(name, run, tags={"t/ü": "größe\n", "gone": "1"}, params={"lr": "0.1", "a b": ""}, model_type="sklearn"),
        create(f"{name}, empty", None),
        create(f"{name}, deleted", None),
        measure(name, run, f"acc {name}", 0.5, 3),
        measure(name, run, f"acc {name}", 0.75, -2),
        measure(name, run, f"val/loss {name}", 1e-300, 0, "digits", "abc"),
        measure(name, run, f"val/loss {name}", 0.1, 1, "größe 20", "1/2"),
        measure(f"{name}, deleted", run, f"of the deleted {name}", 1.0, 0),
        ("tag", {"name": name, "tags": {"t/ü": "2", "more": "3"}}),
        ("untag", {"name": name, "key": "gone"}),
        _link(name, run, 7),
        ("finalize", {"name": name, "status": "READY"}),
        ("delete", {"name": f"{name}, deleted"}),
    ]


def _more(name: str, run: str) -> list[Step]:
    """What is done to a model that the other one made; MLflow refuses to link it a second time."""
    return [
        measure(name, run, f"acc {name}", -1.0, 4),
        measure(name, run, f"val/loss {name}", 0.2, 2, "digits", "abc"),
        measure(name, run, f"new {name}", 0.3, 0),
        ("tag", {"name": name, "tags": {"more": "4", "new": "5"}}),
        ("untag", {"name": name, "key": "t/ü"}),
        ("finalize", {"name": name, "status": "FAILED"}),
        ("delete", {"name": f"{name}, empty"}),
    ]
