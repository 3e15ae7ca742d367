"""Many threads and many processes at one store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.support import identity, requires, unique
from holdall.conformance_tests.workers import Worker, run_together
from holdall.stores import AlreadyExists, BackendStore, InvalidParameterValue, Metric, Param, RunTag

__all__ = ["ConcurrencyTests"]

T = TypeVar("T")

THREADS = 8
PROCESSES = 4


def _at_once(job: Callable[[int], T], number: int = THREADS) -> list[T]:
    """Results of a job done by several threads that start together."""
    barrier = Barrier(number)

    def start(index: int) -> T:
        barrier.wait(timeout=60)
        return job(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(start, range(number)))


class ConcurrencyTests(BackendSuite):
    """Concurrency."""

    def test_create_same_experiment_in_threads_gives_one(self, store: BackendStore) -> None:
        """Of N concurrent creations one succeeds, the others learn that the name is taken (mlflow#979).

        Usual cause of failure: look, then create, without a lock or a constraint.
        """
        for _ in range(5):
            name = unique("race")
            ids = _at_once(lambda _: self.create_or_none(store, name))  # noqa: B023 - the threads end in the loop
            [created] = [found for found in ids if found is not None]
            found = store.get_experiment_by_name(name)
            assert found is not None
            assert found.experiment_id == created

    def create_or_none(self, store: BackendStore, name: str) -> str | None:
        """The id of the created experiment, or None if the name is taken."""
        try:
            return store.create_experiment(name)
        except AlreadyExists:
            return None

    def test_create_experiments_in_threads_gives_each_its_id(self, store: BackendStore) -> None:
        """Ids are never given twice.

        Usual cause of failure: the next id is the greatest one plus one, without a lock.
        """
        created = [pair for pairs in _at_once(lambda _: self.create_several(store)) for pair in pairs]
        assert len({experiment_id for experiment_id, _ in created}) == 5 * THREADS
        assert all(store.get_experiment(experiment_id).name == name for experiment_id, name in created)

    def create_several(self, store: BackendStore) -> list[tuple[str, str]]:
        """Id and name of five new experiments."""
        return [(store.create_experiment(name), name) for name in (unique("many") for _ in range(5))]

    def test_log_to_one_run_in_threads_loses_nothing(self, store: BackendStore, run: str) -> None:
        """Threads that log to one run at once lose nothing, and the latest value is right.

        Usual cause of failure: read, change, write back; or connections shared without care.
        """

        def log(thread: int) -> None:
            for step in range(15):
                store.log_metric(run, Metric("shared", float(thread), thread, step))
                store.log_batch(
                    run,
                    [Metric(f"own{thread}", float(step), 1, step), Metric("shared", -1.0, thread, step)],
                    [Param(f"p{thread}/{step}", "v"), Param("same", "v")],
                    [RunTag("t", str(thread))],
                )

        _at_once(log)
        expected = {(value, thread, step) for thread in range(THREADS) for step in range(15) for value in (thread, -1)}
        history = store.get_metric_history(run, "shared")
        assert len(history) == len(expected)
        assert {(point.value, point.timestamp, point.step) for point in history} == expected
        data = store.get_run(run).data
        assert data.metrics["shared"] == THREADS - 1
        assert len(data.params) == 15 * THREADS + 1
        assert [data.metrics[f"own{thread}"] for thread in range(THREADS)] == [14.0] * THREADS

    def test_log_batches_in_opposite_key_order_in_threads_succeeds(self, store: BackendStore, run: str) -> None:
        """Batches over the same 600 keys in opposite order do not block each other for ever (mlflow#24923).

        Usual cause of failure: rows are locked in the order of the batch: a deadlock.
        """
        keys = [f"k{number}" for number in range(600)]

        def log(thread: int) -> None:
            order = keys if thread % 2 else keys[::-1]
            for step in range(3):
                store.log_batch(run, [Metric(key, float(thread), thread, step) for key in order])

        _at_once(log, 4)
        data = store.get_run(run).data
        assert data.metrics == dict.fromkeys(keys, 3.0)
        assert {len(store.get_metric_history(run, key)) for key in keys[::100]} == {12}

    def test_log_same_param_in_threads_keeps_one_value(self, store: BackendStore, run: str) -> None:
        """Of N concurrent values of a param one stays; the others' batches are refused whole.

        Usual cause of failure: the check and the write are two steps.
        """

        def log(thread: int) -> bool:
            try:
                store.log_batch(run, [Metric(f"m{thread}", 1.0, 1)], [Param("p", str(thread))])
            except InvalidParameterValue:
                return False
            return True

        succeeded = [thread for thread, done in enumerate(_at_once(log)) if done]
        data = store.get_run(run).data
        assert [str(thread) for thread in succeeded] == [data.params["p"]]
        assert list(data.metrics) == [f"m{succeeded[0]}"]

    def test_send_same_batch_in_threads_counts_once(self, store: BackendStore, run: str) -> None:
        """The same request many times at once is one request.

        Usual cause of failure: an insert that fails on what another one has just written.
        """
        points = [Metric(f"m{number % 5}", float(number), number, number) for number in range(200)]
        _at_once(lambda _: store.log_batch(run, points, [Param("p", "v")], [RunTag("t", "v")]))
        found = [point for number in range(5) for point in store.get_metric_history(run, f"m{number}")]
        assert sorted(map(identity, found)) == sorted(map(identity, points))

    def test_read_in_threads_while_batches_arrive_sees_whole_batches(self, store: BackendStore, run: str) -> None:
        """A reader sees all of a batch or nothing of it.

        Usual cause of failure: a read in several statements without a transaction, or a batch in several writes.
        """

        def work(thread: int) -> None:
            for step in range(20):
                if thread < 2:
                    batch = [Metric(f"m{number}", float(step), step, step) for number in range(10)]
                    store.log_batch(run, batch, tags=[RunTag("step", str(step))])
                else:
                    data = store.get_run(run).data
                    assert len(set(data.metrics.values())) <= 1
                    assert len(data.metrics) in (0, 10)

        _at_once(work, 4)

    def test_delete_and_log_in_threads_leaves_no_writes_behind(self, store: BackendStore, experiment: str) -> None:
        """A write that loses against a deletion is refused; what was acknowledged is there.

        Usual cause of failure: the stage is looked at before the transaction.
        """
        run = store.create_run(experiment).info.run_id

        def log(thread: int) -> int:
            if thread == 0:
                store.delete_run(run)
                return 0
            acknowledged = 0
            for step in range(10):
                try:
                    store.log_metric(run, Metric(f"m{thread}", 1.0, 1, step))
                except InvalidParameterValue:
                    break
                acknowledged += 1
            return acknowledged

        for thread, acknowledged in enumerate(_at_once(log)):
            assert len(store.get_metric_history(run, f"m{thread}")) == acknowledged

    @requires("concurrent_creation", "isolated", "uri")
    def test_open_new_store_in_processes_creates_it_once(self, harness: BackendHarness) -> None:
        """N processes that open the same new store and create the same experiment get one store and one experiment.

        Usual cause of failure: tables or folders are made without a lock (mlflow#10334).
        """
        fresh = harness.another()
        workers = [Worker(fresh, "create-same", "the one") for _ in range(PROCESSES)]
        ids = [line for lines in run_together(workers) for line in lines]
        assert len(ids) == PROCESSES
        assert len(set(ids)) == 1
        assert ids[0] != "0"
        with fresh.open() as store:
            assert not store.created
            assert sorted(found.name for found in store.search_experiments()) == ["Default", "the one"]

    @requires("multi_process", "uri")
    def test_create_same_experiment_in_processes_gives_one(self, harness: BackendHarness) -> None:
        """Processes that create the same experiment in an existing store all end up with it.

        Usual cause of failure: a lock that other processes do not see.
        """
        with harness.open():
            name = unique("race")
            workers = [Worker(harness, "create-same", name) for _ in range(PROCESSES)]
            ids = [line for lines in run_together(workers) for line in lines]
        assert len(ids) == PROCESSES
        assert len(set(ids)) == 1

    @requires("multi_process", "uri")
    def test_log_to_one_run_in_processes_loses_nothing(self, harness: BackendHarness) -> None:
        """Processes that log the same keys to one run, in opposite order, lose nothing and do not fail.

        Usual cause of failure: "database is locked", a deadlock, a lost update.
        """
        with harness.open() as store:
            run = store.create_run(store.create_experiment(unique("shared"))).info.run_id
            workers = [Worker(harness, "log-shared", run, str(number), "3") for number in range(PROCESSES)]
            assert run_together(workers) == [["done"]] * PROCESSES
            data = store.get_run(run).data
            assert data.metrics == {"single": 3.0, **{f"k{number}": 3.0 for number in range(600)}}
            assert len(data.params) == 100
            for key in ("single", "k0", "k299", "k599"):
                assert len(store.get_metric_history(run, key)) == 3 * PROCESSES
