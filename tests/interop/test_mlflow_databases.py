"""The same SQLite file used by holdall and by MLflow, in turns and at once."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pytest
from tests.interop.peers import VERSIONS, Peer
from tests.interop.snapshot import FIXTURES, anonymous, apply, by_ref, expected, found, snapshot
from tests.interop.steps import ROOT, Step
from tests.interop.workload import EXTEND, EXTEND_AGAIN, WRITE, searches

from holdall.stores import BackendStore, Metric, open_backend_store

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    result: str = request.param
    return result


def _open(database: Path) -> BackendStore:
    return open_backend_store(f"sqlite:///{database}", artifact_root=ROOT)


def _revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return str(revision)


def test_write_by_mlflow_today_equals_its_fixture_and_is_read(version: str, tmp_path: Path) -> None:
    database = tmp_path / "fresh.db"
    asked = searches(f"mlflow-{version}")
    theirs, their_results = Peer.of(version).use(database, WRITE, asked)
    fixture = expected(f"mlflow-{version}")["snapshot"]
    by_ref(fixture, "rich")["metrics"].pop("of the model", None)  # the fixture has logged models too
    by_ref(fixture, "rich")["history"].pop("of the model", None)
    assert anonymous(theirs) == anonymous(fixture)
    with _open(database) as store:
        assert snapshot(store) == theirs
        assert found(store, asked) == their_results


def test_extend_mlflow_database_in_turns_agrees_at_every_turn(version: str, tmp_path: Path) -> None:
    database = Path(shutil.copyfile(FIXTURES / f"mlflow-{version}.db", tmp_path / "shared.db"))
    revision = _revision(database)
    asked = searches(f"mlflow-{version}")
    with _open(database) as store:
        apply(store, EXTEND)
        ours, our_results = snapshot(store), found(store, asked)
    theirs, their_results = Peer.of(version).use(database, searches=asked)
    assert theirs == ours
    assert their_results == our_results
    theirs, _ = Peer.of(version).use(database, EXTEND_AGAIN)
    assert len(theirs["runs"]) > len(ours["runs"])
    with _open(database) as store:
        assert snapshot(store) == theirs
        apply(store, _last_words("holdall"))
        ours = snapshot(store)
    assert Peer.of(version).use(database)[0] == ours
    assert _revision(database) == revision


def test_open_holdall_database_by_mlflow_2_and_after_upgrade_by_mlflow_3(tmp_path: Path) -> None:
    database = tmp_path / "ours.db"
    older, newer = map(Peer.of, VERSIONS)
    with _open(database) as store:
        apply(store, WRITE)
        ours, our_results = snapshot(store), found(store, searches("mlflow-2.22.5"))

    theirs, their_results = older.use(database, searches=searches("mlflow-2.22.5"))
    assert theirs == ours
    assert their_results == our_results
    theirs, _ = older.use(database, EXTEND)
    with _open(database) as store:
        assert snapshot(store) == theirs
        apply(store, _last_words("between"))
        ours, our_results = snapshot(store), found(store, searches("mlflow-3.17.2"))

    newer.upgrade(database)
    assert _revision(database) == "dc11669786a5"
    theirs, their_results = newer.use(database, searches=searches("mlflow-3.17.2"))
    assert theirs == ours
    assert their_results == our_results
    theirs, _ = newer.use(database, [*EXTEND_AGAIN, ("register_models", {"ref": "rich"})])
    with _open(database) as store:
        assert snapshot(store) == theirs
        apply(store, _last_words("after"))
        ours = snapshot(store)
    assert newer.use(database)[0] == ours


def test_upgrade_mlflow_2_database_that_holdall_extended_keeps_everything(tmp_path: Path) -> None:
    database = Path(shutil.copyfile(FIXTURES / "mlflow-2.22.5.db", tmp_path / "shared.db"))
    newer = Peer.of("3.17.2")
    with _open(database) as store:
        apply(store, EXTEND)
        store.delete_experiment(_experiment_id(store, "search"))  # makes holdall's own table
        ours = snapshot(store)
    newer.upgrade(database)
    assert newer.use(database)[0] == ours
    with _open(database) as store:
        assert snapshot(store) == ours
        store.restore_experiment(_experiment_id(store, "search"))
        apply(store, EXTEND_AGAIN)
        ours = snapshot(store)
    assert newer.use(database)[0] == ours


def test_write_by_mlflow_and_holdall_at_once_loses_nothing(version: str, tmp_path: Path) -> None:
    database = Path(shutil.copyfile(FIXTURES / f"mlflow-{version}.db", tmp_path / "shared.db"))
    steps: list[Step] = [("log_metric", {"ref": "running", "metric": ("theirs", 0.5, 1, step)}) for step in range(100)]
    peer = Peer.of(version)
    with _open(database) as store, ThreadPoolExecutor(1) as pool:
        (run_id,) = (key for key, run in snapshot(store)["runs"].items() if run["tags"]["ref"] == "running")
        writing = pool.submit(peer.use, database, steps)
        count = 0
        while not wait([writing], timeout=0.02).done:  # MLflow's way of waiting for a lock gives up when never let in
            store.log_batch(run_id, [Metric("ours", 0.25, 1, count * 10 + offset) for offset in range(10)])
            count += 1
        writing.result()
        assert [point.step for point in store.get_metric_history(run_id, "theirs")] == list(range(100))
        assert [point.step for point in store.get_metric_history(run_id, "ours")] == list(range(count * 10))
        ours = snapshot(store)
    assert peer.use(database)[0] == ours


def _last_words(name: str) -> list[Step]:
    """A few more steps, so that a store is written once more after somebody else wrote."""
    point = (f"by {name}", float("-inf"), 1, 0)
    return [
        (
            "log_batch",
            {"ref": "running", "metrics": [point], "params": {f"by {name}": "1"}, "tags": {f"by {name}": "2"}},
        ),
        ("create_run", {"experiment": "vision", "ref": name, "name": name, "start_time": 1, "tags": {}}),
        ("end_run", {"ref": name, "status": "FAILED", "end_time": 2}),
    ]


def _experiment_id(store: BackendStore, name: str) -> str:
    experiment = store.get_experiment_by_name(name)
    assert experiment is not None
    return experiment.experiment_id
