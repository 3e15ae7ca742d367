"""The same database used by holdall and by MLflow, in turns and at once: tests for classes of one product each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from tests.interop.databases import Databases, SharedDatabase
from tests.interop.peers import VERSIONS, Peer
from tests.interop.snapshot import Snapshot, anonymous, apply, by_ref, expected, found, snapshot
from tests.interop.steps import Step
from tests.interop.workload import EXTEND, EXTEND_AGAIN, REGISTER, WRITE

from holdall.stores import BackendStore, Metric

__all__ = ["DatabaseScenarios", "UpgradeScenarios", "share_with_mlflow_2"]


class DatabaseScenarios:
    """What holds for databases of every product; a subclass has the fixture `databases`."""

    @pytest.fixture(params=VERSIONS)
    def version(self, request: pytest.FixtureRequest) -> str:
        result: str = request.param
        return result

    def test_write_by_mlflow_today_equals_its_fixture_and_is_read(self, version: str, databases: Databases) -> None:
        database = databases.fresh()
        asked, steps = databases.searches(version), databases.possible(WRITE)
        theirs, their_results = Peer.of(version).use(database.place, steps, asked)
        if steps == WRITE:
            fixture = expected(f"mlflow-{version}")["snapshot"]
            by_ref(fixture, "rich")["metrics"].pop("of the model", None)  # the fixture has logged models too
            by_ref(fixture, "rich")["history"].pop("of the model", None)
            assert anonymous(theirs) == anonymous(fixture)
        with database.open() as store:
            assert snapshot(store) == theirs
            assert found(store, asked) == their_results

    def test_extend_mlflow_database_in_turns_agrees_at_every_turn(self, version: str, databases: Databases) -> None:
        database = databases.filled(version)
        revision = database.revision()
        asked = databases.searches(version)
        with database.open() as store:
            apply(store, databases.possible(EXTEND))
            ours, our_results = snapshot(store), found(store, asked)
        theirs, their_results = Peer.of(version).use(database.place, searches=asked)
        assert theirs == ours
        assert their_results == our_results
        theirs, _ = Peer.of(version).use(database.place, databases.possible(EXTEND_AGAIN))
        assert len(theirs["runs"]) > len(ours["runs"])
        with database.open() as store:
            assert snapshot(store) == theirs
            apply(store, _last_words("holdall"))
            ours = snapshot(store)
        assert Peer.of(version).use(database.place)[0] == ours
        assert database.revision() == revision

    def test_upgrade_mlflow_2_database_that_holdall_extended_keeps_everything(self, databases: Databases) -> None:
        database = databases.filled("2.22.5")
        newer = Peer.of("3.17.2")
        with database.open() as store:
            apply(store, databases.possible(EXTEND))
            store.delete_experiment(_experiment_id(store, "search"))  # makes holdall's own table
            ours = snapshot(store)
        newer.upgrade(database.place)
        assert newer.use(database.place)[0] == ours
        with database.open() as store:
            assert snapshot(store) == ours
            store.restore_experiment(_experiment_id(store, "search"))
            apply(store, databases.possible(EXTEND_AGAIN))
            ours = snapshot(store)
        assert newer.use(database.place)[0] == ours

    def test_write_by_mlflow_and_holdall_at_once_loses_nothing(self, version: str, databases: Databases) -> None:
        database = databases.filled(version)
        points = [("theirs", 0.5, 1, step) for step in range(100)]
        steps: list[Step] = [("log_metric", {"ref": "running", "metric": point}) for point in points]
        peer = Peer.of(version)
        with database.open() as store, ThreadPoolExecutor(1) as pool:
            (run_id,) = (key for key, run in snapshot(store)["runs"].items() if run["tags"]["ref"] == "running")
            writing = pool.submit(peer.use, database.place, steps)
            count = 0
            while not wait([writing], timeout=0.02).done:  # MLflow waits for a lock in vain when it is never let in
                store.log_batch(run_id, [Metric("ours", 0.25, 1, count * 10 + offset) for offset in range(10)])
                count += 1
            writing.result()
            assert [point.step for point in store.get_metric_history(run_id, "theirs")] == list(range(100))
            assert [point.step for point in store.get_metric_history(run_id, "ours")] == list(range(count * 10))
            ours = snapshot(store)
        assert peer.use(database.place)[0] == ours


class UpgradeScenarios(DatabaseScenarios):
    """What holds where `mlflow db upgrade` can migrate a database of holdall's, too."""

    def test_open_holdall_database_by_mlflow_2_and_after_upgrade_by_mlflow_3(self, databases: Databases) -> None:
        database, newer = databases.fresh(), Peer.of("3.17.2")
        ours, our_results = share_with_mlflow_2(databases, database)
        newer.upgrade(database.place)
        assert database.revision() == "dc11669786a5"
        theirs, their_results = newer.use(database.place, searches=databases.searches("3.17.2"))
        assert theirs == ours
        assert their_results == our_results
        theirs, _ = newer.use(database.place, [*EXTEND_AGAIN, REGISTER])
        with database.open() as store:
            assert snapshot(store) == theirs
            apply(store, _last_words("after"))
            ours = snapshot(store)
        assert newer.use(database.place)[0] == ours


def share_with_mlflow_2(databases: Databases, database: SharedDatabase) -> tuple[Snapshot, list[list[str]]]:
    """Make a store by holdall that MLflow 2.22 extends as it is; what holdall reads and finds there in the end."""
    older = Peer.of("2.22.5")
    with database.open() as store:
        apply(store, WRITE)
        ours, our_results = snapshot(store), found(store, databases.searches("2.22.5"))
    theirs, their_results = older.use(database.place, searches=databases.searches("2.22.5"))
    assert theirs == ours
    assert their_results == our_results
    theirs, _ = older.use(database.place, EXTEND)
    with database.open() as store:
        assert snapshot(store) == theirs
        apply(store, _last_words("between"))
        return snapshot(store), found(store, databases.searches("3.17.2"))


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
