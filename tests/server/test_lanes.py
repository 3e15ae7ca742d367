"""Lanes: calls that go together, are committed together, and are told of only then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdall.server.lanes import Lane
from holdall.stores import Metric, Param, RunTag, open_backend_store
from holdall.stores.backend import BackendStore
from holdall.stores.errors import HoldallError, InternalError, InvalidParameterValue, TemporarilyUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BackendStore]:
    with open_backend_store(f"sqlite:///{tmp_path / 'x.db'}", artifact_root=str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def run_id(store: BackendStore) -> str:
    return store.create_run(store.create_experiment("e")).info.run_id


def point(step: int) -> Metric:
    return Metric("loss", 0.5, 1000 + step, step)


def steps(store: BackendStore, run_id: str) -> list[int]:
    return [found.step for found in store.get_metric_history(run_id, "loss")]


def read_elsewhere(store: BackendStore, run_id: str) -> list[int]:
    """What another thread sees."""
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.extend(steps(store, run_id)))
    reader.start()
    reader.join()
    return found


def test_group_calls_are_seen_by_themselves_at_once_and_by_others_at_the_end(store: BackendStore, run_id: str) -> None:
    with store.group_calls():
        store.log_metric(run_id, point(1))
        store.log_batch(run_id, [point(2)])
        assert steps(store, run_id) == [1, 2]
        assert read_elsewhere(store, run_id) == []
    assert read_elsewhere(store, run_id) == [1, 2]


def test_group_calls_of_which_one_fails_undoes_that_one_alone(store: BackendStore, run_id: str) -> None:
    with store.group_calls():
        store.log_batch(run_id, [point(1)], [Param("p", "1")])
        with pytest.raises(InvalidParameterValue):
            store.log_batch(run_id, [point(2)], [Param("new", "x"), Param("p", "other")])
        with pytest.raises(InvalidParameterValue):
            store.log_param(run_id, Param("p", "other"))
        store.log_param(run_id, Param("p", "1"))
        store.set_tag(run_id, RunTag("t", "1"))
        store.delete_tag(run_id, "t")
    assert steps(store, run_id) == [1]
    assert store.get_run(run_id).data.params == {"p": "1"}
    assert "t" not in store.get_run(run_id).data.tags


def test_group_calls_that_end_with_an_error_are_all_undone(store: BackendStore, run_id: str) -> None:
    def fail() -> None:
        with store.group_calls():
            store.log_metric(run_id, point(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert steps(store, run_id) == []
    store.log_metric(run_id, point(2))
    assert steps(store, run_id) == [2]


def test_group_calls_after_the_transaction_is_lost_fail_with_all_before(store: BackendStore, run_id: str) -> None:
    database = store._database  # type: ignore[attr-defined]

    def lose() -> None:
        with store.group_calls():
            store.log_metric(run_id, point(1))
            database._mine.group.cursor().execute("ROLLBACK")  # as SQLite does when the disk is full
            with pytest.raises(InternalError):
                store.log_metric(run_id, point(2))

    with pytest.raises(InternalError):
        lose()
    assert steps(store, run_id) == []
    store.log_metric(run_id, point(3))
    assert steps(store, run_id) == [3]


def test_group_calls_creates_experiments_and_runs_that_know_each_other(store: BackendStore) -> None:
    with store.group_calls():
        experiment_id = store.create_experiment("grouped")
        run = store.create_run(experiment_id)
        store.delete_experiment(experiment_id)
        store.restore_experiment(experiment_id)
    assert store.get_run(run.info.run_id).info.lifecycle_stage == "active"


def run_together(group: Callable[[], object], calls: list[Callable[[], object]]) -> list[object]:
    """Results or errors of calls that wait while a first one is held up."""

    async def main() -> list[object]:
        entered, go = threading.Event(), threading.Event()

        def hold() -> None:
            entered.set()
            go.wait(30)

        lane = Lane("test", 1, 100, 16, group)  # type: ignore[arg-type]
        try:
            first = asyncio.ensure_future(lane.run(hold))
            await asyncio.to_thread(entered.wait, 30)
            waiting = [asyncio.ensure_future(lane.run(call)) for call in calls]
            await asyncio.sleep(0)
            go.set()
            await first
            return list(await asyncio.gather(*waiting, return_exceptions=True))
        finally:
            lane.close()

    return asyncio.run(main())


def test_run_calls_that_wait_are_grouped_and_each_gets_its_own_result() -> None:
    groups: list[int] = []

    @contextmanager
    def group() -> Iterator[None]:
        groups.append(1)
        yield

    def fail() -> None:
        raise InvalidParameterValue("no")

    found = run_together(group, [lambda: 1, fail, lambda: 3])
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], InvalidParameterValue)
    assert groups == [1]


def test_run_calls_whose_group_fails_all_fail() -> None:
    done: list[int] = []

    @contextmanager
    def group() -> Iterator[None]:
        yield
        raise HoldallError("the disk is full")

    found = run_together(group, [lambda: done.append(1), lambda: done.append(2)])
    assert done == [1, 2]
    assert [str(each) for each in found] == ["the disk is full"] * 2


def test_run_more_calls_than_may_wait_refuses_them() -> None:
    async def main() -> list[object]:
        go = threading.Event()
        lane = Lane("test", 1, 2)
        waiting = [asyncio.ensure_future(lane.run(lambda: go.wait(30))) for _ in range(4)]
        await asyncio.sleep(0)
        go.set()
        found: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        lane.close()
        return found

    found = asyncio.run(main())
    assert found[:2] == [True, True]
    assert [type(each) for each in found[2:]] == [TemporarilyUnavailable] * 2
