"""The same database on a server used by holdall and by MLflow."""

from __future__ import annotations

import pytest
from tests.interop.databases import Databases, ServerDatabases
from tests.interop.peers import Peer
from tests.interop.scenarios import DatabaseScenarios, UpgradeScenarios, share_with_mlflow_2
from tests.interop.snapshot import apply, snapshot
from tests.interop.workload import EXTEND, EXTEND_AGAIN, REGISTER, WRITE

from holdall.conformance_tests.emulators import shared_server

pytestmark = [pytest.mark.interop, pytest.mark.extras]

_KEY = "fk_trace_info_experiment_id"
_NARROW_IDS = (
    f"ALTER TABLE trace_info DROP FOREIGN KEY {_KEY}",
    "ALTER TABLE trace_info MODIFY experiment_id INT NOT NULL",
    "ALTER TABLE experiment_tags MODIFY experiment_id INT NOT NULL",
    "ALTER TABLE datasets MODIFY experiment_id INT NOT NULL",
    "ALTER TABLE runs MODIFY experiment_id INT",
    "ALTER TABLE experiments MODIFY experiment_id INT NOT NULL AUTO_INCREMENT",
    f"ALTER TABLE trace_info ADD CONSTRAINT {_KEY} FOREIGN KEY (experiment_id) REFERENCES experiments (experiment_id)",
)
"""What lets `mlflow db upgrade` migrate a database that holdall made on MySQL or MariaDB."""


class TestPostgresql(UpgradeScenarios):
    @pytest.fixture
    def databases(self) -> Databases:
        return ServerDatabases(shared_server("postgresql"), exact=True)


class TestMariadb(DatabaseScenarios):
    @pytest.fixture
    def databases(self) -> Databases:
        return ServerDatabases(shared_server("mariadb"), exact=False)

    def test_open_holdall_database_by_mlflow_2_works_and_an_upgrade_fails_without_harm(
        self, databases: Databases
    ) -> None:
        database = databases.fresh()
        ours, _ = share_with_mlflow_2(databases, database)
        revision = database.revision()
        with pytest.raises(AssertionError, match="errno: 150"):
            Peer.of("3.17.2").upgrade(database.place)
        assert database.revision() == revision
        with database.open() as store:
            assert snapshot(store) == ours
        assert Peer.of("2.22.5").use(database.place)[0] == ours

    def test_upgrade_holdall_database_after_narrowing_its_ids_keeps_everything(self, databases: Databases) -> None:
        database, newer = databases.fresh(), Peer.of("3.17.2")
        with database.open() as store:
            apply(store, WRITE)
            ours = snapshot(store)
        for statement in _NARROW_IDS:
            shared_server("mariadb").execute(database.uri.rpartition("/")[2], statement)
        newer.upgrade(database.place)
        assert newer.use(database.place)[0] == ours
        theirs, _ = newer.use(database.place, [*EXTEND, REGISTER])
        with database.open() as store:
            assert store.capabilities.max_experiment_id == 2**31 - 1
            assert snapshot(store) == theirs
            apply(store, EXTEND_AGAIN)
            ours = snapshot(store)
        assert newer.use(database.place)[0] == ours
