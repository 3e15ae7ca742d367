"""MLflow uses and upgrades databases that `holdall db tune` gave indexes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop.databases import Databases, ServerDatabases, SqliteDatabases
from tests.interop.peers import VERSIONS, Peer
from tests.interop.snapshot import snapshot
from tests.interop.workload import EXTEND

from holdall.conformance_tests.emulators import shared_server
from holdall.stores import as_database_store

pytestmark = pytest.mark.interop


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    if request.param == "sqlite":
        return SqliteDatabases(tmp_path)
    return ServerDatabases(shared_server(request.param), exact=request.param == "postgresql")


@pytest.mark.parametrize("version", VERSIONS)
def test_use_tuned_database_by_mlflow_reads_and_writes(databases: Databases, version: str) -> None:
    database = databases.filled(version)
    with database.open() as store:
        assert len(as_database_store(store).tune_database().steps) == 4
        before = snapshot(store)
    assert Peer.of(version).use(database.place)[0] == before
    after, _ = Peer.of(version).use(database.place, databases.possible(EXTEND))
    with database.open() as store:
        assert snapshot(store) == after
        assert len(as_database_store(store).tune_database(undo=True).steps) == 2
    assert Peer.of(version).use(database.place)[0] == after


def test_upgrade_tuned_database_keeps_everything_and_its_indexes(databases: Databases) -> None:
    database = databases.filled("2.22.5")
    with database.open() as store:
        as_database_store(store).tune_database()
        before = snapshot(store)
    newer = Peer.of("3.17.2")
    newer.upgrade(database.place)
    assert newer.use(database.place)[0] == before
    assert database.revision() == "dc11669786a5"
    with database.open() as store:
        assert as_database_store(store).plan_tuning().steps == ()
