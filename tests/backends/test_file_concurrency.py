"""Threads and processes on one folder: nobody fails, nothing is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.backends import stress
from tests.backends.places import FolderPlace

from holdall.stores import Metric, Param, RunTag, ViewType, open_backend_store
from holdall.stores.errors import AlreadyExists, InvalidParameterValue


def test_open_new_folder_by_many_processes_gives_all_one_store_and_one_experiment(tmp_path: Path) -> None:
    trials = stress.scale().cold_starts
    outcome = stress.cold_start(FolderPlace, tmp_path, trials)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["succeeded"] == outcome.figures["processes"] == 8 * trials


def test_log_to_folder_by_processes_and_threads_while_others_read_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rounds = stress.scale().rounds["file"]
    outcome = stress.load(FolderPlace, tmp_path, rounds)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["write calls"] == 4 * 8 * 6 * rounds
    assert outcome.figures["reads meanwhile"] > 0


def test_create_same_experiment_in_two_stores_on_a_folder_at_once_gives_one(tmp_path: Path) -> None:
    threads = 8
    start = threading.Barrier(threads)
    with open_backend_store(tmp_path / "m") as one, open_backend_store(tmp_path / "m") as two:

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


def test_delete_and_restore_experiment_while_others_log_to_it_leaves_all_in_one_stage(tmp_path: Path) -> None:
    """A call that comes while the experiment is deleted is refused; one that was accepted is kept."""
    done = threading.Event()
    with open_backend_store(tmp_path / "m") as one, open_backend_store(tmp_path / "m") as two:
        experiment_id = one.create_experiment("x")
        run_id = one.create_run(experiment_id).info.run_id

        def log(thread: int) -> tuple[list[str], list[str]]:
            logged, created = [], []
            number = 0
            while not done.is_set():
                number += 1
                with suppress(InvalidParameterValue):  # it is deleted this moment
                    two.log_batch(run_id, [Metric("m", 1.0, 1, number)], [Param(f"{thread}/{number}", "v")])
                    logged.append(f"{thread}/{number}")
                    created.append(two.create_run(experiment_id, tags=[RunTag("by", str(thread))]).info.run_id)
            return logged, created

        with ThreadPoolExecutor(2) as pool:
            workers = [pool.submit(log, thread) for thread in range(2)]
            for _ in range(10):
                one.delete_experiment(experiment_id)
                assert one.search_runs([experiment_id]) == []
                one.restore_experiment(experiment_id)
            done.set()
            results = [worker.result(timeout=60) for worker in workers]
        runs = one.search_runs([experiment_id], run_view_type=ViewType.ALL, max_results=50000)
        assert {run.info.run_id for run in runs} == {run_id, *(new for _, created in results for new in created)}
        assert {run.info.lifecycle_stage for run in runs} == {"active"}
        assert one.get_run(run_id).data.params.keys() == {key for logged, _ in results for key in logged}
