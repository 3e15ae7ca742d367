"""Threads and processes on one SQLite database: nobody fails, nothing is lost, readers do not wait."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.backends import stress
from tests.backends.places import SqlitePlace

from holdall.stores import BackendStore, Metric, Param, RunTag, open_backend_store
from holdall.stores.errors import AlreadyExists, TemporarilyUnavailable


def test_open_new_file_by_many_processes_gives_all_one_store_and_one_experiment(tmp_path: Path) -> None:
    trials = stress.scale().cold_starts
    outcome = stress.cold_start(SqlitePlace, tmp_path, trials)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["succeeded"] == outcome.figures["processes"] == 8 * trials


def test_log_by_processes_and_threads_while_others_read_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = stress.load(SqlitePlace, tmp_path, stress.scale().rounds["sqlite"])
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["write calls"] == 4 * 8 * 6 * stress.scale().rounds["sqlite"]
    assert outcome.figures["reads meanwhile"] > 0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tracking.db"
    open_backend_store(f"sqlite:///{path}").close()
    return path


@contextmanager
def _foreign_writer(database: Path) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a write transaction."""
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE experiments SET name = 'not committed'")
        yield connection


def _read_everything(store: BackendStore, run_id: str) -> None:
    assert store.get_experiment("0").name == "Default"
    assert store.get_run(run_id).data.params == {"a": "1"}
    assert [point.value for point in store.get_metric_history(run_id, "m")] == [0.5]
    assert [run.info.run_id for run in store.search_runs(["0"], "params.a = '1'")] == [run_id]
    assert [experiment.name for experiment in store.search_experiments()] == ["Default"]


@pytest.mark.parametrize("read_only", [False, True])
def test_read_while_another_program_writes_does_not_wait(database: Path, read_only: bool) -> None:
    with open_backend_store(f"sqlite:///{database}") as store:
        run_id = store.create_run("0").info.run_id
        store.log_batch(run_id, [Metric("m", 0.5, 1)], [Param("a", "1")])
        with (
            _foreign_writer(database),
            open_backend_store(f"sqlite:///{database}?busy_timeout=0", read_only=read_only) as reader,
        ):
            _read_everything(reader, run_id)


def test_read_while_a_thread_of_the_store_waits_to_write_does_not_wait(database: Path) -> None:
    with open_backend_store(f"sqlite:///{database}") as store, ThreadPoolExecutor(1) as pool:
        run_id = store.create_run("0").info.run_id
        store.log_batch(run_id, [Metric("m", 0.5, 1)], [Param("a", "1")])
        with _foreign_writer(database) as writer:
            waiting = pool.submit(store.set_tag, run_id, RunTag("t", "v"))
            assert not wait([waiting], timeout=0.1).done
            _read_everything(store, run_id)
            assert not waiting.done()
            writer.execute("ROLLBACK")
        waiting.result(timeout=60)
        assert store.get_run(run_id).data.tags["t"] == "v"


def test_write_while_another_program_holds_the_lock_waits_and_succeeds(database: Path) -> None:
    with open_backend_store(f"sqlite:///{database}") as store, ThreadPoolExecutor(8) as pool:
        run_id = store.create_run("0").info.run_id
        with _foreign_writer(database) as writer:
            pending = [pool.submit(store.log_metric, run_id, Metric("m", step / 2, 1, step)) for step in range(8)]
            assert wait(pending, timeout=0.5).done == set()
            writer.execute("ROLLBACK")
        for call in pending:
            call.result(timeout=60)
        assert [point.step for point in store.get_metric_history(run_id, "m")] == list(range(8))


def test_write_longer_locked_than_busy_timeout_is_temporarily_unavailable_and_writes_nothing(database: Path) -> None:
    with open_backend_store(f"sqlite:///{database}?busy_timeout=0.2") as store:
        run_id = store.create_run("0").info.run_id
        with _foreign_writer(database):
            with pytest.raises(TemporarilyUnavailable, match="busy_timeout") as raised:
                store.log_batch(run_id, [Metric("m", 1.0, 1)], [Param("a", "1")])
            with pytest.raises(TemporarilyUnavailable):
                store.create_experiment("other")
        assert raised.value.http_status == 503
        assert "sqlite3" not in str(raised.value)
        assert store.get_run(run_id).data.params == {}
        assert store.get_experiment_by_name("other") is None
        store.log_metric(run_id, Metric("m", 2.0, 1))
        assert store.get_run(run_id).data.metrics == {"m": 2.0}


def test_open_while_another_program_writes_waits_for_nothing(database: Path) -> None:
    with _foreign_writer(database), open_backend_store(f"sqlite:///{database}?busy_timeout=0") as store:
        assert store.get_experiment("0").name == "Default"


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN; SELECT * FROM experiments"])
def test_open_rollback_journal_database_in_use_leaves_its_journal_mode(tmp_path: Path, lock: str) -> None:
    """Switching to WAL needs the file for itself; where another program is in it the store must open all the same."""
    path = tmp_path / "rollback.db"
    open_backend_store(f"sqlite:///{path}?journal_mode=delete").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in lock.split("; "):
            other.execute(statement).fetchall()
        with open_backend_store(f"sqlite:///{path}?busy_timeout=0.2") as store:
            assert store.describe()["journal"] == "delete"
            assert store.get_experiment("0").name == "Default"
            other.execute("ROLLBACK")
            assert store.create_run("0").info.experiment_id == "0"
    with open_backend_store(f"sqlite:///{path}") as store:
        assert store.describe()["journal"] == "wal"


def test_share_database_in_memory_between_threads_is_one_database() -> None:
    threads, calls = 8, 25
    start = threading.Barrier(threads)
    with open_backend_store("sqlite:///:memory:") as store, ThreadPoolExecutor(threads) as pool:
        shared = store.create_run(store.create_experiment("x")).info

        def work(thread: int) -> str:
            start.wait()
            own = store.create_run(shared.experiment_id).info.run_id
            for call in range(calls):
                store.log_metric(shared.run_id, Metric("m", 1.0, 1, thread * calls + call))
                store.log_batch(own, [Metric("own", 1.0, 1, call)], [Param(f"p{call}", str(thread))])
                assert len(store.get_metric_history(own, "own")) == call + 1
            return own

        owned = list(pool.map(work, range(threads)))
        assert {run.info.run_id for run in store.search_runs([shared.experiment_id])} == {shared.run_id, *owned}
        assert [point.step for point in store.get_metric_history(shared.run_id, "m")] == list(range(threads * calls))


def test_open_memory_twice_gives_two_databases() -> None:
    with open_backend_store("sqlite:///:memory:") as first, open_backend_store("sqlite:///:memory:") as second:
        first.create_experiment("x")
        assert second.get_experiment_by_name("x") is None


def test_create_same_experiment_in_two_stores_at_once_gives_one(database: Path) -> None:
    threads = 8
    start = threading.Barrier(threads)
    with open_backend_store(f"sqlite:///{database}") as one, open_backend_store(f"sqlite:///{database}") as two:

        def work(thread: int) -> str | None:
            start.wait()
            try:
                return (one, two)[thread % 2].create_experiment("x")
            except AlreadyExists:
                return None

        with ThreadPoolExecutor(threads) as pool:
            created = [result for result in pool.map(work, range(threads)) if result is not None]
        experiment = one.get_experiment_by_name("x")
        assert experiment is not None
        assert created == [experiment.experiment_id]
