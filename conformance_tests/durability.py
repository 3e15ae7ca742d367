"""Opening, closing, reopening, reading only, and dying."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.search_cases import create_runs
from holdall.conformance_tests.support import drain, refuses, requires, snapshot, unique
from holdall.conformance_tests.workers import Worker
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    Metric,
    NotFound,
    Param,
    ReadOnly,
    RunTag,
    StoreClosed,
    ViewType,
)

__all__ = ["DurabilityTests"]

_Write = Callable[[BackendStore, str, str], object]

WRITES: dict[str, _Write] = {
    "create_experiment": lambda store, experiment, run: store.create_experiment(unique("refused")),
    "rename_experiment": lambda store, experiment, run: store.rename_experiment(experiment, unique("refused")),
    "delete_experiment": lambda store, experiment, run: store.delete_experiment(experiment),
    "restore_experiment": lambda store, experiment, run: store.restore_experiment(experiment),
    "set_experiment_tag": lambda store, experiment, run: store.set_experiment_tag(experiment, ExperimentTag("t", "2")),
    "delete_experiment_tag": lambda store, experiment, run: store.delete_experiment_tag(experiment, "t"),
    "create_run": lambda store, experiment, run: store.create_run(experiment),
    "update_run_info": lambda store, experiment, run: store.update_run_info(run, run_name="refused"),
    "delete_run": lambda store, experiment, run: store.delete_run(run),
    "restore_run": lambda store, experiment, run: store.restore_run(run),
    "log_metric": lambda store, experiment, run: store.log_metric(run, Metric("refused", 1.0, 1)),
    "log_param": lambda store, experiment, run: store.log_param(run, Param("refused", "1")),
    "set_tag": lambda store, experiment, run: store.set_tag(run, RunTag("refused", "1")),
    "delete_tag": lambda store, experiment, run: store.delete_tag(run, "t"),
    "log_batch": lambda store, experiment, run: store.log_batch(run, params=[Param("refused", "1")]),
    "log_empty_batch": lambda store, experiment, run: store.log_batch(run),
    "log_inputs": lambda store, experiment, run: store.log_inputs(run, [DatasetInput(Dataset("n", "d", "t", "s"))]),
}
"""Every method that writes."""

READS: dict[str, _Write] = {
    "get_experiment": lambda store, experiment, run: store.get_experiment(experiment),
    "get_experiment_by_name": lambda store, experiment, run: store.get_experiment_by_name("Default"),
    "search_experiments": lambda store, experiment, run: store.search_experiments(),
    "get_run": lambda store, experiment, run: store.get_run(run),
    "search_runs": lambda store, experiment, run: store.search_runs([experiment]),
    "search_runs_nowhere": lambda store, experiment, run: store.search_runs([]),
    "find_problems": lambda store, experiment, run: store.find_problems(),
    "get_metric_history": lambda store, experiment, run: store.get_metric_history(run, "acc"),
}
"""Every method that reads."""


def _fill(store: BackendStore) -> tuple[str, dict[str, str]]:
    """An experiment with everything in it, deleted runs included: its id, and the runs' ids by letter."""
    experiment = store.create_experiment(unique("kept"), tags=[ExperimentTag("t", "1")])
    runs = create_runs(store, experiment)
    store.set_tag(runs["a"], RunTag("t", "1"))
    store.delete_run(runs["f"])
    return experiment, runs


def _read_all(store: BackendStore, experiment: str, runs: dict[str, str]) -> list[object]:
    """Everything that `_fill` wrote, comparable."""
    entity = store.get_experiment(experiment)
    found = drain(
        lambda token: store.search_runs([experiment], run_view_type=ViewType.ALL, max_results=4, page_token=token)
    )
    everything: list[object] = [entity, store.get_experiment_by_name(entity.name)]
    everything += [run.info for run in found]
    everything += [snapshot(store, run_id) for run_id in runs.values()]
    return everything


class DurabilityTests(BackendSuite):
    """Durability."""

    @requires("persistent")
    def test_reopen_store_finds_everything(self, harness: BackendHarness) -> None:
        """What was written is there when the same place is opened again, and was not created anew.

        Usual cause of failure: a relative path, or data that is written on a clean exit only.
        """
        with harness.open() as store:
            experiment, runs = _fill(store)
            before = _read_all(store, experiment, runs)
        with harness.open() as store:
            assert _read_all(store, experiment, runs) == before
            assert not store.created
            assert len(store.get_metric_history(runs["a"], "acc")) == 2
            store.log_metric(runs["a"], Metric("acc", 1.0, 3, 2))
            assert store.get_run(runs["a"]).data.metrics == {"acc": 1.0}

    @requires("persistent")
    def test_open_store_twice_shows_the_same(self, harness: BackendHarness) -> None:
        """What one open store has written, another one sees at once, also if it has read before.

        Usual cause of failure: caches, or a transaction left open.
        """
        with harness.open() as one, harness.open() as other:
            experiment = one.create_experiment(unique("shared"))
            run = one.create_run(experiment).info.run_id
            for step in range(3):
                one.log_metric(run, Metric("m", float(step), 1, step))
                assert other.get_run(run).data.metrics == {"m": float(step)}
                assert len(other.search_runs([experiment], f"metrics.m = {step}")) == 1
            other.delete_experiment(experiment)
            assert one.get_run(run).info.lifecycle_stage == "deleted"

    @requires("isolated", "persistent")
    def test_open_missing_store_without_create_is_not_found(self, harness: BackendHarness) -> None:
        """A store that is not to be created is missing, and stays so (mlflow#23634).

        Usual cause of failure: an empty store is made on the way to finding out.
        """
        fresh = harness.another()
        for options in ({"create": False}, {"read_only": True}, {"create": False}):
            refuses(NotFound, fresh.open, **options)
        with fresh.open() as store:
            assert store.created

    @requires("persistent")
    def test_open_store_read_only_reads_everything(self, harness: BackendHarness) -> None:
        """A store opened read-only shows the same as one opened for writing.

        Usual cause of failure: a read that needs to write first.
        """
        with harness.open() as store:
            experiment, runs = _fill(store)
            before = _read_all(store, experiment, runs)
        with harness.open(read_only=True) as store:
            assert store.read_only
            assert not store.created
            assert _read_all(store, experiment, runs) == before

    @requires("persistent")
    def test_write_to_read_only_store_is_refused_and_changes_nothing(self, harness: BackendHarness) -> None:
        """Every write is refused with PERMISSION_DENIED, whatever its arguments, and leaves no trace.

        Usual cause of failure: one of the ways to write was overridden without the check.
        """
        with harness.open() as store:
            experiment, runs = _fill(store)
            before = _read_all(store, experiment, runs)
        with harness.open(read_only=True) as store:
            for write in WRITES.values():
                refuses(ReadOnly, write, store, experiment, runs["a"])
        with harness.open() as store:
            assert _read_all(store, experiment, runs) == before

    @requires("persistent", "raw.digest", "isolated")
    def test_open_store_read_only_leaves_the_storage_alone(self, harness: BackendHarness) -> None:
        """Opening and reading a store that is opened read-only changes nothing in the storage.

        Usual cause of failure: a schema upgrade, a journal, a lock file, a time of access.
        """
        with harness.open() as store:
            experiment, runs = _fill(store)
        before = harness.raw.digest()
        with harness.open(read_only=True) as store:
            _read_all(store, experiment, runs)
            refuses(ReadOnly, store.create_run, experiment)
        assert harness.raw.digest() == before

    @pytest.mark.parametrize("method", [*WRITES, *READS])
    def test_use_closed_store_is_refused(self, harness: BackendHarness, method: str) -> None:
        """After `close` every call says so; closing again does nothing.

        Usual cause of failure: the store opens itself again, or the driver's exception is passed on.
        """
        store = harness.open()
        experiment = store.create_experiment(unique("closed"))
        run = store.create_run(experiment).info.run_id
        store.close()
        store.close()
        refuses(StoreClosed, {**WRITES, **READS}[method], store, experiment, run)

    def test_describe_store_says_what_was_opened(self, store: BackendStore, harness: BackendHarness) -> None:
        """A store can say what it is, without its password.

        Usual cause of failure: `describe` was overridden without the facts of the base.
        """
        facts = store.describe()
        assert {"uri", "store", "artifact root", "mode", "created"} <= facts.keys()
        assert facts["uri"] == str(store.uri)
        assert all(isinstance(text, str) for text in facts.values())
        assert store.uri.password is None or all(store.uri.password not in text for text in facts.values())

    @requires("isolated")
    def test_find_problems_in_a_sound_store_finds_none(self, store: BackendStore) -> None:
        """A store that only went through its own methods has nothing to complain of.

        Usual cause of failure: the store's own auxiliary files are taken for foreign ones.
        """
        experiment, runs = _fill(store)
        store.delete_experiment(experiment)
        store.get_run(runs["a"])
        assert store.find_problems() == []

    @requires("crash_safe", "uri")
    @pytest.mark.parametrize("lines", [1, 2, 7, 30])
    def test_kill_writer_keeps_what_was_acknowledged(self, harness: BackendHarness, lines: int) -> None:
        """What a call acknowledged survives `kill -9`; a batch in the making is wholly there or not at all.

        Usual cause of failure: a buffer in the process, or a batch in several transactions.
        """
        with harness.open() as store:
            run = store.create_run(store.create_experiment(unique("crash"))).info.run_id
        worker = Worker(harness, "log-for-ever", run)
        worker.start()
        said = [worker.read_line() for _ in range(lines)]
        said += worker.kill()
        acknowledged = {kind: sum(line.startswith(kind) for line in said) for kind in ("single", "batch")}
        with harness.open() as store:
            singles = len(store.get_metric_history(run, "single"))
            batches = {len(store.get_metric_history(run, f"batch{number}")) for number in range(20)}
            assert acknowledged["single"] <= singles <= acknowledged["single"] + 1
            assert len(batches) == 1
            assert acknowledged["batch"] <= batches.pop() <= acknowledged["batch"] + 1
            store.log_metric(run, Metric("after", 1.0, 1))
